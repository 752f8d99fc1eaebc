"""Batches, and the same calls under the paths of another document."""

import httpx
import pytest

from server.rpc.parse import COMMANDS_MAX
from tests.gateway.door import Market, error_of, refusal_of


def batch(market: Market, *orders: dict[str, object]) -> httpx.Response:
    common = {"client_id": f"{market.prefix}A", "instrument": market.instrument, "type": "limit"}
    return market.http.post("/orders/batch", json={"orders": [common | each for each in orders]})


def test_each_order_stands_alone(market: Market) -> None:
    response = batch(
        market,
        {"side": "sell", "price": 100, "quantity": 1, "order_id": f"{market.prefix}s"},
        {"side": "sell", "price": 100, "quantity": 1, "order_id": f"{market.prefix}s"},
        {"side": "buy", "price": 100, "quantity": 0.25, "client_id": f"{market.prefix}B"},
        {"side": "buy", "price": "NaN", "quantity": 1},
        {"side": "buy", "type": "market", "quantity": 2},
        {"side": "up", "price": 100, "quantity": 1},
    )
    assert response.status_code == 200
    assert response.json().keys() == {"results"}
    placed, duplicate, filled, number, market_order, side = response.json()["results"]
    for taken in (placed, filled, market_order):
        assert taken.keys() == {"order", "trades", "trade_count", "sequence", "details"}
        assert taken["trade_count"] == len(taken["trades"])
        assert taken["details"] == []
        order_id = taken["order"]["order_id"]
        assert market.get_order(order_id)["instrument"] == market.instrument
    assert placed["order"]["status"] == "open"
    assert filled["order"]["status"] == "filled"
    assert filled["trades"][0]["sell_order_id"] == f"{market.prefix}s"
    assert market_order["order"]["status"] == "cancelled"
    assert market_order["order"]["filled_quantity"] == 0.75
    for refused, code, reason in (
        (duplicate, 6, "ORDER_ID_DUPLICATE"),
        (number, 3, "NUMBER_INVALID"),
        (side, 3, "SIDE_INVALID"),
    ):
        assert refused.keys() == {"trades", "error", "code", "message", "details"}
        assert refused["trades"] == []
        assert (refused["code"], refused["error"]) == (code, refused["message"])
        (detail,) = refused["details"]
        assert detail["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
        assert detail["reason"] == reason


def test_a_refusal_reads_like_that_of_a_single_order(market: Market) -> None:
    order = {"side": "buy", "price": 0.123456789, "quantity": 1, "type": "limit"}
    (refused,) = batch(market, order).json()["results"]
    alone = error_of(market.post(**order))
    assert {field: refused[field] for field in alone} == alone


def test_a_repeated_batch_gives_the_first_outcomes(market: Market) -> None:
    orders = [
        {"side": "sell", "price": 100, "quantity": 1, "idempotency_key": f"{market.prefix}1"},
        {"side": "buy", "price": 100, "quantity": 1, "idempotency_key": f"{market.prefix}2"},
    ]
    first = batch(market, *orders).json()["results"]
    assert first[1]["trade_count"] == 1
    again = batch(market, *orders).json()["results"]
    assert again == [outcome | {"repeated": True} for outcome in first]


def test_batches_that_are_refused_whole(market: Market) -> None:
    empty = market.http.post("/orders/batch", json={"orders": []})
    assert empty.status_code == 400
    assert refusal_of(empty)["field"] == "orders"
    order = {"side": "buy", "price": 100, "quantity": 1}
    assert len(batch(market, *[order] * COMMANDS_MAX).json()["results"]) == COMMANDS_MAX
    large = batch(market, *[order] * (COMMANDS_MAX + 1))
    assert large.status_code == 400
    refusal = refusal_of(large)
    assert (refusal["reason"], refusal["value"]) == ("TOO_MANY", str(COMMANDS_MAX + 1))
    (bid,) = market.get("/market/orderbook")["bids"]
    assert bid["quantity"] == COMMANDS_MAX
    broken = market.http.post("/orders/batch", content='{"orders":[{"price":[}]}')
    assert broken.status_code == 400
    assert error_of(broken)["code"] == 3


def test_a_batch_lists_a_thousand_trades_and_counts_all(market: Market) -> None:
    tiny = {"side": "sell", "price": 100, "quantity": 1, "client_id": f"{market.prefix}S"}
    for _ in range(2):
        assert batch(market, *[tiny] * 1_000).status_code == 200
    sweep = {"side": "buy", "price": 100, "quantity": 999}
    results = batch(market, sweep, sweep).json()["results"]
    assert [result["trade_count"] for result in results] == [999, 999]
    assert [len(result["trades"]) for result in results] == [999, 1]


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_orders_under_both_paths(market: Market, prefix: str) -> None:
    client = f"{market.prefix}A"
    order = {
        "client_id": client,
        "instrument": market.instrument,
        "side": "buy",
        "type": "limit",
        "price": 100,
        "quantity": 1,
    }
    placed = market.http.post(f"{prefix}/orders", json=order)
    assert placed.status_code == 201
    own = placed.json()["order"]
    path = f"{prefix}/orders/{own['order_id']}"
    assert market.http.get(path).json()["order"] == own
    for name in ("client_id", "user_id"):
        listed = market.http.get(f"{prefix}/orders", params={name: client}).json()
        assert listed["orders"] == [own]
    nobody = market.http.get(f"{prefix}/orders", params={"user_id": f"{market.prefix}Z"}).json()
    assert nobody["orders"] == []
    cancelled = market.http.delete(path)
    assert cancelled.status_code == 200
    assert cancelled.json()["order"]["status"] == "cancelled"
    assert market.http.delete(path).status_code == 409
    assert market.http.get(f"{prefix}/orders/no-such").status_code == 404


def test_trades_under_both_paths(market: Market) -> None:
    market.placed("sell", 2, 100, client_id=f"{market.prefix}S")
    for _ in range(2):
        market.placed("buy", 1, 100)
    trades = market.get("/api/v1/trades", limit=1)
    assert trades["count"] == 1
    assert trades == market.get("/market/trades", limit=1)
    assert market.http.put("/api/v1/orders", json={}).status_code == 405
