"""What a bad frame at the end of a journal is: the end of a crash, or corruption.

A commit that was cut short by a crash was never acknowledged and may go. But its pages reach the
disk in any order, so neither a wrong checksum nor intact frames behind it prove anything. What
does: somebody who knows that the bad place was durable. That is

- a later intact frame of this journal, lying where it says, that was written when everything
  before a position beyond the bad frame's beginning was durable; or
- a snapshot of a position beyond it.

Then the journal is corrupt and nothing is touched; so it is where the disk can't give a frame back,
or what may stand behind a bad one. Otherwise everything from the bad frame on is
cut, after it was copied to `journal.cut-<offset>`, which nothing ever deletes. If the bad frame
ends with the file, where its intact header says that more was to come, it was never written
whole: *torn*. Otherwise it may have been whole once and been acknowledged, and the cut is reported
as *possibly acknowledged*; the idle record that follows a quiet moment keeps that window short.
"""

import itertools
import os
from pathlib import Path
from typing import Final, NamedTuple

from server.journal.frames import FrameForeign, FrameUnreadable, headers
from server.journal.payload import PayloadInvalid
from server.journal.record import FrameBad, decode_frame
from server.journal.segments import Segments
from server.journal.storage import (
    UNREADABLE,
    Readable,
    Storage,
    create,
    sync_directory,
    write_all,
)

_COPY_BYTES: Final = 1 << 20


class Cut(NamedTuple):
    """A tail that is no part of the journal."""

    offset: int
    byte_count: int
    possibly_acknowledged: bool
    reason: str
    """What is wrong with its first frame."""
    kept_at: Path | None = None
    """Where its bytes are, once it is cut."""

    def sentence(self) -> str:
        """Say it for the operator."""
        what = "possibly acknowledged" if self.possibly_acknowledged else "torn"
        where = "" if self.kept_at is None else f", kept in {self.kept_at}"
        return (
            f"{self.byte_count} tail bytes from offset {self.offset}, {what}: {self.reason}{where}"
        )


def judge(storage: Readable, journal: bytes, offset: int, bad: FrameBad, known: int) -> Cut | str:
    """The tail from the bad frame at `offset`, or why it is corruption instead. `known` is the
    furthest position that a snapshot or a later segment proves durable."""
    if isinstance(bad, FrameForeign | FrameUnreadable):
        return str(bad)
    if known > offset:
        return (
            f"{bad}; a snapshot or a later file of the journal proves that everything before"
            f" position {known} was durable"
        )
    size = storage.size()
    try:
        proof = _proof(storage, journal, offset, size)
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        proof = f"what follows can't be read: {error}"
    if proof is not None:
        return f"{bad}; {proof}"
    return Cut(offset, size - offset, not bad.incomplete, str(bad))


def keep_aside_and_cut(storage: Segments, cut: Cut) -> Cut:
    """Copy the tail to a file of its own, durably, then end the journal before it."""
    copy = _new_file(storage.path, cut.offset)
    try:
        end = cut.offset + cut.byte_count
        for offset in range(cut.offset, end, _COPY_BYTES):
            write_all(copy, storage.read(offset, min(_COPY_BYTES, end - offset)))
        copy.fdatasync()
    except OSError:
        # Half of it is of no use, and the disk may be full because of many such.
        copy.path.unlink(missing_ok=True)
        raise
    finally:
        copy.close()
    sync_directory(storage.path.parent)
    storage.cut(cut.offset)
    return cut._replace(kept_at=copy.path)


def _proof(storage: Readable, journal: bytes, offset: int, size: int) -> str | None:
    """The first later frame that knows the bad one to have been durable."""
    for header in headers(storage, journal, offset + 1, size):
        if header.end > size:
            continue
        try:
            record = decode_frame(storage.read(header.position, header.end - header.position))
        except FrameBad:
            continue
        except PayloadInvalid as error:
            return f"the frame at offset {header.position} behind it is intact, but {error}"
        if record.durable_position > offset:
            return (
                f"the record of sequence {record.first_sequence} at offset {record.position} was"
                f" written when everything before offset {record.durable_position} was durable"
            )
    return None


def _new_file(journal: Path, offset: int) -> Storage:
    name = f"{journal.name}.cut-{offset}"
    for attempt in itertools.count(1):
        try:
            return create(journal.with_name(name if attempt == 1 else f"{name}-{attempt}"))
        except FileExistsError:
            continue
    raise AssertionError(os.fspath(journal))
