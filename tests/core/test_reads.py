"""What can be read of the engine."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from server.core.commands import (
    CancelOrder,
    CancelOrders,
    Command,
    EndSession,
    OpenSession,
    PlaceOrder,
    ReplaceOrder,
    SetInstrument,
)
from server.core.engine import Engine
from server.core.events import OrderAccepted, OrderCancelled, OrderEvent, SessionEnded, Traded
from server.core.instruments import Instrument
from server.core.market import TRADES_KEPT, WINDOW_MINUTES, summed
from server.core.types import BUY, E8, IOC, LIMIT, SELL, EndReason, OrderStatus, Stamp
from tests.core.watched import watch

MINUTE_NS = 60 * 10**9


def apply(engine: Engine, command: Command, time_ns: int = 0) -> Any:
    """Under the next stamp."""
    return engine.apply(command, Stamp(engine.sequence + 1, max(time_ns, engine.time_ns)))


def order(client_id: str, side: int, quantity: int, price: int, **fields: Any) -> PlaceOrder:
    """Whole units."""
    made = PlaceOrder(client_id, "BTC-USD", side, LIMIT, quantity * E8, price * E8)
    return made._replace(**fields)


@pytest.fixture
def engine() -> Engine:
    """With two instruments."""
    engine = Engine()
    for name in ("BTC-USD", "ETH-USD"):
        apply(engine, SetInstrument(Instrument(name), Instrument(name)), 10**9)
    return engine


def test_orders_are_paged_newest_first(engine: Engine) -> None:
    for number in range(10):
        side = SELL if number % 3 == 0 else BUY
        price = 100 + number if side == SELL else 50
        placed = order("AB"[number % 2], side, 1, price, order_id=f"o{number}")
        apply(engine, placed)
    apply(engine, CancelOrder("", "o8"))
    apply(engine, ReplaceOrder("", "o0", 120 * E8))

    def ids(**filters: Any) -> list[str]:
        return [found.order_id for found in engine.orders(**filters)]

    assert ids() == [f"o{number}" for number in reversed(range(10))]
    assert ids(client_id="A") == ["o8", "o6", "o4", "o2", "o0"]
    assert ids(client_id="A", side=BUY) == ["o8", "o4", "o2"]
    assert ids(status=OrderStatus.CANCELLED) == ["o8"]
    assert ids(instrument="ETH-USD") == []
    assert ids(client_id="nobody") == []
    for client_id in ("", "B"):
        pages, token = [], 0
        while page := engine.orders(client_id, before_sequence=token, limit=3):
            pages += [found.order_id for found in page]
            token = page[-1].placed_sequence
        assert pages == ids(client_id=client_id)


@pytest.mark.parametrize(
    "wanted",
    [{"working": True}, {"status": OrderStatus.OPEN}, {"status": OrderStatus.PARTIALLY_FILLED}],
)
def test_open_orders_are_found_without_a_walk_over_those_that_ended(
    engine: Engine, wanted: dict[str, Any]
) -> None:
    placed = watch(engine, "A")
    apply(engine, order("A", BUY, 5, 90, order_id="first"))
    apply(engine, order("A", BUY, 5, 80, order_id="second"))
    apply(engine, order("A", BUY, 5, 80, order_id="third"))
    for _ in range(1_000):
        apply(engine, order("A", BUY, 1, 50, time_in_force=IOC))
    if wanted.get("status") == OrderStatus.PARTIALLY_FILLED:
        apply(engine, order("B", SELL, 6, 90))
        apply(engine, order("B", SELL, 9, 80))
        apply(engine, CancelOrders("B"))
        expected = ["third"]
    else:
        # Where they rest in the book is another matter than when they were placed.
        apply(engine, ReplaceOrder("A", "first", 80 * E8, 7 * E8))
        apply(engine, ReplaceOrder("A", "second", None, 3 * E8))
        expected = ["third", "second", "first"]
    placed.read = 0
    found = engine.orders("A", **wanted)
    assert [each.order_id for each in found] == expected
    assert placed.read == 0
    before = found[0].placed_sequence
    assert engine.orders("A", **wanted, before_sequence=before) == found[1:]
    assert placed.read <= 20, "it was looked for, not walked to"


def test_an_order_is_shown_as_in_its_events(engine: Engine) -> None:
    first = apply(engine, order("A", BUY, 5, 100, client_reference="r"), 7 * 10**9)[0]
    assert type(first) is OrderAccepted
    found = engine.order(first.order_id)
    assert found is not None
    assert engine.order_event(found) == OrderEvent(*first)
    assert first.order_id == f"x-{first.placed_sequence}"
    assert found.updated_ns == 7 * 10**9
    apply(engine, order("B", SELL, 2, 100), 8 * 10**9)
    assert found.updated_ns == 8 * 10**9
    assert engine.order_event(found).status == OrderStatus.PARTIALLY_FILLED
    last = apply(engine, CancelOrder("A", first.order_id), 9 * 10**9)[0]
    assert type(last) is OrderCancelled
    assert (last.change_e8, last.cancelled_e8, last.filled_e8) == (3 * E8, 3 * E8, 2 * E8)
    shown = engine.order_event(found)
    assert shown == OrderEvent(*last)._replace(change_e8=0)
    assert shown.reason == EndReason.CANCEL_REQUESTED
    assert found.updated_ns == 9 * 10**9


def test_a_position_tells_when_it_was_last_filled(engine: Engine) -> None:
    """Whether the fill opened, added, closed or crossed zero; and nothing else counts."""
    for seconds, (side, quantity) in enumerate(((BUY, 2), (BUY, 1), (SELL, 2), (SELL, 5)), 2):
        apply(engine, order("A", side, quantity, 100), seconds * 10**9)
        apply(engine, order("B", BUY + SELL - side, quantity, 100), seconds * 10**9)
        apply(engine, order("A", side, 1, 50 if side == BUY else 150), seconds * 10**9 + 1)
        for client_id in ("A", "B"):
            (position,) = engine.positions(client_id)
            assert position.updated_ns == seconds * 10**9


def test_book_depth_and_bests(engine: Engine) -> None:
    book = engine.book("BTC-USD")
    assert (book.best_bid, book.best_ask, book.depth(BUY, 5)) == (0, 0, [])
    for price in (99, 98, 97, 98):
        apply(engine, order("A", BUY, 1, price))
    apply(engine, order("B", SELL, 4, 101))
    assert (book.best_bid, book.best_ask) == (99 * E8, 101 * E8)
    assert book.depth(BUY, 2) == [(99 * E8, E8), (98 * E8, 2 * E8)]
    assert book.depth(SELL, 20) == [(101 * E8, 4 * E8)]
    assert book.quantity(BUY, 98 * E8) == 2 * E8
    assert book.quantity(SELL, 98 * E8) == 0
    assert (book.level_count(BUY), book.level_count(SELL)) == (3, 1)


def test_touched_levels_are_told_once_with_their_quantity_now(engine: Engine) -> None:
    apply(engine, order("A", BUY, 1, 100, order_id="a"))
    apply(engine, order("A", BUY, 2, 99, order_id="b"))
    apply(engine, order("A", SELL, 3, 101, instrument="ETH-USD"))
    assert engine.take_touched() == {
        "BTC-USD": [(BUY, 100 * E8, E8), (BUY, 99 * E8, 2 * E8)],
        "ETH-USD": [(SELL, 101 * E8, 3 * E8)],
    }
    assert engine.take_touched() == {}
    apply(engine, order("B", SELL, 2, 99))
    assert engine.take_touched() == {"BTC-USD": [(BUY, 100 * E8, 0), (BUY, 99 * E8, E8)]}
    apply(engine, order("B", SELL, 2, 200, time_in_force=IOC))
    assert engine.take_touched().get("BTC-USD", []) == []
    apply(engine, ReplaceOrder("A", "b", 98 * E8))
    assert engine.take_touched() == {"BTC-USD": [(BUY, 99 * E8, 0), (BUY, 98 * E8, E8)]}
    apply(engine, ReplaceOrder("A", "b", None, 2 * E8))
    apply(engine, CancelOrders("A"))
    assert engine.take_touched() == {
        "BTC-USD": [(BUY, 98 * E8, 0)],
        "ETH-USD": [(SELL, 101 * E8, 0)],
    }


def test_a_reduced_level_is_touched(engine: Engine) -> None:
    apply(engine, order("A", BUY, 5, 100, order_id="a"))
    engine.take_touched()
    apply(engine, ReplaceOrder("A", "a", None, 3 * E8))
    assert engine.take_touched() == {"BTC-USD": [(BUY, 100 * E8, 3 * E8)]}
    apply(engine, order("A", SELL, 1, 100, self_trade_prevention=5))
    assert engine.take_touched() == {"BTC-USD": [(BUY, 100 * E8, 2 * E8)]}
    apply(engine, ReplaceOrder("A", "a"))
    apply(engine, ReplaceOrder("A", "a", 100 * E8))
    assert engine.take_touched().get("BTC-USD", []) == []


def test_trades_are_paged_newest_first(engine: Engine) -> None:
    for price in (100, 101, 102):
        apply(engine, order("A", SELL, 1, price))
    apply(engine, order("B", BUY, 3, 102), 5 * 10**9)
    apply(engine, order("A", SELL, 1, 103))
    apply(engine, order("B", BUY, 1, 103), 6 * 10**9)
    trades = engine.markets["BTC-USD"].newest_trades(10, None)
    where = [(sequence, index, time_ns) for sequence, index, time_ns, _ in trades]
    assert where == [
        (8, 1, 6 * 10**9),
        (6, 3, 5 * 10**9),
        (6, 2, 5 * 10**9),
        (6, 1, 5 * 10**9),
    ]
    assert [trade.price_e8 // E8 for *_, trade in trades] == [103, 102, 101, 100]
    assert engine.markets["BTC-USD"].newest_trades(2, None) == trades[:2]
    assert engine.markets["BTC-USD"].newest_trades(2, (6, 3)) == trades[2:]
    assert engine.markets["ETH-USD"].newest_trades(2, None) == []


def test_the_newest_trades_are_kept(engine: Engine) -> None:
    for _ in range(TRADES_KEPT + 10):
        apply(engine, order("A", SELL, 1, 100))
        apply(engine, order("B", BUY, 1, 100))
    trades = engine.markets["BTC-USD"].newest_trades(10**6, None)
    assert len(trades) == TRADES_KEPT
    assert trades[0][0] == engine.sequence


def test_ticker_covers_24_hours(engine: Engine) -> None:
    empty = engine.ticker("BTC-USD")
    assert set(empty) == {0}
    start_ns = 1_000 * MINUTE_NS
    for minute, price in ((0, 100), (0, 90), (10, 120), (WINDOW_MINUTES + 5, 110)):
        time_ns = start_ns + minute * MINUTE_NS
        apply(engine, order("A", SELL, 2, price), time_ns)
        apply(engine, order("B", BUY, 2, price), time_ns)
        if minute == 10:
            ticker = engine.ticker("BTC-USD")
            prices = (ticker.open_e8, ticker.high_e8, ticker.low_e8, ticker.close_e8)
            assert prices == (100 * E8, 120 * E8, 90 * E8, 120 * E8)
            assert ticker.volume_e8 == 6 * E8
            assert ticker.notional_e16 == (100 + 90 + 120) * 2 * E8 * E8
            assert ticker.trade_count == 3
    ticker = engine.ticker("BTC-USD")
    prices = (ticker.open_e8, ticker.high_e8, ticker.low_e8, ticker.close_e8)
    assert prices == (120 * E8, 120 * E8, 110 * E8, 110 * E8)
    later = engine.ticker("BTC-USD", engine.time_ns + 2 * WINDOW_MINUTES * MINUTE_NS)
    assert (later.last_price_e8, later.trade_count) == (110 * E8, 0)


def test_a_ticker_is_the_sum_of_its_bars(engine: Engine) -> None:
    """Also where most of that sum was made before."""
    draw = random.Random(4)
    steps = (0, 1, MINUTE_NS // 3, MINUTE_NS, 100 * MINUTE_NS, (WINDOW_MINUTES - 1) * MINUTE_NS)
    market, found = engine.markets["BTC-USD"], [engine.ticker("BTC-USD")]
    for _ in range(2_000):
        time_ns = engine.time_ns + draw.choices(steps, (40, 20, 20, 15, 4, 1))[0]
        side = draw.choice((BUY, SELL))
        apply(engine, order("c", side, draw.randint(1, 9), draw.randint(90, 110)), time_ns)
        found.append(engine.ticker("BTC-USD"))
        after = time_ns // MINUTE_NS - WINDOW_MINUTES
        bars = [bar for bar in market.bars if bar.minute > after]
        assert found[-1] == summed(bars, market.last_price_e8)
    assert any(later.trade_count < earlier.trade_count for earlier, later in pairwise(found))


def test_ticker_of_a_sweep(engine: Engine) -> None:
    for price in (100, 103, 101):
        apply(engine, order("A", SELL, 1, price))
    apply(engine, order("B", BUY, 3, 110))
    ticker = engine.ticker("BTC-USD")
    assert ticker[:5] == (103 * E8, 100 * E8, 103 * E8, 100 * E8, 103 * E8)


def test_a_sweep_opens_with_its_first_trade(engine: Engine) -> None:
    apply(engine, order("A", SELL, 1, 90))
    apply(engine, order("B", SELL, 1, 95))
    apply(engine, order("A", BUY, 2, 95, self_trade_prevention=3))
    assert engine.ticker("BTC-USD")[:5] == (95 * E8,) * 5


def test_sessions_end_what_was_placed_in_them(engine: Engine) -> None:
    opened = apply(engine, OpenSession("A"))[0]
    session_id = opened.session_id
    assert session_id == engine.sequence
    apply(engine, order("A", BUY, 1, 100, order_id="in", session_id=session_id))
    apply(engine, order("A", BUY, 1, 100, order_id="out"))
    apply(engine, order("A", BUY, 1, 99, order_id="in2", session_id=session_id))
    apply(engine, order("A", BUY, 1, 98, order_id="gone", session_id=session_id))
    apply(engine, CancelOrder("A", "gone"))
    apply(engine, order("B", SELL, 1, 100))
    assert engine.open_sessions() == [session_id]
    events = apply(engine, EndSession(session_id))
    assert [type(event) for event in events] == [OrderCancelled, SessionEnded]
    assert (events[0].order_id, events[0].reason) == ("in2", EndReason.SESSION_ENDED)
    assert engine.open_sessions() == []
    assert [found.order_id for found in engine.orders(status=OrderStatus.OPEN)] == ["out"]


def test_counts(engine: Engine) -> None:
    apply(engine, OpenSession())
    apply(engine, order("A", BUY, 1, 100, idempotency_key="k"))
    apply(engine, order("B", SELL, 1, 100))
    apply(engine, order("B", SELL, 1, 100))
    counts = engine.counts()
    assert (counts.orders_open, counts.orders_closed, counts.keys) == (1, 2, 1)
    assert counts.sessions == 1
    assert list(engine.instruments) == ["BTC-USD", "ETH-USD"]
    assert engine.configured_instruments["ETH-USD"] == Instrument("ETH-USD")


def test_what_an_admin_sets_is_not_what_the_file_said(engine: Engine) -> None:
    mine = Instrument("BTC-USD", taker_fee_e6=5)
    assert apply(engine, SetInstrument(mine))[0].definition == mine
    assert engine.instruments["BTC-USD"] == mine
    assert engine.configured_instruments["BTC-USD"] == Instrument("BTC-USD")


def test_trades_name_both_sides(engine: Engine) -> None:
    apply(engine, order("A", SELL, 3, 100, order_id="a", client_reference="ra"))
    trade = apply(engine, order("B", BUY, 2, 101, order_id="b", client_reference="rb"))[1]
    assert trade == Traded(
        "BTC-USD", 100 * E8, 2 * E8, BUY,
        "a", "A", "ra", 3, 2 * E8, E8, 0,
        "b", "B", "rb", 4, 2 * E8, 0, 0,
    )  # fmt: skip


def test_a_market_keeps_a_bar_for_each_minute_of_a_day_and_no_more(engine: Engine) -> None:
    for minute in range(WINDOW_MINUTES + 60):
        apply(engine, order("A", SELL, 1, 100), (minute + 1) * MINUTE_NS)
        apply(engine, order("B", BUY, 1, 100))
    bars = engine.markets["BTC-USD"].bars
    assert len(bars) == WINDOW_MINUTES
    assert bars[-1].minute - bars[0].minute == WINDOW_MINUTES - 1
