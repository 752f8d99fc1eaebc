"""The checks of a command's own content: its shape, its numbers and their combination.

Each function gives the first check that failed, in the order of `RejectReason`, or None.
"""

from __future__ import annotations

import re
from typing import Final

from server.core.accounts import Account
from server.core.book import Book
from server.core.commands import CancelOrder, CancelOrders, PlaceOrder, ReplaceOrder
from server.core.instruments import Instrument, Limits
from server.core.market import Market
from server.core.orders import GENERATED_PREFIX, PREVENTION_MODES, Order
from server.core.rejects import Reject, RejectReason
from server.core.types import BUY, FOK, GTC, INT64_MAX, LIMIT, MARKET, SELL

ID_PATTERN: Final = "[A-Za-z0-9._:-]{1,64}"
"""Client ids, order ids, keys and references. ASCII: what passes can be put in a URL and a key."""

ID_LENGTH_MAX: Final = 64
_ID: Final = re.compile(ID_PATTERN)

_OWN_ID: Final = re.compile(f"(?!(?i:{re.escape(GENERATED_PREFIX)})){ID_PATTERN}")

INSTRUMENT_PATTERN: Final = "[A-Z0-9]{1,16}-[A-Z0-9]{1,16}"
_INSTRUMENT: Final = re.compile(INSTRUMENT_PATTERN)

ANY_INSTRUMENT: Final = Instrument("")
"""Numbers that no instrument widens."""

FEE_E6_MAX: Final = 1_000_000
"""100 % of the notional, either way."""

LIMIT_MAX: Final = 1_000_000_000
"""Of each count in `Limits`: far beyond any memory, far below what could overflow a wire."""

WINDOW_NS_MAX: Final = 366 * 24 * 3_600 * 10**9
"""One leap year."""


def is_id(text: str) -> bool:
    """Whether this can be an id."""
    # Most ids are letters and digits only, and these two are four times as fast as the pattern.
    if text.isalnum() and text.isascii():
        return len(text) <= ID_LENGTH_MAX
    return _ID.fullmatch(text) is not None


def is_own_id(text: str) -> bool:
    """Whether this can be an id that a client gives an order: not the engine's own, `x-…`."""
    if text.isalnum() and text.isascii():
        return len(text) <= ID_LENGTH_MAX
    return _OWN_ID.fullmatch(text) is not None


def _ids_reject(*fields: tuple[str, str]) -> Reject | None:
    for field, text in fields:
        if text and not is_id(text):
            return Reject(RejectReason.ID_INVALID, field, text, ID_PATTERN)
    return None


def place_shape(command: PlaceOrder) -> Reject | None:
    """Shape of a new order."""
    (
        client_id, instrument, side, order_type, _, _, time_in_force, _, prevention,
        order_id, idempotency_key, client_reference, _,
    ) = command  # fmt: skip
    if not client_id:
        return Reject(RejectReason.FIELD_REQUIRED, "client_id", "")
    if not instrument:
        return Reject(RejectReason.FIELD_REQUIRED, "instrument", "")
    if not is_id(client_id):
        return Reject(RejectReason.ID_INVALID, "client_id", client_id, ID_PATTERN)
    if order_id and not is_id(order_id):
        return Reject(RejectReason.ID_INVALID, "order_id", order_id, ID_PATTERN)
    if idempotency_key and not is_id(idempotency_key):
        return Reject(RejectReason.ID_INVALID, "idempotency_key", idempotency_key, ID_PATTERN)
    if client_reference and not is_id(client_reference):
        return Reject(RejectReason.ID_INVALID, "client_reference", client_reference, ID_PATTERN)
    if order_id[: len(GENERATED_PREFIX)].lower() == GENERATED_PREFIX:
        return Reject(RejectReason.ID_RESERVED, "order_id", order_id, GENERATED_PREFIX)
    if side != BUY and side != SELL:
        return Reject(RejectReason.SIDE_INVALID, "side", side)
    if order_type != LIMIT and order_type != MARKET:
        return Reject(RejectReason.TYPE_INVALID, "order_type", order_type)
    if not 0 <= time_in_force <= FOK:
        return Reject(RejectReason.TIME_IN_FORCE_INVALID, "time_in_force", time_in_force)
    if prevention and prevention not in PREVENTION_MODES:
        return Reject(
            RejectReason.SELF_TRADE_PREVENTION_INVALID, "self_trade_prevention", prevention
        )
    return None


