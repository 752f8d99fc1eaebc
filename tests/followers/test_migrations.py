"""Migrations of a database that others use: schemas, locks and time."""

import asyncio

import asyncpg
import pytest

from server.followers import migrations
from server.followers.migrations import Migration, SchemaRefused, migrate
from tests.followers.test_postgres import Fetch


def test_a_search_path_without_a_schema_is_told(database: str, fetch: Fetch) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(database, server_settings={"search_path": "mine"})
        try:
            with pytest.raises(SchemaRefused, match="search_path, which is mine: create one"):
                await migrate(connection)
        finally:
            await connection.close()

    asyncio.run(run())


def test_a_migration_takes_as_long_as_it_takes(database: str, fetch: Fetch) -> None:
    """One that makes an index of a large table, and another process that waits for it."""
    slow = [Migration(1, "slow", "SELECT pg_sleep(0.6)")]

    async def run() -> list[int]:
        connections = [await asyncpg.connect(database, command_timeout=0.5) for _ in range(2)]
        try:
            return await asyncio.gather(*(migrate(each, slow) for each in connections))
        finally:
            for connection in connections:
                await connection.close()

    assert sorted(asyncio.run(run())) == [0, 1]
    assert fetch("SELECT count(*) FROM schema_migrations") == [(1,)]


def test_a_migration_makes_no_queue_behind_somebody_who_reads(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_MS", 50)
    made = [Migration(1, "made", "CREATE TABLE traded (price INTEGER)")]
    changed = [*made, Migration(2, "changed", "ALTER TABLE traded ADD COLUMN at TIMESTAMPTZ")]

    async def run() -> None:
        connection, reader = [await asyncpg.connect(database) for _ in range(2)]
        try:
            await migrate(connection, made)
            async with reader.transaction():
                await reader.execute("SELECT FROM traded")
                with pytest.raises(asyncpg.LockNotAvailableError):
                    await migrate(connection, changed)
            assert await migrate(connection, changed) == 1
        finally:
            await connection.close()
            await reader.close()

    asyncio.run(run())
