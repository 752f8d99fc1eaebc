"""A request over HTTP/2 by hand: its path goes out as it is, which clients would write anew."""

import socket
from typing import Final

DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def asked(port: int, method: bytes, path: bytes) -> bytes:
    """The body of the reply. Raises `AssertionError` where none ends as it should."""
    fields = ((b":method", method), (b":scheme", b"http"), (b":authority", b"a"), (b":path", path))
    block = b"".join(
        b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields
    )
    request = frame(SETTINGS, 0, 0) + frame(HEADERS, END_STREAM | END_HEADERS, 1, block)
    body = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(PREFACE + request)
        with connection.makefile("rb") as replies:
            while len(head := replies.read(9)) == 9:
                payload = replies.read(int.from_bytes(head[:3], "big"))
                body += payload if head[3] == DATA else b""
                if head[3] in (DATA, HEADERS) and head[4] & END_STREAM:
                    return body
    raise AssertionError("the connection ended before the reply did")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    )
