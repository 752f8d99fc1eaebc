"""Unary gRPC calls over one HTTP/2 connection, many in flight, at a fraction of a client's cost.

A Python gRPC client takes as much CPU for a call as the server does, so that on two cores it is the
client that would be measured. This one sends what a gRPC client sends (RFC 9113; header names and
values enter the compression table with the first call, and are one byte each from then on) and
reads just enough of the replies: the message, and the end of the stream. Headers are not decoded: a
reply without a message is a refusal, and fails the turn. It obeys the server's connection window
(a request is far smaller than a stream's), acknowledges settings and pings, and opens its own
windows as far as the protocol allows.
"""

import asyncio
import struct
from collections import deque
from typing import cast

from bench.drivers.loop import ClosedLoop
from bench.figures import Turn

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_FRAME = struct.Struct(">BHBBI")
_FRAME_BYTES = _FRAME.size
_WINDOW_MAX = 2**31 - 1
_WINDOW_START = 65_535
# What was received is given back to the server's window in steps of this many bytes.
_WINDOW_STEP = 1 << 24
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_INITIAL_WINDOW_SIZE = 4


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    size = len(payload)
    return _FRAME.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def _text(value: bytes) -> bytes:
    assert len(value) < 127, "a longer one needs a length of several bytes"
    return bytes([len(value)]) + value


def _first_headers(path: bytes, authority: bytes) -> bytes:
    """POST, http, and five fields that enter the table in this order."""
    return b"".join(
        [
            b"\x83\x86",
            b"\x44" + _text(path),
            b"\x41" + _text(authority),
            b"\x5f" + _text(b"application/grpc"),
            b"\x40" + _text(b"te") + _text(b"trailers"),
            b"\x7a" + _text(b"bench/1"),
        ]
    )


_LATER_HEADERS = b"\x83\x86\xc2\xc1\xc0\xbf\xbe"
"""The same by their places in the table: the newest is 62, the oldest of the five 66."""


class Connection(asyncio.Protocol):
    """One connection with many calls of one method in flight."""

    def __init__(
        self, loop: ClosedLoop, path: bytes, authority: bytes, replies: list[bytes], size: int
    ):
        """Replies are kept in `replies`, framing removed, in the order in which they arrive."""
        self._size = size
        self._loop = loop
        self._headers = _first_headers(path, authority)
        self._replies = replies
        self._received = b""
        self._next_stream = 1
        self._sent_ns: dict[int, int] = {}
        self._bodies: dict[int, bytes] = {}
        self._window = _WINDOW_START
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._unreturned = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, _WINDOW_MAX)
        update = struct.pack(">I", _WINDOW_MAX - _WINDOW_START)
        self._transport.write(
            _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, update)
        )

    def connection_lost(self, error: Exception | None) -> None:
        self._loop.fail(f"the connection was closed: {error}")

    def send(self) -> None:
        """Send the next request, if there is one."""
        if request := self._loop.next_request():
            self._waiting.append(request)
            self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting:
            message, sent_ns = self._waiting[0]
            size = len(message) + 5
            if size > self._window:
                return
            self._waiting.popleft()
            self._window -= size
            stream = self._next_stream
            self._next_stream = stream + 2
            self._sent_ns[stream] = sent_ns
            headers, self._headers = self._headers, _LATER_HEADERS
            self._transport.write(
                _FRAME.pack(0, len(headers), _HEADERS, _END_HEADERS, stream)
                + headers
                + _FRAME.pack(0, size, _DATA, _END_STREAM, stream)
                + b"\0"
                + len(message).to_bytes(4, "big")
                + message
            )

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        position, end = 0, len(received)
        while end - position >= _FRAME_BYTES:
            high, low, kind, flags, stream = _FRAME.unpack_from(received, position)
            start = position + _FRAME_BYTES
            stop = start + (high << 16 | low)
            if stop > end:
                break
            self._frame_received(kind, flags, stream, received[start:stop])
            position = stop
        self._received = received[position:]

    def _frame_received(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            body = self._bodies.get(stream)
            self._bodies[stream] = payload if body is None else body + payload
            self._return_window(len(payload))
        elif kind == _HEADERS:
            if flags & _END_STREAM:
                self._answered(stream)
        elif kind == _WINDOW_UPDATE:
            if stream == 0:
                self._window += int.from_bytes(payload, "big")
                self._send_waiting()
        elif kind in (_SETTINGS, _PING):
            if not flags & _ACK:
                self._transport.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind in (_RST_STREAM, _GOAWAY):
            self._loop.fail(f"the server ended stream {stream}: frame {kind}, {payload!r}")

    def _answered(self, stream: int) -> None:
        body = self._bodies.pop(stream, b"")
        if len(body) < 5 or len(body) != 5 + int.from_bytes(body[1:5], "big"):
            self._loop.fail(f"call {stream // 2} was refused: its reply holds no message")
            return
        self._replies.append(body[5:])
        self._loop.answered(self._sent_ns.pop(stream), self._size)
        self.send()

    def _return_window(self, size: int) -> None:
        self._unreturned += size
        if self._unreturned >= _WINDOW_STEP:
            update = struct.pack(">I", self._unreturned)
            self._transport.write(_frame(_WINDOW_UPDATE, 0, 0, update))
            self._unreturned = 0


async def drive(
    host: str,
    port: int,
    path: str,
    loop: ClosedLoop,
    in_flight: int,
    replies: list[bytes],
    size: int = 1,
) -> Turn:
    """Load one method of the server at `host:port`, `size` orders or books a call."""
    authority = f"{host}:{port}".encode()
    transport, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(loop, path.encode(), authority, replies, size), host, port
    )
    for _ in range(in_flight):
        connection.send()
    try:
        return await loop.turn()
    finally:
        transport.abort()
