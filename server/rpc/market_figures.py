"""Figures of one market that several doors show: its 24 hours, and its statistics."""

import time
from collections.abc import Callable
from typing import NamedTuple

from server.core.engine import Engine
from server.core.market import MINUTE_NS, WINDOW_MINUTES, Bar, Ticker, summed
from server.core.types import BUY, SELL
from server.feed.activity import Activity, Done


class Statistics(NamedTuple):
    """Says what a market holds, and what it did."""

    open_orders: int
    bid_levels: int
    ask_levels: int
    bid_depth_e8: int
    """A sum of quantities: may exceed 64 bits, like the other."""
    ask_depth_e8: int
    spread_e8: int
    """The spread; 0 where a side is empty."""
    day: Ticker
    done: Done


def now_ns(engine: Engine, clock: Callable[[], int] = time.time_ns) -> int:
    """Tell where the last 24 hours end: they pass while nothing comes, too. Like the time of
    commands it doesn't go back with the clock."""
    return max(clock(), engine.time_ns)


def statistics_of(engine: Engine, activity: Activity, instrument: str) -> Statistics:
    """Count what a listed market holds. Looks at every level: 0.1 ms for each 1,000."""
    book = engine.book(instrument)
    bids = list(book.side(BUY).levels.values())
    asks = list(book.side(SELL).levels.values())
    return Statistics(
        book.bids.order_count + book.asks.order_count,
        len(bids),
        len(asks),
        sum(level.quantity_e8 for level in bids),
        sum(level.quantity_e8 for level in asks),
        book.best_ask - book.best_bid if bids and asks else 0,
        engine.ticker(instrument, now_ns(engine)),
        activity.of(instrument),
    )


class Days:
    """Keeps the 24 hours of each market, summed anew only once a minute.

    The engine sums up to 1,440 bars, a third of a millisecond: too much for each record of a busy
    market. All bars but the last no longer change, so their sum holds for as long as neither the
    last bar nor the first minute is another.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._closed: dict[str, tuple[tuple[int, int], Ticker]] = {}

    def ticker(self, engine: Engine, instrument: str) -> Ticker:
        """Give what `engine.ticker` gives for now."""
        bars = engine.markets[instrument].bars
        time_ns = now_ns(engine, self._clock)
        first = time_ns // MINUTE_NS - WINDOW_MINUTES + 1
        if not bars or bars[-1].minute < first:
            return engine.ticker(instrument, time_ns)
        last = bars[-1]
        key = (first, last.minute)
        found = self._closed.get(instrument)
        if found is None or found[0] != key:
            earlier = [bar for bar in bars if first <= bar.minute < last.minute]
            found = self._closed[instrument] = (
                key,
                summed(earlier or [Bar(last.minute, last.open_e8)], 0),
            )
        day = found[1]
        return Ticker(
            engine.markets[instrument].last_price_e8,
            day.open_e8,
            max(day.high_e8, last.high_e8),
            min(day.low_e8, last.low_e8),
            last.close_e8,
            day.volume_e8 + last.volume_e8,
            day.notional_e16 + last.notional_e16,
            day.trade_count + last.count,
        )
