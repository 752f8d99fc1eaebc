"""Channels of a state, and a connection, on books and clocks that do what a test wants."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from clients.decimals import E8, decimal_of_e8
from clients.errors import RefusedError
from clients.mirror import BookMirror
from clients.types import Ticker
from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from exchange.v1.types_pb2 import Level
from gateway.websocket import state_channels
from gateway.websocket.figures import Counts
from gateway.websocket.frames import Frame, number, number_of_e8, ticker_json
from gateway.websocket.link import FRAMES_PER_SECOND_CLOSE, POLICY, Link
from gateway.websocket.open_channels import Channels
from gateway.websocket.outgoing import PAST_BYTES_MAX, WAITING_BYTES_MAX
from gateway.websocket.session import OrderConnection, Session
from gateway.websocket.state_channels import DepthChannel, TickerChannel
from tests.clients.book_messages import BookServer
from tests.gateway.test_websocket_channels import (
    INSTRUMENT,
    ONE,
    SECONDS,
    Exchange,
    at,
    begun,
    run,
    wired,
)
from tests.on_loop import until


def ticker_at(sequence: int) -> Ticker:
    nothing = dict.fromkeys(("bid", "ask", "open_price", "high_price", "low_price"))
    return Ticker(
        **nothing,
        instrument=INSTRUMENT,
        last_price=Decimal(sequence),
        change=Decimal(0),
        volume=ONE,
        notional=ONE,
        trade_count=1,
        sequence=sequence,
        time=at(sequence),
    )


def test_ticker_is_the_newest_however_many_there_were() -> None:
    """What is not read as it comes would wait in the connection to the server, and grow old."""

    async def test() -> None:
        exchange = Exchange()
        channel = TickerChannel(cast("Any", exchange), INSTRUMENT)
        exchange.told(None, ticker_at(1))
        task = await begun(channel)
        async with wired() as (wire, outgoing):
            channel.subscribers.add(outgoing)
            exchange.told(None, *map(ticker_at, range(2, 1_000)))
            first, *others = await wire.until("ticker")
            assert first["data"]["last"] == 999
            assert others == []
            assert exchange.streams[None].empty()
        task.cancel()

    run(test)


def test_ticker_tells_of_a_day_that_ended_without_a_command() -> None:
    """The trades of the last 24 hours pass out of it, at the same sequence."""

    async def test() -> None:
        exchange = Exchange()
        channel = TickerChannel(cast("Any", exchange), INSTRUMENT)
        traded = ticker_at(1)
        exchange.told(None, traded)
        task = await begun(channel)
        async with wired() as (wire, outgoing):
            channel.subscribers.add(outgoing)
            exchange.told(None, traded, replace(traded, volume=Decimal(0), trade_count=0))
            (quiet,) = await wire.until("ticker")
            assert (quiet["data"]["trade_count"], quiet["sequence"]) == (0, "1")
        task.cancel()

    run(test)


def test_the_book_that_another_channel_is_made_of_stays_as_long_as_that() -> None:
    async def test() -> None:
        exchange, book, mirror = Exchange(), BookServer(), BookMirror(INSTRUMENT)
        all_channels = Channels(cast("Any", exchange))

        def told(message: Any) -> None:
            mirror.take(message)
            exchange.told(None, (mirror, message))

        async with wired() as (wire, outgoing):
            link = cast("Any", SimpleNamespace(address="", channel=grpc.aio.insecure_channel("x")))
            session = Session(outgoing, all_channels, OrderConnection(link), "")
            told(book.snapshot())
            await session.take(json.dumps({"type": "subscribe", "channels": ["orderbook"]}))
            all_channels.close_unused()
            assert all_channels.open() == {"orderbook": 1, "depth": 1}
            told(book.change(1, {5: 1}))
            assert (await wire.until("orderbook", 2))[1]["data"]["sequence"] == "1"
            exchange.told(None, RefusedError("it is gone", code=grpc.StatusCode.NOT_FOUND))
            (error,) = await wire.until("error")
            assert (error["error"], error["channel"]) == ("it is gone", "orderbook:BTC-USD")
            session.close()
            all_channels.close_unused()
            assert not all_channels.open()
            await asyncio.sleep(0)
            await link.channel.close()

    run(test)


def test_a_ticker_that_is_told_again_goes_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_channels, "STATE_S", 0.0)

    async def test() -> None:
        exchange = Exchange()
        channel = TickerChannel(cast("Any", exchange), INSTRUMENT)
        exchange.told(None, ticker_at(1))
        task = await begun(channel)
        async with wired() as (wire, outgoing):
            channel.subscribers.add(outgoing)
            exchange.told(None, ticker_at(1))
            await asyncio.sleep(0.01)
            assert outgoing._states == {}
            exchange.told(None, ticker_at(2))
            (frame,) = await wire.until("ticker")
            assert (frame["previous_sequence"], frame["sequence"]) == ("1", "2")
        task.cancel()

    run(test)


def test_frames_are_counted_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServerConnection, "process_event", lambda *_: None)
    now, ended = 1_000.0, []
    link = Link.__new__(Link)
    link.counts, link._second, link._frames = Counts(), 0.0, 0
    link.loop = cast("Any", SimpleNamespace(time=lambda: now))
    link.transport = cast("Any", SimpleNamespace(get_write_buffer_size=lambda: 0))
    monkeypatch.setattr(link, "end", lambda code, _: ended.append(code))
    for _ in range(3):
        for _ in range(FRAMES_PER_SECOND_CLOSE):
            link.process_event(WireFrame(Opcode.PING, b""))
        now += 1
    assert ended == []
    for _ in range(FRAMES_PER_SECOND_CLOSE + 2):
        link.process_event(WireFrame(Opcode.PING, b""))
    assert ended == [POLICY]


def test_nothing_of_a_channel_comes_once_it_was_left() -> None:
    """What had no room until then."""

    async def test() -> None:
        all_channels = Channels(cast("Any", Exchange()))
        async with wired() as (wire, outgoing):
            wire.paused = True
            for kind in (TickerChannel, DepthChannel):
                channel = kind(cast("Any", None), INSTRUMENT)
                outgoing.state(channel, Frame({}))
                outgoing.delta(channel, Frame({}))
                all_channels.leave(channel, outgoing)
            wire.paused = False
            wire.on_room()
            assert (wire.written, outgoing.waiting_bytes) == (b"", 0)

    run(test)


def test_a_market_without_a_trade_shows_no_prices() -> None:
    shown = ticker_json(replace(ticker_at(1), last_price=None))
    assert shown.keys() == {"instrument", "volume", "notional", "trade_count"}


@given(st.integers(-(2**63), 2**63 - 1) | st.integers(-(10**15) - 2, 10**15 + 2))
def test_a_number_is_the_same_of_a_decimal_and_of_the_wire_s_integer(value_e8: int) -> None:
    wanted, found = number(decimal_of_e8(value_e8)), number_of_e8(value_e8)
    assert (found, type(found)) == (wanted, type(wanted))


def level_of(shown: dict[str, Any]) -> Level:
    return Level(price_e8=round(shown["price"] * E8), quantity_e8=round(shown["quantity"] * E8))


class Reader(BookMirror):
    """A client with a copy of the book, made of what a channel sends him."""

    def __init__(self, *, taken: int = 1_000) -> None:
        super().__init__(INSTRUMENT)
        self.told: list[dict[str, Any]] = []
        self.may_go_on = asyncio.Event()
        self._taken = taken

    async def room(self) -> None:
        await self.may_go_on.wait()

    def delta(self, _: Any, frame: Frame) -> bool:
        if len(self.told) >= self._taken:
            return False
        content = json.loads(frame.plain[frame.plain.index(b"{") :])
        data = content["data"]
        bids, asks = ([level_of(it) for it in data[side]] for side in ("bids", "asks"))
        self.take(
            StreamOrderBookResponse(
                sequence=int(content["sequence"]),
                previous_sequence=int(content["previous_sequence"]),
                snapshot=data["type"] == "snapshot",
                bids=bids,
                asks=asks,
                checksum=data["checksum"],
                partial=data["partial"],
            )
        )
        assert max(len(bids), len(asks)) <= state_channels.PAGE_LEVELS
        self.told.append(data)
        return True


@asynccontextmanager
async def deep(bids: int, asks: int) -> AsyncIterator[tuple[DepthChannel, Callable[..., None]]]:
    """A channel of a book of so many levels, and what changes it."""
    exchange, server, mirror = Exchange(), BookServer(), BookMirror(INSTRUMENT)
    server.bids = {10_000 - number: 1 for number in range(bids)}
    server.asks = {20_000 + number: 1 for number in range(asks)}
    depth = DepthChannel(cast("Any", exchange), INSTRUMENT)

    def tell(message: StreamOrderBookResponse) -> None:
        mirror.take(message)
        exchange.told(None, (mirror, message))

    tell(server.snapshot())
    task = await begun(depth)

    def change(bids: dict[int, int], asks: dict[int, int] | None = None) -> None:
        """Without a turn of the loop before it is published."""
        message = server.change(server.sequence + 1, bids, asks)
        mirror.take(message)
        depth._checksum = message.checksum
        depth._publish(message)

    yield depth, change
    task.cancel()


def join(depth: DepthChannel, reader: Any) -> None:
    reader.delta(depth, depth.first(reader))
    depth.subscribers.add(reader)


def assert_same(reader: Reader, depth: DepthChannel) -> None:
    assert depth.mirror is not None
    for side in ("buy", "sell"):
        assert reader.levels(side) == depth.mirror.levels(side)


def test_a_deep_book_is_sent_in_pages_between_its_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is being sent one checks each message as any client does."""
    monkeypatch.setattr(state_channels, "PAGE_LEVELS", 15)

    async def test() -> None:
        async with deep(100, 40) as (depth, change):
            early, late = Reader(), Reader()
            join(depth, early)
            change(bids={9_990: 5, 9_970: 0, 5: 7}, asks={20_000: 0, 20_015: 3})
            join(depth, late)
            for reader in (early, late):
                reader.may_go_on.set()
            for number in range(8):
                change(bids={9_999 - 5 * number: 0, 9_961 + number: 2, 100 + number: 1})
                await asyncio.sleep(0)
            await until(lambda: not (early.partial or late.partial))
            change(bids={3: 1})
            for reader in (early, late):
                assert_same(reader, depth)
                kinds = [it["type"] for it in reader.told]
                assert kinds.count("snapshot") == 1
                partial = [it["partial"] for it in reader.told]
                assert partial == sorted(partial, reverse=True), (
                    "until the last page, and no longer"
                )
                assert partial.count(True) >= 6
            assert not depth._paging
            assert not depth._sent

    run(test)


