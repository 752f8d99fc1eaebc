"""Every refusal over HTTP has the one shape, the right status, and leaves no trace."""

import json
import socket

import httpx
import pytest

from gateway.filters import REQUEST_BYTES_MAX
from tests.gateway.door import Market, error_of, refusal_of
from tests.running import Everything

GOOD = {"client_id": "a", "side": "buy", "type": "limit", "price": 100, "quantity": 1}
FINE_ENOUGH = "a number of at most 15 significant digits and 8 decimals"
SMALL_ENOUGH = "a number between -92233720368.54775807 and 92233720368.54775807"


def without(field: str) -> dict[str, object]:
    return {name: value for name, value in GOOD.items() if name != field}


@pytest.mark.parametrize(
    ("order", "status", "reason", "field", "value", "limit"),
    [
        (without("client_id"), 400, "FIELD_REQUIRED", "client_id", "", ""),
        (without("side"), 400, "FIELD_REQUIRED", "side", "", "buy or sell"),
        (without("type"), 400, "FIELD_REQUIRED", "type", "", "limit or market"),
        (without("quantity"), 400, "FIELD_REQUIRED", "quantity", "", ""),
        (without("price"), 400, "PRICE_REQUIRED", "price", "", "limit orders"),
        (GOOD | {"price": None}, 400, "PRICE_REQUIRED", "price", "", "limit orders"),
        (GOOD | {"side": "up"}, 400, "SIDE_INVALID", "side", "up", "buy or sell"),
        (GOOD | {"side": "BUY"}, 400, "SIDE_INVALID", "side", "BUY", "buy or sell"),
        (GOOD | {"side": "1"}, 400, "SIDE_INVALID", "side", "1", "buy or sell"),
        (GOOD | {"type": "stop"}, 400, "TYPE_INVALID", "type", "stop", "limit or market"),
        (
            GOOD | {"time_in_force": "day"},
            400, "TIME_IN_FORCE_INVALID", "time_in_force", "day", "gtc, ioc or fok",
        ),
        (
            GOOD | {"self_trade_prevention": "all"},
            400, "SELF_TRADE_PREVENTION_INVALID", "self_trade_prevention", "all",
            "none, cancel_newest, cancel_oldest, cancel_both or decrement",
        ),
        (
            GOOD | {"type": "market"},
            400, "PRICE_NOT_ALLOWED", "price", "100", "limit orders",
        ),
        (
            without("price") | {"type": "market", "time_in_force": "gtc"},
            400, "TIME_IN_FORCE_NOT_ALLOWED", "time_in_force", "gtc", "limit orders",
        ),
        (
            GOOD | {"post_only": True, "time_in_force": "fok"},
            400, "POST_ONLY_NOT_ALLOWED", "post_only", "true", "limit orders, gtc",
        ),
        (GOOD | {"instrument": "NO-SUCH"}, 404, "INSTRUMENT_UNKNOWN", "instrument", "NO-SUCH", ""),
        (
            GOOD | {"client_id": "a\u0007b"},
            400, "ID_INVALID", "client_id", "a\u0007b", "[A-Za-z0-9._:-]{1,64}",
        ),
        (
            GOOD | {"order_id": "é"},
            400, "ID_INVALID", "order_id", "é", "[A-Za-z0-9._:-]{1,64}",
        ),
        (
            GOOD | {"idempotency_key": "k" * 65},
            400, "ID_INVALID", "idempotency_key", "k" * 65, "[A-Za-z0-9._:-]{1,64}",
        ),
        (GOOD | {"order_id": "X-1"}, 400, "ID_RESERVED", "order_id", "X-1", "x-"),
        (GOOD | {"price": 0}, 400, "PRICE_NOT_POSITIVE", "price", "0", "0"),
        (GOOD | {"price": -1.5}, 400, "PRICE_NOT_POSITIVE", "price", "-1.5", "0"),
        (GOOD | {"quantity": 0}, 400, "QUANTITY_NOT_POSITIVE", "quantity", "0", "0"),
        (GOOD | {"quantity": -2}, 400, "QUANTITY_NOT_POSITIVE", "quantity", "-2", "0"),
        (GOOD | {"price": "NaN"}, 400, "NUMBER_INVALID", "price", "nan", "a finite number"),
        (
            GOOD | {"quantity": "-Infinity"},
            400, "NUMBER_INVALID", "quantity", "-inf", "a finite number",
        ),
        (
            GOOD | {"price": 0.30000000000000004},
            400, "NUMBER_INVALID", "price", "0.30000000000000004", FINE_ENOUGH,
        ),
        (GOOD | {"quantity": 1e-9}, 400, "NUMBER_INVALID", "quantity", "1e-09", FINE_ENOUGH),
        (
            GOOD | {"price": 12345678.123456789},
            400, "NUMBER_INVALID", "price", "12345678.12345679", FINE_ENOUGH,
        ),
        (GOOD | {"price": 1e12}, 400, "NUMBER_INVALID", "price", "1000000000000.0", SMALL_ENOUGH),
        (GOOD | {"quantity": 1e300}, 400, "NUMBER_INVALID", "quantity", "1e+300", SMALL_ENOUGH),
    ],
)  # fmt: skip
def test_refusal_names_field_limit_and_value(
    http: httpx.Client,
    order: dict[str, object],
    status: int,
    reason: str,
    field: str,
    value: str,
    limit: str,
) -> None:
    response = http.post("/orders", json=order)
    assert response.status_code == status
    refusal = refusal_of(response)
    assert refusal == {
        "reason": reason, "field": field, "value": value, "limit": limit, "retry_safe": "false",
    }  # fmt: skip
    message = response.json()["message"]
    assert field in message
    assert value in message or not value.isprintable()
    assert response.json()["code"] == {400: 3, 404: 5}[status]


