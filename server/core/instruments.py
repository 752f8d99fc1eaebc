"""What can be traded, and within which numbers."""

from typing import NamedTuple

from server.core.types import INT64_MAX


class Instrument(NamedTuple):
    """One tradable pair. Prices and quantities in 10^-8, fee rates in 10^-6 of the notional."""

    name: str
    """`BASE-QUOTE`, e.g. `BTC-USD`; fees and money are in the quote currency."""
    tick_e8: int = 1
    """Every price is a multiple of it."""
    lot_e8: int = 1
    """Every quantity is a multiple of it."""
    price_min_e8: int = 1
    price_max_e8: int = INT64_MAX
    quantity_min_e8: int = 1
    quantity_max_e8: int = INT64_MAX
    maker_fee_e6: int = 0
    """Negative is a rebate."""
    taker_fee_e6: int = 0
    self_trade_prevention: int = 1
    """Mode of an order that names none; 1 (NONE) lets a client trade with itself."""


class Limits(NamedTuple):
    """Bounds of the engine's own memory. State, so that every replay forgets at the same place."""

    keys_max: int = 4_000_000
    """Idempotency keys guaranteed to be remembered (unless older than `window_ns`)."""
    closed_orders_max: int = 200_000
    """Closed orders, and with them their ids, guaranteed to be remembered within the window."""
    window_ns: int = 3_600_000_000_000
    """One hour: what is older may be forgotten."""
    instruments_max: int = 1_000
    """Instruments that can be listed."""