def test_the_best_levels_are_sent_anew_where_too_few_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the next page; the checksum is of ten a side."""
    monkeypatch.setattr(state_channels, "PAGE_LEVELS", 15)

    async def test() -> None:
        async with deep(100, 40) as (depth, change):
            reader = Reader()
            join(depth, reader)
            change(dict.fromkeys(range(9_996, 10_001), 0))
            change({9_995: 0})
            assert [it["type"] for it in reader.told] == ["snapshot", "delta", "snapshot"]
            reader.may_go_on.set()
            await until(lambda: not reader.partial)
            assert_same(reader, depth)

    run(test)


def test_pages_wait_for_room_and_leave_some() -> None:
    async def test() -> None:
        async with deep(3_000, 3_000) as (depth, _), wired() as (wire, outgoing):
            wire.paused = True
            join(depth, outgoing)
            await until(lambda: outgoing.waiting_bytes > PAST_BYTES_MAX)
            assert outgoing.waiting_bytes < WAITING_BYTES_MAX * 3 / 4
            assert depth._paging
            wire.paused = False
            wire.on_room()
            await until(lambda: not depth._paging)
            pages = [frame["data"] for frame in await wire.until("depth", 6)]
            assert [page["partial"] for page in pages] == [True] * 5 + [False]
            assert sum(len(page["bids"]) for page in pages) == 3_000

    run(test)


@pytest.mark.parametrize("ending", ["leave", "restart", "dropped", "end"])
def test_pages_end_with_what_they_are_of(monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(state_channels, "PAGE_LEVELS", 10)

    async def test() -> None:
        async with deep(100, 40) as (depth, _):
            reader = Reader(taken=1)
            join(depth, reader)
            (task,) = depth._paging.values()
            if ending == "leave":
                depth.leave(cast("Any", reader))
            elif ending == "restart":
                depth._publish(BookServer().snapshot())
            elif ending == "end":
                assert depth.task is None
                depth._stop_paging(*depth._paging)
            else:
                reader.may_go_on.set()
            await asyncio.wait([task], timeout=SECONDS)
            assert task.done()
            assert task.cancelled() == (ending != "dropped")
            assert len(reader.told) == 1
            # Who was sent too little is sent all of it again.
            if ending == "dropped":
                depth.first(cast("Any", reader))
                assert depth._paging[cast("Any", reader)] is not task

    run(test)


def test_a_snapshot_is_the_copy_of_the_book() -> None:
    server = BookServer()
    server.bids, server.asks = {150_000_000: 3, 10**16 + 1: E8}, {10**16 + 2: 10**17 + 1}
    depth = DepthChannel(cast("Any", None), INSTRUMENT)
    depth.mirror = BookMirror(INSTRUMENT)
    depth.mirror.take(server.snapshot())
    frame = depth.first(cast("Any", object()))
    book = json.loads(frame.plain[frame.plain.index(b"{") :])["data"]
    assert book["bids"] == [
        {"price": 100_000_000, "quantity": 1},
        {"price": 1.5, "quantity": 3e-8},
    ]
    assert book["asks"] == [{"price": 100_000_000, "quantity": 1_000_000_000}]
    assert book["partial"] is False
