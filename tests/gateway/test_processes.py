"""The gateway as a process: its configuration, its port, and a server that goes and comes."""

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import grpc
import httpx
import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse

from exchange.v1 import market_data_pb2, order_service_pb2
from exchange.v1.market_data_pb2_grpc import MarketDataStub
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
from gateway import envoy
from gateway.addresses import IPV6_LOOPBACK, can_be_listened_on
from gateway.clusters import cluster
from gateway.configuration import configuration, listener
from gateway.routes import OWN_METHODS, grpc_streams, json_routes, pattern_of
from tests.gateway.door import Market, error_of
from tests.running import Everything, Running, Starter, free_port, until

ORDER = {"client_id": "a", "side": "buy", "type": "limit", "price": 100, "quantity": 1}


def test_envoy_finds_the_configuration_valid() -> None:
    assert run(envoy.DefaultAddresses(), "--mode", "validate").returncode == 0


def run(addresses: envoy.DefaultAddresses, *options: str) -> subprocess.CompletedProcess[str]:
    """What an Envoy said that soon ended."""
    with os.fdopen(envoy.written(addresses)) as file:
        return subprocess.run(
            [*envoy.command(file.fileno()), *options],
            pass_fds=(file.fileno(),), check=False, capture_output=True, timeout=60, text=True,
        )  # fmt: skip


@contextmanager
def alone(port: int) -> Iterator[None]:
    """A gateway without a server."""
    addresses = envoy.DefaultAddresses("127.0.0.1", port, f"127.0.0.1:{free_port()}")
    with os.fdopen(envoy.written(addresses)) as file:
        process = subprocess.Popen(envoy.command(file.fileno()), pass_fds=(file.fileno(),))
    try:
        yield
    finally:
        process.kill()
        process.wait()


def docs(host: str, port: int) -> int:
    """The status of a page that the gateway has itself; 0 while nobody listens."""
    try:
        return httpx.get(f"http://{host}:{port}/docs").status_code
    except httpx.TransportError:
        return 0


def is_served(host: str, port: int) -> bool:
    return docs(host, port) == 200


def test_localhost_is_served_whichever_address_it_is_looked_up_as() -> None:
    """Where the machine has both: some clients try the first alone."""
    port = free_port()
    hosts = ["127.0.0.1", *(["[::1]"] if can_be_listened_on(IPV6_LOOPBACK, port) else [])]
    with alone(port):
        for host in hosts:
            until(partial(is_served, host, port), 30, f"a page of {host}")


def test_an_address_of_localhost_that_is_taken_is_left_to_who_has_it() -> None:
    port = free_port()
    if not can_be_listened_on(IPV6_LOOPBACK, port):
        return  # There is none.
    with socket.create_server((IPV6_LOOPBACK, port), family=socket.AF_INET6), alone(port):
        until(partial(is_served, "127.0.0.1", port), 30, "a page")


@pytest.mark.parametrize("host", ["127.0.0.2", "::1", "::", "0.0.0.0"])
def test_a_host_that_was_chosen_is_the_only_one(host: str) -> None:
    assert "additional_addresses" not in listener(envoy.DefaultAddresses(host, free_port()))


@pytest.mark.parametrize("host", ["[::1]", "[::]"])
def test_an_address_of_another_part_is_left_to_it(host: str) -> None:
    port = free_port()
    bridge = envoy.DefaultAddresses(http_port=port, websocket_address=f"{host}:{port}")
    server = envoy.DefaultAddresses(http_port=port, server_address=f"{host}:{port}")
    assert "additional_addresses" not in listener(bridge) | listener(server)


def test_what_is_refused_for_want_of_memory_was_not_carried_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.configuration.HEAP_BYTES_MAX", 1)
    port = free_port()
    # Also what takes no server.
    with alone(port):
        until(lambda: docs("127.0.0.1", port) == 503, 30, "a look at the heap")
        refused = httpx.post(f"http://127.0.0.1:{port}/orders", json=ORDER)
    error = error_of(refused)
    assert (refused.status_code, error["code"]) == (503, 14)
    assert "this one was not carried out" in error["error"]


def test_addresses() -> None:
    def address(host: str, server: str) -> tuple[object, object]:
        addresses = envoy.DefaultAddresses(host, 3000, server)
        upstream = cluster(addresses)
        endpoint = upstream["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        return (
            listener(addresses)["address"]["socket_address"]["address"],
            (upstream["type"], *endpoint["address"]["socket_address"].values()),
        )

    assert address("127.0.0.1", "[::1]:50051") == ("127.0.0.1", ("STATIC", "::1", 50051))
    assert address("0.0.0.0", "server:9") == ("0.0.0.0", ("STRICT_DNS", "server", 9))


