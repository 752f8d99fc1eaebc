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
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from server import collector
from server.core.dump import state_hash
from server.core.engine import RULES_VERSION, Engine
from server.journal.file_log import SEGMENT_BYTES, FileLog
from server.journal.frames import FrameReader
from server.journal.headroom import drop_left_over
from server.journal.log import Mark
from server.journal.payload import PayloadInvalid
from server.journal.record import FrameBad
from server.journal.refusals import JournalCorrupt, RecordUnreadable, RulesDiffer
from server.journal.replay import Replay
from server.journal.segments import FILE_NAME, Segment, Segments, create_file, segment_paths
from server.journal.snapshots import (
    Found,
    PassedOver,
    drop_unfinished,
    known_marks,
    newest_good,
    snapshot_paths,
)
from server.journal.storage import sync_directory
from server.journal.tail import Cut, judge, keep_aside_and_cut
from server.pace import Pace


class Progress(NamedTuple):
    """How far the recovery is."""

    last_sequence: int
    """Of the commands re-applied; 0 while a snapshot is being loaded."""
    byte_count: int
    byte_count_all: int
    seconds: float

    def sentence(self) -> str:
        """Say it for the operator."""
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
    directory: Path,
    progress: Callable[[Progress], None] | None = None,
    shard: int = 0,
    segment_bytes: int = SEGMENT_BYTES,
) -> Recovered:
    """Recover the data directory, whose lock the caller holds; raises `JournalRefused` or
    `OSError`. `progress` is called about once a second if it takes longer than that; the log goes
    on in segments of `segment_bytes`."""
    with collector.paused():
        recovered = _recover(directory, _Reports(progress), shard, segment_bytes)
        gc.freeze()  # It stays; the collector would walk all of it as soon as it goes on.
        return recovered


class _Reports:
    """Calls `progress`, where there is one, at its pace."""

    def __init__(self, progress: Callable[[Progress], None] | None) -> None:
        self.pace = Pace()
        self._progress = progress

    def tick(self, last_sequence: int, byte_count: int, byte_count_all: int) -> None:
        if self._progress is not None and self.pace.is_due():
            seconds = self.pace.seconds
            self._progress(Progress(last_sequence, byte_count, byte_count_all, seconds))


def _recover(directory: Path, reports: _Reports, shard: int, segment_bytes: int) -> Recovered:
    known = known_marks(directory)
    segments = _open(directory, known, shard)
    try:
        _expect_all(segments, known)
        found = newest_good(directory, partial(reports.tick, 0))
        replay = _start(segments, found)
        # A segment begins when everything before it is durable.
        proven = max([segments.all[-1].start, *(mark.position for mark in known)])
        try:
            cut = _replay(segments, replay, proven, reports)
        except RulesDiffer as it:
            raise RulesDiffer(it.file, it.sequence, it.found, it.own, _no_good(found)) from it
        if cut is not None:
            cut = keep_aside_and_cut(segments, cut)
    except BaseException:
        segments.close()
        raise
    drop_unfinished(directory)
    drop_left_over(directory)
    engine = replay.engine
    report = Report(
        None if found.header is None else found.header.mark.fence.last_sequence,
        replay.command_count,
        engine.sequence,
        cut,
        found.passed_over,
        _hash(replay, found),
        reports.pace.seconds,
    )
    log = FileLog(segments, replay.mark, RULES_VERSION, segment_bytes)
    return Recovered(engine, log, report)


def _hash(replay: Replay, found: Found) -> bytes:
    """The state hash; a snapshot's own was proven as it was loaded, and takes seconds to make."""
    header = found.header
    if header is not None and not replay.command_count and header.rules_version == RULES_VERSION:
        return header.state_hash
    return state_hash(replay.engine)


def _open(directory: Path, known: list[Mark], shard: int) -> Segments:
    if not segment_paths(directory):
        if snapshot_paths(directory):
            reason = "it is missing, and there are snapshots of it"
            raise JournalCorrupt(directory / FILE_NAME, 0, 1, reason)
        create_file(directory, shard)
        sync_directory(directory.parent)
    segments = Segments.open(directory)
    try:
        _expect_same(segments.all[0], known, shard)
    except BaseException:
        segments.close()
        raise
    return segments


def _expect_same(first: Segment, known: list[Mark], shard: int) -> None:
    if first.fence.shard != shard:
        reason = f"it is of shard {first.fence.shard}, not {shard}"
        raise JournalCorrupt(first.path, 0, 1, reason)
    for mark in known:
        if mark.journal != first.journal:
            reason = f"it is journal {first.journal.hex()}, a snapshot is of {mark.journal.hex()}"
            raise JournalCorrupt(first.path, 0, 1, reason)


def _expect_all(segments: Segments, known: list[Mark]) -> None:
    """A journal that ends before a snapshot's position has lost what was durable."""
    size = segments.size()
    for mark in known:
        if mark.position > size:
            sequence = mark.fence.last_sequence
            reason = f"it ends here, and a snapshot proves that it had {mark.position} bytes"
            raise JournalCorrupt(*segments.place(size), sequence, reason)


def _start(segments: Segments, found: Found) -> Replay:
    """Start at the snapshot, or with nothing at the first record, which must be kept then."""
    if found.engine is not None and found.header is not None:
        mark = found.header.mark
        engine = found.engine
    else:
        first = segments.all[0]
        mark = Mark(first.journal, first.start, first.fence)
        engine = Engine()
    if mark.position < segments.start or mark.fence.last_sequence != engine.sequence:
        first = segments.all[0]
        reason = (
            f"the journal that is kept begins with sequence {first.first_sequence} here, and no"
            f" good snapshot reaches that{_no_good(found)}"
        )
        raise JournalCorrupt(first.path, 0, engine.sequence + 1, reason)
    return Replay(segments.path, engine, mark)


def _no_good(found: Found) -> str:
    return "".join(f"; {path} is no good: {reason}" for path, reason in found.passed_over)


def _replay(storage: Segments, replay: Replay, known: int, reports: _Reports) -> Cut | None:
    """Advance to the last whole record; what follows it is returned, or refused."""
    size = storage.size()
    reader = FrameReader(storage, replay.mark.journal, replay.mark.position, size)
    try:
        while (record := reader.read()) is not None:
            replay.advance(record)
            reports.tick(record.last_sequence, record.end, size)
    except PayloadInvalid as error:
        sequence = replay.mark.fence.last_sequence + 1
        path, offset = storage.place(reader.offset)
        raise RecordUnreadable(path, offset, sequence, str(error)) from error
    except FrameBad as bad:
        verdict = judge(storage, replay.mark.journal, reader.offset, bad, known)
        if isinstance(verdict, Cut):
            return verdict
        raise _corrupt(storage, replay, verdict) from bad
    return None


def _corrupt(storage: Segments, replay: Replay, reason: str) -> JournalCorrupt:
    mark = replay.mark
    path, offset = storage.place(mark.position)
    return JournalCorrupt(path, offset, mark.fence.last_sequence + 1, reason)
