"""JSON requests into commands and queries; nothing is judged here but the form of a query."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from exchange.http.v1 import market_service_pb2, order_service_pb2
from server.core.commands import CancelOrder, CancelOrders, PlaceOrder, ReplaceOrder
from server.core.rejects import RejectReason
from server.core.types import LIMIT
from server.history.analytics import INTERVAL_MINUTES_MAX, Query
from server.rpc.errors import VALUE_CHARACTERS_MAX, EdgeReason, EdgeReject
from server.rpc.http.doubles import e8_of
from server.rpc.http.refused_number import RefusedNumber
from server.rpc.http.words import PREVENTIONS, SIDES, STATUSES, TIMES_IN_FORCE, TYPES, WORKING
from server.rpc.market_view import TRADES_DEFAULT, TRADES_MAX
from server.rpc.parse import (
    PAGE_SIZE_DEFAULT,
    PAGE_SIZE_MAX,
    OrdersQuery,
    TradesQuery,
    page_before,
    too_many,
    trades_before,
)

INSTRUMENT_DEFAULT: Final = "BTC-USD"
LEVELS_MAX: Final = 100

_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2}([.]([0-9]{1,9}))?)?"
    r"(Z|[-+ ][0-9]{2}:?[0-9]{2})?)?"
)
"""An ISO 8601 time, with up to nine digits of a second, as some languages print them."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_DAY: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH).days
"""The last day with a name: a time may lie behind it in UTC, though not where it was written."""

_WHOLE: Final = re.compile("[0-9]{1,9}")

_SEQUENCE: Final = re.compile("[0-9]{1,19}")

_new: Final = tuple.__new__


def place(request: order_service_pb2.PlaceOrderRequest) -> PlaceOrder:
    """Read an order; the instrument has a default here."""
    if request.HasField("unreadable"):
        return _unreadable(request.unreadable)
    order_type = TYPES.required(request.type)
    return _new(
        PlaceOrder,
        (
            request.client_id,
            request.instrument or INSTRUMENT_DEFAULT,
            SIDES.required(request.side),
            order_type,
            _quantity(request),
            _price(request, order_type),
            TIMES_IN_FORCE.optional(request.time_in_force),
            request.post_only,
            PREVENTIONS.optional(request.self_trade_prevention),
            request.order_id,
            request.idempotency_key,
            "",
            0,
        ),
    )


def replace(request: order_service_pb2.ReplaceOrderRequest) -> ReplaceOrder:
    """Read a replace; the order is named by the path."""
    return ReplaceOrder(
        request.client_id,
        request.order_id,
        e8_of("price", request.price) if request.HasField("price") else None,
        e8_of("quantity", request.quantity) if request.HasField("quantity") else None,
        request.idempotency_key,
    )


def cancel(request: order_service_pb2.CancelOrderRequest) -> CancelOrder:
    """Read a cancel; the order is named by the path."""
    return CancelOrder(request.client_id, request.order_id, request.idempotency_key)


def cancel_all(request: order_service_pb2.CancelOrdersRequest) -> CancelOrders:
    """Read a cancel of all orders; an instrument that is not named is every one."""
    return CancelOrders(request.client_id, request.instrument, SIDES.optional(request.side))


