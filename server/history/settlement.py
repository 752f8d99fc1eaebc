"""A day's trades of each account and instrument, netted into one obligation, once and for all.

Reads the rows that the follower keeps and writes two tables of its own beside them, in one
transaction: `settlements`, an obligation a row, and `settled_days`, which says that the day is done
and holds the digest of its rows. What is done is only read from then on, and refused where
the rows no longer give the digest.

- A day is complete once the tables have reached a later one, or everything that the engine had
  sequenced when the day was over (`last_sequence`): stamps never go back.
- A day is kept if its month of trades is, and if the tables have no gap since: those rebuilt from a
  journal without its beginning say in `begins_ns` within which day they begin.
- An obligation of a client: what it bought minus what it sold; the money for that, fees deducted;
  the fees. The account `fees/USD` gets what the clients pay in fees, so that quantity, money and
  fees each sum to zero over an instrument. A client that traded with itself nets to its fees.
- Trades are counted and summed against the minute bars first: rows that went missing are found.
- Everything is exact: NUMERIC in the tables, integers of 10^-8 and 10^-16 here.

Memory: `PAGE` rows. Bounds: one day is settled at a time, and takes at most `SETTLE_S`; `CALLS_MAX`
at once have a connection.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple

import asyncpg

from server.history.reader import CONNECT_S, Down, position

PAGE: Final = 1_000
"""Obligations in memory and in a message: some 100 kB."""
SETTLE_S: Final = 600.0
"""For a settlement and for sending it, whoever reads it."""
CALLS_MAX: Final = 3
"""At once, each with a connection of its own; others wait within their time."""
LOCK: Final = 0x5E771E
"""Of `pg_advisory_xact_lock`, with the number of the day."""

_SETTLED: Final = """
SELECT through_sequence, trade_count, digest FROM settled_days WHERE day = $1"""
_FIRST_MONTH: Final = r"""
SELECT min(substring(pg_get_expr(relpartbound, oid) from '\(''(\d{4}-\d\d-\d\d)')::date)
FROM pg_class JOIN pg_inherits ON inhrelid = oid WHERE inhparent = 'trades'::regclass"""
_DIFFERENT: Final = """
WITH traded AS (
    SELECT instrument, count(*) AS count, sum(quantity) AS quantity, sum(price * quantity) AS money
    FROM trades WHERE timestamp >= $1 AND timestamp < $2 GROUP BY instrument
), barred AS (
    SELECT instrument, sum(trade_count) AS count, sum(volume) AS quantity, sum(notional) AS money
    FROM minute_bars WHERE minute >= $3 AND minute < $3 + 1440 GROUP BY instrument
)
SELECT instrument FROM traded FULL JOIN barred USING (instrument)
WHERE (traded.count, traded.quantity, traded.money)
    IS DISTINCT FROM (barred.count, barred.quantity, barred.money) LIMIT 1"""
_SETTLE: Final = """
WITH fills AS (
    SELECT instrument, maker_client_id AS account, maker_fee AS fee,
        CASE aggressor_side WHEN 'sell' THEN quantity ELSE -quantity END AS quantity, price
    FROM trades WHERE timestamp >= $2 AND timestamp < $3
    UNION ALL
    SELECT instrument, taker_client_id, taker_fee,
        CASE aggressor_side WHEN 'buy' THEN quantity ELSE -quantity END, price
    FROM trades WHERE timestamp >= $2 AND timestamp < $3
), obligations AS (
    SELECT instrument, account, sum(quantity) AS quantity,
        -sum(quantity * price) - sum(fee) AS money, sum(fee) AS fees, count(*) AS fills
    FROM fills GROUP BY instrument, account
)
INSERT INTO settlements
    (day, instrument, account, quantity, money, fees, fill_count, through_sequence)
SELECT $1::date, instrument, account, quantity, money, fees, fills, $4::bigint FROM obligations
UNION ALL
SELECT $1::date, instrument, 'fees/' || split_part(instrument, '-', 2), 0, sum(fees), -sum(fees),
    sum(fills), $4::bigint
FROM obligations GROUP BY instrument"""
_COUNT: Final = "SELECT count(*) FROM trades WHERE timestamp >= $1 AND timestamp < $2"
_DONE: Final = "INSERT INTO settled_days VALUES ($1, $2, $3, $4)"
_ROWS: Final = """
SELECT instrument, account, quantity * 1e8, money * 1e16, fees * 1e8, fill_count
FROM settlements WHERE day = $1 ORDER BY instrument COLLATE "C", account COLLATE "C" """


_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,
)
"""Of a database that can't be asked at this moment; anything else is a mistake."""


_SESSION: Final = {
    "application_name": "exchange settlement",
    # In which the bounds of partitions are read.
    "timezone": "UTC",
    "datestyle": "ISO",
    "standard_conforming_strings": "on",
}


class DayNotKept(Exception):
    """The day lies before what is kept; holds the first day that is, None where nothing is."""

    def __init__(self, first: date | None) -> None:
        super().__init__(first)
        self.first = first


class Damaged(Exception):
    """The rows contradict each other; the text says which and what to do."""


