"""Keys: one order and one answer for any number of copies, also across a restart."""

import asyncio
from pathlib import Path

import pytest
from grpc import StatusCode

from exchange.v1.order_service_pb2 import (
    CancelOrderRequest,
    ListOrdersRequest,
    PlaceOrderRequest,
    PlaceOrderResponse,
    ReplaceOrderRequest,
)
from tests.rpc.served import BUY, SELL, Served, order, refused, serving

pytestmark = pytest.mark.asyncio

COPIES = 20


async def answers(served: Served, request: PlaceOrderRequest) -> list[PlaceOrderResponse]:
    """Of copies sent at once."""
    return list(await asyncio.gather(*(_answer(served, request) for _ in range(COPIES))))


async def _answer(served: Served, request: PlaceOrderRequest) -> PlaceOrderResponse:
    return await served.orders.PlaceOrder(request)


def first_answer(reply: PlaceOrderResponse) -> bytes:
    """All but whether it is a repeat."""
    copy = PlaceOrderResponse()
    copy.CopyFrom(reply)
    copy.repeated = False
    return copy.SerializeToString(deterministic=True)


async def test_i10_copies_at_once_give_one_order_and_one_answer(tmp_path: Path) -> None:
    request = order("B", BUY, 101, quantity_e8=30, idempotency_key="k")
    async with serving(tmp_path / "data") as served:
        await served.place("A", SELL, 100)
        await served.place("A", SELL, 101)
        before = served.engine.sequence
        replies = await answers(served, request)
        assert served.engine.sequence == before + 1
        assert sorted(reply.repeated for reply in replies) == [False] + [True] * (COPIES - 1)
        first = {first_answer(reply) for reply in replies}
        assert len(first) == 1
        assert len(replies[0].trades) == 2
        # What happens to the order later doesn't change the answer.
        await served.place("A", SELL, 99, quantity_e8=10)
        assert {first_answer(reply) for reply in await answers(served, request)} == first
    async with serving(tmp_path / "data") as served:
        before = served.engine.sequence
        replies = await answers(served, request)
        assert all(reply.repeated for reply in replies)
        assert {first_answer(reply) for reply in replies} == first
        assert served.engine.sequence == before
        found = await served.orders.ListOrders(ListOrdersRequest(client_id="B"))
        assert len(found.orders) == 1


async def test_i10_a_repeat_waits_for_its_first_to_be_durable(served: Served) -> None:
    """All copies reach the engine in turns of the loop in which the first is not durable yet."""
    request = order("B", BUY, 100, idempotency_key="k")
    replies = await answers(served, request)
    assert len({first_answer(reply) for reply in replies}) == 1
    durable = served.exchange.sequencer.durable_sequence
    assert all(reply.sequence <= durable for reply in replies)


async def test_a_key_is_its_clients_own(served: Served) -> None:
    mine = await served.place("A", BUY, 100, idempotency_key="k")
    other = await served.place("B", BUY, 100, idempotency_key="k")
    assert not other.repeated
    assert other.order.order_id != mine.order.order_id


async def test_other_content_under_the_key_is_a_conflict(served: Served) -> None:
    await served.place("A", BUY, 100, order_id="a1", idempotency_key="k")
    conflicts = (
        served.place("A", BUY, 101, order_id="a1", idempotency_key="k"),
        served.orders.CancelOrder(
            CancelOrderRequest(client_id="A", order_id="a1", idempotency_key="k")
        ),
        served.orders.ReplaceOrder(
            ReplaceOrderRequest(client_id="A", order_id="a1", quantity_e8=5, idempotency_key="k")
        ),
    )
    for conflict in conflicts:
        failure, info = await refused(conflict)
        assert failure.code() == StatusCode.ABORTED
        assert (info.reason, info.metadata["value"]) == ("KEY_CONFLICT", "k")


async def test_a_replace_and_a_cancel_repeat_their_first_answer(served: Served) -> None:
    await served.place("A", BUY, 100, order_id="a1")
    await served.place("B", SELL, 110, quantity_e8=4)
    change = ReplaceOrderRequest(client_id="A", order_id="a1", price_e8=110, idempotency_key="k1")
    replaced = await served.orders.ReplaceOrder(change)
    assert len(replaced.trades) == 1
    end = CancelOrderRequest(client_id="A", order_id="a1", idempotency_key="k2")
    ended = await served.orders.CancelOrder(end)
    again = await served.orders.ReplaceOrder(change)
    assert again.repeated
    again.repeated = False
    assert again == replaced
    once_more = await served.orders.CancelOrder(end)
    assert once_more.repeated
    once_more.repeated = False
    assert once_more == ended
