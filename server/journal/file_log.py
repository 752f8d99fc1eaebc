"""The log in one file, `journal`, in the data directory.

The file begins with a header of 64 bytes, little-endian, and then holds frames (`record.py`)
with nothing between them:

    offset  size
         0     8  magic
         8     4  checksum    CRC32C of bytes 12..64
        12     2  format      of the file, 1
        14     2  zero
        16    16  journal     random identity, the beginning of the chain
        32     4  shard
        36     8  created     ns since 1970 UTC
        44    20  zero

The header is written under another name, synced and renamed, so a file of this name always has
one. A frame is written with as many calls as it takes and made durable by one `fdatasync`. If any
call fails, the outcome is `Unknown` and the log is finished: the kernel reports a failed sync
once and forgets it, so nothing is retried, and what was written is judged by recovery.

Readers use their own `pread` and never pass the durable position, which moves only after the
sync. Known limit: one file that only grows, so `trim` drops nothing.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from google_crc32c import value

from server.journal.fence import Fence, chain_after, passed
from server.journal.frames import FrameReader, find
from server.journal.log import Lost, Mark, Position, Unknown
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
from server.journal.refusals import JournalCorrupt
from server.journal.storage import Storage, create, publish, write_all

FILE_NAME: Final = "journal"
MAGIC: Final = b"\xf5\xffJOURNL"
FORMAT: Final = 1

_HEADER: Final = Struct("<8sIHH16sIQ20s")
FILE_HEADER_BYTES: Final = _HEADER.size
_NO_BYTES: Final = bytes(20)


class FileHeader(NamedTuple):
    """What the file says about itself."""

    journal: bytes
    shard: int
    created_ns: int


def create_file(directory: Path, shard: int = 0) -> None:
    """Make an empty journal with an identity of its own."""
    rest = _HEADER.pack(MAGIC, 0, FORMAT, 0, os.urandom(16), shard, time.time_ns(), _NO_BYTES)[12:]
    temporary = directory / f"{FILE_NAME}.new"
    temporary.unlink(missing_ok=True)
    storage = create(temporary)
    try:
        write_all(storage, MAGIC + value(rest).to_bytes(4, "little") + rest)
        publish(storage, directory / FILE_NAME)
    finally:
        storage.close()


def read_header(storage: Storage) -> FileHeader:
    """Read and check the file's header; raises `JournalCorrupt`."""
    data = storage.read(0, FILE_HEADER_BYTES)
    if len(data) < FILE_HEADER_BYTES:
        reason = f"{len(data)} bytes are no file header, which has {FILE_HEADER_BYTES}"
        raise JournalCorrupt(storage.path, 0, 1, reason)
    magic, checksum, file_format, zero, journal, shard, created_ns, _ = _HEADER.unpack(data)
    if magic != MAGIC:
        raise JournalCorrupt(storage.path, 0, 1, f"no journal begins with {magic.hex()}")
    if value(data[12:]) != checksum:
        raise JournalCorrupt(storage.path, 0, 1, "the checksum of the file header is wrong")
    if (file_format, zero) != (FORMAT, 0):
        reason = f"file format {file_format}, this release reads {FORMAT}; use the newer release"
        raise JournalCorrupt(storage.path, 0, 1, reason)
    return FileHeader(journal, shard, created_ns)


class FileLog:
    """`Log` over one file that was recovered: whole frames up to its end, as `mark` says.

    `Lost` never comes from it: the lock of the data directory keeps other owners away.
    """

    def __init__(self, storage: Storage, mark: Mark, rules_version: int) -> None:
        self._storage = storage
        self._journal = mark.journal
        self._rules_version = rules_version
        self._fence = mark.fence
        self._failure = ""
        self._durable = (mark.position, mark.fence.last_sequence)

    def claim(self, owner: bytes) -> int | Lost | Unknown:
        """Append the record of a new epoch, of the time of the record before it."""
        assert len(owner) == 16
        epoch = self._fence.epoch + 1
        self._fence = self._fence._replace(epoch=epoch, owner=owner)
        fence = self._fence
        outcome = self.append(EPOCH, fence.last_sequence + 1, 0, fence.time_ns, b"")
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
        try:
            write_all(self._storage, encode(record))
            self._storage.fdatasync()
        except OSError as error:
            self._failure = f"{self._storage.path} at offset {start}: {error}"
            return Unknown(self._failure)
        self._fence = passed(record)
        self._durable = (record.end, record.last_sequence)
        return Position(record.end)

    def follow(self, after_sequence: int) -> "FileFollow":
        """The durable frames after this sequence; see `Log.follow`."""

        def later(frame: Step) -> bool:
            return frame.first_sequence + max(frame.command_count - 1, 0) > after_sequence

        end = self._durable[0]
        offset = self._find(later, end, after_sequence + 1)
        return FileFollow(self, FrameReader(self._storage, self._journal, offset, end))

    def read(self, sequence: int) -> Record:
        """The record that holds this sequence; `KeyError` if no durable one does."""

        def holds(frame: Step) -> bool:
            return frame.first_sequence + frame.command_count > sequence

        end, last_sequence = self._durable
        if not 0 < sequence <= last_sequence:
            raise KeyError(sequence)
        offset = self._find(holds, end, sequence)
        try:
            size = step(self._storage.read(offset, HEADER_BYTES)).end - offset
            record = decode_frame(self._storage.read(offset, size))
        except FrameBad as bad:
            raise JournalCorrupt(self._storage.path, offset, sequence, str(bad)) from bad
        if not record.first_sequence <= sequence <= record.last_sequence:
            raise JournalCorrupt(self._storage.path, offset, sequence, "no record holds it")
        return record

    def _find(self, reached: Callable[[Step], bool], end: int, sequence: int) -> int:
        start = FILE_HEADER_BYTES
        try:
            return find(self._storage, self._journal, start, end, reached)
        except FrameBad as bad:
            raise JournalCorrupt(self._storage.path, start, sequence, str(bad)) from bad

    def trim(self, before_sequence: int) -> int:
        """Drops nothing: the file holds everything since sequence 1."""
        del before_sequence
        return 1

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
        """After the last record."""
        return self._fence

    def close(self) -> None:
        """Close the file."""
        self._storage.close()


class FileFollow:
    """Iterates the durable frames; again, for those that have come since."""

    def __init__(self, log: FileLog, reader: FrameReader) -> None:
        self.reader = reader
        self._log = log
        self._path = log._storage.path

    def __iter__(self) -> Iterator[bytes]:
        reader = self.reader
        reader.end = self._log.durable_position
        try:
            yield from reader.frames()
        except FrameBad as bad:
            raise JournalCorrupt(self._path, reader.offset, 0, str(bad)) from bad
