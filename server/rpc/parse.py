"""Requests into commands. Nothing is judged here but the shape of what holds commands.

Enum numbers pass as they are, known or not: the engine refuses those it does not know.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from exchange.v1 import admin_service_pb2, market_data_pb2, order_service_pb2
from server.core.commands import (
    CancelOrder,
    CancelOrders,
    Command,
    PlaceOrder,
    ReplaceOrder,
    SetInstrument,
)
from server.core.instruments import Instrument
from server.core.rejects import RejectReason
from server.core.types import INT64_MAX, OrderStatus, Side
from server.history.analytics import INTERVAL_MINUTES_MAX, Query
from server.rpc.errors import EdgeReason, EdgeReject

COMMANDS_MAX: Final = 1_000
"""Commands in one message: a message of them takes the loop for about 10 ms, and others wait."""

PAGE_SIZE_DEFAULT: Final = 100
PAGE_SIZE_MAX: Final = 1_000
"""Orders on a page: about 150 KB, well below the 4 MiB that clients accept by default."""

# A page of orders ends with the order placed at this sequence.
_PAGE_TOKEN: Final = re.compile("[1-9][0-9]{0,18}")
_TRADES_TOKEN: Final = re.compile("([0-9]{1,19})-([0-9]{1,10})")
_INDEX_MAX: Final = (1 << 31) - 1
"""The greatest index of an event within its command, as tables have it."""

_new: Final = tuple.__new__


def place(
    request: order_service_pb2.PlaceOrderRequest, session_id: int = 0, client_id: str = ""
) -> PlaceOrder:
    """Read an order; `client_id` is the session's, for a request that names none."""
    return _new(
        PlaceOrder,
        (
            request.client_id or client_id,
            request.instrument,
            request.side,
            request.type,
            request.quantity_e8,
            request.price_e8,
            request.time_in_force,
            request.post_only,
            request.self_trade_prevention,
            request.order_id,
            request.idempotency_key,
            request.client_reference,
            session_id,
        ),
    )


def replace(request: order_service_pb2.ReplaceOrderRequest, client_id: str = "") -> ReplaceOrder:
    """Read a replace; `client_id` as for `place`."""
    return ReplaceOrder(
        request.client_id or client_id,
        request.order_id,
        request.price_e8 if request.HasField("price_e8") else None,
        request.quantity_e8 if request.HasField("quantity_e8") else None,
        request.idempotency_key,
    )


def cancel(request: order_service_pb2.CancelOrderRequest, client_id: str = "") -> CancelOrder:
    """Read a cancel; `client_id` as for `place`."""
    return CancelOrder(request.client_id or client_id, request.order_id, request.idempotency_key)


def cancel_all(request: order_service_pb2.CancelOrdersRequest, client_id: str = "") -> CancelOrders:
    """Read a cancel of all orders; `client_id` as for `place`."""
    return CancelOrders(request.client_id or client_id, request.instrument, request.side)


def session_command(
    message: order_service_pb2.SessionCommand, session_id: int, client_id: str
) -> Command | EdgeReject:
    """Read whichever of the four the message holds; an order to place may belong to the session."""
    # `WhichOneof` costs as much as reading all fields of an order.
    has = message.HasField
    if has("place"):
        return place(message.place, session_id, client_id)
    if has("cancel"):
        return cancel(message.cancel, client_id)
    if has("replace"):
        return replace(message.replace, client_id)
    if has("cancel_all"):
        return cancel_all(message.cancel_all, client_id)
    return EdgeReject(RejectReason.FIELD_REQUIRED, "command", "")


def too_many(field: str, count: int) -> EdgeReject | None:
    """Refuse a message that holds `count` commands, if those are too many."""
    if count <= COMMANDS_MAX:
        return None
    return EdgeReject(EdgeReason.TOO_MANY, field, count, COMMANDS_MAX)


def places(request: order_service_pb2.PlaceOrdersRequest) -> list[PlaceOrder] | EdgeReject:
    """Read each order as a command of its own."""
    if not request.orders:
        return EdgeReject(RejectReason.FIELD_REQUIRED, "orders", "")
    return too_many("orders", len(request.orders)) or [place(each) for each in request.orders]


class OrdersQuery(NamedTuple):
    """Arguments of the engine's list of orders."""

    client_id: str
    instrument: str
    side: int
    status: int
    before_sequence: int
    limit: int
    working: bool = False


def order_query(request: order_service_pb2.GetOrderRequest) -> str | EdgeReject:
    """Read the id to look for."""
    return request.order_id or EdgeReject(RejectReason.FIELD_REQUIRED, "order_id", "")


