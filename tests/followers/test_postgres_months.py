"""The months of `trades` and `order_events` in a real PostgreSQL: made, dropped, no hindrance."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from server.core.commands import PlaceOrder
from server.core.types import E8
from server.followers import postgres
from server.followers.following import FollowerStopped
from server.followers.postgres import PostgresFollower
from server.settings import HistorySettings
from tests.followers.test_postgres import Fetch, records, write
from tests.journal.site import INSTRUMENT, Site, settings

ASIDE = "FOR VALUES FROM ('2026-04-03+00') TO ('2026-05-03+00')"
MONTHS = ["2026_02", "2026_03", "2026_04"]


def months(fetch: Fetch, table: str) -> list[str]:
    rows = fetch(
        f"SELECT inhrelid::regclass::text FROM pg_inherits"
        f" WHERE inhparent = '{table}'::regclass ORDER BY 1"
    )
    return [row[0].removeprefix(f"{table}_") for row in rows]


def trade_at(site: Site, *times: datetime) -> None:
    """A trade at each of these times."""
    for time in times:
        for side in (1, 2):
            order = PlaceOrder(f"c{side}", INSTRUMENT, side, 1, E8, E8)
            site.commit(order, time_ns=int(time.timestamp()) * 10**9)


@pytest.mark.parametrize("days", [(0, 31), (48, 47)])
def test_months_are_made_ahead_and_dropped_when_their_time_is_over(
    tmp_path: Path, database: str, fetch: Fetch, days: tuple[int, int]
) -> None:
    """On 20 March 31 days ago is February, 48 days ago January; however the database writes its
    names."""
    site = Site(tmp_path / "months")
    times = [datetime(2026, *day, tzinfo=UTC) for day in ((1, 31), (2, 15), (3, 20))]
    for command in settings():
        site.commit(command, time_ns=int(times[0].timestamp()) * 10**9)
    trade_at(site, *times)
    site.close()
    write(f"{database}?quote_all_identifiers=on", [records(site)], HistorySettings(*days))

    assert months(fetch, "trades") == ["2026_01", "2026_02", "2026_03", "2026_04"]
    assert fetch("SELECT count(*) FROM trades") == [(3,)]
    assert months(fetch, "order_events") == ["2026_02", "2026_03", "2026_04"]
    assert fetch("SELECT count(*) FROM order_events") == [(6,)]


def test_a_month_goes_within_a_day_of_the_end_of_its_time(
    tmp_path: Path, database: str, fetch: Fetch
) -> None:
    """On 1 March 30 days ago is January, two days later February."""
    site = Site(tmp_path / "days")
    times = [datetime(2026, *day, tzinfo=UTC) for day in ((1, 31), (3, 1), (3, 1), (3, 3))]
    for command, time in zip([*settings(), *settings()], times, strict=True):
        site.commit(command, time_ns=int(time.timestamp()) * 10**9)
    site.close()
    kept = HistorySettings(0, 30)
    write(database, [records(site)[:3]], kept)
    assert fetch("SELECT min(sequence), max(sequence) FROM order_events") == [(1, 3)]
    fetch("TRUNCATE follower_positions, orders, trades, order_events, orderbook_snapshots")
    write(database, [records(site)], kept)
    assert fetch("SELECT min(sequence), max(sequence) FROM order_events") == [(2, 4)]


def test_who_reads_for_long_holds_up_no_batch_of_a_new_month(
    tmp_path: Path, database: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a batch hold up who reads after that; a month goes once nobody reads."""
    monkeypatch.setattr(postgres, "COMMAND_S", 2.0)
    site = Site(tmp_path / "read")
    begin = datetime(2026, 1, 31, tzinfo=UTC)
    for command in settings():
        site.commit(command, time_ns=int(begin.timestamp()) * 10**9)
    first = len(records(site))
    trade_at(site, datetime(2026, 3, 20, tzinfo=UTC), datetime(2026, 3, 20, 0, 1, tzinfo=UTC))
    site.close()
    before, blocked, after = records(site)[:first], records(site)[first:-2], records(site)[-2:]

    async def run() -> None:
        follower, reader = PostgresFollower(database, kept), await asyncpg.connect(database)
        try:
            await follower.open()
            await follower.take(before)
            async with reader.transaction():
                for table in ("trades", "order_events"):
                    await reader.fetch(f"SELECT * FROM {table}")
                await follower.take(blocked)
                assert await asyncio.to_thread(fetch, "SELECT count(*) FROM trades") == [(1,)]
                assert (await asyncio.to_thread(months, fetch, "trades"))[:2] == [
                    "2026_01",
                    "2026_02",
                ]
            await follower.take(after)
        finally:
            await follower.close()
            await reader.close()

    kept = HistorySettings(31, 31)
    asyncio.run(run())
    for table in ("trades", "order_events"):
        assert months(fetch, table) == ["2026_02", "2026_03", "2026_04"]
    assert fetch("SELECT count(*) FROM trades") == [(2,)]


