"""What is remembered of keys and ended orders, and for how long."""

from __future__ import annotations

import random
from hashlib import blake2b
from typing import Any

import pytest

from server.core import directory
from server.core.commands import (
    CancelOrder,
    CancelOrders,
    Command,
    PlaceOrder,
    SetInstrument,
    SetLimits,
)
from server.core.directory import COMPACT_COUNT
from server.core.dump import dump, load, state_hash
from server.core.engine import Engine
from server.core.instruments import Instrument, Limits
from server.core.orders import Order
from server.core.rejects import Reject, RejectReason
from server.core.types import BUY, E8, INT64_MAX, IOC, LIMIT, OPEN, SELL, Repeat, Stamp
from tests.core.watched import watch

HOUR_NS = 3_600 * 10**9


def new_engine(keys_max: int = 8, closed_orders_max: int = 8) -> Engine:
    """With small bounds."""
    engine = Engine()
    limits = Limits(keys_max=keys_max, closed_orders_max=closed_orders_max, window_ns=HOUR_NS)
    for command in (SetLimits(limits), SetInstrument(Instrument("BTC-USD"))):
        engine.apply(command, Stamp(engine.sequence + 1, 10**9))
    return engine


def apply(engine: Engine, command: Command, later_ns: int = 0) -> Any:
    """Some time after the last command."""
    return engine.apply(command, Stamp(engine.sequence + 1, engine.time_ns + later_ns))


def ended(number: int, **fields: Any) -> PlaceOrder:
    """An order that ends at once."""
    order = PlaceOrder("A", "BTC-USD", BUY, LIMIT, E8, E8, IOC, order_id=f"o{number}")
    return order._replace(**fields)


def test_the_last_orders_are_remembered_and_at_most_some_more() -> None:
    engine = new_engine()
    for number in range(100):
        assert type(apply(engine, ended(number))) is list
        known = [each for each in range(number + 1) if engine.order(f"o{each}") is not None]
        assert known == list(range(number + 1 - len(known), number + 1)), "the newest, gapless"
        assert min(number + 1, 8) <= len(known) <= 8 + 4
        assert engine.counts().orders_closed == len(known)
        assert [order.order_id for order in engine.orders("A", limit=1000)] == [
            f"o{each}" for each in reversed(known)
        ]
        assert engine.counts().orders_open == 0


