"""Makes the tables once more from the journal, compares them row by row, and mends what differs.

1. All records that are kept go, through the follower's own code, into empty copies of the tables in
   a schema of their own. Nobody else sees them.
2. The tables themselves are brought as far, if they are behind.
3. With the row of the position locked, so that no follower writes, the copies go on to exactly
   that position. Then every row is compared with its copy; rows that differ, are missing or are too
   many are put right, and the comparison made again. All of that is one transaction.

Tables that are past the journal's end are refused: the journal may be an old copy, and the database
that of an exchange that runs. Where it was the journal that was put back from a copy, they are
rewound to its end when that is asked for.

Where the journal begins after sequence 1, a fold of it lacks what was before. Then the newest
snapshot's state is put into the copies when they have reached it (positions, fees, instruments, and
the orders it holds), and what can't be known is left as it is: events and trades before the first
sequence that is kept, minutes not after its own, orders placed and forgotten before it, snapshots
of books before the engine's. Of an order from before it, `updated_sequence` is not compared.

Known limits: the copies need as much room as the tables; while the comparison is made the follower
waits. Rows of `settlements` are decisions, not a fold, and are not touched.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import islice, takewhile
from typing import Any, Final, NamedTuple

import asyncpg

from server.core.engine import Engine
from server.core.market import MINUTE_NS
from server.core.types import INT64_MAX
from server.followers.following import FollowerStopped
from server.followers.migrations import SchemaRefused, migrate
from server.followers.partitions import Partitions, make_partition
from server.followers.postgres import NAME, PostgresFollower
from server.followers.rebuild_seed import seed
from server.followers.rebuild_sql import SCHEMA, TABLES, Table, copies
from server.journal.record import Record
from server.settings import HistorySettings

REMEDY: Final = (
    "name the data directory and the database of one exchange; where its journal was put back from"
    " a copy, --rewind takes the tables back to its end"
)
LOCK: Final = 0x52425544
"""Of `pg_try_advisory_lock`: one rebuild at a time."""
END: Final = INT64_MAX
READERS_MS: Final = 5_000
"""For those who read a table of which months are dropped; others wait behind that."""
TAKEN: Final = 200
"""Records handed on together."""


class RebuildRefused(Exception):
    """The rebuild can't be done; the message says why, and what to do."""


class Proof(NamedTuple):
    """What a comparison of a table found."""

    table: str
    rows: int
    """Compared."""
    missing: int
    surplus: int
    differing: int

    @property
    def wrong(self) -> int:
        """Rows that are not as the journal says."""
        return self.missing + self.surplus + self.differing


class Result(NamedTuple):
    """Says what a rebuild read, compared and found."""

    first_sequence: int
    """The first sequence of the journal that was read."""
    sequence: int
    """The sequence up to which the tables were compared."""
    ahead_sequence: int
    """The sequence that the tables had reached, where it is past the journal's end; else 0."""
    found: list[Proof]
    """What was found before anything was mended."""


class Source(NamedTuple):
    """The journal that is read."""

    first: Record
    """The first record that is kept."""
    records: Callable[[int], Iterator[Record]]
    """Those with commands after a sequence, up to what is durable when it is called."""
    snapshot: Callable[[], tuple[int, Engine] | None]
    """The newest state that is kept, and its sequence."""
    kept: Callable[[], AbstractContextManager[None]] = nullcontext
    """Within it nothing goes of what is kept after the first record, if that can be had."""

    @property
    def journal(self) -> str:
        """Gives the journal's identity, as the tables name it."""
        return self.first.journal.hex()

    @property
    def first_sequence(self) -> int:
        """Gives the first sequence that is kept."""
        return self.first.first_sequence


def ahead(tables_sequence: int, journal_sequence: int) -> str:
    """Where the tables are past the journal's end, in words."""
    return (
        f"the tables are at sequence {tables_sequence}, and the journal ends at {journal_sequence}"
    )


