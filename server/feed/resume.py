"""Resuming from the journal: what a stream would have sent, read back from the records.

Reading is driven by the reader that resumes: nothing is read ahead of what it takes, so a slow
one costs no memory and is not cut meanwhile. Frames are read, decoded and encoded in one thread for
all, a chunk at a time, so that many who resume share it in turn and the loop goes on in between.

A chunk ends with a record: after `CHUNK_BYTES` of entries or `CHUNK_SEQUENCES`, whichever is first.
Nothing after `up_to` is read, though the journal may hold more: that is for the live stream. The
first frame may begin before the starting point; what is not after it is left out.
"""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from server.core.events import Event
from server.feed.fan_out import Piece
from server.journal.record import Record, decode_frame
from server.journal.refusals import JournalCorrupt

CHUNK_BYTES: Final = 256 * 1024
"""As much as a message: a chunk is usually one."""
CHUNK_SEQUENCES: Final = 5_000
"""Some 20 ms of decoding, after which another reader has its turn."""


class Journal(Protocol):
    """The part of the journal's `Log` that is used here."""

    @property
    def first_sequence(self) -> int:
        """The first sequence that is kept."""

    def follow(self, after_sequence: int) -> Iterable[bytes]:
        """The durable frames after this sequence; again, for those that have come since."""


Encode = Callable[[int, int, list[list[Event]]], list[Piece]]
"""(first sequence, time, events of each command) to what a filter lets through."""


class CatchUp:
    """Reads what came after a sequence, for one filter."""

    def __init__(
        self, log: Journal, pool: ThreadPoolExecutor, encode: Encode, after_sequence: int
    ) -> None:
        self.sequence = after_sequence
        """Everything up to here has been read."""
        self._log = log
        self._pool = pool
        self._encode = encode
        self._frames: Iterable[bytes] | None = None

    async def chunk(self, up_to: int) -> list[Piece]:
        """The next pieces; none where the filter lets nothing through. Moves `sequence` on.
        `up_to` is the last sequence of a record. Raises `JournalCorrupt` where what comes next is
        damaged."""
        loop = asyncio.get_running_loop()
        pieces, self.sequence = await loop.run_in_executor(self._pool, self._read, up_to)
        return pieces

    def _read(self, up_to: int) -> tuple[list[Piece], int]:
        after, reached, size = self.sequence, self.sequence, 0
        pieces: list[Piece] = []
        while reached < up_to and size < CHUNK_BYTES and reached - after < CHUNK_SEQUENCES:
            try:
                record = self._next()
            except JournalCorrupt:
                if reached > after:
                    break  # What lies before the damage is sent first; the next chunk raises.
                raise
            if record is None:
                break
            first, events = record.first_sequence, list(record.events())
            assert first <= reached + 1, f"the journal lacks what is between {reached} and {first}"
            known = max(reached + 1 - first, 0)
            found = self._encode(first + known, record.time_ns, events[known:])
            pieces += found
            size += sum(len(piece.data) for piece in found)
            reached = record.last_sequence
        assert reached <= up_to, f"a record ends with {reached}, after {up_to}"
        assert reached > after, f"the journal has nothing between {after} and {up_to}"
        return pieces, reached

    def _next(self) -> Record | None:
        """The next record that holds commands not read yet."""
        if self._frames is None:
            self._frames = self._log.follow(self.sequence)
        for frame in self._frames:
            record = decode_frame(frame)
            if record.command_count and record.last_sequence > self.sequence:
                return record
        return None
