"""Channels of the WebSocket bridge, on streams that do what a test wants of them."""

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from websockets.protocol import State

from clients.errors import ExchangeError, RefusedError, UnavailableError
from clients.following import Interruption, OnInterruption
from clients.mirror import BookMirror
from clients.types import (
    Order,
    OrderEvent,
    OrderEventKind,
    OrderEventsMessage,
    OrderStatus,
    OrderType,
    SelfTradePrevention,
    Side,
    TimeInForce,
    Trade,
    TradesMessage,
)
from gateway.websocket import event_channels
from gateway.websocket import session as sessions
from gateway.websocket.channels import Channel
from gateway.websocket.event_channels import OrdersChannel, TradesChannel
from gateway.websocket.figures import Counts
from gateway.websocket.frames import Frame
from gateway.websocket.open_channels import Channels
from gateway.websocket.outgoing import WAITING_BYTES_MAX, Outgoing, Writer
from gateway.websocket.session import OrderConnection, Session
from gateway.websocket.state_channels import DepthChannel
from tests.clients.book_messages import BookServer

START = datetime(2024, 1, 1, tzinfo=UTC)
INSTRUMENT = "BTC-USD"
ONE = Decimal(1)
SECONDS = 10.0


def at(sequence: int) -> datetime:
    return START + timedelta(seconds=sequence)


def trade(sequence: int) -> Trade:
    names = {"maker_order_id": "m", "maker_client_id": "M", "taker_order_id": "t"}
    return Trade(
        **names,
        taker_client_id="T",
        trade_id=f"trade-{sequence}",
        sequence=sequence,
        index=0,
        time=at(sequence),
        instrument=INSTRUMENT,
        price=ONE,
        quantity=ONE,
        aggressor_side=Side.BUY,
        maker_fee=ONE,
        taker_fee=ONE,
    )


def trades(first: int, last: int) -> TradesMessage:
    told = tuple(trade(sequence) for sequence in range(first, last + 1))
    return TradesMessage(last, first - 1, told, restarted=False)


def order(sequence: int, price: int = 1, **changed: Any) -> Order:
    """As it stood at a sequence."""
    standing = Order(
        order_id="o",
        client_id="A",
        client_reference="",
        instrument=INSTRUMENT,
        side=Side.BUY,
        type=OrderType.LIMIT,
        time_in_force=TimeInForce.GOOD_TILL_CANCEL,
        post_only=False,
        self_trade_prevention=SelfTradePrevention.NONE,
        price=Decimal(price),
        quantity=Decimal(10),
        filled_quantity=Decimal(0),
        remaining_quantity=Decimal(10),
        cancelled_quantity=Decimal(0),
        status=OrderStatus.OPEN,
        end_reason=None,
        placed_sequence=1,
        created_time=at(1),
        updated_time=at(sequence),
    )
    return replace(standing, **changed)


def told(sequence: int, standing: Order | None = None, price: int = 1) -> OrderEventsMessage:
    """A fill, or what an order was at that sequence."""
    kind = OrderEventKind.FILLED if standing is None else OrderEventKind.REPLACED
    event = OrderEvent(
        sequence=sequence,
        index=0,
        time=at(sequence),
        kind=kind,
        order_id="o",
        client_id="A",
        client_reference="",
        instrument=INSTRUMENT,
        side=Side.BUY,
        price=Decimal(price) if standing is None else standing.price,
        filled_quantity=ONE,
        remaining_quantity=Decimal(9),
        status=OrderStatus.PARTIALLY_FILLED,
        change=Decimal(0),
        reason=None,
        order=standing,
        trade=None,
    )
    return OrderEventsMessage(sequence, sequence - 1, (event,), restarted=False)


