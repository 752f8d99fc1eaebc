"""A part that needs what the journal holds no more: said once, for a person to decide on."""

import asyncio
from typing import Any

import grpc

from server.followers.following import Following, Health, Reached
from server.journal.record import Record

BEGINS = "after_sequence 0 lies before the journal that is kept, which begins with sequence 900"


async def refuse(_request: bytes, context: Any) -> None:
    """As a server does whose journal begins later."""
    await context.abort(grpc.StatusCode.OUT_OF_RANGE, BEGINS)


class EmptyTables:
    """A follower whose database was emptied."""

    name = "postgres"
    opened = 0

    async def open(self) -> Reached:
        self.opened += 1
        return Reached(0)

    async def take(self, records: list[Record]) -> None:
        raise AssertionError("there is nothing to take")

    async def close(self) -> None:
        """Nothing is held."""


def test_says_what_to_do_and_waits() -> None:
    said: list[str] = []
    tables = EmptyTables()

    async def run() -> None:
        server = grpc.aio.server()
        streams: dict[str, Any] = {"StreamJournal": grpc.unary_stream_rpc_method_handler(refuse)}
        service = "exchange.v1.AdminService"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, streams),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        heard = asyncio.Event()

        def hear(line: str) -> None:
            said.append(line)
            heard.set()

        following = Following(tables, f"127.0.0.1:{port}", hear)
        task = asyncio.create_task(following.run())
        async with asyncio.timeout(10):
            await heard.wait()
        assert following.state().health == Health.DOWN
        assert "exchange rebuild postgres" in following.state().problem
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.stop(None)

    asyncio.run(run())
    assert len(said) == tables.opened == 1
    assert BEGINS in said[0]
