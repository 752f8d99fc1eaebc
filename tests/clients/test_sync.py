"""The twin without asyncio: the same methods, the same answers."""

import asyncio
import inspect
import threading
from collections.abc import Iterator
from decimal import Decimal

import pytest

from clients.client import ExchangeClient
from clients.errors import ExchangeError, OutcomeUnknownError, RefusedError
from clients.requests import CancelOrders, PlaceOrder
from clients.session import TradingSession
from clients.sync import SyncExchangeClient, SyncTradingSession
from clients.types import EndReason, Placed
from tests.running import Starter, free_port

BTC = "BTC-USD"
ONLY_ASYNC = {"exchange"}  # raw messages of a session


@pytest.fixture
def exchange(address: str) -> Iterator[SyncExchangeClient]:
    with SyncExchangeClient(address) as exchange:
        exchange.connect()
        yield exchange
        exchange.cancel_all(CancelOrders("alice"))


def buy(price: int, order_id: str = "") -> PlaceOrder:
    return PlaceOrder("alice", BTC, "buy", 1, price=price, order_id=order_id)


@pytest.mark.parametrize(
    ("twin", "original"),
    [(SyncExchangeClient, ExchangeClient), (SyncTradingSession, TradingSession)],
)
def test_every_method_is_there_with_its_words(twin: type, original: type) -> None:
    methods = {name for name in vars(original) if not name.startswith("_")} - ONLY_ASYNC
    for name in methods:
        own, other = getattr(twin, name), getattr(original, name)
        assert own.__doc__, f"{name} says nothing"
        if inspect.isfunction(other):
            mine, theirs = inspect.signature(own), inspect.signature(other)
            assert list(mine.parameters) == list(theirs.parameters)


def test_orders_and_reads(exchange: SyncExchangeClient) -> None:
    placed = [exchange.place(buy(price)) for price in (1, 2, 3)]
    assert exchange.order(placed[0].order.order_id) == placed[0].order
    listed = exchange.orders(client_id="alice", status="open", page_size=2)
    assert [one.order_id for one in listed] == [one.order.order_id for one in reversed(placed)]
    assert exchange.book(BTC).bids[0].price == Decimal(3)
    with pytest.raises(RefusedError, match="not listed"):
        exchange.book("NO-SUCH")


def test_streams_are_generators(exchange: SyncExchangeClient) -> None:
    exchange.place(buy(5))
    for book in exchange.follow_book(BTC):
        assert book.best_bid is not None
        assert book.best_bid.price == Decimal(5)
        break
    events = exchange.follow_order_events(client_id="alice", after_sequence=0)
    seen: list[str] = []
    for message in events:
        seen += [event.order_id for event in message.events]
        if seen:
            break
    events.close()
    assert seen
    assert next(events, None) is None


def test_session_and_threads(exchange: SyncExchangeClient) -> None:
    outcomes: list[object] = []
    with exchange.trading_session(client_id="alice", cancel_on_disconnect=True) as session:
        assert session.session_id
        assert session.opened_sequence

        def send(number: int) -> None:
            outcomes.extend(session.send([buy(number, f"sync-{number}")]))

        threads = [threading.Thread(target=send, args=(number,)) for number in range(1, 11)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(outcomes) == 10
    assert all(isinstance(outcome, Placed) for outcome in outcomes)
    assert exchange.order("sync-1").end_reason is EndReason.SESSION_ENDED


def test_a_lost_session_does_not_end_as_if_its_orders_were_cancelled(starter: Starter) -> None:
    running, address = starter.server()
    with SyncExchangeClient(address) as exchange:
        session = exchange.trading_session(cancel_on_disconnect=True).__enter__()
        session.send([buy(1)])
        running.kill()
        with pytest.raises(ExchangeError, match="the session with"):
            session.send([buy(2)])
        with pytest.raises(OutcomeUnknownError, match="open orders are cancelled when"):
            session.__exit__(None, None, None)


def test_client_that_is_not_open_says_so(address: str) -> None:
    exchange = SyncExchangeClient(address)
    for use in (exchange.status, exchange.trading_session, lambda: next(exchange.stream_trades())):
        with pytest.raises(RuntimeError, match="is not open: use it within `with`"):
            use()
    unopened = ExchangeClient(address)
    with pytest.raises(RuntimeError, match="is not open: use it within `async with`"):
        asyncio.run(unopened.status())
    with pytest.raises(RuntimeError, match="is not open"):
        unopened.trading_session()


def test_closed_client_says_so(address: str) -> None:
    with SyncExchangeClient(address) as exchange:
        trades = exchange.follow_trades()
        next(trades)
    with pytest.raises(RuntimeError, match="has been closed"):
        exchange.status()
    trades.close()
    assert not any(thread.name == "exchange" for thread in threading.enumerate())


def test_a_generator_that_ends_in_the_thread_of_the_loop_holds_nobody(address: str) -> None:
    """Where the collector of garbage finds it is not for its user to say."""
    with SyncExchangeClient(address) as exchange:
        trades = exchange.follow_trades()
        next(trades)
        ended = threading.Event()

        def end() -> None:
            trades.close()
            ended.set()

        exchange._loop._loop.call_soon_threadsafe(end)
        assert ended.wait(10)
        assert exchange.status().epoch


def test_callback_that_calls_the_client_is_told() -> None:
    with SyncExchangeClient(f"127.0.0.1:{free_port()}") as exchange:
        trades = exchange.follow_trades(on_interruption=lambda _: [exchange.status()].clear())
        with pytest.raises(RuntimeError, match="let a callback hand"):
            next(trades)
