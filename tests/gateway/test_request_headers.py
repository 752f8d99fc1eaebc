"""What the server is sent of a caller's headers: those that it reads, and no secret."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any, cast

import grpc
import httpx
import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse

from tests.gateway import http2
from tests.running import Starter, free_port, until

ODD = "José".encode("latin-1")
"""Which gRPC in Python can't read: it tells the log so, with the value."""
SAID = "198.51.100.7"
HEADERS = [
    (b"authorization", b"Bearer secret"),
    (b"cookie", ODD),
    (b"user-agent", ODD),
    (b"x-forwarded-for", SAID.encode() + b", " + ODD),
    (b"x-request-id", b"mine"),
    (b"grpc-anything", b"1"),
    (b"anything-bin", b"!"),
]
METADATA = (
    ("authorization", "secret"),
    ("x-forwarded-for", SAID),
    ("x-request-id", "mine"),
    ("anything-bin", b"\xff"),
)
OF_TRANSCODER = {"x-envoy-original-path", "x-envoy-original-method"}


class Heard(grpc.GenericRpcHandler):
    """A server that answers each call, being healthy, and keeps its metadata."""

    def __init__(self) -> None:
        self.metadata: dict[str, dict[str, str | bytes]] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        details = cast("Any", handler_call_details)
        self.metadata[details.method] = dict(details.invocation_metadata)
        reply = HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString()
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: reply)


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def address(heard: Heard, module_starter: Starter) -> Iterator[str]:
    """Of a gateway before it."""
    server = grpc.server(ThreadPoolExecutor(1), [heard])
    behind = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    address = f"127.0.0.1:{free_port()}"
    module_starter.run("gateway", "--http-port", address.rpartition(":")[2], "--server", behind)
    until(lambda: serves(address), 30, "a healthy server")
    yield address
    server.stop(None)


def serves(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/instruments").status_code != 503
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_json(heard: Heard, address: str, method: str) -> None:
    heard.metadata.clear()
    httpx.request(method, f"http://{address}/orders", headers=HEADERS)
    name = {"GET": "ListOrders", "POST": "PlaceOrder"}[method]
    metadata = heard.metadata[f"/exchange.http.v1.OrderService/{name}"]
    check({key: metadata[key] for key in metadata.keys() - OF_TRANSCODER})


def test_a_path_that_is_not_ascii_goes_no_further(heard: Heard, address: str) -> None:
    heard.metadata.clear()
    port = int(address.rpartition(":")[2])
    assert b'"code":3' in http2.asked(port, b"GET", b"/orders?client_id=" + ODD)
    assert heard.metadata.keys() <= {"/grpc.health.v1.Health/Check"}


def test_grpc(heard: Heard, address: str) -> None:
    path = "/exchange.v1.MarketData/ListInstruments"
    with grpc.insecure_channel(address) as channel:
        cast("Any", channel.unary_unary(path))(b"", metadata=METADATA, timeout=10)
    check(heard.metadata[path])


def check(metadata: dict[str, str | bytes]) -> None:
    assert metadata.pop("x-request-id") == "mine"
    seen = str(metadata.pop("x-forwarded-for"))
    assert ip_address(seen), "the one that the gateway saw"
    assert seen != SAID, "not what the caller says of himself"
    assert metadata == {}


@pytest.mark.parametrize(
    ("encoding", "passed"),
    [
        ("gzip", True),
        ("deflate", True),
        ("identity", True),
        ("bogus", False),
        ("GZIP", False),
        ("x" * 1_000, False),
    ],
)
def test_grpc_in_a_compression_that_the_server_does_not_know_goes_no_further(
    heard: Heard, address: str, encoding: str, passed: bool
) -> None:
    """The server's gRPC would write an error for each."""
    heard.metadata.clear()
    path = "/exchange.v1.MarketData/ListInstruments"
    headers = {"content-type": "application/grpc", "te": "trailers", "grpc-encoding": encoding}
    reply = httpx.post(f"http://{address}{path}", headers=headers, content=bytes(5), timeout=10)
    assert (path in heard.metadata) is passed
    if not passed:
        assert int(reply.headers["grpc-status"]) == grpc.StatusCode.UNIMPLEMENTED.value[0]
        assert reply.headers["grpc-accept-encoding"] == "identity, deflate, gzip"
        assert f"grpc-encoding {encoding[:40]} is not taken" in reply.headers["grpc-message"]
