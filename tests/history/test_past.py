"""Orders and trades that memory no longer holds, from a real PostgreSQL."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from typing import Any, NoReturn

import asyncpg
import pytest

from server.core.commands import CancelOrder, PlaceOrder, SetInstrument, SetLimits
from server.core.engine import Engine
from server.core.instruments import Instrument, Limits
from server.core.market import TRADES_KEPT, RecentTrade
from server.core.types import BUY, E8, IOC, LIMIT, SELL, OrderStatus
from server.history import reader
from server.history.reader import Down, History, OfAnother
from server.history.settlement import Settlements
from server.rpc.errors import EdgeReject
from server.rpc.parse import OrdersQuery, TradesQuery
from server.rpc.past import Past
from tests.followers.test_postgres import Fetch
from tests.history.pooler import pooled
from tests.history.written import JOURNAL, NAME, Written


class Refusal(Exception):
    """What a call is refused with."""


@contextlib.contextmanager
def refusals(said: list[str]) -> Iterator[None]:
    """Ends what is refused, and keeps why."""
    try:
        yield
    except Refusal as refused:
        said.append(" ".join(map(str, refused.args)))


class DirectCalls:
    """`Calls` on an engine whose every event is durable."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def read(self, view: Callable[[Engine], Any], _context: Any) -> Any:
        return view(self.engine)

    async def within(self, work: Callable[[], Awaitable[Any]], _context: Any) -> Any:
        return await work()

    async def refuse(self, _context: Any, refused: EdgeReject) -> NoReturn:
        raise Refusal(refused.reason.name, refused.field, refused.value, refused.limit)


def past_of(engine: Engine, history: History) -> Past:
    return Past(DirectCalls(engine), history)  # type: ignore[arg-type]


async def all_trades(past: Past) -> list[RecentTrade]:
    """By pages of 300."""
    found: list[RecentTrade] = []
    before = None
    while True:
        page = await past.trades(TradesQuery(NAME, 300, before), None)  # type: ignore[arg-type]
        assert page is not None
        found += page.trades
        if not page.next_page_token:
            return found
        sequence, _, index = page.next_page_token.partition("-")
        before = (int(sequence), int(index))


@pytest.mark.parametrize("limit", [20, 170])
def test_every_order_is_on_one_page_and_found_by_its_id(
    site: Written, database: str, limit: int
) -> None:
    """Whether a page is of more orders than memory holds, or of fewer."""

    async def run() -> None:
        await site.fill(database)
        history = History(database)
        past = past_of(site.engine, history)
        assert 20 < len(site.engine.orders("a", limit=10_000)) < 170
        found, token = [], ""
        while True:
            query = OrdersQuery("a", "", 0, 0, int(token or 0), limit)
            page = await past.orders(query, None)  # type: ignore[arg-type]
            found += [order.event for order in page.orders]
            token = page.next_page_token
            if not token:
                break
        ids = {f"s{number}" for number in range(TRADES_KEPT + 200)}
        for number in range(0, TRADES_KEPT + 200, 50):
            ids |= {f"open{number}", f"gone{number}"}
        assert len(found) == len(ids)
        assert {event.order_id for event in found} == ids
        sequences = [event.placed_sequence for event in found]
        assert sequences == sorted(sequences, reverse=True)
        cancelled = OrdersQuery("a", NAME, BUY, int(OrderStatus.CANCELLED), 0, 1_000)
        page = await past.orders(cancelled, None)  # type: ignore[arg-type]
        assert len(page.orders) == (TRADES_KEPT + 200) // 50
        oldest = await past.order("s0", None)  # type: ignore[arg-type]
        assert oldest is not None
        event = oldest.order.event
        assert (event.client_id, event.side, event.order_type) == ("a", SELL, LIMIT)
        assert (event.quantity_e8, event.filled_e8, event.remaining_e8) == (E8, E8, 0)
        assert (event.price_e8, event.status) == (100 * E8, int(OrderStatus.FILLED))
        assert oldest.order.updated_ns >= event.created_ns > 0
        assert await past.order("never", None) is None  # type: ignore[arg-type]
        await history.close()

    asyncio.run(run())


