"""The process: takes connections, and holds nothing but them.

Several can run, on several machines, each with an upstream of its own for what its clients want.
`websockets` does the protocol: handshake, masking, fragments, pings, closing, compression where a
client offers it (without context takeover: memory for no client, and one compression for all);
`Link` bounds what it leaves open.

A client is pinged every `PING_S`, and is gone when it doesn't answer within as much: that
finds half-open connections. One that wants nothing and says nothing is closed after
`IDLE_S`. A browser says which page it shows (`Origin`): only pages from the address that the
client asked for may connect.

`GET /metrics`, at the same address, answers with figures for Prometheus.
"""

import asyncio
import gc
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from secrets import token_hex
from typing import Final, cast

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request, Response

from clients.client import ExchangeClient
from clients.connection import Connection
from clients.retries import Retries
from clients.stopping import stop_on_signals
from gateway.websocket.errors import error
from gateway.websocket.figures import Counts, Figures, State, tell, tell_debug
from gateway.websocket.frames import Frame, now_text
from gateway.websocket.link import FRAMES_PER_SECOND_MAX, GOING_AWAY, Link, nothing
from gateway.websocket.open_channels import Channels
from gateway.websocket.outgoing import Outgoing, Writer
from gateway.websocket.requests import EXHAUSTED
from gateway.websocket.session import OrderConnection, Session

PATH: Final = "/stream"
FIGURES_PATH: Final = "/metrics"
CONNECTIONS_MAX: Final = 5_000
"""Half of what the gateway takes in all; some 100 MB when none of them falls behind."""
FRAME_BYTES_MAX: Final = 16 * 1024
"""The bound of a client's frame: ten times the longest order."""
WRITE_BYTES: Final = 64 * 1024
"""Bytes in a transport before its writer waits."""
OPEN_S: Final = 10.0
"""The time for a handshake."""
PING_S: Final = 20.0
IDLE_S: Final = 600.0
SWEEP_S: Final = 5.0
"""The time between two looks at idle clients and channels that nobody wants."""
COLLECTED_AFTER: Final = (20_000, 20, 50)
"""Objects that came and stayed, and looks at the young and at the middle generation, between two
looks of Python's collector at the generation above."""
STOP_S: Final = 1.0
Admit = Callable[[ServerConnection, Request], Response | None]


