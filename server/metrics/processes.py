"""CPU and memory of each part that `exchange up` runs, as the kernel counts them.

The supervisor tells the server the process of each part; a server that runs alone knows only its
own. A part that has just ended has no figures, and one that was started again counts from 0.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.metrics.labels import labelled

ProcessIds = Callable[[], Mapping[str, int]]
"""Of the parts, by name; 0, the id of no process, where a part is to run and doesn't."""


class Usage(NamedTuple):
    """Tells what one process has used so far."""

    cpu_seconds: float
    resident_bytes: int
    descriptor_count: int


class Processes(Collector):
    """Reads the figures of all parts when somebody asks."""

    def __init__(self, process_ids: ProcessIds) -> None:
        self._process_ids = process_ids

    def sentences(self) -> list[str]:
        """One for each part that is to run, and doesn't."""
        missing = (name for name, process_id in self._process_ids().items() if not process_id)
        return [f"{name} is not running: exchange up said why" for name in missing]

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        process_ids = {**self._process_ids(), "server": os.getpid()}
        found = [(name, usage(process_id)) for name, process_id in sorted(process_ids.items())]
        there = [(name, each) for name, each in found if each is not None]
        yield labelled(
            CounterMetricFamily(
                "part_cpu_seconds", "CPU time of a part, user and system.", labels=["part"]
            ),
            (([name], each.cpu_seconds) for name, each in there),
        )
        yield labelled(
            GaugeMetricFamily(
                "part_resident_memory_bytes", "Resident memory of a part.", labels=["part"]
            ),
            (([name], each.resident_bytes) for name, each in there),
        )
        yield labelled(
            GaugeMetricFamily(
                "part_open_fds", "Open files and sockets of a part.", labels=["part"]
            ),
            (([name], each.descriptor_count) for name, each in there),
        )


def usage(process_id: int) -> Usage | None:
    """Read what a process uses; None where there is no such process any more."""
    try:
        process = psutil.Process(process_id)
        with process.oneshot():
            times = process.cpu_times()
            resident_bytes, descriptor_count = process.memory_info().rss, process.num_fds()
    except psutil.Error:
        return None
    return Usage(times.user + times.system, resident_bytes, descriptor_count)
