"""Tickers, their stream, and statistics: what a market did and what it is now."""

import time
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from exchange.v1.market_data_pb2 import (
    GetStatisticsRequest,
    GetTickerRequest,
    GetTickerResponse,
    StreamTickerRequest,
    Ticker,
)
from server.core.commands import PlaceOrder, SetInstrument
from server.core.engine import Engine
from server.core.instruments import Instrument
from server.core.market import MINUTE_NS, WINDOW_MINUTES
from server.core.types import BUY, E8, IOC, LIMIT, SELL, Stamp
from server.feed.activity import RECENT_S, SECOND_NS, Activity
from server.rpc import market_figures
from server.rpc.market_view import Tickers
from server.sequencer.ticket import ClosedRecord, OpenRecord
from tests.feed.market import BTC, ETH, Failure, running, seconds

NEVER: Final = 2**63


async def ticker_at(stream: Any, sequence: int) -> Ticker:
    """The first that is at least as new."""
    ticker: Ticker = (await seconds(stream.read())).ticker
    while ticker.sequence < sequence:
        newer = (await seconds(stream.read())).ticker
        assert newer.sequence >= ticker.sequence
        ticker = newer
    return ticker


@pytest.mark.asyncio
async def test_ticker_stream_follows_its_market(tmp_path: Path) -> None:
    async with running(tmp_path, heartbeat_ms=20) as market:
        stub = market.data()
        stream = stub.StreamTicker(StreamTickerRequest(instrument=BTC))
        empty = (await seconds(stream.read())).ticker
        assert (empty.instrument, empty.last_price_e8, empty.sequence) == (BTC, 0, 2)
        for quantity in (1, 2, 3):
            ticker = await ticker_at(stream, await market.trade(BTC, quantity))
            assert ticker == (await stub.GetTicker(GetTickerRequest(instrument=BTC))).ticker
            assert ticker.trade_count == quantity
        # A quiet market is told again; nothing of it is new.
        assert (await seconds(stream.read())).ticker == ticker
        # Nor does another market wake it with something else.
        await market.trade(ETH)
        assert (await ticker_at(stream, market.sequencer.durable_sequence)).trade_count == 3
        stream.cancel()


