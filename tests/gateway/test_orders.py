"""The order routes, as the documented clients call them."""

import re
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import httpx
import pytest

from tests.gateway.door import Market, error_of, refusal_of

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_limit_order_as_documented(market: Market) -> None:
    response = market.post(
        idempotency_key="test-order-1", side="buy", type="limit", price=70150.5, quantity=0.25
    )
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    reply = response.json()
    order = reply["order"]
    assert TIME.fullmatch(order["created_at"])
    assert order == {
        "order_id": f"x-{reply['sequence']}",
        "client_id": f"{market.prefix}A",
        "instrument": market.instrument,
        "side": "buy",
        "type": "limit",
        "price": 70150.5,
        "quantity": 0.25,
        "filled_quantity": 0,
        "remaining_quantity": 0.25,
        "cancelled_quantity": 0,
        "status": "open",
        "time_in_force": "gtc",
        "post_only": False,
        "created_at": order["created_at"],
        "updated_at": order["created_at"],
    }
    assert reply["trades"] == []
    assert reply["trade_count"] == 0
    assert reply["sequence"].isdecimal()
    assert reply["orderbook"] == {
        "bids": [{"price": 70150.5, "quantity": 0.25, "cumulative": 0.25}],
        "asks": [],
    }


def test_partial_fill_shows_trades_and_book(market: Market) -> None:
    resting = market.placed("sell", 0.1, 70150.5, order_id=f"{market.prefix}s1")["order"]
    reply = market.placed(
        "buy", 0.25, 70151, order_id=f"{market.prefix}b1", client_id=f"{market.prefix}B"
    )
    assert reply["order"]["status"] == "partially_filled"
    assert reply["order"]["filled_quantity"] == 0.1
    assert reply["order"]["remaining_quantity"] == 0.15
    (trade,) = reply["trades"]
    assert re.fullmatch(rf"T{reply['sequence']}-\d+", trade["trade_id"])
    assert trade == {
        "trade_id": trade["trade_id"],
        "buy_order_id": f"{market.prefix}b1",
        "sell_order_id": resting["order_id"],
        "instrument": market.instrument,
        "price": 70150.5,
        "quantity": 0.1,
        "timestamp": reply["order"]["updated_at"],
        "sequence": reply["sequence"],
        "side": "buy",
        "maker_fee": 0,
        "taker_fee": 0,
    }
    assert reply["orderbook"]["bids"] == [{"price": 70151, "quantity": 0.15, "cumulative": 0.15}]
    stored = market.http.get(f"/orders/{resting['order_id']}").json()
    assert stored["order"]["status"] == "filled"


def test_market_order_without_liquidity_is_rejected_and_stored(market: Market) -> None:
    reply = market.placed("sell", 1)
    order = reply["order"]
    assert order["status"] == "rejected"
    assert order["reject_reason"] == "no_liquidity"
    assert order["time_in_force"] == "ioc"
    assert "price" not in order
    stored = market.http.get(f"/orders/{order['order_id']}").json()
    assert stored["order"] == order


def test_market_order_filled_in_part_keeps_its_fills(market: Market) -> None:
    market.placed("buy", 0.1, 100)
    order = market.placed("sell", 1, client_id=f"{market.prefix}B")["order"]
    assert (order["status"], order["reject_reason"]) == ("cancelled", "no_liquidity")
    assert (order["filled_quantity"], order["cancelled_quantity"]) == (0.1, 0.9)
    stored = market.http.get(f"/orders/{order['order_id']}").json()["order"]
    assert stored == order


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"time_in_force": "ioc", "price": 99}, "rejected", "immediate_or_cancel"),
        ({"time_in_force": "ioc", "price": 100, "quantity": 2}, "cancelled", "immediate_or_cancel"),
        ({"time_in_force": "fok", "price": 100, "quantity": 2}, "rejected", "fill_or_kill"),
        ({"post_only": True, "price": 100}, "rejected", "post_only_would_cross"),
        (
            {"self_trade_prevention": "cancel_newest", "price": 100, "client_id": "seller"},
            "cancelled",
            "self_trade_prevention",
        ),
    ],
)
def test_ends_by_the_rules_are_replies(
    market: Market, fields: dict[str, object], status: str, reason: str
) -> None:
    market.placed("sell", 1, 100, client_id="seller")
    order = market.placed("buy", **{"quantity": 1, **fields})["order"]
    assert (order["status"], order["reject_reason"]) == (status, reason)
    assert order["end_reason"] == reason


