"""Dump, load and hash: the same state wherever and however it came about."""

from __future__ import annotations

import os
import subprocess
import sys
from bisect import insort
from pathlib import Path
from typing import Any

import msgpack
import pytest

from server.core import book
from server.core.commands import (
    Command,
    EndSession,
    OpenSession,
    PlaceOrder,
    SetInstrument,
    SetLimits,
)
from server.core.dump import ROWS_MAX, dump, load, state_hash
from server.core.engine import Engine
from server.core.instruments import Instrument, Limits
from server.core.types import BUY, E8, LIMIT, SELL, Stamp
from tests.core.invariants import check_state
from tests.core.strategies import INSTRUMENTS, seeded_stream

ROOT = Path(__file__).parent.parent.parent


def full_engine(seed: int = 7, count: int = 600) -> Engine:
    """With something in every section."""
    engine = Engine()
    commands: list[Command] = [
        SetLimits(Limits(keys_max=40, closed_orders_max=60), Limits()),
        *(
            SetInstrument(Instrument(name, taker_fee_e6=3), Instrument(name))
            for name in INSTRUMENTS
        ),
        OpenSession("A"),
        OpenSession(""),
    ]
    for number, command in enumerate(seeded_stream(seed, count)):
        if type(command) is PlaceOrder:
            session_id = 5 if number % 7 == 0 else 0
            key = f"k{number % 97}" if number % 3 == 0 else ""
            command = command._replace(
                idempotency_key=key, session_id=session_id, client_reference=f"r{number}"
            )
        commands.append(command)
    for command in commands:
        engine.apply(command, Stamp(engine.sequence + 1, engine.time_ns + 10**9))
    return engine


def test_every_section_is_there() -> None:
    names = [name for name, _ in dump(full_engine())]
    assert names == [
        "engine",
        "fees",
        "instruments",
        "configured",
        "trades",
        "bars",
        "accounts",
        "sessions",
        "orders",
        "queues",
        "generations",
        "keys",
    ]


def test_load_gives_the_same_state() -> None:
    engine = full_engine()
    loaded = load(dump(engine))
    assert list(dump(loaded)) == list(dump(engine))
    assert state_hash(loaded) == state_hash(engine)
    assert loaded.counts()[:4] == engine.counts()[:4]
    for client_id in ("A", "B", "C"):
        assert loaded.positions(client_id) == engine.positions(client_id)
        events = [engine.order_event(order) for order in engine.orders(client_id)]
        assert [loaded.order_event(order) for order in loaded.orders(client_id)] == events
    assert loaded.take_touched() == {}


def test_a_deep_book_is_loaded_without_a_move_of_its_levels_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine()
    engine.apply(SetInstrument(Instrument("BTC-USD")), Stamp(1, 1))
    for number in range(ROWS_MAX + 5):
        for side, price_e8 in ((BUY, 10**6 - number), (SELL, 2 * 10**6 + number)):
            order = PlaceOrder("A", "BTC-USD", side, LIMIT, 1, price_e8)
            engine.apply(order, Stamp(engine.sequence + 1, 1))
    placed_into = 0

    def counted(keys: list[int], key: int) -> None:
        nonlocal placed_into
        placed_into += 1
        insort(keys, key)

    monkeypatch.setattr(book, "insort", counted)
    loaded = load(dump(engine))
    assert placed_into == 0
    check_state(loaded)
    assert list(dump(loaded)) == list(dump(engine))


def test_plain_formats_can_carry_it() -> None:
    engine = full_engine()

    def beyond_64_bits(value: Any) -> Any:
        assert isinstance(value, int)
        return msgpack.ExtType(1, str(value).encode())

    def back(_code: int, data: bytes) -> int:
        return int(data)

    packed = [msgpack.packb(chunk, default=beyond_64_bits) for chunk in dump(engine)]
    loaded = load(msgpack.unpackb(chunk, ext_hook=back) for chunk in packed)
    assert state_hash(loaded) == state_hash(engine)


def test_loaded_engines_go_on_alike() -> None:
    engine = full_engine()
    loaded = load(dump(engine))
    for number, command in enumerate(seeded_stream(8, 400)):
        if type(command) is PlaceOrder:
            command = command._replace(
                order_id=f"p{number % 130}", idempotency_key=f"k{number % 60}"
            )
        stamp = Stamp(engine.sequence + 1, engine.time_ns + 10**9)
        assert loaded.apply(command, stamp) == engine.apply(command, stamp)
    assert loaded.sequence > 500
    assert state_hash(loaded) == state_hash(engine)
    assert loaded.take_touched().keys() == engine.take_touched().keys()


def test_chunks_are_bounded() -> None:
    engine = Engine()
    engine.apply(SetInstrument(Instrument("BTC-USD")), Stamp(1, 1))
    for number in range(ROWS_MAX + 5):
        order = PlaceOrder("A", "BTC-USD", BUY, LIMIT, 1, 1 + number % 50)
        engine.apply(order, Stamp(engine.sequence + 1, 1))
    sizes = [len(rows) for name, rows in dump(engine) if name == "orders"]
    assert sizes == [ROWS_MAX, 5]
    assert state_hash(load(dump(engine))) == state_hash(engine)


def test_any_difference_changes_the_hash() -> None:
    seen = set()
    engine = Engine()
    for command in (
        SetInstrument(Instrument("BTC-USD")),
        SetInstrument(Instrument("BTC-USD")),
        SetInstrument(Instrument("BTC-USD"), Instrument("BTC-USD")),
        SetLimits(Limits(), Limits()),
        OpenSession("A"),
        PlaceOrder("A", "BTC-USD", BUY, LIMIT, E8, E8),
        PlaceOrder("A", "BTC-USD", BUY, LIMIT, E8, E8, idempotency_key="k"),
        PlaceOrder("B", "BTC-USD", SELL, LIMIT, E8, E8),
        EndSession(5),
    ):
        outcome = engine.apply(command, Stamp(engine.sequence + 1, 5))
        assert type(outcome) is list
        seen.add(state_hash(engine))
    assert len(seen) == 9


def test_hash_does_not_depend_on_string_hashing_i8() -> None:
    program = (
        "from tests.core.test_dump import full_engine, state_hash;"
        "print(state_hash(full_engine()).hex())"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1", "4294967295")
    }
    assert hashes == {state_hash(full_engine()).hex()}
