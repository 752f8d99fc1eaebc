"""WebSocket clients that don't read, too many of them, and floods at the gateway's port."""

import asyncio
import re
import socket
import struct
import threading
from contextlib import suppress
from typing import Any, cast

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.websocket import bridge as bridges
from gateway.websocket.outgoing import WAITING_BYTES_MAX
from server.exits import Exit
from tests.gateway.door import Market
from tests.gateway.test_websocket_limits import HANDSHAKE, Nowhere
from tests.gateway.websocket_client import SECONDS, Client, client_of
from tests.running import Everything, Starter, free_port, until

TRADES_PER_BATCH = 200
SWEPT = 2_000
"""Orders that one takes: more than may wait for a client, in one command."""
FLOOD = 300
RESETS = 5_000
PINGS = 50_000
KERNEL_BYTES = 4 * 1024 * 1024
"""Of both ends' buffers together, at most: what is unread beyond it waits in the bridge."""


@pytest.fixture(scope="module")
def straight(exchange: Everything, module_starter: Starter) -> str:
    """A second bridge to the same server, reached without Envoy and its buffers."""
    address = f"127.0.0.1:{free_port()}"
    running = module_starter.run(
        "websocket", EXCHANGE_GRPC=exchange.grpc, EXCHANGE_WEBSOCKET=address
    )
    running.wait_serving()
    return f"http://{address}"


def traded(market: Market, count: int) -> list[str]:
    """The sequences of so many trades, from one batch."""
    order = {"client_id": f"{market.prefix}B", "instrument": market.instrument, "type": "limit"}
    orders = [{**order, "side": "buy", "price": 50, "quantity": 1} for _ in range(count)]
    reply = market.http.post("/orders/batch", json={"orders": orders}).json()
    return [trade["sequence"] for each in reply["results"] for trade in each["trades"]]


def test_client_that_never_reads_is_cut_and_others_get_every_trade(
    straight: str, market: Market
) -> None:
    market.placed("sell", 1_000_000, 50)
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, _, port = straight.removeprefix("http://").rpartition(":")
    narrow.connect((host, int(port)))
    with (
        client_of(straight) as healthy,
        client_of(straight, sock=narrow, max_queue=1, compression=None) as stuck,
    ):
        healthy.subscribe(market.instrument, "trades")
        stuck.subscribe(market.instrument, "trades", "orders", "orderbook")
        expected: list[str] = []
        sent = 0
        while sent < KERNEL_BYTES + WAITING_BYTES_MAX and not is_cut(stuck):
            expected += traded(market, TRADES_PER_BATCH)
            last = expected[-1]
            healthy.until("trades", lambda it, last=last: it["sequence"] == last)  # type: ignore[misc]
            sent += TRADES_PER_BATCH * 1_000
        seen = [frame["sequence"] for frame in healthy.seen if frame["type"] == "trades"]
        assert seen == expected
        with pytest.raises(ConnectionClosed):
            stuck.until("never")
        closed = stuck.connection.protocol.close_rcvd
        got = [frame["sequence"] for frame in stuck.seen if frame["type"] == "trades"]
        assert got == expected[: len(got)], "up to where it was cut, nothing is missing"
        resume = str(int(got[-1]) + 1)
        if closed is not None:
            assert closed.code == 1013
            resume = closed.reason.rpartition("from_sequence ")[2]
            assert int(resume) <= int(got[-1]) + 1
        with client_of(straight) as again:
            again.subscribe(market.instrument, "trades", from_sequence=resume)
            again.until("trades", lambda it: it["sequence"] == expected[-1])
            rest = [frame["sequence"] for frame in again.seen if frame["type"] == "trades"]
        assert [*got, *(it for it in rest if int(it) > int(got[-1]))] == expected
        assert healthy.ask({"type": "ping"}, "pong")


def is_cut(client: Client) -> bool:
    return bool(client.connection.protocol.close_rcvd)


