"""Trades by interval over days, from a real PostgreSQL and memory together, against the trades."""

import asyncio
import itertools
import random
import re
from typing import Any

import asyncpg
import pytest

from server.core.commands import PlaceOrder, SetInstrument
from server.core.instruments import Instrument
from server.core.market import MINUTE_NS, TRADES_KEPT
from server.core.types import BUY, E8, LIMIT, SELL
from server.history.analytics import Analytics, Query
from server.history.reader import Down, History
from server.rpc.errors import EdgeReject
from server.times import exact_time_text
from tests.followers.conftest import PostgresServer
from tests.history.test_analytics_in_memory import BEGIN_NS, Done, expected, rows
from tests.history.test_past import Refusal, past_of
from tests.history.written import NAME, Written

TRADES = TRADES_KEPT + 1_500
DAY_NS = 1_440 * MINUTE_NS


@pytest.fixture(scope="module")
def traded() -> tuple[Written, list[Done]]:
    """Three days of trades, in bursts with hours between them; the last 1,000 are remembered."""
    draw = random.Random(5)
    site, done = Written(), list[Done]()
    site.commit(SetInstrument(Instrument(NAME)), time_ns=BEGIN_NS)
    time_ns = BEGIN_NS
    for number in range(TRADES):
        pause_ns = DAY_NS // 9 if number % 100 == 99 else 20_000_000_000
        time_ns += draw.randrange(pause_ns)
        price_e8, quantity_e8 = draw.randrange(1, 10**4) * E8 // 7, draw.randrange(1, 10**9)
        site.commit(
            PlaceOrder("a", NAME, SELL, LIMIT, quantity_e8, price_e8),
            PlaceOrder("b", NAME, BUY, LIMIT, quantity_e8, price_e8),
            time_ns=time_ns,
        )
        done.append((time_ns, price_e8, quantity_e8))
    return site, done


def answered(site: Written, history: History, query: Query) -> Analytics | EdgeReject | None:
    async def run() -> Analytics | EdgeReject | None:
        try:
            return await past_of(site.engine, history).analytics(query, None)  # type: ignore[arg-type]
        finally:
            await history.close()

    return asyncio.run(run())


@pytest.fixture(scope="module")
def whole(traded: tuple[Written, list[Done]], postgres: PostgresServer) -> str:
    """The address of a database with all of it."""
    url = postgres.database()
    asyncio.run(traded[0].fill(url))
    return url


def test_any_time_is_exact(traded: tuple[Written, list[Done]], whole: str) -> None:
    site, done = traded
    last_ns = site.engine.time_ns
    assert done[-TRADES_KEPT][0] - BEGIN_NS > DAY_NS // 2, "what is forgotten must be long enough"

    async def run() -> None:
        history, draw = History(whole), random.Random(7)
        past = past_of(site.engine, history)
        for _ in range(100):
            start_ns = draw.choice(done)[0] + draw.choice((0, 1, -MINUTE_NS, 7 * MINUTE_NS))
            end_ns = draw.choice((last_ns + 1, start_ns + draw.randrange(1, 2 * DAY_NS)))
            if draw.random() < 0.2:
                end_ns = start_ns + draw.randrange(1, MINUTE_NS)
            if draw.random() < 0.2:
                start_ns -= start_ns % MINUTE_NS
            minutes = draw.choice((1, 7, 60, 1_440))
            query = Query(NAME, start_ns, max(end_ns, start_ns + 1), minutes, with_empty=False)
            found: Any = await past.analytics(query, None)  # type: ignore[arg-type]
            assert isinstance(found, Analytics), found
            assert rows(found) == expected(done, query), query
            assert found.sequence == site.engine.sequence
        all_of_it = Query(NAME, BEGIN_NS, last_ns + 1, 60, with_empty=True)
        filled: Any = await past.analytics(all_of_it, None)  # type: ignore[arg-type]
        assert len(filled.intervals) == (last_ns - BEGIN_NS) // (60 * MINUTE_NS) + 1
        assert sum(bar.count for bar in filled.intervals) == len(done)
        assert await past.analytics(all_of_it._replace(instrument="X-Y"), None) is None  # type: ignore[arg-type]
        await history.close()

    asyncio.run(run())


