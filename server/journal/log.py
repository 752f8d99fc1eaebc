"""The seam between the exchange and whatever keeps its records.

There is one implementation, a file (`file_log.py`); a replicated log can take its place. What a
user of the seam may rely on, with either:

- Only `Position` says that a record is durable and replies may go. `Lost` (another owner has
  claimed the log) and `Unknown` (the append failed, or may have) are final: the log refuses every
  later append, the process ends, and what is true is found out by recovery.
- Appends come from one thread, one at a time; everything else may be called from any thread.
- Nothing that isn't durable is ever read back.
- A position is opaque, but later ones are greater. The business order is the sequence.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from server.journal.fence import Fence
from server.journal.record import Record


class Position(NamedTuple):
    """The record is durable; `token` is for the log alone."""

    token: int


class Lost(NamedTuple):
    """Another owner has claimed the log; nothing more can be appended."""

    reason: str


class Unknown(NamedTuple):
    """Whether the record is durable can't be known without a recovery."""

    reason: str


class NotKept(LookupError):
    """The records about a sequence were archived or dropped; raised to whoever reads them."""

    def __init__(self, sequence: int, first_sequence: int) -> None:
        super().__init__(
            f"sequence {sequence} lies before the journal that is kept, which begins with"
            f" {first_sequence}"
        )
        self.sequence = sequence
        self.first_sequence = first_sequence


class Mark(NamedTuple):
    """A place between two records: what a snapshot states, so that reading can go on from it."""

    journal: bytes
    position: int
    fence: Fence


class Frames(Protocol):
    """The durable frames after a sequence, in order; iterated again, those that have come since."""

    @property
    def at_hand(self) -> bool:
        """Whether the next ones, if there are any, come without waiting for a disk."""

    def __iter__(self) -> Iterator[bytes]:
        """Ends where nothing more is durable; may raise `NotKept`, and `JournalCorrupt` where a
        frame is damaged, each time again."""


class Log(Protocol):
    """Where records are kept."""

    def claim(self, owner: bytes) -> int | Lost | Unknown:
        """Become the only writer: append an epoch record, durably, and return the epoch.
        `owner` is 16 random bytes, new for each start."""

    def append(
        self, kind: int, first_sequence: int, count: int, time_ns: int, payload: bytes
    ) -> Position | Lost | Unknown:
        """Append one record and return once it is durable, or once it can't be. `kind` is BATCH
        with a payload of `encode_batch`, or IDLE with count 0 and none; blocks, so call it
        in the writer's thread."""

    def follow(self, after_sequence: int) -> Frames:
        """The frames after this sequence, as they lie. The first may be a batch that begins before
        the sequence, if it ends after it. Raises `NotKept` and `JournalCorrupt`, also later on."""

    def read(self, sequence: int) -> Record:
        """The record that holds the command of this sequence; `KeyError` if none does,
        `JournalCorrupt` where it is damaged."""

    @property
    def first_sequence(self) -> int:
        """The first sequence that is kept, or that is to come: what lies before was archived or
        dropped."""

    @property
    def mark(self) -> Mark:
        """Where the next record goes; exact only while nothing is being appended."""

    @property
    def durable_position(self) -> int:
        """Everything before it is durable."""

    @property
    def durable_sequence(self) -> int:
        """The last sequence that is durable."""

    def close(self) -> None:
        """Nothing may use the log afterwards."""
