"""What a door hands over where a request says what no command can hold."""

from enum import IntEnum


class StandIn(int):
    """A number that the engine is sure to refuse, if for a reason of its own."""

    reason: IntEnum
    """The reason for which the request is really refused: what is counted."""
