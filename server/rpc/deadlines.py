"""How long a call may take: its own deadline, a default where it names none, a cap for all.

A deadline that has passed on arrival is refused before anything is sequenced. One that passes later
ends the wait, not the work: what was submitted is journaled all the same, so the caller is told
that the outcome is unknown. The transport itself ends a call whose own deadline passes; a timer is
only for the others. Handlers ask: an interceptor would cost each call a coroutine, and so would
a timer where none is needed.
"""

from typing import Final, NamedTuple, cast

from server.rpc.context import Context
from server.rpc.errors import EdgeReason, EdgeReject

PASSED: Final = EdgeReject(EdgeReason.DEADLINE_PASSED, "deadline", "", "0 s")


class Deadlines(NamedTuple):
    """Bounds the time of calls, in seconds."""

    default_s: float
    max_s: float

    def timer_s(self, context: Context) -> float | EdgeReject | None:
        """Tell what a timer has to allow, None where the transport keeps the time; or a refusal."""
        remaining_s = cast("float | None", context.time_remaining())
        if remaining_s is None:
            return self.default_s
        if remaining_s <= 0:
            return PASSED
        return self.max_s if remaining_s > self.max_s else None


def outcome_unknown(allowed_s: float | None) -> EdgeReject:
    """Refuse a call whose time is over while the journal is at work."""
    return EdgeReject(EdgeReason.OUTCOME_UNKNOWN, "deadline", "", f"{allowed_s:g} s")
