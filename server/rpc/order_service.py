"""Orders: every handler parses, submits or reads, and presents."""

from collections.abc import AsyncIterator
from typing import Final

from exchange.v1 import order_service_pb2 as messages
from exchange.v1.order_service_pb2_grpc import OrderServiceServicer
from server import event_messages
from server.core.checks import ID_PATTERN, is_id
from server.core.rejects import RejectReason
from server.feed.feed import Feed
from server.history.reader import History
from server.rpc import parse, present
from server.rpc.calls import Calls
from server.rpc.context import Context
from server.rpc.errors import EdgeReject, Refused, refusal, refuse
from server.rpc.past import Past
from server.rpc.streams import send
from server.rpc.trading_session import TradingSessions

ENCODED: Final = frozenset({"StreamOrderEvents", "TradingSession"})
"""Methods that give bytes."""


class OrderService(OrderServiceServicer):
    """`exchange.v1.OrderService`."""

    def __init__(
        self,
        calls: Calls,
        history: History,
        sessions: TradingSessions,
        feed: Feed,
    ) -> None:
        self._calls = calls
        self._past = Past(calls, history)
        self._sessions = sessions
        self._feed = feed

    async def PlaceOrder(
        self, request: messages.PlaceOrderRequest, context: Context
    ) -> messages.PlaceOrderResponse:
        committed = await self._calls.commit(parse.place(request), context)
        reply = messages.PlaceOrderResponse()
        present.placed(reply, committed.applied, committed.repeated)
        return reply

    async def PlaceOrders(
        self, request: messages.PlaceOrdersRequest, context: Context
    ) -> messages.PlaceOrdersResponse:
        commands = parse.places(request)
        if isinstance(commands, EdgeReject):
            await refuse(context, commands)
        reply = messages.PlaceOrdersResponse()
        left = present.LISTED_MAX
        for outcome in await self._calls.commit_all(commands, context):
            into = reply.outcomes.add()
            if isinstance(outcome, Refused):
                refusal(outcome, into.refused)
            else:
                left -= present.placed(into.placed, *outcome, left)
        return reply

    async def ReplaceOrder(
        self, request: messages.ReplaceOrderRequest, context: Context
    ) -> messages.ReplaceOrderResponse:
        committed = await self._calls.commit(parse.replace(request), context)
        reply = messages.ReplaceOrderResponse()
        present.placed(reply, committed.applied, committed.repeated)
        return reply

    async def CancelOrder(
        self, request: messages.CancelOrderRequest, context: Context
    ) -> messages.CancelOrderResponse:
        committed = await self._calls.commit(parse.cancel(request), context)
        reply = messages.CancelOrderResponse()
        present.cancelled(reply, committed.applied, committed.repeated)
        return reply

    async def CancelOrders(
        self, request: messages.CancelOrdersRequest, context: Context
    ) -> messages.CancelOrdersResponse:
        committed = await self._calls.commit(parse.cancel_all(request), context)
        reply = messages.CancelOrdersResponse()
        present.cancelled_all(reply, committed.applied)
        return reply

    async def GetOrder(
        self, request: messages.GetOrderRequest, context: Context
    ) -> messages.GetOrderResponse:
        query = parse.order_query(request)
        if isinstance(query, EdgeReject):
            await refuse(context, query)
        found = await self._past.order(query, context)
        if found is None:
            await refuse(context, EdgeReject(RejectReason.ORDER_UNKNOWN, "order_id", query))
        reply = messages.GetOrderResponse(sequence=found.sequence)
        event_messages.order(reply.order, *found.order)
        return reply

    async def ListOrders(
        self, request: messages.ListOrdersRequest, context: Context
    ) -> messages.ListOrdersResponse:
        query = parse.orders_query(request)
        if isinstance(query, EdgeReject):
            await refuse(context, query)
        page = await self._past.orders(query, context)
        reply = messages.ListOrdersResponse(
            sequence=page.sequence, next_page_token=page.next_page_token
        )
        for order in page.orders:
            event_messages.order(reply.orders.add(), *order)
        return reply

    # A coroutine that reads and writes by itself: unlike an async generator's, its end is its own,
    # also where the call is cancelled in the middle of a write.
    async def TradingSession(  # type: ignore[override]
        self, request_iterator: AsyncIterator[messages.TradingSessionRequest], context: Context
    ) -> None:
        await self._sessions.serve(context)

    async def StreamOrderEvents(  # type: ignore[override]
        self, request: messages.StreamOrderEventsRequest, context: Context
    ) -> None:
        """Stream events: an unknown client has no orders yet; an unknown instrument is refused."""
        client_id, instrument = request.client_id, request.instrument
        if client_id and not is_id(client_id):
            reject = EdgeReject(RejectReason.ID_INVALID, "client_id", client_id, ID_PATTERN)
            await refuse(context, reject)
        if instrument and not self._feed.is_listed(instrument):
            unknown = EdgeReject(RejectReason.INSTRUMENT_UNKNOWN, "instrument", instrument)
            await refuse(context, unknown)
        after = request.after_sequence if request.HasField("after_sequence") else None
        await send(context, lambda peer: self._feed.read_orders(peer, client_id, instrument, after))