def test_defaults_are_those_documented(http: httpx.Client) -> None:
    request = {"client_id": "gw-default", "side": "buy", "type": "limit"}
    response = http.post("/orders", json={**request, "price": 1, "quantity": 1})
    assert response.status_code == 201
    order = response.json()["order"]
    assert order["instrument"] == "BTC-USD"
    assert http.delete(f"/orders/{order['order_id']}").status_code == 200


def test_body_needs_no_content_type_and_unknown_fields_are_ignored(market: Market) -> None:
    body = (
        f'{{"client_id":"a","instrument":"{market.instrument}","side":"buy","type":"limit",'
        '"price":"70000","quantity":"0.5","note":{"deep":[1,2]}}'
    )
    response = market.http.post("/orders", content=body.encode())
    assert response.status_code == 201
    assert response.json()["order"]["price"] == 70000


@pytest.mark.parametrize("route", ["cancel", "delete"])
def test_cancel_needs_no_instrument(market: Market, route: str) -> None:
    order_id = market.placed("buy", 0.5, 100)["order"]["order_id"]
    if route == "cancel":
        response = market.http.post(f"/orders/{order_id}/cancel")
    else:
        response = market.http.delete(f"/orders/{order_id}")
    assert response.status_code == 200
    reply = response.json()
    assert reply["order"]["status"] == "cancelled"
    assert reply["order"]["end_reason"] == "cancel_requested"
    assert "reject_reason" not in reply["order"]
    assert reply["order"]["cancelled_quantity"] == 0.5
    assert reply["order"]["updated_at"] >= reply["order"]["created_at"]
    assert reply["sequence"].isdecimal()
    again = market.http.post(f"/orders/{order_id}/cancel", json={})
    assert again.status_code == 409
    assert refusal_of(again)["reason"] == "ORDER_CLOSED"


def test_cancel_under_a_key_can_be_repeated(market: Market) -> None:
    order = market.placed("buy", 0.5, 100)["order"]
    path = f"/orders/{order['order_id']}/cancel"
    body = {"client_id": order["client_id"], "idempotency_key": "c"}
    first, again = (market.http.post(path, json=body).json() for _ in range(2))
    assert again == first | {"repeated": True}
    assert "repeated" not in first


def test_cancel_takes_what_older_callers_send(market: Market) -> None:
    order_id = market.placed("buy", 0.5, 100)["order"]["order_id"]
    query = {"instrument": market.instrument}
    assert market.http.delete(f"/orders/{order_id}", params=query).status_code == 200
    order_id = market.placed("buy", 0.5, 100)["order"]["order_id"]
    response = market.http.post(f"/orders/{order_id}/cancel", json={**query, "reason": "bored"})
    assert response.status_code == 200


def test_cancel_by_another_client_is_unknown(market: Market) -> None:
    order_id = market.placed("buy", 0.5, 100)["order"]["order_id"]
    response = market.http.post(f"/orders/{order_id}/cancel", json={"client_id": "stranger"})
    assert response.status_code == 404
    assert refusal_of(response)["reason"] == "ORDER_UNKNOWN"