class Exchange:
    """Streams by where they start: None is now. Each goes on with what is put into its queue."""

    def __init__(self) -> None:
        self.streams: dict[int | None, asyncio.Queue[Any]] = {}
        self.read: Order | None = None

    def told(self, after_sequence: int | None, *messages: Any) -> None:
        queue = self.streams.setdefault(after_sequence, asyncio.Queue())
        for message in messages:
            queue.put_nowait(message)

    async def follow_trades(
        self, _: str, after_sequence: int | None, *, on_interruption: OnInterruption
    ) -> AsyncGenerator[TradesMessage, None]:
        queue = self.streams.setdefault(after_sequence, asyncio.Queue())
        while True:
            message = await queue.get()
            if isinstance(message, Exception):
                raise message
            if isinstance(message, Interruption):
                on_interruption(message)
            else:
                yield message

    def follow_order_events(
        self, *, instrument: str, after_sequence: int | None, on_interruption: OnInterruption
    ) -> AsyncGenerator[Any, None]:
        return self.follow_trades(instrument, after_sequence, on_interruption=on_interruption)

    def follow_ticker(
        self, instrument: str, *, on_interruption: OnInterruption
    ) -> AsyncGenerator[Any, None]:
        return self.follow_trades(instrument, None, on_interruption=on_interruption)

    def follow_book_messages(
        self, instrument: str, *, on_interruption: OnInterruption
    ) -> AsyncGenerator[Any, None]:
        return self.follow_trades(instrument, None, on_interruption=on_interruption)

    async def order(self, _: str) -> Order:
        if self.read is None:
            raise ExchangeError("it knows none", code=grpc.StatusCode.NOT_FOUND)
        return self.read

    async def instruments(self) -> list[Any]:
        return [SimpleNamespace(name=INSTRUMENT)]


class Wire:
    """A connection whose client reads all that is written, a turn of the loop later."""

    def __init__(self) -> None:
        self.written = b""
        self.protocol = SimpleNamespace(extensions=[], state=State.OPEN)
        self.transport = self
        self.reason = ""
        self.paused = False
        self.counts = Counts()
        self.on_room: Callable[[], None]
        self.writes = 0
        self.aborted = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.written += data
        self.writes += 1

    def abort(self) -> None:
        self.reason = self.reason or "aborted"
        self.aborted.set()

    def end(self, _: int, reason: str) -> None:
        self.reason = reason

    def frames(self) -> list[dict[str, Any]]:
        found, at = [], 0
        while at < len(self.written):
            size, head = self.written[at + 1], 2
            if size == 126:
                size, head = int.from_bytes(self.written[at + 2 : at + 4]), 4
            begin = at + head
            found.append(json.loads(self.written[begin : begin + size]))
            at = begin + size
        return found

    async def until(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """The frames of a kind, once there are so many."""
        async with asyncio.timeout(SECONDS):
            while len(it := [each for each in self.frames() if each["type"] == kind]) < count:
                assert not self.reason, self.reason
                await asyncio.sleep(0.005)
        return it


@asynccontextmanager
async def wired() -> AsyncIterator[tuple[Wire, Outgoing]]:
    wire = Wire()
    yield wire, Outgoing(cast("Any", wire), Writer())


async def begun(channel: Channel) -> asyncio.Task[None]:
    task = asyncio.create_task(channel.run())
    async with asyncio.timeout(SECONDS):
        await channel.begun.wait()
    return task


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_long_past_waits_for_its_reader() -> None:
    """More than fits into a queue, in one message."""

    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, trades(5_001, 5_000))
        exchange.told(0, trades(1, 5_000))
        channel = TradesChannel(cast("Any", exchange), INSTRUMENT)
        task = await begun(channel)
        async with wired() as (wire, outgoing):
            await asyncio.wait_for(channel.catch_up(outgoing, 0), SECONDS)
            await wire.until("resumed")
            past = await wire.until("trades", 5_000)
            assert [int(frame["sequence"]) for frame in past] == list(range(1, 5_001))
            assert len(wire.written) > 2 * WAITING_BYTES_MAX
            assert not outgoing.cut
        task.cancel()

    run(test)


