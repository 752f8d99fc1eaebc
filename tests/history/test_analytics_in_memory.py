"""Trades by interval against the trades themselves, from memory's two sources and past them."""

import random
import re
from collections import defaultdict
from datetime import datetime
from fractions import Fraction

import pytest

from server.core.commands import PlaceOrder, SetInstrument
from server.core.engine import Engine
from server.core.instruments import Instrument
from server.core.market import MINUTE_NS, TRADES_KEPT
from server.core.types import BUY, E8, LIMIT, SELL, Stamp
from server.history.analytics import (
    INTERVALS_MAX,
    Analytics,
    NoAnswer,
    Query,
    average_e8,
    from_memory,
    held,
)

NAME = "BTC-USD"
BEGIN_NS = 20_000 * 1_440 * MINUTE_NS

Done = tuple[int, int, int]
"""Time, price, quantity."""


def traded(count: int, step_ns: int) -> tuple[Engine, list[Done]]:
    """So many trades in minutes with gaps."""
    draw = random.Random(count)
    engine, done = Engine(), list[Done]()
    engine.apply(SetInstrument(Instrument(NAME)), Stamp(1, BEGIN_NS))
    time_ns = BEGIN_NS
    for _ in range(count):
        time_ns += draw.randrange(step_ns) * draw.choice((1, 1, 5))
        price_e8, quantity_e8 = draw.randrange(1, 10**4) * E8 // 7, draw.randrange(1, 10**9)
        for client, side in (("a", SELL), ("b", BUY)):
            order = PlaceOrder(client, NAME, side, LIMIT, quantity_e8, price_e8)
            engine.apply(order, Stamp(engine.sequence + 1, time_ns))
        done.append((time_ns, price_e8, quantity_e8))
    return engine, done


