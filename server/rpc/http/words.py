"""The lower-case words of the JSON interface for the numbers of the core."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from server.core.rejects import RejectReason
from server.core.types import EndReason, OrderStatus, OrderType, SelfTradePrevention, Side
from server.rpc.errors import EdgeReason, EdgeReject
from server.rpc.http.given import Given

UNKNOWN: Final = -1
"""Of no enumeration."""


class Words:
    """The words of one field, both ways."""

    def __init__(
        self, field: str, reason: RejectReason | EdgeReason, words: Mapping[str, int]
    ) -> None:
        self._field = field
        self._reason = reason
        self._numbers = dict(words)
        self.of: Final = MappingProxyType({number: word for word, number in words.items()})
        """Word by number."""
        first, last = list(words)[:-1], list(words)[-1]
        self.choice: Final = f"{', '.join(first)} or {last}"

    def required(self, word: str) -> int:
        """The number of a word that has to be there."""
        number = self._numbers.get(word)
        if number is not None:
            return number
        if word:
            return self._unknown(word)
        refusal = EdgeReject(RejectReason.FIELD_REQUIRED, self._field, word, self.choice)
        return Given(UNKNOWN, refusal)

    def optional(self, word: str) -> int:
        """The number of a word; 0 where there is none."""
        if not word:
            return 0
        number = self._numbers.get(word)
        return self._unknown(word) if number is None else number

    def _unknown(self, word: str) -> Given:
        return Given(UNKNOWN, EdgeReject(self._reason, self._field, word, self.choice))


def named(members: type[Side | OrderType | OrderStatus | SelfTradePrevention]) -> dict[str, int]:
    """The members that a request may name, in lower case."""
    return {member.name.lower(): int(member) for member in members if member > 0}


SIDES: Final = Words("side", RejectReason.SIDE_INVALID, named(Side))
TYPES: Final = Words("type", RejectReason.TYPE_INVALID, named(OrderType))
STATUSES: Final = Words("status", EdgeReason.STATUS_INVALID, named(OrderStatus))
PREVENTIONS: Final = Words(
    "self_trade_prevention",
    RejectReason.SELF_TRADE_PREVENTION_INVALID,
    named(SelfTradePrevention),
)
TIMES_IN_FORCE: Final = Words(
    "time_in_force", RejectReason.TIME_IN_FORCE_INVALID, {"gtc": 1, "ioc": 2, "fok": 3}
)

RULE_REASONS: Final = {
    int(reason): reason.name.lower()
    for reason in (
        EndReason.IMMEDIATE_OR_CANCEL,
        EndReason.NO_LIQUIDITY,
        EndReason.FILL_OR_KILL,
        EndReason.POST_ONLY_WOULD_CROSS,
        EndReason.SELF_TRADE_PREVENTION,
    )
}
"""Ends that a rule made, not a request: what `reject_reason` shows."""
