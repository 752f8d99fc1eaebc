"""Every unary call of the order and account services: what it gives and what it refuses."""

from typing import Any

import pytest
from grpc import StatusCode

from exchange.v1 import account_service_pb2 as accounts
from exchange.v1 import order_service_pb2 as orders
from exchange.v1 import types_pb2 as words
from server.core.instruments import Instrument
from tests.rpc.served import BTC, BUY, E8, MARKET, SELL, Served, order, refused

pytestmark = pytest.mark.asyncio


async def test_an_order_that_rests(served: Served) -> None:
    reply = await served.place(
        "A", BUY, 100, order_id="a1", client_reference="mine", post_only=True
    )
    placed = reply.order
    assert (placed.order_id, placed.client_id, placed.client_reference) == ("a1", "A", "mine")
    assert (placed.instrument, placed.side, placed.type) == (BTC, BUY, words.ORDER_TYPE_LIMIT)
    assert placed.time_in_force == words.TIME_IN_FORCE_GOOD_TILL_CANCEL
    assert placed.self_trade_prevention == words.SELF_TRADE_PREVENTION_NONE
    assert placed.post_only
    assert (placed.price_e8, placed.quantity_e8, placed.remaining_quantity_e8) == (100, 10, 10)
    assert placed.status == words.ORDER_STATUS_OPEN
    assert placed.created_time_ns == placed.updated_time_ns > 0
    assert placed.placed_sequence == reply.sequence
    assert not reply.trades
    assert not reply.repeated


async def test_an_order_that_trades(served: Served) -> None:
    fees = Instrument(BTC, maker_fee_e6=-50, taker_fee_e6=200)
    served.engine.markets[BTC].define(fees)
    maker = await served.place("A", SELL, 100 * E8, quantity_e8=4 * E8)
    await served.place("A", SELL, 101 * E8, quantity_e8=2 * E8)
    reply = await served.place("B", BUY, 102 * E8, quantity_e8=7 * E8)
    assert reply.order.status == words.ORDER_STATUS_PARTIALLY_FILLED
    assert (reply.order.filled_quantity_e8, reply.order.remaining_quantity_e8) == (6 * E8, E8)
    first, second = reply.trades
    assert reply.trade_count == 2
    assert first.trade_id == f"T{reply.sequence}-1"
    assert (first.sequence, first.index, second.index) == (reply.sequence, 1, 2)
    assert (first.price_e8, first.quantity_e8) == (100 * E8, 4 * E8)
    assert (first.maker_order_id, first.maker_client_id) == (maker.order.order_id, "A")
    assert (first.taker_order_id, first.taker_client_id) == (reply.order.order_id, "B")
    assert (first.maker_fee, first.taker_fee) == ("-0.02", "0.08")
    assert first.aggressor_side == BUY
    assert first.time_ns == reply.order.created_time_ns
    filled = (
        await served.orders.GetOrder(orders.GetOrderRequest(order_id=maker.order.order_id))
    ).order
    assert filled.status == words.ORDER_STATUS_FILLED
    assert filled.updated_time_ns == first.time_ns


async def test_an_order_that_the_rules_end_is_a_success(served: Served) -> None:
    reply = await served.place("A", BUY, 0, type=MARKET)
    assert reply.order.status == words.ORDER_STATUS_REJECTED
    assert reply.order.end_reason == words.END_REASON_NO_LIQUIDITY
    assert reply.order.cancelled_quantity_e8 == 10
    await served.place("B", SELL, 100)
    part = await served.place("A", BUY, 100, quantity_e8=15, time_in_force=2)
    assert part.order.status == words.ORDER_STATUS_CANCELLED
    assert part.order.end_reason == words.END_REASON_IMMEDIATE_OR_CANCEL
    assert (part.order.filled_quantity_e8, part.order.cancelled_quantity_e8) == (10, 5)


