"""Brings the tables of a database to what this release expects.

`migrations/NNNN_name.sql` are applied in the order of their numbers, each in a transaction of its
own together with its row in `schema_migrations`. An advisory lock that is held for the transaction
lets one process at a time through, so that two that start together apply each once. A file that
was applied and has changed since is refused: its digest is kept. A database that knows more
migrations than this release is refused too, and one in which something else has a name that a
migration gives.
"""

import hashlib
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg

DIRECTORY: Final = Path(__file__).parents[2] / "migrations"
LOCK: Final = 0x45584348
"""Of `pg_advisory_xact_lock`: any number that nobody else takes."""
LOCK_MS: Final = 3_000
"""To wait for a table that somebody uses; then it is tried again."""
MIGRATE_S: Final = 3_600.0
"""For one file, and to wait for another process that is at it: an index of a large table takes
minutes, and given up, it would be begun anew for ever."""

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL,
    applied TIMESTAMPTZ NOT NULL DEFAULT now())"""


class SchemaRefused(Exception):
    """The database was made by something else; the message says what to do."""


class Migration(NamedTuple):
    """One file of SQL."""

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Gives the digest that is compared once it was applied."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Read all files, in order; numbers have no gaps."""
    found = []
    for path in sorted(DIRECTORY.glob("[0-9][0-9][0-9][0-9]_*.sql")):
        number, _, name = path.stem.partition("_")
        found.append(Migration(int(number), name, path.read_text(encoding="utf-8")))
    assert [each.number for each in found] == list(range(1, len(found) + 1)), found
    return found


async def migrate(connection: Any, wanted: list[Migration] | None = None) -> int:
    """Apply what is missing: how many that was. Raises `SchemaRefused`."""
    wanted = migrations() if wanted is None else wanted
    try:
        return await _migrate(connection, wanted)
    except (asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError) as taken:
        raise SchemaRefused(_in_the_way(str(taken))) from taken


async def _migrate(connection: Any, wanted: list[Migration]) -> int:
    applied = 0
    for migration in wanted:
        # What another process did while the lock was waited for is to be seen.
        async with connection.transaction(isolation="read_committed"):
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK, timeout=MIGRATE_S)
            if await connection.fetchval("SELECT current_schema()") is None:
                await _make_schema(connection)
            await connection.execute(_TABLE)
            known = await _known(connection)
            _check(migration, known, len(wanted))
            if migration.number not in known:
                # Who reads a table meanwhile would wait behind this for as long as it waits.
                await connection.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
                await connection.execute(migration.text, timeout=MIGRATE_S)
                await connection.execute(
                    "INSERT INTO schema_migrations (number, name, sha256) VALUES ($1, $2, $3)",
                    migration.number,
                    migration.name,
                    migration.sha256,
                )
                applied += 1
    return applied


async def _known(connection: Any) -> dict[int, str]:
    """Digests of those that were applied, by number."""
    try:
        rows = await connection.fetch("SELECT number, sha256 FROM schema_migrations")
    except asyncpg.UndefinedColumnError as other:
        raise SchemaRefused(_in_the_way('relation "schema_migrations" already exists')) from other
    return {row["number"]: row["sha256"] for row in rows}


def _in_the_way(what: str) -> str:
    return (
        f"{what}, and no migration known here made it: name an empty database,"
        " or set the role's search_path to a schema of its own"
    )


async def _make_schema(connection: Any) -> None:
    """Make the schema again where somebody dropped it, to begin afresh."""
    if await connection.fetchval("SELECT to_regnamespace('public') IS NOT NULL"):
        path = await connection.fetchval("SHOW search_path")
        raise SchemaRefused(
            f"this database has no schema of the role's search_path, which is {path}: create one,"
            " or set the path to one that there is"
        )
    await connection.execute("CREATE SCHEMA public")


def _check(migration: Migration, known: dict[int, str], count: int) -> None:
    if known.get(migration.number, migration.sha256) != migration.sha256:
        raise SchemaRefused(
            f"migration {migration.number:04} ({migration.name}) was applied with another text:"
            " use the release that made the database, or an empty one"
        )
    if max(known, default=0) > count:
        raise SchemaRefused(
            f"the database has migration {max(known):04}, this release knows {count}:"
            " use the newer release"
        )