def change_shape(command: ReplaceOrder | CancelOrder) -> Reject | None:
    """Shape of a replace or cancel."""
    client_id, order_id, idempotency_key = (
        command.client_id,
        command.order_id,
        command.idempotency_key,
    )
    if not order_id:
        return Reject(RejectReason.FIELD_REQUIRED, "order_id", "")
    if idempotency_key and not client_id:
        return Reject(RejectReason.FIELD_REQUIRED, "client_id", "", "a key belongs to a client")
    reject = _ids_reject(
        ("client_id", client_id), ("order_id", order_id), ("idempotency_key", idempotency_key)
    )
    if reject is not None:
        return reject
    if type(command) is ReplaceOrder and command.price_e8 is None and command.quantity_e8 is None:
        return Reject(
            RejectReason.NOTHING_TO_REPLACE, "quantity_e8", "", "price_e8, quantity_e8 or both"
        )
    return None


def cancels_shape(command: CancelOrders) -> Reject | None:
    """Shape of a cancel-all."""
    client_id, _, side = command
    if not client_id:
        return Reject(RejectReason.FIELD_REQUIRED, "client_id", "")
    if not is_id(client_id):
        return Reject(RejectReason.ID_INVALID, "client_id", client_id, ID_PATTERN)
    if not 0 <= side <= SELL:
        return Reject(RejectReason.SIDE_INVALID, "side", side)
    return None


def client_shape(client_id: str) -> Reject | None:
    """Shape of a client id that may be left out."""
    return _ids_reject(("client_id", client_id))


def price_reject(instrument: Instrument, price_e8: int) -> Reject | None:
    """Numbers of a limit price."""
    if price_e8 <= 0:
        return Reject(RejectReason.PRICE_NOT_POSITIVE, "price_e8", price_e8, 0)
    if price_e8 < instrument.price_min_e8:
        return Reject(
            RejectReason.PRICE_BELOW_MINIMUM, "price_e8", price_e8, instrument.price_min_e8
        )
    if price_e8 > instrument.price_max_e8:
        return Reject(
            RejectReason.PRICE_ABOVE_MAXIMUM, "price_e8", price_e8, instrument.price_max_e8
        )
    if price_e8 % instrument.tick_e8:
        return Reject(RejectReason.PRICE_OFF_TICK, "price_e8", price_e8, instrument.tick_e8)
    return None


def quantity_reject(instrument: Instrument, quantity_e8: int) -> Reject | None:
    """Numbers of a quantity."""
    if quantity_e8 <= 0:
        return Reject(RejectReason.QUANTITY_NOT_POSITIVE, "quantity_e8", quantity_e8, 0)
    if quantity_e8 < instrument.quantity_min_e8:
        return Reject(
            RejectReason.QUANTITY_BELOW_MINIMUM,
            "quantity_e8",
            quantity_e8,
            instrument.quantity_min_e8,
        )
    if quantity_e8 > instrument.quantity_max_e8:
        return Reject(
            RejectReason.QUANTITY_ABOVE_MAXIMUM,
            "quantity_e8",
            quantity_e8,
            instrument.quantity_max_e8,
        )
    if quantity_e8 % instrument.lot_e8:
        return Reject(RejectReason.QUANTITY_OFF_LOT, "quantity_e8", quantity_e8, instrument.lot_e8)
    return None


def bounds_reject(
    book: Book,
    account: Account | None,
    side: int,
    price_e8: int,
    quantity_e8: int,
    level_added_e8: int,
    open_added_e8: int,
) -> Reject | None:
    """Whether the totals that an order adds to stay within int64; the limit says what would fit.

    `price_e8` is 0 for an order that can't rest.
    """
    if price_e8:
        excess_e8 = book.quantity(side, price_e8) + level_added_e8 - INT64_MAX
        if excess_e8 > 0:
            return Reject(
                RejectReason.LEVEL_BOUND_EXCEEDED,
                "quantity_e8",
                quantity_e8,
                quantity_e8 - excess_e8,
            )
    excess_e8 = open_added_e8 - INT64_MAX
    if account is not None:
        excess_e8 += abs(account.net_e8) + account.open_e8[side]
    if excess_e8 > 0:
        return Reject(
            RejectReason.POSITION_BOUND_EXCEEDED,
            "quantity_e8",
            quantity_e8,
            quantity_e8 - excess_e8,
        )
    return None


