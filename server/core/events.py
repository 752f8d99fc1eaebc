"""What happened. Each accepted command has a list of events; an event is (sequence, index in it).

The five order events share one layout that holds the whole order as it stands after the event, so
that a reply, a stream, a table row or a repeated answer needs nothing but the event.
Quantities: filled + remaining + cancelled = quantity, in every event.
"""

from typing import Final, NamedTuple

from server.core.instruments import Instrument, Limits


class OrderEvent(NamedTuple):
    """The layout shared by all order events; never itself an event."""

    order_id: str
    client_id: str
    client_reference: str
    instrument: str
    side: int
    order_type: int
    time_in_force: int
    """As applied: never 0."""
    post_only: bool
    self_trade_prevention: int
    """As applied: never 0."""
    price_e8: int
    """0 for a market order."""
    quantity_e8: int
    filled_e8: int
    remaining_e8: int
    cancelled_e8: int
    status: int
    placed_sequence: int
    """Sequence of the command that placed it; names the order where ids repeat."""
    created_ns: int
    session_id: int
    reason: int
    """`EndReason` of this event; 0 where none is needed."""
    change_e8: int
    """Quantity that this event took off what remained (reduced, cancelled, rejected); else 0."""


class OrderAccepted(OrderEvent):
    """A new order was taken; what it then traded or how it ended follows as events of its own."""

    __slots__ = ()


class OrderReplaced(OrderEvent):
    """Price and/or quantity are now these."""

    __slots__ = ()


class OrderReduced(OrderEvent):
    """Self-trade prevention (decrement) took `change_e8` off; the order lives on."""

    __slots__ = ()


class OrderCancelled(OrderEvent):
    """Ended; what was filled stands."""

    __slots__ = ()


class OrderRejected(OrderEvent):
    """Accepted, then ended by the rules without any fill."""

    __slots__ = ()


class Traded(NamedTuple):
    """A resting order (maker) and the incoming one (taker) traded, at the maker's price."""

    instrument: str
    price_e8: int
    quantity_e8: int
    aggressor_side: int
    """The taker's side."""
    maker_order_id: str
    maker_client_id: str
    maker_reference: str
    maker_placed_sequence: int
    maker_filled_e8: int
    """Of the whole order, this trade included."""
    maker_remaining_e8: int
    maker_fee_e8: int
    """In the quote currency, 10^-8; negative is a rebate. May exceed 64 bits."""
    taker_order_id: str
    taker_client_id: str
    taker_reference: str
    taker_placed_sequence: int
    taker_filled_e8: int
    taker_remaining_e8: int
    taker_fee_e8: int


class SessionOpened(NamedTuple):
    """A cancel-on-disconnect session begins."""

    session_id: int
    client_id: str


class SessionEnded(NamedTuple):
    """It ended; the cancels of its open orders come before this event."""

    session_id: int
    client_id: str


class InstrumentSet(NamedTuple):
    """An instrument is listed or changed, and now is this."""

    definition: Instrument


class LimitsSet(NamedTuple):
    """The engine's bounds are now these."""

    limits: Limits


Event = (
    OrderAccepted
    | OrderReplaced
    | OrderReduced
    | OrderCancelled
    | OrderRejected
    | Traded
    | SessionOpened
    | SessionEnded
    | InstrumentSet
    | LimitsSet
)

EVENT_KINDS: Final[dict[type[Event], int]] = {
    OrderAccepted: 1,
    OrderReplaced: 2,
    OrderReduced: 3,
    OrderCancelled: 4,
    OrderRejected: 5,
    Traded: 6,
    SessionOpened: 7,
    SessionEnded: 8,
    InstrumentSet: 9,
    LimitsSet: 10,
}
"""The number of each event in the journal. A number is never used again for another."""
