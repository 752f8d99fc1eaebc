"""What a client is told of an order that the channel knew nothing of: it is read."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import pytest

from clients.types import Order, OrderEventsMessage, OrderStatus
from gateway.websocket.event_channels import OrdersChannel
from tests.gateway.test_websocket_channels import (
    INSTRUMENT,
    SECONDS,
    Exchange,
    begun,
    order,
    run,
    told,
    wired,
)


@pytest.mark.parametrize(
    ("read", "known"),
    [
        (order(9, price=2, quantity=Decimal(18), cancelled_quantity=Decimal(8)), {"type"}),
        # By a command of the same record, which has the same stamp.
        (order(5, status=OrderStatus.CANCELLED, cancelled_quantity=Decimal(9)), {"type"}),
        # Whose quantity was replaced; then it was what the fill says.
        (order(5, quantity=Decimal(12)), {"type", "quantity", "cancelled_quantity"}),
        # By the fill after this one only.
        (order(9), {"type", "quantity", "cancelled_quantity"}),
        # By another order, to which the id has come since.
        (order(9, placed_sequence=9), set()),
    ],
)
def test_past_fill_has_no_later_fields(read: Order, known: set[str]) -> None:
    """The order was placed before the past that is asked for, and has been changed since."""

    async def test() -> None:
        exchange = Exchange()
        exchange.read = read
        exchange.told(None, OrderEventsMessage(10, 9, (), restarted=False))
        exchange.told(4, told(5), told(9, price=2), OrderEventsMessage(10, 9, (), restarted=False))
        channel = OrdersChannel(cast("Any", exchange), INSTRUMENT)
        task = await begun(channel)
        async with wired() as (wire, outgoing):
            await asyncio.wait_for(channel.catch_up(outgoing, 4), SECONDS)
            first, last = [frame["data"] for frame in await wire.until("orders", 2)]
            later = {"type", "quantity", "cancelled_quantity", "reject_reason", "end_reason"}
            assert first.keys() & later == known
            if "quantity" in known:
                assert (first["quantity"], first["cancelled_quantity"]) == (10, 0)
            assert (first["price"], first["status"]) == (1, "partially_filled")
            if read.quantity == 18:
                assert (last["price"], last["cancelled_quantity"]) == (2, 8)
        task.cancel()

    run(test)


def test_an_order_is_read_to_the_end_whoever_leaves() -> None:
    """gRPC never frees what it holds for a call that was cancelled."""

    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, OrderEventsMessage(10, 9, (), restarted=False))
        exchange.told(4, told(5))
        asked, answer, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def read_slowly(_: str) -> Order:
            asked.set()
            await answer.wait()
            ended.set()
            return order(5)

        exchange.order = read_slowly  # type: ignore[method-assign]
        channel = OrdersChannel(cast("Any", exchange), INSTRUMENT)
        task = await begun(channel)
        async with wired() as (_, outgoing):
            leaving = asyncio.create_task(channel.catch_up(outgoing, 4))
            await asked.wait()
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            answer.set()
            await asyncio.wait_for(ended.wait(), SECONDS)
        task.cancel()

    run(test)


def test_an_order_is_read_anew_after_a_restart() -> None:
    """It may have been replaced in what was missed, or be another one's of the same id."""

    async def test() -> None:
        exchange = Exchange()
        exchange.read = order(20, price=4, post_only=True)
        exchange.told(None, OrderEventsMessage(10, 9, (), restarted=False))
        channel = OrdersChannel(cast("Any", exchange), INSTRUMENT)
        task = await begun(channel)
        async with wired() as (wire, outgoing):
            channel.subscribers.add(outgoing)
            exchange.told(None, told(11, order(11, price=3)))
            exchange.told(None, replace(told(20, price=4), restarted=True))
            before, after = await wire.until("orders", 2)
            assert (before["data"]["price"], after["data"]["price"]) == (3, 4)
            assert (before["data"]["post_only"], after["data"]["post_only"]) == (False, True)
        task.cancel()

    run(test)
