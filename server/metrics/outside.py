"""How PostgreSQL, Kafka and Redis are, and how far behind; one that is disabled has no figures."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.maintenance.outside import PartHealth
from server.metrics.labels import labelled


class OutsidePartFigures(Collector):
    """Asks when somebody asks; nothing waits for a part."""

    def __init__(self, health: Callable[[], Mapping[str, PartHealth]]) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        found = [(name, it) for name, it in self._health().items() if it.serves is not None]
        yield labelled(
            GaugeMetricFamily("outside_part_up", "1 unless the part is down.", labels=["part"]),
            (([name], 1.0 if it.serves else 0.0) for name, it in found),
        )
        yield labelled(
            GaugeMetricFamily(
                "outside_part_behind_commands",
                "Commands that are durable and have not reached the part.",
                labels=["part"],
            ),
            (([name], it.events_behind) for name, it in found),
        )
        yield labelled(
            GaugeMetricFamily(
                "outside_part_behind_seconds",
                "Time since everything that has reached the part was the newest.",
                labels=["part"],
            ),
            (([name], it.seconds_behind) for name, it in found),
        )