def expected(done: list[Done], query: Query) -> list[tuple[int, ...]]:
    minutes: dict[int, list[Done]] = defaultdict(list)
    assert query.start_ns is not None
    assert query.end_ns is not None
    for each in done:
        if query.start_ns <= each[0] < query.end_ns:
            step_ns = query.interval_minutes * MINUTE_NS
            minutes[each[0] // step_ns * query.interval_minutes].append(each)
    return [
        (
            minute,
            found[0][1],
            max(price for _, price, _ in found),
            min(price for _, price, _ in found),
            found[-1][1],
            sum(quantity for _, _, quantity in found),
            sum(price * quantity for _, price, quantity in found),
            sum(price for _, price, _ in found),
            len(found),
        )
        for minute, found in minutes.items()
    ]


def analytics(engine: Engine, query: Query, now_ns: int) -> Analytics | NoAnswer:
    """From memory alone."""
    found = held(engine, query, now_ns)
    return found if isinstance(found, NoAnswer) else from_memory(query, found)


def answered(engine: Engine, query: Query) -> Analytics:
    found = analytics(engine, query, engine.time_ns)
    assert isinstance(found, Analytics), found
    return found


def rows(found: Analytics) -> list[tuple[int, ...]]:
    return [
        (
            bar.minute, bar.open_e8, bar.high_e8, bar.low_e8, bar.close_e8,
            bar.volume_e8, bar.notional_e16, bar.price_sum_e8, bar.count,
        )
        for bar in found.intervals
    ]  # fmt: skip


@pytest.mark.parametrize("minutes", [1, 7, 60, 1_440])
def test_all_trades_at_hand(minutes: int) -> None:
    engine, done = traded(300, 20 * MINUTE_NS)
    draw = random.Random(minutes)
    for _ in range(50):
        start_ns, end_ns = sorted(
            draw.randrange(BEGIN_NS - MINUTE_NS, engine.time_ns + MINUTE_NS) for _ in range(2)
        )
        query = Query(NAME, start_ns, end_ns + 1, minutes, with_empty=False)
        assert rows(answered(engine, query)) == expected(done, query)


@pytest.mark.parametrize("minutes", [1, 15, 1_440])
def test_whole_minutes_from_bars_and_parts_from_trades(minutes: int) -> None:
    engine, done = traded(3 * TRADES_KEPT, MINUTE_NS // 12)
    oldest_ns = done[-TRADES_KEPT][0]
    draw = random.Random(minutes)
    for _ in range(50):
        start_ns = draw.randrange(BEGIN_NS, oldest_ns) // MINUTE_NS * MINUTE_NS
        end_ns = draw.choice((engine.time_ns + 1, draw.randrange(oldest_ns + 1, engine.time_ns)))
        query = Query(NAME, start_ns, end_ns, minutes, with_empty=False)
        assert rows(answered(engine, query)) == expected(done, query)
        inside = query._replace(start_ns=draw.randrange(oldest_ns + 1, end_ns))
        assert rows(answered(engine, inside)) == expected(done, inside)


def ns_of(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000) * 10**6


def test_what_is_not_kept_is_refused() -> None:
    engine, done = traded(3 * TRADES_KEPT, MINUTE_NS // 2)
    part = Query(NAME, done[10][0] + 1, engine.time_ns + 1, 1, with_empty=False)
    refused = analytics(engine, part, engine.time_ns)
    assert isinstance(refused, NoAnswer)
    whole_ns, after_ns = map(ns_of, re.findall(r"\d{4}-\S+Z", str(refused.limit)))
    kept_ns = (engine.time_ns // MINUTE_NS - 1_439) * MINUTE_NS
    assert (whole_ns, after_ns) == (kept_ns, done[-TRADES_KEPT][0] // 10**6 * 10**6)
    old = part._replace(start_ns=(engine.time_ns // MINUTE_NS - 1_441) * MINUTE_NS)
    assert isinstance(analytics(engine, old, engine.time_ns), NoAnswer)
    within = part._replace(start_ns=done[-TRADES_KEPT][0], end_ns=done[-TRADES_KEPT][0] + 1)
    assert isinstance(analytics(engine, within, engine.time_ns), NoAnswer)


def test_the_default_is_the_day() -> None:
    engine, done = traded(3 * TRADES_KEPT, MINUTE_NS // 2)
    query = Query(NAME, None, None, 1, with_empty=False)
    found = answered(engine, query)
    assert found.end_ns == engine.time_ns + 1
    assert found.start_ns == (engine.time_ns // MINUTE_NS - 1_439) * MINUTE_NS
    meant = query._replace(start_ns=found.start_ns, end_ns=found.end_ns)
    assert rows(found) == expected(done, meant)
    inside = [each for each in done if each[0] >= found.start_ns]
    money = sum(price * quantity for _, price, quantity in inside)
    exact = Fraction(money, sum(quantity for _, _, quantity in inside))
    assert abs(found.vwap_e8 - exact) <= Fraction(1, 2)


def test_a_quiet_market_has_a_day_that_ends_now() -> None:
    engine, done = traded(50, MINUTE_NS)
    since = Query(NAME, engine.time_ns + MINUTE_NS, None, 1, with_empty=False)
    hour_later_ns = engine.time_ns + 60 * MINUTE_NS
    found = analytics(engine, since, hour_later_ns)
    assert isinstance(found, Analytics), found
    assert (found.intervals, found.end_ns) == ([], hour_later_ns + 1)
    # What is older than a day when it is asked for is not of the last one.
    day_later_ns = done[25][0] + 1_440 * MINUTE_NS
    found = analytics(engine, since._replace(start_ns=None), day_later_ns)
    assert isinstance(found, Analytics), found
    assert rows(found) == expected(
        done, since._replace(start_ns=found.start_ns, end_ns=day_later_ns)
    )
    assert found.start_ns == (day_later_ns // MINUTE_NS - 1_439) * MINUTE_NS
    # A clock that was set back takes nothing away.
    found = analytics(engine, since._replace(start_ns=None), engine.time_ns - MINUTE_NS)
    assert isinstance(found, Analytics), found
    assert sum(bar.count for bar in found.intervals) == len(done)


def test_the_epoch_is_a_time_like_any_other() -> None:
    engine, done = traded(50, MINUTE_NS)
    found = answered(engine, Query(NAME, 0, None, 1_440, with_empty=False))
    assert (found.start_ns, sum(bar.count for bar in found.intervals)) == (0, len(done))
    refused = analytics(engine, Query(NAME, None, 0, 1, with_empty=False), engine.time_ns)
    assert isinstance(refused, NoAnswer)
    assert refused[1:] == ("end_time_ns", 0, "after 1970-01-01T00:00:00Z")
    late = analytics(engine, Query(NAME, 10**18, 0, 1, with_empty=False), engine.time_ns)
    assert isinstance(late, NoAnswer)
    assert late[1:] == ("start_time_ns", 10**18, "before the end, 1970-01-01T00:00:00.000Z")


def test_empty_intervals_stand_at_the_price_before() -> None:
    engine, done = traded(3, MINUTE_NS)
    start_ns = BEGIN_NS - 5 * MINUTE_NS
    query = Query(NAME, start_ns, start_ns + 60 * MINUTE_NS, 5, with_empty=True)
    found = answered(engine, query).intervals
    assert [bar.minute * MINUTE_NS for bar in found] == [
        start_ns + number * 5 * MINUTE_NS for number in range(12)
    ]
    assert (found[0].close_e8, found[0].count) == (0, 0)
    assert (found[-1].open_e8, found[-1].close_e8, found[-1].count) == (done[-1][1],) * 2 + (0,)
    many = query._replace(end_ns=start_ns + 60_000 * MINUTE_NS)
    assert isinstance(analytics(engine, many, engine.time_ns), NoAnswer)


def test_an_average_of_nothing_is_nothing() -> None:
    assert average_e8(5, 0) == 0
    assert (average_e8(5, 2), average_e8(7, 2)) == (2, 4)


def test_a_week_of_minutes_fits_into_a_reply() -> None:
    engine, done = traded(3, MINUTE_NS)
    end_ns = done[-1][0] + 1
    query = Query(NAME, end_ns - 7 * 1_440 * MINUTE_NS, end_ns, 1, with_empty=True)
    found = answered(engine, query)
    assert len(found.intervals) == 7 * 1_440 + 1, "of the first and the last a part"
    assert sum(bar.count for bar in found.intervals) == 3


def test_more_intervals_than_a_reply_holds_are_refused_before_they_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From 1970 to the end of time they are 150 million."""
    engine, _ = traded(3, MINUTE_NS)
    monkeypatch.setattr("server.history.analytics._filled", None)
    query = Query(NAME, 0, 2**63 - 1, 1, with_empty=True)
    refused = analytics(engine, query, engine.time_ns)
    assert isinstance(refused, NoAnswer)
    assert (refused.field, refused.limit) == ("intervals", INTERVALS_MAX)
