"""A client's own trades, from memory and a real PostgreSQL: each once, none missing."""

import asyncio
import contextlib

import asyncpg
import pytest

from server.core.commands import PlaceOrder, SetInstrument
from server.core.dump import dump, load
from server.core.instruments import Instrument
from server.core.market import TRADES_KEPT, RecentTrade
from server.core.types import BUY, E8, LIMIT, SELL, SelfTradePrevention
from server.history import reader
from server.history.reader import History
from server.rpc.errors import EdgeReject
from server.rpc.parse import TradesQuery, trades_before
from server.rpc.past import Past
from tests.followers.conftest import PostgresServer
from tests.history.test_past import Explained, Refusal, past_of
from tests.history.written import NAME, Written

OTHER = "ETH-USD"
CLIENTS = ("tom", "early", "b", "c", "other")
SWEPT = 40
"""Trades of the one order which are partly within memory and partly not."""
NEWER = TRADES_KEPT - SWEPT // 2
UNREACHED = "postgresql://nobody@127.0.0.1:1/none"


def sides(number: int) -> tuple[str, str]:
    """Who makes and who takes."""
    if number < 5:
        return "early", "b"
    return [("b", "c"), ("tom", "c"), ("b", "tom"), ("tom", "tom"), ("c", "b")][number % 5]


def trade(site: Written, number: int, instrument: str = NAME, clients: str = "") -> None:
    maker, taker = clients.split() if clients else sides(number)
    price_e8 = (100 + number % 3) * E8
    allowed = SelfTradePrevention.NONE
    site.commit(
        PlaceOrder(maker, instrument, SELL, LIMIT, E8, price_e8),
        PlaceOrder(taker, instrument, BUY, LIMIT, E8, price_e8, self_trade_prevention=allowed),
    )


@pytest.fixture(scope="module")
def site() -> Written:
    """More trades than memory holds, whose edge lies within those of one order."""
    site = Written()
    site.commit(SetInstrument(Instrument(NAME)))
    site.commit(SetInstrument(Instrument(OTHER)))
    for number in range(300):
        trade(site, number)
        trade(site, number, OTHER, "tom other")
    makers = ("tom", "c")
    site.commit(*(PlaceOrder(makers[it % 2], NAME, SELL, LIMIT, E8, E8) for it in range(SWEPT)))
    site.commit(PlaceOrder("b", NAME, BUY, LIMIT, SWEPT * E8, E8))
    for number in range(NEWER):
        trade(site, number + 5)
    edge = site.engine.markets[NAME].trades
    assert edge[0][0] == edge[1][0]
    return site


@pytest.fixture(scope="module")
def filled(site: Written, postgres: PostgresServer) -> str:
    """A database with all of it."""
    url = postgres.database()

    async def fill() -> None:
        await site.fill(url)
        connection = await asyncpg.connect(url)
        await connection.execute("VACUUM ANALYZE")
        await connection.close()

    asyncio.run(fill())
    return url


Name = tuple[int, int]
"""(sequence, index) of a trade."""


def own(site: Written, client_id: str, instrument: str = NAME) -> list[Name]:
    """What the journal says, newest first."""
    found = []
    for record in site.records:
        for sequence, events in enumerate(record.events(), record.first_sequence):
            for index, event in enumerate(events):
                told = getattr(event, "maker_client_id", ""), getattr(event, "taker_client_id", "")
                if client_id in told and event.instrument == instrument:  # type: ignore[union-attr]
                    found.append((sequence, index))
    return found[::-1]


async def paged(past: Past, client_id: str, limit: int, instrument: str = NAME) -> list[Name]:
    """All pages, all but the last of which are full."""
    found = list[RecentTrade]()
    before: tuple[int, int] | None = None
    while True:
        query = TradesQuery(instrument, limit, before, client_id)
        page = await past.trades(query, None)  # type: ignore[arg-type]
        assert page is not None
        found += page.trades
        if not page.next_page_token:
            break
        assert len(page.trades) == limit
        cursor = trades_before(page.next_page_token)
        assert not isinstance(cursor, EdgeReject)
        before = cursor
    for each in found:
        assert client_id in (each[3].maker_client_id, each[3].taker_client_id)
        assert each[3].instrument == instrument
    return [(each[0], each[1]) for each in found]


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("limit", [1_000, 37])
def test_pages_hold_each_trade_once_and_miss_none(
    site: Written, filled: str, *, limit: int, restarted: bool
) -> None:
    """Also those with oneself, and where memory ends within the trades of one order."""
    engine = load(dump(site.engine)) if restarted else site.engine

    async def run() -> None:
        history = History(filled)
        past = past_of(engine, history)
        for client in CLIENTS:
            assert await paged(past, client, limit) == own(site, client), client
        assert await paged(past, "other", limit, OTHER) == own(site, "other", OTHER)
        await history.close()

    asyncio.run(run())