def test_refusals_leave_no_trace(market: Market) -> None:
    sequence = market.get("/market/bbo")["sequence"]
    fields = {"side": "buy", "type": "limit", "price": "NaN", "quantity": 1}
    for _ in range(3):
        assert market.post(**fields, idempotency_key="k", order_id="gone").status_code == 400
    assert market.get("/market/bbo")["sequence"] == sequence
    assert market.http.get("/orders/gone").status_code == 404
    market.placed("buy", 1, 100, idempotency_key="k")


def test_long_values_are_cut_in_the_refusal(http: httpx.Client) -> None:
    response = http.post("/orders", json=GOOD | {"instrument": "Z" * 900_000})
    assert response.status_code == 404
    assert len(response.content) < 2_000
    assert "Z" * 50 in response.json()["message"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"client_id":',
        b"not json",
        b"[]",
        b"5",
        b'{"price":NaN}',
        b'{"client_id":"\xff"}',
        b'{"a":' * 200 + b"1" + b"}" * 200,
    ],
)
def test_json_that_the_parser_refuses(http: httpx.Client, body: bytes) -> None:
    response = http.post("/orders", content=body)
    assert response.status_code == 400
    error = error_of(response)
    assert (error["code"], error["details"]) == (3, [])


@pytest.mark.parametrize("body", ["[]", " null", '"a"', "5", '[{"client_id":"a"}]'])
@pytest.mark.parametrize("path", ["/orders", "/orders/batch", "/market/orderbook/snapshot"])
def test_a_body_that_is_no_object_is_named(http: httpx.Client, path: str, body: str) -> None:
    response = http.post(path, content=body)
    assert response.status_code == 400
    shown = body.strip().strip('"')
    assert error_of(response)["message"] == (
        f'the request body "{shown}" is not an object: send one that is'
    )


def test_empty_body_is_a_request_without_fields(http: httpx.Client) -> None:
    response = http.post("/orders")
    assert response.status_code == 400
    assert refusal_of(response)["field"] == "client_id"


def test_unknown_query_parameter_is_refused(http: httpx.Client) -> None:
    for response in (
        http.get("/market/orderbook", params={"depth": "5"}),
        http.get("/orders", params={"user": "a"}),
        http.post("/orders", params={"dry_run": "1"}, json=GOOD),
        http.get("/healthz", params={"verbose": "1"}),
    ):
        assert response.status_code == 400
        error = error_of(response)
        assert (error["code"], error["details"]) == (3, [])
        name = str(response.request.url.params).partition("=")[0]
        assert error["message"] == (
            f'the query parameter "{name}" is none that this call takes: leave it out'
        )


def test_a_query_changes_nothing_of_what_is_no_call(http: httpx.Client) -> None:
    assert http.get("/orderbook/BTC-USD?levels=5").status_code == 404
    assert http.put("/market/trades?limit=1").status_code == 405
    assert http.get("/metrics/gateway?x=1").status_code == 200


