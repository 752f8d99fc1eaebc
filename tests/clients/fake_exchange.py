"""An exchange that matches nothing: for what a client must do when calls fail.

It accepts every place as an open order, answers a repeated key with the first outcome, and does
before that what a test has put into `faults`: each call takes the first one off the list.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from exchange.v1 import market_data_pb2 as market_pb2
from exchange.v1 import order_service_pb2 as orders_pb2
from exchange.v1 import types_pb2
from exchange.v1.market_data_pb2_grpc import MarketDataServicer, add_MarketDataServicer_to_server
from exchange.v1.order_service_pb2_grpc import (
    OrderServiceServicer,
    add_OrderServiceServicer_to_server,
)
from tests.clients.faults import Context, Fault, hang, refuse
from tests.running import free_port

CREATED_NS = 1_704_067_200_123_456_789


class FakeOrders(OrderServiceServicer):
    """Accepts and remembers."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        """Before the request is applied."""
        self.losses: list[Fault] = []
        """After it is applied, so that its answer is lost."""
        self.requests: list[Any] = []
        self.orders: list[types_pb2.Order] = []
        self.trades: list[types_pb2.Trade] = []
        """Of every place."""
        self.outcomes: dict[tuple[str, str], orders_pb2.PlaceOrderResponse] = {}
        self.sessions: list[orders_pb2.TradingSessionOpen] = []
        self.sessions_ended = 0
        self.session_ended = asyncio.Event()
        self.session: Callable[[FakeOrders, Context], Awaitable[None]] = answer_in_order

    async def _arrive(self, request: Any, context: Context) -> None:
        self.requests.append(request)
        if self.faults:
            await self.faults.pop(0)(context)

    async def _lose(self, context: Context) -> None:
        if self.losses:
            await self.losses.pop(0)(context)

    def placed(self, request: orders_pb2.PlaceOrderRequest) -> orders_pb2.PlaceOrderResponse:
        name = (request.client_id, request.idempotency_key)
        if request.idempotency_key and name in self.outcomes:
            first = orders_pb2.PlaceOrderResponse()
            first.CopyFrom(self.outcomes[name])
            first.repeated = True
            return first
        sequence = len(self.orders) + 1
        order = types_pb2.Order(
            order_id=request.order_id or f"x-{sequence}",
            client_id=request.client_id,
            instrument=request.instrument,
            side=request.side,
            type=request.type,
            time_in_force="TIME_IN_FORCE_GOOD_TILL_CANCEL",
            self_trade_prevention="SELF_TRADE_PREVENTION_NONE",
            price_e8=request.price_e8,
            quantity_e8=request.quantity_e8,
            remaining_quantity_e8=request.quantity_e8,
            status="ORDER_STATUS_OPEN",
            placed_sequence=sequence,
            created_time_ns=CREATED_NS,
            updated_time_ns=CREATED_NS,
        )
        self.orders.append(order)
        self.outcomes[name] = orders_pb2.PlaceOrderResponse(
            order=order, trades=self.trades, trade_count=len(self.trades), sequence=sequence
        )
        return self.outcomes[name]

    async def PlaceOrder(
        self, request: orders_pb2.PlaceOrderRequest, context: Context
    ) -> orders_pb2.PlaceOrderResponse:
        await self._arrive(request, context)
        placed = self.placed(request)
        await self._lose(context)
        return placed

    async def PlaceOrders(
        self, request: orders_pb2.PlaceOrdersRequest, context: Context
    ) -> orders_pb2.PlaceOrdersResponse:
        await self._arrive(request, context)
        reply = orders_pb2.PlaceOrdersResponse()
        for order in request.orders:
            if order.instrument == "NO-SUCH":
                reply.outcomes.add().refused.CopyFrom(unknown_instrument())
            else:
                reply.outcomes.add().placed.CopyFrom(self.placed(order))
        await self._lose(context)
        return reply

    async def ReplaceOrder(
        self, request: orders_pb2.ReplaceOrderRequest, context: Context
    ) -> orders_pb2.ReplaceOrderResponse:
        await self._arrive(request, context)
        return orders_pb2.ReplaceOrderResponse(order=self._ended(request.order_id), sequence=2)

    async def CancelOrder(
        self, request: orders_pb2.CancelOrderRequest, context: Context
    ) -> orders_pb2.CancelOrderResponse:
        await self._arrive(request, context)
        await self._lose(context)
        return orders_pb2.CancelOrderResponse(order=self._ended(request.order_id), sequence=2)

    async def CancelOrders(
        self, request: orders_pb2.CancelOrdersRequest, context: Context
    ) -> orders_pb2.CancelOrdersResponse:
        await self._arrive(request, context)
        await self._lose(context)
        return orders_pb2.CancelOrdersResponse(
            orders=[self._ended("a")], cancelled_count=1, sequence=2
        )

    async def GetOrder(
        self, request: orders_pb2.GetOrderRequest, context: Context
    ) -> orders_pb2.GetOrderResponse:
        await self._arrive(request, context)
        return orders_pb2.GetOrderResponse(order=self._ended(request.order_id), sequence=2)

    async def ListOrders(
        self, request: orders_pb2.ListOrdersRequest, context: Context
    ) -> orders_pb2.ListOrdersResponse:
        copy = orders_pb2.ListOrdersRequest()
        copy.CopyFrom(request)
        await self._arrive(copy, context)
        start = int(request.page_token or 0)
        end = start + request.page_size
        return orders_pb2.ListOrdersResponse(
            orders=list(reversed(self.orders))[start:end],
            next_page_token=str(end) if end < len(self.orders) else "",
        )

    def _ended(self, order_id: str) -> types_pb2.Order:
        ended = types_pb2.Order()
        ended.CopyFrom(
            self.placed(
                orders_pb2.PlaceOrderRequest(
                    client_id="alice",
                    instrument="BTC-USD",
                    side="SIDE_BUY",
                    type="ORDER_TYPE_LIMIT",
                    order_id=order_id,
                    price_e8=100,
                    quantity_e8=100,
                )
            ).order
        )
        ended.status = types_pb2.ORDER_STATUS_CANCELLED
        ended.end_reason = types_pb2.END_REASON_CANCEL_REQUESTED
        return ended

    async def TradingSession(  # type: ignore[override]  # reads and writes by the context
        self, request_iterator: object, context: Context
    ) -> None:
        first = await context.read()
        self.sessions.append(first.open)
        try:
            await self.session(self, context)
        finally:
            self.sessions_ended += 1
            self.session_ended.set()

    async def StreamOrderEvents(
        self, request: orders_pb2.StreamOrderEventsRequest, context: Context
    ) -> AsyncIterator[orders_pb2.StreamOrderEventsResponse]:
        await self._arrive(request, context)
        order = self._ended("a")
        message = orders_pb2.StreamOrderEventsResponse(sequence=9, previous_sequence=8)
        message.events.add(
            sequence=9, kind="ORDER_EVENT_KIND_CANCELLED", order=order, change_e8=100
        )
        filled = types_pb2.Order(
            order_id="b", side="SIDE_SELL", status="ORDER_STATUS_FILLED", filled_quantity_e8=50
        )
        message.events.add(
            sequence=9, index=1, kind="ORDER_EVENT_KIND_FILLED", order=filled, trade=a_trade()
        )
        yield message
        await self._lose(context)


def unknown_instrument() -> types_pb2.Refusal:
    return types_pb2.Refusal(
        reason="REJECT_REASON_INSTRUMENT_UNKNOWN",
        code=5,
        message="instrument NO-SUCH is not listed",
        field="instrument",
    )


def a_trade() -> types_pb2.Trade:
    return types_pb2.Trade(
        trade_id="T9-1",
        sequence=9,
        index=1,
        time_ns=CREATED_NS,
        instrument="BTC-USD",
        price_e8=7_015_050_000_000,
        quantity_e8=50,
        aggressor_side="SIDE_BUY",
        maker_order_id="b",
        taker_order_id="a",
        maker_fee="-0.0000000001",
        taker_fee="0.5",
    )


def outcome_of(fake: FakeOrders, command: orders_pb2.SessionCommand) -> orders_pb2.SessionOutcome:
    outcome = orders_pb2.SessionOutcome(request_id=command.request_id)
    if command.place.instrument == "NO-SUCH":
        outcome.refused.CopyFrom(unknown_instrument())
    elif command.WhichOneof("command") == "place":
        outcome.placed.CopyFrom(fake.placed(command.place))
    elif command.WhichOneof("command") == "cancel":
        outcome.cancelled.order.CopyFrom(fake._ended(command.cancel.order_id))
    elif command.WhichOneof("command") == "replace":
        outcome.replaced.order.CopyFrom(fake._ended(command.replace.order_id))
    else:
        outcome.cancelled_all.cancelled_count = 3
    return outcome


async def opened(context: Context) -> None:
    answer = orders_pb2.TradingSessionResponse()
    answer.opened.session_id = 7
    answer.opened.sequence = 41
    await context.write(answer)


async def messages(context: Context) -> AsyncIterator[orders_pb2.TradingSessionRequest]:
    while isinstance(message := await context.read(), orders_pb2.TradingSessionRequest):
        yield message


async def answer_in_order(fake: FakeOrders, context: Context) -> None:
    """One answer for each message."""
    await opened(context)
    async for message in messages(context):
        fake.requests.append(message)
        outcomes = [outcome_of(fake, command) for command in message.commands]
        await context.write(orders_pb2.TradingSessionResponse(outcomes=outcomes))


class FakeMarket(MarketDataServicer):
    """One small market."""

    def __init__(self) -> None:
        self.trades = [a_trade() for _ in range(5)]
        self.faults: list[Fault] = []

    async def GetOrderBook(
        self, request: market_pb2.GetOrderBookRequest, context: Context
    ) -> market_pb2.GetOrderBookResponse:
        if self.faults:
            await self.faults.pop(0)(context)
        if request.instrument != "BTC-USD":
            await refuse(grpc.StatusCode.NOT_FOUND, "INSTRUMENT_UNKNOWN", "not listed")(context)
        book = market_pb2.OrderBook(instrument="BTC-USD", sequence=9, time_ns=CREATED_NS)
        book.bids.add(price_e8=9_900_000_000, quantity_e8=125_000_000)
        book.asks.add(price_e8=10_100_000_000, quantity_e8=1)
        book.asks.add(price_e8=10_200_000_000, quantity_e8=200_000_000)
        return market_pb2.GetOrderBookResponse(book=book)

    async def GetOrderBooks(
        self, request: market_pb2.GetOrderBooksRequest, context: Context
    ) -> market_pb2.GetOrderBooksResponse:
        replies = [await self.GetOrderBook(one, context) for one in request.requests]
        return market_pb2.GetOrderBooksResponse(books=[reply.book for reply in replies])

    async def ListInstruments(
        self, request: market_pb2.ListInstrumentsRequest, context: Context
    ) -> market_pb2.ListInstrumentsResponse:
        reply = market_pb2.ListInstrumentsResponse()
        reply.instruments.add(
            name="BTC-USD",
            tick_e8=1,
            lot_e8=1,
            price_min_e8=1,
            price_max_e8=2**63 - 1,
            quantity_min_e8=1,
            quantity_max_e8=2**63 - 1,
            maker_fee_e6=-100,
            taker_fee_e6=250,
            self_trade_prevention="SELF_TRADE_PREVENTION_NONE",
        )
        return reply

    async def GetTicker(
        self, request: market_pb2.GetTickerRequest, context: Context
    ) -> market_pb2.GetTickerResponse:
        ticker = market_pb2.Ticker(instrument=request.instrument, volume="0", notional="0")
        ticker.ask.price_e8 = 100
        return market_pb2.GetTickerResponse(ticker=ticker)

    async def ListTrades(
        self, request: market_pb2.ListTradesRequest, context: Context
    ) -> market_pb2.ListTradesResponse:
        start = int(request.page_token or 0)
        end = start + request.page_size
        trades = [
            trade
            for trade in self.trades
            if request.client_id in ("", trade.maker_client_id, trade.taker_client_id)
        ]
        return market_pb2.ListTradesResponse(
            trades=trades[start:end], next_page_token=str(end) if end < len(trades) else ""
        )

    async def StreamOrderBook(
        self, request: market_pb2.StreamOrderBookRequest, context: Context
    ) -> AsyncIterator[market_pb2.StreamOrderBookResponse]:
        message = market_pb2.StreamOrderBookResponse(
            sequence=9, previous_sequence=9, time_ns=CREATED_NS, snapshot=True, checksum=1
        )
        message.bids.add(price_e8=9_900_000_000, quantity_e8=125_000_000)
        yield message
        if self.faults:
            await self.faults.pop(0)(context)

    async def StreamTrades(
        self, request: market_pb2.StreamTradesRequest, context: Context
    ) -> AsyncIterator[market_pb2.StreamTradesResponse]:
        after = request.after_sequence if request.HasField("after_sequence") else 8
        yield market_pb2.StreamTradesResponse(
            sequence=9, previous_sequence=after, trades=self.trades
        )
        await hang(context)


class FakeExchange:
    """The fake services at an address."""

    def __init__(self) -> None:
        self.orders = FakeOrders()
        self.market = FakeMarket()  # type: ignore[abstract]  # the rest answers UNIMPLEMENTED
        self.port = free_port()
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """On a free port; after a stop on the same one, which no client that tries to get back was
        given for its own end."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        add_OrderServiceServicer_to_server(self.orders, self._server)
        add_MarketDataServicer_to_server(self.market, self._server)
        self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        """At once, cutting what is under way."""
        if self._server is not None:
            await self._server.stop(None)


@asynccontextmanager
async def fake_exchange() -> AsyncIterator[FakeExchange]:
    fake = FakeExchange()
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()