async def test_an_order_filled_after_it_was_reduced_is_filled_wherever_it_is_read(
    served: Served,
) -> None:
    await served.place("A", SELL, 100, quantity_e8=4)
    await served.place("B", SELL, 101, quantity_e8=6)
    placed = (await served.place("A", BUY, 101, self_trade_prevention=5)).order
    assert placed.status == words.ORDER_STATUS_FILLED
    assert (placed.filled_quantity_e8, placed.cancelled_quantity_e8) == (6, 4)
    request = orders.GetOrderRequest(order_id=placed.order_id)
    assert (await served.orders.GetOrder(request)).order == placed
    listing = orders.ListOrdersRequest(client_id="A", status=words.ORDER_STATUS_FILLED)
    assert list((await served.orders.ListOrders(listing)).orders) == [placed]


async def test_an_order_reduced_by_self_trade_prevention_is_not_ended(served: Served) -> None:
    await served.place("A", SELL, 100, quantity_e8=4)
    reply = await served.place("A", BUY, 100, self_trade_prevention=5)
    assert reply.order.status == words.ORDER_STATUS_OPEN
    assert reply.order.end_reason == words.END_REASON_UNSPECIFIED
    assert (reply.order.remaining_quantity_e8, reply.order.cancelled_quantity_e8) == (6, 4)
    # Then traded: what was taken off without a trade is still counted.
    await served.place("B", SELL, 99, quantity_e8=1)
    await served.place("A", SELL, 101, quantity_e8=2)
    await served.place("B", SELL, 101, quantity_e8=3)
    mixed = await served.place("A", BUY, 101, self_trade_prevention=5)
    assert mixed.order.filled_quantity_e8 == 3
    assert (mixed.order.cancelled_quantity_e8, mixed.order.remaining_quantity_e8) == (2, 5)


async def test_many_orders_each_with_its_outcome(served: Served) -> None:
    request = orders.PlaceOrdersRequest(
        orders=[
            order("A", BUY, 100, order_id="a1", idempotency_key="k"),
            order("A", BUY, -5),
            order("A", BUY, 100, order_id="a1", idempotency_key="k"),
            order("A", BUY, 100, order_id="a1"),
        ]
    )
    placed, negative, repeat, duplicate = (await served.orders.PlaceOrders(request)).outcomes
    assert placed.placed.order.order_id == "a1"
    assert negative.refused.reason == words.REJECT_REASON_PRICE_NOT_POSITIVE
    assert (negative.refused.field, negative.refused.code) == ("price_e8", 3)
    assert repeat.placed.repeated
    assert repeat.placed.order == placed.placed.order
    assert repeat.placed.sequence == placed.placed.sequence
    assert duplicate.refused.reason == words.REJECT_REASON_ORDER_ID_DUPLICATE
    assert duplicate.refused.code == StatusCode.ALREADY_EXISTS.value[0]


async def test_at_most_a_thousand_orders(served: Served) -> None:
    before = served.engine.sequence
    request = orders.PlaceOrdersRequest(orders=[order("A", BUY, 100)] * 1_001)
    failure, info = await refused(served.orders.PlaceOrders(request))
    assert failure.code() == StatusCode.INVALID_ARGUMENT
    assert (info.reason, info.metadata["limit"], info.metadata["value"]) == (
        "TOO_MANY", "1000", "1001",
    )  # fmt: skip
    failure, info = await refused(served.orders.PlaceOrders(orders.PlaceOrdersRequest()))
    assert (info.reason, info.metadata["field"]) == ("FIELD_REQUIRED", "orders")
    assert served.engine.sequence == before
    del request.orders[-1]
    assert len((await served.orders.PlaceOrders(request)).outcomes) == 1_000


