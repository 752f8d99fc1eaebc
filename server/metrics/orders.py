"""What became of orders. Only what is durable is counted; what the engine, the sequencer or the
feed counts anyway is read there."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from server.core.commands import PlaceOrder
from server.core.types import E8
from server.core.words import END_REASONS, SIDES, TYPES
from server.feed.activity import Activity
from server.metrics.histogram import Histogram
from server.metrics.labels import labelled
from server.sequencer.errors import JournalFull, Overloaded
from server.sequencer.sequencer import Sequencer
from server.sequencer.ticket import ClosedRecord

LATENCY_BOUNDS_S: Final = (
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
)  # fmt: skip
"""From one order alone on a fast disk to the default deadline."""

_TURNED_AWAY: Final = {Overloaded: "overloaded", JournalFull: "journal_full"}
"""As their reasons are on the wire."""
UNKNOWN: Final = "unknown"
"""The type or side of an order that was refused for it."""
_TYPE_AND_SIDE: Final = attrgetter("order_type", "side")


class Orders(Collector):
    """Orders, trades, and the state of the engine."""

    def __init__(
        self, sequencer: Sequencer, activity: Activity, limited_count: Callable[[], int]
    ) -> None:
        """Listen to the sequencer. `limited_count` tells how many orders and cancels were over a
        rate limit."""
        self._sequencer = sequencer
        self._activity = activity
        self._limited_count = limited_count
        self._accepted: Counter[tuple[int, int]] = Counter()
        self._latencies = Histogram(LATENCY_BOUNDS_S, 10**9)
        sequencer.on_durable.append(self._count)

    def _count(self, record: ClosedRecord) -> None:
        self._accepted.update(
            map(_TYPE_AND_SIDE, [each for each in record.commands if type(each) is PlaceOrder])
        )
        now_ns = time.monotonic_ns()
        for submitted_ns in record.submitted_ns:
            self._latencies.observe(now_ns - submitted_ns)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        traded = {name: each for name, each in self._activity.markets.items() if each.trades}
        yield self._orders_received()
        yield labelled(
            CounterMetricFamily(
                "orders_matched",
                "Orders that traded as they came in, also by a replace.",
                labels=["instrument"],
            ),
            (([name], each.matched) for name, each in traded.items()),
        )
        yield self._orders_rejected()
        yield self._latencies.family(
            "order_latency_seconds",
            "From a message's commands being sequenced to all of them being durable.",
        )
        trades = sum(each.trades for each in traded.values())
        yield CounterMetricFamily("trades", "Trades.", value=trades)
        yield labelled(
            CounterMetricFamily(
                "trade_volume", "Quantity traded, in the base currency.", labels=["instrument"]
            ),
            (([name], each.volume_e8 / E8) for name, each in traded.items()),
        )
        yield from self._state()

    def _orders_received(self) -> Metric:
        received: Counter[tuple[str, str]] = Counter()
        for counts in (self._accepted, self._sequencer.orders_refused):
            for (order_type, side), count in counts.items():
                received[TYPES.get(order_type, UNKNOWN), SIDES.get(side, UNKNOWN)] += count
        return labelled(
            CounterMetricFamily(
                "orders_received",
                "Orders that came in, accepted or refused; over a rate limit none is looked at.",
                labels=["type", "side"],
            ),
            ((list(labels), count) for labels, count in received.items()),
        )

    def _orders_rejected(self) -> Metric:
        counts = Counter({END_REASONS[reason]: n for reason, n in self._activity.rejected.items()})
        for refusal, count in self._sequencer.refused.items():
            counts[refusal.name.lower()] += count
        for why, count in self._sequencer.turned_away.items():
            counts[_TURNED_AWAY[why]] += count
        if limited_count := self._limited_count():
            counts["rate_limited"] = limited_count
        return labelled(
            CounterMetricFamily(
                "orders_rejected",
                "Requests refused, and orders ended by the rules without any fill."
                " What the gateway itself refuses (bad JSON, an unknown route) is not counted.",
                labels=["reason"],
            ),
            (([reason], count) for reason, count in counts.items()),
        )

    def _state(self) -> Iterator[Metric]:
        engine = self._sequencer.engine
        yield labelled(
            GaugeMetricFamily(
                "current_orderbook_depth",
                "Prices at which something rests.",
                labels=["instrument", "side"],
            ),
            (
                ([name, word], engine.book(name).level_count(side))
                for name in engine.markets
                for side, word in SIDES.items()
            ),
        )
        counts = engine.counts()
        for name, text, value in (
            ("durable_sequence", "Last command that is durable.", self._sequencer.durable_sequence),
            ("orders_open", "Orders that rest.", counts.orders_open),
            ("orders_closed", "Ended orders that are remembered.", counts.orders_closed),
            ("idempotency_keys", "Keys that are remembered.", counts.keys),
            (
                "idempotency_keys_guaranteed",
                "Newest keys that are remembered in any case within the window.",
                engine.limits.keys_max,
            ),
            (
                "idempotency_window_seconds",
                "How long keys are remembered, unless there are more than that.",
                engine.limits.window_ns / 1e9,
            ),
            ("sessions_open", "Cancel-on-disconnect sessions.", counts.sessions),
        ):
            yield GaugeMetricFamily(name, text, value=value)
