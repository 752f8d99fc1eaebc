"""Two sides that take turns, and what their turns say together."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.figures import Turn


@dataclass(frozen=True, slots=True)
class Side:
    """The turns of the exchange, or of its baseline."""

    turns: list[Turn] = field(default_factory=list)
    cpu_s: dict[str, float] = field(default_factory=dict)
    """CPU time over all turns, by process."""

    @property
    def rate(self) -> float:
        """The median of orders a second."""
        return statistics.median(turn.rate for turn in self.turns)

    def cpu_us(self) -> dict[str, float]:
        """CPU time per order, by process, in microseconds."""
        orders = sum(turn.orders for turn in self.turns)
        return {name: used_s / orders * 1e6 for name, used_s in self.cpu_s.items()}

    def latencies_ms(self) -> list[float]:
        """The median over the turns, of each percentile."""
        return [
            statistics.median(values)
            for values in zip(*(turn.latencies_ms for turn in self.turns), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One workload: what it is, both sides, and what is wanted."""

    workload: str
    what: str
    baseline_what: str
    exchange: Side
    baseline: Side
    ratio_goal: float | None = None
    rate_goal: float | None = None

    def ratios(self) -> list[float]:
        """The exchange's rate over the baseline's, turn by turn."""
        pairs = zip(self.exchange.turns, self.baseline.turns, strict=True)
        return [ours.rate / theirs.rate for ours, theirs in pairs]

    def reached(self) -> bool | None:
        """Whether the goal is, where there is one."""
        if self.ratio_goal is not None:
            return statistics.median(self.ratios()) >= self.ratio_goal
        if self.rate_goal is not None:
            return self.exchange.rate >= self.rate_goal
        return None

    def to_plain(self) -> dict[str, Any]:
        """For a file that programs read."""
        return asdict(self) | {
            "ratio": statistics.median(self.ratios()),
            "orders_per_s": self.exchange.rate,
            "baseline_orders_per_s": self.baseline.rate,
            "cpu_us_per_order": self.exchange.cpu_us(),
            "reached": self.reached(),
        }


def spread(values: Sequence[float]) -> str:
    """The median, with the least and the greatest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def judged(reached: bool, goal: str) -> str:
    """Give a goal, and whether it is reached."""
    return f"goal {goal}: {'reached' if reached else 'missed'}"
