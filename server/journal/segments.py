"""The files of a journal: a row of segments that read like one file.

The first segment is `journal`; each later one is `journal-<number, 8 digits>` and goes on where the
one before it ended. A *position* counts bytes from the beginning of the first segment, through all
of them and without the headers of the later ones; frames (`record.py`) state positions, and none
crosses the end of a segment. Headers, integers little-endian:

    first segment, 64 bytes            later segments, 128 bytes
    offset size                        offset size
         0    8  magic                      0    8  magic
         8    4  CRC32C of the rest         8    4  CRC32C of the rest
        12    2  format, 1                 12    2  format, 2
        14    2  zero                      14    2  zero
        16   16  journal                   16   16  journal
        32    4  shard                     32    4  shard
        36    8  created, ns               36    8  created, ns
        44   20  zero                      44    8  number
                                           52    8  start: position of its first frame
                                           60    8  epoch      \\
                                           68   16  owner       | the fence before its first frame:
                                           84    8  last seq.   | reading can begin here, whatever
                                           92    8  time        | became of what lies before
                                          100   16  chain      /
                                          116   12  zero

`journal` is the random identity of the whole, the beginning of the chain. What holds, and is
checked whenever the segments are opened:

- Numbers have no gaps. Each starts at the position at which the one before it ends, of the same
  journal and shard, under the number that its name says. A segment that is missing in between, that
  was exchanged, cut or made longer is refused with file and offset.
- Only the last segment is written to. When it is followed by another, it is made read-only and
  gives back the room that it did not use. So a last segment that is read-only has lost what
  followed it, and is refused too.
- The first ones may be missing once they were archived or dropped (`retention.py`); whoever needs
  them says where the kept journal begins.

Going on in the next segment, in this order: its header is written into a file of another name, that
is synced, renamed, the directory synced; then the one before it is sealed; then the first frame is
appended. After a crash between any two there is an empty last segment, or none yet: both are whole.

Only the last segment is kept open, and the directory, so that no flood of callers who take every
descriptor ends the journal. The others are opened for each read, a megabyte or a probe, so that a
journal of a thousand files takes no descriptors, and one that is dropped is closed nowhere.
"""

import os
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from google_crc32c import value

from server.journal.fence import Fence, new_fence
from server.journal.record import HEADER_BYTES, FrameBad, step
from server.journal.refusals import JournalCorrupt
from server.journal.storage import (
    UNREADABLE,
    Storage,
    create,
    publish,
    sync_directory,
    write_all,
)

FILE_NAME: Final = "journal"
MAGIC: Final = b"\xf5\xffJOURNL"
FORMAT_FIRST: Final = 1
FORMAT_LATER: Final = 2

_FIRST: Final = Struct("<8sIHH16sIQ20s")
_LATER: Final = Struct("<8sIHH16sIQQQQ16sQQ16s12s")
FILE_HEADER_BYTES: Final = _FIRST.size
"""Of the first segment; the first frame is at this position."""
_SEALED_MODE: Final = 0o400
_WRITABLE: Final = 0o200


class Segment(NamedTuple):
    """One file, as its header says."""

    path: Path
    journal: bytes
    number: int
    start: int
    """Position of its first frame."""
    header_bytes: int
    fence: Fence
    """The fence before its first frame."""

    @property
    def first_sequence(self) -> int:
        """Gives the sequence of the first command in it, or of the one that is to come."""
        return self.fence.last_sequence + 1

    def offset(self, position: int) -> int:
        """Where in the file a position is."""
        return position - self.start + self.header_bytes


def create_file(directory: Path, shard: int = 0) -> None:
    """Make an empty journal with an identity of its own."""
    data = _FIRST.pack(MAGIC, 0, FORMAT_FIRST, 0, os.urandom(16), shard, time.time_ns(), bytes(20))
    temporary = directory / f"{FILE_NAME}.new"
    temporary.unlink(missing_ok=True)
    storage = create(temporary)
    try:
        write_all(storage, _checked(data))
        publish(storage, directory / FILE_NAME)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        storage.close()


def read_header(storage: Storage) -> Segment:
    """Read and check a segment's header; raises `JournalCorrupt`."""

    def corrupt(reason: str) -> JournalCorrupt:
        return JournalCorrupt(storage.path, 0, 1, reason)

    try:
        data = storage.read(0, _LATER.size)
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        raise corrupt(f"it can't be read: {error}") from error
    if len(data) < FILE_HEADER_BYTES:
        raise corrupt(f"{len(data)} bytes are no file header, which has {FILE_HEADER_BYTES}")
    if data[:8] != MAGIC:
        raise corrupt(f"no journal begins with {data[:8].hex()}")
    file_format = int.from_bytes(data[12:14], "little")
    shape = _LATER if file_format == FORMAT_LATER else _FIRST
    if value(data[12 : shape.size]) != int.from_bytes(data[8:12], "little"):
        raise corrupt("the checksum of the file header is wrong")
    if file_format not in (FORMAT_FIRST, FORMAT_LATER) or data[14:16] != bytes(2):
        raise corrupt(
            f"file format {file_format}, this release reads {FORMAT_FIRST} and {FORMAT_LATER};"
            " use the newer release"
        )
    if shape is _FIRST:
        journal, shard = _FIRST.unpack_from(data)[4:6]
        fence = new_fence(shard, journal)
        return Segment(storage.path, journal, 1, FILE_HEADER_BYTES, FILE_HEADER_BYTES, fence)
    journal, shard, _, number, start, *fence_rest, _ = _LATER.unpack(data)[4:]
    return Segment(storage.path, journal, number, start, _LATER.size, Fence(shard, *fence_rest))


