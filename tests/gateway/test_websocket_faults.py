"""WebSocket clients that don't read, too many of them, and a gateway that is killed."""

import asyncio
import socket
from typing import Any, cast

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.websocket import bridge as bridges
from gateway.websocket.connection import WAITING_BYTES_MAX
from tests.gateway.door import Market
from tests.gateway.websocket_client import SECONDS, Client, client_of
from tests.running import Everything, Starter, free_port, until

TRADES_PER_BATCH = 200
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
        if closed is not None:
            assert closed.code == 1013
            assert "from_sequence" in closed.reason
        got = [frame["sequence"] for frame in stuck.seen if frame["type"] == "trades"]
        assert got == expected[: len(got)], "up to where it was cut, nothing is missing"
        assert healthy.ask({"type": "ping"}, "pong")


def is_cut(client: Client) -> bool:
    return bool(client.connection.protocol.close_rcvd)


def test_connections_are_counted_from_their_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty at once, where three may be; and room again once they have gone."""
    monkeypatch.setattr(bridges, "CONNECTIONS_MAX", 3)

    async def test() -> None:
        bridge = bridges.Bridge(cast("Any", None), cast("Any", None))

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


def test_gateway_is_killed_in_the_middle(starter: Starter) -> None:
    """Its clients come back and go on from where they were: nothing missed, nothing twice."""
    everything = starter.up()
    with httpx.Client(base_url=everything.http, timeout=30) as http:
        market = Market(http, "BTC-USD", "k")
        market.placed("sell", 1_000, 50)
        expected: list[str] = []
        with client_of(everything.http) as before:
            before.subscribe("BTC-USD", "trades")
            expected += traded(market, 5)
            before.until("trades", lambda it: it["sequence"] == expected[-1])
            children = psutil.Process(everything.running.pid).children()
            (envoy,) = (each for each in children if each.name() == "envoy")
            envoy.kill()
            with pytest.raises(ConnectionClosed):
                before.next()
        until(lambda: answers(everything.http), 30)
        # Whoever is back first trades; the client has still to come.
        expected += traded(market, 5)
        seen = [frame["sequence"] for frame in before.seen if frame["type"] == "trades"]
        with client_of(everything.http) as after:
            after.subscribe("BTC-USD", "trades", from_sequence=str(int(seen[-1]) + 1))
            after.until("resumed")
            expected += traded(market, 5)
            after.until("trades", lambda it: it["sequence"] == expected[-1])
            seen += [frame["sequence"] for frame in after.seen if frame["type"] == "trades"]
    assert seen == expected


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz").status_code == 200
    except httpx.HTTPError:
        return False
