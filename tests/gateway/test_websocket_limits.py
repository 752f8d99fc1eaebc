"""What a WebSocket client may do to a bridge: raw bytes to one in this process, its times short."""

import asyncio
import gc
import json
import logging
import socket
import struct
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest

from gateway.websocket import bridge as bridges
from gateway.websocket import link as links
from gateway.websocket import session as sessions
from gateway.websocket.bridge import Bridge, serving_at
from gateway.websocket.frames import Frame
from tests.gateway.test_websocket_channels import Exchange, told, trades

SECONDS = 20.0
KERNEL_BYTES = 32 * 1024
"""That the kernel keeps at either end: little, so that what is read or not is soon felt."""
HANDSHAKE = (
    b"GET /stream HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
FILLED_BYTES = 16 * 1024 * 1024
TEXT, CONTINUED, CLOSE, PING, PONG, BINARY = 1, 0, 8, 9, 10, 2
LAST = 0x80


def frame(opcode: int, payload: bytes = b"", *, last: bool = True) -> bytes:
    """A frame of a client, by the mask of zeros."""
    assert len(payload) < 126
    head = (LAST if last else 0) | opcode, 0x80 | len(payload)
    return bytes(head) + bytes(4) + payload


class Raw:
    """A client that does nothing by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def frame(self) -> tuple[int, bytes]:
        """The next frame of the bridge."""
        first, size = await self.reader.readexactly(2)
        if size == 126:
            (size,) = struct.unpack(">H", await self.reader.readexactly(2))
        return first & 0x0F, await self.reader.readexactly(size)

    async def until(self, opcode: int) -> bytes:
        """The next frame of a kind."""
        while True:
            kind, payload = await self.frame()
            if kind == opcode:
                return payload

    async def closed(self) -> tuple[int, str]:
        """Code and reason, once the bridge closes."""
        payload = await self.until(CLOSE)
        return int.from_bytes(payload[:2]), payload[2:].decode()


class Served:
    """A bridge, and clients of it."""

    def __init__(self, port: int, bridge: Bridge, exchange: Exchange) -> None:
        self.bridge = bridge
        self.exchange = exchange
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self, sent: bytes = HANDSHAKE) -> Raw:
        """A client that was greeted, where it asked for that."""
        link = socket.socket()
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
        link.setblocking(False)
        await asyncio.get_running_loop().sock_connect(link, ("127.0.0.1", self._port))
        reader, writer = await asyncio.open_connection(sock=link)
        self._writers.append(writer)
        writer.write(sent)
        raw = Raw(reader, writer)
        if sent.endswith(b"\r\n\r\n"):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
            assert b"connected" in await raw.until(TEXT)
        return raw

    async def still_serves(self, other: Raw) -> None:
        """A client who was there before is served as before."""
        other.writer.write(frame(TEXT, b'{"type":"ping"}'))
        assert b"pong" in await other.until(TEXT)

    async def end(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def served(connection: object) -> AsyncIterator[Served]:
    exchange = Exchange()
    bridge = Bridge(cast("Any", exchange), cast("Any", connection))
    server = await serving_at(bridge, bridges.listening("127.0.0.1:0"))
    port = next(iter(server.sockets)).getsockname()[1]
    here = Served(port, bridge, exchange)
    async with asyncio.timeout(SECONDS):
        try:
            yield here
        finally:
            await here.end()
            server.close()
            await server.wait_closed()


class Nowhere:
    """No way to the exchange is needed."""

    address = ""

    class channel:  # noqa: N801
        @staticmethod
        def unary_unary(*_: object, **__: object) -> None:
            """No call is made."""

        unary_stream = stream_stream = unary_unary


def run(test: Callable[[Served], Coroutine[Any, Any, None]], connection: object = Nowhere) -> None:
    async def with_bridge() -> None:
        async with served(connection) as here:
            await test(here)

    asyncio.run(with_bridge())


async def true(condition: Callable[[], bool]) -> None:
    """Until it is."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.005)


async def gone(here: Served, connections: int) -> None:
    """Until only so many are there."""
    await true(lambda: here.bridge.state().connections == connections)


def test_client_who_answers_no_ping_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a cable was pulled: it says nothing, and its end of the connection stays open."""
    monkeypatch.setattr(bridges, "PING_S", 0.2)

    async def test(here: Served) -> None:
        healthy = await here.connect()
        await here.connect()
        assert here.bridge.state().connections == 2

        async def answer() -> None:
            while True:
                healthy.writer.write(frame(PONG, await healthy.until(PING)))

        answering = asyncio.create_task(answer())
        await gone(here, 1)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        await here.still_serves(healthy)

    run(test)


def test_only_who_wants_nothing_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridges, "IDLE_S", 0.2)

    async def test(here: Served) -> None:
        here.exchange.told(None, trades(1, 1))
        reader = await here.connect()
        reader.writer.write(frame(TEXT, b'{"type":"subscribe","channels":["trades"]}'))
        assert b"subscribed" in await reader.until(TEXT)
        idle = await here.connect()
        assert await idle.closed() == (1001, "nothing was said for 0 s")
        await gone(here, 1)
        here.exchange.told(None, trades(2, 2))
        assert b'"trades"' in await reader.until(TEXT)
        assert here.bridge.counts.ended == {"1001": 1}

    run(test)


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(frame(PING), id="pings"),
        pytest.param(frame(PONG), id="pongs"),
        pytest.param(frame(TEXT, b"{}"), id="messages"),
        pytest.param(frame(CONTINUED, last=False), id="fragments"),
    ],
)
def test_flood_of_any_frames_ends_its_connection(flood: bytes) -> None:
    async def test(here: Served) -> None:
        healthy, flooding = await here.connect(), await here.connect()
        if flood == frame(CONTINUED, last=False):
            flooding.writer.write(frame(TEXT, last=False))
        flooding.writer.write(flood * (2 * links.FRAMES_PER_SECOND_CLOSE))
        code, reason = await flooding.closed()
        assert (code, reason) == (1008, "at most 100 frames a second are taken")
        assert here.bridge.counts.ended == {"1008": 1}
        flooding.writer.transport.abort()
        await gone(here, 1)
        await here.still_serves(healthy)

    run(test)


def test_client_who_pings_and_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pongs would wait in memory that nobody counts."""
    monkeypatch.setattr(links, "UNREAD_BYTES_MAX", 64 * 1024)

    async def test(here: Served) -> None:
        stuck = await here.connect()
        fill(here)
        stuck.writer.write(frame(PING))
        await gone(here, 0)
        assert here.bridge.counts.ended == {"1006": 1}

    run(test)


def fill(here: Served) -> None:
    """More unread for every client than the kernel takes."""
    for outgoing in here.bridge.outgoing:
        kernel = outgoing.link.transport.get_extra_info("socket")
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
        outgoing.link.transport.write(bytes(FILLED_BYTES))


def test_client_who_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library would wait for room for its own ping as long as it takes."""
    monkeypatch.setattr(bridges, "PING_S", 0.1)
    monkeypatch.setattr(links, "STALLED_S", 0.3)

    async def test(here: Served) -> None:
        await here.connect()
        fill(here)
        await gone(here, 0)
        assert here.bridge.counts.ended == {"1006": 1}

    run(test)


def test_client_who_takes_little_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "STALLED_S", 1.0)

    async def test(here: Served) -> None:
        slow = await here.connect()
        fill(here)
        loop = asyncio.get_running_loop()
        until = loop.time() + 2
        while loop.time() < until:
            assert await slow.reader.read(4 * 1024)
            await asyncio.sleep(0.01)
        assert here.bridge.state().connections == 1

    run(test)


def test_client_who_reads_again_is_sent_what_waited() -> None:
    async def test(here: Served) -> None:
        slow = await here.connect()
        fill(here)
        (outgoing,) = here.bridge.outgoing
        assert outgoing.link.paused
        outgoing.send(Frame({"type": "waited"}))
        await slow.reader.readexactly(FILLED_BYTES)
        assert b"waited" in await slow.until(TEXT)

    run(test)


def test_handshake_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridges, "OPEN_S", 0.2)

    async def test(here: Served) -> None:
        healthy = await here.connect()
        slow = await here.connect(HANDSHAKE[:-2])
        assert await slow.reader.read() == b""
        await here.still_serves(healthy)

    run(test)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(frame(TEXT, b"\xff\xfe"), 1007, id="text that is not UTF-8"),
        pytest.param(frame(BINARY, b"\xff\xfe"), 1007, id="bytes that are not UTF-8"),
        pytest.param(frame(3), 1002, id="unknown kind"),
        pytest.param(frame(CONTINUED), 1002, id="continuation of nothing"),
        pytest.param(frame(PING, last=False), 1002, id="ping in pieces"),
        pytest.param(bytes((LAST | TEXT, 2)) + b"{}", 1002, id="not masked"),
        pytest.param(b"\xf1" + frame(TEXT)[1:], 1002, id="reserved bits"),
        pytest.param(bytes((0x81, 0xFF)) + b"\x7f" + bytes(11), 1009, id="larger than all memory"),
    ],
)
def test_what_is_no_frame_closes_only_its_connection(sent: bytes, code: int) -> None:
    async def test(here: Served) -> None:
        healthy, wrong = await here.connect(), await here.connect()
        wrong.writer.write(sent)
        assert (await wrong.closed())[0] == code
        wrong.writer.transport.abort()
        await gone(here, 1)
        assert here.bridge.counts.ended == {str(code): 1}
        await here.still_serves(healthy)

    run(test)


def test_what_a_stop_closes_is_not_told_of_one_by_one() -> None:
    async def test(here: Served) -> None:
        clients = [await here.connect() for _ in range(3)]
        stopping = [each.link.close(1001, "stopped") for each in here.bridge.outgoing]
        closing = asyncio.gather(*stopping)
        for client in clients:
            assert await client.closed() == (1001, "stopped")
            client.writer.transport.abort()
        await closing
        await gone(here, 0)
        assert here.bridge.counts.ended == {}

    run(test)


def subscribe(*channels: str) -> bytes:
    return frame(TEXT, json.dumps({"type": "subscribe", "channels": channels}).encode())


async def until_error(raw: Raw) -> dict[str, Any]:
    while True:
        told: dict[str, Any] = json.loads(await raw.until(TEXT))
        if told["type"] == "error":
            return told


def test_subscriptions_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SUBSCRIPTIONS_MAX", 2)

    async def test(here: Served) -> None:
        here.exchange.told(None, trades(1, 1))
        client = await here.connect()
        client.writer.write(subscribe("trades"))
        assert b"subscribed" in await client.until(TEXT)
        client.writer.write(subscribe("trades", "orders", "depth"))
        error = await until_error(client)
        assert error["code"] == 8
        assert "channels would be 3 on this connection, at most 2" in error["error"]
        assert here.bridge.state().subscriptions == {"trades": 1}

    run(test)


def test_an_instrument_that_is_not_listed_opens_no_channel() -> None:
    async def test(here: Served) -> None:
        client = await here.connect()
        wish = {"type": "subscribe", "channels": ["trades"], "instrument": "NO-SUCH"}
        client.writer.write(frame(TEXT, json.dumps(wish).encode()))
        error = await until_error(client)
        assert (error["code"], "is not listed" in error["error"]) == (5, True)
        assert not here.bridge.state().channels

    run(test)


def test_who_goes_leaves_his_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each would keep its stream, and its part of memory, for ever."""
    monkeypatch.setattr(bridges, "SWEEP_S", 0.01)

    async def test(here: Served) -> None:
        here.exchange.told(None, trades(1, 1))
        client = await here.connect()
        client.writer.write(subscribe("trades"))
        assert b"subscribed" in await client.until(TEXT)
        client.writer.write(subscribe("orders"))
        queue: Any = here.exchange.streams[None]
        await true(lambda: len(queue._getters) == 2)
        # The first to wait is given what comes, and waits behind the other then.
        queue.put_nowait(trades(2, 2))
        await true(lambda: queue.empty() and len(queue._getters) == 2)
        queue.put_nowait(told(3))
        while b'"subscribed"' not in await client.until(TEXT):
            pass
        client.writer.transport.abort()
        await gone(here, 0)
        assert here.bridge.state().subscriptions == {"trades": 0, "orders": 0}
        sweeping = asyncio.create_task(here.bridge.sweep())
        await true(lambda: not here.bridge.state().channels)
        sweeping.cancel()

    run(test)


@pytest.mark.parametrize("goodbye", [frame(CLOSE), b""], ids=["closed", "cut off"])
def test_memory_of_who_goes_is_free_at_once(goodbye: bytes) -> None:
    """A circle would wait for the collector, which comes to old objects late: clients who stay a
    while and come back took new memory each time."""

    async def test(here: Served) -> None:
        here.exchange.told(None, trades(1, 1))
        client = await here.connect()
        client.writer.write(subscribe("trades"))
        assert b"subscribed" in await client.until(TEXT)
        (outgoing,) = here.bridge.outgoing
        kept = [weakref.ref(it) for it in (outgoing, outgoing.link, outgoing.link.protocol)]
        del outgoing
        gc.disable()
        try:
            client.writer.write(goodbye)
            if goodbye:
                assert await client.until(CLOSE) == b""
            client.writer.transport.abort()
            await gone(here, 0)
            await true(lambda: not any(it() for it in kept))
        finally:
            gc.enable()

    run(test)


def test_exchange_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "BEGIN_S", 0.1)

    async def test(here: Served) -> None:
        client = await here.connect()
        client.writer.write(subscribe("trades"))
        error = await until_error(client)
        assert (error["code"], "can't be reached" in error["error"]) == (14, True)
        await here.still_serves(client)
        assert here.bridge.state().subscriptions == {"trades": 0}
        here.exchange.told(None, trades(1, 1))
        client.writer.write(subscribe("trades"))
        assert b"subscribed" in await client.until(TEXT)
        # What it had already goes on.
        client.writer.write(subscribe("trades", "depth"))
        await until_error(client)
        assert here.bridge.state().subscriptions == {"trades": 1, "depth": 0}
        here.exchange.told(None, trades(2, 2))
        assert json.loads(await client.until(TEXT))["type"] == "trades"

    run(test)


