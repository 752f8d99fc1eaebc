"""Reading frames out of a file: one after another, from a sequence, and behind damage.

In order: `FrameReader` reads large pieces and checks every frame whole. To find a sequence no
index is kept: frames name their own place, so `find` halves the file, looks from the middle for
the next header that is intact and says that it lies where it lies, and ends with a short walk
over headers. A journal of 10 GB takes about 20 probes, each a read of 16 KiB or of one record if
that is longer; nothing is built at start, and nothing is held in memory.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from server.journal.record import (
    HEADER_BYTES,
    MAGIC,
    FrameBad,
    Record,
    Step,
    decode_frame,
    step,
)
from server.journal.storage import UNREADABLE, Readable

READ_BYTES: Final = 1 << 20
"""1 MiB: large enough that the cost of a read vanishes beside decoding."""
PROBE_BYTES: Final = 1 << 14
"""16 KiB: usually holds a header."""
WALK_BYTES: Final = 1 << 14
"""16 KiB: below this, stepping over headers costs no more than another probe."""
SECTOR_BYTES: Final = 512
"""What a disk can't give back begins and ends in a file at multiples of this."""


class FrameForeign(FrameBad):
    """An intact frame that is not of this place: another journal's, or moved, or copied."""


class FrameUnreadable(FrameBad):
    """The disk fails to give it back, so nobody knows what it is."""


class FrameReader:
    """The frames between two offsets, in order."""

    def __init__(
        self, storage: Readable, journal: bytes, offset: int, end: int, sequence: int = 1
    ) -> None:
        self.sequence = sequence
        """The one that the next frame begins with, as far as those read say."""
        self.offset = offset
        """Where the next frame begins; after a `FrameBad`, where the bad one does."""
        self.end = end
        """Nothing from here on is read; may be moved forward."""
        self._storage = storage
        self._journal = journal
        self._buffer = b""
        self._base = offset

    def read(self) -> Record | None:
        """The next frame, or None at the end; raises `FrameForeign`, `FrameUnreadable` and what
        `decode_frame` does."""
        if self.offset >= self.end:
            return None
        try:
            record = decode_frame(self._buffer, self.offset - self._base)
        except FrameBad:
            if self._buffer and self.offset == self._base:
                raise
            self._fill()
            record = decode_frame(self._buffer, 0)
        if record.position != self.offset or record.journal != self._journal:
            raise FrameForeign(
                f"an intact frame that belongs to offset {record.position} of the journal"
                f" {record.journal.hex()}; this is {self._journal.hex()}"
            )
        self.offset = record.end
        self.sequence = record.last_sequence + 1
        return record

    def frames(self) -> Iterator[bytes]:
        """The frames as they lie, until the end."""
        while (record := self.read()) is not None:
            yield self._buffer[record.position - self._base : record.end - self._base]

    def _fill(self) -> None:
        """Get at least the whole frame at `offset` into the buffer, or all that there is."""
        unreadable: OSError | None = None
        for size in (READ_BYTES, HEADER_BYTES):
            try:
                self._read_more(size)
                return
            except OSError as error:
                if error.errno not in UNREADABLE:
                    raise
                unreadable = error  # What can't be read may lie behind this frame.
        raise FrameUnreadable(f"it can't be read: {unreadable}") from unreadable

    def _read_more(self, size: int) -> None:
        self._buffer = self._storage.read(self.offset, min(size, self.end - self.offset))
        self._base = self.offset
        try:
            needed = step(self._buffer).end - step(self._buffer).position
        except FrameBad:
            return
        if needed > len(self._buffer):
            size = min(needed, self.end - self.offset)
            self._buffer = self._storage.read(self.offset, size)


def headers(
    storage: Readable, journal: bytes, start: int, end: int, *, past_unreadable: bool = False
) -> Iterator[Step]:
    """Every intact header that begins at or after `start` and says that it belongs there,
    whatever lies between them. The payloads are not judged. `past_unreadable`: what the disk can't
    give back holds none, and what follows is looked through; else that raises `OSError`."""
    base = start
    while end - base >= HEADER_BYTES:
        size = min(PROBE_BYTES + HEADER_BYTES, end - base)
        window = _blanked(storage, base, size) if past_unreadable else storage.read(base, size)
        at = window.find(MAGIC)
        while 0 <= at <= len(window) - HEADER_BYTES:
            found = _step_or_none(window, at)
            if found is not None and (found.position, found.journal) == (base + at, journal):
                yield found
            at = window.find(MAGIC, at + 1)
        if len(window) <= HEADER_BYTES:
            return
        base += max(len(window) - HEADER_BYTES + 1, 1)


class Place(NamedTuple):
    """A place between two frames."""

    position: int
    sequence: int
    """The one that the frame behind it begins with."""


def find(
    storage: Readable, journal: bytes, start: Place, end: Place, reached: Callable[[Step], bool]
) -> int:
    """Position of the first frame for which `reached` holds, or the end. Where it may be among
    damaged ones, that of the first of these: whoever reads it says what is wrong. `reached` holds
    for every frame after one for which it holds."""
    low, sequence = start
    high = answer = end.position
    while high - low > WALK_BYTES:
        middle = (low + high) // 2
        found = _next(storage, journal, middle, high)
        if found is None:
            high = middle
        elif reached(found):
            high = middle
            answer = found.position
        else:
            low, sequence = _after(found)
    while low < answer:
        found = _next(storage, journal, low, low + 1)
        if found is None:
            found = _next(storage, journal, low + 1, min(answer + 1, end.position))
            intact = end if found is None else Place(found.position, found.first_sequence)
            lost = Step(low, intact.position, sequence, intact.sequence - sequence, journal)
            if reached(lost):
                return low
            if found is None:
                return answer
        if reached(found):
            return found.position
        low, sequence = _after(found)
    return answer


def _after(frame: Step) -> Place:
    return Place(frame.end, frame.first_sequence + frame.command_count)


def _next(storage: Readable, journal: bytes, start: int, end: int) -> Step | None:
    """The first intact header that begins between the two."""
    stop = end - 1 + HEADER_BYTES
    return next(headers(storage, journal, start, stop, past_unreadable=True), None)


def _blanked(storage: Readable, offset: int, size: int) -> bytes:
    """What stands there, with zeros for the sectors that the disk can't give back."""
    try:
        return storage.read(offset, size)
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
    room = SECTOR_BYTES - storage.place(offset)[1] % SECTOR_BYTES
    if size <= room:
        return bytes(size)
    cuts = pairwise((offset, *range(offset + room, offset + size, SECTOR_BYTES), offset + size))
    return b"".join(_blanked(storage, at, until - at) for at, until in cuts)


def _step_or_none(window: bytes, at: int) -> Step | None:
    try:
        return step(window, at)
    except FrameBad:
        return None
