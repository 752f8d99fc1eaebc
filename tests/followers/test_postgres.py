"""[I2 I3 I6 I9] The rows of a real PostgreSQL against the engine's own state."""

import asyncio
import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from server.core.commands import CancelOrder, PlaceOrder, ReplaceOrder, SetInstrument
from server.core.engine import Engine
from server.core.events import (
    OrderCancelled,
    OrderEvent,
    OrderRejected,
    Traded,
)
from server.core.instruments import Instrument
from server.core.market import MINUTE_NS
from server.core.types import BUY, E8, LIMIT, MARKET, SELL, OrderStatus
from server.followers import migrations
from server.followers.following import FollowerStopped
from server.followers.journal_reader import Reached
from server.followers.migrations import Migration, SchemaRefused, migrate
from server.followers.postgres import PostgresFollower
from server.journal.record import BATCH, Record, decode_frame
from server.settings import HistorySettings
from tests.journal.site import INSTRUMENT, Site, every_command, settings, trade

KEPT = HistorySettings()
Fetch = Callable[[str], list[Any]]
SCHEMA = """
SELECT table_name, column_name, is_nullable, data_type FROM information_schema.columns
WHERE table_schema = 'public'
UNION ALL SELECT indexdef, '', '', '' FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"""
TO_THE_FIRST_SCHEMA = (
    "DELETE FROM schema_migrations WHERE number > 1",
    "ALTER TABLE settlements RENAME COLUMN fill_count TO trade_count",
    "ALTER TABLE minute_bars DROP COLUMN price_sum",
    "DROP TABLE settled_days",
    "DROP INDEX orders_by_client, orders_by_instrument, orders_by_status",
    "CREATE INDEX orders_by_client ON orders (client_id, placed_sequence DESC)",
    "CREATE INDEX orders_by_instrument ON orders (instrument, placed_sequence DESC)",
    """CREATE INDEX orders_open ON orders (instrument, placed_sequence DESC)
    WHERE status IN ('open', 'partially_filled')""",
    "DROP INDEX trades_of_maker, trades_of_taker",
    "CREATE INDEX trades_by_maker ON trades (maker_client_id, sequence DESC, event_index DESC)",
    "CREATE INDEX trades_by_taker ON trades (taker_client_id, sequence DESC, event_index DESC)",
    "ALTER TABLE follower_positions DROP COLUMN begins_ns",
    "ALTER TABLE orders RENAME COLUMN created_at TO created",
    "ALTER TABLE orders RENAME COLUMN filled_quantity TO filled",
    "ALTER TABLE orders RENAME COLUMN remaining_quantity TO remaining",
    "ALTER TABLE orders RENAME COLUMN cancelled_quantity TO cancelled",
    "ALTER TABLE trades RENAME COLUMN timestamp TO time",
    "ALTER TABLE order_events RENAME COLUMN timestamp TO time",
    "ALTER TABLE order_events RENAME COLUMN event_data TO event",
)
"""What undoes the migrations after 0001."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    every_command(site)
    trade(site, 150)
    reduced_then_filled(site)
    site.close()
    return site


def reduced_then_filled(site: Site) -> None:
    """Orders that self-trade prevention reduced before a trade took the rest: one that comes in,
    and one that rests."""
    name = "CUT-USD"
    site.commit(SetInstrument(Instrument(name)))
    site.commit(PlaceOrder("client-1", name, SELL, LIMIT, 9, 100, order_id="rests"))
    site.commit(PlaceOrder("client-1", name, BUY, LIMIT, 5, 100, self_trade_prevention=5))
    site.commit(PlaceOrder("client-2", name, BUY, LIMIT, 4, 100))
    site.commit(PlaceOrder("client-1", name, SELL, LIMIT, 5, 100))
    site.commit(PlaceOrder("client-2", name, SELL, LIMIT, 3, 101))
    comes = PlaceOrder("client-1", name, BUY, LIMIT, 8, 101, order_id="comes")
    site.commit(comes._replace(self_trade_prevention=5))
    for order_id in ("rests", "comes"):
        order = site.engine.order(order_id)
        assert order is not None
        assert (order.status, order.filled_e8) == (OrderStatus.FILLED, order.quantity_e8 - 5)


def records(site: Site) -> list[Record]:
    found = map(decode_frame, site.log.follow(0))
    return [record for record in found if record.kind == BATCH]


def write(database: str, batches: list[list[Record]], kept: HistorySettings = KEPT) -> int:
    """Through one follower; gives the sequence at which it had begun."""

    async def run() -> int:
        follower = PostgresFollower(database, kept)
        try:
            reached = await follower.open()
            for batch in batches:
                await follower.take(batch)
            return reached.sequence
        finally:
            await follower.close()

    return asyncio.run(run())


def assert_fold(fetch: Fetch, engine: Engine) -> None:
    """I9: the rows are the engine's state."""
    assert fetch("SELECT sequence FROM follower_positions") == [(engine.sequence,)]
    standing = {
        order.placed_sequence: (
            order.order_id,
            order.price_e8,
            order.quantity_e8,
            order.filled_e8,
            order.remaining_e8,
            order.status,
            order.updated_ns,
            order.reason,
        )
        for order in engine.orders(limit=1_000_000)
    }
    rows = fetch(
        """SELECT placed_sequence, order_id, price * 1e8, quantity * 1e8, filled_quantity * 1e8,
        remaining_quantity * 1e8, array_position(enum_range(NULL::order_status), status),
        updated_ns, end_reason,
        (filled_quantity + remaining_quantity + cancelled_quantity - quantity)::int FROM orders"""
    )
    assert {row[0]: row[1:-1] for row in rows} == standing
    assert {row[-1] for row in rows} == {0}, "I3"
    positions = {
        (client, each.instrument): each
        for client in engine.directory.clients
        for each in engine.positions(client)
    }
    rows = fetch(
        """SELECT client_id, instrument, net_quantity * 1e8, total_cost * 1e16,
        realised_pnl * 1e16, fees * 1e8, updated_ns FROM client_positions"""
    )
    assert {row[:2]: row[2:] for row in rows} == {
        key: (it.net_e8, it.cost_e16, it.realised_e16, it.fees_e8, it.updated_ns)
        for key, it in positions.items()
    }
    assert {row[1] for row in fetch(
        "SELECT instrument, sum(net_quantity)::text::numeric = 0 FROM client_positions GROUP BY 1"
    )} == {True}, "I6"  # fmt: skip
    fees = dict(fetch("SELECT currency, balance * 1e8 FROM fees"))
    assert fees == {name: value for name, value in engine.fee_accounts().items() if name in fees}


