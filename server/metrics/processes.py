"""CPU and memory of each part that `exchange up` runs, as the kernel counts them.

The supervisor tells the server the process of each part; a server that runs alone knows only its
own. A part that has just ended has no figures, and one that was started again counts from 0.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.metrics.labels import labelled

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

# Of /proc/PID/stat, counted from the field after the name, which is in brackets and may hold any.
_USER_TICKS: Final = 11
_SYSTEM_TICKS: Final = 12
_RESIDENT_PAGES: Final = 21

ProcessIds = Callable[[], Mapping[str, int]]
"""Of the parts, by name; 0, the id of no process, where a part is to run and doesn't."""


class Usage(NamedTuple):
    """Tells what one process has used so far."""

    cpu_seconds: float
    resident_bytes: int
    descriptor_count: int


class Processes(Collector):
    """Makes a dozen short reads, when somebody asks."""

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
    """Read what a process uses; None where there is no such process any more, or no /proc."""
    directory = Path("/proc", str(process_id))
    try:
        fields = (directory / "stat").read_text().rpartition(") ")[2].split()
        descriptor_count = sum(1 for _ in (directory / "fd").iterdir())
    except OSError:
        return None
    ticks = int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
    resident_bytes = int(fields[_RESIDENT_PAGES]) * PAGE_BYTES
    return Usage(ticks / TICKS_PER_SECOND, resident_bytes, descriptor_count)
