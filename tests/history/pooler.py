"""A pooler before a real PostgreSQL: like those that are in use it hands a connection on only if it
begins with nothing but settings that every pooler knows."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.running import free_port

KNOWN = {
    "user",
    "database",
    "client_encoding",
    "application_name",
    "datestyle",
    "timezone",
    "standard_conforming_strings",
}
SSL_REQUEST = 80_877_103


@asynccontextmanager
async def pooled(database: str) -> AsyncIterator[str]:
    """The address of that database through it, until the end of the block."""
    before, _, name = database.rpartition("/")
    credentials, _, address = before.rpartition("@")
    host, _, port = address.rpartition(":")
    own = free_port()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _serve(reader, writer, host, int(port))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", own)
    try:
        yield f"{credentials}@127.0.0.1:{own}/{name}"
    finally:
        server.close()


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
) -> None:
    while True:
        head = await reader.readexactly(8)
        length, code = struct.unpack("!ii", head)
        body = await reader.readexactly(length - 8)
        if code != SSL_REQUEST:
            break
        writer.write(b"N")
    said = body.rstrip(b"\0").split(b"\0")
    unknown = {each.decode().lower() for each in said[::2]} - KNOWN if code == 3 << 16 else set()
    if unknown:
        fields = f"SFATAL\0C08P01\0Munsupported startup parameter: {unknown.pop()}\0\0".encode()
        writer.write(b"E" + struct.pack("!i", 4 + len(fields)) + fields)
        await writer.drain()
        return
    there_reader, there_writer = await asyncio.open_connection(host, port)
    there_writer.write(head + body)
    await asyncio.gather(_pass(reader, there_writer), _pass(there_reader, writer))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
