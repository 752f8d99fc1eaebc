"""The vocabulary of the core: small integers with names, the stamp, and what `apply` answers.

The numbers equal those of the enums in `proto/exchange/v1/types.proto`, so that nothing is
translated at the edges; a test holds the two together. Hot paths use the plain integers below,
the enums are for reading and printing.
"""

from enum import IntEnum
from typing import Final, NamedTuple

E8: Final = 100_000_000
"""Units of a price or a quantity in one whole: both are integers of 10^-8."""

INT64_MAX: Final = 2**63 - 1
"""Bound of a price, a quantity, a level's quantity and a client's position with open orders."""


class Side(IntEnum):
    """Which side of the book an order is for."""

    BUY = 1
    SELL = 2


class OrderType(IntEnum):
    """Limit: trades at its price or better. Market: trades at whatever rests, and never rests."""

    LIMIT = 1
    MARKET = 2


class TimeInForce(IntEnum):
    """How long what is not filled at once lives. DEFAULT: GTC for limit, IOC for market."""

    DEFAULT = 0
    GOOD_TILL_CANCEL = 1
    IMMEDIATE_OR_CANCEL = 2
    FILL_OR_KILL = 3


class SelfTradePrevention(IntEnum):
    """What an incoming order does on meeting a resting order of the same client."""

    DEFAULT = 0
    NONE = 1
    CANCEL_NEWEST = 2
    CANCEL_OLDEST = 3
    CANCEL_BOTH = 4
    DECREMENT = 5


class OrderStatus(IntEnum):
    """Where an order is in its life; the last three are final."""

    OPEN = 1
    PARTIALLY_FILLED = 2
    FILLED = 3
    CANCELLED = 4
    REJECTED = 5


class EndReason(IntEnum):
    """Why an order lost quantity, or ended, other than by a trade."""

    NONE = 0
    CANCEL_REQUESTED = 1
    REPLACED_BELOW_FILLED = 2
    SESSION_ENDED = 3
    IMMEDIATE_OR_CANCEL = 4
    NO_LIQUIDITY = 5
    FILL_OR_KILL = 6
    POST_ONLY_WOULD_CROSS = 7
    SELF_TRADE_PREVENTION = 8


BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
LIMIT: Final = int(OrderType.LIMIT)
MARKET: Final = int(OrderType.MARKET)
GTC: Final = int(TimeInForce.GOOD_TILL_CANCEL)
IOC: Final = int(TimeInForce.IMMEDIATE_OR_CANCEL)
FOK: Final = int(TimeInForce.FILL_OR_KILL)
OPEN: Final = int(OrderStatus.OPEN)
PARTIALLY_FILLED: Final = int(OrderStatus.PARTIALLY_FILLED)
FILLED: Final = int(OrderStatus.FILLED)
CANCELLED: Final = int(OrderStatus.CANCELLED)
REJECTED: Final = int(OrderStatus.REJECTED)


class Stamp(NamedTuple):
    """What the sequencer gives a command: its place in the one total order, and the time.

    `sequence` is one more than that of the last accepted command; `time_ns` (UTC, since the
    epoch) never goes backwards. A command that is refused or is a repeat uses no stamp.
    """

    sequence: int
    time_ns: int


class Repeat(NamedTuple):
    """The command was seen before under this key: its first outcome is at this sequence."""

    sequence: int
