"""The PostgreSQL follower: what the journal says, as the rows of `migrations/`.

One transaction for each batch: the position's row is locked and must be what this process believes
(another writer, or a database put back from a backup, makes it open again and read where it is),
then come the rows, by COPY, and the new position. So the rows are always the fold of the journal up
to the position, whatever is killed whenever, and no record counts twice.

`migrate` runs at each `open`: a database that was wiped gets its tables and, without a position,
the whole journal again. One that holds another journal's rows is refused.

While one batch is written, the rows of the next are made. Positions are booked in memory, at most
`ACCOUNTS_MAX` of them; those not in memory are read back first. A book's snapshot is of the end of
each minute in which anything happened, so that it too is a matter of the journal alone: a batch
never goes past the end of a minute.

A server that commits asynchronously, as the embedded one does, forgets the last moments when it is
killed: the rows with the position, so they are right, but earlier. Every `SETTLE_S` a commit is
waited for, and with it all before; the journal is needed after the last such position.

`search_path` leads to another schema that holds the same tables already, where `exchange rebuild`
has all rows made once more; the types are those of the first one.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any, Final

import asyncpg

from server.core.accounts import Account
from server.core.instruments import Instrument
from server.core.market import MINUTE_NS
from server.followers.following import FollowerStopped
from server.followers.journal_reader import Progress, Reached
from server.followers.migrations import SchemaRefused, migrate
from server.followers.partitions import Partitions
from server.followers.rebuild_sql import TABLES
from server.followers.rows import Accounts, Batch
from server.journal.record import Record
from server.settings import HistorySettings

NAME: Final = "postgres"
ACCOUNTS_MAX: Final = 100_000
"""Positions remembered, about 50 MB."""
CONNECT_S: Final = 5.0
CLOSE_S: Final = 1.0
COMMAND_S: Final = 15.0
"""A statement that takes longer is given up, and its transaction with it."""
LOCK_SHARE: Final = 0.9
"""Of that, for which a statement waits for a lock."""
BOOKS_S: Final = 300.0
"""Of the one statement that is as large as all books together; a million levels take seconds of a
whole core, and given up, it would be begun anew for ever."""
POOL_MAX: Final = 2
"""Connections: one writes; a second is for the moment in which a broken one is not gone yet."""
BATCH_COMMANDS_MAX: Final = 2_000
"""In one transaction, so that it ends well before `COMMAND_S` where the cores are busy."""

ROWS_MAX: Final = 10_000
"""In one statement, for the same reason: one command may end any number of orders."""

GATHER_S: Final = 0.25
"""Four transactions a second where little happens: one costs as much as a hundred orders."""

SETTLE_S: Final = 1.0
"""Between two commits that are waited for: a sync a second is nothing, and of the journal as much
is kept as comes in that time."""
_WAITED_FOR: Final = "SET LOCAL synchronous_commit = on"

_LOCK_TIMEOUT: Final = """
SELECT set_config(name, $1, FALSE) FROM pg_settings
WHERE name = 'lock_timeout' AND (setting = '0' OR setting::bigint > $1::bigint)"""

_CHANGE: Final = """
UPDATE orders SET
    price = coalesce(changed.price::numeric, orders.price),
    quantity = coalesce(changed.quantity::numeric, orders.quantity),
    filled_quantity = changed.filled::numeric,
    remaining_quantity = changed.remaining::numeric,
    cancelled_quantity = coalesce(changed.quantity::numeric, orders.quantity)
        - changed.filled::numeric - changed.remaining::numeric,
    status = coalesce(changed.status::order_status, CASE
        WHEN changed.remaining::numeric > 0 THEN 'partially_filled'::order_status
        ELSE 'filled'::order_status END),
    end_reason = coalesce(changed.end_reason, orders.end_reason),
    updated_ns = changed.updated_ns,
    updated_sequence = changed.updated_sequence
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
    $7::smallint[], $8::bigint[], $9::bigint[]) AS changed (placed_sequence, price, quantity,
    filled, remaining, status, end_reason, updated_ns, updated_sequence)