def assert_events(fetch: Fetch, written: Iterable[Record]) -> None:
    """I2: events and trades, complete and in order."""
    expected = [
        (sequence, index)
        for record in written
        for sequence, events in enumerate(record.events(), record.first_sequence)
        for index in range(len(events))
    ]
    rows = fetch("SELECT sequence, event_index FROM order_events ORDER BY 1, 2")
    assert rows == expected
    assert fetch("SELECT count(*) FROM trades") == fetch(
        "SELECT count(*) FROM order_events WHERE kind = 6"
    )
    assert fetch(
        """SELECT count(*) FROM trades JOIN order_events USING (sequence, event_index)
        WHERE (event_data->>'price_e8')::numeric <> price * 1e8
        OR event_data->>'maker_client_id' <> maker_client_id"""
    ) == [(0,)]
    assert fetch("SELECT * FROM minute_bars ORDER BY minute, instrument") == fetch(
        """SELECT instrument, time_ns / 60000000000 AS minute,
        (array_agg(price ORDER BY sequence, event_index))[1], max(price), min(price),
        (array_agg(price ORDER BY sequence DESC, event_index DESC))[1],
        sum(quantity), sum(price * quantity), count(*), sum(price)
        FROM trades GROUP BY instrument, minute ORDER BY minute, instrument"""
    )


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_rows_are_the_fold_of_the_journal(
    site: Site, database: str, fetch: Fetch, size: int
) -> None:
    all_records = records(site)
    batches = [all_records[at : at + size] for at in range(0, len(all_records), size)]
    assert write(database, batches) == 0
    assert_fold(fetch, site.engine)
    assert_events(fetch, records(site))