def test_connections_are_counted_from_their_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty at once, where three may be; and room again once they have gone."""
    monkeypatch.setattr(bridges, "CONNECTIONS_MAX", 3)

    async def test() -> None:
        bridge = bridges.Bridge(cast("Any", None), cast("Any", Nowhere()))

        async def held(connection: Any) -> None:
            await connection.wait_closed()

        admit = cast("bridges.Admit", bridge.admit)
        async with serve(held, "127.0.0.1", 0, process_request=admit) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            address = f"ws://127.0.0.1:{port}/stream"
            outcomes = await asyncio.gather(
                *(connect(address) for _ in range(20)), return_exceptions=True
            )
            refused = [it for it in outcomes if isinstance(it, InvalidStatus)]
            assert {it.response.status_code for it in refused} == {503}
            assert len(refused) == 17
            for it in outcomes:
                if not isinstance(it, BaseException):
                    await it.close()
            async with asyncio.timeout(SECONDS):
                while True:
                    try:
                        async with connect(address):
                            break
                    except InvalidStatus:
                        await asyncio.sleep(0.005)

    asyncio.run(test())


def test_one_order_that_trades_with_thousands_cuts_nobody(straight: str, market: Market) -> None:
    """However much comes at once, who reads has not been slow."""
    order = {"instrument": market.instrument, "client_id": market.prefix, "type": "limit"}
    for _ in range(SWEPT // 1_000):
        orders = [{**order, "side": "sell", "price": 50, "quantity": 1}] * 1_000
        market.http.post("/orders/batch", json={"orders": orders}).raise_for_status()
    with client_of(straight) as client:
        client.subscribe(market.instrument, "trades", "orders")
        taken = market.placed("buy", SWEPT, 50, client_id=f"{market.prefix}T")
        trades = [client.until("trades")["data"]["trade_id"] for _ in range(SWEPT)]
        assert len(set(trades)) == SWEPT
        assert trades[: len(taken["trades"])] == [it["trade_id"] for it in taken["trades"]]
        assert client.ask({"type": "ping"}, "pong")


def test_a_stop_is_not_taken_for_a_fault_of_its_channels(
    exchange: Everything, starter: Starter
) -> None:
    address = f"127.0.0.1:{free_port()}"
    addresses = {"EXCHANGE_GRPC": exchange.grpc, "EXCHANGE_WEBSOCKET": address}
    bridge = starter.run("websocket", "--log-level", "error", **addresses)
    bridge.wait_serving()
    with client_of(f"http://{address}") as client:
        client.subscribe("BTC-USD", "trades", "orders", "depth", "orderbook", "ticker")
        assert bridge.terminate() == Exit.CLEAN
    assert bridge.lines == []


def figure(http: str, name: str) -> float:
    """One of the bridge's figures, as Prometheus gets them."""
    text = httpx.get(f"{http}/metrics/websocket").raise_for_status().text
    return float(re.findall(rf"^{name} (\S+)$", text, re.M)[0])


def test_flood_of_connections_harms_nobody(exchange: Everything) -> None:
    """Opened and reset, in the handshake or after it, while others go on."""

    def connections() -> float:
        return figure(exchange.http, "websocket_connections")

    until(lambda: connections() == 0, SECONDS, "the end of earlier tests' connections")

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", exchange.http_port)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.write(HANDSHAKE if number % 2 else HANDSHAKE[:-2])
        if number % 4 == 1:
            # A flood may be turned away at the door, as long as others aren't.
            assert re.search(b" 101 | 503 ", await reader.readline())
        writer.transport.abort()

    async def flood() -> None:
        await asyncio.gather(*(one(number) for number in range(FLOOD)))

    with client_of(exchange.http) as good:
        flooding = threading.Thread(target=lambda: asyncio.run(flood()))
        flooding.start()
        while flooding.is_alive():
            assert good.ask({"type": "ping"}, "pong")
            flooding.join(0.02)
        until(lambda: connections() == 1, SECONDS, "only the good connection")


def test_floods_of_http2_end_their_connection(exchange: Everything) -> None:
    """Streams reset as soon as they are opened, and pings whose answers nobody reads."""
    opened = h2_frame(1, 4, 1, b"\x82\x86\x44\x08/healthz\x41\x01a")
    reset = h2_frame(3, 0, 1, (8).to_bytes(4))
    resets = b"".join(
        each[:5] + (2 * number + 1).to_bytes(4) + each[9:]
        for number in range(RESETS)
        for each in (opened, reset)
    )
    for flood in (resets, h2_frame(6, 0, 0, bytes(8)) * PINGS):
        with client_of(exchange.http) as good, socket.socket() as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            link.settimeout(SECONDS)
            link.connect(("127.0.0.1", exchange.http_port))
            link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(4, 0, 0, b""))
            with suppress(ConnectionError):
                link.sendall(flood)
                while link.recv(4096):
                    pass
            assert good.ask({"type": "ping"}, "pong")
            assert httpx.get(f"{exchange.http}/healthz").status_code == 200


def h2_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """RFC 9113, 4.1."""
    return len(payload).to_bytes(3) + struct.pack(">BBI", kind, flags, stream) + payload
