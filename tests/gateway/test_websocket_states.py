"""Channels of a state, and a connection, on books and clocks that do what a test wants."""

import asyncio
import json
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
from gateway.websocket import state_channels
from gateway.websocket.figures import Counts
from gateway.websocket.frames import Frame, number, number_of_e8, ticker_json
from gateway.websocket.link import FRAMES_PER_SECOND_CLOSE, POLICY, Link
from gateway.websocket.open_channels import Channels
from gateway.websocket.session import OrderConnection, Session
from gateway.websocket.state_channels import DepthChannel, TickerChannel
from tests.clients.book_messages import BookServer
from tests.gateway.test_websocket_channels import (
    INSTRUMENT,
    ONE,
    Exchange,
    at,
    begun,
    run,
    wired,
)


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


def test_a_snapshot_is_the_copy_of_the_book() -> None:
    server = BookServer()
    server.bids, server.asks = {150_000_000: 3, 10**16 + 1: E8}, {10**16 + 2: 10**17 + 1}
    depth = DepthChannel(cast("Any", None), INSTRUMENT)
    depth.mirror = BookMirror(INSTRUMENT)
    depth.mirror.take(server.snapshot())
    frame = depth.first()
    book = json.loads(frame.plain[frame.plain.index(b"{") :])["data"]
    assert book["bids"] == [
        {"price": 100_000_000, "quantity": 1},
        {"price": 1.5, "quantity": 3e-8},
    ]
    assert book["asks"] == [{"price": 100_000_000, "quantity": 1_000_000_000}]
