"""What calls leave behind when they are over: nothing of ours that only the collector would free.

It walks what has lived for a while so seldom (`server/collector.py`) that this would stay for good.
"""

import asyncio
import errno
import gc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import CoroutineType, FrameType
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import server
from exchange.http.v1 import market_service_pb2
from exchange.http.v1.market_service_pb2_grpc import MarketServiceStub
from exchange.v1.admin_service_pb2 import StreamJournalRequest
from exchange.v1.market_data_pb2 import (
    StreamOrderBookRequest,
    StreamTickerRequest,
    StreamTradesRequest,
)
from exchange.v1.order_service_pb2 import (
    GetOrderRequest,
    ListOrdersRequest,
    SessionCommand,
    StreamOrderEventsRequest,
    TradingSessionOpen,
    TradingSessionRequest,
)
from server.feed.fan_out import QueueReader
from server.journal.record import Record
from tests.rpc.served import (
    BTC,
    BUY,
    SELL,
    HeldJournal,
    Served,
    failure_of,
    order,
    refused,
    serving,
    until,
)

pytestmark = pytest.mark.asyncio

SOURCES = str(Path(server.__file__).parent)
CALLS = 10
ORDERS = 500
"""Their events and records are more than a transport takes that nobody reads from."""

Broken = Callable[[Served], Awaitable[None]]


def is_ours(value: object) -> bool:
    """An object of a class of the server's, or its code at work."""
    if isinstance(value, FrameType):
        return value.f_code.co_filename.startswith(SOURCES)
    if isinstance(value, CoroutineType):
        return value.cr_code.co_filename.startswith(SOURCES)
    return type(value).__module__.partition(".")[0] in ("server", "exchange")


