"""How a part of the exchange ends: what `exchange up` and an init system go by."""

from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """Exit code of `exchange` and of each of its parts."""

    CLEAN = 0
    FAILED = 1
    """Something unforeseen; the lines before say what."""
    CONFIGURATION = 2
    """A setting, a file of settings or an option is wrong."""
    LOCKED = 3
    """Another process holds the data directory."""
    JOURNAL_CORRUPT = 4
    """The journal, or the followers' positions beside it, can't be read without a decision; what is
    damaged was left as it is."""
    PORT_TAKEN = 5
    """Somebody else listens there."""
    APPEND_FAILED = 6
    """An append failed or its outcome is unknown; the next start recovers."""
    DIVERGED = 7
    """A follower's engine gave other events than the journal holds."""
    PART_MISSING = 8
    """A program that this part consists of is not installed."""
    DISK_FULL = 9
    """The disk has no room to start on; tried again until there is."""


FINAL: Final = frozenset(
    {
        Exit.CONFIGURATION,
        Exit.LOCKED,
        Exit.JOURNAL_CORRUPT,
        Exit.PORT_TAKEN,
        Exit.DIVERGED,
        Exit.PART_MISSING,
    }
)
"""Starting again gives the same: a person has to do something first."""
