"""The data directory: who has it, its disk, and the journal in it."""

import io
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from server.journal.lock import LOCK_NAME, DirectoryLock, DirectoryLocked
from server.journal.refusals import PositionsDamaged
from server.supervisor.commands.doctor.finding import Finding, bad, good, note

MIB: Final = 1024 * 1024
SPACE_BAD_MIB: Final = 256
"""Room for about a million commands: minutes of a busy market."""
SPACE_NOTE_MIB: Final = 4096
SYNCS: Final = 20
SYNC_BYTES: Final = 4096
SYNC_SLOW_MS: Final = 20.0
"""The time of a sync above which people notice: a reply waits for one."""
READ_MIB_MAX: Final = 256
"""Journal and snapshots of this size are read in seconds; more is left to `journal verify`."""
MOUNTS: Final = Path("/proc/self/mounts")
IN_MEMORY: Final = {"tmpfs", "ramfs"}
REMOTE: Final = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"}
OTHER_DIRECTORY: Final = "choose another with --data-dir (EXCHANGE_DATA_DIR)"


def owner_of(directory: Path) -> DirectoryLocked | None:
    """Find who has the directory, if somebody does; raises `OSError` where it can't be used."""
    if not directory.exists():
        return None
    os.scandir(directory).close()  # or it is none, or may not be read
    if not (directory / LOCK_NAME).exists():
        return None  # to take the lock would make it, for whoever runs this
    try:
        DirectoryLock(directory).release()
    except DirectoryLocked as locked:
        return locked
    return None


def examine(directory: Path) -> Iterator[Finding]:
    """Examine who has it, whether it can be written, its disk's room and speed, and its content."""
    absolute = directory.absolute()
    try:
        owner = owner_of(directory)
    except OSError as failure:
        why = failure.strerror or str(failure)
        yield bad("data directory", f"{absolute} can't be used: {why}", OTHER_DIRECTORY)
        return
    if directory.exists():
        held = "nobody has it" if owner is None else f"pid {owner.pid or 'unknown'} has it"
        yield good("data directory", f"{absolute}, {held}")
    else:
        yield note("data directory", f"{absolute} is not there yet: the first start makes it")
    place = _existing(absolute)
    yield _space(place)
    yield _filesystem(place)
    yield _sync(place)
    if directory.exists():
        yield _journal(directory, owner)


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _space(place: Path) -> Finding:
    free = shutil.disk_usage(place).free // MIB
    said = f"{free:,} MiB free"
    remedy = f"make room, or {OTHER_DIRECTORY}: without a retention the journal only grows"
    if free < SPACE_BAD_MIB:
        return bad("disk space", said, remedy)
    return note("disk space", said, remedy) if free < SPACE_NOTE_MIB else good("disk space", said)


def _filesystem(place: Path) -> Finding:
    kind = _filesystem_type(place)
    if kind in IN_MEMORY:
        said = f"{kind}: what is written is gone when the machine stops"
        return note("file system", said, f"{OTHER_DIRECTORY}, on a disk")
    if kind in REMOTE:
        said = f"{kind}: locks and syncs depend on another machine"
        return note("file system", said, f"{OTHER_DIRECTORY}, on a disk of this machine")
    return good("file system", kind or "unknown")


def _filesystem_type(place: Path) -> str:
    """Find the type of the mount that the place is in, as the kernel lists them."""
    best, kind = "", ""
    for row in os.fsdecode(MOUNTS.read_bytes()).split("\n")[:-1]:
        _, mount, its_kind, *_ = row.split(" ")
        mount = mount.replace("\\040", " ")
        if place.is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, its_kind
    return kind


def _sync(place: Path) -> Finding:
    """Write and sync as the journal does, to a file that has no name any more."""
    times_ms = []
    try:
        with tempfile.TemporaryFile(dir=place, buffering=0) as file:
            for _ in range(SYNCS):
                begun = time.perf_counter()
                file.write(bytes(SYNC_BYTES))
                os.fdatasync(file.fileno())
                times_ms.append((time.perf_counter() - begun) * 1000)
    except OSError as failure:
        why = failure.strerror or str(failure)
        return bad("fdatasync", f"{place} can't be written durably: {why}", OTHER_DIRECTORY)
    middle, longest = statistics.median(times_ms), max(times_ms)
    said = f"{middle:.2f} ms for 4 KiB, at most {longest:.2f} ms of {SYNCS}"
    if middle > SYNC_SLOW_MS:
        return note("fdatasync", said, f"every reply waits for one: {OTHER_DIRECTORY}, faster")
    return good("fdatasync", said)


def _journal(directory: Path, owner: DirectoryLocked | None) -> Finding:
    from server.journal.positions import read_positions
    from server.journal.segments import FILE_NAME
    from server.journal_tools.verify import verify

    try:
        read_positions(directory)
    except PositionsDamaged as damaged:
        return bad("journal", damaged.reason, damaged.remedy)
    if not any(directory.glob(f"{FILE_NAME}*")):
        return note("journal", "there is none yet: the first start makes it")
    printed = io.StringIO()
    try:
        size_mib = sum(it.stat().st_size for it in directory.rglob("*") if it.is_file()) // MIB
        if owner is not None:
            return good("journal", f"open in the server, {size_mib:,} MiB with snapshots")
        if size_mib > READ_MIB_MAX:
            said = f"{size_mib:,} MiB, too long to read here"
            return note("journal", said, "exchange journal verify")
        code = verify(directory, printed, replay=False)
    except (OSError, DirectoryLocked) as failure:
        return bad("journal", f"it can't be read: {failure}", "make its files readable")
    lines = printed.getvalue().splitlines()
    wrong = [line for line in lines if line.startswith("BAD")]
    if code:
        said = "; ".join(wrong or lines[-1:])
        return bad("journal", said, "keep a copy of the directory, then exchange journal verify")
    return good("journal", next((line for line in lines if "last sequence" in line), "readable"))
