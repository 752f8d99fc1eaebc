"""What a request says that no command can hold.

The engine makes the checks, in their order, so that a request is refused for the same reason
through every door. A word that it has no number for, or a number that it has no integer for, goes
in as a number that it is sure to refuse, and comes back in the refusal with what was really said.
"""

from server.rpc.errors import EdgeReject
from server.sequencer.stand_in import StandIn


class RefusedNumber(StandIn):
    """A number sure to be refused, and the refusal that says why in the words of the request."""

    refusal: EdgeReject

    def __new__(cls, number: int, refusal: EdgeReject) -> "RefusedNumber":
        refused = super().__new__(cls, number)
        refused.refusal = refusal
        refused.reason = refusal.reason
        return refused
