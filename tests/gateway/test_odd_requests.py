"""Requests that no documented client sends: each gets an error that says what is wrong with it, of
the one shape, and none is a fault of the server's or a success."""

import json
import socket
from contextlib import closing

import httpx
import pytest

from tests.gateway.door import Market, error_of
from tests.running import Everything

UPGRADE = "Connection: upgrade\r\nUpgrade: websocket\r\n"


def answer(exchange: Everything, request: bytes) -> httpx.Response:
    """What comes of bytes that no client library would send."""
    with socket.create_connection(("127.0.0.1", exchange.http_port), timeout=10) as connection:
        connection.sendall(request)
        with closing(connection.makefile("rb")) as stream:
            status = int(stream.readline().split()[1])
            headers = {}
            while (line := stream.readline()) != b"\r\n":
                name, _, value = line.decode().partition(":")
                headers[name.strip()] = value.strip()
            body = stream.read(int(headers["content-length"]))
    return httpx.Response(status, headers=headers, content=body)


@pytest.mark.parametrize(
    ("request_line", "headers", "status", "word"),
    [
        ("GET /healthz", "", 400, "host"),
        ("get /healthz", "Host: x\r\n", 400, "method"),
        ("GET /healthz", "Host: x\r\nclient_id: a\r\n", 400, "underscore"),
        ("GET /healthz", "Host: x\r\nContent-Length: x\r\n", 400, "length"),
        ("GET /market/positions/a%00b", "Host: x\r\n", 400, "%00"),
        ("GET /orders?client_id=%00&page_size=0", "Host: x\r\n", 400, "page_size"),
        ("GET /healthz#part", "Host: x\r\n", 400, "#"),
        ("GET /healthz", "Host: x\r\n" + "Name: x\r\n" * 100, 431, "at most 100"),
        ("GET /healthz", f"Host: x\r\nName: {'x' * 16_384}\r\n", 431, "16 KiB"),
        ("OPTIONS *", "Host: x\r\n", 404, "route"),
        ("GET /orders", f"Host: x\r\n{UPGRADE}", 403, "/stream"),
        ("GET /stream", f"Host: x\r\n{UPGRADE}Origin: http://y\r\n", 403, "origin"),
        ("GET /stream", f"Host: x\r\n{UPGRADE}Origin: http://[\r\n", 403, "origin"),
        ("GET /stream", f"Host: x\r\n{UPGRADE}", 400, "Sec-WebSocket-Key"),
        ("POST /stream", f"Host: x\r\n{UPGRADE}", 405, "POST"),
    ],
)
def test_an_error_says_what_is_wrong(
    exchange: Everything, request_line: str, headers: str, status: int, word: str
) -> None:
    response = answer(exchange, f"{request_line} HTTP/1.1\r\n{headers}\r\n".encode())
    assert response.status_code == status
    assert word in error_of(response)["message"]


@pytest.mark.parametrize("encoding", ["gzip", "gzip, chunked", "identity"])
def test_a_body_in_another_transfer_encoding_is_not_carried_out(
    exchange: Everything, encoding: str
) -> None:
    head = f"POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {encoding}\r\n\r\n"
    response = answer(exchange, head.encode())
    assert response.status_code == 501
    error = error_of(response)
    assert (error["code"], error["details"]) == (12, [])
    assert "taken is chunked, and the request was not carried out" in error["message"]


@pytest.mark.parametrize(
    ("name", "cancel"), [(".", "DELETE /orders/%2e"), ("..", "POST /orders/../cancel")]
)
def test_dots_are_an_id_like_any_other(
    exchange: Everything, market: Market, name: str, cancel: str
) -> None:
    def call(request_line: str) -> httpx.Response:
        head = f"{request_line} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        return answer(exchange, head.encode())

    market.placed("buy", 1, 100, order_id=name, client_id=name)
    for form in (name, name.replace(".", "%2E")):
        for path in (f"/orders/{form}", f"/api/v1/orders/{form}"):
            assert call(f"GET {path}").json()["order"]["order_id"] == name
        assert call(f"GET /market/positions/{form}").json()["client_id"] == name
    assert call(cancel).json()["order"]["status"] == "cancelled"