def test_history_tells_of_what_had_ended_by_then(database: str) -> None:
    """Later ends, and what is open, are told from memory, which may have another order of an id."""
    site = Written()
    site.commit(SetInstrument(Instrument(NAME)))
    site.commit(SetLimits(Limits(closed_orders_max=1, window_ns=1)))
    placed, ended = list[int](), list[int]()
    for _ in range(3):
        site.commit(PlaceOrder("a", NAME, BUY, LIMIT, E8, E8, order_id="again"))
        placed.append(site.engine.sequence)
        site.commit(CancelOrder("a", "again"))
        ended.append(site.engine.sequence)
        for _ in range(9):
            site.commit(PlaceOrder("b", NAME, BUY, LIMIT, E8, E8, IOC))
    site.commit(PlaceOrder("a", NAME, BUY, LIMIT, E8, E8, order_id="again"))

    async def run() -> None:
        await site.fill(database)
        history = History(database)
        for through, count in (
            (ended[0] - 1, 0),
            (ended[0], 1),
            (ended[2] - 1, 2),
            (ended[2], 3),
            (site.engine.sequence, 3),
        ):
            newest = await history.order("again", through)
            orders = await history.orders("a", "", 0, 0, 0, 9, through)
            told = [order.event.placed_sequence for order in orders]
            assert told == placed[:count][::-1]
            assert ([newest] if newest else []) == orders[:1]
        with pytest.raises(Down, match="behind"):
            await history.order("again", site.engine.sequence + 1)
        await history.close()

    asyncio.run(run())


@pytest.mark.parametrize("kept", [True, False])
def test_a_page_names_another_where_there_is_one(site: Written, filled: str, *, kept: bool) -> None:
    """With a database and without one, of which memory has all of what is open."""
    open_count = (TRADES_KEPT + 200) // 50
    held_count = len(site.engine.orders("b", limit=1_000))

    async def run() -> None:
        history = History(filled if kept else "")
        past = past_of(site.engine, history)
        for client, status, limit, more in (
            ("a", OrderStatus.OPEN, open_count - 1, True),
            ("a", OrderStatus.OPEN, open_count, False),
            ("b", 0, held_count, kept),
        ):
            query = OrdersQuery(client, "", 0, int(status), 0, limit)
            page = await past.orders(query, None)  # type: ignore[arg-type]
            assert (len(page.orders), bool(page.next_page_token)) == (limit, more)
        await history.close()

    asyncio.run(run())