class Rebuild:
    """One run against one database."""

    def __init__(
        self,
        url: str,
        kept: HistorySettings,
        source: Source,
        progress: Callable[[int], None],
        *,
        rewind: bool = False,
    ) -> None:
        """Tables past the journal's end are mended only if told to rewind them."""
        self._url = url
        self._kept = kept
        self._source = source
        self._progress = progress
        self._rewind = rewind
        self._copied = source.first_sequence - 1
        self._copied_ns = source.first.time_ns
        self._ahead_sequence = 0
        self._home = ""
        """Schema of the tables, quoted where it has to be."""

    async def run(self, *, mend: bool) -> Result:
        """Compare, and mend unless told not to. Raises `RebuildRefused`."""
        connection = await asyncpg.connect(self._url)
        try:
            await self._prepare(connection)
            with self._source.kept():
                return await self._run(connection, mend=mend)
        except FollowerStopped as stopped:
            raise RebuildRefused(str(stopped)) from stopped
        finally:
            await connection.close()

    async def _run(self, connection: Any, *, mend: bool) -> Result:
        copy = PostgresFollower(self._url, self._kept, f"{SCHEMA}, {self._home}")
        try:
            await copy.open()
            _, there = await self._position(connection)
            await self._copy(connection, copy, END if mend else there)
            if mend:
                await self._bring_up(there)
            found, sequence = await self._compare(connection, copy, mend=mend)
        finally:
            await copy.close()
            if not connection.is_closed():
                await connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
        return Result(self._source.first_sequence, sequence, self._ahead_sequence, found)

    async def _prepare(self, connection: Any) -> None:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
            raise RebuildRefused("another rebuild of this database is under way; wait for its end")
        try:
            await migrate(connection)
        except SchemaRefused as refused:
            raise RebuildRefused(str(refused)) from refused
        self._home = await connection.fetchval("SELECT quote_ident(current_schema())")
        await connection.execute(
            "INSERT INTO follower_positions VALUES ($1, $2, 0, 0) ON CONFLICT DO NOTHING",
            NAME,
            self._source.journal,
        )
        journal, _ = await self._position(connection)
        if journal != self._source.journal:
            raise RebuildRefused(
                f"the database holds rows of the journal {journal}, this exchange's is"
                f" {self._source.journal}: name the database of this exchange, or an empty one"
            )
        try:
            async with connection.transaction():
                for statement in copies():
                    await connection.execute(statement)
        except asyncpg.InsufficientPrivilegeError as denied:
            raise RebuildRefused(
                f"{denied}; the copies of the rows are in a schema of their own, {SCHEMA}: grant"
                " the right to create it (GRANT CREATE ON DATABASE), and drop one that is another's"
            ) from denied

    async def _copy(self, connection: Any, copy: PostgresFollower, last_sequence: int) -> None:
        """Everything that is kept, the state of a snapshot put in where it is needed."""
        first_sequence = self._source.first_sequence
        if first_sequence > 1:
            known = self._source.snapshot()
            if known is None or known[0] < first_sequence - 1:
                raise RebuildRefused(
                    f"the journal begins at sequence {first_sequence} and no snapshot of a later"
                    " state is there: put archived files of it back"
                )
            sequence, engine = known
            await self._fold(copy, sequence)
            await copy.close()
            async with connection.transaction():
                await seed(connection, engine, first_sequence, self._home)
            self._copied = sequence
            await copy.open()
        await self._fold(copy, last_sequence)

    async def _fold(self, copy: PostgresFollower, last_sequence: int) -> None:
        """Bring the copies up to this sequence, the last one of a record, or to the end."""
        if self._copied >= last_sequence:
            return
        for records in self._records(self._copied, last_sequence):
            await copy.take(records)
            self._copied, self._copied_ns = records[-1].last_sequence, records[-1].time_ns
            self._progress(self._copied)

    async def _bring_up(self, there: int) -> None:
        """The tables themselves, to where the copies are; a follower may be at it too, and where
        they are damaged it may not be possible."""
        if there + 1 < self._source.first_sequence:
            return
        table = PostgresFollower(self._url, self._kept)
        try:
            with suppress(asyncpg.PostgresError, RuntimeError):
                there = (await table.open()).sequence
                for records in self._records(there, self._copied):
                    await table.take(records)
        finally:
            await table.close()

    def _records(self, after_sequence: int, last_sequence: int) -> Iterator[list[Record]]:
        """Read those between, as many at a time as are handed on together; what lies between reads
        may be gone from the journal, and then they are refused."""
        records = takewhile(
            lambda record: record.last_sequence <= last_sequence,
            self._source.records(after_sequence),
        )
        while taken := list(islice(records, TAKEN)):
            for record in taken:
                if record.first_sequence > after_sequence + 1:
                    raise RebuildRefused(
                        f"the journal no longer holds sequence {after_sequence + 1}, it goes on at"
                        f" {record.first_sequence}: files of it were archived or dropped"
                        " meanwhile, and no row was put right; run it again"
                    )
                after_sequence = record.last_sequence
            yield taken

    async def _compare(
        self, connection: Any, copy: PostgresFollower, *, mend: bool
    ) -> tuple[list[Proof], int]:
        # Rows are read once the follower has let go of the position, not as they were before.
        transaction = connection.transaction(isolation="read_committed")
        await transaction.start()
        try:
            found = await self._compared(connection, copy, mend=mend)
        except BaseException:
            await transaction.rollback()
            raise
        # A comparison drops months whose time is over from both sides: only to look at the rest.
        await (transaction.commit() if mend else transaction.rollback())
        return found, self._copied

    async def _compared(
        self, connection: Any, copy: PostgresFollower, *, mend: bool
    ) -> list[Proof]:
        _, sequence = await self._position(connection, " FOR UPDATE")
        await self._fold(copy, sequence)
        if sequence > self._copied:
            if mend and not self._rewind:
                raise RebuildRefused(f"{ahead(sequence, self._copied)}: {REMEDY}")
            self._ahead_sequence = sequence
        await self._settle_months(connection)
        begins_ns = 0
        if self._source.first_sequence > 1:
            begins_ns = self._source.first.time_ns
            await connection.execute(
                f"DELETE FROM {SCHEMA}.minute_bars WHERE minute <= $1", begins_ns // MINUTE_NS
            )
        found = [await self._proof(connection, table) for table in TABLES]
        if mend and any(proof.wrong for proof in found):
            for table in TABLES:
                await connection.execute(table.mended(self._bound(table)))
            for table in reversed(TABLES):
                await connection.execute(table.rid(self._bound(table)))
            again = [await self._proof(connection, table) for table in TABLES]
            left = [proof.table for proof in again if proof.wrong]
            if left:
                raise RebuildRefused(f"still not as the journal says: {', '.join(left)}")
            await self._restart_follower(connection)
        if mend:
            is_gap = sequence + 1 < self._source.first_sequence
            await connection.execute(
                f"UPDATE follower_positions AS it SET (sequence, time_ns, begins_ns) ="
                f" (made.sequence, made.time_ns, least($1, CASE WHEN $2 THEN $1 ELSE"
                f" it.begins_ns END)) FROM {SCHEMA}.follower_positions AS made"
                " WHERE it.follower = made.follower",
                begins_ns,
                is_gap,
            )
        return found

    async def _settle_months(self, connection: Any) -> None:
        """Make the months the same on both sides, by what is kept at this time."""
        time_ns = await connection.fetchval(f"SELECT time_ns FROM {SCHEMA}.follower_positions")
        if time_ns is None:
            return
        for path in (self._home, f"{SCHEMA}, {self._home}"):
            await connection.execute(f"SET LOCAL search_path = {path}")
            try:
                await Partitions(self._kept).settle(connection, time_ns, READERS_MS)
            except asyncpg.LockNotAvailableError as held:
                raise RebuildRefused(
                    "months whose time is over can't be dropped while somebody reads or locks"
                    " their tables: run it again after that"
                ) from held
        await connection.execute(f"SET LOCAL search_path = {self._home}")
        for row in await connection.fetch(
            """SELECT relname, split_part(inhparent::regclass::text, '.', 2) AS parent,
            pg_get_expr(relpartbound, oid) AS bound FROM pg_inherits JOIN pg_class ON oid = inhrelid
            WHERE relnamespace = $1::regnamespace AND relkind = 'r'""",
            SCHEMA,
        ):
            await make_partition(connection, row["parent"], row["relname"], row["bound"])

    async def _proof(self, connection: Any, table: Table) -> Proof:
        return Proof(table.name, *await connection.fetchrow(table.compared(self._bound(table))))

    def _bound(self, table: Table) -> str:
        first = self._source.first_sequence
        return "" if first == 1 else table.kept(first, self._copied, self._copied_ns // MINUTE_NS)

    async def _restart_follower(self, connection: Any) -> None:
        """One that runs remembers positions as they were: it is to read them again."""
        await connection.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = 'exchange follower' AND pid <> pg_backend_pid()
            AND datname = current_database()"""
        )

    async def _position(self, connection: Any, lock: str = "") -> tuple[str, int]:
        query = "SELECT journal, sequence FROM follower_positions WHERE follower = $1"
        journal, sequence = await connection.fetchrow(query + lock, NAME)
        return journal, sequence
