"""The process: takes connections, and holds nothing but them.

Several can run, on several machines, each with an upstream of its own for what its clients want.
`websockets` does the protocol: handshake, masking, fragments, pings, closing, compression where a
client offers it (without context takeover: memory for no client, and one compression for all).

A client is pinged every `PING_SECONDS`, and is gone when it doesn't answer within as much: that
finds half-open connections. One that wants nothing and says nothing is closed after
`IDLE_SECONDS`. A browser says which page it shows (`Origin`): only pages from the address that the
client asked for may connect.
"""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from secrets import token_hex
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request, Response

from clients.client import ExchangeClient
from clients.connection import Connection
from clients.retries import Retries
from gateway.websocket.connection import Outgoing
from gateway.websocket.frames import EXHAUSTED, Frame, now_text
from gateway.websocket.session import Channels, Session, error

PATH: Final = "/stream"
CONNECTIONS_MAX: Final = 5_000
"""Half of what the gateway takes in all; some 100 MB when none of them falls behind."""
FRAME_BYTES_MAX: Final = 16 * 1024
"""Ten times the longest order."""
FRAMES_PER_SECOND_MAX: Final = 100
"""Of one client, more than a person or a page sends; who has more to say opens a gRPC session.
Those over it are refused, and ten times as many end the connection."""
FRAMES_PER_SECOND_CLOSE: Final = 10 * FRAMES_PER_SECOND_MAX
WRITE_BYTES: Final = 64 * 1024
"""In a transport before its writer waits."""
PING_SECONDS: Final = 20.0
IDLE_SECONDS: Final = 600.0
SWEEP_SECONDS: Final = 5.0
"""Between two looks at idle clients and channels that nobody wants."""
STOP_SECONDS: Final = 1.0
GOING_AWAY: Final = 1001
POLICY: Final = 1008


def listening(address: str) -> socket.socket:
    """`HOST:PORT`, or `@NAME`: a socket of this machine that needs no port and no file."""
    if address.startswith("@"):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("\0" + address[1:])
    else:
        host, _, port = address.rpartition(":")
        listener = socket.create_server(
            (host.strip("[]"), int(port)),
            family=socket.AF_INET6 if ":" in host else socket.AF_INET,
        )
    return listener


class Bridge:
    """All connections of this process."""

    def __init__(self, exchange: ExchangeClient, connection: Connection) -> None:
        self.channels = Channels(exchange)
        self._exchange = exchange
        self._connection = connection
        self._open = 0

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse a handshake, or not."""
        if request.path.partition("?")[0] != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, f"the path is {PATH}\n")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
            return connection.respond(
                HTTPStatus.FORBIDDEN, "the page is from another origin than the exchange\n"
            )
        if self._open >= CONNECTIONS_MAX:
            return connection.respond(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{CONNECTIONS_MAX} connections are open, which is the limit; come back later\n",
            )
        # Counted from here on, so that many handshakes at once are not let through together; the
        # task is the connection's, and ends with it whether or not the handshake comes to its end.
        task = asyncio.current_task()
        assert task is not None
        self._open += 1
        task.add_done_callback(self._gone)
        return None

    async def serve(self, connection: ServerConnection) -> None:
        """One client until it goes."""
        outgoing = Outgoing(connection)
        session = Session(outgoing, self.channels, self._exchange, self._connection)
        hello = {"type": "connected", "client_id": f"ws-{token_hex(8)}", "timestamp": now_text()}
        outgoing.send(Frame(hello))
        writing = asyncio.create_task(outgoing.write())
        try:
            with suppress(ConnectionClosed):
                await self._read(connection, session, outgoing)
        finally:
            session.close()
            writing.cancel()
            with suppress(asyncio.CancelledError, ConnectionClosed):
                await writing

    def _gone(self, _: asyncio.Task[None]) -> None:
        self._open -= 1

    async def sweep(self) -> None:
        """Close streams that nobody wants."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.channels.close_unused()

    async def _read(
        self, connection: ServerConnection, session: Session, outgoing: Outgoing
    ) -> None:
        clock = asyncio.get_running_loop().time
        second, count = clock(), 0
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    text = await connection.recv(decode=True)
            except TimeoutError:
                if session.subscribed:
                    continue
                await connection.close(GOING_AWAY, f"nothing was said for {IDLE_SECONDS:.0f} s")
                return
            if clock() - second >= 1:
                second, count = clock(), 0
            count += 1
            if count > FRAMES_PER_SECOND_CLOSE:
                await connection.close(
                    POLICY, f"at most {FRAMES_PER_SECOND_MAX} frames a second are taken"
                )
                return
            if count > FRAMES_PER_SECOND_MAX:
                sentence = (
                    f"frames came faster than {FRAMES_PER_SECOND_MAX} a second, and this one was "
                    "not taken: wait a second, or use a gRPC session"
                )
                outgoing.send(Frame(error(sentence, EXHAUSTED) | {"timestamp": now_text()}))
                continue
            await session.take(text)


async def run(server: str, address: str, serving: Callable[[], None]) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    connection = Connection(server, Retries())
    async with ExchangeClient(server) as exchange:
        bridge = Bridge(exchange, connection)
        sweeping = asyncio.create_task(bridge.sweep())
        deflate = ServerPerMessageDeflateFactory(
            server_no_context_takeover=True,
            client_no_context_takeover=True,
            server_max_window_bits=12,
            client_max_window_bits=12,
        )
        listener = await serve(
            bridge.serve,
            sock=listening(address),
            process_request=bridge.admit,
            compression=None,
            extensions=[deflate],
            max_size=FRAME_BYTES_MAX,
            max_queue=4,
            write_limit=WRITE_BYTES,
            ping_interval=PING_SECONDS,
            ping_timeout=PING_SECONDS,
            close_timeout=STOP_SECONDS,
            server_header=None,
        )
        serving()
        await stop.wait()
        # Its clients come back to the next one, and subscribe from where they were.
        listener.close(code=GOING_AWAY, reason="the exchange's gateway is being stopped")
        with suppress(TimeoutError):
            await asyncio.wait_for(listener.wait_closed(), STOP_SECONDS)
        sweeping.cancel()
    await connection.close()


def main(server: str, address: str, serving: Callable[[], None]) -> None:
    """Serve `/stream` at an address."""
    import uvloop

    uvloop.run(run(server, address, serving))