def orders_query(request: order_service_pb2.ListOrdersRequest) -> OrdersQuery | EdgeReject:
    """Read filters, cursor and page size: reads don't pass through the engine's checks."""
    if not 0 <= request.side <= Side.SELL:
        return EdgeReject(RejectReason.SIDE_INVALID, "side", request.side)
    if not 0 <= request.status <= OrderStatus.REJECTED:
        return EdgeReject(EdgeReason.STATUS_INVALID, "status", request.status)
    if request.page_size > PAGE_SIZE_MAX:
        return EdgeReject(EdgeReason.TOO_MANY, "page_size", request.page_size, PAGE_SIZE_MAX)
    before_sequence = page_before(request.page_token)
    if isinstance(before_sequence, EdgeReject):
        return before_sequence
    return OrdersQuery(
        request.client_id,
        request.instrument,
        request.side,
        request.status,
        before_sequence,
        request.page_size or PAGE_SIZE_DEFAULT,
        request.working,
    )


def page_before(token: str) -> int | EdgeReject:
    """Read the sequence that a page of orders lies before, 0 for the first page."""
    if not token:
        return 0
    if _PAGE_TOKEN.fullmatch(token) and int(token) <= INT64_MAX:
        return int(token)
    return EdgeReject(EdgeReason.CURSOR_INVALID, "page_token", token)


def trades_before(token: str) -> tuple[int, int] | EdgeReject | None:
    """Read the (sequence, index) that a page of trades lies before, None for the first page."""
    if not token:
        return None
    match = _TRADES_TOKEN.fullmatch(token)
    if match is None or int(match[1]) > INT64_MAX or int(match[2]) > _INDEX_MAX:
        return EdgeReject(EdgeReason.CURSOR_INVALID, "page_token", token)
    return int(match[1]), int(match[2])


class TradesQuery(NamedTuple):
    """Asks for a page of an instrument's trades."""

    instrument: str
    limit: int
    before: tuple[int, int] | None
    """A (sequence, index); None for the first page."""
    client_id: str = ""
    """Whose trades; empty: all."""


def analytics_query(request: market_data_pb2.GetAnalyticsRequest) -> Query | EdgeReject:
    """Read which trades are asked for, in which intervals."""
    minutes = request.interval_minutes or 1
    if minutes > INTERVAL_MINUTES_MAX:
        limit = f"{INTERVAL_MINUTES_MAX} minutes"
        return EdgeReject(EdgeReason.TOO_MANY, "interval_minutes", minutes, limit)
    start_ns, end_ns = request.start_time_ns or None, request.end_time_ns or None
    for field, time_ns in (("start_time_ns", start_ns), ("end_time_ns", end_ns)):
        if time_ns is not None and time_ns < 0:
            limit = "nanoseconds since 1970"
            return EdgeReject(EdgeReason.NUMBER_INVALID, field, time_ns, limit)
    return Query(request.instrument, start_ns, end_ns, minutes, request.include_empty)


def set_instrument(
    request: admin_service_pb2.SetInstrumentRequest, listed: Mapping[str, Instrument]
) -> SetInstrument | EdgeReject:
    """Read a definition; what the mask leaves out is as it is listed now."""
    if not request.HasField("instrument"):
        return EdgeReject(RejectReason.FIELD_REQUIRED, "instrument", "")
    message = request.instrument
    given = Instrument(
        message.name,
        message.tick_e8 or 1,
        message.lot_e8 or 1,
        message.price_min_e8 or 1,
        message.price_max_e8 or INT64_MAX,
        message.quantity_min_e8 or 1,
        message.quantity_max_e8 or INT64_MAX,
        message.maker_fee_e6,
        message.taker_fee_e6,
        message.self_trade_prevention or 1,
    )
    masked = request.update_mask.paths
    for path in masked:
        if path not in Instrument._fields:
            limit = f"one of {', '.join(Instrument._fields)}"
            return EdgeReject(EdgeReason.VALUE_INVALID, "update_mask", path, limit)
    if not masked:
        return SetInstrument(given)
    now = listed.get(message.name, Instrument(message.name))
    return SetInstrument(now._replace(**{path: getattr(given, path) for path in masked}))


def set_fees(
    request: admin_service_pb2.SetFeesRequest, listed: Mapping[str, Instrument]
) -> SetInstrument | EdgeReject:
    """Give a listed instrument other fees: the engine knows whole definitions only."""
    if not request.instrument:
        return EdgeReject(RejectReason.FIELD_REQUIRED, "instrument", "")
    now = listed.get(request.instrument)
    if now is None:
        return EdgeReject(RejectReason.INSTRUMENT_UNKNOWN, "instrument", request.instrument)
    given = {
        name: getattr(request, name)
        for name in ("maker_fee_e6", "taker_fee_e6")
        if request.HasField(name)
    }
    if not given:
        return EdgeReject(RejectReason.FIELD_REQUIRED, "maker_fee_e6", "")
    return SetInstrument(now._replace(**given))
