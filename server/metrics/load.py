"""How much the parts between a caller and the journal have to do, read when somebody asks.

A subscriber's lag is what was published since its last message; heartbeats count as messages, so
one whose filter lets little through shows up to a second's worth.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.feed.fan_out import Readers
from server.metrics.histogram import Histogram
from server.metrics.labels import labelled
from server.sequencer.sequencer import Sequencer
from server.sequencer.ticket import ClosedRecord

SYNC_BOUNDS_S: Final = (
    0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0,
)  # fmt: skip
"""From a file system in memory to a disk that is about to fail."""
BATCH_BOUNDS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000)
"""From one order alone to as many commands as may wait by default."""

CallErrors = Counter[tuple[str, str]]
"""Calls that ended with an error, by method and status."""


class Load(Collector):
    """Journal, sequencer, subscribers, and calls that ended with an error."""

    def __init__(self, sequencer: Sequencer, readers: Readers, errors: CallErrors) -> None:
        """Listen to the sequencer."""
        self._sequencer = sequencer
        self._readers = readers
        self._errors = errors
        self._syncs = Histogram(SYNC_BOUNDS_S, 10**9)
        self._batches = Histogram(BATCH_BOUNDS)
        sequencer.on_durable.append(self._count)

    def _count(self, record: ClosedRecord) -> None:
        self._syncs.observe(record.sync_ns)
        self._batches.observe(len(record.commands))

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        yield self._syncs.family(
            "journal_sync_seconds", "Writing a record of commands to the journal and syncing it."
        )
        yield self._batches.family(
            "journal_batch_commands", "Commands that share a record and its sync."
        )
        yield GaugeMetricFamily(
            "commands_waiting",
            "Queue depth: commands applied but not yet durable, whose replies wait.",
            value=self._sequencer.waiting,
        )
        yield from self._subscribers()
        yield labelled(
            CounterMetricFamily(
                "call_errors",
                "Calls and streams that ended with an error, other than by the caller."
                " What the gateway itself refuses (bad JSON, an unknown route) is not counted.",
                labels=["endpoint", "code"],
            ),
            ((list(labels), count) for labels, count in self._errors.items()),
        )

    def _subscribers(self) -> Iterator[Metric]:
        readers = self._readers
        counts: Counter[str] = Counter()
        waiting_bytes: Counter[str] = Counter()
        lags: Counter[str] = Counter()
        for reader in readers.open:
            stream = reader.stream
            counts[stream] += 1
            waiting_bytes[stream] += reader.bytes_waiting
            lags[stream] = max(lags[stream], readers.sequence - reader.sequence_sent)
        for name, text, values in (
            ("subscribers", "Streams that are open.", counts),
            (
                "subscriber_lag_sequences",
                "Sequences published since the last message of the slowest subscriber.",
                lags,
            ),
            ("subscriber_waiting_bytes", "What waits for all subscribers.", waiting_bytes),
        ):
            family = GaugeMetricFamily(name, text, labels=["stream"])
            yield labelled(family, (([stream], value) for stream, value in values.items()))
        yield CounterMetricFamily(
            "subscribers_cut",
            "Streams cut because they were read too slowly.",
            value=readers.cut_count,
        )
