"""An engine moved on by records: what recovery, the snapshot follower and `verify` share.

Each record must be admitted by the fence; its commands are applied with the stamps that they had,
and the events that come out must be, byte for byte, those that were recorded. So the journal
proves the engine and the engine the journal.
"""

from itertools import zip_longest
from pathlib import Path

from server.core.commands import Command
from server.core.engine import RULES_VERSION, Engine
from server.core.events import Event
from server.journal.fence import Refused, admit
from server.journal.log import Mark
from server.journal.payload import PayloadInvalid, encode_events, event_bytes
from server.journal.record import BATCH, Record
from server.journal.refusals import JournalCorrupt, RecordUnreadable, ReplayDiffers, RulesDiffer


class Replay:
    """`engine` stands at `mark`; `advance` takes both over one record."""

    def __init__(self, file: Path, engine: Engine, mark: Mark) -> None:
        assert engine.sequence == mark.fence.last_sequence
        self.file = file
        self.engine = engine
        self.mark = mark
        self.command_count = 0
        """Commands applied so far."""

    def advance(self, record: Record) -> None:
        """Take the next record; raises a `JournalRefused`, after which nothing here is of use."""
        mark = self.mark
        if (record.position, record.journal) != (mark.position, mark.journal):
            reason = f"the record of offset {record.position}, journal {record.journal.hex()}"
            raise self._corrupt(f"{reason}, doesn't belong here")
        fence = admit(mark.fence, record)
        if isinstance(fence, Refused):
            raise self._corrupt(fence.reason)
        if record.kind == BATCH:
            self._apply(record)
        self.mark = Mark(mark.journal, record.end, fence)

    def _apply(self, record: Record) -> None:
        first = record.first_sequence
        if record.rules_version != RULES_VERSION:
            raise RulesDiffer(self.file, first, record.rules_version, RULES_VERSION)
        try:
            commands = record.commands()
            recorded = event_bytes(record.payload)
        except PayloadInvalid as error:
            raise RecordUnreadable(self.file, record.position, first, str(error)) from error
        apply = self.engine.apply
        time_ns = record.time_ns
        outcomes: list[list[Event]] = []
        for sequence, command in enumerate(commands, first):
            outcome = apply(command, (sequence, time_ns))
            if type(outcome) is not list:
                raise self._differs(record, commands, outcomes, f"refused: {outcome!r}")
            outcomes.append(outcome)
        if encode_events(outcomes) != recorded:
            raise self._differs(record, commands, outcomes, "nothing")
        # What changed is kept for a feed; nobody has been shown anything yet.
        for book in self.engine.touched.values():
            book.touched.clear()
        self.engine.touched.clear()
        self.command_count += len(commands)

    def _corrupt(self, reason: str) -> JournalCorrupt:
        mark = self.mark
        return JournalCorrupt(self.file, mark.position, mark.fence.last_sequence + 1, reason)

    def _differs(
        self,
        record: Record,
        commands: list[Command],
        outcomes: list[list[Event]],
        beyond: str,
    ) -> ReplayDiffers:
        """Name the first event that differs; `beyond`: what came where `outcomes` ends."""
        recorded = list(record.events())
        for index, (before, now) in enumerate(zip_longest(recorded, outcomes)):
            sequence = record.first_sequence + index
            said = repr(commands[index])
            if now is None:
                return ReplayDiffers(self.file, sequence, f"{said} gave {before!r}", beyond)
            for old, new in zip_longest(before or [], now):
                if encode_events([[old]] if old else []) != encode_events([[new]] if new else []):
                    return ReplayDiffers(self.file, sequence, f"{said} gave {old!r}", repr(new))
        return ReplayDiffers(self.file, record.first_sequence, "other bytes", "equal events")
