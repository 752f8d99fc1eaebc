"""The log in files: segments (`segments.py`) in the data directory, holding frames (`record.py`).

A frame is written with as many calls as it takes and made durable by one `fdatasync`. If any
call fails, the outcome is `Unknown` and the log is finished: the kernel reports a failed sync
once and forgets it, so nothing is retried, and what was written is judged by recovery.

A frame that no longer fits into the segment's `segment_bytes` begins the next one, if there is one
whose room is reserved (`headroom.py`); until then the segment goes on growing, so an append never
waits for room. A frame longer than a segment is alone in one.

Readers use their own `pread` and never pass the durable position, which moves only after the
sync. The newest frames are remembered besides, so that those who follow at the end share them and
wait for no disk. What is no longer kept is said with the first sequence that is (`NotKept`).
"""

import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from server.journal.fence import Fence, chain_after, passed
from server.journal.frames import FrameReader, Place, find
from server.journal.log import Lost, Mark, NotKept, Position, Unknown
from server.journal.record import (
    EPOCH,
    HEADER_BYTES,
    FrameBad,
    Record,
    Step,
    decode_frame,
    encode,
    step,
)
from server.journal.refusals import RecordDamaged
from server.journal.segments import Segments
from server.journal.storage import DISK_FULL, UNREADABLE, Storage, write_all

SEGMENT_BYTES: Final = 16 << 20
"""16 MiB, some 120,000 orders: what is archived or dropped at once, and reserved twice."""

RECENT_BYTES_MAX: Final = 1 << 20
"""1 MiB of newest frames remembered, some 3,500 orders: who keeps up is not further behind."""


class Room(Protocol):
    """Where the file of the next segment comes from."""

    def take(self) -> Storage | None:
        """An empty file whose room is reserved; None while there is none."""