class Settled(NamedTuple):
    """A day that is done."""

    day: date
    through_sequence: int
    """The tables were complete up to here when it was done."""
    trades: int
    digest: str
    """SHA-256 of its rows, hexadecimal."""


class Obligation(NamedTuple):
    """What an account is to receive of an instrument and for it; negative: to give."""

    instrument: str
    account: str
    """A client id, or `fees/` and the currency."""
    quantity_e8: int
    money_e16: int
    """Fees deducted."""
    fees_e8: int
    """Paid; negative: received."""
    fills: int
    """Sides of trades that it is of; of a fee account those that it got fees from."""


class Settlements:
    """Settles days in one database. Its own connection, for the time of a call."""

    def __init__(self, url: str, journal: str = "") -> None:
        self._url = url
        self._journal = journal
        self._calls = asyncio.Semaphore(CALLS_MAX)
        self._one = asyncio.Lock()

    @property
    def configured(self) -> bool:
        """Whether there is a database."""
        return bool(self._url)

    @asynccontextmanager
    async def settled(
        self, day: date, last_sequence: int
    ) -> AsyncIterator[tuple[Settled, AsyncIterator[list[Obligation]]]]:
        """A day that is over, settled now or before, and its obligations by the page, in order.
        Raises `Down`, `DayNotKept` and `Damaged`."""
        async with self._calls:
            try:
                connection = await asyncpg.connect(
                    self._url,
                    timeout=CONNECT_S,
                    command_timeout=SETTLE_S,
                    server_settings=_SESSION,
                )
            except _AWAY as error:
                raise Down("can't be reached") from error
            try:
                # What another has settled while the lock was waited for is to be seen.
                async with self._one, connection.transaction(isolation="read_committed"):
                    await position(connection, self._journal)
                    done = await _settle(connection, day, last_sequence)
                async with connection.transaction(readonly=True):
                    yield done, _pages(connection, day)
            except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
                raise Down("without its tables, which the follower makes") from error
            except _AWAY as error:
                raise Down(f"failing ({type(error).__name__})") from error
            finally:
                connection.terminate()


async def _settle(connection: Any, day: date, last_sequence: int) -> Settled:
    await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", LOCK, day.toordinal())
    row = await connection.fetchrow(_SETTLED, day)
    if row is None:
        done = await _made(connection, day, last_sequence)
        await connection.execute(_DONE, day, *done[1:])
        return done
    done = Settled(day, *row)
    if await _checked(connection, day) != done.digest:
        raise Damaged(
            f"the rows of {day} in settlements are no longer those that were settled: put them back"
        )
    return done


async def _made(connection: Any, day: date, last_sequence: int) -> Settled:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = begin + timedelta(days=1)
    # Held against the follower, which drops whole months of trades when their time is over.
    await connection.execute("LOCK TABLE trades IN ACCESS SHARE MODE")
    sequence, time_ns, begins_ns = await position(connection)
    if time_ns < int(end.timestamp()) * 10**9 and sequence < last_sequence:
        raise Down(f"at sequence {sequence}, and the day is complete at {last_sequence}")
    first = await _first_whole_day(connection, begins_ns)
    if first is None or day < first:
        raise DayNotKept(first)
    minute = int(begin.timestamp()) // 60
    different = await connection.fetchval(_DIFFERENT, begin, end, minute)
    if different is not None:
        raise Damaged(
            f"the trades of {different} on {day} are not those of its minute bars: rebuild the"
            " tables from the journal"
        )
    await connection.execute(_SETTLE, day, begin, end, sequence)
    trades = await connection.fetchval(_COUNT, begin, end)
    return Settled(day, sequence, trades, await _checked(connection, day))


async def _first_whole_day(connection: Any, begins_ns: int) -> date | None:
    """Find the first whole day of trades; None where there is none."""
    first: date | None = await connection.fetchval(_FIRST_MONTH)
    if first is None or not begins_ns:
        return first
    return max(first, datetime.fromtimestamp(begins_ns // 10**9, UTC).date() + timedelta(days=1))


async def _checked(connection: Any, day: date) -> str:
    """The digest of the rows, which sum to zero: of a line for the day, then one for each, fields
    separated by tabs."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    digest = hashlib.sha256(f"{day}\n".encode())
    async for page in _pages(connection, day):
        for each in page:
            digest.update(("\t".join(map(str, each)) + "\n").encode())
            totals = sums[each.instrument]
            totals[0] += each.quantity_e8
            totals[1] += each.money_e16
            totals[2] += each.fees_e8
    for instrument, totals in sums.items():
        if any(totals):
            raise Damaged(f"the obligations in {instrument} on {day} sum to {totals}, not to zero")
    return digest.hexdigest()


async def _pages(connection: Any, day: date) -> AsyncIterator[list[Obligation]]:
    cursor = await connection.cursor(_ROWS, day)
    while rows := await cursor.fetch(PAGE):
        yield [
            Obligation(name, account, int(quantity), int(money), int(fees), fills)
            for name, account, quantity, money, fees, fills in rows
        ]
