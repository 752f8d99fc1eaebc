"""What can be asked of the engine. Commands are plain values; the journal keeps them as they are.

A field that is not given is 0 or the empty string. Nothing is checked on construction:
`engine.apply` judges every command, whatever door it came through.
"""

from typing import Final, NamedTuple

from server.core.instruments import Instrument, Limits


class PlaceOrder(NamedTuple):
    """Place a new order."""

    client_id: str
    instrument: str
    side: int
    order_type: int
    quantity_e8: int
    price_e8: int = 0
    """Limit price; 0 for a market order."""
    time_in_force: int = 0
    post_only: bool = False
    self_trade_prevention: int = 0
    """0: the instrument's default."""
    order_id: str = ""
    """Empty: the engine generates one from the sequence."""
    idempotency_key: str = ""
    client_reference: str = ""
    """The client's own name for the order, repeated in each of its events; need not be unique."""
    session_id: int = 0
    """The cancel-on-disconnect session that it belongs to; 0 for none."""


class ReplaceOrder(NamedTuple):
    """Change price and/or total quantity of an open order."""

    client_id: str
    """Empty: whoever's order it is (then without a key)."""
    order_id: str
    price_e8: int | None = None
    """None: as it was."""
    quantity_e8: int | None = None
    """The new total, fills included. None: as it was."""
    idempotency_key: str = ""


class CancelOrder(NamedTuple):
    """End one open order."""

    client_id: str
    """Empty: whoever's order it is (then without a key)."""
    order_id: str
    idempotency_key: str = ""


class CancelOrders(NamedTuple):
    """End all open orders of a client, optionally of one instrument and/or side only."""

    client_id: str
    instrument: str = ""
    side: int = 0


class OpenSession(NamedTuple):
    """Open a cancel-on-disconnect session. Its id is the sequence of this command."""

    client_id: str = ""


class EndSession(NamedTuple):
    """End a session and cancel the orders placed in it that are still open."""

    session_id: int


class SetInstrument(NamedTuple):
    """List an instrument or change one. Tick and lot don't change while orders rest."""

    definition: Instrument
    configured: Instrument | None = None
    """What the configuration file said, where this command comes from it: kept so that the next
    start sees what changed in the file. None: an admin's."""


class SetLimits(NamedTuple):
    """Change the engine's own bounds; `configured` as for instruments."""

    limits: Limits
    configured: Limits | None = None


Command = (
    PlaceOrder
    | ReplaceOrder
    | CancelOrder
    | CancelOrders
    | OpenSession
    | EndSession
    | SetInstrument
    | SetLimits
)

COMMAND_KINDS: Final[dict[type[Command], int]] = {
    PlaceOrder: 1,
    ReplaceOrder: 2,
    CancelOrder: 3,
    CancelOrders: 4,
    OpenSession: 5,
    EndSession: 6,
    SetInstrument: 7,
    SetLimits: 8,
}
"""The number of each command in the journal. A number is never used again for another."""
