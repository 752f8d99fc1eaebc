"""One listed instrument: its definition, its book, and what is told about its trades.

Trades are summed into bars of one minute, kept for 24 hours: 1,440 bars at most. A ticker is made
of them, so its window begins at a whole minute.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from server.core.accounts import Account, FeeAccount
from server.core.book import Book
from server.core.events import Traded
from server.core.instruments import Instrument

TRADES_KEPT: Final = 1_000
"""Newest trades kept for each instrument: the largest page that can be asked for."""

MINUTE_NS: Final = 60_000_000_000
WINDOW_MINUTES: Final = 1_440

RecentTrade = tuple[int, int, int, Traded]
"""(sequence, index, time_ns, trade)"""


class Bar:
    """The trades of one minute. Sums, so that averages are divided only when shown."""

    __slots__ = (
        "close_e8",
        "count",
        "high_e8",
        "low_e8",
        "minute",
        "notional_e16",
        "open_e8",
        "price_sum_e8",
        "volume_e8",
    )

    def __init__(self, minute: int, open_e8: int) -> None:
        self.minute = minute
        self.open_e8 = self.high_e8 = self.low_e8 = self.close_e8 = open_e8
        self.volume_e8 = 0
        self.notional_e16 = 0
        self.price_sum_e8 = 0
        self.count = 0

    def add(self, price_e8: int, quantity_e8: int) -> None:
        """Count one more trade."""
        self.high_e8 = max(self.high_e8, price_e8)
        self.low_e8 = min(self.low_e8, price_e8)
        self.close_e8 = price_e8
        self.volume_e8 += quantity_e8
        self.notional_e16 += quantity_e8 * price_e8
        self.price_sum_e8 += price_e8
        self.count += 1

    def row(self) -> tuple[int, ...]:
        """Give the bar as plain data."""
        return (
            self.minute,
            self.open_e8,
            self.high_e8,
            self.low_e8,
            self.close_e8,
            self.volume_e8,
            self.notional_e16,
            self.price_sum_e8,
            self.count,
        )


class Ticker(NamedTuple):
    """The last price and the last 24 hours; all 0 where there was no trade."""

    last_price_e8: int
    open_e8: int
    high_e8: int
    low_e8: int
    close_e8: int
    volume_e8: int
    """A sum: may exceed 64 bits, like the notional."""
    notional_e16: int
    trade_count: int


def summed(bars: Sequence[Bar], last_price_e8: int) -> Ticker:
    """Neighbouring bars as one."""
    if not bars:
        return Ticker(last_price_e8, 0, 0, 0, 0, 0, 0, 0)
    return Ticker(
        last_price_e8,
        bars[0].open_e8,
        max(bar.high_e8 for bar in bars),
        min(bar.low_e8 for bar in bars),
        bars[-1].close_e8,
        sum(bar.volume_e8 for bar in bars),
        sum(bar.notional_e16 for bar in bars),
        sum(bar.count for bar in bars),
    )


class Market:
    """State of one instrument."""

    __slots__ = (
        "accounts",
        "bars",
        "book",
        "closed_sum",
        "definition",
        "fee_account",
        "last_price_e8",
        "lot_e8",
        "maker_fee_e6",
        "name",
        "placed_e8",
        "price_max_e8",
        "price_min_e8",
        "quantity_max_e8",
        "quantity_min_e8",
        "self_trade_prevention",
        "taker_fee_e6",
        "tick_e8",
        "trades",
    )

    def __init__(self, definition: Instrument, fee_account: FeeAccount) -> None:
        self.name = definition.name
        self.fee_account = fee_account
        self.book = Book()
        self.last_price_e8 = 0
        self.trades: deque[RecentTrade] = deque(maxlen=TRADES_KEPT)
        self.bars: deque[Bar] = deque()
        # First minute, last bar's minute, and the sum of the bars before that. Not state.
        self.closed_sum: tuple[int, int, Ticker] | None = None
        # Of the clients that traded here, by first fill.
        self.accounts: list[Account] = []
        # At least the sum of all positions and open quantities: while it is within int64, so is
        # the total of every level and every client. Not state: it only saves looking.
        self.placed_e8 = 0
        self.define(definition)

    def define(self, definition: Instrument) -> None:
        """Take a new definition of the same instrument."""
        self.definition = definition
        self.maker_fee_e6 = definition.maker_fee_e6
        self.taker_fee_e6 = definition.taker_fee_e6
        self.self_trade_prevention = definition.self_trade_prevention
        self.tick_e8, self.lot_e8 = definition.tick_e8, definition.lot_e8
        self.price_min_e8, self.price_max_e8 = definition.price_min_e8, definition.price_max_e8
        self.quantity_min_e8 = definition.quantity_min_e8
        self.quantity_max_e8 = definition.quantity_max_e8

    def record(
        self, first_e8: int, last_e8: int, sums: tuple[int, int, int, int, int], time_ns: int
    ) -> None:
        """Count the trades of one pass: first and last price; the sums of quantity, notional and
        price, their number, and both sides' fees.

        The prices of a pass run one way, so the first and the last are also its extremes.
        """
        self.last_price_e8 = last_e8
        minute = time_ns // MINUTE_NS
        bars = self.bars
        if bars and bars[-1].minute == minute:
            bar = bars[-1]
        else:
            bar = Bar(minute, first_e8)
            bars.append(bar)
            while bars[0].minute <= minute - WINDOW_MINUTES:
                bars.popleft()
        low_e8, high_e8 = (first_e8, last_e8) if first_e8 <= last_e8 else (last_e8, first_e8)
        if low_e8 < bar.low_e8:
            bar.low_e8 = low_e8
        if high_e8 > bar.high_e8:
            bar.high_e8 = high_e8
        bar.close_e8 = last_e8
        quantity_e8, notional_e16, price_sum_e8, count, fees_e8 = sums
        self.fee_account.balance_e8 += fees_e8
        bar.price_sum_e8 += price_sum_e8
        bar.volume_e8 += quantity_e8
        bar.notional_e16 += notional_e16
        bar.count += count

    def ticker(self, time_ns: int) -> Ticker:
        """The 24 hours up to this time.

        To sum 1,440 bars takes a third of a millisecond: too much for each record of a busy market.
        All but the last no longer change, so their sum holds for as long as neither the last bar
        nor the first minute is another.
        """
        first = time_ns // MINUTE_NS - WINDOW_MINUTES + 1
        if not self.bars or self.bars[-1].minute < first:
            return summed([], self.last_price_e8)
        last = self.bars[-1]
        closed = self.closed_sum
        if closed is None or closed[:2] != (first, last.minute):
            bars = [bar for bar in self.bars if first <= bar.minute < last.minute]
            found = summed(bars or [Bar(last.minute, last.open_e8)], 0)
            closed = self.closed_sum = (first, last.minute, found)
        day = closed[2]
        return Ticker(
            self.last_price_e8,
            day.open_e8,
            max(day.high_e8, last.high_e8),
            min(day.low_e8, last.low_e8),
            last.close_e8,
            day.volume_e8 + last.volume_e8,
            day.notional_e16 + last.notional_e16,
            day.trade_count + last.count,
        )

    def newest_trades(
        self, limit: int, before: tuple[int, int] | None, client_id: str = ""
    ) -> list[RecentTrade]:
        """Newest first, from just before this (sequence, index); of one client or, by default, of
        all."""
        found: list[RecentTrade] = []
        for trade in reversed(self.trades):
            if len(found) >= limit:
                break
            if before is not None and trade[:2] >= before:
                continue
            traded = trade[3]
            if not client_id or client_id in (traded.maker_client_id, traded.taker_client_id):
                found.append(trade)
        return found
