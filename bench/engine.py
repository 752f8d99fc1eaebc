"""The engine alone, beside a bare book on the same operations in the same process.

Both get their operations in batches, made just before each one and outside of the timing, as the
server decodes a message and then applies it. The engine has all its rules on: accounts, fees in
both directions, remembered orders, level changes taken after each batch; its events are handed on.
The bare book keeps all its events.
"""

from __future__ import annotations

import gc
import time
from typing import Final

from bench.bare_book import BareBook
from bench.comparison import Comparison, Side
from bench.figures import Turn
from bench.flow import Row, command, rows
from server.core.book import KEY_MIN
from server.core.commands import SetInstrument
from server.core.engine import Engine
from server.core.instruments import Instrument
from server.core.types import BUY, Stamp

BATCH: Final = 100
OPERATIONS: Final = 200_000
"""Of a turn: a second or two, most of it with the book as deep as it gets."""
INSTRUMENT: Final = Instrument("BTC-USD", maker_fee_e6=-50, taker_fee_e6=200)
STEP_NS: Final = 5_000


def engine_seconds(stream: list[Row]) -> float:
    """CPU seconds that the engine takes."""
    engine = Engine()
    engine.apply(SetInstrument(INSTRUMENT), Stamp(1, 1))
    apply, clock, new = engine.apply, time.process_time, tuple.__new__
    seconds = 0.0
    for start in range(0, len(stream), BATCH):
        commands = [command(row) for row in stream[start : start + BATCH]]
        sequence, time_ns = start + 1, (start + 1) * STEP_NS
        begin = clock()
        for each in commands:
            sequence += 1
            outcome = apply(each, new(Stamp, (sequence, time_ns)))
            assert type(outcome) is list, outcome
        engine.take_touched()
        seconds += clock() - begin
    return seconds


def bare_seconds(stream: list[Row]) -> float:
    """CPU seconds that the bare book takes."""
    book = BareBook()
    place, cancel, clock = book.place, book.cancel, time.process_time
    seconds = 0.0
    for start in range(0, len(stream), BATCH):
        operations = [_bare_operation(row) for row in stream[start : start + BATCH]]
        begin = clock()
        for name, side, price, quantity, lowest_key, rests in operations:
            if quantity:
                place(name, side, price, quantity, lowest_key, rests)
            else:
                cancel(name)
        seconds += clock() - begin
    return seconds


def _bare_operation(row: Row) -> tuple[int, int, int, int, int, bool]:
    operation, side, price, quantity, name = row
    if operation == "cancel":
        return int(name), side, price, 0, 0, False
    lowest_key = KEY_MIN if operation == "market" else -price if side == BUY else price
    return int(name), side, price, quantity, lowest_key, operation == "limit"


def compared(turns: int, operations: int = OPERATIONS) -> Comparison:
    """As one workload among others: both take turns, timed by the CPU."""
    stream = rows(operations)
    engine, bare = Side(), Side()
    for _ in range(turns):
        for side, seconds_of in ((bare, bare_seconds), (engine, engine_seconds)):
            seconds = seconds_of(stream)
            gc.collect()
            side.turns.append(Turn(len(stream), seconds, [], len(stream)))
            side.cpu_s["process"] = side.cpu_s.get("process", 0.0) + seconds
    return Comparison(
        workload="engine",
        what=f"the engine alone, all rules on, in batches of {BATCH}; the first {len(stream):,} "
        "operations of tests/data/flow",
        baseline_what="a bare book that keeps all its events, in the same process",
        exchange=engine,
        baseline=bare,
        ratio_goal=0.35,
    )