def test_replace_changes_price_and_total_quantity(market: Market) -> None:
    market.placed("sell", 1, 101, client_id=f"{market.prefix}S")
    order_id = market.placed("buy", 2, 100)["order"]["order_id"]
    path = f"/orders/{order_id}/replace"
    key = f"{market.prefix}r"
    body = {"client_id": f"{market.prefix}A", "price": "101", "quantity": 3, "idempotency_key": key}
    response = market.http.post(path, json=body)
    assert response.status_code == 200
    reply = response.json()
    order = reply["order"]
    assert order == market.get_order(order_id)
    assert (order["price"], order["quantity"], order["filled_quantity"]) == (101, 3, 1)
    assert reply["trades"] == market.get("/market/trades")["trades"]
    assert reply["trade_count"] == 1
    level = {"price": 101, "quantity": 2, "cumulative": 2}
    assert reply["orderbook"] == {"bids": [level], "asks": []}
    # The other one stays as it is; a repeat gets the first outcome, and the book of now.
    market.http.post(path, json={"price": 102}).raise_for_status()
    assert market.get_order(order_id)["quantity"] == 3
    again = market.http.post(path, json=body).json()
    assert again["orderbook"]["bids"] == [level | {"price": 102}]
    assert "repeated" not in reply
    assert {**again, "orderbook": ""} == {**reply, "orderbook": "", "repeated": True}


def test_replace_below_what_is_filled_cancels(market: Market) -> None:
    order_id = market.placed("buy", 2, 100)["order"]["order_id"]
    market.placed("sell", 1, 100, client_id=f"{market.prefix}S")
    reply = market.http.post(f"/orders/{order_id}/replace", json={"quantity": 0.5}).json()
    assert reply["order"]["status"] == "cancelled"
    assert reply["order"]["end_reason"] == "replaced_below_filled"
    assert "reject_reason" not in market.get_order(order_id)
    assert reply["orderbook"] == {"bids": [], "asks": []}


@pytest.mark.parametrize(
    ("body", "status", "reason", "field", "value", "limit"),
    [
        ({}, 400, "NOTHING_TO_REPLACE", "quantity", "", "price, quantity or both"),
        ({"price": 0}, 400, "PRICE_NOT_POSITIVE", "price", "0", "0"),
        ({"quantity": -1}, 400, "QUANTITY_NOT_POSITIVE", "quantity", "-1", "0"),
        ({"price": 1e-9}, 400, "NUMBER_INVALID", "price", "1e-09",
         "a number of at most 15 significant digits and 8 decimals"),
        ({"quantity": 1e12}, 400, "NUMBER_INVALID", "quantity", "1000000000000.0",
         "a number between -92233720368.54775807 and 92233720368.54775807"),
        ({"price": 1, "client_id": "stranger"}, 404, "ORDER_UNKNOWN", "order_id", None, ""),
        ({"price": 200}, 409, "POST_ONLY_WOULD_CROSS", "price", "200", "150"),
    ],
)  # fmt: skip
def test_refused_replace_leaves_the_order_as_it_is(
    market: Market,
    body: dict[str, object],
    status: int,
    reason: str,
    field: str,
    value: str | None,
    limit: str,
) -> None:
    market.placed("sell", 1, 150, client_id=f"{market.prefix}S")
    order = market.placed("buy", 2, 100, post_only=True)["order"]
    response = market.http.post(f"/orders/{order['order_id']}/replace", json=body)
    assert response.status_code == status
    refusal = refusal_of(response)
    assert (refusal["reason"], refusal["field"], refusal["limit"]) == (reason, field, limit)
    assert refusal["value"] == (order["order_id"] if value is None else value)
    assert market.get_order(order["order_id"]) == order


def test_cancel_of_all_orders_of_a_client(market: Market) -> None:
    client = f"{market.prefix}A"
    bids = [market.placed("buy", 1, price, client_id=client)["order"] for price in (100, 99)]
    ask = market.placed("sell", 1, 200, client_id=client)["order"]["order_id"]
    other = market.placed("buy", 1, 98, client_id=f"{market.prefix}B")["order"]["order_id"]

    def cancelled(**which: str) -> list[str]:
        response = market.http.post("/orders/cancel", json={"client_id": client, **which})
        assert response.status_code == 200
        reply = response.json()
        assert reply["sequence"].isdecimal()
        assert {order["status"] for order in reply["orders"]} <= {"cancelled"}
        assert reply["cancelled_count"] == len(reply["orders"])
        return [order["order_id"] for order in reply["orders"]]

    assert cancelled(instrument="ETH-USD") == []
    assert cancelled(side="buy", instrument=market.instrument) == [it["order_id"] for it in bids]
    assert cancelled() == [ask]
    assert cancelled() == []
    assert market.get_order(other)["status"] == "open"