def test_fees_and_sides_are_the_same_from_memory_and_the_tables(filled: str, site: Written) -> None:
    async def run() -> None:
        history = History(filled)
        after = (site.engine.sequence, TRADES_KEPT)
        wanted = ("price_e8", "quantity_e8", "aggressor_side", "maker_order_id", "maker_client_id",
            "maker_fee_e8", "taker_order_id", "taker_client_id", "taker_fee_e8")  # fmt: skip
        held = site.engine.markets[NAME].newest_trades(TRADES_KEPT, None, "tom")
        read = await history.trades(NAME, after, len(held), "tom")
        for here, there in zip(held, read, strict=True):
            assert here[:3] == there[:3]
            assert [getattr(here[3], it) for it in wanted] == [
                getattr(there[3], it) for it in wanted
            ]
        await history.close()

    asyncio.run(run())


def test_memory_alone_lists_what_it_holds(site: Written) -> None:
    async def run() -> None:
        past = past_of(site.engine, History(""))
        oldest = site.engine.markets[NAME].trades[0][:2]
        for client in CLIENTS:
            held = [name for name in own(site, client) if name >= oldest]
            assert await paged(past, client, 37) == held

    asyncio.run(run())


@pytest.mark.parametrize("gone", [True, False])
def test_trades_in_memory_are_listed_without_the_tables_then_the_rest_is_refused(
    site: Written, database: str, *, gone: bool
) -> None:
    """While PostgreSQL is out of reach, or has not come as far as what memory has forgotten."""
    why = "can't be reached" if gone else "behind"

    async def run() -> None:
        # One commit short of the oldest trade that memory has.
        await site.fill(database, but=NEWER + 1)
        history = History(UNREACHED if gone else database)
        past = past_of(site.engine, history)
        oldest = site.engine.markets[NAME].trades[0][:2]
        held = [name for name in own(site, "tom") if name >= oldest]
        query = TradesQuery(NAME, 1_000, None, "tom")
        page = await past.trades(query, None)  # type: ignore[arg-type]
        assert page is not None
        assert [each[:2] for each in page.trades] == held
        assert page.next_page_token == "{}-{}".format(*held[-1])
        with pytest.raises(Refusal, match=why):
            await past.trades(query._replace(before=held[-1]), None)  # type: ignore[arg-type]
        with pytest.raises(Refusal, match=why):
            await past.trades(TradesQuery(NAME, 1, None, "early"), None)  # type: ignore[arg-type]
        # Who never traded there has no trades, wherever they would be.
        for client in ("nobody", "other", "\0"):
            assert await paged(past, client, 9) == []
        await history.close()

    asyncio.run(run())


def test_tables_that_reach_what_memory_holds_are_enough(site: Written, database: str) -> None:
    async def run() -> None:
        await site.fill(database, but=NEWER)
        history = History(database)
        assert await paged(past_of(site.engine, history), "tom", 37) == own(site, "tom")
        await history.close()

    asyncio.run(run())


def test_a_list_that_the_tables_have_lost_the_beginning_of_ends_in_a_refusal(
    site: Written, database: str
) -> None:
    begins_ns = site.records[50].time_ns

    async def run() -> None:
        await site.fill(database)
        connection = await asyncpg.connect(database)
        await connection.execute(f"UPDATE follower_positions SET begins_ns = {begins_ns}")
        await connection.close()
        history = History(database)
        past = past_of(site.engine, history)
        kept = [it for it in own(site, "tom") if it[0] > site.records[50].first_sequence + 1]
        query = TradesQuery(NAME, 1_000, None, "tom")
        page = await past.trades(query, None)  # type: ignore[arg-type]
        assert page is not None
        assert [each[:2] for each in page.trades] == kept
        with pytest.raises(Refusal, match="whole only from"):
            await past.trades(query._replace(before=kept[-1]), None)  # type: ignore[arg-type]
        await history.close()

    asyncio.run(run())


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("instrument", [NAME, OTHER])
def test_a_page_reads_hardly_any_other_trades(
    site: Written, filled: str, monkeypatch: pytest.MonkeyPatch, client: str, instrument: str
) -> None:
    """However many the client made in another instrument, or others made in this one."""
    history = History(filled)

    async def run() -> int:
        connection = await asyncpg.connect(filled)
        try:
            # The tables are too small for an index to be worth its while by itself.
            await connection.execute(f"{reader.SESSION}; SET enable_seqscan = off")
            explained = Explained(connection)
            monkeypatch.setattr(history, "_reading", lambda _: contextlib.nullcontext(explained))
            await history.trades(instrument, (site.engine.sequence, 0), 10, client)
        finally:
            await connection.close()
        return explained.passed_over

    assert asyncio.run(run()) <= 10