def test_nothing_within_the_window_is_forgotten_below_the_bound() -> None:
    engine = new_engine()
    for number in range(6):
        apply(engine, ended(number), later_ns=HOUR_NS // 8)
    assert all(engine.order(f"o{number}") for number in range(6))


def test_what_is_older_than_the_window_goes_with_later_endings() -> None:
    engine = new_engine()
    apply(engine, ended(0))
    apply(engine, ended(1), later_ns=2 * HOUR_NS)
    apply(engine, ended(2), later_ns=2 * HOUR_NS)
    assert engine.order("o0") is None
    assert engine.order("o2") is not None


def test_reading_forgets_nothing() -> None:
    engine = new_engine()
    apply(engine, ended(0))
    apply(engine, PlaceOrder("A", "BTC-USD", BUY, LIMIT, E8, E8), later_ns=10 * HOUR_NS)
    assert engine.order("o0") is not None, "only an ending turns the generation"


def test_open_orders_are_never_forgotten() -> None:
    engine = new_engine()
    apply(engine, PlaceOrder("A", "BTC-USD", BUY, LIMIT, E8, E8, order_id="keep"))
    for number in range(50):
        apply(engine, ended(number), later_ns=HOUR_NS)
    order = engine.order("keep")
    assert order is not None
    assert engine.orders("A", limit=1000)[-1] is order
    assert type(apply(engine, CancelOrder("A", "keep"))) is list


def test_a_forgotten_id_can_be_used_again() -> None:
    engine = new_engine()
    for number in range(40):
        apply(engine, ended(number))
    assert apply(engine, ended(39)).reason is RejectReason.ORDER_ID_DUPLICATE
    assert apply(engine, CancelOrder("A", "o1")).reason is RejectReason.ORDER_UNKNOWN
    assert type(apply(engine, ended(0, time_in_force=0))) is list
    order = engine.order("o0")
    assert order is not None
    assert order.placed_sequence == engine.sequence
    assert engine.orders("A", limit=1)[0] is order
    assert engine.orders(limit=1)[0] is order
    assert engine.counts().orders_open == 1


def test_an_id_used_again_before_memory_is_given_back_is_the_new_orders() -> None:
    """A generation of ten is forgotten at once, and given back two by two."""
    engine = new_engine(closed_orders_max=40)
    number = 0
    while number < 10 or engine.order("o9") is not None:
        apply(engine, ended(number))
        number += 1
    assert "o9" in engine.directory.orders, "its memory is yet to be given back"
    assert type(apply(engine, ended(9, time_in_force=0))) is list
    order = engine.order("o9")
    assert order is not None
    for each in range(number, number + 20):
        apply(engine, ended(each))
        assert engine.order("o9") is order
        assert engine.counts().orders_open == 1


def test_forgotten_clients_leave_nothing() -> None:
    engine = new_engine()
    for number in range(200):
        apply(engine, ended(number, client_id=f"c{number}"))
    assert len(engine.directory.clients) < 30
    assert len(engine.directory.accounts) == len(engine.directory.clients)
    assert len(engine.directory.orders) < 30


@pytest.mark.parametrize("count", [60, 100])
def test_nor_do_those_with_many_orders(count: int) -> None:
    """Whose list is compacted while some of its forgotten orders are yet to be given back."""
    engine = new_engine(closed_orders_max=1_000)
    for number in range(10_000):
        apply(engine, ended(number, client_id=f"c{number // count}"))
    remembered = engine.counts().orders_closed
    assert len(engine.directory.clients) <= remembered // count + 10
    assert len(engine.directory.accounts) == len(engine.directory.clients)


@pytest.mark.parametrize("count", [1, 60, 100])
def test_clients_who_traded_leave_their_account_alone(count: int) -> None:
    """Their orders are forgotten like those of others."""
    engine = new_engine()
    for number in range(20):
        for side in (BUY, SELL):
            apply(engine, PlaceOrder(f"c{number}", "BTC-USD", side, LIMIT, E8, E8))
        for _ in range(count):
            apply(engine, ended(0, client_id=f"c{number}", order_id=""))
    clients = engine.directory.clients.values()
    assert len(clients) == 20
    assert sum(len(client.placed) for client in clients) <= 8 + 4 + COMPACT_COUNT


def test_a_position_outlives_all_orders_of_its_client() -> None:
    engine = new_engine()
    for bought in (1, 2):
        for client, side in (("A", BUY), ("B", SELL)):
            apply(engine, PlaceOrder(client, "BTC-USD", side, LIMIT, E8, E8))
        for number in range(20):
            apply(engine, ended(number, client_id="C"))
        assert engine.orders("A") == []
        assert [position.net_e8 for position in engine.positions("A")] == [bought * E8]


def test_orders_that_one_command_ended_are_forgotten_together() -> None:
    engine = new_engine()
    for _ in range(20):
        apply(engine, ended(0, order_id="", time_in_force=0))
    assert len(apply(engine, CancelOrders("A"))) == 20
    assert len(engine.orders("A", limit=100)) == 20
    for number in range(12):
        apply(engine, ended(number))
    assert engine.counts().orders_closed <= 8 + 4


@pytest.mark.parametrize("seed", range(20))
def test_a_client_with_open_orders_is_never_forgotten(seed: int) -> None:
    """[I8] Whatever of his was given back when: an engine made of the state has the same of him."""
    draw = random.Random(seed)
    engine = new_engine(closed_orders_max=draw.choice([40, 400, 1_000]))
    resting: dict[str, list[str]] = {"A": [], "B": []}
    for _ in range(40):
        client, doing = draw.choice("AB"), draw.random()
        for _ in range(draw.randint(1, 260)):
            if doing < 0.75:
                apply(engine, ended(0, client_id=client, order_id="", time_in_force=0))
                resting[client].append(f"x-{engine.sequence}")
            if (doing < 0.5 or doing >= 0.75) and resting[client]:
                last = 0 if doing >= 0.75 else -1
                assert len(apply(engine, CancelOrder("", resting[client].pop(last)))) == 1
        for each, ids in resting.items():
            assert [it.order_id for it in engine.orders(each, status=OPEN, limit=10_000)] == ids[
                ::-1
            ]
    again = load((name, [tuple(row) for row in rows]) for name, rows in dump(engine))
    for each, ids in resting.items():
        cancelled = apply(engine, CancelOrders(each))
        assert [it.order_id for it in cancelled] == ids
        assert apply(again, CancelOrders(each)) == cancelled
    assert state_hash(again) == state_hash(engine)


@pytest.mark.parametrize("resting", [0, 8_000])
def test_no_command_looks_at_all_that_a_client_placed(resting: int) -> None:
    engine = new_engine(closed_orders_max=8_000)
    placed = watch(engine, "A")
    for _ in range(resting):
        apply(engine, ended(0, order_id="", time_in_force=0))
    looked_at = []
    for _ in range(40_000):
        before = placed.read
        apply(engine, ended(0, order_id=""))
        looked_at.append(placed.read - before)
    assert 0 < max(looked_at) <= 4_096
    assert sum(looked_at) <= 4 * len(looked_at)
    assert len(placed) <= 2 * (resting + 10_000) + 4_096, "most are compacted all the same"


@pytest.mark.parametrize("seed", range(10))
def test_a_client_is_shown_what_is_remembered_at_each_step_of_a_compaction(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page and filtered, as taken from a plain list of all that was ever placed."""
    draw = random.Random(seed)
    monkeypatch.setattr(directory, "COMPACT_STEP", draw.choice([8, 40]))
    engine = new_engine(closed_orders_max=draw.choice([40, 200]))
    placed: list[Order] = []
    steps = 0
    for number in range(2_000):
        rests = draw.random() < 0.3
        apply(engine, ended(number, client_id="AB"[number % 2], time_in_force=0 if rests else IOC))
        placed.append(engine.directory.orders[f"o{number}"])
        resting = [order for order in placed[-300:] if not order.closed_sequence]
        if resting and draw.random() < 0.35:
            apply(engine, CancelOrder("", draw.choice(resting).order_id))
        if number % 10:
            continue
        client_id, limit = draw.choice("AB"), draw.randint(1, 50)
        before, status = draw.choice([0, draw.randint(1, engine.sequence)]), draw.choice([0, OPEN])
        oldest = INT64_MAX if status else engine.orders_after_sequence + 1
        known = [
            order
            for order in reversed(placed)
            if order.client_id == client_id
            and (not order.closed_sequence or order.closed_sequence >= oldest)
            and (not before or order.placed_sequence < before)
        ]
        assert engine.orders(client_id, "", 0, status, before, limit) == known[:limit]
        clients = engine.directory.clients.values()
        steps += any(client.compacted >= 0 for client in clients)
        for client in clients:
            assert client.compacted >= 0 or client.compact_at == COMPACT_COUNT, "begins as soon"
    assert steps > 0, "compactions were under way"


def test_keys_of_the_last_commands_are_remembered() -> None:
    engine = new_engine()
    sequences: dict[int, int] = {}
    for number in range(100):
        command = ended(number, order_id="", idempotency_key=f"k{number}")
        assert type(apply(engine, command)) is list
        sequences[number] = engine.sequence
        for recent in range(max(0, number - 7), number + 1):
            again = ended(recent, order_id="", idempotency_key=f"k{recent}")
            assert apply(engine, again) == Repeat(sequences[recent]), "I10"
        assert engine.counts().keys <= 8 + 4
        assert engine.keys_after_sequence < sequences[max(0, number - 7)]


def test_a_forgotten_key_is_new() -> None:
    engine = new_engine()
    for number in range(40):
        apply(engine, ended(number, order_id="", idempotency_key=f"k{number}"))
    assert type(apply(engine, ended(0, order_id="", idempotency_key="k0"))) is list
    assert apply(engine, ended(0, order_id="", idempotency_key="k0")) == Repeat(engine.sequence)


def test_a_key_used_again_before_memory_is_given_back_is_the_new_one() -> None:
    """A generation of ten is forgotten at once, and given back two by two."""
    engine = new_engine(keys_max=40)
    number = 0
    while engine.keys_after_sequence == 0:
        apply(engine, ended(number, order_id="", idempotency_key=f"k{number}"))
        number += 1
    again = ended(0, order_id="", idempotency_key="k8")
    assert type(apply(engine, again)) is list, "forgotten, and its memory is yet to be given back"
    first = engine.sequence
    for each in range(number, number + 10):
        apply(engine, ended(0, order_id="", idempotency_key=f"k{each}"))
        assert apply(engine, again) == Repeat(first), "I10"


def test_a_key_forgotten_twice_before_memory_is_given_back_is_new() -> None:
    engine = new_engine(keys_max=400)
    numbers = [*range(301), 150, *range(301, 650), 150]
    for number in numbers[:300]:
        apply(engine, ended(0, order_id="", idempotency_key=f"k{number}"))
    apply(engine, SetLimits(Limits(keys_max=8, closed_orders_max=8, window_ns=HOUR_NS)))
    for number in numbers[300:]:
        command = ended(0, order_id="", idempotency_key=f"k{number}")
        assert type(apply(engine, command)) is list
    assert engine.keys.generations.surplus == 0, "all is given back"
    assert engine.counts().keys <= 8 + 4


def test_a_key_older_than_the_window_goes_with_later_keys() -> None:
    engine = new_engine()
    for number in range(3):
        apply(engine, ended(number, idempotency_key=f"k{number}"), later_ns=2 * HOUR_NS)
    newest = engine.sequence
    assert apply(engine, ended(2, idempotency_key="k2")) == Repeat(newest)
    assert type(apply(engine, ended(0, idempotency_key="k0"))) is list


def test_a_key_older_than_the_window_goes_though_no_other_comes() -> None:
    """The journal is kept for it: one key would keep all that follows."""
    engine = new_engine()
    apply(engine, ended(0, idempotency_key="k"))
    for number in range(1, 5):
        assert engine.counts().keys == 1
        apply(engine, ended(number), later_ns=HOUR_NS // 4)
    apply(engine, ended(5), later_ns=HOUR_NS)
    assert engine.counts().keys == 0
    again = load((name, [tuple(row) for row in rows]) for name, rows in dump(engine))
    assert state_hash(again) == state_hash(engine)
    assert type(apply(engine, ended(0, order_id="", idempotency_key="k"))) is list


def test_a_repeat_is_given_whatever_has_changed() -> None:
    engine = new_engine()
    command = ended(0, time_in_force=0, idempotency_key="k")
    apply(engine, command)
    first = engine.sequence
    strict = Instrument("BTC-USD", quantity_min_e8=5 * E8)
    assert type(apply(engine, SetInstrument(strict))) is list
    assert apply(engine, command) == Repeat(first), "I10"
    assert apply(engine, command._replace(session_id=99)) == Repeat(first), "another session"
    assert isinstance(apply(engine, command._replace(client_reference="r")), Reject)


def test_smaller_bounds_count_from_the_next_turn() -> None:
    engine = new_engine(closed_orders_max=400)
    for number in range(300):
        apply(engine, ended(number))
    assert engine.counts().orders_closed == 300
    apply(engine, SetLimits(Limits(closed_orders_max=8, window_ns=HOUR_NS)))
    assert engine.counts().orders_closed == 300
    for number in range(300, 320):
        apply(engine, ended(number))
    assert engine.counts().orders_closed <= 12


def test_memory_not_yet_given_back_is_not_state_i8() -> None:
    engine = new_engine(closed_orders_max=400)
    for number in range(450):
        apply(engine, ended(number, client_id=f"c{number % 5}", idempotency_key=f"k{number}"))
    apply(engine, SetLimits(Limits(keys_max=8, closed_orders_max=8, window_ns=HOUR_NS)))
    for number in range(450, 470):
        apply(engine, ended(number))
    assert len(engine.directory.orders) > 100, "not all is given back yet"
    loaded = load(dump(engine))
    assert len(loaded.directory.orders) <= 12
    assert state_hash(loaded) == state_hash(engine)
    for number in range(470, 600):
        command = ended(number % 37, order_id=f"o{number % 37}", idempotency_key=f"k{number % 50}")
        stamp = Stamp(engine.sequence + 1, engine.time_ns + 1)
        assert loaded.apply(command, stamp) == engine.apply(command, stamp)
    assert state_hash(loaded) == state_hash(engine)
    assert loaded.counts()[:4] == engine.counts()[:4]


def test_what_is_forgotten_stays_what_it_was() -> None:
    """At each command: journals of earlier releases lead there too. Whoever changes this raises the
    rules version."""
    engine = new_engine(keys_max=10)
    hashes = blake2b(digest_size=16)
    for number in range(300):
        key = f"k{number}" if number % 3 else ""
        later_ns = HOUR_NS // 16 * (number % 5 if number % 100 >= 50 else 0)
        command = ended(number, idempotency_key=key, time_in_force=0 if number % 7 == 0 else IOC)
        assert type(apply(engine, command, later_ns)) is list
        if number % 20 == 19:
            assert type(apply(engine, CancelOrders("A"))) is list
        hashes.update(state_hash(engine))
    assert hashes.hexdigest() == "7af66bf97987ce9b33531b236d99af65"
