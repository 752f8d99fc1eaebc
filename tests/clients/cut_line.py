"""A line to the exchange that can be cut: what goes in on one port comes out at another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CHUNK_BYTES = 64 * 1024


class CutLine:
    """A TCP proxy; whatever it carries is gone at a `cut`, without a goodbye."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.carries = asyncio.Event()
        """While it is not set nothing comes through, and nobody is told."""
        self.carries.set()
        self.carried_bytes: list[int] = []
        """So much the next connections carry to the client; then nothing more comes through."""
        self.address = ""
        self.connections = 0
        """So many have been made."""

    @property
    def is_open(self) -> bool:
        """Whether it carries a connection."""
        return bool(self._writers)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, both ways, until it ends."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        there: asyncio.StreamWriter | None = None
        try:
            with suppress(OSError):
                back, there = await asyncio.open_connection(self._host, self._port)
                if writer.is_closing():
                    return  # cut before it led anywhere
                self._writers.add(there)
                room = self.carried_bytes.pop(0) if self.carried_bytes else None
                await asyncio.gather(self._copy(reader, there), self._copy(back, writer, room))
        finally:
            for one in (writer, there):
                if one is not None:
                    self._writers.discard(one)
                    one.transport.abort()
            self._tasks.discard(task)

    def cut(self) -> None:
        """Break every connection, wherever it is; the next one can be made at once."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def close(self) -> None:
        """Cut, and wait until nothing is left."""
        self.carries.set()
        while self._tasks:
            self.cut()
            await asyncio.wait(self._tasks, timeout=0.05)

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, room: int | None = None
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self.carries.wait()
                if room is not None:
                    data, room = data[:room], room - len(data[:room])
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def cut_line(address: str) -> AsyncIterator[CutLine]:
    """A line to an address."""
    line = CutLine(address)
    server = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    line.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield line
    finally:
        server.close()
        await line.close()
        await server.wait_closed()