def test_names_of_the_query_may_be_encoded(http: httpx.Client) -> None:
    assert http.get("/market/trades?%6Cimit=1&instrument=BTC%2DUSD").status_code == 200
    assert refusal_of(http.get("/market/trades?%6Cimit=0"))["field"] == "limit"


def test_an_unknown_query_parameter_is_named_as_it_was_sent(http: httpx.Client) -> None:
    for path, name in (
        ("/market/orderbook?levels=1&a%22%0A.b=1", "a%22%0A.b"),
        ("/orders?client_id.x=1", "client_id.x"),
        (f"/orders?{'n' * 81}=1", "n" * 80),
    ):
        assert error_of(http.get(path))["message"] == (
            f'the query parameter "{name}" is none that this call takes: leave it out'
        )


def test_what_the_gateway_tells_the_server_is_no_query_parameter(http: httpx.Client) -> None:
    response = http.post("/orders?unreadable.field=price", json=GOOD)
    assert '"unreadable.field" is none that this call takes' in error_of(response)["message"]


@pytest.mark.parametrize("name", ["order_id", "orderId", "%6frder_id", "order%5fid", "order%49d"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/orders/{}"),
        ("DELETE", "/api/v1/orders/{}"),
        ("POST", "/orders/{}/cancel"),
        ("POST", "/orders/{}/replace"),
        ("GET", "/orders/{}"),
        ("GET", "/api/v1/orders/{}"),
    ],
)
def test_the_path_says_which_order(market: Market, method: str, path: str, name: str) -> None:
    here, other = (f"{market.prefix}{which}" for which in ("here", "other"))
    for order_id in (here, other):
        market.placed("buy", 1, 100, order_id=order_id)
    response = market.http.request(method, f"{path.format(here)}?{name}={other}")
    assert response.status_code == 400
    error = error_of(response)
    assert (error["code"], error["details"]) == (3, [])
    assert "is in the path" in error["message"]
    for order_id in (here, other):
        assert market.get_order(order_id)["status"] == "open"


@pytest.mark.parametrize("name", ["order_id", "orderId", "order\\u005fid"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/orders/{}/cancel"), ("DELETE", "/orders/{}"), ("DELETE", "/api/v1/orders/{}")],
)
def test_the_body_names_no_other_order(market: Market, method: str, path: str, name: str) -> None:
    """The same one it may: `%2e` is a dot."""
    here, other = (f"{market.prefix}{which}" for which in ("here", "other"))
    for order_id in (here, other):
        market.placed("buy", 1, 100, order_id=order_id)
    place = path.format(here.replace(".", "%2e"))
    response = market.http.request(method, place, content=f'{{"{name}":"{other}"}}')
    assert response.status_code == 400
    assert error_of(response)["message"].endswith(
        f' "{other}" is not that of the path: send one that is'
    )
    for order_id in (here, other):
        assert market.get_order(order_id)["status"] == "open"
    response = market.http.request(method, place, content=f'{{"{name}":"{here}"}}')
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("empty", ['""', "null"])
@pytest.mark.parametrize("name", ["order_id", "orderId"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/orders/{}/replace"),
        ("POST", "/orders/{}/cancel"),
        ("DELETE", "/orders/{}"),
        ("DELETE", "/api/v1/orders/{}"),
    ],
)
def test_an_empty_id_in_the_body_is_none(
    market: Market, method: str, path: str, name: str, empty: str
) -> None:
    order_id = market.placed("buy", 1, 100)["order"]["order_id"]
    body = f'{{"{name}":{empty},"quantity":0.5}}'
    response = market.http.request(method, path.format(order_id), content=body)
    assert response.status_code == 200, response.text
    assert response.json()["order"]["order_id"] == order_id


def test_the_body_of_a_delete_is_held_to_what_its_fields_take(market: Market) -> None:
    """It may say whose the order is, as that of the `POST` does."""
    path = f"/orders/{market.placed('buy', 1, 100)['order']['order_id']}"
    response = market.http.request("DELETE", path, json={"client_id": 5})
    assert error_of(response)["message"] == 'client_id "5" is not a string: send one that is'
    response = market.http.request("DELETE", path, json={"client_id": "stranger"})
    assert response.status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/healthz", b"x"),
        ("/orders?client_id=nobody", b'{"page_size":"1","client_id":"a"}'),
        ("/market/orderbook", b'{"levels":1}' * 200_000),
    ],
)
def test_the_body_of_a_read_means_nothing(
    http: httpx.Client, method: str, path: str, body: bytes
) -> None:
    response = http.request(method, path, content=body)
    without = http.request(method, path)
    assert response.status_code == without.status_code == 200, response.text
    assert ("timestamp" in response.text) or response.content == without.content