async def test_replies_list_at_most_a_thousand_with_the_true_count(served: Served) -> None:
    ladder = orders.PlaceOrdersRequest(orders=[order("A", SELL, 100, quantity_e8=1)] * 1_000)
    await served.orders.PlaceOrders(ladder)
    await served.place("A", SELL, 101, quantity_e8=1)
    sweep = await served.place("B", BUY, 101, quantity_e8=1_001, idempotency_key="k")
    assert (len(sweep.trades), sweep.trade_count) == (1_000, 1_001)
    assert sweep.order.status == words.ORDER_STATUS_FILLED
    again = await served.place("B", BUY, 101, quantity_e8=1_001, idempotency_key="k")
    again.repeated = False
    assert again == sweep

    await served.orders.PlaceOrders(ladder)
    last = await served.place("A", SELL, 101, quantity_e8=1)
    ended = await served.orders.CancelOrders(orders.CancelOrdersRequest(client_id="A"))
    assert (len(ended.orders), ended.cancelled_count) == (1_000, 1_001)
    sequences = [each.placed_sequence for each in ended.orders]
    assert sequences == sorted(sequences)
    assert last.order.placed_sequence not in sequences
    assert ended.orders[0].end_reason == words.END_REASON_CANCEL_REQUESTED


async def test_a_batch_lists_at_most_a_thousand_altogether(served: Served) -> None:
    ladder = orders.PlaceOrdersRequest(orders=[order("A", SELL, 100, quantity_e8=1)] * 1_000)
    await served.orders.PlaceOrders(ladder)
    await served.orders.PlaceOrders(ladder)
    sweep = order("B", BUY, 100, quantity_e8=600)
    request = orders.PlaceOrdersRequest(orders=[sweep, sweep, sweep])
    placed = [each.placed for each in (await served.orders.PlaceOrders(request)).outcomes]
    assert [len(each.trades) for each in placed] == [600, 400, 0]
    assert {(each.trade_count, each.order.status) for each in placed} == {
        (600, words.ORDER_STATUS_FILLED)
    }


async def test_replace(served: Served) -> None:
    placed = await served.place("A", BUY, 100, order_id="a1")
    await served.place("B", SELL, 105, quantity_e8=4)
    less = await served.orders.ReplaceOrder(
        orders.ReplaceOrderRequest(client_id="A", order_id="a1", quantity_e8=8)
    )
    assert (less.order.price_e8, less.order.quantity_e8) == (100, 8)
    higher = await served.orders.ReplaceOrder(
        orders.ReplaceOrderRequest(order_id="a1", price_e8=105)
    )
    assert higher.trade_count == len(higher.trades) == 1
    assert (higher.order.filled_quantity_e8, higher.order.remaining_quantity_e8) == (4, 4)
    assert higher.order.created_time_ns == placed.order.created_time_ns
    assert higher.order.placed_sequence == placed.sequence < higher.sequence
    below = await served.orders.ReplaceOrder(
        orders.ReplaceOrderRequest(order_id="a1", quantity_e8=3)
    )
    assert below.order.status == words.ORDER_STATUS_CANCELLED
    assert below.order.end_reason == words.END_REASON_REPLACED_BELOW_FILLED


async def test_cancel(served: Served) -> None:
    await served.place("A", BUY, 100, order_id="a1")
    request = orders.CancelOrderRequest(client_id="A", order_id="a1", idempotency_key="k")
    reply = await served.orders.CancelOrder(request)
    assert reply.order.status == words.ORDER_STATUS_CANCELLED
    assert reply.order.cancelled_quantity_e8 == 10
    again = await served.orders.CancelOrder(request)
    assert again.repeated
    assert (again.order, again.sequence) == (reply.order, reply.sequence)


