"""What the engine shows of the market, as messages; each says at which sequence it is true."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from exchange.v1 import market_data_pb2 as messages
from exchange.v1.types_pb2 import Level
from server.core.engine import Engine
from server.core.market import MINUTE_NS, TRADES_KEPT, Ticker
from server.core.types import BUY, SELL
from server.decimals import E16_PLACES, decimal_text
from server.event_messages import delimited
from server.feed.activity import Activity
from server.history.analytics import Analytics, average_e8
from server.rpc import present
from server.rpc.market_figures import now_ns, statistics_of

BOOKS_KEPT_MAX: Final = 1_000
"""Books kept: callers mostly ask for the same few. About 5 kB each at the default of 20 levels."""
LEVELS_DEFAULT: Final = 20
"""The levels of a book, a side, where a request names none."""
TRADES_DEFAULT: Final = 50
TRADES_MAX: Final = TRADES_KEPT
"""The trades on a page: as many as the engine keeps, about 150 kB."""
LEVELS_KEPT_MAX: Final = 100
"""The most levels of a book that is compared: some 25 kB, so 25 MB for all."""


class BookQuery(NamedTuple):
    """Says which book is asked for, and how many levels a side."""

    instrument: str
    levels: int


class _Levels(NamedTuple):
    """Some levels of a book as they were, and encoded."""

    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]
    encoded: bytes


class Books:
    """Encodes books: each is made once for all who ask for the same at one sequence.

    Most books are the same at the next sequence, so their levels are compared, which costs a
    quarter of encoding them.
    """

    def __init__(self) -> None:
        self._sequence = -1
        self._stamp = b""
        self._encoded: dict[BookQuery, bytes] = {}
        self._levels: dict[BookQuery, _Levels] = {}

    def reply(self, engine: Engine, query: BookQuery) -> bytes | None:
        """Give an encoded `GetOrderBookResponse`, None where the instrument is not listed. One
        behind the other they are a `GetOrderBooksResponse`, which has its books in the same
        field."""
        if query.instrument not in engine.markets:
            return None
        if engine.sequence != self._sequence:
            self._sequence = engine.sequence
            stamp = messages.OrderBook(sequence=engine.sequence, time_ns=engine.time_ns)
            self._stamp = stamp.SerializeToString()
            self._encoded.clear()
        found = self._encoded.get(query)
        if found is None:
            if len(self._encoded) >= BOOKS_KEPT_MAX or len(self._levels) >= BOOKS_KEPT_MAX:
                self._encoded.clear()
                self._levels.clear()
            body = self._levels_of(engine, query) + self._stamp
            found = delimited(messages.GetOrderBookResponse.BOOK_FIELD_NUMBER, body)
            self._encoded[query] = found
        return found

    def _levels_of(self, engine: Engine, query: BookQuery) -> bytes:
        """Encode the book but for its sequence and time."""
        book = engine.book(query.instrument)
        bids, asks = book.depth(BUY, query.levels), book.depth(SELL, query.levels)
        known = self._levels.get(query)
        if known is None or known.bids != bids or known.asks != asks:
            message = messages.OrderBook(instrument=query.instrument)
            for levels, add in ((bids, message.bids.add), (asks, message.asks.add)):
                for price_e8, quantity_e8 in levels:
                    add(price_e8=price_e8, quantity_e8=quantity_e8)
            known = _Levels(bids, asks, message.SerializeToString())
            if query.levels <= LEVELS_KEPT_MAX:
                self._levels[query] = known
        return known.encoded


def instruments(engine: Engine) -> messages.ListInstrumentsResponse:
    """List all instruments, in listing order."""
    reply = messages.ListInstrumentsResponse(sequence=engine.sequence)
    for definition in engine.instruments.values():
        present.instrument(reply.instruments.add(), definition)
    return reply


class Tickers:
    """Encodes tickers: each is made once for all who ask for the same at one sequence, within a
    minute."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._at = (-1, -1)
        self._encoded: dict[str, bytes] = {}
        self._clock = clock

    def reply(self, engine: Engine, instrument: str) -> bytes | None:
        """Give an encoded `GetTickerResponse`, None where the instrument is not listed. It is a
        `StreamTickerResponse` too, which has its ticker in the same field."""
        if instrument not in engine.markets:
            return None
        time_ns = now_ns(engine, self._clock)
        at = (engine.sequence, time_ns // MINUTE_NS)
        if at != self._at:
            self._at = at
            self._encoded.clear()
        found = self._encoded.get(instrument)
        if found is None:
            reply = messages.GetTickerResponse()
            _ticker(reply.ticker, engine, instrument, engine.ticker(instrument, time_ns))
            found = self._encoded[instrument] = reply.SerializeToString()
        return found


def _ticker(into: messages.Ticker, engine: Engine, instrument: str, found: Ticker) -> None:
    """Show last price, best levels and the last 24 hours."""
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
    """Show what a market holds, and what it did."""
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


def analytics(found: Analytics) -> messages.GetAnalyticsResponse:
    """Show trades by interval."""
    reply = messages.GetAnalyticsResponse(
        sequence=found.sequence,
        vwap_e8=found.vwap_e8,
        start_time_ns=found.start_ns,
        end_time_ns=found.end_ns,
    )
    for bar in found.intervals:
        reply.aggregates.add(
            start_time_ns=bar.minute * MINUTE_NS,
            trade_count=bar.count,
            quantity=decimal_text(bar.volume_e8),
            notional=decimal_text(bar.notional_e16, E16_PLACES),
            open_price_e8=bar.open_e8,
            high_price_e8=bar.high_e8,
            low_price_e8=bar.low_e8,
            close_price_e8=bar.close_e8,
            average_price_e8=average_e8(bar.price_sum_e8, bar.count),
            vwap_e8=average_e8(bar.notional_e16, bar.volume_e8),
        )
    return reply


def _best(levels: list[tuple[int, int]]) -> Level:
    return Level(price_e8=levels[0][0], quantity_e8=levels[0][1]) if levels else Level()
