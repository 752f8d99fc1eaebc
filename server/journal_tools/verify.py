"""What `exchange journal verify` does.

It reads everything from the first byte: each frame's checksum and place, the fence (epochs,
sequences without gaps, chain), every command applied again with its events compared, and every
snapshot against the state that the replay has at that place. Where the first segments are no longer
kept, it says with which sequence the journal begins, believes the first record, and applies
commands again from the first snapshot on.

Exit codes: 0 all is well, a torn tail that the next start cuts included; 1 something is damaged.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from server.core.dump import state_hash
from server.core.engine import RULES_VERSION, Engine
from server.journal.fence import Fence, Refused, admit, new_fence, passed
from server.journal.lock import reading
from server.journal.log import Mark
from server.journal.payload import PayloadInvalid
from server.journal.record import BATCH, KIND_NAMES, FrameBad, Record, decode_frame
from server.journal.refusals import JournalCorrupt, JournalRefused
from server.journal.replay import Replay
from server.journal.segments import FILE_HEADER_BYTES, FILE_NAME, segment_paths
from server.journal.snapshots import SnapshotBad, load_snapshot, snapshot_paths
from server.journal_tools.directory import Ending, directory_frames, kept_from
from server.pace import Pace


def verify(directory: Path, out: TextIO, *, replay: bool = True) -> int:
    """Verify a directory that no server has; raises `DirectoryLocked` if one has it. `replay`:
    apply every command again, which takes about as long as the exchange was busy with them."""
    if not segment_paths(directory):
        print(f"{directory / FILE_NAME} doesn't exist; name a data directory", file=out)
        return 1
    with reading(directory):
        ending = Ending()
        try:
            code = verify_frames(directory_frames(directory, ending), directory, out, replay=replay)
        except JournalRefused as error:
            print(f"BAD  {error}", file=out)
            return 1
    if ending.cut is not None:
        print(f"tail {ending.cut.sentence()}; the next start cuts it", file=out)
    return max(code, int(ending.is_damage))


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
        last_sequence = 0 if fence is None else fence.last_sequence
        records = ", ".join(f"{count} {kind}" for kind, count in self.records.items())
        self._say(
            f"{'bad ' if self.bad else 'good'} {self.file}: records {records};"
            f" {self.command_count} commands, last sequence {last_sequence}"
        )
        if fence is not None:
            state = "" if self._replay is None else state_hash(self._replay.engine).hex()
            self._say(f"chain {fence.chain.hex()}" + (state and f", state hash {state}"))
        return 1 if self.bad else 0

    def _begin(self, record: Record) -> None:
        if record.position > FILE_HEADER_BYTES:
            self._mark = Mark(record.journal, record.end, passed(record))
            self._say(kept_from(record))
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
