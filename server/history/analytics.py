"""Trades by interval, exact, of one instrument.

An interval begins at a multiple of its length from the epoch, and a request covers the trades from
its start to just before its end. What is at hand decides where they are read:

1. The engine's recent trades, where all trades of the time asked for are among them.
2. Its minute bars for whole minutes, and recent trades for a first or last part of a minute.
3. What neither covers are `Span`s: whoever reads history brings bars for them.

What nobody covers has no answer, rather than one in part.
"""

from collections.abc import Iterable
from enum import Enum, auto
from typing import Final, NamedTuple

from server.core.accounts import divide_half_even
from server.core.engine import Engine
from server.core.market import MINUTE_NS, TRADES_KEPT, WINDOW_MINUTES, Bar, Market
from server.history.reader import History, NotWhole
from server.times import time_text, time_text_in_full

INTERVAL_MINUTES_MAX: Final = 1_440
INTERVALS_MAX: Final = 7 * 1_440 + 1
"""Intervals of one reply, about 1 MB: a week of minutes, of the first and the last a part."""


class Query(NamedTuple):
    """Says what is asked for."""

    instrument: str
    start_ns: int | None
    """The start; None: the first of the 1,440 minutes that end with that of `end_ns`."""
    end_ns: int | None
    """The end; None: now."""
    interval_minutes: int
    with_empty: bool
    """Whether intervals without a trade are there too, with the price before them."""


class Analytics(NamedTuple):
    """The answer."""

    start_ns: int
    end_ns: int
    intervals: list[Bar]
    """`minute` is that of the interval's beginning; oldest first."""
    sequence: int

    @property
    def vwap_e8(self) -> int:
        """Give the average price of all intervals."""
        notional_e16 = sum(bar.notional_e16 for bar in self.intervals)
        return average_e8(notional_e16, sum(bar.volume_e8 for bar in self.intervals))


class Why(Enum):
    """Why a query has no answer."""

    TIME_INVALID = auto()
    TOO_MANY = auto()
    NOT_KEPT = auto()


class NoAnswer(NamedTuple):
    """Says what of a query has no answer, and what would have one."""

    why: Why
    field: str
    value: int
    limit: str | int


class Span(NamedTuple):
    """A time that memory does not cover, of whole minutes or within one."""

    start_ns: int
    end_ns: int
    whole: bool


class Held(NamedTuple):
    """Says what memory has of the time asked for."""

    start_ns: int
    end_ns: int
    bars: list[Bar]
    missing: list[Span]
    sequence: int
    limit: str
    """Words for what is kept."""
    price_before_e8: int | None
    """The price of the last trade before the start, 0 without one; None: memory doesn't know."""

    @property
    def suffices(self) -> bool:
        """Tell whether history has nothing to add."""
        return not self.missing and self.price_before_e8 is not None


