"""What becomes of segments that nobody needs any more: kept, archived, or dropped.

By default everything is kept. Otherwise the first segment goes, one after another, as long as all
that it holds lies before each of

- the older one of two kept snapshots, both read back and found whole at that moment;
- the position of every registered follower;
- the first command whose idempotency key is remembered, since its outcome is read back from here.

*Archive* copies the file durably into a directory, under its own name, before it is removed; put
beside the kept segments again it makes the journal longer by what it holds. *Drop* removes it.
A file of that name in the archive that is another one stops it: nothing is overwritten.
"""

import filecmp
import os
import shutil
from contextlib import closing
from pathlib import Path

from server.journal.segments import Segments
from server.journal.snapshots import KEPT, SnapshotBad, check, read_snapshot_header, snapshot_paths
from server.journal.storage import Storage, sync_directory


def needed_sequence(directory: Path) -> int:
    """The first sequence that has to stay for the older of two whole snapshots; 0 where there are
    no two."""
    whole: list[int] = []
    for path in snapshot_paths(directory):
        try:
            with closing(Storage.open(path, writable=False)) as storage:
                check(storage)
            whole.append(read_snapshot_header(path).mark.fence.last_sequence)
        except (SnapshotBad, OSError):
            continue
        if len(whole) == KEPT:
            return whole[-1]
    return 0


def trim(segments: Segments, needed: int, archive: Path | None) -> list[Path]:
    """Archive, or drop where there is no archive, what lies before; the files that went. Raises
    `OSError`, and then keeps what is left."""
    gone = []
    for segment in segments.dispensable(needed):
        if archive is not None:
            keep_in(archive, segment.path)
        segments.forget(segment)
        gone.append(segment.path)
    return gone


def keep_in(archive: Path, path: Path) -> None:
    """Have a durable copy of the file in the archive."""
    made = [each for each in (archive, *archive.parents) if not each.exists()]
    archive.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in made:
        sync_directory(each.parent)
    kept = archive / path.name
    if kept.exists():
        filecmp.clear_cache()  # It would remember files by their times and not look again.
        if filecmp.cmp(kept, path, shallow=False):
            return
        raise FileExistsError(f"{kept} is another file than {path}: move it away")
    unfinished = archive / f"{path.name}.part"
    unfinished.unlink(missing_ok=True)  # Of a crash: read-only as the file is, it takes nothing.
    shutil.copy2(path, unfinished)
    descriptor = os.open(unfinished, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    unfinished.rename(kept)
    sync_directory(archive)
