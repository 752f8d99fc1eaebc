"""The client on real processes: the server alone, killed and restarted, and behind the gateway."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import pytest_asyncio

from clients.client import ExchangeClient
from clients.errors import OutcomeUnknownError, RefusedError
from clients.fields import FieldInvalidError
from clients.requests import CancelOrder, CancelOrders, PlaceOrder, ReplaceOrder, SetInstrument
from clients.retries import Retries
from clients.types import EndReason, Level, OrderEventKind, OrderStatus, Placed
from tests.running import Starter, free_port

pytestmark = pytest.mark.asyncio

BTC = "BTC-USD"


@pytest_asyncio.fixture
async def exchange(address: str) -> AsyncIterator[ExchangeClient]:
    async with ExchangeClient(address) as client:
        yield client
        for name in ("alice", "bob"):
            await client.cancel_all(CancelOrders(name))


def order(client: str, side: str, quantity: str, price: str, **more: str) -> PlaceOrder:
    return PlaceOrder(client, BTC, side, quantity, price=price, **more)  # type: ignore[arg-type]


async def test_an_order_from_place_to_positions(starter: Starter) -> None:
    """On an exchange of its own, where nobody else trades."""
    _, address = starter.server()
    async with ExchangeClient(address) as exchange:
        resting = await exchange.place(order("alice", "sell", "1", "70150.5", client_reference="r"))
        assert resting.order.status is OrderStatus.OPEN
        taken = await exchange.place(order("bob", "buy", "0.25", "70151"))
        (trade,) = taken.trades
        assert (trade.price, trade.quantity) == (Decimal("70150.5"), Decimal("0.25"))
        assert trade.maker_order_id == resting.order.order_id
        book = await exchange.book(BTC)
        assert book.asks == (Level(Decimal("70150.5"), Decimal("0.75")),)
        assert book.sequence >= taken.sequence
        replaced = await exchange.replace(
            ReplaceOrder(resting.order.order_id, quantity="0.5", client_id="alice")
        )
        assert replaced.order.remaining_quantity == Decimal("0.25")
        cancelled = await exchange.cancel(CancelOrder(resting.order.order_id))
        assert cancelled.order.end_reason is EndReason.CANCEL_REQUESTED
        assert cancelled.order == await exchange.order(resting.order.order_id)
        assert cancelled.order.client_reference == "r"
        (held,) = [one for one in await exchange.positions("bob") if one.instrument == BTC]
        assert (held.net_quantity, held.total_cost) == (Decimal("0.25"), Decimal("17537.625"))
        for client in ("", "alice", "bob"):
            assert [one async for one in exchange.trades(BTC, client_id=client)] == [trade]
        assert [one async for one in exchange.trades(BTC, client_id="carol")] == []
        assert (await exchange.ticker(BTC)).last_price == Decimal("70150.5")


async def test_refusals_name_field_limit_and_value(exchange: ExchangeClient) -> None:
    with pytest.raises(RefusedError) as caught:
        await exchange.place(order("alice", "buy", "0", "1"))
    assert (caught.value.reason, caught.value.field) == ("QUANTITY_NOT_POSITIVE", "quantity")
    with pytest.raises(RefusedError) as caught:
        await exchange.order("no-such-order")
    assert (caught.value.reason, caught.value.value) == ("ORDER_UNKNOWN", "no-such-order")
    outcomes = await exchange.place_many(
        [order("alice", "buy", "1", "1"), PlaceOrder("alice", "NO-SUCH", "buy", 1, price=1)]
    )
    assert isinstance(outcomes[0], Placed)
    assert isinstance(outcomes[1], RefusedError)
    assert (outcomes[1].reason, outcomes[1].value) == ("INSTRUMENT_UNKNOWN", "NO-SUCH")


async def test_refusals_give_numbers_as_they_are_given_here(exchange: ExchangeClient) -> None:
    """In a call, a batch and a session."""
    wrong = order("alice", "buy", "-1.5", "1")
    with pytest.raises(RefusedError) as caught:
        await exchange.place(wrong)
    (in_batch,) = await exchange.place_many([wrong])
    async with exchange.trading_session() as session:
        (in_session,) = await session.send([wrong])
    for refused in (caught.value, in_batch, in_session):
        assert isinstance(refused, RefusedError)
        facts = (refused.field, refused.limit, refused.value)
        assert facts == ("quantity", "0", "-1.5")
    with pytest.raises(RefusedError, match="neither a price nor") as caught:
        await exchange.replace(ReplaceOrder("any"))
    assert (caught.value.field, caught.value.limit) == ("quantity", "price, quantity or both")


async def test_lists_and_status(exchange: ExchangeClient) -> None:
    placed = [await exchange.place(order("alice", "buy", "1", str(price))) for price in (1, 2, 3)]
    listed = exchange.orders(client_id="alice", status="open", page_size=2)
    assert [one.order_id async for one in listed] == [
        one.order.order_id for one in reversed(placed)
    ]
    status = await exchange.status()
    assert status.durable_sequence >= placed[-1].sequence
    assert status.open_orders == 3
    names = [instrument.name for instrument in await exchange.instruments()]
    assert names == [BTC, "ETH-USD", "SOL-USD"]
    both = await exchange.books([BTC, "ETH-USD"])
    assert [book.instrument for book in both] == [BTC, "ETH-USD"]
    assert both[0].sequence == both[1].sequence


async def test_figures_of_trades_fees_and_parts(exchange: ExchangeClient) -> None:
    await exchange.set_fees("SOL-USD", taker="0.01")
    begin = datetime.now(UTC) - timedelta(minutes=1)
    await exchange.place(PlaceOrder("alice", "SOL-USD", "sell", "2", price="100"))
    await exchange.place(PlaceOrder("bob", "SOL-USD", "buy", "2", price="100"))
    end = begin + timedelta(minutes=9)
    found = await exchange.analytics(
        "SOL-USD", start_time=begin, end_time=end, interval_minutes=10, include_empty=True
    )
    assert (found.vwap, found.end_time) == (Decimal(100), end)
    (traded,) = (each for each in found.aggregates if each.trade_count)
    assert (traded.quantity, traded.notional) == (Decimal(2), Decimal(200))
    assert traded.close_price == Decimal(100)
    assert {each.currency: each.balance for each in await exchange.fee_accounts()} == {"USD": 2}
    assert {(each.name, each.state) for each in await exchange.parts()} == {
        (name, "disabled") for name in ("postgres", "kafka", "redis")
    }
    with pytest.raises(FieldInvalidError, match="start_time must be a datetime with a time zone"):
        await exchange.analytics("SOL-USD", start_time=begin.replace(tzinfo=None))
    # 0 would mean that none is given.
    for year in (1970, 2300):
        with pytest.raises(FieldInvalidError, match="end_time must be a time after 1970-01-01"):
            await exchange.analytics("SOL-USD", end_time=datetime(year, 1, 1, tzinfo=UTC))


async def test_two_operators_can_change_an_instrument_at_once(exchange: ExchangeClient) -> None:
    changes = (SetInstrument("SOL-USD", quantity_max=7), SetInstrument("SOL-USD", maker_fee="0.01"))
    await asyncio.gather(*map(exchange.set_instrument, changes))
    now = await exchange.set_instrument(SetInstrument("SOL-USD"))
    assert (now.quantity_max, now.maker_fee) == (Decimal(7), Decimal("0.01"))


async def test_an_event_says_why_an_order_lost_quantity(exchange: ExchangeClient) -> None:
    """Which an order that lives does not say of itself."""
    resting = await exchange.place(order("carol", "sell", "11", "900"))
    same = order("carol", "buy", "5", "900", self_trade_prevention="decrement")
    async with (
        asyncio.timeout(10),
        aclosing(exchange.stream_order_events(client_id="carol")) as messages,
    ):
        await anext(messages)
        await exchange.place(same)
        events = [event for event in (await anext(messages)).events if event.reason is not None]
    reduced = next(event for event in events if event.kind is OrderEventKind.REDUCED)
    assert (reduced.order_id, reduced.change) == (resting.order.order_id, Decimal(5))
    assert {event.reason for event in events} == {EndReason.SELF_TRADE_PREVENTION}
    assert reduced.order is not None
    assert reduced.order.end_reason is None
    await exchange.cancel(CancelOrder(resting.order.order_id))


async def test_streams_show_what_happens(exchange: ExchangeClient) -> None:
    async with (
        asyncio.timeout(10),
        aclosing(exchange.stream_book(BTC)) as books,
        aclosing(exchange.stream_order_events(client_id="bob")) as events,
    ):
        snapshot = await anext(books)
        assert snapshot.snapshot
        first = await anext(events)
        await exchange.place(order("alice", "sell", "1", "100"))
        bought = await exchange.place(order("bob", "buy", "1", "100"))
        kinds: list[OrderEventKind] = []
        while len(kinds) < 2:
            message = await anext(events)
            assert message.previous_sequence == first.sequence
            first = message
            kinds += [event.kind for event in message.events]
        assert kinds == [OrderEventKind.ACCEPTED, OrderEventKind.FILLED]
        last = snapshot
        while last.sequence < bought.sequence:
            delta = await anext(books)
            assert delta.previous_sequence == last.sequence
            last = delta
    async with asyncio.timeout(10), aclosing(exchange.stream_trades(BTC, 0)) as trades:
        seen: list[str] = []
        while bought.trades[0].trade_id not in seen:
            seen += [trade.trade_id for trade in (await anext(trades)).trades]
        assert seen[-1] == bought.trades[0].trade_id


async def test_ticker_and_statistics(exchange: ExchangeClient) -> None:
    before = await exchange.statistics(BTC)
    async with asyncio.timeout(10), aclosing(exchange.follow_ticker(BTC)) as tickers:
        await anext(tickers)
        await exchange.place(order("alice", "sell", "2", "100"))
        await exchange.place(order("bob", "buy", "1", "100"))
        await exchange.place(order("bob", "buy", "3", "99"))
        while (ticker := await anext(tickers)).bid is None:
            pass
    assert (ticker.last_price, ticker.ask) == (Decimal(100), Level(Decimal(100), Decimal(1)))
    after = await exchange.statistics(BTC)
    assert (after.orders - before.orders, after.trades - before.trades) == (3, 1)
    assert after.volume - before.volume == after.day_volume - before.day_volume == Decimal(1)
    assert (after.bid_depth, after.ask_depth) == (Decimal(3), Decimal(1))
    assert after.spread == Decimal(1)
    assert (after.bid_levels, after.ask_levels, after.open_orders) == (1, 1, 2)
    assert before.spread is None
    assert after.since_time < after.time


async def test_session_cancels_on_disconnect(exchange: ExchangeClient) -> None:
    async with exchange.trading_session(cancel_on_disconnect=True) as session:
        answers = await asyncio.gather(
            *(session.send([order("alice", "buy", "1", str(price))]) for price in range(1, 51))
        )
        prices = [answer[0].order.price for answer in answers if isinstance(answer[0], Placed)]
        assert prices == [Decimal(price) for price in range(1, 51)]
        assert session.session_id
    ended = [one async for one in exchange.orders(client_id="alice", page_size=50)][:50]
    assert {one.end_reason for one in ended} == {EndReason.SESSION_ENDED}


async def test_kill_between_request_and_answer(starter: Starter) -> None:
    """The key resolves what a killed server left unknown: one order, whatever had happened."""
    port = free_port()
    running, address = starter.server(port)
    async with ExchangeClient(address, retries=Retries(overall_s=60)) as exchange:
        first = await exchange.place(order("alice", "sell", "1", "100", order_id="o-0"))

        async def trade(number: int) -> Placed:
            return await exchange.place(
                order("bob", "buy", "0.01", "100", order_id=f"o-{number + 1}")
            )

        calls = [asyncio.create_task(trade(number)) for number in range(50)]
        await calls[0]
        # Some of the others are answered, some applied, some on their way, none told apart.
        running.kill()
        restarting = asyncio.to_thread(starter.server, port)
        placed = await asyncio.gather(*calls, restarting)
        assert sum(len(one.trades) for one in placed[:-1] if isinstance(one, Placed)) == 50
        resting = await exchange.order("o-0")
        assert resting.filled_quantity == Decimal("0.5")
        assert resting.placed_sequence == first.sequence
        bought = [one async for one in exchange.orders(client_id="bob")]
        assert {one.order_id for one in bought} == {f"o-{number + 1}" for number in range(50)}


async def test_kill_of_a_session_names_what_is_unknown(starter: Starter) -> None:
    port = free_port()
    running, address = starter.server(port)
    async with ExchangeClient(address) as exchange:
        session = await exchange.trading_session(cancel_on_disconnect=True).__aenter__()
        (placed,) = await session.send([order("alice", "buy", "1", "1", order_id="o-1")])
        assert isinstance(placed, Placed)
        sending = asyncio.create_task(
            session.send([order("alice", "buy", "1", "1", order_id="o-2")] * 1_000)
        )
        running.kill()
        with pytest.raises(OutcomeUnknownError, match="gave no outcome"):
            await sending
        with pytest.raises(OutcomeUnknownError, match="open orders are cancelled when"):
            await session.__aexit__(None, None, None)
        await asyncio.to_thread(starter.server, port)
        assert (await exchange.order("o-1")).end_reason is EndReason.SESSION_ENDED


async def test_through_the_gateway(starter: Starter) -> None:
    everything = starter.up()
    async with ExchangeClient(f"127.0.0.1:{everything.http_port}") as exchange:
        placed = await exchange.place(order("alice", "buy", "1", "1"))
        async with asyncio.timeout(10), aclosing(exchange.stream_book(BTC)) as books:
            assert (await anext(books)).bids == (Level(Decimal(1), Decimal(1)),)
        async with exchange.trading_session() as session:
            (refused,) = await session.send([CancelOrder("no-such-order")])
            assert isinstance(refused, RefusedError)
        with pytest.raises(RefusedError) as caught:
            await exchange.cancel(CancelOrder("no-such-order"))
        assert caught.value.reason == "ORDER_UNKNOWN"
        assert (await exchange.create_snapshot()).sequence >= placed.sequence
    shown = starter.run("book", BTC, EXCHANGE_GRPC=everything.grpc)
    assert shown.wait() == 0
    assert shown.lines[2:] == ["bid      1         1"]
