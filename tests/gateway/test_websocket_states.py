"""Channels of a state, on a book and a market that do what a test wants of them."""

import asyncio
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import grpc

from clients.mirror import BookMirror
from gateway.websocket.frames import Frame, ticker_json
from gateway.websocket.open_channels import Channels
from gateway.websocket.session import Calls, Session
from gateway.websocket.state_channels import DepthChannel, TickerChannel
from tests.clients.book_messages import BookServer
from tests.gateway.test_websocket_channels import INSTRUMENT, Exchange, run, ticker_at, wired


def test_the_book_that_another_channel_is_made_of_stays_as_long_as_that() -> None:
    async def test() -> None:
        exchange, book, mirror = Exchange(), BookServer(), BookMirror(INSTRUMENT)
        all_channels = Channels(cast("Any", exchange))

        def told(message: Any) -> None:
            mirror.take(message)
            exchange.told(None, (mirror, message))

        async with wired() as (wire, outgoing):
            link = cast("Any", SimpleNamespace(address="", channel=grpc.aio.insecure_channel("x")))
            session = Session(outgoing, all_channels, Calls(link), "")
            told(book.snapshot())
            await session.take(json.dumps({"type": "subscribe", "channels": ["orderbook"]}))
            all_channels.close_unused()
            assert all_channels.open() == {"orderbook": 1, "depth": 1}
            told(book.change(1, {5: 1}))
            assert (await wire.until("orderbook", 2))[1]["data"]["sequence"] == "1"
            session.close()
            all_channels.close_unused()
            assert not all_channels.open()
            await asyncio.sleep(0)
            await link.channel.close()

    run(test)


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
