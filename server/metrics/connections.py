"""TCP connections at the ports of the exchange, as the kernel counts them.

Neither gRPC nor Envoy tells without a door of its own that somebody would have to guard. The kernel
lists the sockets of this machine, or of this container: a server that runs apart from its gateway
sees no connection at the HTTP port.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.metrics.labels import labelled

TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))

# number: LOCAL_ADDRESS:PORT REMOTE_ADDRESS:PORT STATE, where 01 is an established connection.
_ESTABLISHED: Final = re.compile(
    rb"^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 01 ", re.M
)


class Connections(Collector):
    """Counted by `look`, which takes some ms where there are ten thousand; shown as last seen."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        """`ports` are given by protocol."""
        self._ports = ports
        self._counts = dict.fromkeys(ports, 0)

    def look(self) -> None:
        """Count; may be called from any thread."""
        local = [port for table in TABLES if table.exists() for port in established(table)]
        self._counts = {name: local.count(port) for name, port in self._ports.items()}

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        yield labelled(
            GaugeMetricFamily(
                "connections",
                "TCP connections of this machine or container at a port of the exchange.",
                labels=["port"],
            ),
            (([name], count) for name, count in self._counts.items()),
        )


def established(table: Path) -> list[int]:
    """The local port of each established connection."""
    return [int(port, 16) for port in _ESTABLISHED.findall(table.read_bytes())]
