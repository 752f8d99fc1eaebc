"""The exchange over gRPC: typed values in and out, retries that are safe.

    async with ExchangeClient("127.0.0.1:50051") as exchange:
        placed = await exchange.place(
            PlaceOrder("alice", "BTC-USD", "buy", quantity="0.25", price="70150.5")
        )

The address is that of the server or of the HTTP gateway, which passes gRPC through. A place, and a
replace or cancel that names its client, gets an idempotency key if it has none, so that it can be
repeated after a lost answer (`clients.retries` says when). Every answer is durable when it comes.

There are two kinds of streams, all async generators. `follow_…` goes on after every interruption,
with nothing missing and nothing twice, and says when that was not possible (`clients.following`);
`follow_book` gives a book that is kept right (`clients.mirror`). `stream_…` is one stream and ends
with it: each message has the sequence to resume from and the one before, by which a reader knows
that nothing is missing. Close one that is left early, e.g. with `contextlib.aclosing`.
"""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Self

from clients import ADDRESS, market_wire, order_wire
from clients.connection import CONNECT_S, Connection
from clients.decimals import Number, e6_of
from clients.errors import RefusedError
from clients.fields import FieldInvalidError
from clients.following import (
    BookMessagesPosition,
    BookPosition,
    NewestPosition,
    OnInterruption,
    followed,
    order_events_position,
    trades_position,
)
from clients.messages import built
from clients.mirror import BookMirror
from clients.requests import (
    CancelOrder,
    CancelOrders,
    PlaceOrder,
    ReplaceOrder,
    SetInstrument,
    keyed,
)
from clients.retries import Retries
from clients.session import TradingSession
from clients.types import (
    Analytics,
    Book,
    BookMessage,
    Cancelled,
    CancelledAll,
    FeeAccount,
    Instrument,
    Order,
    OrderEventsMessage,
    OrderStatus,
    Part,
    Placed,
    Position,
    Replaced,
    Settlement,
    Side,
    Snapshot,
    Statistics,
    Status,
    Ticker,
    Trade,
    TradesMessage,
)
from clients.words import SIDES, STATUSES
from exchange.v1 import account_service_pb2 as accounts_pb2
from exchange.v1 import admin_service_pb2 as admin_pb2
from exchange.v1 import market_data_pb2 as market_pb2
from exchange.v1 import order_service_pb2 as orders_pb2
from exchange.v1 import part_service_pb2 as parts_pb2
from exchange.v1.account_service_pb2_grpc import AccountServiceStub
from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
from exchange.v1.market_data_pb2_grpc import MarketDataStub
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
from exchange.v1.part_service_pb2_grpc import PartServiceStub

SNAPSHOT_S = 30.0  # the exchange's longest deadline: a snapshot of a large state is waited for


