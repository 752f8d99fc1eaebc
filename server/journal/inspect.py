"""What `exchange journal verify` and `exchange journal show` do.

Both work on an iterator of frames, so that they read a directory whose lock they can take, or,
while a server holds it, the stream of the same frames that the server sends (`verify_frames`,
`show_frames`). `verify` reads everything from the first byte: each frame's checksum and place, the
fence (epochs, sequences without gaps, chain), every command applied again with its events compared,
and every snapshot against the state that the replay has at that place. Where the first segments
are no longer kept, it says with which sequence the journal begins, believes the first record, and
applies commands again from the first snapshot on.

Exit codes: 0 all is well, a torn tail that the next start cuts included; 1 something is damaged.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from server.core.dump import state_hash
from server.core.engine import RULES_VERSION, Engine
from server.journal.export import fields
from server.journal.fence import Fence, Refused, admit, new_fence, passed
from server.journal.frames import FrameReader, Place, find
from server.journal.lock import reading
from server.journal.log import Mark
from server.journal.payload import PayloadInvalid
from server.journal.record import BATCH, KIND_NAMES, FrameBad, Record, Step, decode_frame
from server.journal.refusals import JournalCorrupt, JournalRefused, RecordUnreadable
from server.journal.replay import Replay
from server.journal.segments import FILE_HEADER_BYTES, FILE_NAME, Segments, segment_paths
from server.journal.snapshots import SnapshotBad, known_marks, load_snapshot, snapshot_paths
from server.journal.tail import Cut, judge
from server.pace import Pace
from server.times import exact_time_text


def verify(directory: Path, out: TextIO, *, replay: bool = True) -> int:
    """Verify a directory that no server has; raises `DirectoryLocked` if one has it. `replay`:
    apply every command again, which takes about as long as the exchange was busy with them."""
    if not segment_paths(directory):
        print(f"{directory / FILE_NAME} doesn't exist; name a data directory", file=out)
        return 1
    with reading(directory):
        tail = Tail()
        try:
            code = verify_frames(directory_frames(directory, tail), directory, out, replay=replay)
        except JournalRefused as error:
            print(f"BAD  {error}", file=out)
            return 1
    if tail.cut is not None:
        print(f"tail {tail.cut.sentence()}; the next start cuts it", file=out)
    return max(code, int(tail.is_damage))


def verify_frames(
    frames: Iterable[bytes], directory: Path, out: TextIO, *, replay: bool = True
) -> int:
    """Verify all frames of a journal from its first, and the directory's snapshots."""
    walk = _Walk(directory, out, replay)
    try:
        for frame in frames:
            walk.advance(decode_frame(frame))
    except (JournalRefused, FrameBad, PayloadInvalid) as error:
        print(f"BAD  {error}", file=out)
        return 1
    return walk.finish()


def show(
    directory: Path,
    out: TextIO,
    from_sequence: int = 1,
    to_sequence: int | None = None,
    *,
    as_json: bool = False,
) -> int:
    """Print what a directory's journal says; raises `DirectoryLocked` if a server has it."""
    aside = sys.stderr if as_json else out
    if not segment_paths(directory):
        print(f"{directory / FILE_NAME} doesn't exist; name a data directory", file=aside)
        return 1
    with reading(directory):
        tail = Tail()
        frames = directory_frames(directory, tail)
        code = show_frames(frames, out, from_sequence, to_sequence, as_json=as_json)
    if tail.cut is not None and (tail.is_damage or not as_json):
        print(f"tail {tail.cut.sentence()}", file=aside)
    return max(code, int(tail.is_damage))


def show_frames(
    frames: Iterable[bytes],
    out: TextIO,
    from_sequence: int = 1,
    to_sequence: int | None = None,
    *,
    as_json: bool = False,
) -> int:
    """Print the commands of these sequences with their events, and the records around them; for
    people also what of the range is not there. Beside JSON, damage is told on standard error."""
    last = sys.maxsize if to_sequence is None else to_sequence
    put = _json_lines if as_json else _text_lines
    newest = 0
    try:
        for frame in frames:
            record = decode_frame(frame)
            if not newest and record.first_sequence > from_sequence and not as_json:
                print(_kept_from(record), file=out)
            newest = record.last_sequence
            if record.first_sequence > last:
                break
            if record.first_sequence + max(record.command_count - 1, 0) >= from_sequence:
                out.writelines(f"{line}\n" for line in put(record, from_sequence, last))
    except (JournalRefused, FrameBad, PayloadInvalid) as error:
        print(f"BAD  {error}", file=sys.stderr if as_json else out)
        return 1
    if newest < from_sequence and not as_json:
        print(f"note no sequence {from_sequence} yet", file=out)
    return 0