REFUSALS: list[tuple[str, Any, StatusCode, str, str]] = [
    ("PlaceOrder", order("", BUY, 100), StatusCode.INVALID_ARGUMENT, "FIELD_REQUIRED", "client_id"),
    ("PlaceOrder", order("A b", BUY, 1), StatusCode.INVALID_ARGUMENT, "ID_INVALID", "client_id"),
    ("PlaceOrder", order("A", BUY, 1, order_id="x-9"), StatusCode.INVALID_ARGUMENT,
     "ID_RESERVED", "order_id"),
    ("PlaceOrder", order("A", 0, 100), StatusCode.INVALID_ARGUMENT, "SIDE_INVALID", "side"),
    ("PlaceOrder", order("A", BUY, 1, type=9), StatusCode.INVALID_ARGUMENT, "TYPE_INVALID", "type"),
    ("PlaceOrder", order("A", BUY, 1, instrument="NO-USD"), StatusCode.NOT_FOUND,
     "INSTRUMENT_UNKNOWN", "instrument"),
    ("PlaceOrder", order("A", BUY, 100, quantity_e8=0), StatusCode.INVALID_ARGUMENT,
     "QUANTITY_NOT_POSITIVE", "quantity_e8"),
    ("PlaceOrder", order("A", BUY, 0), StatusCode.INVALID_ARGUMENT, "PRICE_REQUIRED", "price_e8"),
    ("PlaceOrder", order("A", BUY, 100, type=MARKET), StatusCode.INVALID_ARGUMENT,
     "PRICE_NOT_ALLOWED", "price_e8"),
    ("PlaceOrder", order("A", BUY, 100, post_only=True, time_in_force=2),
     StatusCode.INVALID_ARGUMENT, "POST_ONLY_NOT_ALLOWED", "post_only"),
    ("PlaceOrder", order("A", BUY, 100, idempotency_key="used"), StatusCode.ABORTED,
     "KEY_CONFLICT", "idempotency_key"),
    ("PlaceOrder", order("A", BUY, 100, order_id="open"), StatusCode.ALREADY_EXISTS,
     "ORDER_ID_DUPLICATE", "order_id"),
    ("ReplaceOrder", orders.ReplaceOrderRequest(order_id="open"), StatusCode.INVALID_ARGUMENT,
     "NOTHING_TO_REPLACE", "quantity_e8"),
    ("ReplaceOrder", orders.ReplaceOrderRequest(order_id="open", price_e8=0),
     StatusCode.INVALID_ARGUMENT, "PRICE_NOT_POSITIVE", "price_e8"),
    ("ReplaceOrder", orders.ReplaceOrderRequest(order_id="open", price_e8=500), StatusCode.ABORTED,
     "POST_ONLY_WOULD_CROSS", "price_e8"),
    ("CancelOrder", orders.CancelOrderRequest(), StatusCode.INVALID_ARGUMENT,
     "FIELD_REQUIRED", "order_id"),
    ("CancelOrder", orders.CancelOrderRequest(order_id="no"), StatusCode.NOT_FOUND,
     "ORDER_UNKNOWN", "order_id"),
    ("CancelOrder", orders.CancelOrderRequest(order_id="open", client_id="B"), StatusCode.NOT_FOUND,
     "ORDER_UNKNOWN", "order_id"),
    ("CancelOrder", orders.CancelOrderRequest(order_id="ended"), StatusCode.ABORTED,
     "ORDER_CLOSED", "order_id"),
    ("CancelOrders", orders.CancelOrdersRequest(), StatusCode.INVALID_ARGUMENT,
     "FIELD_REQUIRED", "client_id"),
    ("GetOrder", orders.GetOrderRequest(), StatusCode.INVALID_ARGUMENT,
     "FIELD_REQUIRED", "order_id"),
    ("GetOrder", orders.GetOrderRequest(order_id="no"), StatusCode.NOT_FOUND,
     "ORDER_UNKNOWN", "order_id"),
    ("ListOrders", orders.ListOrdersRequest(page_size=1_001), StatusCode.INVALID_ARGUMENT,
     "TOO_MANY", "page_size"),
    ("ListOrders", orders.ListOrdersRequest(page_token="-1"), StatusCode.INVALID_ARGUMENT,
     "CURSOR_INVALID", "page_token"),
    ("ListOrders", orders.ListOrdersRequest(page_token=str(2**63)), StatusCode.INVALID_ARGUMENT,
     "CURSOR_INVALID", "page_token"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "request_message", "code", "reason", "field"),
    REFUSALS,
    ids=[f"{method}-{reason}-{field}" for method, _, _, reason, field in REFUSALS],
)
async def test_refusals_leave_no_trace(
    served: Served, method: str, request_message: Any, code: StatusCode, reason: str, field: str
) -> None:
    await served.place("B", SELL, 400)
    await served.place("A", BUY, 100, order_id="open", idempotency_key="used", post_only=True)
    await served.place("A", BUY, 100, order_id="ended")
    await served.orders.CancelOrder(orders.CancelOrderRequest(order_id="ended"))
    before = served.engine.sequence
    failure, info = await refused(getattr(served.orders, method)(request_message))
    assert failure.code() == code
    assert (info.reason, info.domain, info.metadata["field"]) == (reason, "exchange", field)
    assert info.metadata.keys() == {"field", "limit", "value", "retry_safe"}
    assert bool(info.metadata["limit"]) or not reason.endswith(("SIDE_INVALID", "TYPE_INVALID"))
    assert served.engine.sequence == before
    assert served.exchange.sequencer.durable_sequence == before


