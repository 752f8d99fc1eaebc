"""The gateway's own figures: the errors that no server knows of."""

import re
import socket
from collections import Counter

import httpx
import pytest

from gateway.route_table import FIGURES_PATH
from tests.gateway.test_processes import alone, is_served
from tests.running import free_port, until

BODY_BYTES_MAX = 1 << 20


def errors(http: httpx.Client) -> Counter[str]:
    response = http.get(FIGURES_PATH).raise_for_status()
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "# TYPE gateway_errors_total counter\n" in response.text
    found = re.findall(r'^gateway_errors_total\{code="([0-9]{3})"\} ([0-9]+)$', response.text, re.M)
    return Counter({code: int(count) for code, count in found})


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "code"),
    [
        ("GET", "/nowhere", b"", {}, "404"),
        ("HEAD", "/nowhere", b"", {}, "404"),
        ("PUT", "/orders", b"", {}, "405"),
        ("POST", "/orders", b"{", {}, "400"),
        ("GET", "/market/bbo?x=1", b"", {}, "400"),
        ("POST", "/orders", b" " * (BODY_BYTES_MAX + 1), {}, "413"),
        ("POST", "/orders", b"{}", {"origin": "http://elsewhere"}, "403"),
        ("GET", "/orders", b"", {"long": "x" * 20_000}, "431"),
    ],
)
def test_what_the_gateway_refuses_is_counted(
    http: httpx.Client, method: str, path: str, content: bytes, headers: dict[str, str], code: str
) -> None:
    before = errors(http)
    response = http.request(method, path, content=content, headers=headers)
    assert str(response.status_code) == code
    assert errors(http) - before == Counter({code: 1})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/orders/unknown", 404), ("POST", "/orders", 400), ("GET", "/orders", 200)],
)
def test_what_the_server_answers_is_not(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    before = errors(http)
    assert http.request(method, path, json={}).status_code == status
    assert errors(http) == before


def test_a_gateway_without_its_server_shows_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it could make nothing of, or waited for in vain."""
    monkeypatch.setattr("gateway.configuration.HEADERS_S_MAX", 0.1)
    port = free_port()
    with alone(port), httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        until(lambda: is_served("127.0.0.1", port), 30, "a gateway that serves")
        assert http.get("/orders").status_code == 503
        for sent, status in ((b"GET / HTTP/1.1\r\n", b"408"), (b"GET\r\n\r\n", b"400")):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
                line.sendall(sent)
                assert line.recv(12) == b"HTTP/1.1 " + status
        assert errors(http) == Counter({"503": 1, "408": 1, "400": 1})
