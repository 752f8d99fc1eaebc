"""Row 7: a disk that can't give back what was written.

Nobody knows what stands there, so nothing is cut: a start is refused with file, offset and
sequence, and all is well once the disk is. A snapshot is passed over like a damaged one.
"""

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from server.journal.frames import SECTOR_BYTES
from server.journal.recovery import recover
from server.journal.refusals import JournalCorrupt
from server.journal.retention import needed_sequence
from server.journal.snapshots import snapshot_paths, write_snapshot
from server.journal_tools.verify import verify
from tests.journal.site import Copy, assert_recovered, records_of

BLOCK_BYTES = 16


class Disk:
    """Reads of the file end before its bad block, and fail at it, as the kernel has it."""

    name = "journal"
    bad = range(0)
    error = errno.EIO


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk, sound = Disk(), os.pread

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name == disk.name and offset + size > disk.bad.start and offset < disk.bad.stop:
            if offset in disk.bad:
                raise OSError(disk.error, os.strerror(disk.error))
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
        assert verify(plain.directory, out) == 1
        assert f"BAD  {plain.journal} is corrupt" in out.getvalue()
    disk.bad = range(0)
    recovered = recover(plain.directory)
    assert_recovered(recovered, plain.site, plain.site.engine.sequence)
    assert recovered.report.cut is None
    recovered.log.close()


def test_who_reads_such_a_block_later_meets_damage(plain: Copy, disk: Disk) -> None:
    """Only who needs a record that lies in it: what is looked through for another is no matter."""
    log = recover(plain.directory).log
    records = records_of(plain.directory)
    last = plain.site.engine.sequence
    for start in range(0, len(plain.original), SECTOR_BYTES):
        disk.bad = range(start, start + SECTOR_BYTES)
        bad = [r for r in records if r.position < disk.bad.stop and r.end > start]
        for sequence in range(1, last + 1):
            for read, needs in (
                (log.read, any(r.first_sequence <= sequence <= r.last_sequence for r in bad)),
                (lambda after: list(log.follow(after)), bad[-1].last_sequence > sequence),
            ):
                damage = met(read, sequence)
                assert (damage is not None) == needs, (start, sequence)
                if damage is not None:
                    assert damage.offset in [record.position for record in bad]
                    assert "can't be read: [Errno 5]" in damage.reason
    assert "can't be read: [Errno 5]" in log.damage
    disk.error = errno.EMFILE
    disk.bad = range(len(plain.original))
    with pytest.raises(OSError, match="Too many open files"):
        log.read(1)
    log.close()


def met(read: Callable[[int], object], sequence: int) -> JournalCorrupt | None:
    try:
        read(sequence)
    except JournalCorrupt as damage:
        return damage
    return None


def test_a_damaged_record_before_such_a_block_is_not_cut(vouched: Copy, disk: Disk) -> None:
    """What stands behind it might vouch for it."""
    end = vouched.site.ends[-3][0]
    vouched.flip(8 * (end + 200))
    disk.bad = range(len(vouched.original) - BLOCK_BYTES, len(vouched.original))
    refused = assert_refused(vouched, disk)
    assert refused.offset == end


def test_an_error_that_is_not_the_disks_says_nothing_of_the_journal(
    vouched: Copy, disk: Disk
) -> None:
    """It may be gone with the next attempt: nothing is called corrupt, nothing is cut."""
    disk.error = errno.EMFILE
    for start in (0, vouched.site.ends[3][0] + 7, len(vouched.original) - BLOCK_BYTES):
        disk.bad = range(start, start + BLOCK_BYTES)
        with pytest.raises(OSError, match="Too many open files"):
            recover(vouched.directory)
    assert vouched.journal.read_bytes() == vouched.original


@pytest.mark.parametrize("start", [0, 1_000])
def test_row_7_a_snapshot_that_can_not_be_read_is_passed_over(
    with_snapshots: Copy, disk: Disk, start: int
) -> None:
    """[I1 I8] It is named, counts for nothing and is not deleted."""
    site, directory = with_snapshots.site, with_snapshots.directory
    newest, older = snapshot_paths(directory)
    disk.name, disk.bad = newest.name, range(start, start + BLOCK_BYTES)
    assert needed_sequence(directory) == 0
    recovered = recover(directory)
    assert_recovered(recovered, site, site.engine.sequence)
    assert recovered.report.snapshot_sequence == int(older.name[-20:])
    (passed_over,) = recovered.report.passed_over
    assert passed_over.path == newest
    assert passed_over.reason.endswith(f"Input/output error at offset {start}: '{newest}'")
    written = write_snapshot(directory, recovered.engine, recovered.log.mark)
    recovered.log.close()
    assert snapshot_paths(directory) == [written, newest, older]
    assert needed_sequence(directory) == int(older.name[-20:])