def orders_query(request: order_service_pb2.ListOrdersRequest) -> OrdersQuery | EdgeReject:
    """Read filters, cursor and page size."""
    side = SIDES.optional(request.side)
    status = STATUSES.optional(request.status)
    limit = whole("page_size", request.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
    before_sequence = page_before(request.page_token)
    for value in (side, status, limit, before_sequence):
        if isinstance(value, RefusedNumber):
            return value.refusal
        if isinstance(value, EdgeReject):
            return value
    assert isinstance(limit, int)
    assert isinstance(before_sequence, int)
    client_id = request.client_id or request.user_id
    working = status == WORKING
    status = 0 if working else status
    return OrdersQuery(client_id, request.instrument, side, status, before_sequence, limit, working)


def trades_query(request: market_service_pb2.ListTradesRequest) -> TradesQuery | EdgeReject:
    """Read filter, cursor and page size."""
    limit = whole("limit", request.limit, TRADES_DEFAULT, TRADES_MAX)
    if isinstance(limit, EdgeReject):
        return limit
    before = trades_before(request.page_token)
    if isinstance(before, EdgeReject):
        return before
    name = request.instrument or INSTRUMENT_DEFAULT
    return TradesQuery(name, limit, before, request.client_id)


def places(
    request: order_service_pb2.PlaceOrdersRequest,
) -> list[PlaceOrder] | EdgeReject:
    """Read each order as a command of its own."""
    if not request.orders:
        return EdgeReject(RejectReason.FIELD_REQUIRED, "orders", "")
    return too_many("orders", len(request.orders)) or [place(each) for each in request.orders]


def from_sequence(text: str, newest: int) -> int | EdgeReject | None:
    """Read the sequence after which a stream begins; None where it begins now."""
    if not text:
        return None
    if _SEQUENCE.fullmatch(text) and int(text) <= newest + 1:
        return max(int(text) - 1, 0)
    limit = f"a whole number up to {newest + 1}, the sequence that comes next"
    return EdgeReject(EdgeReason.NUMBER_INVALID, "from_sequence", text, limit)


def whole(field: str, text: str, default: int, maximum: int) -> int | EdgeReject:
    """Read a whole number from 1 on; the default where it is not given."""
    if not text:
        return default
    if _WHOLE.fullmatch(text) and 1 <= int(text) <= maximum:
        return int(text)
    return EdgeReject(EdgeReason.NUMBER_INVALID, field, text, f"a whole number from 1 to {maximum}")


def analytics_query(request: market_service_pb2.GetAnalyticsRequest) -> Query | EdgeReject:
    """Read which trades are asked for, in which intervals."""
    minutes = whole("interval", request.interval, 1, INTERVAL_MINUTES_MAX)
    if isinstance(minutes, EdgeReject):
        return minutes
    start_ns = time_of("start_time", request.start_time)
    if isinstance(start_ns, EdgeReject):
        return start_ns
    end_ns = time_of("end_time", request.end_time)
    if isinstance(end_ns, EdgeReject):
        return end_ns
    name = request.instrument or INSTRUMENT_DEFAULT
    return Query(name, start_ns, end_ns, minutes, request.include_empty)


def time_of(field: str, text: str) -> int | EdgeReject | None:
    """Read an ISO 8601 time as nanoseconds since the epoch; None where none is given."""
    if not text:
        return None
    match = _TIME.fullmatch(text)
    if match is not None:
        # In the query of a URL a plus sign may have become a blank.
        with suppress(ValueError):
            time = datetime.fromisoformat(text.replace(" ", "+"))
            if time.tzinfo is None:
                time = time.replace(tzinfo=UTC)
            since = time - _EPOCH
            if 0 <= since.days <= _LAST_DAY:
                nanoseconds = int((match[4] or "").ljust(9, "0"))
                return (since.days * 86_400 + since.seconds) * 10**9 + nanoseconds
    limit = "an ISO 8601 time from 1970 to 9999, like 2024-01-01T00:00:00Z"
    return EdgeReject(EdgeReason.NUMBER_INVALID, field, text, limit)


def _unreadable(found: order_service_pb2.Unreadable) -> PlaceOrder:
    """Make an order of what the gateway can't read: refused as a side would be, in its words."""
    texts = (found.field, found.value, found.limit)
    field, value, limit = (text[: VALUE_CHARACTERS_MAX + 1] for text in texts)
    why = EdgeReject(EdgeReason.VALUE_INVALID, field, value, limit)
    return PlaceOrder("unreadable", INSTRUMENT_DEFAULT, RefusedNumber(0, why), LIMIT, 1)


def _quantity(request: order_service_pb2.PlaceOrderRequest) -> int:
    if request.HasField("quantity"):
        return e8_of("quantity", request.quantity)
    return RefusedNumber(0, EdgeReject(RejectReason.FIELD_REQUIRED, "quantity", ""))


def _price(request: order_service_pb2.PlaceOrderRequest, order_type: int) -> int:
    """Read the price. The engine's 0 is no price at all: right for a market order, and for a limit
    order refused as what it was, none or zero."""
    price_e8 = e8_of("price", request.price) if request.HasField("price") else 0
    if price_e8 or order_type != LIMIT:
        return price_e8
    if request.HasField("price"):
        return RefusedNumber(0, EdgeReject(RejectReason.PRICE_NOT_POSITIVE, "price", "0", 0))
    return RefusedNumber(0, EdgeReject(RejectReason.PRICE_REQUIRED, "price", "", "limit orders"))
