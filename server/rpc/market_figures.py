"""Figures of one market that several doors show: its 24 hours, and its statistics."""

import time
from collections.abc import Callable
from typing import NamedTuple

from server.core.engine import Engine
from server.core.market import Ticker
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