def _kept_from(first: Record) -> str:
    return f"note the journal that is kept begins with sequence {first.first_sequence}"


class Tail:
    """Where `directory_frames` leaves what it found behind the last whole record."""

    cut: Cut | None = None

    @property
    def is_damage(self) -> bool:
        """Whether it may be more than what a crash left of a record that nobody was told of."""
        return self.cut is not None and self.cut.possibly_acknowledged


def directory_frames(directory: Path, tail: Tail, after_sequence: int = 0) -> Iterator[bytes]:
    """The frames of a directory that no owner may change meanwhile: all, or those that end after a
    sequence. A torn end ends them, corruption is raised."""
    segments = Segments.open(directory, writable=False)
    try:
        known = max([segments.all[-1].start, *(it.position for it in known_marks(directory))])
        journal = segments.journal
        start = _start(segments, after_sequence)
        sequence = max(segments.all[0].first_sequence, after_sequence + 1)
        reader = FrameReader(segments, journal, start, segments.size(), sequence)
        try:
            yield from reader.frames()
        except PayloadInvalid as error:
            place = segments.place(reader.offset)
            raise RecordUnreadable(*place, reader.sequence, str(error)) from error
        except FrameBad as bad:
            verdict = judge(segments, journal, reader.offset, bad, known)
            if not isinstance(verdict, Cut):
                place = segments.place(reader.offset)
                raise JournalCorrupt(*place, reader.sequence, verdict) from bad
            tail.cut = verdict
    finally:
        segments.close()


def _start(segments: Segments, after_sequence: int) -> int:
    """Where to begin to read, so that all frames that end after the sequence are met."""
    begun = segments.from_sequence(after_sequence + 1)
    if after_sequence <= 0:
        return begun.start

    def later(frame: Step) -> bool:
        return frame.first_sequence + frame.command_count > after_sequence + 1

    start, end = Place(begun.start, begun.first_sequence), Place(segments.size(), sys.maxsize)
    return find(segments, segments.journal, start, end, later)