def test_an_empty_beginning_stands_at_the_price_before(
    traded: tuple[Written, list[Done]], whole: str
) -> None:
    """Wherever that is to be found, also within the minute in which the first interval begins."""
    site, done = traded
    quiet = [
        (before, after)
        for before, after in itertools.pairwise(done)
        if after[0] // MINUTE_NS > before[0] // MINUTE_NS + 2
    ]
    assert len(quiet) > 20
    older, newer = quiet[:: len(quiet) // 6], quiet[-2:]

    async def run() -> None:
        history = History(whole)
        for (time_ns, price_e8, _), (end_ns, _, _) in older + newer:
            for start_ns in (time_ns + 1, (time_ns // MINUTE_NS + 1) * MINUTE_NS, end_ns - 1):
                query = Query(NAME, start_ns, end_ns, 1, with_empty=True)
                found = await past_of(site.engine, history).analytics(query, None)  # type: ignore[arg-type]
                assert isinstance(found, Analytics)
                assert {bar.close_e8 for bar in found.intervals} == {price_e8}
        first = Query(NAME, done[0][0] - 9 * MINUTE_NS, done[0][0], 1, with_empty=True)
        found = await past_of(site.engine, history).analytics(first, None)  # type: ignore[arg-type]
        assert isinstance(found, Analytics)
        assert {bar.close_e8 for bar in found.intervals} == {0}, "nothing traded before"
        await history.close()

    asyncio.run(run())


def test_the_price_before_is_the_last_of_its_command(database: str) -> None:
    """And that of the last command; also where the time is within its minute."""
    site = Written()
    site.commit(SetInstrument(Instrument(NAME)), time_ns=BEGIN_NS)
    for price in (102, 101, 103):
        site.commit(PlaceOrder("a", NAME, SELL, LIMIT, E8, price * E8), time_ns=BEGIN_NS)
    site.commit(PlaceOrder("b", NAME, BUY, LIMIT, E8, 101 * E8), time_ns=BEGIN_NS + 1)
    site.commit(PlaceOrder("b", NAME, BUY, LIMIT, 2 * E8, 103 * E8), time_ns=BEGIN_NS + 2)

    async def run() -> None:
        await site.fill(database)
        history = History(database)
        for after_ns, price in ((1, 0), (2, 101), (3, 103)):
            asked = (NAME, BEGIN_NS + after_ns, site.engine.sequence)
            assert await history.price_before(*asked) == price * E8
        await history.close()

    asyncio.run(run())


def test_tables_answer_for_the_times_before_their_last_stamp(database: str) -> None:
    """Whatever is stamped later lies behind it."""
    site, first = Written(), BEGIN_NS // MINUTE_NS
    site.commit(SetInstrument(Instrument(NAME)), time_ns=first * MINUTE_NS)
    order = PlaceOrder("a", NAME, SELL, LIMIT, E8, E8)
    site.commit(order, order._replace(side=BUY), time_ns=first * MINUTE_NS)
    site.commit(order, time_ns=(first + 1) * MINUTE_NS)

    async def run() -> None:
        await site.fill(database)
        history = History(database)
        assert len(await history.minutes(NAME, first, first + 1, 1, 9)) == 1
        with pytest.raises(Down, match=f"behind {exact_time_text((first + 2) * MINUTE_NS)}"):
            await history.minutes(NAME, first, first + 2, 1, 9)
        await history.close()

    asyncio.run(run())


def test_refused_rather_than_short(traded: tuple[Written, list[Done]], database: str) -> None:
    site, done = traded
    old = Query(NAME, BEGIN_NS, done[200][0], 1, with_empty=False)
    alone = answered(site, History(""), old)
    assert isinstance(alone, EdgeReject)
    with pytest.raises(Refusal, match="can't be reached"):
        answered(site, History("postgresql://nobody@127.0.0.1:1/none"), old)
    asyncio.run(site.fill(database, but=TRADES - 150))
    at = f"at {exact_time_text(done[149][0])} (sequence 301), behind "
    within = old._replace(start_ns=done[199][0], end_ns=done[199][0] + 1)
    whole_ns = done[200][0] // MINUTE_NS * MINUTE_NS
    for query, needed_ns in ((old, whole_ns), (within, done[199][0] + 1)):
        with pytest.raises(Refusal, match=re.escape(at + exact_time_text(needed_ns))):
            answered(site, History(database), query)
    # As far as the tables are, they answer.
    early = old._replace(end_ns=done[100][0] + 1)
    found = answered(site, History(database), early)
    assert isinstance(found, Analytics)
    assert rows(found) == expected(done, early)


def test_parts_of_minutes_whose_trades_were_dropped(
    traded: tuple[Written, list[Done]], database: str
) -> None:
    site, done = traded
    asyncio.run(site.fill(database, but=TRADES - 150))

    async def drop() -> None:
        connection = await asyncpg.connect(database)
        await connection.execute("TRUNCATE trades")
        await connection.close()

    asyncio.run(drop())
    begin = done[50][0]
    whole = Query(NAME, begin - begin % MINUTE_NS, begin - begin % MINUTE_NS + MINUTE_NS, 1, False)
    found = answered(site, History(database), whole)
    assert isinstance(found, Analytics)
    assert rows(found) == expected(done, whole)
    with pytest.raises(Refusal, match="time to be kept is over"):
        answered(site, History(database), whole._replace(start_ns=begin, end_ns=begin + 1))


def test_what_the_tables_have_lost_is_not_taken_for_nothing(
    traded: tuple[Written, list[Done]], database: str
) -> None:
    """As after a rebuild from a journal without its beginning."""
    site, done = traded
    asyncio.run(site.fill(database))
    begins_ns = done[100][0]

    async def lose() -> None:
        connection = await asyncpg.connect(database)
        await connection.execute("UPDATE follower_positions SET begins_ns = $1", begins_ns)
        await connection.execute("DELETE FROM trades WHERE time_ns < $1", begins_ns)
        await connection.execute(
            "DELETE FROM minute_bars WHERE minute < $1", begins_ns // MINUTE_NS - 1
        )
        await connection.close()

    asyncio.run(lose())
    first_ns = (begins_ns // MINUTE_NS + 1) * MINUTE_NS
    from_then = Query(NAME, first_ns, done[300][0], 1, with_empty=False)
    part = from_then._replace(start_ns=begins_ns + 1)
    for query in (from_then, part):
        found = answered(site, History(database), query)
        assert isinstance(found, Analytics)
        assert rows(found) == expected(done, query)
    kept = "kept are whole minutes from 20..-..-..T..:..:00.000Z on"
    for query in (
        from_then._replace(start_ns=first_ns - MINUTE_NS),
        part._replace(start_ns=begins_ns),
        Query(NAME, BEGIN_NS - 9 * MINUTE_NS, BEGIN_NS, 1, with_empty=False),
    ):
        refused = answered(site, History(database), query)
        assert isinstance(refused, EdgeReject)
        assert (refused.field, refused.value) == ("start_time_ns", query.start_ns)
        assert re.fullmatch(kept, str(refused.limit))
    # Nothing traded between then and this time, so that the price before it is not known.
    quiet = Query(NAME, begins_ns + 1, begins_ns + 2, 1, with_empty=True)
    assert isinstance(answered(site, History(database), quiet), EdgeReject)
    at_a_price = Query(NAME, done[101][0] + 1, done[101][0] + 2, 1, with_empty=True)
    found = answered(site, History(database), at_a_price)
    assert isinstance(found, Analytics)
    assert found.intervals[0].close_e8 == done[101][1]