class FileLog:
    """`Log` over segments that were recovered: whole frames up to their end, as `mark` says.

    `Lost` never comes from it: the lock of the data directory keeps other owners away.
    """

    def __init__(
        self, segments: Segments, mark: Mark, rules_version: int, segment_bytes: int
    ) -> None:
        self.segments = segments
        self.append_began_ns = 0
        """Monotonic clock at the beginning of an append that has not ended; 0 otherwise."""
        self.append_ended_ns = 0
        """Monotonic clock at the end of the last append."""
        self.append_taken_ns = 0
        """What the last append took."""
        self.disk_full = False
        """The append that failed found no room."""
        self.damage = ""
        """What a reader first met that is damaged, with what to do; empty while nobody has."""
        self.recent: dict[int, tuple[bytes, int]] = {}
        """The newest durable frames by position, each with the sequence that follows it; only the
        appending thread changes it."""
        self._recent_bytes = 0
        self._segment_bytes = segment_bytes
        self._room: Room | None = None
        self._journal = mark.journal
        self._rules_version = rules_version
        self._fence = mark.fence
        self._failure = ""
        self._durable = (mark.position, mark.fence.last_sequence)

    def attach(self, room: Room) -> None:
        """Begin new segments in files of `room`, which is made later: it tells of a full disk those
        who write to this log. Until then the last segment grows without an end."""
        self._room = room

    def claim(self, owner: bytes) -> int | Lost | Unknown:
        """Append the record of a new epoch, of the time of the record before it."""
        assert len(owner) == 16
        epoch = self._fence.epoch + 1
        before = self._fence
        self._fence = before._replace(epoch=epoch, owner=owner)
        outcome = self.append(EPOCH, before.last_sequence + 1, 0, before.time_ns, b"")
        return epoch if isinstance(outcome, Position) else outcome

    def append(
        self, kind: int, first_sequence: int, count: int, time_ns: int, payload: bytes
    ) -> Position | Lost | Unknown:
        """Write one frame and sync it."""
        fence = self._fence
        assert fence.epoch > 0, "claim comes before append"
        assert first_sequence == fence.last_sequence + 1, (first_sequence, fence)
        assert time_ns >= fence.time_ns, (time_ns, fence)
        if self._failure:
            return Unknown(f"the journal takes nothing since an append failed: {self._failure}")
        start = self._durable[0]
        record = Record(
            kind,
            start,
            start,
            self._journal,
            fence.shard,
            self._rules_version,
            fence.epoch,
            fence.owner,
            first_sequence,
            count,
            time_ns,
            b"",
            payload,
        )
        record = record._replace(chain=chain_after(fence.chain, record))
        self.append_began_ns = time.monotonic_ns()
        try:
            if kind != EPOCH:
                self._make_room(record.end)
            frame = encode(record)
            write_all(self.segments, frame)
            self.segments.fdatasync()
        except OSError as error:
            path, offset = self.segments.place(start)
            self._failure = f"{path} at offset {offset}: {error}"
            self.disk_full = error.errno in DISK_FULL
            return Unknown(self._failure)
        finally:
            self.append_ended_ns = time.monotonic_ns()
            self.append_taken_ns = self.append_ended_ns - self.append_began_ns
            self.append_began_ns = 0
        self._fence = passed(record)
        self._durable = (record.end, record.last_sequence)
        self._remember(start, frame, record.last_sequence + 1)
        return Position(record.end)

    def _remember(self, start: int, frame: bytes, next_sequence: int) -> None:
        recent = self.recent
        recent[start] = frame, next_sequence
        self._recent_bytes += len(frame)
        while self._recent_bytes > RECENT_BYTES_MAX:
            self._recent_bytes -= len(recent.pop(next(iter(recent)))[0])

    def _make_room(self, end: int) -> None:
        """Begin the next segment where a frame would end too far behind in this one. A new epoch
        stays in this one: the fence is its owner's already, and a header says the one before."""
        last = self.segments.all[-1]
        start = self._durable[0]
        if last.offset(end) <= self._segment_bytes or start == last.start or self._room is None:
            return
        room = self._room.take()
        if room is not None:
            self.segments.roll(room, start, self._fence)

    def follow(self, after_sequence: int) -> "FileFollow":
        """The durable frames after this sequence; see `Log.follow`."""

        def later(frame: Step) -> bool:
            return frame.first_sequence + max(frame.command_count - 1, 0) > after_sequence

        end, last_sequence = self._durable
        offset = self._find(later, Place(end, last_sequence + 1), after_sequence + 1)
        reader = FrameReader(self.segments, self._journal, offset, end, after_sequence + 1)
        return FileFollow(self, reader)

    def read(self, sequence: int) -> Record:
        """The record that holds this sequence; `KeyError` if no durable one does."""

        def holds(frame: Step) -> bool:
            return frame.first_sequence + frame.command_count > sequence

        end, last_sequence = self._durable
        if sequence > last_sequence:
            raise KeyError(sequence)
        segments = self.segments
        try:
            offset = self._find(holds, Place(end, last_sequence + 1), sequence)
            size = step(segments.read(offset, HEADER_BYTES)).end - offset
            record = decode_frame(segments.read(offset, size))
        except (NotKept, FileNotFoundError):
            if sequence >= self.first_sequence:
                raise
            raise KeyError(sequence) from None
        except FrameBad as bad:
            raise self.corrupt(offset, sequence, str(bad)) from bad
        except OSError as error:
            if error.errno not in UNREADABLE:
                raise
            raise self.corrupt(offset, sequence, f"it can't be read: {error}") from error
        is_here = (record.position, record.journal) == (offset, self._journal)
        if not is_here or not record.first_sequence <= sequence <= record.last_sequence:
            raise self.corrupt(offset, sequence, "no record holds it")
        return record

    def corrupt(self, offset: int, sequence: int, reason: str) -> RecordDamaged:
        """What a reader raises who met damage there."""
        is_sealed = offset < self.segments.all[-1].start
        place = self.segments.place(offset)
        found = RecordDamaged(*place, sequence, reason, is_sealed=is_sealed)
        self.damage = self.damage or str(found)
        return found

    def _find(self, reached: Callable[[Step], bool], end: Place, sequence: int) -> int:
        """Where the first frame is for which `reached` holds, or damage in which it may be; raises
        `NotKept`, also where that was dropped meanwhile."""
        while True:
            begun = self.segments.from_sequence(sequence)
            # Looked at last: what is kept now was kept all the time.
            first = self.first_sequence
            if sequence < first:
                raise NotKept(sequence, first)
            try:
                start = Place(begun.start, begun.first_sequence)
                return find(self.segments, self._journal, start, end, reached)
            except FileNotFoundError:
                if begun.start >= self.segments.start:
                    raise

    @property
    def first_sequence(self) -> int:
        """The first sequence that is kept, or that is to come."""
        return self.segments.all[0].first_sequence

    @property
    def mark(self) -> Mark:
        """Where the next record goes."""
        return Mark(self._journal, self._durable[0], self._fence)

    @property
    def durable_position(self) -> int:
        """The end of the last record that is durable."""
        return self._durable[0]

    @property
    def durable_sequence(self) -> int:
        """The last sequence that is durable."""
        return self._durable[1]

    @property
    def fence(self) -> Fence:
        """Gives the fence after the last record."""
        return self._fence

    def close(self) -> None:
        """Close the file; a log that is not written to holds no more room than it fills."""
        if self._room is not None and not self._failure:
            self.segments.give_back()
        self.segments.close()


class FileFollow:
    """Iterates the durable frames; again, for those that have come since."""

    def __init__(self, log: FileLog, reader: FrameReader) -> None:
        self.reader = reader
        self._log = log

    @property
    def at_hand(self) -> bool:
        """Whether what comes next, if anything, is remembered."""
        offset, log = self.reader.offset, self._log
        return offset in log.recent or offset >= log.durable_position

    def __iter__(self) -> Iterator[bytes]:
        reader, log = self.reader, self._log
        while (remembered := log.recent.get(reader.offset)) is not None:
            frame, reader.sequence = remembered
            reader.offset += len(frame)
            yield frame
        reader.end = log.durable_position
        try:
            yield from reader.frames()
        except FileNotFoundError:
            # Dropped while it was read.
            raise NotKept(0, log.first_sequence) from None
        except FrameBad as bad:
            raise log.corrupt(reader.offset, reader.sequence, str(bad)) from bad