WHERE orders.placed_sequence = changed.placed_sequence"""

_BOOKS: Final = """
WITH levels AS (
    SELECT instrument, side, price, sum(remaining_quantity) AS quantity FROM orders
    WHERE status IN ('open', 'partially_filled') GROUP BY instrument, side, price
), books AS MATERIALIZED (
    SELECT instrument,
        jsonb_agg(jsonb_build_array(price::text, quantity::text) ORDER BY price DESC)
            FILTER (WHERE side = 'buy') AS bids,
        jsonb_agg(jsonb_build_array(price::text, quantity::text) ORDER BY price)
            FILTER (WHERE side = 'sell') AS asks
    FROM levels GROUP BY instrument)
INSERT INTO orderbook_snapshots (instrument, sequence, time_ns, bids, asks)
SELECT instruments.instrument, $1, $2, coalesce(bids, '[]'), coalesce(asks, '[]')
FROM instruments LEFT JOIN books USING (instrument)"""
"""Materialized, so that they are made once whatever is believed of the number of instruments."""

_COLUMNS: Final = {table.name: table.names for table in TABLES}
_KEPT: Final = HistorySettings()


class PostgresFollower:
    """Writes to one database."""

    name = NAME
    gather_s = GATHER_S
    remedy_not_kept = "run `exchange rebuild postgres`"
    remedy_differs = "run `exchange rebuild postgres --rewind`"
    held = None

    def __init__(
        self,
        url: str,
        kept: HistorySettings = _KEPT,
        search_path: str = "",
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._url = url
        self._search_path = search_path
        self._partitions = Partitions(kept, say)
        self._pool: Any = None
        self._connection: Any = None
        self._sequence = self._time_ns = 0
        self._settled: int | None = None
        """Where the tables are, whatever happens to the server; None: at `_sequence`."""
        self._settle_s = 0.0
        """Monotonic clock, when the next commit is waited for."""
        self._accounts = Accounts()

    async def open(self) -> Reached:
        """Connect, bring the tables up to date, and see where they are."""
        settings = {"application_name": "exchange follower"}
        if self._search_path:
            settings["search_path"] = self._search_path
        self._pool = await asyncpg.create_pool(
            self._url,
            # The pool would connect again by itself, and tell each failure with a trace.
            min_size=0,
            max_size=POOL_MAX,
            timeout=CONNECT_S,
            command_timeout=COMMAND_S,
            server_settings=settings,
        )
        connection = self._connection = await self._pool.acquire()
        if not self._search_path:
            try:
                await migrate(connection)
            except SchemaRefused as refused:
                raise FollowerStopped(str(refused)) from refused
        # So that PostgreSQL says what is waited for, unless its owner would know sooner.
        await connection.execute(_LOCK_TIMEOUT, str(int(LOCK_SHARE * COMMAND_S * 1_000)))
        row = await connection.fetchrow(
            "SELECT journal, sequence, time_ns FROM follower_positions WHERE follower = $1",
            NAME,
        )
        self._accounts.forget()
        self._partitions.due_ns = 0
        journal, self._sequence, self._time_ns = tuple(row) if row else ("", 0, 0)
        forgetful = await connection.fetchval("SHOW synchronous_commit") == "off"
        self._settled = self._sequence if forgetful else None
        if forgetful:
            async with connection.transaction():
                await connection.execute(_WAITED_FOR)
                await connection.execute("UPDATE follower_positions SET sequence = sequence")
        return Reached(self._sequence, self._time_ns, journal)

    def begin(self, durable_sequence: int) -> None:
        """Nothing depends on it."""

    async def take(self, records: list[Record], progress: Progress = lambda _: None) -> int | None:
        """Write them, in transactions of a bounded size."""
        writing: asyncio.Task[None] | None = None
        try:
            for group in groups(records):
                batch = Batch()
                for record in group:
                    batch.take(record)
                    # What the database answers meanwhile to the batch before is heard.
                    await asyncio.sleep(0)
                if writing is not None:
                    await writing
                writing = asyncio.create_task(self._write(batch, group, progress))
            if writing is not None:
                await writing
        finally:
            if writing is not None and not writing.done():
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
        return self._settled

    async def check(self) -> None:
        """Whether the rows are still there."""
        query = "SELECT sequence FROM follower_positions WHERE follower = $1"
        self._judge(await self._connection.fetchval(query, NAME) or 0)

    async def close(self) -> None:
        """Let go of the connections; a database that does not answer is not waited for."""
        pool, connection = self._pool, self._connection
        self._pool = self._connection = None
        if pool is None:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                if connection is not None:
                    await pool.release(connection)
                await pool.close()
        except Exception:  # whatever it answers, or nothing
            pool.terminate()
            await asyncio.sleep(0)

    async def _write(self, batch: Batch, records: list[Record], progress: Progress) -> None:
        connection = self._connection
        settles = self._settled is not None and time.monotonic() >= self._settle_s
        async with connection.transaction():
            if settles:
                await connection.execute(_WAITED_FOR)
            await self._lock_position(connection, records[0].journal.hex())
            due_ns = await self._partitions.make(connection, records[0].time_ns)
            if self._sequence and records[0].time_ns // MINUTE_NS > self._time_ns // MINUTE_NS:
                await connection.execute(_BOOKS, self._sequence, self._time_ns, timeout=BOOKS_S)
            await self._rows(connection, batch)
            await connection.execute(
                "UPDATE follower_positions SET sequence = $2, time_ns = $3 WHERE follower = $1",
                NAME,
                batch.sequence,
                batch.time_ns,
            )
        self._partitions.due_ns = due_ns
        self._sequence, self._time_ns = batch.sequence, batch.time_ns
        if settles:
            self._settled, self._settle_s = batch.sequence, time.monotonic() + SETTLE_S
        progress(Reached(self._sequence, self._time_ns))

    async def _lock_position(self, connection: Any, journal: str) -> None:
        query = "SELECT journal, sequence FROM follower_positions WHERE follower = $1 FOR UPDATE"
        row = await connection.fetchrow(query, NAME)
        if row is None:
            await connection.execute(
                "INSERT INTO follower_positions VALUES ($1, $2, 0, 0) ON CONFLICT DO NOTHING",
                NAME,
                journal,
            )
            row = await connection.fetchrow(query, NAME)
        there, sequence = row
        if there != journal:
            raise FollowerStopped(
                f"the database holds rows of the journal {there}, this exchange's is {journal}:"
                " give it a database of its own"
            )
        self._judge(sequence)

    def _judge(self, sequence: int) -> None:
        if sequence != self._sequence:
            raise RuntimeError(f"the tables are at sequence {sequence}, not at {self._sequence}")

    async def _rows(self, connection: Any, batch: Batch) -> None:
        await write_instruments(connection, batch.instruments.values())
        await copy(connection, "orders", batch.placed_lines())
        columns = batch.changed_columns()
        for first in range(0, len(batch.changed), ROWS_MAX):
            part = (column[first : first + ROWS_MAX] for column in columns)
            await connection.execute(_CHANGE, *part)
        for table, lines in (("order_events", batch.events), ("trades", batch.trades)):
            for first in range(0, len(lines), ROWS_MAX):
                await copy(connection, table, "".join(lines[first : first + ROWS_MAX]))
        if batch.fills:
            await self._positions(connection, batch)
            await self._sums(connection, batch)

    async def _positions(self, connection: Any, batch: Batch) -> None:
        held = self._accounts.held
        if len(held) > ACCOUNTS_MAX:
            self._accounts.forget()
        missing = sorted(batch.account_keys() - held.keys())
        for first in range(0, len(missing), ROWS_MAX):
            await self._read_back(connection, missing[first : first + ROWS_MAX])
        changed = batch.book(self._accounts)
        for first in range(0, len(changed), ROWS_MAX):
            await _write_positions(connection, changed[first : first + ROWS_MAX])

    async def _read_back(self, connection: Any, keys: list[tuple[str, str]]) -> None:
        rows = await connection.fetch(
            """SELECT client_id, instrument, trunc(net_quantity * 1e8)::text,
            trunc(total_cost * 1e16)::text, trunc(realised_pnl * 1e16)::text,
            trunc(fees * 1e8)::text, updated_ns FROM client_positions
            JOIN unnest($1::text[], $2::text[]) AS wanted (client_id, instrument)
            USING (client_id, instrument)""",
            [key[0] for key in keys],
            [key[1] for key in keys],
        )
        for client_id, instrument, net, cost, realised, fees, updated_ns in rows:
            account = self._accounts.add(client_id, instrument)
            account.net_e8, account.cost_e16, account.realised_e16 = (
                int(net),
                int(cost),
                int(realised),
            )
            account.fees_e8, account.updated_ns, account.traded = int(fees), updated_ns, True

    async def _sums(self, connection: Any, batch: Batch) -> None:
        bars = [(instrument, *bar.row()) for (instrument, _), bar in batch.bars.items()]
        columns = list(zip(*bars, strict=True))
        await connection.execute(
            """INSERT INTO minute_bars AS bar
            SELECT instrument, minute, open::numeric, high::numeric, low::numeric, close::numeric,
            volume::numeric, notional::numeric, trade_count, price_sum::numeric
            FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
            $7::text[], $8::text[], $9::bigint[], $10::text[]) AS row (instrument, minute, open,
            high, low, close, volume, notional, trade_count, price_sum)
            ON CONFLICT (instrument, minute) DO UPDATE SET
            high = greatest(bar.high, excluded.high), low = least(bar.low, excluded.low),
            close = excluded.close, volume = bar.volume + excluded.volume,
            notional = bar.notional + excluded.notional,
            trade_count = bar.trade_count + excluded.trade_count,
            price_sum = bar.price_sum + excluded.price_sum""",
            columns[0],
            columns[1],
            *([f"{value}e-8" for value in column] for column in columns[2:7]),
            [f"{value}e-16" for value in columns[7]],
            columns[9],
            [f"{value}e-8" for value in columns[8]],
        )
        await connection.execute(
            """INSERT INTO fees SELECT currency, balance::numeric
            FROM unnest($1::text[], $2::text[]) AS row (currency, balance)
            ON CONFLICT (currency) DO UPDATE SET balance = fees.balance + excluded.balance""",
            list(batch.fees_e8),
            [f"{value}e-8" for value in batch.fees_e8.values()],
        )


def groups(records: list[Record]) -> Iterator[list[Record]]:
    """What is written together: so many commands, all of one minute."""
    group: list[Record] = []
    count = 0
    for record in records:
        ended = group and record.time_ns // MINUTE_NS > group[0].time_ns // MINUTE_NS
        if group and (ended or count + record.command_count > BATCH_COMMANDS_MAX):
            yield group
            group, count = [], 0
        group.append(record)
        count += record.command_count
    if group:
        yield group


async def write_instruments(connection: Any, defined: Iterable[tuple[Instrument, int]]) -> None:
    """Write instruments as they are now, with the sequence that made them so."""
    for each, sequence in defined:
        decimals = [f"{value}e-8" for value in each[1:7]]
        fees = [f"{each.maker_fee_e6}e-6", f"{each.taker_fee_e6}e-6"]
        await connection.execute(
            """INSERT INTO instruments VALUES ($1, $2::text::numeric, $3::text::numeric,
            $4::text::numeric, $5::text::numeric, $6::text::numeric, $7::text::numeric,
            $8::text::numeric, $9::text::numeric, $10, $11)
            ON CONFLICT (instrument) DO UPDATE SET (tick, lot, price_min, price_max,
            quantity_min, quantity_max, maker_fee, taker_fee, self_trade_prevention, sequence)
            = (excluded.tick, excluded.lot, excluded.price_min, excluded.price_max,
            excluded.quantity_min, excluded.quantity_max, excluded.maker_fee,
            excluded.taker_fee, excluded.self_trade_prevention, excluded.sequence)""",
            each.name,
            *decimals,
            *fees,
            each.self_trade_prevention,
            sequence,
        )


async def _write_positions(connection: Any, changed: list[Account]) -> None:
    await connection.execute(
        """INSERT INTO client_positions
        SELECT client_id, instrument, net::numeric, cost::numeric, realised::numeric,
        fees::numeric, updated_ns
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
        $7::bigint[]) AS row (client_id, instrument, net, cost, realised, fees, updated_ns)
        ON CONFLICT (client_id, instrument) DO UPDATE SET
        (net_quantity, total_cost, realised_pnl, fees, updated_ns) = (excluded.net_quantity,
        excluded.total_cost, excluded.realised_pnl, excluded.fees, excluded.updated_ns)""",
        [each.client_id for each in changed],
        [each.market.name for each in changed],
        [f"{each.net_e8}e-8" for each in changed],
        [f"{each.cost_e16}e-16" for each in changed],
        [f"{each.realised_e16}e-16" for each in changed],
        [f"{each.fees_e8}e-8" for each in changed],
        [each.updated_ns for each in changed],
    )


async def copy(connection: Any, table: str, lines: str) -> None:
    """Rows in COPY's text format. Columns that somebody has added are left to their defaults."""
    if lines:
        source = BytesIO(lines.encode())
        await connection.copy_to_table(table, columns=_COLUMNS[table], source=source, format="text")
