"""The months of `trades` and `order_events`: made ahead, dropped when their time is over.

The first batch of a process, and the first of each day, makes the partition of its month and of the
next one, so that a month begins without any. By the time of that batch, which is the
journal's and not the clock's, it drops the months that ended longer ago than they are kept.

Nobody who reads a table holds a batch up: a month is made as a table of its own, then attached,
which goes together with reading. What is not needed yet, the next month and the end of old ones, is
given up where something is in its way, who uses the table for longer than `WAIT_MS` or what an
analyst made on it, and tried again with the next minute's batch. What doesn't go by itself is said.

Who calls this holds the position's row, so that no two are at it at once.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import asyncpg

from server.core.market import MINUTE_NS
from server.followers.following import FollowerStopped
from server.outage_lines import reason
from server.settings import HistorySettings

DAY_NS: Final = 86_400_000_000_000
_ALL: Final = "INCLUDING ALL EXCLUDING IDENTITY"
"""A table whose own columns are identities is not attached; it has those of the whole then."""
WAIT_MS: Final = 100
"""For who uses a table of which a month is dropped; who comes meanwhile waits behind that."""


class Partitions:
    """Knows the partitions of one database, as far as this process has seen to them."""

    def __init__(self, kept: HistorySettings, say: Callable[[str], None] = lambda _: None) -> None:
        self._keep_days = {"trades": kept.trades_keep_days, "order_events": kept.events_keep_days}
        self._say = say
        self._told: set[str] = set()
        """What is in the way of months, as last said."""
        self.due_ns = 0
        """Batches before this time need nothing."""

    async def make(self, connection: Any, time_ns: int) -> int:
        """What a batch of this time needs, and what can be done at once of the rest: `due_ns` once
        the transaction is committed. Raises `FollowerStopped` where a month can't be made."""
        if time_ns < self.due_ns:
            return self.due_ns
        for table in self._keep_days:
            await _make_month(connection, table, month_of(time_ns))
        found: set[str] = set()
        is_done = True
        for work in await self._work(connection, time_ns):
            try:
                async with connection.transaction():
                    await _within(connection, WAIT_MS, work)
            except asyncpg.LockNotAvailableError:
                is_done = False
                # What was in the way of the rest may be there still.
                found |= self._told
                break
            except (
                asyncpg.PostgresConnectionError,
                asyncpg.AdminShutdownError,
                asyncpg.CrashShutdownError,
            ):
                raise
            except (asyncpg.PostgresError, FollowerStopped) as error:
                is_done = False
                found.add(reason(error))
        self._tell(found)
        ended = MINUTE_NS if not is_done else DAY_NS
        return (time_ns // ended + 1) * ended

    async def settle(self, connection: Any, time_ns: int, wait_ms: int) -> None:
        """Just the months that there are to be at this time; `LockNotAvailableError` where what is
        in the way stays there."""
        for work in await self._work(connection, time_ns):
            await _within(connection, wait_ms, work)

    async def _work(self, connection: Any, time_ns: int) -> list[Callable[[], Awaitable[object]]]:
        """List what there is to do, each of which can be done without the others."""
        found: list[Callable[[], Awaitable[object]]] = []
        month = month_of(time_ns)
        for table, days in self._keep_days.items():
            for first in (month, next_month(month)):
                found += [partial(_make_month, connection, table, first)]
            if days:
                oldest = month_of(max(time_ns - days * DAY_NS, 0))
                ended = await _before(connection, table, f"{table}_{oldest:%Y_%m}")
                found += (partial(connection.execute, f"DROP TABLE {name}") for name in ended)
        return found

    def _tell(self, found: set[str]) -> None:
        for why in sorted(found - self._told):
            self._say(f"postgres: a month can't be made or dropped in time ({why}); trying again")
        self._told = found


async def _within(connection: Any, wait_ms: int, work: Callable[[], Awaitable[object]]) -> None:
    """Do it, waiting for no lock for longer."""
    before = await connection.fetchval("SHOW lock_timeout")
    await connection.execute(f"SET LOCAL lock_timeout = {wait_ms}")
    await work()
    await connection.execute("SELECT set_config('lock_timeout', $1, TRUE)", before)


async def make_partition(connection: Any, table: str, name: str, bound: str) -> None:
    """Unless it is there. A table of that name that is no partition is not taken for one."""
    is_partition = await connection.fetchval(
        """SELECT coalesce(inhparent = $1::regclass, FALSE)
        FROM pg_class LEFT JOIN pg_inherits ON inhrelid = oid
        WHERE relname = $2 AND relnamespace = quote_ident(current_schema())::regnamespace""",
        table,
        name,
    )
    if is_partition is None:
        await connection.execute(f"CREATE TABLE {name} (LIKE {table} {_ALL})")
        await connection.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} {bound}")
    elif not is_partition:
        raise FollowerStopped(
            f"the table {name} is no partition of {table} and has the name of one that is needed:"
            " attach it again, rename it or drop it"
        )


async def _make_month(connection: Any, table: str, first: datetime) -> None:
    bound = f"FOR VALUES FROM ('{first:%Y-%m-%d}+00') TO ('{next_month(first):%Y-%m-%d}+00')"
    await make_partition(connection, table, f"{table}_{first:%Y_%m}", bound)


async def _before(connection: Any, table: str, name: str) -> list[str]:
    """The partitions whose month is before that of this one, by names as SQL has them; what has
    another name is somebody's own."""
    rows = await connection.fetch(
        """SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class ON oid = inhrelid
        WHERE inhparent = $1::text::regclass AND relname ~ ('^' || $1 || '_[0-9]{4}_[0-9]{2}$')
        AND relname COLLATE "C" < $2 ORDER BY relname""",
        table,
        name,
    )
    return [row[0] for row in rows]


def month_of(time_ns: int) -> datetime:
    """The first day of its month."""
    day = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    return day.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    """The first day of the one after."""
    return (month + timedelta(days=32)).replace(day=1)
