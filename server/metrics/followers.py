"""How far the registered followers of the journal are, and the snapshots of one of them."""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.maintenance.followers import FollowerRegistry
from server.metrics.labels import labelled


class FollowerFigures(Collector):
    """Reads how far followers and snapshots are when somebody asks."""

    def __init__(self, followers: FollowerRegistry, durable_sequence: Callable[[], int]) -> None:
        self._followers = followers
        self._durable_sequence = durable_sequence

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        durable = self._durable_sequence()
        yield labelled(
            GaugeMetricFamily(
                "follower_lag_sequences",
                "Commands that are durable and that the follower has not said to have.",
                labels=["follower"],
            ),
            (([name], durable - it) for name, it in sorted(self._followers.sequences().items())),
        )
        yield GaugeMetricFamily(
            "newest_snapshot_sequence",
            "Sequence of the newest good snapshot, 0 for none.",
            value=self._followers.snapshot_sequence,
        )
