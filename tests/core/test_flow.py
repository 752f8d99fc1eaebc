"""The agreed order stream: exactly the trades that independent engines give, and sound money."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from server.core.commands import CancelOrder, Command, PlaceOrder, SetInstrument
from server.core.dump import dump, load, state_hash
from server.core.engine import Engine
from server.core.events import Traded
from server.core.instruments import Instrument
from server.core.types import BUY, E8, GTC, IOC, LIMIT, MARKET, SELL, Stamp
from tests.core.invariants import check_state

DATA = Path(__file__).parent.parent / "data" / "flow"
INSTRUMENT = Instrument("BTC-USD", maker_fee_e6=-50, taker_fee_e6=200)


class Totals(NamedTuple):
    """As `tests/data/flow/README.md` has them."""

    trades: int
    quantity: int
    notional: int
    hash: int
    best_bid: int
    best_ask: int
    orders_open: int


EXPECTED = {
    1_000: Totals(317, 3_921, 196_049_758, 3842150464, 49999, 50001, 665),
    10_000: Totals(3_240, 39_188, 1_959_401_421, 47329245, 49999, 50013, 5_008),
    100_000: Totals(32_722, 394_517, 19_725_954_247, 3912354922, 49984, 50016, 5_000),
    200_000: Totals(65_034, 783_208, 39_160_553_304, 2389064534, 50009, 50016, 5_007),
    1_000_000: Totals(325_137, 3_916_958, 195_847_823_911, 2917736355, 49994, 50014, 5_027),
}
QUICK = [count for count in EXPECTED if count <= 200_000]


def commands() -> Iterator[Command]:
    """The stream; its orders are dealt to ten clients."""
    with gzip.open(DATA / "orders.csv.gz", "rt", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        for operation, side, price, quantity, order_id in reader:
            client_id = f"client-{int(order_id) % 10}"
            if operation == "cancel":
                yield CancelOrder(client_id, order_id)
                continue
            market = operation == "market"
            yield PlaceOrder(
                client_id,
                "BTC-USD",
                BUY if side == "buy" else SELL,
                MARKET if market else LIMIT,
                int(quantity) * E8,
                0 if market else int(price) * E8,
                GTC if operation == "limit" else IOC,
                order_id=order_id,
            )


class Replay:
    """The stream through an engine, with what is to be known at each length."""

    def __init__(self, last: int = max(QUICK), reload_at: tuple[int, ...] = ()) -> None:
        self.engine = Engine()
        self.trades: list[tuple[int, int, int, int]] = []
        self.totals: dict[int, Totals] = {}
        self.hashes: dict[int, bytes] = {}
        self._apply(SetInstrument(INSTRUMENT))
        value = trades = quantity_sum = notional = 0
        for count, command in enumerate(commands(), start=1):
            self._apply(command)
            if count not in EXPECTED:
                continue
            for trade in self.trades[trades:]:
                quantity_sum += trade[3]
                notional += trade[2] * trade[3]
                for number in trade:
                    value = (value * 31 + number) % 2**32
            trades = len(self.trades)
            book = self.engine.book("BTC-USD")
            bests = book.best_bid // E8, book.best_ask // E8
            open_count = self.engine.counts().orders_open
            self.totals[count] = Totals(trades, quantity_sum, notional, value, *bests, open_count)
            self.hashes[count] = state_hash(self.engine)
            check_state(self.engine)
            if count in reload_at:
                self.engine = load(dump(self.engine))
            if count == last:
                break

    def _apply(self, command: Command) -> None:
        sequence = self.engine.sequence + 1
        outcome = self.engine.apply(command, Stamp(sequence, sequence * 5_000))
        assert type(outcome) is list, f"I5: {command}: {outcome}"
        for event in outcome:
            if type(event) is Traded:
                maker, taker = int(event.maker_order_id), int(event.taker_order_id)
                self.trades.append((maker, taker, event.price_e8 // E8, event.quantity_e8 // E8))
        self.engine.take_touched()


@cache
def replay() -> Replay:
    """One for all tests."""
    return Replay()


@pytest.mark.parametrize("count", QUICK)
def test_totals_i3_i4_i5_i6(count: int) -> None:
    assert replay().totals[count] == EXPECTED[count]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_totals_of_the_whole_stream_i3_i4_i5_i6() -> None:
    assert Replay(last=max(EXPECTED)).totals == EXPECTED


def test_first_trades_one_by_one_i5() -> None:
    with gzip.open(DATA / "trades_first_100000.csv.gz", "rt", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        expected = [tuple(map(int, row)) for row in reader]
    assert len(expected) == EXPECTED[100_000].trades
    assert replay().trades[: len(expected)] == expected


def test_a_reloaded_engine_goes_on_alike_i8() -> None:
    reloaded = Replay(last=100_000, reload_at=(1_000, 10_000))
    assert reloaded.trades == replay().trades[: len(reloaded.trades)]
    assert reloaded.hashes.items() <= replay().hashes.items()
