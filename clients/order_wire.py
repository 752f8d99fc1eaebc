"""Orders, trades and order events: between the typed values and the messages of the wire."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import grpc

from clients.decimals import Number, decimal_of_e8, e8_of
from clients.errors import RefusedError, in_decimals
from clients.fields import FieldInvalidError
from clients.messages import built
from clients.requests import CancelOrder, CancelOrders, Command, PlaceOrder, ReplaceOrder
from clients.types import (
    Cancelled,
    CancelledAll,
    Order,
    OrderEvent,
    OrderEventKind,
    OrderEventsMessage,
    Placed,
    Replaced,
    Trade,
)
from clients.words import (
    END_REASONS,
    EVENT_KINDS,
    ORDER_TYPES,
    SELF_TRADE_PREVENTIONS,
    SIDES,
    STATUSES,
    TIMES_IN_FORCE,
)
from exchange.v1 import order_service_pb2 as orders_pb2
from exchange.v1 import types_pb2

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CODES = {code.value[0]: code for code in grpc.StatusCode}

Outcome = Placed | Replaced | Cancelled | CancelledAll | RefusedError


# What is asked.


# Fields in the order of the commands': the first one that can't be sent is the one that is named.


def place_message(order: PlaceOrder) -> orders_pb2.PlaceOrderRequest:
    return built(
        orders_pb2.PlaceOrderRequest,
        client_id=order.client_id,
        instrument=order.instrument,
        side=SIDES.name(order.side),
        type=ORDER_TYPES.name(order.type),
        price_e8=_e8(order.price, "price") or 0,
        quantity_e8=e8_of(order.quantity, "quantity"),
        time_in_force=TIMES_IN_FORCE.name(order.time_in_force),
        post_only=order.post_only,
        self_trade_prevention=SELF_TRADE_PREVENTIONS.name(order.self_trade_prevention),
        order_id=order.order_id,
        idempotency_key=order.idempotency_key,
        client_reference=order.client_reference,
    )


def replace_message(change: ReplaceOrder) -> orders_pb2.ReplaceOrderRequest:
    return built(
        orders_pb2.ReplaceOrderRequest,
        order_id=change.order_id,
        price_e8=_e8(change.price, "price"),
        quantity_e8=_e8(change.quantity, "quantity"),
        client_id=change.client_id,
        idempotency_key=change.idempotency_key,
    )


def cancel_message(cancel: CancelOrder) -> orders_pb2.CancelOrderRequest:
    return built(
        orders_pb2.CancelOrderRequest,
        order_id=cancel.order_id,
        client_id=cancel.client_id,
        idempotency_key=cancel.idempotency_key,
    )


def cancel_all_message(cancel: CancelOrders) -> orders_pb2.CancelOrdersRequest:
    return built(
        orders_pb2.CancelOrdersRequest,
        client_id=cancel.client_id,
        instrument=cancel.instrument,
        side=SIDES.name(cancel.side),
    )


def session_command(request_id: int, command: Command) -> orders_pb2.SessionCommand:
    message = orders_pb2.SessionCommand(request_id=request_id)
    match command:
        case PlaceOrder():
            message.place.CopyFrom(place_message(command))
        case ReplaceOrder():
            message.replace.CopyFrom(replace_message(command))
        case CancelOrder():
            message.cancel.CopyFrom(cancel_message(command))
        case CancelOrders():
            message.cancel_all.CopyFrom(cancel_all_message(command))
    return message


def which_of(commands: Sequence[Command], name: str, error: FieldInvalidError) -> FieldInvalidError:
    """The error that one of several commands gave, of that one by its place: `orders[1].price`."""
    for index, command in enumerate(commands):
        try:
            session_command(0, command)
        except FieldInvalidError as found:
            return found.within(f"{name}[{index}]")
    return error


def _e8(value: Number | None, field: str) -> int | None:
    return None if value is None else e8_of(value, field)


# What is answered.


def placed_of(reply: orders_pb2.PlaceOrderResponse) -> Placed:
    return Placed(
        order=order_of(reply.order),
        trades=tuple(map(trade_of, reply.trades)),
        trade_count=reply.trade_count,
        sequence=reply.sequence,
        repeated=reply.repeated,
    )


def replaced_of(reply: orders_pb2.ReplaceOrderResponse) -> Replaced:
    return Replaced(
        order=order_of(reply.order),
        trades=tuple(map(trade_of, reply.trades)),
        trade_count=reply.trade_count,
        sequence=reply.sequence,
        repeated=reply.repeated,
    )


def cancelled_of(reply: orders_pb2.CancelOrderResponse) -> Cancelled:
    return Cancelled(order=order_of(reply.order), sequence=reply.sequence, repeated=reply.repeated)


def cancelled_all_of(reply: orders_pb2.CancelOrdersResponse) -> CancelledAll:
    return CancelledAll(
        orders=tuple(map(order_of, reply.orders)),
        cancelled_count=reply.cancelled_count,
        sequence=reply.sequence,
    )


def refused_of(refusal: types_pb2.Refusal) -> RefusedError:
    try:
        reason = types_pb2.RejectReason.Name(refusal.reason).removeprefix("REJECT_REASON_")
    except ValueError:
        reason = f"REASON_{int(refusal.reason)}"  # of a later release than this client's
    field, limit, value = in_decimals(refusal.field, refusal.limit, refusal.value)
    return RefusedError(
        refusal.message,
        code=CODES.get(refusal.code, grpc.StatusCode.UNKNOWN),
        reason=reason,
        field=field,
        limit=limit,
        value=value,
        retry_safe=refusal.retry_safe,
        retry_after_s=refusal.retry_after_s,
    )


def place_outcome_of(outcome: orders_pb2.PlaceOrderOutcome) -> Placed | RefusedError:
    if outcome.WhichOneof("outcome") == "placed":
        return placed_of(outcome.placed)
    return refused_of(outcome.refused)


def session_outcome_of(outcome: orders_pb2.SessionOutcome) -> Outcome:
    match outcome.WhichOneof("outcome"):
        case "placed":
            return placed_of(outcome.placed)
        case "replaced":
            return replaced_of(outcome.replaced)
        case "cancelled":
            return cancelled_of(outcome.cancelled)
        case "cancelled_all":
            return cancelled_all_of(outcome.cancelled_all)
        case _:
            return refused_of(outcome.refused)


def order_of(order: types_pb2.Order) -> Order:
    return Order(
        order_id=order.order_id,
        client_id=order.client_id,
        client_reference=order.client_reference,
        instrument=order.instrument,
        side=SIDES.word(order.side),
        type=ORDER_TYPES.word(order.type),
        time_in_force=TIMES_IN_FORCE.word(order.time_in_force),
        post_only=order.post_only,
        self_trade_prevention=SELF_TRADE_PREVENTIONS.word(order.self_trade_prevention),
        price=price_of(order.price_e8),
        quantity=decimal_of_e8(order.quantity_e8),
        filled_quantity=decimal_of_e8(order.filled_quantity_e8),
        remaining_quantity=decimal_of_e8(order.remaining_quantity_e8),
        cancelled_quantity=decimal_of_e8(order.cancelled_quantity_e8),
        status=STATUSES.word(order.status),
        end_reason=END_REASONS.find(order.end_reason),
        placed_sequence=order.placed_sequence,
        created_time=time_of(order.created_time_ns),
        updated_time=time_of(order.updated_time_ns),
    )


def trade_of(trade: types_pb2.Trade) -> Trade:
    return Trade(
        trade_id=trade.trade_id,
        sequence=trade.sequence,
        index=trade.index,
        time=time_of(trade.time_ns),
        instrument=trade.instrument,
        price=decimal_of_e8(trade.price_e8),
        quantity=decimal_of_e8(trade.quantity_e8),
        aggressor_side=SIDES.word(trade.aggressor_side),
        maker_order_id=trade.maker_order_id,
        maker_client_id=trade.maker_client_id,
        taker_order_id=trade.taker_order_id,
        taker_client_id=trade.taker_client_id,
        maker_fee=money_of(trade.maker_fee),
        taker_fee=money_of(trade.taker_fee),
    )


def order_events_of(message: orders_pb2.StreamOrderEventsResponse) -> OrderEventsMessage:
    return OrderEventsMessage(
        sequence=message.sequence,
        previous_sequence=message.previous_sequence,
        events=tuple(map(order_event_of, message.events)),
        restarted=message.restarted,
    )


def order_event_of(event: orders_pb2.OrderEvent) -> OrderEvent:
    kind, order = EVENT_KINDS.word(event.kind), event.order
    return OrderEvent(
        sequence=event.sequence,
        index=event.index,
        time=time_of(event.time_ns),
        kind=kind,
        order_id=order.order_id,
        client_id=order.client_id,
        client_reference=order.client_reference,
        instrument=order.instrument,
        side=SIDES.word(order.side),
        price=price_of(order.price_e8),
        filled_quantity=decimal_of_e8(order.filled_quantity_e8),
        remaining_quantity=decimal_of_e8(order.remaining_quantity_e8),
        status=STATUSES.word(order.status),
        change=decimal_of_e8(event.change_e8),
        reason=END_REASONS.find(event.reason),
        order=None if kind is OrderEventKind.FILLED else order_of(order),
        trade=trade_of(event.trade) if event.HasField("trade") else None,
    )


def time_of(time_ns: int) -> datetime:
    return EPOCH + timedelta(microseconds=time_ns // 1000)


def price_of(price_e8: int) -> Decimal | None:
    return decimal_of_e8(price_e8) if price_e8 else None


def money_of(text: str) -> Decimal:
    return Decimal(text or "0")
