"""What memory no longer holds, read from the PostgreSQL that the follower keeps.

The follower writes behind the engine, so each question says through which sequence the rows must
be complete for its answer to be whole; where they are not, or the database can't be had, `Down`
says so instead of a short answer. What is asked for has ended long before and no longer changes,
so nothing needs to be read in one transaction with the position.

Tables that were rebuilt from a journal without its beginning say after which time they are whole.
What lies before is not answered from the rows that happen to be there: `NotWhole`.

After a failure nothing is tried for `PAUSE_S`: callers are refused at once meanwhile. So no caller
may be able to cause one: names that nobody can have, some of which the database takes for an error,
are answered without it, and a question that takes too long, or is given up by the database, is
refused alone.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import asyncpg

from server.core.checks import is_id
from server.core.events import OrderEvent, Traded
from server.core.market import MINUTE_NS, Bar, RecentTrade
from server.core.types import BUY, INT64_MAX, SELL, OrderStatus
from server.core.words import SIDES, STATUSES, TIMES_IN_FORCE, TYPES, numbers_of
from server.outage_lines import OutageLines, reason
from server.times import exact_time_text, second_text

CONNECTIONS_MAX: Final = 4
"""Questions at once; others wait within their deadline."""
CONNECT_S: Final = 2.0
COMMAND_S: Final = 4.0
"""For a question and the wait for its turn: with `RELEASE_S` less than a call without a deadline
may take, so that its caller is told why."""
RELEASE_S: Final = 0.5
"""To take back a question that was given up."""
PAUSE_S: Final = 1.0
SESSION: Final = "SET random_page_cost = 1.1"
"""A page's rows are fetched one by one. Were that taken to be dear, as by default, a client or
instrument that is thought to be everywhere would be looked for in the order of placing, past all
that came after its last order. Said on the connection, since poolers take no such thing before."""

_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # Where the server said that it ends the connection, which is still open.
    asyncpg.InternalClientError,
)
_SIDES: Final = numbers_of(SIDES)
_TYPES: Final = numbers_of(TYPES)
_TIMES_IN_FORCE: Final = numbers_of(TIMES_IN_FORCE)
_STATUSES: Final = numbers_of(STATUSES)

_POSITION: Final = """
SELECT sequence, time_ns, begins_ns, journal FROM follower_positions WHERE follower = 'postgres'"""
_ORDERS: Final = """
SELECT order_id, client_id, client_reference, instrument, side::text, type::text,
    time_in_force::text, post_only, self_trade_prevention, price * 1e8, quantity * 1e8,
    filled_quantity * 1e8, remaining_quantity * 1e8, cancelled_quantity * 1e8,
    status::text, placed_sequence, created_ns, session_id, end_reason, 0, updated_ns
FROM orders"""
_ENDED: Final = (OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED)
_NEWEST_OF_ID: Final = f"""{_ORDERS}
WHERE order_id = $2 AND updated_sequence <= $1 AND status NOT IN ('open', 'partially_filled')
ORDER BY placed_sequence DESC LIMIT 1"""
_TRADE: Final = """
    sequence, event_index, time_ns, instrument, (price * 1e8)::bigint,
    (quantity * 1e8)::bigint, aggressor_side = 'sell', maker_order_id, maker_client_id,
    maker_placed_sequence, trunc(maker_fee * 1e8)::text, taker_order_id, taker_client_id,
    taker_placed_sequence, trunc(taker_fee * 1e8)::text"""
_BEFORE: Final = "instrument = $1 AND (sequence, event_index) < ($2, $3)"
_NEWEST: Final = "ORDER BY sequence DESC, event_index DESC LIMIT $4"
_TRADES: Final = f"SELECT {_TRADE} FROM trades WHERE {_BEFORE} {_NEWEST}"
# A trade of a client with itself is found twice.
_TRADES_OF_CLIENT: Final = f"""
SELECT DISTINCT ON (sequence, event_index) {_TRADE} FROM (
    (SELECT * FROM trades WHERE maker_client_id = $5 AND {_BEFORE} {_NEWEST}) UNION ALL
    (SELECT * FROM trades WHERE taker_client_id = $5 AND {_BEFORE} {_NEWEST})) AS found
{_NEWEST}"""
# Prices are of 64 bits; sums have no bound, and text is read faster than a decimal.
_SHOWN: Final = """
    (open * 1e8)::bigint, (high * 1e8)::bigint, (low * 1e8)::bigint, (close * 1e8)::bigint,
    trunc(volume * 1e8)::text, trunc(notional * 1e16)::text, trunc(price_sum * 1e8)::text,
    trade_count::bigint"""
_MINUTES: Final = f"""
SELECT minute,{_SHOWN} FROM minute_bars
WHERE instrument = $1 AND minute >= $2 AND minute < $3 ORDER BY minute LIMIT $4"""
_INTERVALS: Final = f"""
SELECT minute,{_SHOWN} FROM (
    SELECT min(minute) AS minute, (array_agg(open ORDER BY minute))[1] AS open,
        max(high) AS high, min(low) AS low, (array_agg(close ORDER BY minute DESC))[1] AS close,
        sum(volume) AS volume, sum(notional) AS notional, sum(price_sum) AS price_sum,
        sum(trade_count) AS trade_count
    FROM minute_bars WHERE instrument = $1 AND minute >= $2 AND minute < $3
    GROUP BY minute / $5) AS bar