def test_a_gateway_on_all_addresses_takes_callers_of_both_families(starter: Starter) -> None:
    """As the server's own port does."""
    http_port = free_port()
    if not can_be_listened_on(IPV6_LOOPBACK, http_port):
        return  # A machine without IPv6.
    run_gateway(starter, "::", http_port)
    until(lambda: listens("::1", http_port), 30, "a listener")
    assert listens("127.0.0.1", http_port)


@pytest.mark.parametrize(
    ("host", "served"), [("::1", ["::1"]), ("::ffff:127.0.0.1", ["127.0.0.1"])]
)
def test_a_gateway_on_one_address_of_ipv6_is_there_alone(
    starter: Starter, host: str, served: list[str]
) -> None:
    http_port = free_port()
    if not can_be_listened_on(host, http_port):
        return  # A machine without IPv6.
    run_gateway(starter, host, http_port)
    until(lambda: listens(served[0], http_port), 30, "a listener")
    assert [it for it in ("127.0.0.1", "::1") if listens(it, http_port)] == served


def run_gateway(starter: Starter, host: str, http_port: int) -> None:
    """Without a server."""
    ports = ("--http-port", str(http_port), "--server", f"127.0.0.1:{free_port()}")
    starter.run("gateway", "--host", host, "--insecure-public", *ports)