class Explained:
    """A connection that tells how a query is answered instead of answering it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.passed_over = 0
        """Rows that were read in vain."""

    async def fetch(self, query: str, *asked: Any) -> list[Any]:
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {query}"
        (said,) = json.loads(await self._connection.fetchval(explain, *asked))
        self._look(said["Plan"])
        return []

    def _look(self, plan: dict[str, Any]) -> None:
        assert plan["Node Type"] != "Seq Scan", plan
        self.passed_over += plan.get("Rows Removed by Filter", 0)
        for part in plan.get("Plans", ()):
            self._look(part)


@pytest.mark.parametrize(
    ("client", "instrument"),
    [("a", ""), ("early", ""), ("", NAME), ("", ""), ("nobody", ""), ("a", "X-Y")],
)
@pytest.mark.parametrize("status", [0, OrderStatus.REJECTED, OrderStatus.CANCELLED])
def test_a_page_of_orders_reads_hardly_any_others(
    site: Written,
    filled: str,
    monkeypatch: pytest.MonkeyPatch,
    client: str,
    instrument: str,
    status: int,
) -> None:
    """However many there are that are not meant."""
    last = site.engine.sequence
    history = History(filled)

    async def run() -> int:
        connection = await asyncpg.connect(filled)
        try:
            await connection.execute(reader.SESSION)
            explained = Explained(connection)
            monkeypatch.setattr(history, "_reading", lambda _: contextlib.nullcontext(explained))
            await history.orders(client, instrument, 0, status, 0, 10, last)
            await history.orders(client, instrument, 0, status, last // 2, 10, last)
        finally:
            await connection.close()
        return explained.passed_over

    # Where every other row is meant, going through them in the order of placing is as good.
    assert asyncio.run(run()) <= 2 * 2 * 10


def test_history_is_read_through_a_pooler(site: Written, filled: str) -> None:
    """Which takes no settings before a connection is there."""

    async def run() -> None:
        async with pooled(filled) as address:
            history = History(address)
            for _ in range(2):
                assert await history.orders("early", NAME, 0, 0, 0, 10, site.engine.sequence)
                assert await history.trades(NAME, (site.engine.sequence, 0), 10)
            async with history._reading(0) as connection:
                assert await connection.fetchval("SHOW random_page_cost") == "1.1"
            await history.close()

    asyncio.run(run())


def test_trades_page_back_to_the_first(site: Written, database: str) -> None:
    async def run() -> None:
        await site.fill(database)
        history = History(database)
        past = past_of(site.engine, history)
        found = await all_trades(past)
        assert len(found) == TRADES_KEPT + 200
        assert [trade[3].maker_order_id for trade in found] == [
            f"s{number}" for number in reversed(range(TRADES_KEPT + 200))
        ]
        assert {trade[3].price_e8 for trade in found} == {100 * E8}
        assert found[-1][3].quantity_e8 == E8
        assert await past.trades(TradesQuery("X-Y", 1, None), None) is None  # type: ignore[arg-type]
        await history.close()

    asyncio.run(run())


def test_a_page_may_end_within_the_trades_of_one_command(database: str) -> None:
    count = TRADES_KEPT + 100
    site = Written()
    site.commit(SetInstrument(Instrument(NAME)))
    sells = [
        PlaceOrder("a", NAME, SELL, LIMIT, E8, 100 * E8, order_id=f"s{each}")
        for each in range(count)
    ]
    site.commit(*sells)
    site.commit(PlaceOrder("b", NAME, BUY, LIMIT, count * E8, 100 * E8))

    async def run() -> None:
        await site.fill(database)
        history = History(database)
        found = await all_trades(past_of(site.engine, history))
        assert [trade[3].maker_order_id for trade in found] == [
            sell.order_id for sell in reversed(sells)
        ]
        await history.close()

    asyncio.run(run())


def test_rather_nothing_than_a_short_answer(site: Written, database: str) -> None:
    async def run() -> None:
        history = History(database)
        past = past_of(site.engine, history)
        # No tables yet; then the follower is behind what was forgotten.
        with pytest.raises(Refusal):
            await past.order("s0", None)  # type: ignore[arg-type]
        await site.fill(database, but=1_150)
        # A page that memory fills, and what can't be in history, need none either.
        forgotten = site.engine.orders_after_sequence
        after = [each for each in site.engine.orders(limit=100) if each.placed_sequence > forgotten]
        query = OrdersQuery("", "", 0, 0, 0, len(after))
        page = await past.orders(query, None)  # type: ignore[arg-type]
        assert [each.event.order_id for each in page.orders] == [each.order_id for each in after]
        assert page.next_page_token
        resting = OrdersQuery("a", "", 0, int(OrderStatus.OPEN), 0, 1_000)
        for each in (resting, resting._replace(status=0, working=True)):
            assert len((await past.orders(each, None)).orders) == (TRADES_KEPT + 200) // 50  # type: ignore[arg-type]
        recent = await past.trades(TradesQuery(NAME, TRADES_KEPT, None), None)  # type: ignore[arg-type]
        assert recent is not None
        assert (len(recent.trades), bool(recent.next_page_token)) == (TRADES_KEPT, True)
        behind = History(database)
        with pytest.raises(Refusal, match="behind"):
            await past_of(site.engine, behind).order("s0", None)  # type: ignore[arg-type]
        with pytest.raises(Refusal, match="behind"):
            await past_of(site.engine, behind).trades(TradesQuery(NAME, 1_000, (2_000, 0)), None)  # type: ignore[arg-type]
        # What memory holds needs no history.
        newest = site.engine.orders(limit=1)[0].order_id
        found = await past_of(site.engine, behind).order(newest, None)  # type: ignore[arg-type]
        assert found is not None
        # Without a database to ask what is forgotten is unknown.
        assert await past_of(site.engine, History("")).order("s0", None) is None  # type: ignore[arg-type]
        await history.close()
        await behind.close()

    asyncio.run(run())


@pytest.mark.parametrize("remains", [False, True])
def test_lists_go_back_as_far_as_the_tables_are_whole_then_are_refused(
    site: Written, database: str, fetch: Fetch, *, remains: bool
) -> None:
    """As after a rebuild from a journal without its beginning, whatever is left from before."""
    begins_ns = site.records[150].time_ns

    async def pages(past: Past) -> tuple[list[int], list[int], list[str]]:
        """Sequences of orders and trades, and what refused the page after."""
        orders, trades, refused = list[int](), list[int](), list[str]()
        token, before = "", None
        with refusals(refused):
            while not orders or token:
                query = OrdersQuery("a", NAME, 0, 0, int(token or 0), 170)
                page = await past.orders(query, None)  # type: ignore[arg-type]
                orders += [each.event.placed_sequence for each in page.orders]
                token = page.next_page_token
        with refusals(refused):
            while not trades or token:
                found = await past.trades(TradesQuery(NAME, 300, before), None)  # type: ignore[arg-type]
                assert found is not None
                trades += [each[0] for each in found.trades]
                before, token = found.trades[-1][:2], found.next_page_token
        return orders, trades, refused

    async def run() -> None:
        await site.fill(database)
        history = History(database)
        past = past_of(site.engine, history)
        orders, trades, refused = await pages(past)
        assert refused == []
        lose = f"UPDATE follower_positions SET begins_ns = {begins_ns}"
        await asyncio.to_thread(fetch, lose)
        if not remains:
            for table, column in (("orders", "created_ns"), ("trades", "time_ns")):
                lose = f"DELETE FROM {table} WHERE {column} < {begins_ns}"
                await asyncio.to_thread(fetch, lose)
        first = site.records[151].first_sequence
        # Those that memory has are shown too, whenever they were placed.
        held = {each.placed_sequence for each in site.engine.orders(limit=len(orders))}
        kept = [[it for it in orders if it >= first or it in held]]
        kept.append([it for it in trades if it >= first])
        assert kept[0][-1] < first
        *found, refused = await pages(past)
        assert found == kept
        last = (str(kept[0][-1]), f"{kept[1][-1]}-1")
        lost = "PostgreSQL is whole only from 2023-11-14T22:14:00Z on"
        assert refused == [f"NOT_AVAILABLE page_token {token} {lost}" for token in last]
        with pytest.raises(Refusal, match=r"NOT_AVAILABLE.*order_id.*never.*whole only from"):
            await past.order("never", None)  # type: ignore[arg-type]
        assert await past.order(f"s{TRADES_KEPT}", None)  # type: ignore[arg-type]
        await history.close()

    asyncio.run(run())


def test_tables_of_another_exchange_answer_nothing(site: Written, filled: str) -> None:
    async def run() -> None:
        own, other = History(filled, JOURNAL.hex()), History(filled, "00" * 16)
        assert await past_of(site.engine, own).order("s0", None) is not None  # type: ignore[arg-type]
        past = past_of(site.engine, other)
        for asked in (
            past.order("s0", None),  # type: ignore[arg-type]
            past.orders(OrdersQuery("a", "", 0, 0, 0, 1_000), None),  # type: ignore[arg-type]
            past.trades(TradesQuery(NAME, 9, (300, 0)), None),  # type: ignore[arg-type]
        ):
            with pytest.raises(Refusal, match="another exchange"):
                await asked
        with pytest.raises(OfAnother):
            async with Settlements(filled, "00" * 16).settled(date(2026, 1, 1), 1):
                pass
        await own.close()
        await other.close()

    asyncio.run(run())
