"""Why a command was refused: one enum, in the order in which the checks are made.

A refused command has no stamp, no id and leaves no trace. The status code and whether a retry is
safe are in one table at the edge (`server/rpc/errors.py`), the numbers equal those of
`RejectReason` in `proto/exchange/v1/types.proto`.
"""

from enum import IntEnum
from typing import NamedTuple


class RejectReason(IntEnum):
    """The first check that failed."""

    # The shape of the request.
    FIELD_REQUIRED = 1
    ID_INVALID = 2
    ID_RESERVED = 3
    SIDE_INVALID = 4
    TYPE_INVALID = 5
    TIME_IN_FORCE_INVALID = 6
    SELF_TRADE_PREVENTION_INVALID = 7
    NOTHING_TO_REPLACE = 8
    SETTING_INVALID = 9
    # The instrument.
    INSTRUMENT_UNKNOWN = 20
    # Numbers.
    PRICE_NOT_POSITIVE = 30
    PRICE_BELOW_MINIMUM = 31
    PRICE_ABOVE_MAXIMUM = 32
    PRICE_OFF_TICK = 33
    QUANTITY_NOT_POSITIVE = 34
    QUANTITY_BELOW_MINIMUM = 35
    QUANTITY_ABOVE_MAXIMUM = 36
    QUANTITY_OFF_LOT = 37
    LEVEL_BOUND_EXCEEDED = 38
    POSITION_BOUND_EXCEEDED = 39
    # The combination of type, price, time in force and post-only.
    PRICE_REQUIRED = 50
    PRICE_NOT_ALLOWED = 51
    TIME_IN_FORCE_NOT_ALLOWED = 52
    POST_ONLY_NOT_ALLOWED = 53
    # Identity.
    KEY_CONFLICT = 60
    ORDER_ID_DUPLICATE = 61
    # The order or session named, and the matching rules.
    ORDER_UNKNOWN = 70
    ORDER_CLOSED = 71
    POST_ONLY_WOULD_CROSS = 72
    SESSION_UNKNOWN = 73
    # Settings.
    INSTRUMENT_IN_USE = 80
    INSTRUMENTS_BOUND_EXCEEDED = 81


class Reject(NamedTuple):
    """A refusal: the reason, the field, what was received, and the limit that it broke."""

    reason: RejectReason
    field: str
    """Name of the command's field."""
    value: str | int
    limit: str | int = ""
    """The bound, tick, pattern or other rule; empty where the reason says all."""
