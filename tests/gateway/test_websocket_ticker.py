"""The ticker's channel of the WebSocket bridge, on a stream that does what a test wants of it."""

from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

from clients.types import Ticker
from gateway.websocket.state_channels import TickerChannel
from tests.gateway.test_websocket_channels import INSTRUMENT, ONE, Exchange, at, begun, run, wired


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
