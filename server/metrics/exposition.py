"""All figures together.

The hot path adds to plain integers, once for each record; names, labels and text are made when
somebody asks, in turns with everything else: of a thousand instruments that takes 0.2 s. So figures
of different names may be of different moments. Counters begin at 0 with the process, as Prometheus
expects. No label holds what a client chose freely, an id of an order or a client least of all: each
value is a series for ever.
"""

import asyncio
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from server.feed.feed import Feed
from server.metrics.connections import Connections
from server.metrics.load import CallErrors, Load
from server.metrics.orders import Orders
from server.metrics.processes import Processes
from server.sequencer.sequencer import Sequencer


class Metrics:
    """What can be asked for the figures of one server."""

    def __init__(
        self,
        sequencer: Sequencer,
        feed: Feed,
        errors: CallErrors,
        limited_count: Callable[[], int],
        ports: Mapping[str, int],
        processes: Processes,
    ) -> None:
        """Listen to the sequencer."""
        self._connections = Connections(ports)
        self._registry = CollectorRegistry()
        for each in (
            Orders(sequencer, feed.activity, limited_count),
            Load(sequencer, feed.readers, errors),
            self._connections,
            processes,
        ):
            self._registry.register(each)
        ProcessCollector(registry=self._registry)

    def show(self, collector: Collector) -> None:
        """Let it show figures too."""
        self._registry.register(collector)

    async def text(self) -> bytes:
        """Everything, in the text format 0.0.4."""
        await asyncio.to_thread(self._connections.look)
        families = []
        for family in self._registry.collect():
            families.append(family)
            await asyncio.sleep(0)
        return await asyncio.to_thread(generate_latest, _Collected(families))


class _Collected(Collector):
    """Gives again what was collected already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """Give all of it."""
        return self._families
