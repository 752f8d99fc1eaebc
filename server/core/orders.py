"""An order as the engine holds it, and the events made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from server.core.events import OrderEvent
from server.core.types import OPEN

if TYPE_CHECKING:
    from server.core.accounts import Account
    from server.core.book import Level

GENERATED_PREFIX: Final = "x-"
"""Order ids that begin so, in either case, are the engine's own."""

EventOfOrder = TypeVar("EventOfOrder", bound=OrderEvent)
_new: Final = tuple.__new__


class Order:
    """One order, open or remembered. filled + remaining + cancelled = quantity, always.

    `level`, `earlier` and `later` are its place in a queue of the book and None once it left, so
    that an ended order is in no cycle and is freed without the garbage collector.
    """

    __slots__ = (
        "account",
        "cancelled_e8",
        "client_id",
        "client_reference",
        "closed_sequence",
        "created_ns",
        "earlier",
        "filled_e8",
        "instrument",
        "later",
        "level",
        "order_id",
        "order_type",
        "placed_sequence",
        "post_only",
        "price_e8",
        "quantity_e8",
        "queued_sequence",
        "reason",
        "remaining_e8",
        "self_trade_prevention",
        "session_id",
        "side",
        "status",
        "time_in_force",
        "updated_ns",
    )

    def __init__(
        self,
        order_id: str,
        client_id: str,
        client_reference: str,
        instrument: str,
        side: int,
        order_type: int,
        time_in_force: int,
        post_only: bool,
        self_trade_prevention: int,
        price_e8: int,
        quantity_e8: int,
        placed_sequence: int,
        created_ns: int,
        session_id: int,
        account: Account,
    ) -> None:
        self.order_id = order_id
        self.client_id = client_id
        self.client_reference = client_reference
        self.instrument = instrument
        self.side = side
        self.order_type = order_type
        self.time_in_force = time_in_force
        self.post_only = post_only
        self.self_trade_prevention = self_trade_prevention
        self.price_e8 = price_e8
        self.quantity_e8 = quantity_e8
        self.filled_e8 = 0
        self.remaining_e8 = quantity_e8
        self.cancelled_e8 = 0
        self.status = OPEN
        self.placed_sequence = placed_sequence
        self.created_ns = created_ns
        self.session_id = session_id
        self.account = account
        self.reason = 0
        self.updated_ns = created_ns
        # When it last joined its queue: the order of a level's queue is the order of these.
        self.queued_sequence = 0
        # Sequence of the command that ended it; 0 while it is open.
        self.closed_sequence = 0
        self.level: Level | None = None
        self.earlier: Order | None = None
        self.later: Order | None = None

    def row(self) -> tuple[str | int, ...]:
        """All of it but its place in the book, as plain data: first what `__init__` takes."""
        return (
            self.order_id,
            self.client_id,
            self.client_reference,
            self.instrument,
            self.side,
            self.order_type,
            self.time_in_force,
            self.post_only,
            self.self_trade_prevention,
            self.price_e8,
            self.quantity_e8,
            self.placed_sequence,
            self.created_ns,
            self.session_id,
            self.filled_e8,
            self.remaining_e8,
            self.cancelled_e8,
            self.status,
            self.reason,
            self.updated_ns,
            self.queued_sequence,
            self.closed_sequence,
        )


def event_of(
    kind: type[EventOfOrder], order: Order, reason: int = 0, change_e8: int = 0
) -> EventOfOrder:
    """The order as it stands, as an event of this kind."""
    return _new(
        kind,
        (
            order.order_id,
            order.client_id,
            order.client_reference,
            order.instrument,
            order.side,
            order.order_type,
            order.time_in_force,
            order.post_only,
            order.self_trade_prevention,
            order.price_e8,
            order.quantity_e8,
            order.filled_e8,
            order.remaining_e8,
            order.cancelled_e8,
            order.status,
            order.placed_sequence,
            order.created_ns,
            order.session_id,
            reason,
            change_e8,
        ),
    )