@pytest.mark.asyncio
async def test_ticker_tells_each_of_its_fields(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        await market.commit(
            *(PlaceOrder("a", BTC, SELL, LIMIT, 2 * E8, price * E8) for price in (100, 90, 110)),
            *(PlaceOrder("b", BTC, BUY, LIMIT, 2 * E8, price * E8) for price in (90, 100, 105)),
            PlaceOrder("b", BTC, BUY, LIMIT, E8, 80 * E8),
        )
        found = (await market.data().GetTicker(GetTickerRequest(instrument=BTC))).ticker
        assert found == Ticker(
            instrument=BTC,
            last_price_e8=100 * E8,
            bid={"price_e8": 105 * E8, "quantity_e8": 2 * E8},
            ask={"price_e8": 110 * E8, "quantity_e8": 2 * E8},
            open_price_e8=90 * E8,
            high_price_e8=100 * E8,
            low_price_e8=90 * E8,
            volume="4",
            notional="380",
            change_e8=10 * E8,
            trade_count=2,
            sequence=market.sequencer.durable_sequence,
            time_ns=market.sequencer.engine.time_ns,
        )


@pytest.mark.asyncio
async def test_slow_reader_of_tickers_gets_the_newest(tmp_path: Path) -> None:
    async with running(tmp_path) as market:

        def render(engine: Engine) -> tuple[int, bytes]:
            return engine.sequence, str(engine.ticker(BTC).trade_count).encode()

        reader = market.feed.read_ticker("peer", BTC, render)
        messages = reader.messages()
        assert await seconds(anext(messages)) == b"0"
        for _ in range(20):
            await market.trade(BTC)
        assert await seconds(anext(messages)) == b"20"
        assert reader.sequence_sent == market.sequencer.durable_sequence
        assert reader.bytes_waiting == 0
        await messages.aclose()
        reader.close()
        assert not market.feed.readers.open


@pytest.mark.asyncio
async def test_ticker_stream_ends_with_the_server(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        stream = market.data().StreamTicker(StreamTickerRequest(instrument=BTC))
        await seconds(stream.read())
        market.feed.stop()
        with pytest.raises(Failure) as ended:
            await ticker_at(stream, NEVER)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.asyncio
async def test_statistics(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        stub = market.data()
        request = GetStatisticsRequest(instrument=BTC)
        empty = await stub.GetStatistics(request)
        assert (empty.orders, empty.trades, empty.volume, empty.open_orders) == (0, 0, "0", 0)
        await market.commit(
            PlaceOrder("a", BTC, SELL, LIMIT, 2 * E8, 101 * E8),
            PlaceOrder("a", BTC, SELL, LIMIT, E8, 101 * E8),
            PlaceOrder("a", BTC, SELL, LIMIT, E8, 102 * E8),
            PlaceOrder("b", BTC, BUY, LIMIT, E8 // 2, 101 * E8, IOC),
            PlaceOrder("b", BTC, BUY, LIMIT, E8, 99 * E8),
            PlaceOrder("b", BTC, BUY, LIMIT, E8, 0),
            PlaceOrder("b", ETH, BUY, LIMIT, E8, 99 * E8),
        )
        found = await stub.GetStatistics(request)
        assert (found.instrument, found.sequence) == (BTC, 8)
        assert (found.orders, found.recent_orders) == (5, 5)
        assert (found.trades, found.recent_trades, found.day_trades) == (1, 1, 1)
        assert (found.volume, found.day_volume) == ("0.5", "0.5")
        assert (found.open_orders, found.bid_levels, found.ask_levels) == (4, 1, 2)
        assert (found.bid_depth, found.ask_depth, found.spread_e8) == ("1", "3.5", 2 * E8)
        assert 1 <= found.recent_seconds <= RECENT_S
        assert 0 < found.since_time_ns <= found.time_ns


@pytest.mark.asyncio
async def test_the_day_outlives_a_restart_and_the_counters_begin_anew(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        await market.trade(BTC, E8)
    async with running(tmp_path) as market:
        found = await market.data().GetStatistics(GetStatisticsRequest(instrument=BTC))
        assert (found.orders, found.trades, found.volume) == (0, 0, "0")
        assert (found.day_trades, found.day_volume) == (1, "1")


def record(engine: Engine, sequence: int, time_ns: int, *commands: PlaceOrder) -> ClosedRecord:
    opened = OpenRecord(sequence, time_ns)
    for number, command in enumerate(commands, sequence):
        events = engine.apply(command, Stamp(number, time_ns))
        assert isinstance(events, list)
        opened.commands.append(command)
        opened.events.append(events)
    return ClosedRecord(opened)


@pytest.mark.parametrize("stamps_go_on", [True, False])
def test_recent_counts_are_those_of_the_last_minute(*, stamps_go_on: bool) -> None:
    """Stamps stand still after the wall clock was set back."""
    engine = Engine()
    engine.apply(SetInstrument(Instrument(BTC)), Stamp(1, 0))
    now_ns = 1_000 * SECOND_NS
    activity = Activity(lambda: now_ns)
    assert activity.recent_seconds == 1
    pair = (
        PlaceOrder("a", BTC, SELL, LIMIT, 3, 7),
        PlaceOrder("b", BTC, BUY, LIMIT, 3, 7),
    )
    for each in range(200):
        now_ns = (1_000 + each) * SECOND_NS
        time_ns = now_ns if stamps_go_on else 5_000 * SECOND_NS
        activity.count(record(engine, 2 + 4 * each, time_ns, *pair))
        activity.count(record(engine, 4 + 4 * each, time_ns, *pair))
        done = activity.of(BTC)
        assert (done.orders, done.trades) == (4 * (each + 1), 2 * (each + 1))
        assert done.volume_e8 == 6 * (each + 1)
        last = min(each + 1, RECENT_S)
        assert (done.recent_orders, done.recent_trades) == (4 * last, 2 * last)
    assert activity.recent_seconds == RECENT_S
    now_ns += SECOND_NS
    assert activity.of(BTC)[3:] == (4 * (RECENT_S - 1), 2 * (RECENT_S - 1))
    now_ns += 2 * RECENT_S * SECOND_NS
    assert activity.of(BTC)[3:] == (0, 0)
    assert activity.of(ETH).orders == 0


def test_the_last_24_hours_pass_while_nothing_comes() -> None:
    engine, clock = Engine(), [0]
    tickers = Tickers(lambda: clock[0])
    engine.apply(SetInstrument(Instrument(BTC)), Stamp(1, 0))
    engine.apply(PlaceOrder("c", BTC, SELL, LIMIT, 1, 100), Stamp(2, MINUTE_NS))
    engine.apply(PlaceOrder("c", BTC, BUY, LIMIT, 1, 100), Stamp(3, MINUTE_NS))
    for clock[0], traded in ((0, 1), (WINDOW_MINUTES * MINUTE_NS, 1), (NEVER, 0)):
        found = engine.ticker(BTC, market_figures.now_ns(engine, lambda: clock[0]))
        told = GetTickerResponse.FromString(tickers.reply(engine, BTC) or b"").ticker
        assert (found.trade_count, found.volume_e8, found.last_price_e8) == (traded, traded, 100)
        assert (told.trade_count, told.last_price_e8, told.sequence) == (traded, 100, 3)


@pytest.mark.asyncio
async def test_statistics_forget_a_day_that_is_over(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        await market.trade(BTC)
        request = GetStatisticsRequest(instrument=BTC)
        assert (await market.data().GetStatistics(request)).day_trades == 1
        later_ns = time.time_ns() + (WINDOW_MINUTES + 1) * MINUTE_NS
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(market_figures, "now_ns", lambda _: later_ns)
            found = await market.data().GetStatistics(request)
        assert (found.day_trades, found.day_volume, found.trades) == (0, "0", 1)
