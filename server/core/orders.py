"""An order as the engine holds it, and the events made of it.

What never changes is kept in the two tuples in which the events carry it, so that an event is made
by joining tuples instead of reading twenty attributes. What follows from the rest is not kept: what
was cancelled is the quantity less what is filled or remains, and the status follows from that, from
whether the order ended, and from why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from server.core.events import OrderEvent
from server.core.types import (
    BUY,
    CANCELLED,
    FILLED,
    FOK,
    GTC,
    IOC,
    LIMIT,
    MARKET,
    OPEN,
    PARTIALLY_FILLED,
    REJECTED,
    SELL,
    EndReason,
)

if TYPE_CHECKING:
    from server.core.accounts import Account
    from server.core.book import Level

GENERATED_PREFIX: Final = "x-"
"""Order ids that begin so, in either case, are the engine's own."""

Kind = tuple[int, int, int, bool, int]
"""Side, type, time in force, post-only and self-trade prevention."""

OrderHead = tuple[str, str, str, str, int, int, int, bool, int]
"""The first fields of `OrderEvent`: order id, client, reference, instrument, and the kind."""

OrderTail = tuple[int, int, int]
"""Its fields after the status: placing sequence, time created, session id."""

NO_CHANGE: Final = (0, 0)
"""Reason and change of an event that took nothing off."""

EventOfOrder = TypeVar("EventOfOrder", bound=OrderEvent)
_WOULD_CROSS: Final = int(EndReason.POST_ONLY_WOULD_CROSS)
_new: Final = tuple.__new__


PREVENTIONS: Final = range(1, 6)
"""`SelfTradePrevention` without its default."""


def _kinds(default_prevention: int) -> dict[Kind, Kind]:
    times = {
        LIMIT: {0: GTC, GTC: GTC, IOC: IOC, FOK: FOK},
        MARKET: {0: IOC, IOC: IOC, FOK: FOK},
    }
    return {
        (side, order_type, given, post_only, prevention): (
            side,
            order_type,
            applied,
            post_only,
            prevention or default_prevention,
        )
        for side in (BUY, SELL)
        for order_type, allowed in times.items()
        for given, applied in allowed.items()
        for post_only in (False, True)
        for prevention in (0, *PREVENTIONS)
        if not post_only or (order_type == LIMIT and applied == GTC)
    }


KINDS: Final = {mode: _kinds(mode) for mode in PREVENTIONS}
"""Every kind of order that is allowed, as it may be given -> as it is applied, by the instrument's
self-trade prevention. Members of enums are found too, and come out as the plain integers that are
printed and hashed."""


class Order:
    """One order, open or remembered."""

    __slots__ = (
        "account",
        "closed_sequence",
        "filled_e8",
        "head",
        "level",
        "price_e8",
        "quantity_e8",
        "reason",
        "remaining_e8",
        "tail",
        "updated_ns",
    )

    def __init__(
        self,
        head: OrderHead,
        tail: OrderTail,
        account: Account,
        price_e8: int,
        quantity_e8: int,
        updated_ns: int,
    ) -> None:
        self.head = head
        self.tail = tail
        self.account = account
        self.price_e8 = price_e8
        self.quantity_e8 = quantity_e8
        self.remaining_e8 = quantity_e8
        self.updated_ns = updated_ns
        self.filled_e8 = 0
        # Why it ended, if other than by trades.
        self.reason = 0
        # Sequence of the command that ended it; 0 while it is open.
        self.closed_sequence = 0
        # Where it rests; None before and after, so that an ended order is in no cycle.
        self.level: Level | None = None

    @property
    def status(self) -> int:
        """`OrderStatus`, between commands."""
        if not self.closed_sequence:
            return PARTIALLY_FILLED if self.filled_e8 else OPEN
        if self.filled_e8 == self.quantity_e8:
            return FILLED
        return self.ended_status(self.reason)

    def ended_status(self, reason: int) -> int:
        """The status of an order that ended with something left: without any fill and unable to
        rest it is rejected."""
        could_rest = self.head[6] == GTC and reason != _WOULD_CROSS
        return CANCELLED if self.filled_e8 or could_rest else REJECTED

    @property
    def order_id(self) -> str:
        """Unique among open and remembered orders."""
        return self.head[0]

    @property
    def client_id(self) -> str:
        """Whose it is."""
        return self.head[1]

    @property
    def instrument(self) -> str:
        """Name of the instrument."""
        return self.head[3]

    @property
    def side(self) -> int:
        """`Side`."""
        return self.head[4]

    @property
    def placed_sequence(self) -> int:
        """Sequence of the command that placed it."""
        return self.tail[0]

    @property
    def session_id(self) -> int:
        """The session it was placed in; 0 for none."""
        return self.tail[2]

    def row(self) -> tuple[str | int, ...]:
        """All of it but its place in the book, as plain data."""
        return (
            *self.head,
            *self.tail,
            self.price_e8,
            self.quantity_e8,
            self.filled_e8,
            self.remaining_e8,
            self.reason,
            self.updated_ns,
            self.closed_sequence,
        )


def event_of(
    kind: type[EventOfOrder], order: Order, status: int, reason: int = 0, change_e8: int = 0
) -> EventOfOrder:
    """The order as it stands, as an event of this kind."""
    quantity_e8, filled_e8, remaining_e8 = order.quantity_e8, order.filled_e8, order.remaining_e8
    changing = (
        order.price_e8,
        quantity_e8,
        filled_e8,
        remaining_e8,
        quantity_e8 - filled_e8 - remaining_e8,
        status,
    )
    return _new(kind, order.head + changing + order.tail + (reason, change_e8))
