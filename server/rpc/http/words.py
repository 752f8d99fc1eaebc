"""The lower-case words of the JSON interface for the numbers of the core."""

from collections.abc import Mapping
from typing import Final

from server.core import words
from server.core.rejects import RejectReason
from server.core.types import EndReason
from server.rpc.errors import EdgeReason, EdgeReject
from server.rpc.http.refused_number import RefusedNumber

UNKNOWN: Final = -1
"""The number of no enumeration."""


class Words:
    """Translates the words of one field, both ways."""

    def __init__(
        self, field: str, reason: RejectReason | EdgeReason, of: Mapping[int, str]
    ) -> None:
        self._field = field
        self._reason = reason
        self._numbers = words.numbers_of(of)
        self.of: Final = of
        """The words by number."""
        *first, last = of.values()
        self.choice: Final = f"{', '.join(first)} or {last}"

    def required(self, word: str) -> int:
        """Give the number of a word that has to be there."""
        number = self._numbers.get(word)
        if number is not None:
            return number
        if word:
            return self._unknown(word)
        refusal = EdgeReject(RejectReason.FIELD_REQUIRED, self._field, word, self.choice)
        return RefusedNumber(UNKNOWN, refusal)

    def optional(self, word: str) -> int:
        """Give the number of a word; 0 where there is none."""
        if not word:
            return 0
        number = self._numbers.get(word)
        return self._unknown(word) if number is None else number

    def _unknown(self, word: str) -> RefusedNumber:
        return RefusedNumber(UNKNOWN, EdgeReject(self._reason, self._field, word, self.choice))


SIDES: Final = Words("side", RejectReason.SIDE_INVALID, words.SIDES)
TYPES: Final = Words("type", RejectReason.TYPE_INVALID, words.TYPES)
WORKING: Final = max(words.STATUSES) + 1
"""The number here of `working`, by which orders are filtered: no order has it."""

STATUSES: Final = Words("status", EdgeReason.STATUS_INVALID, {**words.STATUSES, WORKING: "working"})
PREVENTIONS: Final = Words(
    "self_trade_prevention", RejectReason.SELF_TRADE_PREVENTION_INVALID, words.PREVENTIONS
)
TIMES_IN_FORCE: Final = Words(
    "time_in_force", RejectReason.TIME_IN_FORCE_INVALID, words.TIMES_IN_FORCE
)

RULE_REASONS: Final = {
    int(reason): words.END_REASONS[reason]
    for reason in (
        EndReason.IMMEDIATE_OR_CANCEL,
        EndReason.NO_LIQUIDITY,
        EndReason.FILL_OR_KILL,
        EndReason.POST_ONLY_WOULD_CROSS,
        EndReason.SELF_TRADE_PREVENTION,
    )
}
"""Reasons of ends that a rule made, not a request: what `reject_reason` shows."""
