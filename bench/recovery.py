"""How long a start takes, and how much memory orders take: no baseline, only goals.

- *replay*: the agreed order stream in records of `RECORD_COMMANDS`, recovered without a snapshot.
- *snapshot*: so many open orders with ids of their clients on `LEVELS` levels a side, without keys;
  written, then recovered. The file is read, checked, and its state hashed, as at each start. Then
  a server that holds them is watched while its follower writes another (`snapshot_hold.py`).
- *memory*: what the process grows by while an engine takes the same orders, for each of them; then
  the same with a key each, and after all of them were cancelled.

Each step is a process of its own, so that none profits from what another left in memory.
"""

import gc
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import psutil

from bench import snapshot_hold
from bench.comparison import judged
from bench.flow import command, rows
from server.core.commands import CancelOrders, Command, PlaceOrder, SetInstrument, SetLimits
from server.core.engine import Engine
from server.core.events import Event
from server.core.instruments import Instrument, Limits
from server.core.types import BUY, E8, LIMIT, SELL, Stamp
from server.journal.file_log import FileLog
from server.journal.payload import encode_batch
from server.journal.record import BATCH
from server.journal.recovery import recover
from server.journal.snapshots import write_snapshot

COUNT: Final = 1_000_000
SECONDS_GOAL: Final = 10.0
BYTES_GOAL: Final = 600

RECORD_COMMANDS: Final = 100
"""What one message of a trading session usually holds."""
LEVELS: Final = 5_000
CLIENTS: Final = 1_000
INSTRUMENT: Final = Instrument("BTC-USD", maker_fee_e6=-50, taker_fee_e6=200)
_STEP_NS: Final = 5_000


def stream(count: int) -> Iterator[Command]:
    """The order stream, which has a million operations."""
    yield SetInstrument(INSTRUMENT)
    yield from map(command, rows(count))


def resting(count: int, *, with_keys: bool = False) -> Iterator[Command]:
    """Orders that never meet."""
    yield SetInstrument(INSTRUMENT)
    yield SetLimits(Limits(closed_orders_max=max(count, 1)))
    for number in range(count):
        side = SELL if number % 2 else BUY
        away = (number * 7_919 % LEVELS + 1) * E8
        name = f"order-{number:07d}"
        yield PlaceOrder(
            f"client-{number % CLIENTS}",
            INSTRUMENT.name,
            side,
            LIMIT,
            E8 + number,
            70_000 * E8 + (away if side == SELL else -away),
            order_id=name,
            idempotency_key=f"key-{number:07d}" if with_keys else "",
        )


def journaled(directory: Path, commands: Iterator[Command]) -> tuple[Engine, FileLog]:
    """Apply them and write them down, without waiting for the disk."""
    directory.mkdir(parents=True, exist_ok=True)
    engine, log, _ = recover(directory)
    log.claim(os.urandom(16))
    batch: list[Command] = []
    events: list[list[Event]] = []

    def close() -> None:
        payload = encode_batch(batch, events)
        log.append(BATCH, engine.sequence - len(batch) + 1, len(batch), engine.time_ns, payload)
        batch.clear()
        events.clear()
        engine.take_touched()

    for each in commands:
        record_ns = (engine.sequence - len(batch) + 1) * _STEP_NS
        outcome = engine.apply(each, Stamp(engine.sequence + 1, record_ns))
        assert isinstance(outcome, list), (each, outcome)
        batch.append(each)
        events.append(outcome)
        if len(batch) == RECORD_COMMANDS:
            close()
    if batch:
        close()
    return engine, log


def grown_bytes(before: int) -> int:
    """What the process has grown by since it held so much."""
    gc.collect()
    return psutil.Process().memory_info().rss - before


def build(directory: Path, kind: str, count: int) -> dict[str, float]:
    """Make a data directory."""
    shutil.rmtree(directory, ignore_errors=True)
    commands = stream(count) if kind == "stream" else resting(count)
    engine, log = journaled(directory, commands)
    if kind == "resting":
        write_snapshot(directory, engine, log.mark)
    log.close()
    return {"commands": engine.sequence}


def start(directory: Path, kind: str, count: int) -> dict[str, float]:
    """Recover it."""
    before = psutil.Process().memory_info().rss
    began, used = time.monotonic(), time.process_time()
    engine, log, report = recover(directory)
    seconds, cpu_seconds = time.monotonic() - began, time.process_time() - used
    log.close()
    assert engine.sequence > count
    assert (report.snapshot_sequence is not None) == (kind == "resting")
    return {"seconds": seconds, "cpu": cpu_seconds, "bytes": grown_bytes(before) / count}


def memory(directory: Path, kind: str, count: int) -> dict[str, float]:
    """Take orders in as a server does, where every text comes out of a message of its own and the
    commands of a record have one time."""
    del directory
    engine = Engine()
    before = psutil.Process().memory_info().rss
    pairs = enumerate(resting(count, with_keys=kind == "keys"), 1)
    for sequence, each in pairs:
        if isinstance(each, PlaceOrder):
            each = each._replace(instrument=str(each.instrument.encode(), "ascii"))
        record_ns = (sequence - sequence % RECORD_COMMANDS) * _STEP_NS
        assert isinstance(engine.apply(each, Stamp(sequence, record_ns)), list)
        engine.take_touched()
    opened = grown_bytes(before)
    for client in range(CLIENTS):
        stamp = Stamp(engine.sequence + 1, engine.time_ns)
        assert isinstance(engine.apply(CancelOrders(f"client-{client}"), stamp), list)
        engine.take_touched()
    return {"open": opened / count, "closed": grown_bytes(before) / count}


STEPS: Final = {"build": build, "start": start, "memory": memory}


def step(name: str, directory: Path, kind: str, count: int) -> dict[str, float]:
    """One step in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.recovery", name, str(directory), kind, str(count)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{name} of {kind} failed: {done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measured(directory: Path, count: int = COUNT) -> Iterator[str]:
    """One line for each figure."""
    for kind, what in (
        ("stream", "commands re-applied, every event compared"),
        ("resting", "open orders loaded from a snapshot, its checksums and state hash checked"),
    ):
        place = directory / f"recovery-{kind}"
        step("build", place, kind, count)
        figures = step("start", place, kind, count)
        seconds = figures["seconds"]
        yield (
            f"- **recovery**: {count:,} {what}: {seconds:.1f} s, of it"
            f" {figures['cpu']:.1f} s of CPU"
            f" ({judged(seconds < SECONDS_GOAL, f'< {SECONDS_GOAL:g} s')});"
            f" the process grew by {figures['bytes']:.0f} bytes for each"
        )
        if kind == "resting":
            yield snapshot_hold.measure(place, count)
        shutil.rmtree(place)
    plain, keyed = (step("memory", directory, kind, count) for kind in ("plain", "keys"))
    yield (
        f"- **memory**: {plain['open']:.0f} bytes an open order"
        f" ({judged(plain['open'] < BYTES_GOAL, f'< {BYTES_GOAL:g} bytes')});"
        f" {keyed['open'] - plain['open']:.0f} more with a key;"
        f" {plain['closed']:.0f} once it is closed and remembered"
    )


def main(arguments: Sequence[str]) -> None:
    """One step, for `step`."""
    name, directory, kind, count = arguments
    print(json.dumps(STEPS[name](Path(directory), kind, int(count))))


if __name__ == "__main__":
    main(sys.argv[1:])