def combination_reject(
    order_type: int, price_e8: int, time_in_force: int, post_only: bool
) -> Reject | None:
    """Whether type, price, time in force (never the default) and post-only go together."""
    if order_type == LIMIT:
        if not price_e8:
            return Reject(RejectReason.PRICE_REQUIRED, "price_e8", price_e8, "limit orders")
    elif price_e8:
        return Reject(RejectReason.PRICE_NOT_ALLOWED, "price_e8", price_e8, "limit orders")
    elif time_in_force == GTC:
        return Reject(
            RejectReason.TIME_IN_FORCE_NOT_ALLOWED, "time_in_force", time_in_force, "limit orders"
        )
    if post_only and (order_type != LIMIT or time_in_force != GTC):
        return Reject(
            RejectReason.POST_ONLY_NOT_ALLOWED, "post_only", 1, "limit orders, good-till-cancel"
        )
    return None


def change_numbers(
    order: Order | None, price_e8: int | None, quantity_e8: int | None
) -> Reject | None:
    """Numbers of a replace; without an order, those that hold for every instrument.

    An order that comes in again is judged whole, like a new one. One that stays in its place is not
    for its price nor for being too large still, and one that ends not for being too small.
    """
    definition = order.account.market.definition if order is not None else ANY_INSTRUMENT
    if order is not None and not order.closed_sequence:
        price_new_e8 = order.price_e8 if price_e8 is None else price_e8
        quantity_new_e8 = order.quantity_e8 if quantity_e8 is None else quantity_e8
        added_e8 = quantity_new_e8 - order.quantity_e8
        if added_e8 + order.remaining_e8 <= 0:
            definition = definition._replace(quantity_min_e8=1, quantity_max_e8=INT64_MAX)
        elif price_new_e8 == order.price_e8 and added_e8 <= 0:
            price_e8 = None
            definition = definition._replace(quantity_max_e8=INT64_MAX)
        else:
            price_e8, quantity_e8 = price_new_e8, quantity_new_e8
    reject = price_reject(definition, price_e8) if price_e8 is not None else None
    if reject is None and quantity_e8 is not None:
        reject = quantity_reject(definition, quantity_e8)
    if reject is not None or order is None or order.closed_sequence:
        return reject
    moved_e8 = order.remaining_e8 if price_new_e8 != order.price_e8 else 0
    return bounds_reject(
        order.account.market.book,
        order.account if added_e8 > 0 else None,
        order.side,
        price_new_e8,
        quantity_new_e8,
        added_e8 + moved_e8,
        added_e8,
    )


def plain(definition: Instrument) -> Instrument:
    """The definition with plain integers in place of any enum members."""
    return Instrument(definition.name, *(+value for value in definition[1:]))


def redefinition(market: Market, definition: Instrument) -> Reject | None:
    """Whether an instrument may become this: tick and lot don't change while orders rest."""
    for field in ("tick_e8", "lot_e8"):
        value, held = getattr(definition, field), getattr(market.definition, field)
        if value != held and not market.book.is_empty:
            reason = RejectReason.INSTRUMENT_IN_USE
            return Reject(reason, field, value, f"{held} while orders rest")
    return None


def instrument_setting(definition: Instrument) -> Reject | None:
    """Numbers and name of an instrument's definition."""
    if _INSTRUMENT.fullmatch(definition.name) is None:
        return _setting("name", definition.name, INSTRUMENT_PATTERN)
    for field in ("tick_e8", "lot_e8", "price_min_e8", "quantity_min_e8"):
        value = getattr(definition, field)
        if not 1 <= value <= INT64_MAX:
            return _setting(field, value, f"1 to {INT64_MAX}")
    for field, minimum in (
        ("price_max_e8", definition.price_min_e8),
        ("quantity_max_e8", definition.quantity_min_e8),
    ):
        value = getattr(definition, field)
        if not minimum <= value <= INT64_MAX:
            return _setting(field, value, f"{minimum} to {INT64_MAX}")
    for field in ("maker_fee_e6", "taker_fee_e6"):
        value = getattr(definition, field)
        if not -FEE_E6_MAX <= value <= FEE_E6_MAX:
            return _setting(field, value, f"{-FEE_E6_MAX} to {FEE_E6_MAX}")
    mode = definition.self_trade_prevention
    if mode not in PREVENTION_MODES:
        return _setting("self_trade_prevention", mode, f"1 to {PREVENTION_MODES[-1]}")
    return None


def limits_setting(limits: Limits) -> Reject | None:
    """Numbers of the engine's bounds."""
    for field, value in zip(Limits._fields, limits, strict=True):
        maximum = WINDOW_NS_MAX if field == "window_ns" else LIMIT_MAX
        if not 1 <= value <= maximum:
            return _setting(field, value, f"1 to {maximum}")
    return None


def _setting(field: str, value: str | int, limit: str) -> Reject:
    return Reject(RejectReason.SETTING_INVALID, field, value, limit)
