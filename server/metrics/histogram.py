"""A histogram that costs a search among a few bounds and two additions for each value."""

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client.core import HistogramMetricFamily, Metric


class Histogram:
    """Counts of values up to each bound. Values are integers; `unit` of them make one of the
    figure's, so that nanoseconds are shown in seconds."""

    def __init__(self, bounds: Sequence[float], unit: int = 1) -> None:
        self._labels = [*(str(bound) for bound in bounds), "+Inf"]
        self._bounds = [round(bound * unit) for bound in bounds]
        self._counts = [0] * len(self._labels)
        self._sum = 0
        self._unit = unit

    def observe(self, value: int) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self, name: str, text: str) -> Metric:
        """Make a family as Prometheus has it: each bucket holds those below it too."""
        below = 0
        buckets = []
        for label, count in zip(self._labels, self._counts, strict=True):
            below += count
            buckets.append((label, below))
        total = self._sum / self._unit
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=total)
