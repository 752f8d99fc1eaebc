"""The months of `trades` and `order_events`: made ahead, dropped when their time is over.

The first batch of a process, and the first of each day, makes the partition of its month and of the
next one, so that a month begins without any. By the time of that batch, which is the
journal's and not the clock's, it drops the months that ended longer ago than they are kept.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from server.settings import HistorySettings

DAY_NS = 86_400_000_000_000


class Partitions:
    """Of one database, as far as this process has seen to them."""

    def __init__(self, kept: HistorySettings) -> None:
        self._keep_days = {"trades": kept.trades_keep_days, "order_events": kept.events_keep_days}
        self._made: int | None = None
        """The day, in days since 1970 UTC."""

    def forget(self) -> None:
        """Look anew with the next batch."""
        self._made = None

    def made(self, time_ns: int) -> None:
        """The transaction of `make` was committed."""
        self._made = time_ns // DAY_NS

    async def make(self, connection: Any, time_ns: int) -> None:
        """What a batch of this time needs."""
        if time_ns // DAY_NS == self._made:
            return
        month = month_of(time_ns)
        following = next_month(month)
        for table, days in self._keep_days.items():
            for first in (month, following):
                await connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {table}_{first:%Y_%m} PARTITION OF {table}"
                    f" FOR VALUES FROM ('{first:%Y-%m-%d}+00')"
                    f" TO ('{next_month(first):%Y-%m-%d}+00')"
                )
            if days:
                oldest = month_of(max(time_ns - days * DAY_NS, 0))
                await drop_before(connection, table, f"{table}_{oldest:%Y_%m}")


async def drop_before(connection: Any, table: str, name: str) -> None:
    """Drop the partitions whose month is before that of this one."""
    rows = await connection.fetch(
        """SELECT relname AS name, inhrelid::regclass::text AS quoted
        FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = $1::regclass""",
        table,
    )
    for row in rows:
        if row["name"] < name:
            await connection.execute(f"DROP TABLE {row['quoted']}")


def month_of(time_ns: int) -> datetime:
    """The first day of its month."""
    day = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    return day.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    """The first day of the one after."""
    return (month + timedelta(days=32)).replace(day=1)