def test_figures_and_lines_tell_what_happened(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(links, "UNREAD_BYTES_MAX", -1)
    monkeypatch.setattr(bridges, "SWEEP_S", 0.05)
    caplog.set_level(logging.INFO, "exchange.websocket")

    async def test(here: Served) -> None:
        here.exchange.told(None, trades(1, 1))
        client = await here.connect()
        client.writer.write(subscribe("trades"))
        assert b"subscribed" in await client.until(TEXT)
        named = HANDSHAKE.replace(b"Host: here", b"Host: here\r\nX-Request-Id: req-7")
        (await here.connect(named)).writer.write(frame(PING))
        await gone(here, 1)
        for _ in range(2):
            other = await here.connect(HANDSHAKE.replace(b"/stream", b"/other")[:-2])
            other.writer.write(b"\r\n")
            assert (await other.reader.readline()).startswith(b"HTTP/1.1 404")
        asking = await here.connect(b"GET /metrics HTTP/1.1\r\nHost: here\r\n")
        asking.writer.write(b"\r\n")
        figures = (await asking.reader.read()).decode().splitlines()
        assert figures[0] == "HTTP/1.1 200 OK"
        assert {
            "websocket_connections 1.0",
            "websocket_opened_total 2.0",
            'websocket_subscriptions{channel="trades"} 1.0',
            'websocket_channels{channel="trades"} 1.0',
            'websocket_ended_total{code="1006"} 1.0',
            'websocket_refused_total{reason="path"} 2.0',
            "websocket_frames_received_total 2.0",
            "websocket_waiting_bytes 0.0",
        } <= set(figures)
        sweeping = asyncio.create_task(here.bridge.sweep())
        await true(lambda: "handshakes refused" in caplog.messages)
        sweeping.cancel()

    run(test)
    fields = {record.message: cast("Any", record).fields for record in caplog.records}
    assert fields["channel opened"] == {"channel": "trades:BTC-USD"}
    assert fields["handshakes refused"] == {"path": 2}
    cut = fields["connection cut off"]
    assert (cut["request_id"], cut["code"]) == ("req-7", 1006)
    assert cut["connection"].startswith("ws-")
