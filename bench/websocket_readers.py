"""Many WebSocket clients in one process, at a fraction of a client's cost each.

They want trades and book of one instrument, answer pings, and look at nothing but where a frame
ends, whether it is a trade, and which. Every one must be sent the same trades in the same order,
each once: the n-th trade of a connection is compared with the n-th that anybody was sent.

It says `reading` once all of them are subscribed. Its input is the id of a last trade: when that
has come to all of them, or time is up, it writes what came.
"""

import argparse
import asyncio
import struct
import sys
import time
from array import array
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import msgpack
import uvloop

INSTRUMENT: Final = "BTC-USD"
OPENING_MAX: Final = 50
"""Handshakes at once, so that none waits for long."""
OPEN_S: Final = 60.0
DELIVERY_S: Final = 10.0
"""For the last trade to reach everybody."""
PING: Final = 0x89
PONG: Final = b"\x8a"
HANDSHAKE: Final = (
    "GET /stream HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
TRADE: Final = b'{"type":"trades"'
TRADE_ID: Final = b'"trade_id":"'
SUBSCRIBED: Final = b'{"type":"subscribed"'


def masked(payload: bytes) -> bytes:
    """A text frame of a client, by the mask of zeros."""
    assert len(payload) < 1 << 16
    return struct.pack(">BBHI", 0x81, 0x80 | 126, len(payload), 0) + payload


SUBSCRIBE: Final = masked(
    b'{"type":"subscribe","channels":["trades","orderbook"],"instrument":"%s"}'
    % INSTRUMENT.encode()
)


class Received(NamedTuple):
    """What all connections together were sent."""

    trades: list[tuple[str, list[int]]]
    """The id of each, and when it came to each connection, in ns of the monotonic clock."""
    frames: int
    """Of the book, nearly all: trades are few."""
    faults: int
    """Trades that were not the next, and connections that ended."""


class Readers:
    """What the connections have in common."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.trade_ids: list[bytes] = []
        self.arrived: list[array[int]] = []
        self.frames = 0
        self.faults = 0
        self._whole: set[bytes] = set()
        """Trades that all of them were sent."""
        self._news = asyncio.Event()

    def trade(self, number: int, trade_id: bytes, now_ns: int) -> None:
        """The n-th of a connection, from 0."""
        if number == len(self.trade_ids):
            self.trade_ids.append(trade_id)
            self.arrived.append(array("q"))
        elif self.trade_ids[number] != trade_id:
            self.faults += 1
        self.arrived[number].append(now_ns)
        if len(self.arrived[number]) == self.count:
            self._whole.add(trade_id)
            self._news.set()

    async def delivered(self, trade_id: bytes) -> None:
        """Until all of them were sent it."""
        while trade_id not in self._whole:
            self._news.clear()
            await self._news.wait()

    def received(self) -> Received:
        """Everything so far."""
        trades = [
            (name.decode(), list(times))
            for name, times in zip(self.trade_ids, self.arrived, strict=True)
        ]
        return Received(trades, self.frames, self.faults)


class Reader(asyncio.Protocol):
    """One connection."""

    def __init__(self, readers: Readers, host: str) -> None:
        self._readers = readers
        self._host = host
        self._rest = b""
        self._open = False
        self._trades = 0
        self.subscribed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(HANDSHAKE.format(host=self._host).encode())

    def connection_lost(self, error: Exception | None) -> None:
        self._readers.faults += 1
        if not self.subscribed.done():
            self.subscribed.set_exception(
                ConnectionError(f"ended before it was subscribed: {error}")
            )

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        if not self._open:
            at = data.find(b"\r\n\r\n") + 4
            if at < 4:
                self._rest = data
                return
            self._answered(data)
        while size - at >= 4:
            length, head = data[at + 1], at + 2
            if length == 126:
                length, head = data[at + 2] << 8 | data[at + 3], at + 4
            if head + length > size:
                break
            self._take(data, at, head, length)
            at = head + length
        self._rest = data[at:]

    def _answered(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 101 "):
            self.subscribed.set_exception(ConnectionError(f"it was refused: {data[:200]!r}"))
        self._open = True
        self._transport.write(SUBSCRIBE)

    def _take(self, data: bytes, at: int, head: int, length: int) -> None:
        self._readers.frames += 1
        if data.startswith(TRADE, head):
            begin = data.index(TRADE_ID, head) + len(TRADE_ID)
            name = data[begin : data.index(b'"', begin)]
            self._readers.trade(self._trades, name, time.monotonic_ns())
            self._trades += 1
        elif data[at] == PING:
            mask = bytes((0x80 | length, 0, 0, 0, 0))
            self._transport.write(PONG + mask + data[head : head + length])
        elif not self.subscribed.done() and data.startswith(SUBSCRIBED, head):
            self.subscribed.set_result(None)


async def run(host: str, port: int, count: int) -> Received:
    """Open so many, and read until the input ends."""
    loop = asyncio.get_running_loop()
    readers = Readers(count)
    turns = asyncio.Semaphore(OPENING_MAX)
    opened: list[asyncio.BaseTransport] = []

    async def open_one() -> None:
        async with turns:
            transport, reader = await loop.create_connection(
                lambda: Reader(readers, f"{host}:{port}"), host, port
            )
            opened.append(transport)
            await reader.subscribed

    async with asyncio.timeout(OPEN_S), asyncio.TaskGroup() as opening:
        for _ in range(count):
            opening.create_task(open_one())
    print("reading", flush=True)
    last_trade = await loop.run_in_executor(None, sys.stdin.buffer.read)
    with suppress(TimeoutError):
        async with asyncio.timeout(DELIVERY_S):
            await readers.delivered(last_trade)
    received = readers.received()
    for transport in opened:
        cast(asyncio.Transport, transport).abort()
    return received


def read(file: Path) -> Received:
    """What a process of readers wrote."""
    content: Any = msgpack.unpackb(file.read_bytes())
    return Received(*content)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.websocket_readers", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True, help="connections")
    parser.add_argument("--into", type=Path, required=True, help="file for what came")
    options = parser.parse_args()
    received = uvloop.run(run(options.host, options.port, options.count))
    options.into.write_bytes(msgpack.packb(tuple(received)))


if __name__ == "__main__":
    main()