def held(engine: Engine, query: Query, now_ns: int) -> Held | NoAnswer:
    """Find what the engine knows of the time that a query asks for, of a listed instrument. The
    time of the engine is that of its newest command, which in a quiet market is not now."""
    market = engine.markets[query.instrument]
    start_ns, end_ns = query.start_ns, query.end_ns
    if end_ns is None:
        end_ns = max(now_ns, engine.time_ns) + 1
    if start_ns is None:
        start_ns = max(((end_ns - 1) // MINUTE_NS - WINDOW_MINUTES + 1) * MINUTE_NS, 0)
    if query.start_ns is None and start_ns >= end_ns:
        limit = "after 1970-01-01T00:00:00Z"
        return NoAnswer(Why.TIME_INVALID, "end_time_ns", end_ns, limit)
    if start_ns >= end_ns:
        limit = f"before the end, {time_text_in_full(end_ns)}"
        return NoAnswer(Why.TIME_INVALID, "start_time_ns", start_ns, limit)
    step_ns = query.interval_minutes * MINUTE_NS
    count = (end_ns - 1) // step_ns - start_ns // step_ns + 1
    if query.with_empty and count > INTERVALS_MAX:
        return NoAnswer(Why.TOO_MANY, "intervals", count, INTERVALS_MAX)
    bars, missing, limit = _bars(market, start_ns, end_ns, engine.time_ns)
    price_before_e8 = _price_before(market, start_ns) if query.with_empty else 0
    return Held(start_ns, end_ns, bars, missing, engine.sequence, limit, price_before_e8)


def from_memory(query: Query, known: Held) -> Analytics | NoAnswer:
    """Answer a query without history: at the price 0 before the first trade that memory knows."""
    return _not_kept(known, known.limit) if known.missing else _answer(query, known, [])


async def with_history(history: History, query: Query, known: Held) -> Analytics | NoAnswer:
    """Answer a query with what history has of what is missing; raises `Down`."""
    try:
        found = await _missing(history, query, known)
        if known.price_before_e8 is None and _begins_empty(query, known, found):
            price_e8 = await history.price_before(query.instrument, known.start_ns, known.sequence)
            known = known._replace(price_before_e8=price_e8)
    except NotWhole as lost:
        return _not_kept(known, f"kept are whole minutes from {time_text(lost.from_ns)} on")
    return _answer(query, known, found)


def average_e8(sum_e: int, divisor: int) -> int:
    """Divide a sum, half to even; 0 where there is nothing to divide by."""
    return divide_half_even(sum_e, divisor) if divisor else 0


def _not_kept(known: Held, limit: str) -> NoAnswer:
    return NoAnswer(Why.NOT_KEPT, "start_time_ns", known.start_ns, limit)


async def _missing(history: History, query: Query, known: Held) -> list[Bar]:
    found: list[Bar] = []
    for start_ns, end_ns, whole in known.missing:
        if whole:
            found += await history.minutes(
                query.instrument,
                start_ns // MINUTE_NS,
                end_ns // MINUTE_NS,
                query.interval_minutes,
                INTERVALS_MAX + 1,
            )
        else:
            found += await history.within(query.instrument, start_ns, end_ns, known.sequence)
    return found


def _begins_empty(query: Query, known: Held, found: Iterable[Bar]) -> bool:
    """Tell whether nothing traded in the first interval."""
    first = known.start_ns // MINUTE_NS // query.interval_minutes
    bars = (*known.bars, *found)
    return all(bar.minute // query.interval_minutes > first for bar in bars)


def _answer(query: Query, known: Held, found: Iterable[Bar]) -> Analytics | NoAnswer:
    """Answer a query with what history had of what was missing."""
    bars = sorted((*known.bars, *found), key=lambda bar: bar.minute)
    intervals = _intervals(bars, query.interval_minutes)
    if query.with_empty:
        step_ns = query.interval_minutes * MINUTE_NS
        first, last = known.start_ns // step_ns, (known.end_ns - 1) // step_ns
        price_e8 = known.price_before_e8 or 0
        intervals = _filled(intervals, first, last, query.interval_minutes, price_e8)
    if len(intervals) > INTERVALS_MAX:
        return NoAnswer(Why.TOO_MANY, "intervals", len(intervals), INTERVALS_MAX)
    return Analytics(known.start_ns, known.end_ns, intervals, known.sequence)


def _bars(
    market: Market, start_ns: int, end_ns: int, now_ns: int
) -> tuple[list[Bar], list[Span], str]:
    """Make bars of whole minutes, and of parts of them, that hold just the trades of that time; the
    times that are not covered; and what would have been."""
    trades = market.trades
    if len(trades) < TRADES_KEPT or trades[0][2] < start_ns:
        return _bars_of(market, start_ns, end_ns), [], ""
    first = -(-start_ns // MINUTE_NS)
    # What lies ahead holds nothing, so that the minute that goes on counts as a whole one.
    last = now_ns // MINUTE_NS + 1 if end_ns > now_ns else end_ns // MINUTE_NS
    kept = max(market.bars[-1].minute - WINDOW_MINUTES + 1, 0)
    bars = [bar for bar in market.bars if first <= bar.minute < last]
    missing: list[Span] = []
    if first < min(kept, last):
        missing.append(Span(first * MINUTE_NS, min(kept, last) * MINUTE_NS, whole=True))
    parts = [(start_ns, end_ns)]
    if first <= last:
        parts = [(start_ns, first * MINUTE_NS), (last * MINUTE_NS, end_ns)]
    for low, high in parts:
        if low < high and low <= trades[0][2]:
            missing.append(Span(low, high, whole=False))
        elif low < high:
            bars += _bars_of(market, low, high)
    limit = (
        f"kept are whole minutes from {time_text(kept * MINUTE_NS)} on, and parts of minutes"
        f" after {time_text_in_full(trades[0][2])}"
    )
    return bars, missing, limit


def _bars_of(market: Market, start_ns: int, end_ns: int) -> list[Bar]:
    """Make bars of the recent trades' minutes from a time to just before another."""
    found: list[Bar] = []
    for _, _, time_ns, trade in market.trades:
        if not start_ns <= time_ns < end_ns:
            continue
        minute, price_e8 = time_ns // MINUTE_NS, trade.price_e8
        if not found or found[-1].minute != minute:
            found.append(Bar(minute, price_e8))
        found[-1].add(price_e8, trade.quantity_e8)
    return found


def _intervals(bars: Iterable[Bar], minutes: int) -> list[Bar]:
    found: list[Bar] = []
    for bar in bars:
        begin = bar.minute - bar.minute % minutes
        if not found or found[-1].minute != begin:
            found.append(Bar(begin, bar.open_e8))
        into = found[-1]
        into.low_e8, into.high_e8 = min(into.low_e8, bar.low_e8), max(into.high_e8, bar.high_e8)
        into.close_e8 = bar.close_e8
        into.volume_e8 += bar.volume_e8
        into.notional_e16 += bar.notional_e16
        into.price_sum_e8 += bar.price_sum_e8
        into.count += bar.count
    return found


def _price_before(market: Market, time_ns: int) -> int | None:
    trades, minute = market.trades, time_ns // MINUTE_NS
    for _, _, traded_ns, trade in reversed(trades):
        if traded_ns < time_ns:
            return trade.price_e8
    if len(trades) < TRADES_KEPT:
        return 0
    for bar in reversed(market.bars):
        if bar.minute < minute:
            return bar.close_e8
        if bar.minute == minute and time_ns % MINUTE_NS:
            return None
    return None


def _filled(intervals: list[Bar], first: int, last: int, minutes: int, price_e8: int) -> list[Bar]:
    """Add a bar for each interval: an empty one stands at the last price before it, which for the
    first is given."""
    by_minute = {bar.minute: bar for bar in intervals}
    filled: list[Bar] = []
    for number in range(first, last + 1):
        bar = by_minute.get(number * minutes) or Bar(number * minutes, price_e8)
        price_e8 = bar.close_e8
        filled.append(bar)
    return filled