@contextmanager
def uncollected() -> Iterator[Counter[str]]:
    """By class, what of ours only the collector would have freed in the block; told at its end."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found.update(type(value).__name__ for value in gc.garbage if is_ours(value))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def session_unread(served: Served) -> None:
    """Broken off while an answer is being written, and others wait."""
    call = served.orders.TradingSession()
    message = TradingSessionRequest(commands=[SessionCommand()] * 1_000)

    async def send() -> None:
        while True:
            await call.write(message)

    sending = asyncio.ensure_future(send())
    sessions = served.exchange._sessions
    await until(lambda: any(each._answers.qsize() > 1 for each in sessions._open))
    sending.cancel()
    call.cancel()


async def session_unanswered(served: Served) -> None:
    call = served.orders.TradingSession()
    with HeldJournal(served) as held:
        place = SessionCommand(place=order("A", BUY, 1))
        await call.write(TradingSessionRequest(commands=[place]))
        await asyncio.to_thread(held.entered.wait)
        call.cancel()
        await until(lambda: not served.exchange._sessions._open)


async def session_ended(served: Served) -> None:
    call = served.orders.TradingSession()
    await call.write(TradingSessionRequest(open=TradingSessionOpen(cancel_on_disconnect=True)))
    await call.read()
    await call.done_writing()
    await call.read()


async def session_refused(served: Served) -> None:
    opening = TradingSessionRequest(open=TradingSessionOpen(client_id="A b"))
    await failure_of(served.orders.TradingSession(iter([opening])))


async def session_failed(served: Served) -> None:
    """By what nobody foresaw, while it reads back what a key was used for."""
    served.exchange._log.read = _unreadable  # type: ignore[method-assign]
    keyed = SessionCommand(place=order("A", BUY, 1, idempotency_key="k"))
    opening = TradingSessionRequest(commands=[keyed] * 2)
    await failure_of(served.orders.TradingSession(iter([opening])))


def _unreadable(sequence: int) -> Record:
    raise OSError(errno.EMFILE, "Too many open files")


def a_stream(open_stream: Callable[[Served], Any]) -> Broken:
    async def broken_off(served: Served) -> None:
        stream = open_stream(served)
        await stream.read()
        stream.cancel()

    return broken_off


def health_of(served: Served) -> Any:
    return health_pb2_grpc.HealthStub(served.channel)


async def events_cut(served: Served) -> None:
    """Of a reader who is too slow."""
    stream = served.orders.StreamOrderEvents(StreamOrderEventsRequest())
    await stream.read()
    (reader,) = served.exchange.feed.readers.open
    assert isinstance(reader, QueueReader)
    reader.cut(1)
    await failure_of(stream)


async def place_broken_off(served: Served) -> None:
    with HeldJournal(served) as held:
        call = served.orders.PlaceOrder(order("A", BUY, 1))
        await asyncio.to_thread(held.entered.wait)
        call.cancel()
        await until(lambda: not served.exchange._intake.calls)


async def place_too_late(served: Served) -> None:
    with HeldJournal(served):
        await refused(served.orders.PlaceOrder(order("A", BUY, 1)))


async def read_too_late(served: Served) -> None:
    with HeldJournal(served) as held:
        placing = asyncio.ensure_future(refused(served.orders.PlaceOrder(order("A", BUY, 1))))
        await asyncio.to_thread(held.entered.wait)
        await refused(served.orders.ListOrders(ListOrdersRequest()))
        await placing


async def read_refused(served: Served) -> None:
    await refused(served.orders.GetOrder(GetOrderRequest(order_id="none")))


BROKEN: dict[str, Broken] = {
    "session-unread": session_unread,
    "session-unanswered": session_unanswered,
    "session-ended": session_ended,
    "session-refused": session_refused,
    "session-failed": session_failed,
    "events": a_stream(lambda s: s.orders.StreamOrderEvents(StreamOrderEventsRequest())),
    "events-unread": a_stream(
        lambda s: s.orders.StreamOrderEvents(StreamOrderEventsRequest(after_sequence=0))
    ),
    "events-cut": events_cut,
    "trades": a_stream(lambda s: s.market.StreamTrades(StreamTradesRequest())),
    "trades-unread": a_stream(
        lambda s: s.market.StreamTrades(StreamTradesRequest(after_sequence=0))
    ),
    "book": a_stream(lambda s: s.market.StreamOrderBook(StreamOrderBookRequest(instrument=BTC))),
    "ticker": a_stream(lambda s: s.market.StreamTicker(StreamTickerRequest(instrument=BTC))),
    "http-trades": a_stream(
        lambda s: MarketServiceStub(s.channel).StreamTrades(
            market_service_pb2.StreamTradesRequest()
        )
    ),
    "http-book": a_stream(
        lambda s: MarketServiceStub(s.channel).StreamOrderBook(
            market_service_pb2.StreamOrderBookRequest(instrument=BTC)
        )
    ),
    "journal": a_stream(
        lambda s: s.admin.StreamJournal(StreamJournalRequest(after_sequence=s.engine.sequence))
    ),
    "journal-unread": a_stream(lambda s: s.admin.StreamJournal(StreamJournalRequest())),
    "health": a_stream(lambda s: health_of(s).Watch(health_pb2.HealthCheckRequest())),
    "place-broken-off": place_broken_off,
    "place-too-late": place_too_late,
    "read-too-late": read_too_late,
    "read-refused": read_refused,
}


@asynccontextmanager
async def traded(directory: Path) -> AsyncIterator[Served]:
    """With something to send, and a deadline that is soon over."""
    async with serving(directory, grpc={"deadline_s": 0.02}) as served:
        for side in (SELL, BUY):
            places = [SessionCommand(place=order("A", side, 1))] * ORDERS
            call = served.orders.TradingSession(iter([TradingSessionRequest(commands=places)]))
            await call.read()
        await until(lambda: not served.exchange._sessions._open)
        yield served


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
async def test_a_call_that_is_over_leaves_nothing_of_ours(tmp_path: Path, broken: Broken) -> None:
    async with traded(tmp_path / "data") as served:
        await broken(served)
        with uncollected() as found:
            for _ in range(CALLS):
                await broken(served)
                await until(lambda: not served.exchange._intake.calls)
    assert not found
