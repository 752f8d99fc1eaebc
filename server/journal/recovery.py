"""Start-up is recovery: the newest good snapshot, then the journal's tail re-applied.

The steps, and what each may find:

1. The snapshots' headers: how far the journal was durable, by their word.
2. The journal's file header. No file: an empty journal is made, unless snapshots say that there
   was one. Its identity must be the one that the snapshots name.
3. The newest good snapshot, or the empty engine; damaged ones are passed over and reported.
4. Every record from there on, through the fence and the engine (`replay.py`).
5. A bad frame ends it: `tail.py` says whether what follows is cut or is corruption. So does a
   journal that ends before a position that a snapshot names.

What is refused is refused before anything on disk is changed. The caller holds the lock of the
directory. What lies before the snapshot isn't read: `exchange journal verify` does that.
"""

import gc
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from server.core.engine import RULES_VERSION, Engine
from server.core.state import state_hash
from server.journal.fence import new_fence
from server.journal.file_log import (
    FILE_HEADER_BYTES,
    FILE_NAME,
    FileHeader,
    FileLog,
    create_file,
    read_header,
)
from server.journal.frames import FrameReader
from server.journal.log import Mark
from server.journal.payload import PayloadInvalid
from server.journal.record import FrameBad
from server.journal.refusals import JournalCorrupt, RecordUnreadable
from server.journal.replay import Replay
from server.journal.snapshots import (
    Found,
    PassedOver,
    SnapshotBad,
    drop_unfinished,
    newest_good,
    read_snapshot_header,
    snapshot_paths,
)
from server.journal.storage import Storage, sync_directory
from server.journal.tail import Cut, judge, keep_aside_and_cut

PROGRESS_SECONDS: Final = 1.0
"""Between two calls of `progress`, and before the first."""


class Progress(NamedTuple):
    """How far the recovery is."""

    last_sequence: int
    """Of the commands re-applied; 0 while a snapshot is being loaded."""
    byte_count: int
    byte_count_all: int
    seconds: float

    def sentence(self) -> str:
        """For the operator."""
        percent = 100 * self.byte_count // max(self.byte_count_all, 1)
        place = f"sequence {self.last_sequence}" if self.last_sequence else "snapshot"
        return (
            f"recovering: {place}, {percent} % of {self.byte_count_all} bytes, {self.seconds:.0f} s"
        )


class Report(NamedTuple):
    """What a recovery found and did."""

    snapshot_sequence: int | None
    """None: none was used, everything was re-applied."""
    command_count: int
    """Commands re-applied."""
    last_sequence: int
    cut: Cut | None
    passed_over: list[PassedOver]
    """Snapshots that were not good."""
    state_hash: bytes
    seconds: float

    def sentence(self) -> str:
        """One line for the operator."""
        snapshot = "none" if self.snapshot_sequence is None else str(self.snapshot_sequence)
        parts = [
            f"recovered in {self.seconds:.2f} s: snapshot {snapshot}",
            f"replayed {self.command_count}",
            f"last sequence {self.last_sequence}",
            f"dropped {0 if self.cut is None else self.cut.byte_count} tail bytes",
            f"state hash {self.state_hash.hex()[:16]}",
        ]
        if self.cut is not None:
            parts.append(self.cut.sentence())
        parts += [f"passed over {path}: {reason}" for path, reason in self.passed_over]
        return "; ".join(parts)


class Recovered(NamedTuple):
    """The engine, the log at whose end it stands, and how that came about."""

    engine: Engine
    log: FileLog
    report: Report


def recover(
    directory: Path, progress: Callable[[Progress], None] | None = None, shard: int = 0
) -> Recovered:
    """Recover the data directory, whose lock the caller holds; raises `JournalRefused` or
    `OSError`. `progress` is called about once a second if it takes longer than that."""
    collecting = gc.isenabled()
    gc.disable()  # Nothing that is built here is garbage; walking it over and over is the cost.
    try:
        return _recover(directory, _Pace(progress), shard)
    finally:
        if collecting:
            gc.enable()


class _Pace:
    """Calls `progress` at most once in `PROGRESS_SECONDS`."""

    def __init__(self, progress: Callable[[Progress], None] | None) -> None:
        self.began = time.monotonic()
        self._progress = progress
        self._due = self.began + PROGRESS_SECONDS

    def tick(self, last_sequence: int, byte_count: int, byte_count_all: int) -> None:
        now = time.monotonic()
        if now >= self._due and self._progress is not None:
            self._due = now + PROGRESS_SECONDS
            seconds = now - self.began
            self._progress(Progress(last_sequence, byte_count, byte_count_all, seconds))


