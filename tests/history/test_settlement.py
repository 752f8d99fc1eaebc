"""Days settled from a real PostgreSQL, against a plain fold of the journal's trades."""

import asyncio
import hashlib
import itertools
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import asyncpg
import pytest

from server.followers.migrations import migrate, migrations
from server.followers.postgres import PostgresFollower
from server.history import settlement
from server.history.reader import Down
from server.history.settlement import (
    Damaged,
    DayNotKept,
    Obligation,
    Settled,
    Settlements,
)
from server.journal.record import Record
from tests.followers.conftest import PostgresServer
from tests.history.traded_days import (
    EMPTY,
    FIRST,
    NAMES,
    day_of,
    folded,
    nanoseconds,
    records,
    traded_days,
)
from tests.journal.site import Site

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return traded_days(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def template(site: Site, postgres: PostgresServer) -> str:
    """The address of a database with all rows, to be copied."""
    url = postgres.database()
    asyncio.run(fill(url, records(site)))
    return url


@pytest.fixture
def whole(template: str, postgres: PostgresServer) -> str:
    """A copy."""
    name = f"whole_{next(_numbers)}"

    async def copy() -> None:
        connection = await asyncpg.connect(postgres.url)
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template.rpartition('/')[2]}")
        await connection.close()

    asyncio.run(copy())
    return f"{postgres.url.rpartition('/')[0]}/{name}"


async def settle(database: str, day: date, last_sequence: int) -> tuple[Settled, list[Obligation]]:
    async with Settlements(database).settled(day, last_sequence) as (done, pages):
        return done, [each async for page in pages for each in page]


async def fill(database: str, some: list[Record]) -> None:
    follower = PostgresFollower(database)
    await follower.open()
    await follower.take(some)
    await follower.close()


async def execute(database: str, *statements: str) -> None:
    connection = await asyncpg.connect(database)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


def digest_of(day: date, obligations: list[Obligation]) -> str:
    lines = [str(day), *("\t".join(map(str, each)) for each in obligations)]
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def assert_balanced(obligations: list[Obligation]) -> None:
    for name in NAMES:
        of_it = [each for each in obligations if each.instrument == name]
        assert sum(each.quantity_e8 for each in of_it) == 0
        assert sum(each.money_e16 for each in of_it) == 0
        assert sum(each.fees_e8 for each in of_it) == 0


def test_each_day_is_the_fold_of_its_trades_and_stays_so(
    site: Site, whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement, "PAGE", 5)
    last = site.engine.sequence

    async def run() -> None:
        for number in range(4):
            day = date.fromordinal(FIRST.toordinal() + number)
            expected, trades = folded(site, day)
            assert (trades > 10) == (number != EMPTY)
            done, obligations = await settle(whole, day, last)
            assert obligations == expected
            assert_balanced(obligations)
            assert done == Settled(day, last, trades, digest_of(day, expected))
            again = await asyncio.gather(*(settle(whole, day, last) for _ in range(3)))
            assert again == [(done, obligations)] * 3
        digests = {(await settle(whole, FIRST, last))[0].digest for _ in range(2)}
        assert len(digests) == 1

    asyncio.run(run())


def test_how_a_database_writes_dates_is_its_own_affair(site: Site, whole: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(whole)
        name = whole.rpartition("/")[2]
        for setting in (
            "datestyle = 'German, DMY'",
            "timezone = 'America/New_York'",
            "standard_conforming_strings = off",
        ):
            await connection.execute(f"ALTER DATABASE {name} SET {setting}")
        await connection.close()
        _, obligations = await settle(whole, FIRST, site.engine.sequence)
        assert obligations == folded(site, FIRST)[0]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("setting", "lock"),
    [
        ("default_transaction_read_only = on", "ACCESS SHARE"),
        ("lock_timeout = 10", "SHARE"),
        ("statement_timeout = 10", "SHARE"),
    ],
)
def test_a_database_that_refuses_for_now_is_down(
    site: Site, whole: str, setting: str, lock: str
) -> None:
    """A replica, say, or one that somebody has locked."""

    async def run() -> None:
        other = await asyncpg.connect(whole)
        await other.execute(f"ALTER DATABASE {whole.rpartition('/')[2]} SET {setting}")
        async with other.transaction():
            await other.execute(f"LOCK TABLE settlements IN {lock} MODE")
            with pytest.raises(Down, match="failing"):
                await settle(whole, FIRST, site.engine.sequence)
        await other.close()

    asyncio.run(run())