def test_past_leaves_the_memory_of_the_present_alone() -> None:
    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, OrderEventsMessage(10, 9, (), restarted=False))
        exchange.told(0, told(1, order(1, price=1)), OrderEventsMessage(11, 1, (), restarted=False))
        channel = OrdersChannel(cast("Any", exchange), INSTRUMENT)
        task = await begun(channel)
        async with wired() as (wire, outgoing), wired() as (_, behind):
            channel.subscribers.add(outgoing)
            exchange.told(None, told(11, order(11, price=2)))
            await wire.until("orders")
            await asyncio.wait_for(channel.catch_up(behind, 0), SECONDS)
            exchange.told(None, told(12, price=2))
            fill = (await wire.until("orders", 2))[-1]["data"]
            assert (fill["price"], fill["status"]) == (2, "partially_filled")
        task.cancel()

    run(test)


@pytest.mark.parametrize("kind", ["trades", "orders", "depth", "orderbook", "ticker"])
@pytest.mark.parametrize(
    ("refusal", "code", "says"),
    [
        (
            RefusedError("streams 9 are too many", code=grpc.StatusCode.RESOURCE_EXHAUSTED),
            8,
            "streams 9 are too many",
        ),
        (UnavailableError("gone", code=grpc.StatusCode.UNAVAILABLE), 14, "can't be reached at"),
    ],
)
def test_channel_that_is_refused_again_and_again_says_why(
    monkeypatch: pytest.MonkeyPatch, refusal: ExchangeError, code: int, says: str, kind: str
) -> None:
    """Who subscribes can do something about a limit."""
    monkeypatch.setattr(sessions, "BEGIN_S", 0.05)

    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, Interruption(refusal, 1.0))
        async with wired() as (wire, outgoing):
            link = cast("Any", SimpleNamespace(address="", channel=grpc.aio.insecure_channel("x")))
            session = Session(outgoing, Channels(cast("Any", exchange)), OrderConnection(link), "")
            await session.take(json.dumps({"type": "subscribe", "channels": [kind]}))
            (error,) = await wire.until("error")
            assert error["code"] == code
            assert says in error["error"]
            assert not session.subscribed

    run(test)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ExchangeError("it is gone", code=grpc.StatusCode.DATA_LOSS), 15),
        (ValueError("a fault"), 13),
    ],
)
@pytest.mark.parametrize(
    ("kind", "before"),
    [("trades", True), ("trades", False), ("depth", False), ("orderbook", False)],
)
def test_channel_that_fails_is_told_of_and_opened_anew(
    failure: Exception, code: int, kind: str, before: bool
) -> None:
    async def test() -> None:
        exchange = Exchange()
        all_channels = Channels(cast("Any", exchange))
        async with wired() as (wire, outgoing):
            link = cast("Any", SimpleNamespace(address="", channel=grpc.aio.insecure_channel("x")))
            session = Session(outgoing, all_channels, OrderConnection(link), "")
            frame = json.dumps({"type": "subscribe", "channels": [kind], "request_id": "r"})
            if before:
                exchange.told(None, trades(11, 10))
                await session.take(frame)
                await wire.until("subscribed")
            exchange.told(None, failure)
            if not before:
                await session.take(frame)
            (error,) = await wire.until("error")
            assert (error["code"], error["channel"].split(":")[1]) == (code, INSTRUMENT)
            assert error.get("request_id") == (None if before else "r")
            assert not session.subscribed
            if kind == "trades":
                exchange.told(None, trades(13, 12))
                await session.take(frame)
                exchange.told(None, trades(13, 13))
                assert (await wire.until("trades"))[0]["sequence"] == "13"
            session.close()
            all_channels.close_unused()
            await link.channel.close()

    run(test)