def test_cancel_of_very_many_orders_lists_the_first_thousand(market: Market) -> None:
    order = {"client_id": market.prefix, "instrument": market.instrument, "side": "buy"}
    order |= {"type": "limit", "price": "1", "quantity": "1"}
    for count in (1_000, 1):
        market.http.post("/orders/batch", json={"orders": [order] * count}).raise_for_status()
    reply = market.http.post("/orders/cancel", json={"client_id": market.prefix}).json()
    assert (reply["cancelled_count"], len(reply["orders"])) == (1_001, 1_000)


@pytest.mark.parametrize(
    ("body", "status", "reason", "field"),
    [
        ({}, 400, "FIELD_REQUIRED", "client_id"),
        ({"client_id": "a b"}, 400, "ID_INVALID", "client_id"),
        ({"client_id": "a", "side": "both"}, 400, "SIDE_INVALID", "side"),
        ({"client_id": "a", "instrument": "NO-SUCH"}, 404, "INSTRUMENT_UNKNOWN", "instrument"),
    ],
)
def test_refused_cancel_of_all_orders(
    http: httpx.Client, body: dict[str, str], status: int, reason: str, field: str
) -> None:
    response = http.post("/orders/cancel", json=body)
    assert response.status_code == status
    refusal = refusal_of(response)
    assert (refusal["reason"], refusal["field"]) == (reason, field)
    if field == "side":
        assert refusal["limit"] == "buy or sell"


@pytest.mark.parametrize("order_id", ["cancel", "batch", "replace"])
def test_an_order_may_be_called_like_a_route(market: Market, order_id: str) -> None:
    market.placed("buy", 1, 100, order_id=order_id)
    assert market.get_order(order_id)["status"] == "open"
    reply = market.http.post(f"/orders/{order_id}/replace", json={"price": 101}).json()
    assert (reply["order"]["order_id"], reply["order"]["price"]) == (order_id, 101)
    reply = market.http.delete(f"/orders/{order_id}").json()
    assert reply["order"]["status"] == "cancelled"


@pytest.mark.parametrize("order_id", ["nobody", "a.b_c:d-e", "a:cancel"])
def test_unknown_order_is_not_found(http: httpx.Client, order_id: str) -> None:
    response = http.get(f"/orders/{order_id}")
    assert response.status_code == 404
    refusal = refusal_of(response)
    assert (refusal["reason"], refusal["value"]) == ("ORDER_UNKNOWN", order_id)


def test_id_outside_its_form_is_named(http: httpx.Client) -> None:
    response = http.post("/orders/a%20b%2Fc/cancel")
    assert response.status_code == 400
    assert refusal_of(response)["value"] == "a b/c"


def test_list_filters_and_pages(market: Market) -> None:
    client = f"{market.prefix}L"
    for price in range(100, 105):
        market.placed("buy", 1, price, client_id=client)
    market.placed("sell", 1, client_id=f"{market.prefix}S")
    market.placed("sell", 1, 200, client_id=client)

    def prices(**query: str) -> list[float]:
        reply = market.http.get("/orders", params={"client_id": client, **query}).json()
        assert reply["next_page_token"] == ""
        return [order["price"] for order in reply["orders"]]

    assert prices() == [200, 104, 103, 102, 101, 100]
    assert prices(status="open", side="buy") == [103, 102, 101, 100]
    assert prices(status="filled") == [104]
    market.placed("sell", 0.25, client_id=f"{market.prefix}S")
    assert prices(status="partially_filled") == [103]
    assert prices(status="working") == [200, 103, 102, 101, 100]
    assert prices(instrument=market.instrument, side="sell") == [200]
    assert prices(instrument="ETH-USD") == []

    paged: list[float] = []
    token = ""
    while True:
        query = {"client_id": client, "page_size": "4", "page_token": token}
        reply = market.http.get("/orders", params=query).json()
        paged += [order["price"] for order in reply["orders"]]
        token = reply["next_page_token"]
        if not token:
            break
    assert paged == prices()