def segment_paths(directory: Path) -> list[Path]:
    """The segments' files by their numbers."""
    later = [path for path in directory.glob(f"{FILE_NAME}-*") if _number_of(path)]
    first = directory / FILE_NAME
    return [*([first] if first.exists() else []), *sorted(later, key=_number_of)]


class Segments:
    """All segments, with the verbs of `Storage`, whose offsets are positions here.

    Reading is for any thread; writing, `roll` and `cut` for one. `forget` may come from a third.
    """

    def __init__(self, all_segments: Sequence[Segment], last: Storage) -> None:
        self._all = tuple(all_segments)
        self._changing = threading.Lock()
        """For `_all`, of which `roll` and `forget` each make another."""
        self._last = last
        self._directory = os.open(last.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        self.path = last.path.parent / FILE_NAME
        """What the journal is called as a whole."""

    @classmethod
    def open(cls, directory: Path, *, writable: bool = True) -> "Segments":
        """Open what is there, which is something; raises `JournalCorrupt`."""
        paths = segment_paths(directory)
        if not paths:
            raise JournalCorrupt(directory / FILE_NAME, 0, 1, "it is missing")
        found: list[Segment] = []
        for path in paths:
            # A sealed one in the last place is refused below, not here for its mode.
            opened = writable and path is paths[-1] and bool(path.stat().st_mode & _WRITABLE)
            storage = Storage.open(path, writable=opened)
            try:
                segment = _read_next(storage, found)
                _expect_name(segment)
                if found:
                    _expect_next(found[-1], segment)
                found.append(segment)
                if path is paths[-1]:
                    _expect_open(segment)
                    return cls(found, storage)
            except BaseException:
                storage.close()
                raise
            storage.close()
        raise AssertionError(paths)

    @property
    def all(self) -> tuple[Segment, ...]:
        """Gives the segments from the first that is kept to the one that is written to."""
        return self._all

    @property
    def journal(self) -> bytes:
        """Gives the journal's identity."""
        return self._all[0].journal

    @property
    def start(self) -> int:
        """The first position that is kept."""
        return self._all[0].start

    def read(self, offset: int, size: int) -> bytes:
        """Read up to `size` bytes from a position; fewer only where the journal ends. Raises
        `FileNotFoundError` where they are no longer kept."""
        segments = self._all
        if offset < segments[0].start:
            raise FileNotFoundError(f"position {offset} lies before the journal that is kept")
        parts = []
        for index, segment in enumerate(segments):
            is_last = index + 1 == len(segments)
            end = None if is_last else segments[index + 1].start
            if size <= 0 or (end is not None and offset >= end):
                continue
            wanted = size if end is None else min(size, end - offset)
            with closing(Storage.open(segment.path, writable=False)) as storage:
                data = storage.read(segment.offset(offset), wanted)
            parts.append(data)
            offset += len(data)
            size -= len(data)
            if len(data) < wanted:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def size(self) -> int:
        """The position at which the journal ends."""
        segment = self._all[-1]
        return self._last.size() - segment.header_bytes + segment.start

    def place(self, position: int) -> tuple[Path, int]:
        """File and offset of a position, for people."""
        for segment in reversed(self._all):
            if position >= segment.start:
                return segment.path, segment.offset(position)
        return self._all[0].path, 0

    def from_sequence(self, sequence: int) -> Segment:
        """The segment from which on every frame about this sequence and later ones is met."""
        segments = self._all
        for segment in reversed(segments):
            if segment.first_sequence < sequence:
                return segment
        return segments[0]

    def write(self, data: bytes | memoryview) -> int:
        """Write at the end; may take only the first part and says how much."""
        return self._last.write(data)

    def fdatasync(self) -> None:
        """Make everything written durable, or raise; never call it again after it raised."""
        self._last.fdatasync()

    def cut(self, size: int) -> None:
        """End the journal at this position, which is in the last segment, durably."""
        segment = self._all[-1]
        assert size >= segment.start, (size, segment)
        self._last.cut(segment.offset(size))

    def roll(self, room: Storage, position: int, fence: Fence) -> None:
        """Go on in an empty file that has room; raises `OSError`, after which nothing is known."""
        last = self._all[-1]
        path = self.path.with_name(f"{FILE_NAME}-{last.number + 1:08}")
        now = time.time_ns()
        fields = (last.journal, fence.shard, now, last.number + 1, position, *fence[1:], bytes(12))
        write_all(room, _checked(_LATER.pack(MAGIC, 0, FORMAT_LATER, 0, *fields)))
        publish(room, path, self._directory)
        segment = Segment(path, last.journal, last.number + 1, position, _LATER.size, fence)
        with self._changing:
            self._all = (*self._all, segment)
        full, self._last = self._last, room
        with suppress(OSError):
            # Without either nothing is wrong: more room is held, and less would be noticed.
            full.path.chmod(_SEALED_MODE)
            full.give_back()
        full.close()

    def dispensable(self, before_sequence: int) -> list[Segment]:
        """The segments that hold nothing of this sequence or later, nor of the one before it:
        empty records share their sequence with a neighbour."""
        pairs = zip(self._all, self._all[1:], strict=False)
        return [one for one, after in pairs if after.first_sequence < before_sequence]

    def forget(self, segment: Segment) -> None:
        """Do without the first segment from now on, and remove its file."""
        assert len(self._all) > 1, segment
        assert segment == self._all[0], segment
        with self._changing:
            self._all = self._all[1:]
        segment.path.unlink()
        sync_directory(segment.path.parent)

    def reserve(self, size: int) -> None:
        """Have room for so many bytes of the last segment; raises `OSError` where there is none."""
        self._last.reserve(size)

    def give_back(self) -> None:
        """Give back the room reserved behind the end."""
        self._last.give_back()

    def close(self) -> None:
        """Close; nothing may use it afterwards."""
        self._last.close()
        os.close(self._directory)


def _read_next(storage: Storage, found: Sequence[Segment]) -> Segment:
    """The header of the segment after those found; what is wrong with it names the sequence that
    it should begin with, by the frames of the one before it."""
    try:
        return read_header(storage)
    except JournalCorrupt as corrupt:
        if not found:
            raise
        sequence = _sequence_after(found[-1])
        raise JournalCorrupt(corrupt.file, corrupt.offset, sequence, corrupt.reason) from corrupt


def _sequence_after(segment: Segment) -> int:
    sequence, offset = segment.first_sequence, segment.header_bytes
    storage = Storage.open(segment.path, writable=False)
    try:
        while True:
            frame = step(storage.read(offset, HEADER_BYTES))
            sequence = frame.first_sequence + frame.command_count
            offset += frame.end - frame.position
    except (FrameBad, OSError):
        return sequence  # Its end.
    finally:
        storage.close()


def _checked(data: bytes) -> bytes:
    """A header with its checksum in place."""
    checksum: int = value(data[12:])
    return data[:8] + checksum.to_bytes(4, "little") + data[12:]


def _number_of(path: Path) -> int:
    """Read the number from the name of the file; 0 for one that is no segment."""
    if path.name == FILE_NAME:
        return 1
    digits = path.name.removeprefix(f"{FILE_NAME}-")
    if not (digits.isascii() and digits.isdigit() and len(digits) == 8):
        return 0
    return int(digits) if int(digits) > 1 else 0


def _expect_name(segment: Segment) -> None:
    number = _number_of(segment.path)
    if number != segment.number:
        reason = f"it is segment {segment.number} of the journal, and its name says {number}"
        raise JournalCorrupt(segment.path, 0, segment.first_sequence, reason)


def _expect_next(before: Segment, segment: Segment) -> None:
    """Check that it goes on where the one before it ended."""
    first = segment.first_sequence
    if segment.journal != before.journal or segment.fence.shard != before.fence.shard:
        reason = (
            f"it is of journal {segment.journal.hex()}, shard {segment.fence.shard}; the segment"
            f" before it of {before.journal.hex()}, shard {before.fence.shard}"
        )
        raise JournalCorrupt(segment.path, 0, first, reason)
    if segment.number != before.number + 1:
        missing = segment.path.with_name(f"{FILE_NAME}-{before.number + 1:08}")
        reason = f"segment {before.number + 1} ({missing.name}) before it is missing"
        raise JournalCorrupt(segment.path, 0, first, reason)
    size = before.path.stat().st_size
    wanted = before.offset(segment.start)
    if size != wanted:
        reason = f"it has {size} bytes, and {segment.path.name} goes on after {wanted}"
        raise JournalCorrupt(before.path, min(size, wanted), first, reason)


def _expect_open(segment: Segment) -> None:
    if not segment.path.stat().st_mode & _WRITABLE:
        raise JournalCorrupt(
            segment.path,
            segment.path.stat().st_size,
            segment.first_sequence,
            f"it is read-only, which only a segment is that was followed by another:"
            f" {FILE_NAME}-{segment.number + 1:08} is missing",
        )