ORDER BY minute LIMIT $4"""
_WITHIN: Final = """
WITH span AS (
    SELECT timestamp, sequence, event_index, price, quantity FROM trades
    WHERE instrument = $1 AND sequence <= $2 AND time_ns >= $3 AND time_ns < $4
    AND timestamp >= to_timestamp($5) AND timestamp < to_timestamp($5 + 60))
SELECT (SELECT price FROM span ORDER BY timestamp, sequence, event_index LIMIT 1) * 1e8,
    max(price) * 1e8, min(price) * 1e8,
    (SELECT price FROM span ORDER BY timestamp DESC, sequence DESC, event_index DESC LIMIT 1) * 1e8,
    sum(quantity) * 1e8, sum(price * quantity) * 1e16, sum(price) * 1e8, count(*)
FROM span"""
_PRICE_BEFORE: Final = """
SELECT coalesce(
    (SELECT price FROM trades WHERE instrument = $1 AND sequence <= $2 AND time_ns < $3
        AND time_ns > $5 AND timestamp >= to_timestamp($4::bigint * 60)
        AND timestamp < to_timestamp($4::bigint * 60 + 60)
        ORDER BY sequence DESC, event_index DESC LIMIT 1),
    (SELECT close FROM minute_bars WHERE instrument = $1 AND minute < $4
        AND minute > $6 ORDER BY minute DESC LIMIT 1), 0) * 1e8"""
_DROPPED: Final = """
SELECT EXISTS (SELECT FROM minute_bars WHERE instrument = $1 AND minute = $2)
AND NOT EXISTS (SELECT FROM trades WHERE instrument = $1
    AND timestamp >= to_timestamp($2::bigint * 60)
    AND timestamp < to_timestamp($2::bigint * 60 + 60))"""


class Down(Exception):
    """History can't be read now; the text says why."""