def _recover(directory: Path, pace: _Pace, shard: int) -> Recovered:
    known = _known_marks(directory)
    storage, header = _open(directory, known, shard)
    try:
        _expect_all(storage, known)
        found = newest_good(directory, partial(pace.tick, 0))
        replay = _start(storage.path, header, found)
        cut = _replay(storage, replay, max((mark.position for mark in known), default=0), pace)
        if cut is not None:
            cut = keep_aside_and_cut(storage, cut)
    except BaseException:
        storage.close()
        raise
    drop_unfinished(directory)
    engine = replay.engine
    report = Report(
        None if found.header is None else found.header.mark.fence.last_sequence,
        replay.command_count,
        engine.sequence,
        cut,
        found.passed_over,
        _hash(replay, found),
        time.monotonic() - pace.began,
    )
    return Recovered(engine, FileLog(storage, replay.mark, RULES_VERSION), report)


def _hash(replay: Replay, found: Found) -> bytes:
    """The state hash; a snapshot's own was proven as it was loaded, and takes seconds to make."""
    header = found.header
    if header is not None and not replay.command_count and header.rules_version == RULES_VERSION:
        return header.state_hash
    return state_hash(replay.engine)


def _known_marks(directory: Path) -> list[Mark]:
    """What the snapshots with an intact header say, whether or not the rest of them is good."""
    marks = []
    for path in snapshot_paths(directory):
        try:
            marks.append(read_snapshot_header(path).mark)
        except (SnapshotBad, OSError):
            continue
    return marks


def _open(directory: Path, known: list[Mark], shard: int) -> tuple[Storage, FileHeader]:
    path = directory / FILE_NAME
    if not path.exists():
        if snapshot_paths(directory):
            raise JournalCorrupt(path, 0, 1, "it is missing, and there are snapshots of it")
        create_file(directory, shard)
        sync_directory(directory.parent)
    storage = Storage.open(path)
    try:
        header = read_header(storage)
        _expect_same(path, header, known, shard)
    except BaseException:
        storage.close()
        raise
    return storage, header


def _expect_same(path: Path, header: FileHeader, known: list[Mark], shard: int) -> None:
    if header.shard != shard:
        raise JournalCorrupt(path, 0, 1, f"it is of shard {header.shard}, not {shard}")
    for mark in known:
        if mark.journal != header.journal:
            reason = f"it is journal {header.journal.hex()}, a snapshot is of {mark.journal.hex()}"
            raise JournalCorrupt(path, 0, 1, reason)


def _expect_all(storage: Storage, known: list[Mark]) -> None:
    """A journal that ends before a snapshot's position has lost what was durable."""
    size = storage.size()
    for mark in known:
        if mark.position > size:
            sequence = mark.fence.last_sequence
            reason = f"it ends here, and a snapshot proves that it had {mark.position} bytes"
            raise JournalCorrupt(storage.path, size, sequence, reason)


def _start(path: Path, header: FileHeader, found: Found) -> Replay:
    if found.engine is None or found.header is None:
        fence = new_fence(header.shard, header.journal)
        return Replay(path, Engine(), Mark(header.journal, FILE_HEADER_BYTES, fence))
    return Replay(path, found.engine, found.header.mark)


def _replay(storage: Storage, replay: Replay, known: int, pace: _Pace) -> Cut | None:
    """Advance to the last whole record; what follows it is returned, or refused."""
    size = storage.size()
    reader = FrameReader(storage, replay.mark.journal, replay.mark.position, size)
    try:
        while (record := reader.read()) is not None:
            replay.advance(record)
            pace.tick(record.last_sequence, record.end, size)
    except PayloadInvalid as error:
        sequence = replay.mark.fence.last_sequence + 1
        raise RecordUnreadable(storage.path, reader.offset, sequence, str(error)) from error
    except FrameBad as bad:
        verdict = judge(storage, replay.mark.journal, reader.offset, bad, known)
        if isinstance(verdict, Cut):
            return verdict
        raise _corrupt(storage, replay, verdict) from bad
    return None


def _corrupt(storage: Storage, replay: Replay, reason: str) -> JournalCorrupt:
    mark = replay.mark
    return JournalCorrupt(storage.path, mark.position, mark.fence.last_sequence + 1, reason)
