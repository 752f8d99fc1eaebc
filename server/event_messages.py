"""Orders and trades as messages, the same in replies, streams, Kafka and Redis.

Functions write into a message that is already where it belongs: an order built apart and copied
into its place costs twice as much. For the same reason fields that mostly have their default are
left alone then, and an event is unpacked whole: reading its fields by name costs as much as writing
them.

What is encoded already becomes a field of another message by `delimited`: protobuf lets fields
follow one another in any order, so that it needs nothing but its tag and its length in front.
"""

from typing import Final

from exchange.v1 import types_pb2
from exchange.v1.order_service_pb2 import OrderEventKind
from server.core.events import (
    OrderAccepted,
    OrderCancelled,
    OrderEvent,
    OrderReduced,
    OrderRejected,
    OrderReplaced,
    Traded,
)
from server.core.types import BUY, CANCELLED, FILLED, PARTIALLY_FILLED, SELL
from server.decimals import decimal_text

KINDS: Final[dict[type, OrderEventKind]] = {
    OrderAccepted: OrderEventKind.ORDER_EVENT_KIND_ACCEPTED,
    OrderReplaced: OrderEventKind.ORDER_EVENT_KIND_REPLACED,
    OrderReduced: OrderEventKind.ORDER_EVENT_KIND_REDUCED,
    OrderCancelled: OrderEventKind.ORDER_EVENT_KIND_CANCELLED,
    OrderRejected: OrderEventKind.ORDER_EVENT_KIND_REJECTED,
}
# Looking a name up in a generated enum costs a microsecond.
FILLED_KIND: Final = OrderEventKind.ORDER_EVENT_KIND_FILLED
LENGTH_DELIMITED: Final = 2
"""The wire type of a message inside another."""

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


def filled(into: types_pb2.Order, event: Traded, is_taker: bool, price_e8: int) -> None:
    """What a trade tells of one of its orders; the taker's own price is given."""
    (
        into.instrument, traded_at_e8, _, side,
        order_id, client_id, reference, placed, filled_e8, remaining_e8, _,
        taker_id, taker_client_id, taker_reference, taker_placed, taker_filled_e8, taker_left_e8, _,
    ) = event  # fmt: skip
    if is_taker:
        order_id, client_id, reference = taker_id, taker_client_id, taker_reference
        placed, filled_e8, remaining_e8 = taker_placed, taker_filled_e8, taker_left_e8
    else:
        # It trades at its own price.
        side, price_e8 = BUY + SELL - side, traded_at_e8
    into.order_id = order_id
    into.client_id = client_id
    if reference:
        into.client_reference = reference
    into.side = side  # type: ignore[assignment]
    if price_e8:
        into.price_e8 = price_e8
    into.filled_quantity_e8 = filled_e8
    if remaining_e8:
        into.remaining_quantity_e8 = remaining_e8
    into.placed_sequence = placed
    into.status = PARTIALLY_FILLED if remaining_e8 else FILLED  # type: ignore[assignment]


def delimited(field_number: int, body: bytes) -> bytes:
    """The field with this encoded message; its number is at most 15."""
    return bytes((field_number << 3 | LENGTH_DELIMITED,)) + varint(len(body)) + body


def varint(number: int) -> bytes:
    """An integer as protobuf has it."""
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7) if number > 0x7F else (number,))
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
