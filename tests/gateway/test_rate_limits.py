"""Rate limits as HTTP says them."""

from pathlib import Path

import httpx

from tests.gateway.door import refusal_of
from tests.gateway.websocket_client import client_of
from tests.running import Starter

ORDER = {"client_id": "c-1", "side": "buy", "type": "limit", "price": 100, "quantity": 1}


def test_headers_tell_the_limit_and_429_when_to_come_back(starter: Starter, tmp_path: Path) -> None:
    configuration = tmp_path / "slow.toml"
    configuration.write_text("[rates]\norders_per_s = 1\n", encoding="utf-8")
    everything = starter.up("--config", str(configuration))
    with httpx.Client(base_url=everything.http) as client:
        taken = client.post("/orders", json=ORDER)
        over = taken
        while over.status_code == 201:  # A slow machine may need more than a second for one.
            over = client.post("/orders", json=ORDER)
        assert (taken.status_code, over.status_code) == (201, 429)
        assert taken.headers["x-ratelimit-limit"] == "1"
        assert taken.headers["x-ratelimit-remaining"] == "0"
        assert "retry-after" not in taken.headers
        assert over.headers["x-ratelimit-limit"] == "1"
        assert over.headers["retry-after"] == "1"
        assert over.json()["code"] == 8
        assert over.json()["error"] == over.json()["message"]
        assert refusal_of(over)["retry_after_s"] == "1"
        assert "too little left of its 1" in over.json()["error"]
        orders = [{**ORDER, "client_id": "x" * 64, "order_id": f"{n:064}"} for n in range(300)]
        many = over
        while many.status_code == 429:
            many = client.post("/orders/batch", json={"orders": orders})
        assert many.status_code == 200
        page = client.get("/orders?page_size=1000")
        assert len(page.content) > 65_536, "more than a connection's buffer"
        assert len(page.json()["orders"]) > 300
        for reply in (many, page):
            assert "x-ratelimit-remaining" in reply.headers
        for _ in range(5):
            assert client.get("/market/orderbook").status_code == 200
            reply = client.get("/healthz")
            assert reply.status_code == 200
            assert "x-ratelimit-limit" not in reply.headers


def test_a_websocket_draws_on_the_budget_of_its_client_s_address(
    starter: Starter, tmp_path: Path
) -> None:
    """Which is the same over HTTP, and not that of other clients."""
    configuration = tmp_path / "slow.toml"
    configuration.write_text("[rates]\norders_per_s = 1\n", encoding="utf-8")
    everything = starter.up("--config", str(configuration))
    busy, other = "127.0.0.2", "127.0.0.3"
    over_http = httpx.HTTPTransport(local_address=busy)
    with httpx.Client(base_url=everything.http, transport=over_http) as http:
        orders = [{**ORDER, "client_id": f"c-{number}"} for number in range(600)]
        assert http.post("/orders/batch", json={"orders": orders}).status_code == 200
    with client_of(everything.http, source_address=(busy, 0)) as client:
        client.send(ORDER | {"client_id": "new-1"})
        error = client.until("error")
        (detail,) = error["details"]
        assert detail["reason"] == "RATE_LIMITED"
        assert detail["metadata"]["value"] == f"address {busy}"
        wait_s = int(detail["metadata"]["retry_after_s"])
        assert 300 < wait_s <= 600
        assert f"try again in {wait_s} s" in error["error"]
    with client_of(everything.http, source_address=(other, 0)) as client:
        client.ask(ORDER | {"client_id": "new-2"}, "order_accepted")