def test_tables_that_are_only_being_made_are_not_there_yet(database: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(database)
        wanted = migrations()
        for count in range(len(wanted)):
            await migrate(connection, wanted[:count])
            with pytest.raises(Down):
                await settle(database, FIRST, 1)
        await connection.close()

    asyncio.run(run())


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_settled_at_once_from_many_sides_it_is_settled_once(
    site: Site, whole: str, isolation: str
) -> None:
    """However transactions are by default."""

    async def run() -> None:
        name = whole.rpartition("/")[2]
        setting = f"default_transaction_isolation = '{isolation}'"
        await execute(whole, f"ALTER DATABASE {name} SET {setting}")
        found = await asyncio.gather(
            *(settle(whole, FIRST, site.engine.sequence) for _ in range(8))
        )
        assert all(each == found[0] for each in found)
        assert found[0][1] == folded(site, FIRST)[0]

    asyncio.run(run())


def test_one_day_is_settled_at_a_time_and_the_follower_drops_no_trades_meanwhile(
    site: Site, whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_whole_day = settlement._first_whole_day
    under_way: list[int] = [0]

    async def looked_into(connection: object, begins_ns: int) -> date | None:
        under_way.append(under_way[-1] + 1)
        dropping = await asyncpg.connect(whole)
        with pytest.raises(asyncpg.LockNotAvailableError):
            async with dropping.transaction():
                await dropping.execute("LOCK TABLE trades NOWAIT")
        await dropping.close()
        await asyncio.sleep(0.05)
        first = await first_whole_day(connection, begins_ns)
        under_way.append(under_way[-1] - 1)
        return first

    monkeypatch.setattr(settlement, "_first_whole_day", looked_into)

    async def settled(settlements: Settlements, day: date) -> None:
        async with settlements.settled(day, site.engine.sequence) as (done, _):
            assert done.day == day

    async def run() -> None:
        settlements = Settlements(whole)
        days = (FIRST, FIRST + timedelta(days=1))
        await asyncio.gather(*(settled(settlements, day) for day in days))

    asyncio.run(run())
    assert under_way == [0, 1, 0, 1, 0]


def test_however_many_ask_few_connections_are_taken(site: Site, whole: str) -> None:
    """The embedded server has twenty, which its follower and history need too."""
    settlements = Settlements(whole)
    open_now: list[int] = []
    most = 0

    async def ask(number: int) -> str:
        nonlocal most
        async with settlements.settled(FIRST, site.engine.sequence) as (done, _):
            open_now.append(number)
            most = max(most, len(open_now))
            await asyncio.sleep(0.05)
            open_now.remove(number)
            return done.digest

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*map(ask, range(3 * settlement.CALLS_MAX)))

    assert len(set(asyncio.run(all_at_once()))) == 1
    assert most <= settlement.CALLS_MAX


def test_only_complete_and_kept_days_are_settled(
    site: Site, database: str, fetch: Callable[[str], list[tuple[object, ...]]]
) -> None:
    everything = records(site)
    last = site.engine.sequence
    ended = next(
        number for number, record in enumerate(everything) if day_of(record.time_ns) > FIRST
    )

    async def run() -> None:
        with pytest.raises(Down):
            await settle(database, FIRST, last)  # no tables yet
        await fill(database, everything[:ended])
        with pytest.raises(Down, match=f"complete at {last}"):
            await settle(database, FIRST, last)
        # Nothing came after the day: then what the engine has is all there is of it.
        quiet, _ = await settle(database, FIRST, everything[ended - 1].last_sequence)
        await fill(database, everything[ended:])
        later, obligations = await settle(database, FIRST, last)
        assert later == quiet
        assert obligations == folded(site, FIRST)[0]
        with pytest.raises(DayNotKept) as refused:
            await settle(database, date(2026, 1, 31), last)
        assert refused.value.first == date(2026, 2, 1)
        connection = await asyncpg.connect(database)
        await connection.execute("DROP TABLE trades_2026_02")
        await connection.close()
        with pytest.raises(DayNotKept) as refused:
            await settle(database, date(2026, 2, 28), last)
        assert refused.value.first == date(2026, 3, 1)
        assert (await settle(database, FIRST, last))[0] == quiet, "what was settled stays"

    asyncio.run(run())
    assert fetch("SELECT day::text FROM settled_days") == [(str(FIRST),)]


@pytest.mark.parametrize(("since_end_ns", "is_complete"), [(-1, False), (0, True)])
def test_a_day_is_complete_once_the_tables_are_past_it(
    site: Site, whole: str, since_end_ns: int, is_complete: bool
) -> None:
    """However far they are behind: an exchange that is traded on is always ahead of them."""
    end_ns = nanoseconds(date.fromordinal(FIRST.toordinal() + 1))
    reached = f"UPDATE follower_positions SET time_ns = {end_ns + since_end_ns}"

    async def run() -> None:
        await execute(whole, reached)
        if is_complete:
            _, obligations = await settle(whole, FIRST, site.engine.sequence + 1)
            assert obligations == folded(site, FIRST)[0]
        else:
            with pytest.raises(Down, match="the day is complete at"):
                await settle(whole, FIRST, site.engine.sequence + 1)

    asyncio.run(run())


def test_without_any_month_of_trades_no_day_is_kept(site: Site, whole: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(whole)
        months = await connection.fetch(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'trades'::regclass"
        )
        for (month,) in months:
            await connection.execute(f"DROP TABLE {month}")
        await connection.close()
        with pytest.raises(DayNotKept) as refused:
            await settle(whole, FIRST, site.engine.sequence)
        assert refused.value.first is None

    asyncio.run(run())


def test_tables_that_begin_within_a_day_do_not_settle_it(site: Site, whole: str) -> None:
    """As they are after they were emptied and made again from a journal without its beginning."""
    noon = nanoseconds(FIRST) // 10**9 + 12 * 3_600
    cut = (
        f"UPDATE follower_positions SET begins_ns = {noon}000000000",
        f"DELETE FROM trades WHERE timestamp < to_timestamp({noon})",
        f"DELETE FROM minute_bars WHERE minute < {noon // 60}",
    )

    async def run() -> None:
        await execute(whole, *cut)
        following = date.fromordinal(FIRST.toordinal() + 1)
        with pytest.raises(DayNotKept) as refused:
            await settle(whole, FIRST, site.engine.sequence)
        assert refused.value.first == following
        _, obligations = await settle(whole, following, site.engine.sequence)
        assert obligations == folded(site, following)[0]

    asyncio.run(run())


def test_the_first_day_is_settled_when_its_events_are_gone(site: Site, whole: str) -> None:
    """They are kept for 90 days, its trades for ever."""

    async def run() -> None:
        await execute(whole, "DROP TABLE order_events_2026_02")
        _, obligations = await settle(whole, FIRST, site.engine.sequence)
        assert obligations == folded(site, FIRST)[0]

    asyncio.run(run())


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM trades WHERE sequence = (SELECT min(sequence) FROM trades)",
        "UPDATE trades SET price = price + 0.00000001",
        "DELETE FROM trades",
    ],
)
def test_trades_that_contradict_the_bars_are_not_settled(
    site: Site, whole: str, change: str
) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(whole)
        await connection.execute(change)
        await connection.close()
        with pytest.raises(Damaged, match="rebuild"):
            await settle(whole, FIRST, site.engine.sequence)

    asyncio.run(run())


def test_settled_rows_that_were_changed_are_not_told(site: Site, whole: str) -> None:
    async def run() -> None:
        await settle(whole, FIRST, site.engine.sequence)
        connection = await asyncpg.connect(whole)
        await connection.execute("UPDATE settlements SET fees = fees + 1 WHERE account LIKE 'fe%'")
        with pytest.raises(Damaged, match="not to zero"):
            await settle(whole, FIRST, site.engine.sequence)
        await connection.execute("DELETE FROM settlements")
        with pytest.raises(Damaged, match="no longer those"):
            await settle(whole, FIRST, site.engine.sequence)
        await connection.close()

    asyncio.run(run())


def test_a_database_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(Down, match="can't be reached"):
        asyncio.run(settle("postgresql://nobody@127.0.0.1:1/none", FIRST, 0))
