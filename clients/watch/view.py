"""What is watched: one market as it is now, kept up to date by the streams of the client.

Three tasks feed it: the book (a mirror that repairs itself), trades, and with a client its order
events. Each goes on after every interruption (`clients.following`), so nothing is missing.

Trades and orders begin with a list, which the stream then continues. Both lists are read after the
sequence from which their stream is read, so what happens in between comes twice at most: a trade
that is known already is left out, and an order ends up as its newest event says.

Bounds: `TRADES_MAX` trades and `ORDERS_MAX` open orders are held, the newest; more than fit on any
screen, and little memory.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from clients.client import ExchangeClient
from clients.following import Interruption
from clients.mirror import BookMirror
from clients.types import Order, OrderEvent, OrderStatus, Side, Trade

TRADES_MAX = 200
ORDERS_MAX = 1_000
OPEN = (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED)


class Stream(StrEnum):
    """What may be interrupted by itself."""

    BOOK = "book"
    TRADES = "trades"
    ORDERS = "orders"


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order as far as it is shown."""

    order_id: str
    side: Side
    price: Decimal | None
    quantity: Decimal
    filled_quantity: Decimal
    status: OrderStatus


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A stream was lost and will be gone on with."""

    stream: Stream
    why: str


@dataclass(frozen=True, slots=True)
class Restored:
    """A stream that was lost goes on."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class Restarted:
    """A stream could not go on where it was: changes came unseen."""

    stream: Stream
    why: str


Change = BookMirror | Trade | OrderEvent | Interrupted | Restored | Restarted
"""What is told once it is in the view: a book brought up to date, a trade that is new, something
that happened to one of the client's orders, or what became of a stream."""


class View:
    """One market, and the open orders of one client."""

    def __init__(self, instrument: str, client_id: str, tell: Callable[[Change], None]) -> None:
        self.instrument = instrument
        self.client_id = client_id
        self.book = BookMirror(instrument)
        self.trades: deque[Trade] = deque(maxlen=TRADES_MAX)
        """The newest last."""
        self.orders: dict[str, OrderRow] = {}
        """Open ones, in the order in which they came."""
        self.interruptions: dict[Stream, Interrupted] = {}
        """The streams that are interrupted now."""
        self.restarts = 0
        """How often a stream could not go on where it was."""
        self._tell = tell

    async def follow(self, exchange: ExchangeClient) -> None:
        """Follow all streams until cancelled, or until the exchange refuses one of them."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow_book(exchange))
                tasks.create_task(self._follow_trades(exchange))
                if self.client_id:
                    tasks.create_task(self._follow_orders(exchange))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _follow_book(self, exchange: ExchangeClient) -> None:
        books = exchange.follow_book(
            self.instrument, on_interruption=self._interruption_of(Stream.BOOK)
        )
        async with aclosing(books):
            async for book in books:
                self.book = book
                self._alive(Stream.BOOK)
                if book.restarted:
                    self._afresh(Stream.BOOK, book.restarted)
                self._tell(book)

    async def _follow_trades(self, exchange: ExchangeClient) -> None:
        after = await self._sequence(exchange)
        newest: list[Trade] = []
        async for trade in exchange.trades(self.instrument, page_size=TRADES_MAX):
            newest.append(trade)
            if len(newest) == TRADES_MAX:
                break
        for trade in reversed(newest):
            self._take_trade(trade)
        messages = exchange.follow_trades(
            self.instrument, after, on_interruption=self._interruption_of(Stream.TRADES)
        )
        async with aclosing(messages):
            async for message in messages:
                self._alive(Stream.TRADES)
                if message.restarted:
                    if self.trades and message.sequence < self.trades[-1].sequence:
                        # They are of an exchange that is no more: one restored, or begun anew.
                        self.trades.clear()
                    self._afresh(Stream.TRADES, "trades lie too far back to be sent again")
                for trade in message.trades:
                    self._take_trade(trade)

    async def _follow_orders(self, exchange: ExchangeClient) -> None:
        after = await self._sequence(exchange)
        await self._list_orders(exchange)
        messages = exchange.follow_order_events(
            client_id=self.client_id,
            instrument=self.instrument,
            after_sequence=after,
            on_interruption=self._interruption_of(Stream.ORDERS),
        )
        async with aclosing(messages):
            async for message in messages:
                self._alive(Stream.ORDERS)
                if message.restarted:
                    await self._list_orders(exchange)
                    self._afresh(Stream.ORDERS, "events lie too far back to be sent again")
                for event in message.events:
                    self._take_order(_row_of_event(event, self.orders.get(event.order_id)))
                    self._tell(event)

    async def _sequence(self, exchange: ExchangeClient) -> int:
        return (await exchange.book(self.instrument, 1)).sequence

    async def _list_orders(self, exchange: ExchangeClient) -> None:
        newest: list[Order] = []
        orders = exchange.orders(
            client_id=self.client_id,
            instrument=self.instrument,
            working=True,
            page_size=ORDERS_MAX,
        )
        async for order in orders:
            newest.append(order)
            if len(newest) == ORDERS_MAX:
                break
        self.orders.clear()
        for order in reversed(newest):
            self._take_order(_row_of(order))

    def _take_trade(self, trade: Trade) -> None:
        if self.trades and place_of(trade) <= place_of(self.trades[-1]):
            return
        self.trades.append(trade)
        self._tell(trade)

    def _take_order(self, row: OrderRow) -> None:
        if row.status not in OPEN:
            self.orders.pop(row.order_id, None)
            return
        self.orders[row.order_id] = row
        if len(self.orders) > ORDERS_MAX:
            del self.orders[next(iter(self.orders))]

    def _interruption_of(self, stream: Stream) -> Callable[[Interruption], None]:
        def interrupted(interruption: Interruption) -> None:
            self.interruptions[stream] = Interrupted(stream, str(interruption.error))
            self._tell(self.interruptions[stream])

        return interrupted

    def _alive(self, stream: Stream) -> None:
        if self.interruptions.pop(stream, None) is not None:
            self._tell(Restored(stream))

    def _afresh(self, stream: Stream, why: str) -> None:
        self.restarts += 1
        self._tell(Restarted(stream, why))


def place_of(trade: Trade) -> tuple[int, int]:
    """Where a trade stands among all events."""
    return trade.sequence, trade.index


def _row_of(order: Order) -> OrderRow:
    return OrderRow(
        order.order_id,
        order.side,
        order.price,
        order.quantity,
        order.filled_quantity,
        order.status,
    )


def _row_of_event(event: OrderEvent, known: OrderRow | None) -> OrderRow:
    if event.order is not None:
        return _row_of(event.order)
    # A fill tells no total; what is neither filled nor remaining was taken off before.
    quantity = known.quantity if known else event.filled_quantity + event.remaining_quantity
    return OrderRow(
        event.order_id, event.side, event.price, quantity, event.filled_quantity, event.status
    )
