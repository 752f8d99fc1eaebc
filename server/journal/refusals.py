"""Why a journal or a data directory is not used: each a sentence with what to do."""

from pathlib import Path
from typing import Final


class JournalRefused(Exception):
    """Start-up ends here, and nothing on disk was changed. The text is for the operator."""


class JournalCorrupt(JournalRefused):
    """Something that was durable is damaged or gone."""

    remedy = "restore the data directory from a copy"

    def __init__(self, file: Path, offset: int, sequence: int, reason: str) -> None:
        self.file = file
        self.offset = offset
        self.sequence = sequence
        self.reason = reason
        super().__init__(
            f"{file} is corrupt at offset {offset}, where sequence {sequence} is expected:"
            f" {reason}. Nothing was changed. {self.remedy.capitalize()};"
            f" `exchange journal verify` shows what is intact."
        )


class RecordDamaged(JournalCorrupt):
    """Met by a reader in a journal that is written to, and goes on."""

    def __init__(
        self, file: Path, offset: int, sequence: int, reason: str, *, is_sealed: bool
    ) -> None:
        super().__init__(file, offset, sequence, reason)
        # What was written since must stay, and a segment is only ever written to at its end.
        self.remedy = (
            "stop the exchange, and put only this file back from a copy that has it"
            if is_sealed
            else "stop the exchange, and write the bytes of a copy over its beginning"
        )

    def __str__(self) -> str:
        return (
            f"{self.file.name} is corrupt at offset {self.offset}, where sequence {self.sequence}"
            f" is expected: {self.remedy}; `exchange journal verify` shows what is intact"
            f" ({self.reason})"
        )


class TailDamaged(JournalRefused):
    """All records before it are good; what follows was possibly acknowledged."""


class RecordUnreadable(JournalRefused):
    """A record is intact, but this release doesn't know what it says."""

    def __init__(self, file: Path, offset: int, sequence: int, reason: str) -> None:
        super().__init__(
            f"{file} holds a record at offset {offset}, sequence {sequence}, that is intact and"
            f" can't be read: {reason}. Nothing was changed. Use the release that wrote it."
        )


class RulesDiffer(JournalRefused):
    """The tail was written under other rules than this release has. `no_good`: the snapshots that
    were passed over, and why."""

    def __init__(self, file: Path, sequence: int, found: int, own: int, no_good: str = "") -> None:
        self.file = file
        self.sequence = sequence
        self.found = found
        self.own = own
        if found > own:
            remedy = "Use the newer release that wrote them; an older one can't take its state."
        else:
            remedy = (
                "Start the release that wrote them once and stop it cleanly: its snapshot leaves"
                " nothing to re-apply."
            )
            if no_good:
                remedy += " If it was, do so with a release between the two that loads that one."
        super().__init__(
            f"{file} holds commands since sequence {sequence} under rules version {found}, this"
            f" release has {own}{no_good}. {remedy}"
        )


class PositionsDamaged(JournalRefused):
    """The file of the followers' positions can't be read."""

    remedy: Final = "put a copy back, or remove it, and only those are known that connect again"

    def __init__(self, file: Path, error: Exception) -> None:
        self.reason = (
            f"{file}, which says for which followers the journal is kept, can't be read ({error})"
        )
        super().__init__(f"{self.reason}: {self.remedy}")


class ReplayDiffers(JournalRefused):
    """A command re-applied did something else than what the journal says."""

    def __init__(self, file: Path, sequence: int, recorded: str, replayed: str) -> None:
        self.sequence = sequence
        super().__init__(
            f"{file}: the command of sequence {sequence} had another outcome when it was applied"
            f" again. Recorded: {recorded}. Now: {replayed}. Nothing was changed. Use the release"
            f" that wrote the journal, and report this: the same commands must give the same"
            f" events."
        )