def test_a_month_that_was_detached_is_told_of_once_it_is_needed(
    tmp_path: Path, database: str, fetch: Fetch
) -> None:
    """And goes on once it is attached again."""
    site = Site(tmp_path / "detached")
    times = [datetime(2026, month, 3, tzinfo=UTC) for month in (1, 2, 3)]
    for command in settings():
        site.commit(command, time_ns=int(times[0].timestamp()) * 10**9)
    trade_at(site, *times)
    site.close()
    *before, needed, last = records(site)
    write(database, [before[:-2]])
    fetch("CREATE TABLE trades_2026_03 (LIKE trades)")
    write(database, [before[-2:]])
    assert fetch("SELECT count(*) FROM trades") == [(2,)]
    said = "trades_2026_03 is no partition of trades .*: attach it again, rename it or drop it"
    with pytest.raises(FollowerStopped, match=said):
        write(database, [[needed, last]])
    bound = "FROM ('2026-03-01+00') TO ('2026-04-01+00')"
    fetch(f"ALTER TABLE trades ATTACH PARTITION trades_2026_03 FOR VALUES {bound}")
    write(database, [[needed, last]])
    assert fetch("SELECT count(*) FROM trades") == [(3,)]


@pytest.mark.parametrize(
    ("made", "removed", "why"),
    [
        (
            "CREATE VIEW old AS SELECT FROM trades_2026_01",
            "DROP VIEW old",
            "cannot drop table trades_2026_01 because other objects depend on it",
        ),
        (
            f"CREATE TABLE aside PARTITION OF trades {ASIDE}",
            "DROP TABLE aside",
            'partition "trades_2026_04" would overlap partition "aside"',
        ),
    ],
)
def test_what_is_in_the_way_of_a_month_that_is_not_needed_is_said_once(
    tmp_path: Path, database: str, fetch: Fetch, made: str, removed: str, why: str
) -> None:
    """And holds up neither a batch nor what else is to be done; somebody's own partition stays."""
    site = Site(tmp_path / "in_the_way")
    begin = datetime(2026, 1, 31, tzinfo=UTC)
    for command in settings():
        site.commit(command, time_ns=int(begin.timestamp()) * 10**9)
    first = len(records(site))
    trade_at(site, *(datetime(2026, 3, 20, 0, minute, tzinfo=UTC) for minute in range(3)))
    site.close()
    before, blocked, after = records(site)[:first], records(site)[first:-2], records(site)[-2:]
    said: list[str] = []

    async def run() -> None:
        follower = PostgresFollower(database, HistorySettings(31, 31), say=said.append)
        try:
            await follower.open()
            await follower.take(before)
            await asyncio.to_thread(fetch, made)
            for record in blocked:
                await follower.take([record])
            assert await asyncio.to_thread(months, fetch, "order_events") == MONTHS
            assert await asyncio.to_thread(months, fetch, "trades") != MONTHS
            await asyncio.to_thread(fetch, removed)
            await follower.take(after)
        finally:
            await follower.close()

    asyncio.run(run())
    (line,) = said
    assert line.startswith("postgres: a month can't be made or dropped in time (")
    assert line.endswith(f"Error: {why}); trying again")
    assert months(fetch, "trades") == months(fetch, "order_events") == MONTHS
    assert fetch("SELECT count(*) FROM trades") == [(3,)]