async def test_pages_of_orders(served: Served) -> None:
    for number in range(7):
        await served.place("A" if number % 3 else "B", BUY, 100, order_id=f"o{number}")
    await served.orders.CancelOrder(orders.CancelOrderRequest(order_id="o5"))

    async def names(**query: Any) -> list[str]:
        found: list[str] = []
        while True:
            page = await served.orders.ListOrders(orders.ListOrdersRequest(**query))
            found += [each.order_id for each in page.orders]
            assert page.sequence == served.engine.sequence
            if not page.next_page_token:
                return found
            assert len(page.orders) == query["page_size"]
            query["page_token"] = page.next_page_token

    assert await names(page_size=2) == [f"o{number}" for number in range(6, -1, -1)]
    assert await names(page_size=7) == [f"o{number}" for number in range(6, -1, -1)]
    assert await names(client_id="B", page_size=1) == ["o6", "o3", "o0"]
    assert await names(status=words.ORDER_STATUS_CANCELLED) == ["o5"]
    await served.place("C", SELL, 100, order_id="part", quantity_e8=4)
    for each in ("o0", "o1"):
        await served.orders.CancelOrder(orders.CancelOrderRequest(order_id=each))
    assert await names(working=True, page_size=2) == ["o6", "o4", "o3", "o2"]
    assert await names(working=True, client_id="B") == ["o6", "o3"]
    assert await names(working=True, status=words.ORDER_STATUS_OPEN) == ["o6", "o4", "o3", "o2"]
    assert await names(working=True, status=words.ORDER_STATUS_FILLED) == []
    assert await names(client_id="A", side=SELL) == []
    assert await names(client_id="nobody") == []
    assert await names(instrument="ETH-USD") == []


async def test_positions_and_fees(served: Served) -> None:
    served.engine.markets[BTC].define(Instrument(BTC, maker_fee_e6=100, taker_fee_e6=1_000))
    await served.place("A", SELL, 3 * E8, quantity_e8=2 * E8)
    await served.place("B", BUY, 3 * E8, quantity_e8=E8)
    await served.place("A", SELL, 4 * E8, quantity_e8=E8)
    await served.place("B", BUY, 4 * E8, quantity_e8=2 * E8)

    async def position(client: str) -> accounts.Position:
        request = accounts.ListPositionsRequest(client_id=client)
        (held,) = (await served.accounts.ListPositions(request)).positions
        return held

    long, short = await position("B"), await position("A")
    assert (long.net_quantity_e8, short.net_quantity_e8) == (3 * E8, -3 * E8)
    assert (long.total_cost, short.total_cost) == ("10", "-10")
    assert (long.average_price, short.average_price) == ("3.33333333", "3.33333333")
    assert (long.unrealised_pnl, short.unrealised_pnl) == ("2", "-2")
    assert (long.realised_pnl, long.fees, short.fees) == ("0", "0.01", "0.001")
    reply = await served.accounts.ListFeeAccounts(accounts.ListFeeAccountsRequest())
    assert [(each.currency, each.balance) for each in reply.accounts] == [("USD", "0.011")]
    nobody = await served.accounts.ListPositions(accounts.ListPositionsRequest(client_id="C"))
    assert not nobody.positions
    _, info = await refused(served.accounts.ListPositions(accounts.ListPositionsRequest()))
    assert (info.reason, info.metadata["field"]) == ("FIELD_REQUIRED", "client_id")
