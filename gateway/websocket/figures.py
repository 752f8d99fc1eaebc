"""What an operator sees of a bridge: figures for Prometheus, and a line for each decision.

Connections add to plain integers; names and text are made when somebody asks. No label holds what a
client chose freely.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

LOG: Final = logging.getLogger("exchange.websocket")


def tell(message: str, **fields: object) -> None:
    """Log a line about one decision."""
    LOG.info(message, extra={"fields": fields})


def tell_debug(message: str, **fields: object) -> None:
    """Log a line about what happens all the time."""
    LOG.debug(message, extra={"fields": fields})


@dataclass(slots=True)
class Counts:
    """Counts what happened since the start of the process."""

    opened: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Refused handshakes, by reason."""
    ended: Counter[str] = field(default_factory=Counter)
    """Connections that were ended from here, by the code that they were told."""
    frames_received: int = 0
    frames_sent: int = 0
    bytes_sent: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """Tells what there is at this moment."""

    connections: int
    subscriptions: Counter[str]
    """Subscriptions of all connections, by kind of channel."""
    channels: Counter[str]
    """Upstream streams, by kind."""
    waiting_bytes: int
    waiting_bytes_most: int
    """The bytes that wait for the connection for which the most wait."""


class Figures(Collector):
    """Asks for the state when it is asked."""

    def __init__(self, counts: Counts, state: Callable[[], State]) -> None:
        self._counts = counts
        self._state = state
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Give everything, in the text format 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Give each figure to the registry that asks for them."""
        yield from self._now()
        counts = self._counts
        for name, text, label, values in (
            ("websocket_refused", "Handshakes that were refused.", "reason", counts.refused),
            (
                "websocket_ended",
                "Connections that the bridge ended, by their close code: 1013 a reader too slow.",
                "code",
                counts.ended,
            ),
        ):
            family = CounterMetricFamily(name, text, labels=[label])
            for value, count in values.items():
                family.add_metric([value], count)
            yield family
        for name, text, count in (
            ("websocket_opened", "Connections that were opened.", counts.opened),
            ("websocket_frames_received", "Frames of clients.", counts.frames_received),
            ("websocket_frames_sent", "Frames to clients.", counts.frames_sent),
            ("websocket_sent_bytes", "Bytes of frames to clients.", counts.bytes_sent),
        ):
            yield CounterMetricFamily(name, text, value=count)

    def _now(self) -> Iterator[Metric]:
        state = self._state()
        for name, text, values in (
            ("websocket_subscriptions", "Subscriptions of connections.", state.subscriptions),
            ("websocket_channels", "Streams from the server that are open.", state.channels),
        ):
            family = GaugeMetricFamily(name, text, labels=["channel"])
            for kind, count in values.items():
                family.add_metric([kind], count)
            yield family
        for name, text, value in (
            ("websocket_connections", "Connections that are open.", state.connections),
            ("websocket_waiting_bytes", "What waits for all connections.", state.waiting_bytes),
            (
                "websocket_waiting_most_bytes",
                "What waits for the slowest connection.",
                state.waiting_bytes_most,
            ),
        ):
            yield GaugeMetricFamily(name, text, value=value)
