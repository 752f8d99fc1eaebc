"""What an examination finds."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Says how bad a finding is."""

    GOOD = "good"
    NOTE = "note"
    """What was looked at works; somebody may want to know."""
    BAD = "bad"
    """What was looked at doesn't work, or soon won't."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    said: str
    remedy: str = ""
    """What the reader is to do; empty where nothing has to be done."""


def good(name: str, said: str) -> Finding:
    """Make a finding of what is as it should be."""
    return Finding(name, State.GOOD, said)


def note(name: str, said: str, remedy: str = "") -> Finding:
    """Make a finding of what works, but is worth knowing of."""
    return Finding(name, State.NOTE, said, remedy)


def bad(name: str, said: str, remedy: str) -> Finding:
    """Make a finding of what does not work."""
    return Finding(name, State.BAD, said, remedy)