class NotWhole(Down):
    """The tables have lost what was before; from `from_ns` on, a whole minute, they have it all."""

    def __init__(self, whole_after_ns: int) -> None:
        self.from_ns = (whole_after_ns // MINUTE_NS + 1) * MINUTE_NS
        super().__init__(f"whole only from {second_text(self.from_ns)} on")


class OfAnother(Down):
    """The tables are another exchange's, whose journal is named: no time changes that."""

    def __init__(self, journal: str) -> None:
        super().__init__(f"that of another exchange, whose journal is {journal}")


class TablesPosition(NamedTuple):
    """Says how far the tables reach."""

    sequence: int
    time_ns: int
    begins_ns: int
    """They are whole after this time; 0: from the beginning."""


class PastOrder(NamedTuple):
    """An order as it stands, or as it ended."""

    event: OrderEvent
    updated_ns: int


async def position(connection: Any, journal: str = "") -> TablesPosition:
    """From when, and up to which sequence and time, the tables are complete; raises `OfAnother`
    where they are of another journal than this. Without a journal they are taken for the right
    ones."""
    row = await connection.fetchrow(_POSITION, timeout=CONNECT_S)
    if row is None:
        return TablesPosition(0, 0, 0)
    *reached, there = row
    if journal not in ("", there):
        raise OfAnother(there)
    return TablesPosition(*reached)


class History:
    """Reads one database; without its address, whoever asks must do without."""

    def __init__(
        self, url: str, journal: str = "", say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._url = url
        self._journal = journal
        self._say = OutageLines(say)
        self._told = ""
        """Why it can't be reached, as last said."""
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self._turns = asyncio.Semaphore(CONNECTIONS_MAX)
        self._resume_s = 0.0
        self.whole_after_ns = -1
        """What the tables say of times up to this one may be short, as last asked."""

    @property
    def configured(self) -> bool:
        """Whether there is a database to ask."""
        return bool(self._url)

    async def close(self) -> None:
        """Let the connections go."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def order(self, order_id: str, through_sequence: int) -> PastOrder | None:
        """The newest order of this id that had ended at that sequence."""
        if not is_id(order_id):
            return None
        async with self._reading(through_sequence) as connection:
            rows = await connection.fetch(_NEWEST_OF_ID, through_sequence, order_id)
        if not rows and self.whole_after_ns >= 0:
            raise NotWhole(self.whole_after_ns)
        return _order(rows[0]) if rows else None

    async def orders(
        self,
        client_id: str,
        instrument: str,
        side: int,
        status: int,
        before_sequence: int,
        limit: int,
        through_sequence: int,
        working: bool = False,
    ) -> list[PastOrder]:
        """Newest first by placing sequence, those that had ended at that sequence, of which none is
        `working`. None that was placed up to `whole_after_ns`, of which some may be missing."""
        if working or not all(is_id(name) for name in (client_id, instrument) if name):
            return []
        asked: list[Any] = [through_sequence]
        terms = ["updated_sequence <= $1"]
        for term, value in (
            ("client_id = ", client_id),
            ("instrument = ", instrument),
            ("side::text = ", SIDES.get(side, "")),
            ("placed_sequence < ", before_sequence),
        ):
            if value:
                asked.append(value)
                terms.append(f"{term}${len(asked)}")
        # Each status has its own place in every index, in which its newest stand first.
        newest = f"ORDER BY placed_sequence DESC LIMIT {limit:d}"
        of_each = (
            f"({_ORDERS} WHERE status = '{STATUSES[each]}' AND {' AND '.join(terms)} {newest})"
            for each in _ENDED
            if status in (0, each)
        )
        query = f"SELECT * FROM ({' UNION ALL '.join(of_each)}) AS found {newest}"
        async with self._reading(through_sequence) as connection:
            rows = await connection.fetch(query, *asked)
        return [_order(row) for row in rows if row["created_ns"] > self.whole_after_ns]

    async def trades(
        self, instrument: str, before: tuple[int, int], limit: int, client_id: str = ""
    ) -> list[RecentTrade]:
        """Newest first, from before this (sequence, index); of a client that traded, or of all.
        Only what a page shows is filled in: references, and how the orders stood, are not kept with
        trades. None up to `whole_after_ns`, of which some may be missing."""
        asked = (instrument, *before, limit)
        async with self._reading(before[0]) as connection:
            if client_id:
                rows = await connection.fetch(_TRADES_OF_CLIENT, *asked, client_id)
            else:
                rows = await connection.fetch(_TRADES, *asked)
        return [_trade(row) for row in rows if row["time_ns"] > self.whole_after_ns]

    async def minutes(
        self, instrument: str, first: int, last: int, step: int, limit: int
    ) -> list[Bar]:
        """Bars of these minutes but for the last, `step` of them as one; each begins with the
        first minute in which something traded."""
        async with self._reading(INT64_MAX, last * MINUTE_NS, first * MINUTE_NS) as connection:
            asked = (instrument, first, last, limit)
            if step == 1:
                rows = await connection.fetch(_MINUTES, *asked)
            else:
                rows = await connection.fetch(_INTERVALS, *asked, step)
        return [_bar(*row) for row in rows]

    async def within(self, instrument: str, start_ns: int, end_ns: int, sequence: int) -> list[Bar]:
        """The trades of a part of a minute, up to this sequence, as a bar."""
        minute = start_ns // MINUTE_NS
        async with self._reading(sequence, end_ns, start_ns) as connection:
            if await connection.fetchval(_DROPPED, instrument, minute):
                raise Down(f"without the trades of {start_ns} ns, whose time to be kept is over")
            row = await connection.fetchrow(
                _WITHIN, instrument, sequence, start_ns, end_ns, minute * 60
            )
        return [_bar(minute, *row)] if row[-1] else []

    async def price_before(self, instrument: str, time_ns: int, sequence: int) -> int:
        """Of the last trade before that time, 0 where there was none. Of a minute whose trades were
        dropped it is the one before that minute."""
        async with self._reading(sequence, time_ns, time_ns) as connection:
            after_ns = self.whole_after_ns
            minutes = (time_ns // MINUTE_NS, after_ns, after_ns // MINUTE_NS)
            asked = (instrument, sequence, time_ns, *minutes)
            price_e8 = int(await connection.fetchval(_PRICE_BEFORE, *asked))
        if not price_e8 and after_ns >= 0:
            raise NotWhole(after_ns)
        return price_e8

    @asynccontextmanager
    async def _reading(
        self, through_sequence: int, through_ns: int = INT64_MAX, from_ns: int = INT64_MAX
    ) -> AsyncIterator[Any]:
        """A connection to tables that are complete through that sequence, or that time, and from
        the other on."""
        own = (
            asyncpg.QueryCanceledError,
            asyncpg.LockNotAvailableError,
            asyncpg.TransactionRollbackError,
        )
        until_s = asyncio.get_running_loop().time() + COMMAND_S
        # Not the pool's turns to wait for: its time-out is that of a database out of reach.
        async with self._turn(until_s):
            if time.monotonic() < self._resume_s:
                raise Down("can't be reached")
            pool = connection = None
            try:
                pool = await self._opened()
                connection = await pool.acquire(timeout=CONNECT_S)
                await self._look(connection, through_sequence, through_ns, from_ns)
                try:
                    async with asyncio.timeout_at(until_s):
                        yield connection
                    self._note("")
                except TimeoutError as error:
                    raise Down(f"without an answer within {COMMAND_S:g} s") from error
                except own as error:
                    raise Down(f"without an answer ({type(error).__name__})") from error
            except _AWAY as error:
                self._resume_s = time.monotonic() + PAUSE_S
                self._note(reason(error))
                raise Down("can't be reached") from error
            finally:
                if connection is not None:
                    await self._give_back(pool, connection)

    @asynccontextmanager
    async def _turn(self, until_s: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout_at(until_s):
                await self._turns.acquire()
        except TimeoutError as error:
            raise Down(f"without an answer within {COMMAND_S:g} s") from error
        try:
            yield
        finally:
            self._turns.release()

    def _note(self, why: str) -> None:
        """Callers are told that it can't be reached; why, is for the operator."""
        if why and why != self._told:
            self._say(f"history can't be read from postgres ({why}); asking again for each call")
        elif self._told and not why:
            self._say("history is read from postgres again")
        self._told = why

    async def _give_back(self, pool: Any, connection: Any) -> None:
        """A question that was given up is cancelled first. Whoever doesn't do that is away."""
        try:
            await pool.release(connection, timeout=RELEASE_S)
        except _AWAY:
            self._resume_s = time.monotonic() + PAUSE_S

    async def _look(
        self, connection: Any, through_sequence: int, through_ns: int, from_ns: int
    ) -> None:
        sequence, time_ns, begins_ns = await position(connection, self._journal)
        self.whole_after_ns = begins_ns or -1
        if from_ns <= self.whole_after_ns:
            raise NotWhole(self.whole_after_ns)
        if sequence < through_sequence and time_ns < through_ns:
            if through_ns == INT64_MAX:
                raise Down(f"at sequence {sequence}, behind {through_sequence}")
            there = f"at {exact_time_text(time_ns)} (sequence {sequence})"
            raise Down(f"{there}, behind {exact_time_text(through_ns)}")

    async def _opened(self) -> Any:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=CONNECTIONS_MAX,
                    timeout=CONNECT_S,
                    server_settings={"application_name": "exchange server"},
                    init=_begin,
                    reset=_keep,
                )
        return self._pool


async def _begin(connection: Any) -> None:
    await connection.execute(SESSION)


async def _keep(_connection: Any) -> None:
    """Nothing else is ever set on a connection, and that is to stay."""


def _order(row: Sequence[Any]) -> PastOrder:
    *fields, updated_ns = row
    fields[4] = _SIDES[fields[4]]
    fields[5] = _TYPES[fields[5]]
    fields[6] = _TIMES_IN_FORCE[fields[6]]
    fields[9:14] = map(int, fields[9:14])
    fields[14] = _STATUSES[fields[14]]
    return PastOrder(OrderEvent._make(fields), updated_ns)


def _trade(row: Sequence[Any]) -> RecentTrade:
    sequence, index, time_ns, instrument, price_e8, quantity_e8, sells, *sides = row
    maker_id, maker, maker_placed, maker_fee, taker_id, taker, taker_placed, taker_fee = sides
    side = SELL if sells else BUY
    of_maker = (maker_id, maker, "", maker_placed, 0, 0, int(maker_fee))
    of_taker = (taker_id, taker, "", taker_placed, 0, 0, int(taker_fee))
    fields = (instrument, price_e8, quantity_e8, side, *of_maker, *of_taker)
    return sequence, index, time_ns, Traded._make(fields)


def _bar(minute: int, *sums: Any) -> Bar:
    bar = Bar(minute, int(sums[0]))
    bar.high_e8, bar.low_e8, bar.close_e8 = int(sums[1]), int(sums[2]), int(sums[3])
    bar.volume_e8, bar.notional_e16, bar.price_sum_e8 = map(int, sums[4:7])
    bar.count = int(sums[7])
    return bar
