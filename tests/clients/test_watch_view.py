"""What the view of `exchange watch` makes of what it is told, and how little it shows."""

import asyncio
from collections.abc import AsyncGenerator
from decimal import Decimal
from types import SimpleNamespace
from typing import cast

from clients.client import ExchangeClient
from clients.order_wire import order_of
from clients.types import Book, Order, OrderEvent, OrderEventsMessage, OrderStatus, Side
from clients.watch.view import Change, OrderRow, Restarted, View, _row_of_event
from exchange.v1 import types_pb2
from tests.clients.book_messages import E8, BookServer
from tests.clients.test_commands_watch import BTC, START, shown


class OrdersMissed:
    """An exchange that can't tell what happened to an order, and lists another one since."""

    listed = 0

    async def book(self, instrument: str, _levels: int) -> Book:
        return Book(instrument, (), (), 9, START)

    async def orders(self, **_: object) -> AsyncGenerator[Order, None]:
        self.listed += 1
        order = types_pb2.Order(order_id=f"o-{self.listed}")
        for field in ("side", "type", "time_in_force", "self_trade_prevention", "status"):
            setattr(order, field, 1)
        yield order_of(order)

    async def follow_order_events(self, **_: object) -> AsyncGenerator[OrderEventsMessage, None]:
        yield OrderEventsMessage(20, 20, (), restarted=True)


def test_orders_are_listed_again_where_their_events_are_not_to_be_had() -> None:
    told: list[Change] = []
    view = View(BTC, "alice", told.append)
    asyncio.run(view._follow_orders(cast("ExchangeClient", OrdersMissed())))
    assert list(view.orders) == ["o-2"]
    assert [type(each) for each in told] == [Restarted]


def test_an_order_keeps_its_quantity_though_some_of_it_was_taken_off() -> None:
    """A fill tells of what is filled and what remains."""
    fill = SimpleNamespace(
        order=None,
        order_id="o",
        side=Side.BUY,
        price=Decimal(99),
        filled_quantity=Decimal(1),
        remaining_quantity=Decimal(5),
        status=OrderStatus.PARTIALLY_FILLED,
    )
    known = OrderRow("o", Side.BUY, Decimal(99), Decimal(10), Decimal(0), OrderStatus.OPEN)
    for row, quantity in ((known, 10), (None, 6)):
        assert _row_of_event(cast("OrderEvent", fill), row).quantity == quantity


def test_the_least_quantity_has_a_bar_too() -> None:
    view, book = View(BTC, "", lambda _: None), BookServer()
    book.change(1, bids={100 * E8: 1_000 * E8, 99 * E8: 1})
    view.book.take(book.snapshot())
    (line,) = (line for line in shown(view, 60, 20) if line.split()[:1] == ["99"])
    assert line.split() == ["99", "0.00000001", "#"]