def test_unknown_client_has_no_orders(http: httpx.Client) -> None:
    reply = http.get("/orders", params={"client_id": "nobody-at-all"}).json()
    assert reply["orders"] == []


def test_duplicate_order_id_is_a_conflict(market: Market) -> None:
    order_id = f"{market.prefix}once"
    market.placed("buy", 1, 100, order_id=order_id)
    response = market.post(side="buy", type="limit", price=99, quantity=1, order_id=order_id)
    assert response.status_code == 409
    assert error_of(response)["code"] == 6
    assert refusal_of(response)["reason"] == "ORDER_ID_DUPLICATE"


def test_same_key_other_content_is_a_conflict(market: Market) -> None:
    market.placed("buy", 1, 100, idempotency_key="k")
    response = market.post(side="buy", type="limit", price=99, quantity=1, idempotency_key="k")
    assert response.status_code == 409
    assert error_of(response)["code"] == 10
    assert refusal_of(response)["reason"] == "KEY_CONFLICT"


def test_another_clients_key_is_its_own(market: Market) -> None:
    first = market.placed("buy", 1, 100, idempotency_key="k")["order"]
    other = market.placed("buy", 1, 100, idempotency_key="k", client_id="other")["order"]
    assert other["order_id"] != first["order_id"]


def test_twenty_copies_at_once_give_one_order_i10(market: Market) -> None:
    market.placed("sell", 0.5, 100, client_id=f"{market.prefix}S")

    def copy(_: int) -> dict[str, object]:
        return market.placed("buy", 1, 100, idempotency_key="same")

    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(copy, range(20)))
    first = replies[0]
    assert first["trades"]
    for reply in replies:
        assert (reply["order"], reply["trades"]) == (first["order"], first["trades"])
    stored = market.http.get("/orders", params={"client_id": f"{market.prefix}A"}).json()
    assert len(stored["orders"]) == 1


def test_repeat_shows_the_first_outcome_and_the_book_of_now(market: Market) -> None:
    first = market.placed("buy", 1, 100, idempotency_key="k")
    market.placed("sell", 0.25, 100, client_id=f"{market.prefix}S")
    repeat = market.placed("buy", 1, 100, idempotency_key="k")
    assert (repeat["order"], repeat["trades"], repeat["sequence"]) == (
        first["order"],
        first["trades"],
        first["sequence"],
    )
    assert repeat["repeated"] is True
    assert "repeated" not in first
    assert repeat["orderbook"]["bids"] == [{"price": 100, "quantity": 0.75, "cumulative": 0.75}]


def test_place_reply_has_twenty_levels_best_first(market: Market) -> None:
    for step in range(25):
        reply = market.placed("buy", 0.1, 100 - step)
    bids = reply["orderbook"]["bids"]
    assert [level["price"] for level in bids] == [100 - step for step in range(20)]
    assert [Decimal(str(level["cumulative"])) for level in bids] == [
        Decimal("0.1") * count for count in range(1, 21)
    ]


def test_sums_leave_no_dust(market: Market) -> None:
    for quantity in (0.1, 0.2):
        market.placed("sell", quantity, 100)
    reply = market.placed("buy", 0.3, 100, client_id=f"{market.prefix}B")
    assert reply["order"]["status"] == "filled"
    assert [trade["quantity"] for trade in reply["trades"]] == [0.1, 0.2]
    assert reply["orderbook"] == {"bids": [], "asks": []}


def test_an_order_that_a_rule_made_smaller_has_no_reason_of_an_end(market: Market) -> None:
    market.placed("sell", 1, 100)
    reduced = market.placed("buy", 3, 100, self_trade_prevention="decrement")["order"]
    assert (reduced["status"], reduced["remaining_quantity"]) == ("open", 2)
    assert "reject_reason" not in reduced
    assert market.get_order(reduced["order_id"]) == reduced