def listening(address: str) -> socket.socket:
    """Bind a socket to `HOST:PORT`, or to `@NAME`, which needs no port and no file."""
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
    """Serves all connections of this process."""

    def __init__(self, exchange: ExchangeClient, connection: Connection) -> None:
        self.channels = Channels(exchange)
        self._orders = OrderConnection(connection)
        self.counts = Counts()
        self.figures = Figures(self.counts, self.state)
        self._open = 0
        self._told: Counter[str] = Counter()
        self.outgoing: set[Outgoing] = set()
        self._writer = Writer()

    def admit(self, link: Link, request: Request) -> Response | None:
        """Admit a handshake or refuse it; or answer who asks for the figures."""
        path = request.path.partition("?")[0]
        if path == FIGURES_PATH:
            text = self.figures.text()
            headers = {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4, "Connection": "close"}
            headers["Content-Length"] = str(len(text))
            return Response(HTTPStatus.OK, "OK", Headers(headers), text)
        origin = request.headers.get("Origin")
        if path != PATH:
            return self._refuse(link, "path", HTTPStatus.NOT_FOUND, f"the path is {PATH}")
        if origin is not None and origin.partition("://")[2] != request.headers.get("Host"):
            sentence = "the page is from another origin than the exchange"
            return self._refuse(link, "origin", HTTPStatus.FORBIDDEN, sentence)
        if self._open >= CONNECTIONS_MAX:
            return self._refuse(
                link,
                "limit",
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{CONNECTIONS_MAX} connections are open, which is the limit; come back later",
            )
        # Counted from here on, so that many handshakes at once are not let through together; the
        # task is the connection's, and ends with it whether or not the handshake comes to its end.
        task = asyncio.current_task()
        assert task is not None
        self._open += 1
        task.add_done_callback(self._gone)
        return None

    def _refuse(self, link: Link, reason: str, status: HTTPStatus, sentence: str) -> Response:
        self.counts.refused[reason] += 1
        return link.respond(status, sentence)

    async def serve(self, link: Link) -> None:
        """Serve one client until it goes."""
        name = f"ws-{token_hex(8)}"
        link.about = about(name, link)
        self.counts.opened += 1
        tell_debug("connection opened", **link.about)
        outgoing = Outgoing(link, self._writer)
        self.outgoing.add(outgoing)
        session = Session(outgoing, self.channels, self._orders, link.about["address"])
        outgoing.send(Frame({"type": "connected", "client_id": name, "timestamp": now_text()}))
        try:
            with suppress(ConnectionClosed):
                await self._read(link, session, outgoing)
        finally:
            session.close()
            # A circle would keep all of a connection until the collector has looked at very many.
            link.on_room = nothing
            self.outgoing.discard(outgoing)
            tell_debug("connection ended", **link.about, code=link.close_code)

    def _gone(self, _: asyncio.Task[None]) -> None:
        self._open -= 1

    def state(self) -> State:
        waiting = [each.waiting_bytes for each in self.outgoing]
        return State(
            connections=self._open,
            subscriptions=self.channels.subscriptions(),
            channels=self.channels.open(),
            waiting_bytes=sum(waiting),
            waiting_bytes_most=max(waiting, default=0),
        )

    async def sweep(self) -> None:
        """Close streams that nobody wants, and tell of handshakes that were refused."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.channels.close_unused()
            if self.counts.refused != self._told:
                # Together: a flood of handshakes must not become one of lines.
                tell("handshakes refused", **(self.counts.refused - self._told))
                self._told = self.counts.refused.copy()

    async def _read(self, link: Link, session: Session, outgoing: Outgoing) -> None:
        clock = asyncio.get_running_loop().time
        second, count = clock(), 0
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    text = await link.recv(decode=True)
            except TimeoutError:
                if session.subscribed:
                    continue
                link.end(GOING_AWAY, f"nothing was said for {IDLE_S:.0f} s")
                return
            if clock() - second >= 1:
                second, count = clock(), 0
            count += 1
            if count > FRAMES_PER_SECOND_MAX:
                sentence = (
                    f"frames came faster than {FRAMES_PER_SECOND_MAX} a second, and this one was "
                    "not taken: wait a second, or use a gRPC session"
                )
                outgoing.send(Frame(error(sentence, EXHAUSTED) | {"timestamp": now_text()}))
                continue
            await session.take(text)


def about(name: str, link: Link) -> dict[str, str]:
    """Say by what a connection is known: to its client, to the gateway, and from where."""
    headers = Headers() if link.request is None else link.request.headers
    found = {"connection": name, "request_id": headers.get("X-Request-Id", "")}
    # The last address is what the gateway saw; those before it are the client's own.
    return found | {"address": headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()}


async def serving_at(bridge: Bridge, listener: socket.socket) -> Server:
    """Start the library's server, with all that it bounds by itself."""
    deflate = ServerPerMessageDeflateFactory(
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=12,
        client_max_window_bits=12,
    )
    return await serve(
        cast("Callable[[ServerConnection], Awaitable[None]]", bridge.serve),
        sock=listener,
        create_connection=cast("type[ServerConnection]", partial(Link, bridge.counts)),
        process_request=cast("Admit", bridge.admit),
        compression=None,
        extensions=[deflate],
        open_timeout=OPEN_S,
        max_size=FRAME_BYTES_MAX,
        max_queue=4,
        write_limit=WRITE_BYTES,
        ping_interval=PING_S,
        ping_timeout=PING_S,
        close_timeout=STOP_S,
        server_header=None,
    )


async def run(server: str, address: str, serving: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = stop_on_signals()
    connection = Connection(server, Retries())
    async with ExchangeClient(server) as exchange:
        bridge = Bridge(exchange, connection)
        sweeping = asyncio.create_task(bridge.sweep())
        listener = await serving_at(bridge, listening(address))
        # What is there by now stays. Each connection is some hundred objects that refer to each
        # other as long as it is open: looking through all of them often finds nothing, and took a
        # fifth of the time.
        gc.freeze()
        gc.set_threshold(*COLLECTED_AFTER)
        serving()
        tell("serving", address=address)
        await stop.wait()
        # Its clients come back to the next one, and subscribe from where they were.
        listener.close(code=GOING_AWAY, reason="the exchange's gateway is being stopped")
        with suppress(TimeoutError):
            await asyncio.wait_for(listener.wait_closed(), STOP_S)
        sweeping.cancel()
        await bridge.channels.close()
    await connection.close()


def main(server: str, address: str, serving: Callable[[], None]) -> None:
    """Serve `/stream` at an address."""
    import uvloop

    # It would tell of the socket in its own words, and of each connection again.
    logging.getLogger("websockets").setLevel(logging.WARNING)
    uvloop.run(run(server, address, serving))
