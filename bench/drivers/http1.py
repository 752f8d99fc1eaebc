"""POST over HTTP/1.1 connections that stay open, each with one request in flight.

Just enough of the protocol for replies of a stated length, which is what the gateway sends; any
other reply, and any status but 200 and 201, fails the turn.
"""

import asyncio
from typing import cast

from bench.drivers.loop import ClosedLoop
from bench.figures import Turn

_GOOD = (b"HTTP/1.1 200 ", b"HTTP/1.1 201 ")
_LENGTH = b"\r\ncontent-length: "


class Connection(asyncio.Protocol):
    """One connection of the closed loop."""

    def __init__(self, loop: ClosedLoop, size: int) -> None:
        self._loop = loop
        self._size = size
        self._received = b""
        self._sent_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._loop.fail(f"the connection was closed: {error}")

    def send(self) -> None:
        """Send the next request, if there is one."""
        if request := self._loop.next_request():
            message, self._sent_ns = request
            self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        head = received.find(b"\r\n\r\n")
        if head < 0:
            return
        length = received.find(_LENGTH, 0, head)
        if not received.startswith(_GOOD) or length < 0:
            self._loop.fail(f"unexpected reply: {received[:1000]!r}")
            return
        start = length + len(_LENGTH)
        body_bytes = int(received[start : received.index(b"\r", start)])
        if len(received) < head + 4 + body_bytes:
            return
        self._received = b""
        self._loop.answered(self._sent_ns, self._size)
        self.send()


async def drive(host: str, port: int, loop: ClosedLoop, connections: int, size: int = 1) -> Turn:
    """Load the gateway at `host:port` with requests of `size` orders."""
    running = asyncio.get_running_loop()
    opened = [
        await running.create_connection(lambda: Connection(loop, size), host, port)
        for _ in range(connections)
    ]
    for _, connection in opened:
        connection.send()
    try:
        return await loop.turn()
    finally:
        for transport, _ in opened:
            transport.abort()
