"""Row 7: a disk that can't give back what was written.

Nobody knows what stands there, so nothing is cut: a start is refused with file, offset and
sequence, and all is well once the disk is.
"""

import errno
import io
import os
from pathlib import Path

import pytest

from server.journal import inspect
from server.journal.recovery import recover
from server.journal.refusals import JournalCorrupt
from tests.journal.site import Copy, assert_recovered

BLOCK_BYTES = 16


class Disk:
    """Reads of the journal end before its bad block, and fail at it, as the kernel has it."""

    bad = range(0)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk, sound = Disk(), os.pread

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name == "journal" and offset + size > disk.bad.start and offset < disk.bad.stop:
            if offset in disk.bad:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            size = disk.bad.start - offset
        return sound(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", pread)
    return disk


def assert_refused(copy: Copy, disk: Disk) -> JournalCorrupt:
    """With nothing changed."""
    before = sorted(copy.directory.rglob("*"))
    with pytest.raises(JournalCorrupt) as caught:
        recover(copy.directory)
    said = str(caught.value)
    assert f"Input/output error at offset {disk.bad.start}: '{copy.journal}'" in said
    assert sorted(copy.directory.rglob("*")) == before
    assert copy.journal.stat().st_size == len(copy.original)
    return caught.value


def test_row_7_a_block_that_can_not_be_read_is_refused(plain: Copy, disk: Disk) -> None:
    """[I1 I8] Wherever it is, in the last record too, which nothing vouches for."""
    for start in range(0, len(plain.original), 293):
        disk.bad = range(start, start + BLOCK_BYTES)
        refused = assert_refused(plain, disk)
        assert refused.offset <= start
        assert refused.sequence == 1 + max(
            [last for end, last in plain.site.ends if end <= refused.offset], default=0
        )
        out = io.StringIO()
        assert inspect.verify(plain.directory, out) == 1
        assert f"BAD  {plain.journal} is corrupt" in out.getvalue()
    disk.bad = range(0)
    recovered = recover(plain.directory)
    assert_recovered(recovered, plain.site, plain.site.engine.sequence)
    assert recovered.report.cut is None
    recovered.log.close()


def test_a_damaged_record_before_such_a_block_is_not_cut(vouched: Copy, disk: Disk) -> None:
    """What stands behind it might vouch for it."""
    end = vouched.site.ends[-3][0]
    vouched.flip(8 * (end + 200))
    disk.bad = range(len(vouched.original) - BLOCK_BYTES, len(vouched.original))
    refused = assert_refused(vouched, disk)
    assert refused.offset == end
