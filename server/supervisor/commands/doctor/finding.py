"""What an examination finds."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How bad it is."""

    GOOD = "good"
    NOTE = "note"
    """It works; somebody may want to know."""
    BAD = "bad"
    """Something doesn't work, or soon won't."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    said: str
    remedy: str = ""
    """What to do; empty where nothing has to be done."""


def good(name: str, said: str) -> Finding:
    """As it should be."""
    return Finding(name, State.GOOD, said)


def note(name: str, said: str, remedy: str = "") -> Finding:
    """It works, but."""
    return Finding(name, State.NOTE, said, remedy)


def bad(name: str, said: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(name, State.BAD, said, remedy)
