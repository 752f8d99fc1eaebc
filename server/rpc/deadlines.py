"""How long a call may take: its own deadline, a default where it names none, a cap for all.

A deadline that has passed on arrival is refused before anything is sequenced. One that passes later
ends the wait, not the work: what was submitted is journaled all the same, so the caller is told
that the outcome is unknown. Handlers ask for it: an interceptor would cost each call a coroutine.
"""

from typing import Any, NamedTuple, cast

from grpc.aio import ServicerContext

from server.rpc.errors import EdgeReason, EdgeReject, refuse


class Deadlines(NamedTuple):
    """In seconds."""

    default_s: float
    max_s: float

    async def allowed_s(self, context: ServicerContext[Any, Any]) -> float:
        """What is left for the call; refuses it where nothing is."""
        remaining_s = cast("float | None", context.time_remaining())
        if remaining_s is None:
            return self.default_s
        if remaining_s <= 0:
            await refuse(context, EdgeReject(EdgeReason.DEADLINE_PASSED, "deadline", "some time"))
        return min(remaining_s, self.max_s)


def outcome_unknown(allowed_s: float) -> EdgeReject:
    """For a call whose time is over while the journal is at work."""
    return EdgeReject(EdgeReason.OUTCOME_UNKNOWN, "deadline", f"{allowed_s:.3f} s")