class _Walk:
    """The state of a verification between two records."""

    def __init__(self, directory: Path, out: TextIO, replay: bool) -> None:
        self.file = directory / FILE_NAME
        self.records = dict.fromkeys(KIND_NAMES.values(), 0)
        self.command_count = 0
        self.bad = 0
        self._directory = directory
        self._out = out
        self._wanted = replay
        self._replay: Replay | None = None
        self._mark: Mark | None = None
        self._snapshots: dict[int, tuple[Path, bytes, Mark]] = {}
        self._pace = Pace()
        self._judge_snapshots()

    def advance(self, record: Record) -> None:
        """Judge the next record; raises `JournalRefused` where nothing after it can be judged."""
        if self._mark is None:
            self._begin(record)
        else:
            self._go_on(self._mark, record)
        self.records[KIND_NAMES[record.kind]] += 1
        self.command_count += record.command_count
        self._compare_snapshot()
        self._progress()

    def _go_on(self, mark: Mark, record: Record) -> None:
        if (
            self._replay is not None
            and record.kind == BATCH
            and record.rules_version != RULES_VERSION
        ):
            self._say(
                f"note from sequence {record.first_sequence} on, commands can't be applied again:"
                f" rules version {record.rules_version}, this release has {RULES_VERSION}"
            )
            self._replay = None
            self._wanted = False
        if self._replay is not None:
            self._replay.advance(record)
            self._mark = self._replay.mark
        else:
            self._mark = self._pass(mark, record)

    def finish(self) -> int:
        """Say what was found; the exit code."""
        fence = None if self._mark is None else self._mark.fence
        for path, _, _ in self._snapshots.values():
            self._fault(f"{path} is of a place at which no record of the journal ends")
        records = ", ".join(f"{count} {kind}" for kind, count in self.records.items())
        self._say(
            f"{'bad ' if self.bad else 'good'} {self.file}: records {records};"
            f" {self.command_count} commands, last sequence {0 if fence is None else fence[3]}"
        )
        if fence is not None:
            state = "" if self._replay is None else state_hash(self._replay.engine).hex()
            self._say(f"chain {fence.chain.hex()}" + (state and f", state hash {state}"))
        return 1 if self.bad else 0

    def _begin(self, record: Record) -> None:
        if record.position > FILE_HEADER_BYTES:
            self._mark = Mark(record.journal, record.end, passed(record))
            self._say(_kept_from(record))
            for position, (path, _, _) in list(self._snapshots.items()):
                if position <= record.position:
                    self._say(f"note {path} is of a place before that")
                    del self._snapshots[position]
            return
        fence = new_fence(record.shard, record.journal)
        mark = Mark(record.journal, FILE_HEADER_BYTES, fence)
        if self._wanted:
            self._replay = Replay(self.file, Engine(), mark)
        self._go_on(mark, record)

    def _pass(self, mark: Mark, record: Record) -> Mark:
        """Admit a record through the fence alone, without a replay."""
        fence = admit(mark.fence, record)
        place = (record.position, record.journal) == (mark.position, mark.journal)
        if isinstance(fence, Fence) and place:
            return Mark(mark.journal, record.end, fence)
        reason = fence.reason if isinstance(fence, Refused) else "the record is of another place"
        raise JournalCorrupt(self.file, mark.position, mark.fence.last_sequence + 1, reason)

    def _judge_snapshots(self) -> None:
        for path in snapshot_paths(self._directory):
            try:
                header, engine = load_snapshot(path)
            except FileNotFoundError:
                continue  # A newer one took its place just now.
            except (SnapshotBad, OSError) as error:
                self._fault(f"{path}: {error}")
            else:
                same_rules = header.rules_version == RULES_VERSION
                if same_rules and state_hash(engine) != header.state_hash:
                    self._fault(f"{path}: the state made of it doesn't hash as its header says")
                self._snapshots[header.mark.position] = (path, header.state_hash, header.mark)

    def _compare_snapshot(self) -> None:
        assert self._mark is not None
        snapshot = self._snapshots.pop(self._mark.position, None)
        if snapshot is None:
            return
        path, expected, mark = snapshot
        if mark != self._mark:
            self._fault(f"{path} is of another history: {mark}, the journal has {self._mark}")
        elif self._replay is not None and state_hash(self._replay.engine) != expected:
            self._fault(f"{path}: its state is not what the journal's commands lead to")
        elif self._replay is None and self._wanted:
            self._replay = Replay(self.file, load_snapshot(path)[1], mark)
            self._say(f"good {path}: commands are applied again from here on")
        else:
            self._say(f"good {path}")

    def _progress(self) -> None:
        if self._pace.is_due() and self._mark is not None:
            self._say(f"...  sequence {self._mark.fence.last_sequence}")

    def _fault(self, text: str) -> None:
        self.bad += 1
        self._say(f"BAD  {text}")

    def _say(self, text: str) -> None:
        print(text, file=self._out)


def _within(record: Record, first: int, last: int) -> Iterator[tuple[int, Any, list[Any]]]:
    pairs = zip(record.commands(), record.events(), strict=True)
    for sequence, (command, events) in enumerate(pairs, record.first_sequence):
        if first <= sequence <= last:
            yield sequence, command, events


def _text_lines(record: Record, first: int, last: int) -> Iterator[str]:
    yield (
        f"{KIND_NAMES[record.kind]} at offset {record.position}, epoch {record.epoch}, owner"
        f" {record.owner.hex()}, {exact_time_text(record.time_ns)}, {record.command_count} commands"
        f" from sequence {record.first_sequence}, durable before {record.durable_position}"
    )
    for sequence, command, events in _within(record, first, last):
        yield f"  {sequence} {command!r}"
        for index, event in enumerate(events):
            yield f"    {sequence}.{index} {event!r}"


def _json_lines(record: Record, first: int, last: int) -> Iterator[str]:
    for sequence, command, events in _within(record, first, last):
        line = {
            "sequence": sequence,
            "time_ns": record.time_ns,
            "epoch": record.epoch,
            "command": _named(command),
            "events": [_named(event) for event in events],
        }
        yield json.dumps(line, separators=(",", ":"))


def _named(item: Any) -> dict[str, Any]:
    """A command or event as an object: its class as `kind`, then its fields."""
    return {"kind": type(item).__name__, **fields(item)}
