"""Calls: typed values, and what happens when an answer is lost."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import grpc
import pytest

from clients.client import ExchangeClient
from clients.connection import Connection
from clients.decimals import NumberInvalidError
from clients.errors import OutcomeUnknownError, RefusedError, UnavailableError
from clients.fields import FieldInvalidError
from clients.requests import CancelOrder, CancelOrders, PlaceOrder, ReplaceOrder
from clients.retries import Retries
from clients.types import (
    CancelledAll,
    EndReason,
    Level,
    OrderEventKind,
    OrderStatus,
    OrderType,
    Placed,
    Side,
)
from exchange.v1 import types_pb2
from tests.clients.fake_exchange import FakeExchange
from tests.clients.faults import hang, refuse
from tests.running import START_S

pytestmark = pytest.mark.asyncio

BUY = PlaceOrder("alice", "BTC-USD", "buy", "0.25", price="70150.5")
CLOSED = refuse(grpc.StatusCode.UNAVAILABLE, message="Socket closed")
STOPPING = refuse(grpc.StatusCode.CANCELLED, message="CANCELLED")
NUMBER: Any = 5  # of types that checkers would refuse
WORD: Any = "no"
FLOAT: Any = 1.5
BUSY = refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", retry_safe=True)
OFF_TICK = refuse(grpc.StatusCode.INVALID_ARGUMENT, "PRICE_OFF_TICK", "price 150 is off tick")


async def test_place_sends_and_returns_typed_values(
    fake: FakeExchange, exchange: ExchangeClient
) -> None:
    placed = await exchange.place(
        PlaceOrder(
            "alice",
            "BTC-USD",
            Side.SELL,
            Decimal("0.25"),
            price=70_000,
            post_only=True,
            time_in_force="ioc",
            self_trade_prevention="decrement",
            order_id="o-1",
            client_reference="mine",
        )
    )
    sent = fake.orders.requests[0]
    assert (sent.price_e8, sent.quantity_e8) == (7_000_000_000_000, 25_000_000)
    assert sent.side == types_pb2.SIDE_SELL
    assert sent.time_in_force == types_pb2.TIME_IN_FORCE_IMMEDIATE_OR_CANCEL
    assert sent.self_trade_prevention == types_pb2.SELF_TRADE_PREVENTION_DECREMENT
    assert sent.post_only
    assert (sent.order_id, sent.client_reference) == ("o-1", "mine")
    order = placed.order
    assert (order.price, order.quantity) == (Decimal("70000"), Decimal("0.25"))
    assert (order.side, order.status, order.end_reason) == (Side.SELL, OrderStatus.OPEN, None)
    assert order.created_time == datetime(2024, 1, 1, 0, 0, 0, 123456, UTC)
    assert not placed.repeated


async def test_market_order_has_no_price(fake: FakeExchange, exchange: ExchangeClient) -> None:
    placed = await exchange.place(PlaceOrder("a", "BTC-USD", "buy", 1, type=OrderType.MARKET))
    assert fake.orders.requests[0].price_e8 == 0
    assert placed.order.price is None


async def test_bad_number_is_not_sent(fake: FakeExchange, exchange: ExchangeClient) -> None:
    with pytest.raises(NumberInvalidError, match="price must be"):
        await exchange.place(PlaceOrder("alice", "BTC-USD", "buy", "1", price="1e5"))
    with pytest.raises(ValueError, match="side must be one of buy, sell"):
        await exchange.place(PlaceOrder("alice", "BTC-USD", "long", "1", price="1"))
    assert fake.orders.requests == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            lambda it: it.place(replace(BUY, client_id=NUMBER)),
            "client_id must be valid Unicode text; got",
        ),
        (lambda it: it.place(replace(BUY, post_only=WORD)), "post_only must be true or false; got"),
        (lambda it: it.place(replace(BUY, client_reference="\ud800")), "client_reference must be"),
        (
            lambda it: it.place_many([BUY, replace(BUY, order_id=NUMBER)]),
            "orders[1].order_id must be",
        ),
        (lambda it: it.place_many([replace(BUY, price=FLOAT)]), "orders[0].price must be"),
        (
            lambda it: it.place_many([BUY, replace(BUY, side=NUMBER)]),
            "orders[1].side must be one of",
        ),
        (
            lambda it: it.place_many([BUY, replace(BUY, type=WORD)]),
            "orders[1].type must be one of limit, market; got",
        ),
        (lambda it: anext(it.orders(status=WORD)), "status must be one of"),
        # What can't be copied: something that is yet to be awaited, for one.
        (lambda it: it.place(replace(BUY, order_id=(_ for _ in "a"))), "order_id must be"),  # type: ignore[arg-type]
        (lambda it: it.replace(ReplaceOrder(NUMBER, price=1)), "order_id must be"),
        (lambda it: it.cancel(CancelOrder("a", client_id=NUMBER)), "client_id must be"),
        (lambda it: it.cancel_all(CancelOrders("a", instrument=NUMBER)), "instrument must be"),
        (lambda it: it.positions(NUMBER), "client_id must be"),
        (
            lambda it: it.book("BTC-USD", -1),
            "levels must be a whole number from 0 to 4294967295; got -1",
        ),
        (lambda it: anext(it.trades("BTC-USD", WORD)), "page_size must be a whole number"),
        (
            lambda it: anext(it.stream_trades(after_sequence=-1)),
            "after_sequence must be a whole number from 0 to 18446744073709551615; got -1",
        ),
        (lambda it: anext(it.follow_trades(after_sequence=-1)), "after_sequence must be"),
        (lambda it: it.trading_session(client_id=NUMBER).__aenter__(), "client_id must be"),
    ],
)
async def test_what_no_message_can_hold_is_named(
    asked: Callable[[ExchangeClient], Awaitable[Any]],
    said: str,
    fake: FakeExchange,
    exchange: ExchangeClient,
) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(FieldInvalidError, match="^" + re.escape(said)):
            await asked(exchange)
    assert fake.orders.requests == []


async def test_lost_answer_gives_one_order(fake: FakeExchange, exchange: ExchangeClient) -> None:
    fake.orders.losses = [CLOSED, CLOSED]
    placed = await exchange.place(BUY)
    assert placed.repeated
    assert len(fake.orders.orders) == 1
    keys = {request.idempotency_key for request in fake.orders.requests}
    assert len(fake.orders.requests) == 3
    assert len(keys) == 1
    assert keys != {""}


async def test_keys_differ_between_calls_and_given_ones_stay(
    fake: FakeExchange, exchange: ExchangeClient
) -> None:
    await exchange.place(BUY)
    await exchange.place(BUY)
    await exchange.place(PlaceOrder("a", "BTC-USD", "buy", 1, price=1, idempotency_key="mine"))
    keys = [request.idempotency_key for request in fake.orders.requests]
    assert keys[0] != keys[1]
    assert keys[2] == "mine"


async def test_deadline_repeats_with_the_key(fake: FakeExchange) -> None:
    fake.orders.losses = [hang]
    async with ExchangeClient(fake.address, retries=Retries(attempt_s=0.3)) as exchange:
        assert (await exchange.place(BUY)).repeated
    assert len(fake.orders.orders) == 1


async def test_batch_is_repeated_as_a_whole(fake: FakeExchange, exchange: ExchangeClient) -> None:
    fake.orders.losses = [CLOSED]
    bad = PlaceOrder("alice", "NO-SUCH", "buy", 1, price=1)
    first, second, third = await exchange.place_many([BUY, bad, BUY])
    assert isinstance(first, Placed)
    assert isinstance(third, Placed)
    assert first.order.order_id != third.order.order_id
    assert isinstance(second, RefusedError)
    assert (second.reason, second.field) == ("INSTRUMENT_UNKNOWN", "instrument")
    assert second.code is grpc.StatusCode.NOT_FOUND
    assert len(fake.orders.orders) == 2


async def test_refusal_is_raised_once(fake: FakeExchange, exchange: ExchangeClient) -> None:
    fake.orders.faults = [OFF_TICK]
    with pytest.raises(RefusedError, match="price 150 is off tick") as caught:
        await exchange.place(BUY)
    assert (caught.value.reason, caught.value.limit) == ("PRICE_OFF_TICK", "100")
    assert len(fake.orders.requests) == 1


async def test_busy_exchange_is_asked_again(fake: FakeExchange, exchange: ExchangeClient) -> None:
    fake.orders.faults = [BUSY, BUSY]
    # Without a key as well: it says that nothing happened.
    cancelled = await exchange.cancel_all(CancelOrders("alice"))
    assert isinstance(cancelled, CancelledAll)
    assert len(fake.orders.requests) == 3


async def test_nothing_unknown_is_repeated_without_a_key(
    fake: FakeExchange, exchange: ExchangeClient
) -> None:
    fake.orders.losses = [CLOSED, CLOSED]
    with pytest.raises(OutcomeUnknownError) as caught:
        await exchange.cancel(CancelOrder("o-1"))
    assert caught.value.request == CancelOrder("o-1")
    with pytest.raises(OutcomeUnknownError) as caught:
        await exchange.cancel_all(CancelOrders("alice"))
    assert caught.value.request == CancelOrders("alice")
    assert len(fake.orders.requests) == 2


async def test_cancel_and_replace_of_a_client_have_a_key(
    fake: FakeExchange, exchange: ExchangeClient
) -> None:
    fake.orders.losses = [CLOSED]
    cancelled = await exchange.cancel(CancelOrder("o-1", "alice"))
    assert cancelled.order.end_reason is EndReason.CANCEL_REQUESTED
    await exchange.replace(ReplaceOrder("o-1", price="1.5", client_id="alice"))
    keys = [request.idempotency_key for request in fake.orders.requests]
    assert keys[0] == keys[1] != keys[2] != ""
    sent = fake.orders.requests[2]
    assert sent.price_e8 == 150_000_000
    assert not sent.HasField("quantity_e8")


async def test_outcome_that_stays_unknown_names_the_key(fake: FakeExchange) -> None:
    fake.orders.losses = [hang] * 10
    retries = Retries(attempt_s=0.1, overall_s=0.4)
    async with ExchangeClient(fake.address, retries=retries) as exchange:
        with pytest.raises(OutcomeUnknownError) as caught:
            await exchange.place(BUY)
        request = caught.value.request
        assert isinstance(request, PlaceOrder)
        fake.orders.losses = []
        assert (await exchange.place(request)).repeated
    assert len(fake.orders.orders) == 1


async def test_restart_of_the_exchange_is_bridged(
    fake: FakeExchange, exchange: ExchangeClient
) -> None:
    await exchange.place(BUY)
    await fake.stop()
    # The end of a connection is seen a little after it, by a thread of gRPC's.
    await exchange._connection.channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
    with pytest.raises(UnavailableError, match="is not reachable"):
        await exchange.connect()
    await fake.start()
    assert (await exchange.place(BUY)).order.order_id == "x-2"


async def test_nobody_there() -> None:
    once = Retries(overall_s=START_S, delay_first_s=2 * START_S, delay_max_s=2 * START_S)
    async with ExchangeClient("127.0.0.1:1", retries=once) as exchange:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1 is not reachable"):
            await exchange.connect()
        with pytest.raises(UnavailableError, match="nothing was sent"):
            await exchange.place(BUY)


async def test_reads_are_repeated(fake: FakeExchange, exchange: ExchangeClient) -> None:
    fake.market.faults = [CLOSED, STOPPING]
    book = await exchange.book("BTC-USD")
    assert book.bids == (Level(Decimal(99), Decimal("1.25")),)
    assert [level.price for level in book.asks] == [101, 102]
    with pytest.raises(RefusedError) as caught:
        await exchange.book("NO-SUCH")
    assert caught.value.reason == "INSTRUMENT_UNKNOWN"


async def test_lists_walk_the_pages(fake: FakeExchange, exchange: ExchangeClient) -> None:
    for _ in range(5):
        await exchange.place(BUY)
    fake.orders.requests.clear()
    ids = [order.order_id async for order in exchange.orders(status="open", page_size=2)]
    assert ids == ["x-5", "x-4", "x-3", "x-2", "x-1"]
    assert [page.page_token for page in fake.orders.requests] == ["", "2", "4"]
    assert fake.orders.requests[2].status == types_pb2.ORDER_STATUS_OPEN
    assert [order.order_id async for order in exchange.orders(working=True)] == ids
    assert fake.orders.requests[3].working
    trades = [trade async for trade in exchange.trades("BTC-USD", page_size=2)]
    assert len(trades) == 5
    assert trades[0].maker_fee == Decimal("-0.0000000001")
    for number in (0, 2, 3):
        fake.market.trades[number].maker_client_id = "alice"
    own = [trade async for trade in exchange.trades("BTC-USD", 2, client_id="alice")]
    assert [trade.maker_client_id for trade in own] == ["alice"] * 3


async def test_market_reads(exchange: ExchangeClient) -> None:
    ticker = await exchange.ticker("BTC-USD")
    assert (ticker.last_price, ticker.bid) == (None, None)
    assert ticker.ask == Level(Decimal("0.000001"), Decimal(0))
    books = await exchange.books(["BTC-USD", "BTC-USD"], levels=5)
    assert [book.instrument for book in books] == ["BTC-USD", "BTC-USD"]
    (instrument,) = await exchange.instruments()
    assert (instrument.tick, instrument.maker_fee) == (Decimal("0.00000001"), Decimal("-0.0001"))


async def test_streams(fake: FakeExchange, exchange: ExchangeClient) -> None:
    fake.market.faults = [refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_READER", "too slow")]
    async with aclosing(exchange.stream_book("BTC-USD")) as books:
        message = await anext(books)
        assert (message.snapshot, message.sequence, message.previous_sequence) == (True, 9, 9)
        assert message.bids == (Level(Decimal(99), Decimal("1.25")),)
        with pytest.raises(RefusedError, match="too slow") as caught:
            await anext(books)
    assert caught.value.reason == "SLOW_READER"
    async with aclosing(exchange.stream_trades("BTC-USD", after_sequence=0)) as trades:
        page = await anext(trades)
        assert page.previous_sequence == 0
        assert page.trades[0].price == Decimal("70150.5")


async def test_order_event_stream(exchange: ExchangeClient) -> None:
    async with aclosing(exchange.stream_order_events(client_id="alice")) as messages:
        (cancelled, filled) = (await anext(messages)).events
        with pytest.raises(StopAsyncIteration):
            await anext(messages)
    assert cancelled.kind is OrderEventKind.CANCELLED
    assert cancelled.order is not None
    assert cancelled.order.end_reason is EndReason.CANCEL_REQUESTED
    assert cancelled.change == Decimal("0.000001")
    assert cancelled.trade is None
    assert (filled.kind, filled.order_id, filled.order) == (OrderEventKind.FILLED, "b", None)
    assert filled.trade is not None
    assert filled.trade.trade_id == "T9-1"


async def test_what_takes_long_has_a_time_of_its_own() -> None:
    times: list[float] = []

    async def call(_: str, /, *, timeout: float) -> str:
        times.append(timeout)
        return "answered"

    connection = Connection("127.0.0.1:1", Retries(attempt_s=5.0, overall_s=15.0))
    for attempt_s in (30.0, None):
        assert await connection.read(cast("Any", call), "asked", attempt_s) == "answered"
    assert times == [30.0, 5.0]
    await connection.close()
