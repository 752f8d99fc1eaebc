"""What a run yields: counts, times, percentiles, and how they are told from process to process."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgpack

from clients import percentiles as ranks

PERCENTILES = (50.0, 95.0, 99.0, 99.9)


def percentiles(values: Sequence[float]) -> list[float]:
    """What these shares of `values` don't exceed; by nearest rank, so each was measured."""
    return list(ranks.percentiles(values, PERCENTILES).values())


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a driver: a server loaded for some seconds."""

    orders: int
    """Orders (or other commands) answered."""
    seconds: float
    """From the first request sent to the last reply received."""
    latencies_ms: list[float]
    """Of a request, at each of `PERCENTILES`."""
    requests: int
    """Requests (or messages) sent: where the next turn goes on."""

    @property
    def rate(self) -> float:
        """Orders in a second."""
        return self.orders / self.seconds

    def to_json(self) -> str:
        """As one line, the last that a driver prints."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Turn":
        """What a driver printed."""
        return cls(**json.loads(line))


def write_messages(path: Path, messages: Sequence[bytes]) -> None:
    """Keep prepared bytes for another process."""
    path.write_bytes(msgpack.packb(messages))


def read_messages(path: Path) -> list[bytes]:
    """Prepared bytes of another process."""
    messages: list[bytes] = msgpack.unpackb(path.read_bytes())
    return messages