def test_who_joins_in_the_middle_of_a_command_is_sent_it_once() -> None:
    """A command that fills several messages: the channel has published one of them."""

    def part(sequence: int, *indices: int) -> TradesMessage:
        told = tuple(replace(trade(11), index=each, trade_id=f"11-{each}") for each in indices)
        return TradesMessage(sequence, 10, told, restarted=False)

    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, trades(11, 10))
        exchange.told(10, part(11, 0, 1))
        channel = TradesChannel(cast("Any", exchange), INSTRUMENT)
        task = await begun(channel)
        async with wired() as (wire, early), wired() as (late_wire, late):
            channel.subscribers.add(early)
            exchange.told(None, part(10, 0))
            await wire.until("trades")
            await asyncio.wait_for(channel.catch_up(late, 10), SECONDS)
            exchange.told(None, part(11, 1), trades(12, 12))
            for each in (wire, late_wire):
                told = [frame["data"]["trade_id"] for frame in await each.until("trades", 3)]
                assert told == ["11-0", "11-1", "trade-12"]
        task.cancel()

    run(test)


def test_who_leaves_ahead_of_the_channel_is_forgotten() -> None:
    """Its connection is over: a channel that others keep open must not hold it for good."""

    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, trades(11, 10))
        exchange.told(10, trades(11, 12))
        channel = TradesChannel(cast("Any", exchange), INSTRUMENT)
        task = await begun(channel)
        async with wired() as (wire, early):
            await asyncio.wait_for(channel.catch_up(early, 10), SECONDS)
            Channels(cast("Any", exchange)).leave(channel, early)
            held = weakref.ref(early)
        del wire, early
        async with asyncio.timeout(SECONDS):
            # What was sent to it is written first.
            while held() is not None:
                await asyncio.sleep(0.01)
                gc.collect()
        task.cancel()

    run(test)


def test_memory_of_a_channel_that_nobody_wants_is_free_at_once() -> None:
    """It may hold 50,000 orders, and the collector comes to old objects late."""

    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, trades(1, 1))
        channels = Channels(cast("Any", exchange))
        channel = channels.get("trades", INSTRUMENT)
        await asyncio.wait_for(channel.begun.wait(), SECONDS)
        is_free = asyncio.Event()
        kept = weakref.ref(channel, lambda _: is_free.set())
        del channel
        gc.disable()
        try:
            channels.close_unused()
            await asyncio.wait_for(is_free.wait(), SECONDS)
            assert kept() is None
        finally:
            gc.enable()

    run(test)


def test_orders_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those told of the longest ago go first."""
    monkeypatch.setattr(event_channels, "ORDERS_KNOWN_MAX", 2)
    known = event_channels.Memory()
    for order_id in ("a", "b", "a", "c"):
        event_channels.remember(known, order(1, order_id=order_id), ended=False)
    assert list(known) == ["a", "c"]
    event_channels.remember(known, order(1, order_id="a"), ended=True)
    assert list(known) == ["c"]


def test_a_heartbeat_of_a_book_goes_to_nobody() -> None:
    """And no delta follows on it, since its sequence was never told."""

    class Reader:
        def __init__(self) -> None:
            self.told: list[tuple[str, str, str]] = []
            self.has_three = asyncio.Event()

        def delta(self, _: Channel, frame: Frame) -> None:
            content = json.loads(frame.plain[frame.plain.index(b"{") :])
            kind = content["data"]["type"]
            self.told.append((kind, content["previous_sequence"], content["sequence"]))
            if len(self.told) == 3:
                self.has_three.set()

    async def test() -> None:
        exchange, book, mirror = Exchange(), BookServer(), BookMirror(INSTRUMENT)
        depth, reader = DepthChannel(cast("Any", exchange), INSTRUMENT), Reader()
        depth.subscribers.add(cast("Any", reader))
        running = asyncio.create_task(depth.run())
        first = book.snapshot()
        changed = (book.change(1, {5: 1}), book.change(3), book.change(4, {6: 1}))
        for message in (first, *changed):
            mirror.take(message)
            exchange.told(None, (mirror, message))
        async with asyncio.timeout(10):
            await reader.has_three.wait()
        assert reader.told[1:] == [("delta", "0", "1"), ("delta", "1", "4")]
        running.cancel()

    run(test)
