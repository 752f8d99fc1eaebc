"""Faults 3, 11 and 14: killed before a sync, syncs that take long, a clock that jumps."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from exchange.v1.order_service_pb2 import SessionOutcome
from server.exits import Exit
from server.journal.recovery import recover
from tests.journal.site import records_of
from tests.processes.invariants import assert_kept
from tests.processes.load import MixedLoad, repeat, sequence_of
from tests.processes.tracer import attached
from tests.running import Running, Starter, is_there, until

MODULE = "tests.processes.faulty_host"
HOUR_S = 3_600
WAITING_MAX = 100
SYNC_S = 0.3
RESIDENT_SHARE_MAX = 1.2
FILES_MORE_MAX = 2


def faulty(starter: Starter, fault: str, sign: Path, *options: str) -> tuple[Running, str]:
    return starter.server(None, *options, module=MODULE, FAULT=fault, SIGN=str(sign))


def assert_resolved(starter: Starter, load: MixedLoad) -> str:
    """[I1-I8 I10] What was in flight is there once or not at all, and a retry gives one."""
    server, address = starter.server()
    resolved = repeat(address, load.unanswered())
    acknowledged = load.acknowledged | {k: v for k, v in resolved.items() if sequence_of(v)}
    again = sum(getattr(v, v.WhichOneof("outcome") or "").repeated for v in taken(resolved))
    assert server.terminate() == Exit.CLEAN
    assert_kept(starter.data_dir, acknowledged)
    return (
        f"{len(load.acknowledged)} acknowledged, 0 lost; {len(resolved)} in flight, {again} of them"
        " found in the journal by their key, the others accepted once"
    )


def taken(outcomes: dict[str, SessionOutcome]) -> list[SessionOutcome]:
    return [outcome for outcome in outcomes.values() if sequence_of(outcome)]


def test_killed_between_write_and_sync(
    starter: Starter, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    """[I1-I8 I10] Fault 3, through the journal's own calls."""
    sign = tmp_path / "sign"
    server, address = faulty(starter, "killed", sign)
    with MixedLoad(address, "k") as load:
        load.wait(3)
        sign.touch()
        until(lambda: not is_there(server.pid), 10, "the end of the server")
    assert server.wait() == -signal.SIGKILL
    figures(f"fault 3: {assert_resolved(starter, load)}")


def test_killed_by_the_kernel_at_a_sync(starter: Starter, figures: Callable[[str], None]) -> None:
    """[I1-I8 I10] Fault 3, through the system call, where strace may do that."""
    server, address = starter.server()
    with MixedLoad(address, "t") as load:
        load.wait(3)
        with attached(server.pid, "fdatasync:signal=KILL:when=5+") as why_not:
            if why_not:
                figures(f"fault 3: not through the system call, {why_not}")
                return
            until(lambda: not is_there(server.pid), 20, "the end of the server")
    assert server.wait() == -signal.SIGKILL
    figures(f"fault 3, by strace: {assert_resolved(starter, load)}")


def test_slow_syncs_bound_what_waits(
    starter: Starter, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    """[I1-I8 I11 I13] Fault 11: answers take longer, more than the bound is refused at once and
    says that it may be sent again, and all is well when the disk is."""
    sign = tmp_path / "sign"
    config = tmp_path / "exchange.toml"
    config.write_text(f"[sequencer]\ncommands_waiting_max = {WAITING_MAX}\n")
    server, address = faulty(starter, "slow", sign, "--config", str(config))
    with MixedLoad(address, "quick") as load:
        load.wait(3)
    process = psutil.Process(server.pid)
    resident, files = process.memory_info().rss, process.num_fds()
    sign.write_text(str(SYNC_S))
    began = time.monotonic()
    loads = [MixedLoad(address, f"s{number}") for number in range(4)]
    for each in loads:
        each.__enter__()
    for each in loads:
        each.wait(4)
    waited_s = time.monotonic() - began
    sign.unlink()
    for each in loads:
        each.__exit__()
    refused = [key for each in loads for key in each.sent if key not in each.acknowledged]
    assert waited_s > SYNC_S
    assert refused, "nothing was refused, though the journal stood still"
    with MixedLoad(address, "after") as after:
        after.wait(3)
    assert after.acknowledged, "the journal takes nothing, though the disk is well again"
    outcomes = repeat(address, [it for each in loads for it in each.unanswered()][:WAITING_MAX])
    until(lambda: process.num_fds() <= files + FILES_MORE_MAX, 10, "I13: descriptors given back")
    grown = process.memory_info().rss / resident
    assert grown < RESIDENT_SHARE_MAX, f"I13: {grown:.2f} of the memory before"
    assert server.terminate() == Exit.CLEAN
    acknowledged = load.acknowledged | after.acknowledged
    for each in loads:
        acknowledged |= each.acknowledged
    acknowledged |= {k: v for k, v in outcomes.items() if sequence_of(v)}
    commands = assert_kept(starter.data_dir, acknowledged)
    sizes = [record.command_count for record in records_of(starter.data_dir)]
    assert max(sizes) <= WAITING_MAX
    figures(
        f"fault 11: syncs of {SYNC_S} s: {len(refused)} of"
        f" {sum(len(each.sent) for each in loads)} commands refused at the bound of {WAITING_MAX};"
        f" at most {max(sizes)} in a record; {commands} journaled, 0 lost; memory"
        f" {grown:.2f} of that before"
    )


def test_a_clock_that_jumps_back_and_forth(
    starter: Starter, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    """[I1-I8] Fault 14: the exchange's own time stands still instead of going back; calls, and
    with them their deadlines, don't notice; a restart under the right clock goes on."""
    sign = tmp_path / "sign"
    server, address = faulty(starter, "clock", sign)
    acknowledged: dict[str, SessionOutcome] = {}
    for number, offset_s in enumerate((0, -HOUR_S, HOUR_S, -HOUR_S, 0)):
        sign.write_text(str(offset_s))
        with MixedLoad(address, f"c{number}") as load:
            load.wait(3)
        acknowledged |= load.acknowledged
    assert server.terminate() == Exit.CLEAN
    server, address = starter.server()
    with MixedLoad(address, "later") as load:
        load.wait(3)
    acknowledged |= load.acknowledged
    assert server.terminate() == Exit.CLEAN
    assert_kept(starter.data_dir, acknowledged)
    times = [record.time_ns for record in records_of(starter.data_dir)]
    assert times == sorted(times), "I2: a time went back"
    ahead_s = (times[-1] - time.time_ns()) / 1e9
    assert HOUR_S - 60 < ahead_s < HOUR_S, "the clock never jumped"
    recovered = recover(starter.data_dir)
    assert recovered.engine.time_ns == times[-1]
    recovered.log.close()
    figures(
        f"fault 14: jumps of an hour back and forth, {len(times)} records, no time before another;"
        f" {len(acknowledged)} acknowledged, 0 lost; after a restart {ahead_s:.0f} s ahead"
    )