@pytest.mark.parametrize("path", ["/x/../orders", "/./healthz", "//healthz", "/orders/../healthz"])
def test_dots_lead_nowhere_else(exchange: Everything, path: str) -> None:
    response = answer(exchange, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (response.status_code, error_of(response)["code"]) == (404, 5)


def test_http_1_0_is_served(exchange: Everything, market: Market) -> None:
    """Proxies and load generators speak it unless told otherwise."""
    order = {"client_id": "a", "instrument": market.instrument, "side": "buy", "type": "limit"}
    body = json.dumps(order | {"price": 100, "quantity": 1}).encode()
    head = f"POST /orders HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n"
    placed = answer(exchange, head.encode() + body)
    assert (placed.status_code, placed.json()["order"]["price"]) == (201, 100)
    assert error_of(answer(exchange, b"GET /none HTTP/1.0\r\n\r\n"))["code"] == 5


@pytest.mark.parametrize(
    "header",
    [
        {"grpc-timeout": "soon"},
        {"grpc-timeout": "0S"},
        {"grpc-encoding": "none-such"},
        {"grpc-trace-bin": "!"},
        {"anything-bin": "!"},
    ],
    ids=str,
)
def test_headers_of_grpc_mean_nothing_here(market: Market, header: dict[str, str]) -> None:
    order = {"client_id": "a", "instrument": market.instrument, "side": "buy", "type": "limit"}
    body = order | {"price": 100, "quantity": 1}
    assert market.http.post("/orders", json=body, headers=header).status_code == 201


def test_grpc_on_a_path_of_json_is_no_success(http: httpx.Client) -> None:
    for content_type in ("application/grpc", "application/grpc+proto"):
        response = http.post("/orders", content=b"{}", headers={"content-type": content_type})
        # gRPC's own way to say that there is no such method.
        assert (response.status_code, response.headers["grpc-status"]) == (200, "12")


def test_what_only_looks_like_grpc_gets_json(http: httpx.Client) -> None:
    headers = {"content-type": "application/grpc-web"}
    path = "/exchange.v1.OrderService/PlaceOrder"
    response = http.post(path, content=json.dumps({}), headers=headers)
    assert response.status_code == 404
    assert error_of(response)["code"] == 5


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://elsewhere.example"},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "null"},
        {"origin": "http://EXCHANGE.example", "host": "exchange.example"},
        {"origin": "http://exchange.example", "host": "exchange.example:80"},
    ],
    ids=str,
)
def test_pages_of_others_can_only_read(market: Market, headers: dict[str, str]) -> None:
    """What a browser sends for any page without asking, at both doors."""
    order_id = market.placed("buy", 1, 100)["order"]["order_id"]
    order = {"client_id": "a", "instrument": market.instrument, "side": "buy", "type": "limit"}
    body = json.dumps(order | {"price": 100, "quantity": 1})
    sent = {**headers, "content-type": "text/plain"}
    for method, path in (
        ("POST", "/orders"),
        ("POST", "/api/v1/orders"),
        ("POST", "/orders/batch"),
        ("POST", "/orders/cancel"),
        ("POST", f"/orders/{order_id}/replace"),
        ("POST", "/market/orderbook/snapshot"),
        ("POST", f"/orders/{order_id}/cancel"),
        ("DELETE", f"/orders/{order_id}"),
    ):
        content = body if path.endswith("/orders") else ""
        response = market.http.request(method, path, content=content, headers=sent)
        assert response.status_code == 403
        error = error_of(response)
        assert (error["code"], error["details"]) == (7, [])
        assert "another origin" in error["message"]
    assert market.get("/market/bbo")["bid_quantity"] == 1
    assert market.http.get(f"/orders/{order_id}", headers=headers).status_code == 200
    if "origin" in headers:
        upgrade = {"connection": "upgrade", "upgrade": "websocket"}
        assert market.http.get("/stream", headers=upgrade | headers).status_code == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_own_pages_can_do_all(market: Market, site: str) -> None:
    own = {"origin": str(market.http.base_url).rstrip("/"), "sec-fetch-site": site}
    order = {"client_id": "a", "instrument": market.instrument, "side": "buy", "type": "limit"}
    body = order | {"price": 100, "quantity": 1}
    assert market.http.post("/orders", json=body, headers=own).status_code == 201