@pytest.mark.parametrize("again", ["client_id=b", "client_id=", "client_id", "a=b&client_id"])
def test_the_path_says_whose_positions(http: httpx.Client, again: str) -> None:
    response = http.get(f"/market/positions/a?{again}")
    assert response.status_code == 400
    assert "the query parameter client_id is in the path" in error_of(response)["message"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"side": "up"}, "side"),
        ({"status": "done"}, "status"),
        ({"page_size": "1001"}, "page_size"),
        ({"page_size": "x"}, "page_size"),
        ({"page_token": "first"}, "page_token"),
    ],
)
def test_wrong_query_value_is_named(http: httpx.Client, query: dict[str, str], field: str) -> None:
    response = http.get("/orders", params=query)
    assert response.status_code == 400
    refusal = refusal_of(response)
    assert (refusal["field"], refusal["value"]) == (field, query[field])


@pytest.mark.parametrize(
    "path",
    [
        "/order",
        "/orders/",
        "/orders/a/b",
        "/market",
        "/exchange.http.v1.OrderService/PlaceOrder",
    ],
)
def test_unknown_route(http: httpx.Client, path: str) -> None:
    response = http.get(path)
    assert response.status_code == 404
    error = error_of(response)
    assert (error["code"], error["details"]) == (5, [])


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/orders", "POST, GET, HEAD"),
        ("PATCH", "/orders/a", "DELETE, GET, HEAD"),
        ("GET", "/orders/a/cancel", "POST"),
        ("HEAD", "/orders/a/cancel", "POST"),
        ("GET", "/orders/a/replace", "POST"),
        ("POST", "/orders/a", "DELETE, GET, HEAD"),
        ("PUT", "/orders/cancel", "DELETE, POST, GET, HEAD"),
        ("PUT", "/orders/batch", "POST, DELETE, GET, HEAD"),
        ("POST", "/market/orderbook", "GET, HEAD"),
        ("GET", "/market/orderbook/snapshot", "POST"),
        ("DELETE", "/", "GET, HEAD"),
        ("HEAD", "/market/trades/stream", "GET"),
    ],
)
def test_wrong_method(http: httpx.Client, method: str, path: str, allowed: str) -> None:
    response = http.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == allowed
    if method == "HEAD":
        assert response.content == b""
        return
    error = error_of(response)
    assert (error["code"], error["details"]) == (12, [])


@pytest.mark.parametrize("path", ["/orders", "/market/bbo", "/none"])
def test_a_method_that_envoy_looks_at_first_is_refused_like_others(
    http: httpx.Client, path: str
) -> None:
    response = http.request("QUERY", path)
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD, POST, DELETE"
    error = error_of(response)
    assert (error["code"], error["details"]) == (12, [])
    assert "QUERY" in error["message"]


def test_body_may_have_one_mib(http: httpx.Client) -> None:
    def padded(length: int) -> bytes:
        body = json.dumps(GOOD | {"client_id": "", "note": ""})
        return body.replace('"note": ""', f'"note": "{"n" * (length - len(body))}"').encode()

    response = http.post("/orders", content=padded(REQUEST_BYTES_MAX))
    assert refusal_of(response)["field"] == "client_id"
    response = http.post("/orders", content=padded(REQUEST_BYTES_MAX + 1))
    assert response.status_code == 413
    error = error_of(response)
    assert (error["code"], error["details"]) == (3, [])
    assert str(REQUEST_BYTES_MAX) in error["message"]


def test_odd_headers_are_refused(http: httpx.Client) -> None:
    response = http.get("/healthz", headers={"x_forwarded_user": "root"})
    assert response.status_code == 400
    assert error_of(response)["code"] == 3
    response = http.get("/healthz", headers={"x-long": "a" * 20_000})
    assert response.status_code == 431
    assert error_of(response)["code"] == 3


def test_bytes_that_are_not_http_end_their_connection_only(
    exchange: Everything, http: httpx.Client
) -> None:
    with socket.create_connection(("127.0.0.1", exchange.http_port), timeout=10) as connection:
        connection.sendall(b"\x00\xff\r\n\r\n")
        assert b" 400 " in connection.recv(4096)
    assert http.get("/healthz").status_code == 200
