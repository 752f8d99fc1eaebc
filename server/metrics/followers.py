"""How far behind the registered followers of the journal are."""

from collections.abc import Callable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.metrics.labels import labelled


class FollowerLags(Collector):
    """Reads how far followers are when somebody asks."""

    def __init__(
        self, sequences: Callable[[], Mapping[str, int]], durable_sequence: Callable[[], int]
    ) -> None:
        """`sequences` says up to where each follower has everything."""
        self._sequences = sequences
        self._durable_sequence = durable_sequence

    def collect(self) -> list[Metric]:
        """Called by the registry."""
        durable = self._durable_sequence()
        return [
            labelled(
                GaugeMetricFamily(
                    "follower_lag_sequences",
                    "Commands that are durable and that the follower has not said to have.",
                    labels=["follower"],
                ),
                (([name], durable - it) for name, it in sorted(self._sequences().items())),
            )
        ]