def listens(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        return probe.connect_ex((address, port)) == 0


def test_streams_that_nobody_reads_leave_room_for_all_others() -> None:
    """What may wait for every stream of a connection fits into what may wait on it."""
    (options,) = cluster(envoy.DefaultAddresses())["typed_extension_protocol_options"].values()
    http2 = options["explicit_http_config"]["http2_protocol_options"]
    all_streams = http2["max_concurrent_streams"] * http2["initial_stream_window_size"]
    assert http2["initial_connection_window_size"] >= all_streams


def test_there_is_no_admin_interface() -> None:
    assert "admin" not in configuration(envoy.DefaultAddresses())
    assert '"enable_reuse_port": false' in json.dumps(configuration(envoy.DefaultAddresses()))


def test_routes_are_those_of_the_contract() -> None:
    routes = {(route.method, route.template): route.creates for route in json_routes()}
    assert len(routes) == len(json_routes()) == 27
    assert [route for route, creates in routes.items() if creates] == [
        ("POST", "/orders"),
        ("POST", "/api/v1/orders"),
    ]
    assert [route.template for route in json_routes() if route.streams] == [
        "/market/trades/stream",
        "/market/orderbook/stream",
    ]
    assert pattern_of("/orders/{order_id}/cancel") == "/orders/[^/]+/cancel"
    assert "/exchange.v1.OrderService/TradingSession" in grpc_streams()
    assert "/exchange.v1.OrderService/PlaceOrder" not in grpc_streams()


def test_a_second_gateway_on_the_port_ends(exchange: Everything, http: httpx.Client) -> None:
    addresses = envoy.DefaultAddresses("127.0.0.1", exchange.http_port, exchange.grpc)
    ended = run(addresses)
    assert ended.returncode != 0
    assert "cannot bind" in ended.stderr
    assert http.get("/healthz").status_code == 200


def test_grpc_passes_through(channel: grpc.Channel, market: Market) -> None:
    market.placed("buy", 0.5, 100)
    request = market_data_pb2.GetOrderBookRequest(instrument=market.instrument)
    (bid,) = MarketDataStub(channel).GetOrderBook(request).book.bids
    assert (bid.price_e8, bid.quantity_e8) == (100 * 10**8, 5 * 10**7)
    with pytest.raises(grpc.RpcError) as refused:
        OrderServiceStub(channel).PlaceOrder(order_service_pb2.PlaceOrderRequest())
    error = cast("Any", refused.value)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(error.trailing_metadata())["grpc-status-details-bin"]
    with pytest.raises(grpc.RpcError) as unknown:
        cast("Any", channel.unary_unary("/exchange.v2.Nothing/Here"))(b"")
    assert cast("Any", unknown.value).code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("path", OWN_METHODS)
def test_nobody_speaks_for_a_follower_or_a_part(channel: grpc.Channel, path: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        cast("Any", channel.unary_unary(path))(b"", timeout=10)
    error = cast("Any", refused.value)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "own port" in error.details()


class Allowed(grpc.GenericRpcHandler):
    """A server that answers every call, and well, and remembers the time that each was allowed."""

    def __init__(self) -> None:
        self.seconds: dict[str, float | None] = {}

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        def answer(_request: bytes, context: Any) -> bytes:
            self.seconds[details.method] = context.time_remaining()
            return HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)


def test_the_server_is_told_a_callers_own_deadline_and_no_other(starter: Starter) -> None:
    """Or it would sequence what nobody waits for any more; who names none has its default."""
    allowed = Allowed()
    server = grpc.server(ThreadPoolExecutor(2), handlers=[allowed])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    port = free_port()
    starter.run("gateway", "--http-port", str(port), "--server", address)
    method = "/exchange.v1.OrderService/PlaceOrder"
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = cast("Any", channel.unary_unary(method))

        def answered() -> bool:
            try:
                call(b"", timeout=20, wait_for_ready=True)
            except grpc.RpcError:
                return False
            return True

        until(answered, 30, "an answer")
        assert 5 < (allowed.seconds[method] or 0) < 20.1
        call(b"")
    server.stop(None).wait()
    # Some releases of gRPC say so with a very long time.
    assert (allowed.seconds[method] or 1e9) >= 1e9


class Cancelling(grpc.GenericRpcHandler):
    """A server that is healthy, and cancels every call as gRPC itself does: without a word. Some
    it had begun to answer."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        def answer(_request: bytes, context: Any) -> bytes:
            if not details.method.startswith("/grpc.health."):
                if details.method.endswith("/ListOrders"):
                    context.send_initial_metadata(())
                context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")
            return HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)


def test_a_call_that_grpc_cancelled_is_told_as_one_of_unknown_outcome(starter: Starter) -> None:
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Cancelling()])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    port = free_port()
    starter.run("gateway", "--http-port", str(port), "--server", address)
    until(lambda: listens("127.0.0.1", port), 30, "a listener")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:

        def answered() -> httpx.Response | None:
            response = client.post("/orders", json=ORDER)
            return response if "is unknown" in response.text else None

        until(lambda: answered() is not None, 30, "a healthy server")
        for response in (client.post("/orders", json=ORDER), client.get("/orders")):
            assert response.status_code == 503
            error = error_of(response)
            assert (error["code"], error["details"]) == (14, [])
            assert "is unknown: repeat it with the same idempotency_key" in error["message"]
            assert not response.headers.keys() & {"grpc-status", "grpc-message"}
        assert client.head("/orders").status_code == 503
    server.stop(None).wait()


def test_streams_pass_through_as_they_come(exchange: Everything, market: Market) -> None:
    async def stream() -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{exchange.http_port}") as channel:
            request = market_data_pb2.StreamOrderBookRequest(instrument=market.instrument)
            call = MarketDataStub(channel).StreamOrderBook(request)
            async for message in call:
                if message.snapshot:
                    market.placed("buy", 0.5, 100)
                elif message.bids:
                    assert message.bids[0].quantity_e8 == 5 * 10**7
                    break
            call.cancel()

    asyncio.run(asyncio.wait_for(stream(), 30))


@pytest.fixture
def apart(starter: Starter) -> Iterator[tuple[Running, str, httpx.Client]]:
    """A server, and a gateway that nobody watches."""
    server, address = starter.server()
    port = free_port()
    ports = ("--http-port", str(port), "--server", address)
    starter.run("gateway", "--data-dir", str(starter.data_dir), *ports)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

        def serves() -> bool:
            try:
                return client.get("/healthz").status_code == 200
            except httpx.TransportError:
                return False

        until(serves, 30, "a gateway that serves")
        yield server, address, client


def test_server_goes_and_comes(starter: Starter, apart: tuple[Running, str, httpx.Client]) -> None:
    server, address, client = apart
    placed = client.post("/orders", json=ORDER | {"idempotency_key": "k"})
    assert placed.status_code == 201
    server.signal(signal.SIGSTOP)
    response = client.get("/healthz")
    server.signal(signal.SIGCONT)
    assert (response.status_code, error_of(response)["code"]) == (503, 14)
    assert "did not report its health within 2 s" in error_of(response)["error"]
    until(lambda: client.get("/healthz").status_code == 200, 30, "health of who goes on")

    server.kill()
    for response in (client.post("/orders", json=ORDER), client.get("/healthz")):
        assert response.status_code == 503
        assert response.elapsed.total_seconds() < 5, "I11"
        error = error_of(response)
        assert (error["code"], error["details"]) == (14, [])

    starter.server(int(address.rpartition(":")[2]))
    until(lambda: client.get("/healthz").status_code == 200, 30, "a server that is found again")
    again = client.post("/orders", json=ORDER | {"idempotency_key": "k"})
    assert again.status_code == 201
    assert again.json()["order"] == placed.json()["order"], "I10"


def test_snapshot_without_its_follower_is_not_available(
    apart: tuple[Running, str, httpx.Client],
) -> None:
    _, _, client = apart
    response = client.post("/market/orderbook/snapshot")
    assert response.status_code == 503
    assert error_of(response)["code"] == 14
    health = client.get("/healthz").json()
    assert (health["status"], health["checks"]["snapshots"]) == ("degraded", "down")
    assert health["degraded"]
