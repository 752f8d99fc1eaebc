"""An order as the engine holds it, and the events made of it.

What never changes is kept in the event that accepted the order, and later events take it from
there by joining slices of it instead of reading twenty attributes. What follows from the rest is
not kept: what was cancelled is the quantity less what is filled or remains, and the status follows
from that, from whether the order ended, and from why.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Final, TypeVar

from server.core.events import OrderAccepted, OrderEvent
from server.core.types import (
    CANCELLED,
    FILLED,
    FOK,
    GTC,
    IOC,
    OPEN,
    PARTIALLY_FILLED,
    REJECTED,
    EndReason,
)

if TYPE_CHECKING:
    from server.core.accounts import Account
    from server.core.book import Level

GENERATED_PREFIX: Final = "x-"
"""Order ids that begin so, in either case, are the engine's own."""

STANDING: Final = 9
NAMED: Final = 15
EVENT: Final = 18
"""Where, in the fields of `OrderEvent`, begins what may change (price to status), what names the
order (placing sequence to session), and what is of one event only (reason and change)."""

EventOfOrder = TypeVar("EventOfOrder", bound=OrderEvent)
_WOULD_CROSS: Final = int(EndReason.POST_ONLY_WOULD_CROSS)
_new: Final = tuple.__new__
_static: Final[Callable[[OrderEvent], tuple[str | int, ...]]] = itemgetter(
    *range(STANDING), *range(NAMED, EVENT)
)


PREVENTION_MODES: Final = range(1, 6)
"""`SelfTradePrevention` without its default."""


LIMIT_TIMES: Final = {0: GTC, GTC: GTC, IOC: IOC, FOK: FOK}
MARKET_TIMES: Final = {0: IOC, IOC: IOC, FOK: FOK}
"""Time in force as it may be given -> as it is applied, by type of order."""


class Order:
    """One order, open or remembered."""

    __slots__ = (
        "accepted",
        "account",
        "closed_sequence",
        "earlier",
        "filled_e8",
        "later",
        "level",
        "price_e8",
        "quantity_e8",
        "reason",
        "remaining_e8",
        "updated_ns",
    )

    def __init__(
        self,
        accepted: OrderAccepted,
        account: Account,
        price_e8: int,
        quantity_e8: int,
        updated_ns: int,
    ) -> None:
        self.accepted = accepted
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
        # Where it rests, and between which orders there; None before and after, so that an ended
        # order is in no cycle.
        self.level: Level | None = None
        self.earlier: Order | None = None
        self.later: Order | None = None

    @property
    def status(self) -> int:
        """Gives the `OrderStatus` that it has between commands."""
        if not self.closed_sequence:
            return PARTIALLY_FILLED if self.filled_e8 else OPEN
        # Without a reason its end was a trade, as replies and streams say from the trade alone,
        # whatever self-trade prevention had taken off before.
        if not self.reason:
            return FILLED
        return self.ended_status(self.reason)

    def ended_status(self, reason: int) -> int:
        """The status of an order that ended with something left: without any fill and unable to
        rest it is rejected."""
        could_rest = self.accepted.time_in_force == GTC and reason != _WOULD_CROSS
        return CANCELLED if self.filled_e8 or could_rest else REJECTED

    @property
    def order_id(self) -> str:
        """Unique among open and remembered orders."""
        return self.accepted.order_id

    @property
    def client_id(self) -> str:
        """Names the client whose it is."""
        return self.accepted.client_id

    @property
    def instrument(self) -> str:
        """Name of the instrument."""
        return self.accepted.instrument

    @property
    def side(self) -> int:
        """Gives its `Side`."""
        return self.accepted.side

    @property
    def placed_sequence(self) -> int:
        """Sequence of the command that placed it."""
        return self.accepted.placed_sequence

    @property
    def session_id(self) -> int:
        """The session it was placed in; 0 for none."""
        return self.accepted.session_id

    def row(self) -> tuple[str | int, ...]:
        """Give all of it but its place in the book, as plain data."""
        changing = (
            self.price_e8,
            self.quantity_e8,
            self.filled_e8,
            self.remaining_e8,
            self.reason,
            self.updated_ns,
            self.closed_sequence,
        )
        return _static(self.accepted) + changing


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
    accepted = order.accepted
    named = accepted[NAMED:EVENT]
    return _new(kind, accepted[:STANDING] + changing + named + (reason, change_e8))
