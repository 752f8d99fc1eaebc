"""What the engine shows of the market, as messages; each says at which sequence it is true."""

from typing import Final, NamedTuple

from exchange.v1 import market_data_pb2 as messages
from exchange.v1.types_pb2 import Level
from server.core.engine import Engine
from server.core.market import Ticker
from server.core.types import BUY, SELL
from server.feed.activity import Activity
from server.rpc import present
from server.rpc.decimals import E16_PLACES, decimal_text
from server.rpc.market_figures import Days, statistics_of

BOOKS_KEPT_MAX: Final = 1_000
"""Encoded books of one sequence: callers mostly ask for the same few."""


class BookQuery(NamedTuple):
    """Which book, and how many levels a side."""

    instrument: str
    levels: int


class TradesQuery(NamedTuple):
    """A page of trades, before this (sequence, index)."""

    instrument: str
    limit: int
    before: tuple[int, int] | None


class Books:
    """Encoded books: each is made once for all who ask for the same at one sequence."""

    def __init__(self) -> None:
        self._sequence = -1
        self._encoded: dict[BookQuery, bytes] = {}

    def reply(self, engine: Engine, query: BookQuery) -> bytes | None:
        """An encoded `GetOrderBookResponse`, None where the instrument is not listed. One behind
        the other they are a `GetOrderBooksResponse`, which has its books in the same field."""
        if query.instrument not in engine.markets:
            return None
        if engine.sequence != self._sequence or len(self._encoded) >= BOOKS_KEPT_MAX:
            self._sequence = engine.sequence
            self._encoded.clear()
        found = self._encoded.get(query)
        if found is None:
            reply = messages.GetOrderBookResponse()
            _book(reply.book, engine, query)
            found = self._encoded[query] = reply.SerializeToString()
        return found


def _book(into: messages.OrderBook, engine: Engine, query: BookQuery) -> None:
    book = engine.book(query.instrument)
    into.instrument = query.instrument
    for side, levels in ((BUY, into.bids), (SELL, into.asks)):
        for price_e8, quantity_e8 in book.depth(side, query.levels):
            levels.add(price_e8=price_e8, quantity_e8=quantity_e8)
    into.sequence = engine.sequence
    into.time_ns = engine.time_ns


def instruments(engine: Engine) -> messages.ListInstrumentsResponse:
    """All of them, in listing order."""
    reply = messages.ListInstrumentsResponse(sequence=engine.sequence)
    for definition in engine.instruments.values():
        present.instrument(reply.instruments.add(), definition)
    return reply


def trades(engine: Engine, query: TradesQuery) -> messages.ListTradesResponse | None:
    """A page; one more than asked for tells whether there is another."""
    if query.instrument not in engine.markets:
        return None
    found = engine.trades(query.instrument, query.limit + 1, query.before)
    reply = messages.ListTradesResponse(sequence=engine.sequence)
    for trade in found[: query.limit]:
        present.trade(reply.trades.add(), *trade)
    if len(found) > query.limit:
        sequence, index = found[query.limit - 1][:2]
        reply.next_page_token = f"{sequence}-{index}"
    return reply


class Tickers:
    """Encoded tickers: each is made once for all who ask for the same at one sequence."""

    def __init__(self) -> None:
        self._sequence = -1
        self._encoded: dict[str, bytes] = {}
        self._days = Days()

    def reply(self, engine: Engine, instrument: str) -> bytes | None:
        """An encoded `GetTickerResponse`, None where the instrument is not listed. It is a
        `StreamTickerResponse` too, which has its ticker in the same field."""
        if instrument not in engine.markets:
            return None
        if engine.sequence != self._sequence:
            self._sequence = engine.sequence
            self._encoded.clear()
        found = self._encoded.get(instrument)
        if found is None:
            reply = messages.GetTickerResponse()
            _ticker(reply.ticker, engine, instrument, self._days.ticker(engine, instrument))
            found = self._encoded[instrument] = reply.SerializeToString()
        return found


def _ticker(into: messages.Ticker, engine: Engine, instrument: str, found: Ticker) -> None:
    """Last, best and the 24 hours up to the last command."""
    book = engine.book(instrument)
    into.instrument = instrument
    into.last_price_e8 = found.last_price_e8
    into.bid.CopyFrom(_best(book.depth(BUY, 1)))
    into.ask.CopyFrom(_best(book.depth(SELL, 1)))
    into.open_price_e8 = found.open_e8
    into.high_price_e8 = found.high_e8
    into.low_price_e8 = found.low_e8
    into.volume = decimal_text(found.volume_e8)
    into.notional = decimal_text(found.notional_e16, E16_PLACES)
    into.change_e8 = found.last_price_e8 - found.open_e8 if found.trade_count else 0
    into.trade_count = found.trade_count
    into.sequence = engine.sequence
    into.time_ns = engine.time_ns


def statistics(
    engine: Engine, activity: Activity, instrument: str
) -> messages.GetStatisticsResponse | None:
    """What a market holds, and what it did."""
    if instrument not in engine.markets:
        return None
    found = statistics_of(engine, activity, instrument)
    return messages.GetStatisticsResponse(
        open_orders=found.open_orders,
        sequence=engine.sequence,
        instrument=instrument,
        time_ns=engine.time_ns,
        since_time_ns=activity.since_ns,
        orders=found.done.orders,
        trades=found.done.trades,
        volume=decimal_text(found.done.volume_e8),
        recent_orders=found.done.recent_orders,
        recent_trades=found.done.recent_trades,
        recent_seconds=activity.recent_seconds,
        day_trades=found.day.trade_count,
        day_volume=decimal_text(found.day.volume_e8),
        bid_levels=found.bid_levels,
        ask_levels=found.ask_levels,
        bid_depth=decimal_text(found.bid_depth_e8),
        ask_depth=decimal_text(found.ask_depth_e8),
        spread_e8=found.spread_e8,
    )


def _best(levels: list[tuple[int, int]]) -> Level:
    return Level(price_e8=levels[0][0], quantity_e8=levels[0][1]) if levels else Level()
