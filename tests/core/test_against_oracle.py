"""The engine beside a plain exchange: the same events, depth and positions, for any commands."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from server.core import judge
from server.core.commands import (
    CancelOrder,
    CancelOrders,
    Command,
    PlaceOrder,
    ReplaceOrder,
    SetInstrument,
)
from server.core.dump import dump, load, state_hash
from server.core.engine import Engine
from server.core.events import (
    Event,
    OrderAccepted,
    OrderCancelled,
    OrderReduced,
    OrderRejected,
    OrderReplaced,
    Traded,
)
from server.core.instruments import Instrument
from server.core.rejects import Reject
from server.core.types import BUY, LIMIT, SELL, Repeat, Stamp
from tests.core.invariants import check_events, check_state
from tests.core.strategies import CLIENTS, INSTRUMENTS, seeded_stream, streams
from tests.oracle import PlainExchange, PlainOrder, Said

TIMES = {1: "gtc", 2: "ioc", 3: "fok"}
MODES = {1: "none", 2: "newest", 3: "oldest", 4: "both", 5: "decrement"}
WORDS = {
    OrderAccepted: "accepted",
    OrderReplaced: "replaced",
    OrderReduced: "reduced",
    OrderCancelled: "cancelled",
    OrderRejected: "rejected",
}
DEFAULT_MODES = {"BTC-USD": 1, "ETH-USD": 3}


def said(event: Event) -> Said:
    """An engine's event in the oracle's words."""
    if isinstance(event, Traded):
        maker, taker = event.maker_order_id, event.taker_order_id
        return ("trade", maker, taker, event.price_e8, event.quantity_e8)
    assert not hasattr(event, "limits")
    word = WORDS[type(event)]  # type: ignore[index]
    order_id = event.order_id  # type: ignore[union-attr]
    if word in ("accepted", "replaced"):
        return (word, order_id)
    return (word, order_id, event.change_e8)  # type: ignore[union-attr]


def by_oracle(plain: PlainExchange, used: set[str], command: Command) -> list[Said] | None:
    """What the oracle says; None if it refuses."""
    if isinstance(command, PlaceOrder):
        if command.order_id in used:
            return None
        used.add(command.order_id)
        limit = command.order_type == LIMIT
        order = PlainOrder(
            command.order_id,
            command.client_id,
            command.instrument,
            1 if command.side == BUY else -1,
            command.price_e8 if limit else None,
            command.quantity_e8,
            TIMES[command.time_in_force or (1 if limit else 2)],
            command.post_only,
            MODES[command.self_trade_prevention or DEFAULT_MODES[command.instrument]],
        )
        return plain.place(order)
    if isinstance(command, CancelOrders):
        side = {0: 0, BUY: 1, SELL: -1}[command.side]
        mine = [
            order
            for order in plain.resting
            if order.client == command.client_id
            and command.instrument in ("", order.instrument)
            and side in (0, order.side)
        ]
        mine.sort(key=lambda order: int(order.id[1:]))
        return [plain.end(order, "cancelled") for order in mine]
    assert isinstance(command, CancelOrder | ReplaceOrder)
    found = plain.find(command.order_id)
    if found is None or command.client_id not in ("", found.client):
        return None
    if isinstance(command, CancelOrder):
        return [plain.end(found, "cancelled")]
    price = found.price if command.price_e8 is None else command.price_e8
    total = found.total if command.quantity_e8 is None else command.quantity_e8
    assert price is not None
    return plain.replace(found, price, total)


def new_engine() -> Engine:
    """With two instruments of different fees and self-trade prevention."""
    engine = Engine()
    for name, mode in DEFAULT_MODES.items():
        definition = Instrument(
            name, maker_fee_e6=-37, taker_fee_e6=211, self_trade_prevention=mode
        )
        sequence = engine.sequence + 1
        assert type(engine.apply(SetInstrument(definition), Stamp(sequence, sequence))) is list
    return engine


def drive(commands: list[Command], reload_every: int = 0) -> Engine:
    """Both through the same commands, compared after each."""
    engine, plain, used = new_engine(), PlainExchange(), set[str]()
    for number, command in enumerate(commands):
        before = state_hash(engine) if len(commands) < 100 else b""
        judged = judge.place(engine, command, 0) if type(command) is PlaceOrder else None
        sequence = engine.sequence + 1
        outcome = engine.apply(command, Stamp(sequence, sequence * 10**9))
        if type(command) is PlaceOrder:
            assert (outcome if isinstance(outcome, Reject) else None) == judged
        expected = by_oracle(plain, used, command)
        assert not isinstance(outcome, Repeat)
        if isinstance(outcome, Reject):
            assert expected is None, f"I5: refused {outcome}, not {expected}"
            assert not before or state_hash(engine) == before, "a refusal leaves no trace"
            continue
        assert [said(event) for event in outcome] == expected, f"I5: {command}"
        check_events(outcome)
        if len(commands) < 100 or number % 50 == 0:
            check_state(engine)
            compare(engine, plain)
        if reload_every and number % reload_every == 0:
            engine = load(dump(engine))
    compare(engine, plain)
    check_state(engine)
    return engine


def compare(engine: Engine, plain: PlainExchange) -> None:
    """Depth and positions."""
    for name in INSTRUMENTS:
        for side, sign in ((BUY, 1), (SELL, -1)):
            levels: dict[int, int] = {}
            for order in plain.resting:
                if (order.instrument, order.side) == (name, sign):
                    assert order.price is not None
                    levels[order.price] = levels.get(order.price, 0) + order.left
            depth = sorted(levels.items(), key=lambda level: -sign * level[0])
            assert engine.book(name).depth(side, 1000) == depth
    for client in CLIENTS:
        positions = {each.instrument: each for each in engine.positions(client)}
        for name in INSTRUMENTS:
            account = plain.accounts.get((client, name))
            assert (account is None) == (name not in positions)
            if account is not None:
                seen = positions[name]
                expected = (account.net, account.cost, account.realised)
                assert (seen.net_e8, seen.cost_e16, seen.realised_e16) == expected, "I6"


@given(streams())
@settings(max_examples=250)
def test_any_commands(commands: list[Command]) -> None:
    drive(commands)


@given(streams())
@settings(max_examples=50)
def test_any_commands_with_reloads(commands: list[Command]) -> None:
    assert state_hash(drive(commands, reload_every=3)) == state_hash(drive(commands)), "I8"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_long_streams(seed: int) -> None:
    commands = seeded_stream(seed, 3_000)
    engine = drive(commands, reload_every=700)
    assert state_hash(engine) == state_hash(drive(commands)), "I8"
    assert engine.counts().orders_closed > 1_000
