"""What each market did since the start: orders, trades and volume, and how many of late.

Counted once durable, a record at a time, for statistics and metrics alike: about 0.1 µs for an
order or a trade. The recent past is kept in whole seconds, at most `RECENT_S` of them for each
market, by the monotonic clock: a wall clock that is set stretches no second and loses none. Nothing
of this is state: it begins at 0 with the process, like the metrics; what goes on through a restart
is the engine's.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, NamedTuple

from server.core.commands import PlaceOrder
from server.core.events import OrderRejected, Traded
from server.sequencer.ticket import ClosedRecord

RECENT_S: Final = 60
"""Long enough for a steady rate, short enough to be called recent."""

SECOND_NS: Final = 1_000_000_000


class Done(NamedTuple):
    """What one market did."""

    orders: int
    """Accepted since the start."""
    trades: int
    volume_e8: int
    recent_orders: int
    recent_trades: int


class _Second(NamedTuple):
    second: int
    orders: int
    trades: int


class MarketActivity:
    """Counts of one market since the start."""

    __slots__ = ("matched", "orders", "recent", "trades", "volume_e8")

    def __init__(self) -> None:
        self.orders = 0
        """Accepted ones."""
        self.matched = 0
        """Orders that traded as they came in, also by a replace."""
        self.trades = 0
        self.volume_e8 = 0
        self.recent: deque[_Second] = deque()

    def add(self, second: int, orders: int, trades: int) -> None:
        """Count what happened in a second, which is not before the last one."""
        self.orders += orders
        self.trades += trades
        recent = self.recent
        if recent and recent[-1].second == second:
            last = recent.pop()
            orders, trades = orders + last.orders, trades + last.trades
        recent.append(_Second(second, orders, trades))
        while recent[0].second <= second - RECENT_S:
            recent.popleft()


class Activity:
    """Counts of all markets."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.since_ns: Final = time.time_ns()
        """When the counting began."""
        self._began_ns: Final = clock()
        self._clock = clock
        self.markets: dict[str, MarketActivity] = {}
        """Those with an order or a trade."""
        self.rejected: Counter[int] = Counter()
        """Orders that the rules ended without any fill, by reason."""

    @property
    def recent_seconds(self) -> int:
        """How much the recent counts cover."""
        return max(1, min(RECENT_S, (self._clock() - self._began_ns) // SECOND_NS))

    def count(self, record: ClosedRecord) -> None:
        """Count a record that is durable."""
        orders = Counter([each.instrument for each in record.commands if type(each) is PlaceOrder])
        trades: Counter[str] = Counter()
        volume_e8: Counter[str] = Counter()
        matched: Counter[str] = Counter()
        for events in record.events:
            # The first event of a command is never a trade, nor a rejection.
            if len(events) > 1:
                traded = ""
                for event in events:
                    if type(event) is Traded:
                        traded = event.instrument
                        trades[traded] += 1
                        volume_e8[traded] += event.quantity_e8
                    elif type(event) is OrderRejected:
                        self.rejected[event.reason] += 1
                if traded:
                    matched[traded] += 1
        second = self._clock() // SECOND_NS
        for name in orders | trades:
            market = self.markets.get(name)
            if market is None:
                market = self.markets[name] = MarketActivity()
            market.add(second, orders[name], trades[name])
            market.matched += matched[name]
            market.volume_e8 += volume_e8[name]

    def of(self, instrument: str) -> Done:
        """What one market did so far."""
        market = self.markets.get(instrument)
        if market is None:
            return Done(0, 0, 0, 0, 0)
        after = self._clock() // SECOND_NS - RECENT_S
        recent = [each for each in market.recent if each.second > after]
        return Done(
            market.orders,
            market.trades,
            market.volume_e8,
            sum(each.orders for each in recent),
            sum(each.trades for each in recent),
        )
