"""Orders and trades as messages, the same in replies, streams, Kafka and Redis.

Functions write into a message that is already where it belongs: an order built apart and copied
into its place costs twice as much. For the same reason fields that mostly have their default are
left alone then, and an event is unpacked whole: reading its fields by name costs as much as writing
them.
"""

from exchange.v1 import types_pb2
from server.core.events import OrderEvent, Traded
from server.core.types import CANCELLED
from server.decimals import decimal_text

Standing = tuple[int, int, int, int, int]
"""Filled, remaining, cancelled (10^-8), status, and why it ended."""


def order(
    into: types_pb2.Order,
    event: OrderEvent,
    updated_ns: int,
    standing: Standing | None = None,
) -> None:
    """The order as it stands after an event of its own, or else as `standing` says."""
    (
        into.order_id, into.client_id, client_reference, into.instrument, into.side, into.type,
        into.time_in_force, post_only, into.self_trade_prevention, into.price_e8, into.quantity_e8,
        filled_e8, remaining_e8, cancelled_e8, status, into.placed_sequence, into.created_time_ns,
        _, reason, _,
    ) = event  # type: ignore[assignment]  # fmt: skip
    if standing is not None:
        filled_e8, remaining_e8, cancelled_e8, status, reason = standing
    into.updated_time_ns = updated_ns
    into.status = status  # type: ignore[assignment]
    if client_reference:
        into.client_reference = client_reference
    if post_only:
        into.post_only = True
    if filled_e8:
        into.filled_quantity_e8 = filled_e8
    if remaining_e8:
        into.remaining_quantity_e8 = remaining_e8
    if cancelled_e8:
        into.cancelled_quantity_e8 = cancelled_e8
    if status >= CANCELLED:
        into.end_reason = reason  # type: ignore[assignment]


def trade(into: types_pb2.Trade, sequence: int, index: int, time_ns: int, traded: Traded) -> None:
    """A trade; with (sequence, index) as its name."""
    into.trade_id = f"T{sequence}-{index}"
    into.sequence = sequence
    into.index = index
    into.time_ns = time_ns
    (
        into.instrument, into.price_e8, into.quantity_e8, into.aggressor_side,
        into.maker_order_id, into.maker_client_id, _, _, _, _, maker_fee_e8,
        into.taker_order_id, into.taker_client_id, _, _, _, _, taker_fee_e8,
    ) = traded  # type: ignore[assignment]  # fmt: skip
    into.maker_fee = decimal_text(maker_fee_e8) if maker_fee_e8 else "0"
    into.taker_fee = decimal_text(taker_fee_e8) if taker_fee_e8 else "0"