def test_the_table_says_what_the_reply_said(tmp_path: Path, database: str, fetch: Fetch) -> None:
    """Market orders without a fill, with some and with all; and no dust where tenths are added."""
    site = Site(tmp_path / "market")
    site.commit(*settings())
    told: dict[int, tuple[str, int]] = {}
    for units in (0, 1, 2, 3):
        if units:
            tenths = units * E8 // 10
            site.commit(PlaceOrder("maker", INSTRUMENT, 2, 1, tenths, 30_000_000))
        (events,) = site.commit(PlaceOrder("taker", INSTRUMENT, 1, 2, E8 * 3 // 10))
        last = next((it for it in reversed(events) if isinstance(it, OrderEvent)), None)
        assert last is not None
        filled = sum(it.quantity_e8 for it in events if isinstance(it, Traded))
        ended = isinstance(last, OrderCancelled | OrderRejected)
        status = OrderStatus(last.status).name.lower() if ended else "filled"
        told[last.placed_sequence] = (status, filled)
    site.close()
    write(database, [records(site)])
    query = """SELECT placed_sequence, status::text, filled_quantity * 1e8 FROM orders
        WHERE type = 'market'"""
    assert {row[0]: row[1:] for row in fetch(query)} == told
    assert [it[0] for it in told.values()] == ["rejected", "cancelled", "cancelled", "filled"]
    assert fetch("SELECT sum(quantity)::text, min(price)::text FROM trades") == [
        ("0.60000000", "0.30000000")
    ]


def test_goes_on_where_it_was(site: Site, database: str, fetch: Fetch) -> None:
    all_records = records(site)
    write(database, [all_records[:40]])
    assert write(database, [all_records[40:]]) == all_records[39].last_sequence
    assert_fold(fetch, site.engine)
    assert_events(fetch, records(site))


def test_a_snapshot_at_the_end_of_each_minute(tmp_path: Path, database: str, fetch: Fetch) -> None:
    """Whatever the batches, a book is kept as it stood after the last command of a minute."""
    site = Site(tmp_path / "minutes")
    site.commit(*settings())
    ends = []
    for minute in range(3):
        for number in range(2 + minute):
            time_ns = MINUTE_NS * (30_000_000 + 2 * minute) + number
            order = PlaceOrder("a", INSTRUMENT, 1, 1, E8, (minute + 1) * E8)
            site.commit(order, time_ns=time_ns)
        ends.append((site.engine.sequence, time_ns))
    site.close()
    write(database, [records(site)])
    rows = fetch("SELECT sequence, time_ns, bids::text FROM orderbook_snapshots ORDER BY sequence")
    assert [row[:2] for row in rows] == [(2, rows[0][1]), *ends[:-1]]
    assert rows[1][2] == '[["1.00000000", "2.00000000"]]'
    assert rows[2][2] == '[["2.00000000", "3.00000000"], ["1.00000000", "2.00000000"]]'


def test_each_transaction_of_a_batch_is_told_of(tmp_path: Path, database: str) -> None:
    """One for each minute: a quiet journal of some MiB takes long."""
    site = Site(tmp_path / "minutes")
    for minute in range(3):
        site.commit(*settings(), time_ns=MINUTE_NS * (30_000_000 + minute))
    site.close()
    told: list[Reached] = []

    async def run() -> None:
        follower = PostgresFollower(database)
        try:
            await follower.open()
            await follower.take(records(site), told.append)
        finally:
            await follower.close()

    asyncio.run(run())
    assert told == [Reached(it.last_sequence, it.time_ns) for it in records(site)]
    assert len(told) == 3


def test_nothing_is_written_twice(site: Site, database: str, fetch: Fetch) -> None:
    """[I9] A second writer that believes to be elsewhere is refused by the position's row."""
    all_records = records(site)

    async def run() -> None:
        first, second = PostgresFollower(database), PostgresFollower(database)
        await first.open()
        await second.open()
        await first.take(all_records)
        with pytest.raises(RuntimeError, match=f"at sequence {site.engine.sequence}, not at 0"):
            await second.take(all_records)
        await first.close()
        await second.close()

    asyncio.run(run())
    assert_fold(fetch, site.engine)


def test_another_journal_is_refused(site: Site, database: str, tmp_path: Path) -> None:
    write(database, [records(site)])
    other = Site(tmp_path / "other")
    every_command(other)
    other.close()
    with pytest.raises(FollowerStopped, match="a database of its own"):
        write(database, [records(other)])


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_migrations_twice_and_at_once(database: str, fetch: Fetch, isolation: str) -> None:
    """However transactions are by default."""
    settings = {"default_transaction_isolation": isolation}

    async def run() -> list[int]:
        connect = partial(asyncpg.connect, database, server_settings=settings)
        connections = [await connect() for _ in range(3)]
        applied = await asyncio.gather(*(migrate(connection) for connection in connections))
        again = await migrate(connections[0])
        for connection in connections:
            await connection.close()
        return [sum(applied), again]

    count = len(migrations.migrations())
    assert asyncio.run(run()) == [count, 0]
    assert fetch("SELECT count(*) FROM schema_migrations") == [(count,)]


def test_a_schema_that_was_dropped_is_made_again(site: Site, database: str, fetch: Fetch) -> None:
    """By whoever wants all of it afresh."""
    write(database, [records(site)])
    fetch("DROP SCHEMA public CASCADE")
    write(database, [records(site)])
    assert_fold(fetch, site.engine)


def test_rows_of_an_older_schema_are_taken_along(site: Site, database: str, fetch: Fetch) -> None:
    """By two processes that start at once, one of which goes on as though nothing had been."""
    all_records = records(site)

    def known() -> list[Any]:
        return [
            fetch(f"SELECT * FROM {table} ORDER BY 1, 2")
            for table in ("orders", "trades", "order_events", "minute_bars", "client_positions")
        ]

    async def upgrade() -> None:
        followers = [PostgresFollower(database) for _ in range(2)]
        reached = await asyncio.gather(*(each.open() for each in followers))
        assert [it.sequence for it in reached] == [all_records[79].last_sequence] * 2
        for each in followers:
            await each.close()

    write(database, [all_records[:80]])
    expected, schema = known(), fetch(SCHEMA)
    for statement in TO_THE_FIRST_SCHEMA:
        fetch(statement)
    assert fetch("SELECT count(*) FROM schema_migrations") == [(1,)]
    asyncio.run(upgrade())
    assert known() == expected
    assert fetch(SCHEMA) == schema
    assert write(database, [all_records[80:]]) == all_records[79].last_sequence
    assert_fold(fetch, site.engine)
    assert_events(fetch, all_records)


def test_the_documented_query_finds_the_open_orders_oldest_first(
    tmp_path: Path, database: str, fetch: Fetch
) -> None:
    site = Site(tmp_path / "open")
    site.commit(*settings(), SetInstrument(Instrument("OTHER-USD")))
    for number in range(60):
        side, price = BUY + number % 2, 100 + 3 * (number % 2) + number % 5 // 2
        for name in (INSTRUMENT, "OTHER-USD"):
            order = PlaceOrder("a", name, side, LIMIT, 5 + number % 3, price * E8)
            site.commit(order._replace(order_id=f"o-{number}-{name}"))
    site.commit(CancelOrder("a", f"o-6-{INSTRUMENT}"))
    site.commit(ReplaceOrder("a", f"o-7-{INSTRUMENT}", quantity_e8=1))
    for side in (BUY, SELL):
        site.commit(PlaceOrder("b", INSTRUMENT, side, MARKET, 100))
    site.close()
    write(database, [records(site)])
    rows = fetch(
        """SELECT * FROM orders WHERE instrument = 'BTC-USD'
        AND status IN ('open', 'partially_filled') ORDER BY created_at ASC"""
    )
    resting = list(site.engine.markets[INSTRUMENT].book.resting())
    assert [row[0] for row in rows] == sorted(each.placed_sequence for each in resting)
    queues: dict[tuple[Any, Any], list[int]] = {}
    for row in rows:
        queues.setdefault((row[5], int(row[10] * E8)), []).append(row[0])
    in_book: dict[tuple[Any, Any], list[int]] = {}
    for each in resting:
        key = (("buy", "sell")[each.side - 1], each.price_e8)
        in_book.setdefault(key, []).append(each.placed_sequence)
    assert queues == in_book
    assert len(rows) > 20
    assert min(len(queue) for queue in queues.values()) > 1


def test_queries_of_the_readme_say_what_they_are_for(
    site: Site, database: str, fetch: Fetch
) -> None:
    write(database, [records(site)])
    fetch(
        """UPDATE orders SET order_id = 'my-order-1' WHERE placed_sequence =
        (SELECT max(maker_placed_sequence) FROM trades)"""
    )
    readme = (migrations.DIRECTORY.parent / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sql\n(.*?)```", readme, re.DOTALL)
    position, book, orders, trades, today, events, candles = map(
        fetch, filter(str.strip, block.split(";"))
    )
    assert [row[:2] for row in position] == [("postgres", site.engine.sequence)]
    resting = sum(it.remaining_e8 for it in site.engine.orders(instrument=INSTRUMENT, limit=9_999))
    assert sum(row[2] for row in book) * E8 == resting
    assert sum(row[13] for row in orders) * E8 == resting
    assert len(trades) == 20
    for trade_id, buys, sells, _, price, quantity, _ in trades:
        said = fetch(
            f"""SELECT event_data FROM order_events
            WHERE 'T' || sequence || '-' || event_index = '{trade_id}'"""
        )
        it = Traded(**json.loads(said[0][0]))
        sides = (it.maker_order_id, it.taker_order_id)
        assert (buys, sells) == (sides if it.aggressor_side == SELL else sides[::-1])
        assert (price * E8, quantity * E8) == (it.price_e8, it.quantity_e8)
    assert today == [], "the journal's trades are of another day"
    assert events[0][4] == "accepted"
    traded = [json.loads(row[3])["quantity_e8"] for row in events if row[4] == "traded"]
    assert fetch("SELECT filled_quantity * 1e8 FROM orders WHERE order_id = 'my-order-1'") == [
        (sum(traded),)
    ]
    assert traded
    assert {(row[0].minute, row[0].second) for row in candles} == {(0, 0)}
    assert fetch(f"SELECT sum(quantity) FROM trades WHERE instrument = '{INSTRUMENT}'") == [
        (sum(row[5] for row in candles),)
    ]


def test_changed_or_newer_schema_is_refused(database: str) -> None:
    async def run(wanted: list[Migration]) -> None:
        connection = await asyncpg.connect(database)
        try:
            await migrate(connection, wanted)
        finally:
            await connection.close()

    two = [Migration(1, "a", "CREATE TABLE a ()"), Migration(2, "b", "CREATE TABLE b ()")]
    asyncio.run(run(two))
    with pytest.raises(SchemaRefused, match="another text"):
        asyncio.run(run([two[0]._replace(text="CREATE TABLE c ()"), two[1]]))
    with pytest.raises(SchemaRefused, match="the newer release"):
        asyncio.run(run(two[:1]))
