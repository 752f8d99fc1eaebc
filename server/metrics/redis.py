"""What front ends share through Redis: rate limits, and outcomes of recent keys."""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class LeaseFigures(Protocol):
    """Tells what is known of leases."""

    @property
    def shared(self) -> bool:
        """Whether the budgets are the shared ones."""

    @property
    def held(self) -> int:
        """Leases that are kept."""

    renewals: int
    failures: int


class Leases(Collector):
    """Reads them when somebody asks."""

    def __init__(self, figures: LeaseFigures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        figures = self._figures
        yield GaugeMetricFamily(
            "rate_limits_shared",
            "1 while rate limits are shared through Redis, 0 while they are kept in process.",
            value=float(figures.shared),
        )
        yield GaugeMetricFamily(
            "rate_leases",
            "Budgets of clients and addresses that a lease is kept of.",
            value=figures.held,
        )
        yield CounterMetricFamily(
            "rate_lease_renewals", "Calls to Redis that charged and leased.", value=figures.renewals
        )
        yield CounterMetricFamily(
            "rate_lease_failures", "Calls to Redis that failed.", value=figures.failures
        )


class OutcomeFigures(Protocol):
    """Tells what is known of outcomes."""

    found: int


class KeyOutcomes(Collector):
    """Reads them when somebody asks."""

    def __init__(self, figures: OutcomeFigures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        yield CounterMetricFamily(
            "key_outcomes_found",
            "Repeats that were answered from Redis while the engine took nothing.",
            value=self._figures.found,
        )
