"""Orders over HTTP JSON: parse, submit or read, present.

The reply to a place or a replace holds the book after its record. That book is rendered as the
bytes of the reply's `orderbook` field, for orders that are placed once for all replies of the
record: bytes of fields may follow one another in any order, so a reply is its own bytes with those
behind them.
"""

from collections.abc import Callable
from typing import Final

from exchange.http.v1 import order_service_pb2 as messages
from server.core.engine import Engine
from server.core.events import OrderEvent
from server.core.rejects import RejectReason
from server.history.reader import History
from server.rpc.calls import View
from server.rpc.context import Context
from server.rpc.errors import EdgeReject, Refused
from server.rpc.http import parse, present
from server.rpc.http.calls import HttpCalls, json_status
from server.rpc.http.encoded_depth import encoded_depth
from server.rpc.market_view import LEVELS_DEFAULT
from server.rpc.past import Past
from server.rpc.present import LISTED_MAX

VIEW: Final = "http orderbook"
VIEW_OF_ORDER: Final = "http orderbook of an order"

ENCODED: Final = frozenset({"PlaceOrder", "ReplaceOrder"})
"""Methods whose replies are bytes already."""


class HttpOrders:
    """`exchange.http.v1.OrderService`."""

    def __init__(self, calls: HttpCalls, history: History) -> None:
        self._calls = calls
        self._past = Past(calls, history)

    async def PlaceOrder(self, request: messages.PlaceOrderRequest, context: Context) -> bytes:
        command = parse.place(request)
        view = View((VIEW, command.instrument), book_of(command.instrument))
        committed = await self._calls.commit(command, context, view)
        reply = messages.PlaceOrderResponse()
        present.placed(reply, committed.applied, committed.repeated)
        book: bytes = committed.view
        return reply.SerializeToString() + book

    async def PlaceOrders(
        self, request: messages.PlaceOrdersRequest, context: Context
    ) -> messages.PlaceOrdersResponse:
        commands = parse.places(request)
        if isinstance(commands, EdgeReject):
            await self._calls.refuse(context, commands)
        reply = messages.PlaceOrdersResponse()
        trades_max = LISTED_MAX
        for outcome in await self._calls.commit_all(commands, context):
            into = reply.results.add()
            if isinstance(outcome, Refused):
                status = json_status(outcome)
                into.error = into.message = status.message
                into.code = status.code
                into.details.extend(status.details)
            else:
                into.trade_count = 0
                present.placed(into, *outcome, trades_max)
                trades_max -= len(into.trades)
        return reply

    async def ReplaceOrder(self, request: messages.ReplaceOrderRequest, context: Context) -> bytes:
        command = parse.replace(request)
        view = View((VIEW_OF_ORDER, command.order_id), book_of_order(command.order_id))
        committed = await self._calls.commit(command, context, view)
        reply = messages.ReplaceOrderResponse()
        present.placed(reply, committed.applied, committed.repeated)
        book: bytes = committed.view
        if committed.repeated or not book:
            # The order may be forgotten by now, and another one have its id.
            book = await self._calls.read(book_of(reply.order.instrument), context)
        return reply.SerializeToString() + book

    async def CancelOrder(
        self, request: messages.CancelOrderRequest, context: Context
    ) -> messages.CancelOrderResponse:
        committed = await self._calls.commit(parse.cancel(request), context)
        sequence, time_ns, events = committed.applied
        event = events[0]
        assert isinstance(event, OrderEvent)
        # Absent unless it is one.
        repeated = committed.repeated or None
        reply = messages.CancelOrderResponse(sequence=sequence, repeated=repeated)
        present.order(reply.order, event, time_ns)
        return reply

    async def CancelOrders(
        self, request: messages.CancelOrdersRequest, context: Context
    ) -> messages.CancelOrdersResponse:
        committed = await self._calls.commit(parse.cancel_all(request), context)
        sequence, time_ns, events = committed.applied
        reply = messages.CancelOrdersResponse(sequence=sequence, cancelled_count=len(events))
        for event in events[:LISTED_MAX]:
            assert isinstance(event, OrderEvent)
            present.order(reply.orders.add(), event, time_ns)
        return reply

    async def GetOrder(
        self, request: messages.GetOrderRequest, context: Context
    ) -> messages.GetOrderResponse:
        found = await self._past.order(request.order_id, context)
        if found is None:
            refused = EdgeReject(RejectReason.ORDER_UNKNOWN, "order_id", request.order_id)
            await self._calls.refuse(context, refused)
        reply = messages.GetOrderResponse(sequence=found.sequence)
        present.order(reply.order, *found.order)
        return reply

    async def ListOrders(
        self, request: messages.ListOrdersRequest, context: Context
    ) -> messages.ListOrdersResponse:
        query = parse.orders_query(request)
        if isinstance(query, EdgeReject):
            await self._calls.refuse(context, query)
        page = await self._past.orders(query, context)
        reply = messages.ListOrdersResponse(
            sequence=page.sequence, next_page_token=page.next_page_token
        )
        for order in page.orders:
            present.order(reply.orders.add(), *order)
        return reply


def book_of(instrument: str) -> Callable[[Engine], bytes]:
    """Give what renders the book of a reply."""
    return lambda engine: encoded_depth(engine.book(instrument), LEVELS_DEFAULT)


def book_of_order(order_id: str) -> Callable[[Engine], bytes]:
    """Give what renders the book that an order is in; nothing where the order is forgotten."""

    def render(engine: Engine) -> bytes:
        order = engine.order(order_id)
        return b"" if order is None else book_of(order.instrument)(engine)

    return render