class ExchangeClient:
    """One connection to the exchange; use with `async with`, in one event loop."""

    def __init__(self, address: str = ADDRESS, *, retries: Retries | None = None) -> None:
        self.address = address
        self.retries = retries or Retries()
        self._open: Connection | None = None

    async def __aenter__(self) -> Self:
        if self._open is not None:
            raise RuntimeError("this client is open already; open another one")
        self._open = Connection(self.address, self.retries)
        channel = self._open.channel
        self._orders = OrderServiceStub(channel)
        self._market = MarketDataStub(channel)
        self._accounts = AccountServiceStub(channel)
        self._admin = AdminServiceStub(channel)
        self._parts = PartServiceStub(channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        connection, self._open = self._connection, None
        # Each holds the channel, which a process that is forked later could not live with.
        del self._orders, self._market, self._accounts, self._admin, self._parts
        await connection.close()

    @property
    def _connection(self) -> Connection:
        if self._open is None:
            raise RuntimeError("this client is not open: use it within `async with`")
        return self._open

    async def connect(self, timeout_s: float = CONNECT_S) -> None:
        """Connects now, or raises UnavailableError; without it the first call connects."""
        await self._connection.connect(timeout_s)

    # Orders.

    async def place(self, order: PlaceOrder) -> Placed:
        """Places an order; raises RefusedError where the exchange does not take it."""
        order = keyed(order)
        message = order_wire.place_message(order)
        return order_wire.placed_of(
            await self._connection.command(self._orders.PlaceOrder, message, order)
        )

    async def place_many(self, orders: Sequence[PlaceOrder]) -> list[Placed | RefusedError]:
        """Places up to 1,000 orders in this order, each with an outcome of its own."""
        orders = [keyed(order) for order in orders]
        try:
            message = orders_pb2.PlaceOrdersRequest(orders=map(order_wire.place_message, orders))
        except FieldInvalidError as error:
            raise order_wire.which_of(orders, "orders", error) from None
        reply = await self._connection.command(self._orders.PlaceOrders, message, orders)
        return [order_wire.place_outcome_of(outcome) for outcome in reply.outcomes]

    async def replace(self, change: ReplaceOrder) -> Replaced:
        """Changes an open order; refused, the old order stands."""
        change = keyed(change)
        message = order_wire.replace_message(change)
        reply = await self._connection.command(self._orders.ReplaceOrder, message, change)
        return order_wire.replaced_of(reply)

    async def cancel(self, cancel: CancelOrder) -> Cancelled:
        """Ends an open order."""
        cancel = keyed(cancel)
        message = order_wire.cancel_message(cancel)
        reply = await self._connection.command(self._orders.CancelOrder, message, cancel)
        return order_wire.cancelled_of(reply)

    async def cancel_all(self, cancel: CancelOrders) -> CancelledAll:
        """Ends all open orders of a client; it has no key, so a lost answer is not asked again."""
        message = order_wire.cancel_all_message(cancel)
        reply = await self._connection.command(self._orders.CancelOrders, message, cancel)
        return order_wire.cancelled_all_of(reply)

    async def order(self, order_id: str) -> Order:
        """The newest order that had this id: open, remembered, or in the exchange's PostgreSQL."""
        reply = await self._connection.read(
            self._orders.GetOrder, built(orders_pb2.GetOrderRequest, order_id=order_id)
        )
        return order_wire.order_of(reply.order)

    async def orders(
        self,
        *,
        client_id: str = "",
        instrument: str = "",
        side: Side | str | None = None,
        status: OrderStatus | str | None = None,
        working: bool = False,
        page_size: int = 100,
    ) -> AsyncGenerator[Order, None]:
        """Orders that pass every filter, newest first, a page asked for at a time; `working` are
        those in the book, open or partially filled."""
        request = built(
            orders_pb2.ListOrdersRequest,
            client_id=client_id,
            instrument=instrument,
            side=SIDES.name(side),
            status=STATUSES.name(status),
            working=working,
            page_size=page_size,
        )
        while True:
            page = await self._connection.read(self._orders.ListOrders, request)
            for order in page.orders:
                yield order_wire.order_of(order)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def trading_session(
        self, *, client_id: str = "", cancel_on_disconnect: bool = False
    ) -> TradingSession:
        """A two-way stream of commands and outcomes: `async with` opens it."""
        connection = self._connection
        return TradingSession(
            self._orders.TradingSession,
            connection,
            client_id=client_id,
            cancel_on_disconnect=cancel_on_disconnect,
        )

    # The market.

    async def instruments(self) -> list[Instrument]:
        """Gives the instruments that can be traded."""
        reply = await self._connection.read(
            self._market.ListInstruments, market_pb2.ListInstrumentsRequest()
        )
        return [market_wire.instrument_of(instrument) for instrument in reply.instruments]

    async def book(self, instrument: str, levels: int = 20) -> Book:
        """Gives the best levels of one book."""
        request = built(market_pb2.GetOrderBookRequest, instrument=instrument, levels=levels)
        reply = await self._connection.read(self._market.GetOrderBook, request)
        return market_wire.book_of(reply.book)

    async def books(self, instruments: Sequence[str], levels: int = 20) -> list[Book]:
        """Gives up to 100 books, all at one sequence."""
        request = market_pb2.GetOrderBooksRequest(
            requests=[
                built(market_pb2.GetOrderBookRequest, instrument=instrument, levels=levels)
                for instrument in instruments
            ]
        )
        reply = await self._connection.read(self._market.GetOrderBooks, request)
        return [market_wire.book_of(book) for book in reply.books]

    async def trades(
        self, instrument: str, page_size: int = 50, *, client_id: str = ""
    ) -> AsyncGenerator[Trade, None]:
        """The trades of an instrument, or a client's own in it, newest first, as far back as the
        exchange lists them."""
        request = built(
            market_pb2.ListTradesRequest,
            instrument=instrument,
            page_size=page_size,
            client_id=client_id,
        )
        while True:
            page = await self._connection.read(self._market.ListTrades, request)
            for trade in page.trades:
                yield order_wire.trade_of(trade)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def ticker(self, instrument: str) -> Ticker:
        """Last price, best bid and ask, and the last 24 hours."""
        request = built(market_pb2.GetTickerRequest, instrument=instrument)
        reply = await self._connection.read(self._market.GetTicker, request)
        return market_wire.ticker_of(reply.ticker)

    async def statistics(self, instrument: str) -> Statistics:
        """Orders, trades, depth and rates of one market."""
        request = built(market_pb2.GetStatisticsRequest, instrument=instrument)
        reply = await self._connection.read(self._market.GetStatistics, request)
        return market_wire.statistics_of(reply)

    async def analytics(
        self,
        instrument: str,
        *,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        interval_minutes: int = 1,
        include_empty: bool = False,
    ) -> Analytics:
        """Trades by interval of 1 to 1,440 minutes; the last 24 hours by default."""
        request = built(
            market_pb2.GetAnalyticsRequest,
            instrument=instrument,
            start_time_ns=market_wire.time_ns_of(start_time, "start_time"),
            end_time_ns=market_wire.time_ns_of(end_time, "end_time"),
            interval_minutes=interval_minutes,
            include_empty=include_empty,
        )
        reply = await self._connection.read(self._market.GetAnalytics, request)
        return market_wire.analytics_of(reply)

    # Accounts and the server.

    async def positions(self, client_id: str) -> list[Position]:
        """What a client holds; an unknown client holds nothing."""
        request = built(accounts_pb2.ListPositionsRequest, client_id=client_id)
        reply = await self._connection.read(self._accounts.ListPositions, request)
        return [market_wire.position_of(position) for position in reply.positions]

    async def fee_accounts(self) -> list[FeeAccount]:
        """What the exchange has earned in fees, by currency."""
        reply = await self._connection.read(
            self._accounts.ListFeeAccounts, accounts_pb2.ListFeeAccountsRequest()
        )
        return [market_wire.fee_account_of(account) for account in reply.accounts]

    async def parts(self) -> list[Part]:
        """How PostgreSQL, Kafka and Redis beside the exchange are."""
        reply = await self._connection.read(self._parts.ListParts, parts_pb2.ListPartsRequest())
        return [market_wire.part_of(part) for part in reply.parts]

    async def status(self) -> Status:
        """Asks the server how it is."""
        reply = await self._connection.read(self._admin.GetStatus, admin_pb2.GetStatusRequest())
        return market_wire.status_of(reply)

    async def set_instrument(self, change: SetInstrument) -> Instrument:
        """Lists an instrument or changes one."""
        request = market_wire.set_instrument_message(change)
        # To set the same again changes nothing.
        reply = await self._connection.read(self._admin.SetInstrument, request)
        return market_wire.instrument_of(reply.instrument)

    async def set_fees(
        self, instrument: str, maker: Number | None = None, taker: Number | None = None
    ) -> Instrument:
        """Changes the fees of an instrument, parts of the notional; one not given stays."""
        request = built(
            admin_pb2.SetFeesRequest,
            instrument=instrument,
            maker_fee_e6=None if maker is None else e6_of(maker, "maker"),
            taker_fee_e6=None if taker is None else e6_of(taker, "taker"),
        )
        # To set the same again changes nothing.
        reply = await self._connection.read(self._admin.SetFees, request)
        return market_wire.instrument_of(reply.instrument)

    async def set_log_level(self, level: str) -> str:
        """Changes how much the server tells in its lines: the level that was in force before."""
        request = built(admin_pb2.SetLogLevelRequest, level=level)
        return (await self._connection.read(self._admin.SetLogLevel, request)).previous_level

    async def remove_follower(self, name: str) -> int:
        """Has the journal no longer kept for a follower that is gone: its last position."""
        request = built(admin_pb2.RemoveFollowerRequest, follower=name)
        return (await self._connection.read(self._admin.RemoveFollower, request)).sequence

    async def create_snapshot(self) -> Snapshot:
        """Has a snapshot written that holds everything durable now, and waits for it."""
        reply = await self._connection.read(
            self._admin.CreateSnapshot, admin_pb2.CreateSnapshotRequest(), attempt_s=SNAPSHOT_S
        )
        return market_wire.snapshot_of(reply)

    async def settle(self, date: str) -> Settlement:
        """Settles a day (UTC, YYYY-MM-DD) that is over; the same again for one that is settled."""
        request = built(admin_pb2.SettleDayRequest, date=date)
        call = self._connection.stream(self._admin.SettleDay, request, lambda message: message)
        async with contextlib.aclosing(call) as messages:
            return market_wire.settlement_of([message async for message in messages])

    # Streams.

    def stream_book(
        self, instrument: str, after_sequence: int | None = None
    ) -> AsyncGenerator[BookMessage, None]:
        """A snapshot, then deltas; a slow reader gets several deltas as one."""
        request = built(
            market_pb2.StreamOrderBookRequest, instrument=instrument, after_sequence=after_sequence
        )
        return self._connection.stream(
            self._market.StreamOrderBook, request, market_wire.book_message_of
        )

    def stream_ticker(self, instrument: str) -> AsyncGenerator[Ticker, None]:
        """The ticker whenever it changes; a slow reader gets the newest one only."""
        request = built(market_pb2.StreamTickerRequest, instrument=instrument)
        return self._connection.stream(
            self._market.StreamTicker,
            request,
            lambda message: market_wire.ticker_of(message.ticker),
        )

    def stream_trades(
        self, instrument: str = "", after_sequence: int | None = None
    ) -> AsyncGenerator[TradesMessage, None]:
        """Trades from now, or from a sequence on; a slow reader is cut and resumes."""
        request = built(
            market_pb2.StreamTradesRequest, instrument=instrument, after_sequence=after_sequence
        )
        return self._connection.stream(
            self._market.StreamTrades, request, market_wire.trades_message_of
        )

    def stream_order_events(
        self, *, client_id: str = "", instrument: str = "", after_sequence: int | None = None
    ) -> AsyncGenerator[OrderEventsMessage, None]:
        """What happens to orders, from now or from a sequence on; a slow reader is cut."""
        request = built(
            orders_pb2.StreamOrderEventsRequest,
            client_id=client_id,
            instrument=instrument,
            after_sequence=after_sequence,
        )
        return self._connection.stream(
            self._orders.StreamOrderEvents, request, order_wire.order_events_of
        )

    # Streams that are gone on with.

    def follow_book(
        self, instrument: str, *, on_interruption: OnInterruption | None = None
    ) -> AsyncGenerator[BookMirror, None]:
        """The book, always the same object, each time it has been brought up to date."""
        return followed(
            lambda after: self._book_messages(instrument, after),
            BookPosition(instrument),
            self.retries,
            on_interruption,
        )

    def follow_book_messages(
        self, instrument: str, *, on_interruption: OnInterruption | None = None
    ) -> AsyncGenerator[tuple[BookMirror, market_pb2.StreamOrderBookResponse], None]:
        """Gives the copy with the message that brought it up to date: for who passes changes on."""
        return followed(
            lambda after: self._book_messages(instrument, after),
            BookMessagesPosition(instrument),
            self.retries,
            on_interruption,
        )

    def _book_messages(
        self, instrument: str, after_sequence: int | None
    ) -> AsyncGenerator[market_pb2.StreamOrderBookResponse, None]:
        request = built(
            market_pb2.StreamOrderBookRequest, instrument=instrument, after_sequence=after_sequence
        )
        return self._connection.stream(
            self._market.StreamOrderBook, request, lambda message: message
        )

    def follow_ticker(
        self, instrument: str, *, on_interruption: OnInterruption | None = None
    ) -> AsyncGenerator[Ticker, None]:
        """The newest ticker, again after each interruption."""
        return followed(
            lambda _: self.stream_ticker(instrument),
            NewestPosition[Ticker](),
            self.retries,
            on_interruption,
        )

    def follow_trades(
        self,
        instrument: str = "",
        after_sequence: int | None = None,
        *,
        on_interruption: OnInterruption | None = None,
    ) -> AsyncGenerator[TradesMessage, None]:
        """Every trade from now, or from a sequence on, across interruptions.

        A sequence that the exchange has not given out raises RefusedError (CURSOR_INVALID). Where
        it lies too far back, the first message says `restarted`: what came before was left out.
        """
        position = trades_position(after_sequence)
        opened = position.proven(lambda after: self.stream_trades(instrument, after))
        return followed(opened, position, self.retries, on_interruption)

    def follow_order_events(
        self,
        *,
        client_id: str = "",
        instrument: str = "",
        after_sequence: int | None = None,
        on_interruption: OnInterruption | None = None,
    ) -> AsyncGenerator[OrderEventsMessage, None]:
        """Everything that happens to orders from now, or from a sequence on, as `follow_trades`."""
        position = order_events_position(after_sequence)
        opened = position.proven(
            lambda after: self.stream_order_events(
                client_id=client_id, instrument=instrument, after_sequence=after
            )
        )
        return followed(opened, position, self.retries, on_interruption)
