"""What a client asks, as frozen values: the same for a call, a batch and a trading session.

Idempotency keys: a key belongs to its client. The same key with the same content gives the first
outcome again, with other content a refusal (KEY_CONFLICT); an accepted request is remembered at
least for the window that the status call tells (normally an hour). `keyed` gives a request without
a key one of its own, so that repeating it after a lost reply is safe.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from clients.decimals import Number
from clients.types import OrderType, SelfTradePrevention, Side, TimeInForce

KEY_BYTES = 16  # random bytes of a generated key: no two clients or runs ever meet


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """An order to place. Enum fields take their words as well: `"buy"`, `"ioc"`, …"""

    client_id: str
    instrument: str
    side: Side | str
    quantity: Number
    price: Number | None = None
    """Needed for a limit order; None for a market order."""
    type: OrderType | str = OrderType.LIMIT
    time_in_force: TimeInForce | str | None = None
    """None: good-till-cancel for limit, immediate-or-cancel for market."""
    post_only: bool = False
    self_trade_prevention: SelfTradePrevention | str | None = None
    """None: as the instrument says."""
    order_id: str = ""
    """Empty: one is generated."""
    idempotency_key: str = ""
    client_reference: str = ""


@dataclass(frozen=True, slots=True)
class ReplaceOrder:
    """A change to an open order: a new price, a new total quantity (fills included), or both."""

    order_id: str
    price: Number | None = None
    quantity: Number | None = None
    client_id: str = ""
    """Where given it must be the order's; needed with a key."""
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """An open order to end."""

    order_id: str
    client_id: str = ""
    """Where given it must be the order's; needed with a key."""
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class CancelOrders:
    """All open orders of a client to end, optionally of one instrument and/or side."""

    client_id: str
    instrument: str = ""
    side: Side | str | None = None


@dataclass(frozen=True, slots=True)
class SetInstrument:
    """An instrument to list, or to change: what is None stays as it is or, of a new one, has its
    default. Fees are parts of the notional."""

    name: str
    tick: Number | None = None
    """Like the lot it stays while orders rest."""
    lot: Number | None = None
    price_min: Number | None = None
    price_max: Number | None = None
    quantity_min: Number | None = None
    quantity_max: Number | None = None
    maker_fee: Number | None = None
    taker_fee: Number | None = None
    self_trade_prevention: SelfTradePrevention | str | None = None
    """Of orders that name none."""


Command = PlaceOrder | ReplaceOrder | CancelOrder | CancelOrders
Request = Command | Sequence[Command]
Keyed = TypeVar("Keyed", PlaceOrder, ReplaceOrder, CancelOrder)


def new_key() -> str:
    """A fresh idempotency key."""
    return secrets.token_urlsafe(KEY_BYTES)


def keyed(command: Keyed) -> Keyed:
    """The command under a key, a fresh one if it has none; without a client it can't have one."""
    if command.idempotency_key or not command.client_id:
        return command
    return replace(command, idempotency_key=new_key())
