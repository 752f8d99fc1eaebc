"""A database that something else uses too."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from server.followers import postgres
from server.followers.following import FollowerStopped, Following
from server.followers.postgres import PostgresFollower
from server.followers.rebuild_sql import TABLES
from server.maintenance.outside import PROBLEM_CHARS_MAX
from server.outage_lines import reason
from server.supervisor.main import main
from tests.followers.test_postgres import Fetch, assert_events, assert_fold, records, write
from tests.journal.site import Site, every_command, settings, trade
from tests.rpc.served import serving


async def opened(database: str) -> int:
    follower = PostgresFollower(database)
    try:
        return (await follower.open()).sequence
    finally:
        await follower.close()


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("CREATE TABLE orders (id BIGINT)", 'relation "orders" already exists'),
        ("CREATE VIEW trades AS SELECT 1 AS id", 'relation "trades" already exists'),
        ("CREATE TYPE side AS ENUM ('left', 'right')", 'type "side" already exists'),
        (
            "CREATE TABLE schema_migrations (version TEXT PRIMARY KEY)",
            'relation "schema_migrations" already exists',
        ),
    ],
)
def test_what_is_in_the_way_of_the_tables_is_for_a_person(
    database: str, fetch: Fetch, made: str, named: str
) -> None:
    """And is told, whole, to whoever asks for health; a schema of its own is one way out."""
    fetch(made)
    with pytest.raises(FollowerStopped) as stopped:
        asyncio.run(opened(database))
    why = reason(stopped.value)
    assert named in why
    assert why[:PROBLEM_CHARS_MAX].endswith("or set the role's search_path to a schema of its own")
    fetch("CREATE SCHEMA exchange")
    assert asyncio.run(opened(f"{database}?search_path=exchange")) == 0


@pytest.mark.parametrize("is_longer", [False, True])
def test_the_rows_of_another_exchange_are_told_as_such(
    database: str, tmp_path: Path, is_longer: bool
) -> None:
    """Whichever of the two journals is longer: this one was not put back from a copy."""
    other = Site(tmp_path / "other")
    other.commit(*settings())
    if is_longer:
        trade(other, 40)
    other.close()
    write(database, [records(other)])

    async def run() -> str:
        follower = PostgresFollower(database)
        async with serving(tmp_path / "data") as served:
            assert (other.engine.sequence > served.engine.sequence) is is_longer
            following = Following(follower, served.address, lambda _: None)
            try:
                with pytest.raises(FollowerStopped) as stopped:
                    await following._follow()
            finally:
                await follower.close()
            assert following.reached.sequence == 0
            assert "postgres" not in served.exchange.followers.positions
        return str(stopped.value)

    journal = other.log.mark.journal.hex()
    assert asyncio.run(run()) == (
        f"it is that of another exchange, whose journal is {journal}:"
        " give this exchange one of its own, or empty it"
    )


def test_columns_that_somebody_has_added_are_left_to_their_defaults(
    tmp_path: Path, database: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the follower and by a rebuild."""
    monkeypatch.setenv("POSTGRES_URL", database)
    site = Site(tmp_path / "site")
    every_command(site)
    site.close()
    tables = {table.name for table in TABLES}
    has_rows = tables - {"orderbook_snapshots"}

    def alter(*changes: str) -> None:
        for table in tables:
            fetch(f"ALTER TABLE {table} {', '.join(changes)}")

    def assert_rows() -> None:
        for table in tables:
            found = fetch(f"SELECT DISTINCT desk, seen FROM {table}")
            assert found == [(None, False)] * (table in has_rows)
        alter("DROP COLUMN desk", "DROP COLUMN seen", "DROP COLUMN number")
        assert_fold(fetch, site.engine)
        assert_events(fetch, records(site))
        alter(*added)

    added = (
        "ADD COLUMN desk TEXT",
        "ADD COLUMN seen BOOLEAN NOT NULL DEFAULT FALSE",
        "ADD COLUMN number BIGINT GENERATED ALWAYS AS IDENTITY",
    )
    write(database, [records(site)[:40]])
    alter(*added)
    write(database, [records(site)[40:]])
    assert_rows()
    fetch(f"TRUNCATE {', '.join(tables)} CASCADE")
    assert main(["rebuild", "postgres", "--data-dir", str(site.directory)]) == 0
    assert_rows()


def test_what_somebody_else_locks_is_told_as_a_lock(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "LOCK_SHARE", 0.03)
    site = Site(tmp_path / "site")
    every_command(site)
    site.close()

    async def run() -> None:
        follower, somebody = PostgresFollower(database), await asyncpg.connect(database)
        try:
            await follower.open()
            async with somebody.transaction():
                await somebody.execute("LOCK TABLE orders")
                with pytest.raises(asyncpg.LockNotAvailableError) as failed:
                    await follower.take(records(site))
            assert reason(failed.value).endswith(": canceling statement due to lock timeout")
        finally:
            await somebody.close()
            await follower.close()

    asyncio.run(run())


def test_a_lower_lock_timeout_of_the_role_stays(database: str) -> None:
    async def run(of_role: str) -> str:
        follower = PostgresFollower(f"{database}{of_role}")
        try:
            await follower.open()
            found: str = await follower._connection.fetchval("SHOW lock_timeout")
            return found
        finally:
            await follower.close()

    assert asyncio.run(run("?lock_timeout=200")) == "200ms"
    assert asyncio.run(run("?lock_timeout=1h")) == asyncio.run(run("")) == "13500ms"
