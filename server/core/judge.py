"""Judgement of commands that name orders: every check, in the order of `RejectReason`.

Each function answers None where the command is to be done, and changes nothing. `digest` is that of
the command where it has a key, and a repeat is recognised right after the shape of the request.
"""

from __future__ import annotations

from server.core import checks
from server.core.commands import CancelOrder, PlaceOrder, ReplaceOrder
from server.core.matching import crosses
from server.core.orders import Order
from server.core.rejects import Reject, RejectReason
from server.core.state import ExchangeState
from server.core.types import BUY, GTC, IOC, LIMIT, Repeat
from server.core.words import STATUSES


def place(state: ExchangeState, command: PlaceOrder, digest: int) -> Reject | Repeat | None:
    """Whether a new order is taken."""
    reject = checks.place_shape(command)
    if reject is not None:
        return reject
    (
        client_id, instrument, side, order_type, quantity_e8, price_e8, time_in_force,
        post_only, _, order_id, idempotency_key, _, session_id,
    ) = command  # fmt: skip
    first = state.keys.find(client_id, idempotency_key) if idempotency_key else None
    if first is not None and first.digest == digest:
        return Repeat(first.sequence)
    market = state.markets.get(instrument)
    if market is None:
        return Reject(RejectReason.INSTRUMENT_UNKNOWN, "instrument", instrument)
    if not time_in_force:
        time_in_force = GTC if order_type == LIMIT else IOC
    priced = price_e8 != 0 and order_type == LIMIT
    client = state.directory.clients.get(client_id)
    reject = (
        (checks.price_reject(market.definition, price_e8) if priced else None)
        or checks.quantity_reject(market.definition, quantity_e8)
        or checks.bounds_reject(
            market.book,
            client.accounts.get(instrument) if client is not None else None,
            side,
            price_e8 if priced and time_in_force == GTC else 0,
            quantity_e8,
            quantity_e8,
            quantity_e8,
        )
        or checks.combination_reject(order_type, price_e8, time_in_force, post_only)
    )
    if reject is not None:
        return reject
    if first is not None:
        return _key_conflict(idempotency_key, first.sequence)
    if order_id and state.directory.find(order_id) is not None:
        return Reject(RejectReason.ORDER_ID_DUPLICATE, "order_id", order_id)
    if session_id and session_id not in state.sessions:
        return Reject(RejectReason.SESSION_UNKNOWN, "session_id", session_id)
    return None


def cancel(state: ExchangeState, command: CancelOrder, digest: int) -> Reject | Repeat | None:
    """Whether an order is cancelled."""
    reject = checks.change_shape(command)
    if reject is not None:
        return reject
    client_id, order_id, idempotency_key = command
    if idempotency_key:
        first = state.keys.find(client_id, idempotency_key)
        if first is not None:
            if first.digest == digest:
                return Repeat(first.sequence)
            return _key_conflict(idempotency_key, first.sequence)
    order = _visible(state, client_id, order_id)
    return _not_open(order_id, order)


def replace(state: ExchangeState, command: ReplaceOrder, digest: int) -> Reject | Repeat | None:
    """Whether an order is replaced."""
    reject = checks.change_shape(command)
    if reject is not None:
        return reject
    client_id, order_id, price_e8, quantity_e8, idempotency_key = command
    first = state.keys.find(client_id, idempotency_key) if idempotency_key else None
    if first is not None and first.digest == digest:
        return Repeat(first.sequence)
    order = _visible(state, client_id, order_id)
    reject = checks.change_numbers(order, price_e8, quantity_e8)
    if reject is not None:
        return reject
    if first is not None:
        return _key_conflict(idempotency_key, first.sequence)
    if order is None or order.closed_sequence:
        return _not_open(order_id, order)
    if order.accepted.post_only:
        return _post_only_crosses(order, price_e8, quantity_e8)
    return None


def _post_only_crosses(
    order: Order, price_e8: int | None, quantity_e8: int | None
) -> Reject | None:
    """Whether a post-only order would come in again and trade."""
    if price_e8 is None:
        price_e8 = order.price_e8
    if quantity_e8 is not None and quantity_e8 <= order.quantity_e8 - order.remaining_e8:
        return None
    market = order.account.market
    if price_e8 == order.price_e8 or not crosses(market, order.side, price_e8):
        return None
    opposite_e8 = market.book.best_ask if order.side == BUY else market.book.best_bid
    return Reject(RejectReason.POST_ONLY_WOULD_CROSS, "price_e8", price_e8, opposite_e8)


def _visible(state: ExchangeState, client_id: str, order_id: str) -> Order | None:
    """The order, unless it is another client's: that is not told from an unknown one."""
    order = state.directory.find(order_id)
    if order is None or (client_id and order.client_id != client_id):
        return None
    return order


def _key_conflict(idempotency_key: str, sequence: int) -> Reject:
    """The key was used for something else, at this sequence."""
    return Reject(RejectReason.KEY_CONFLICT, "idempotency_key", idempotency_key, sequence)


def _not_open(order_id: str, order: Order | None) -> Reject | None:
    """Whether the order named is unknown, or has ended."""
    if order is None:
        return Reject(RejectReason.ORDER_UNKNOWN, "order_id", order_id)
    if order.closed_sequence:
        return Reject(RejectReason.ORDER_CLOSED, "order_id", order_id, STATUSES[order.status])
    return None
