"""A database that something else uses too."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from server.followers.following import FollowerStopped
from server.followers.postgres import PostgresFollower
from server.outage_lines import reason
from server.rpc.part_service import PROBLEM_CHARS_MAX


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
    database: str, fetch: Callable[..., list[Any]], made: str, named: str
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
