"""Faults 5, 9 and 10: the journal's disk takes no more bytes, or fails to sync, under load."""

import resource
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from server.exits import Exit
from tests.processes.invariants import assert_kept
from tests.processes.load import MixedLoad, repeat, sequence_of
from tests.processes.tracer import attached
from tests.running import BUSY_S, Running, Starter, free_port, is_there, until

GONE_S = 1.0


def assert_gone_and_kept(starter: Starter, server: Running, load: MixedLoad, began: float) -> str:
    """It has ended by itself with the code for that, and nothing that it acknowledged is lost."""
    code = server.wait(10)
    seconds = time.monotonic() - began
    assert code == Exit.APPEND_FAILED, server.lines
    load.__exit__()
    again, address = starter.server()
    resolved = repeat(address, load.unanswered())
    acknowledged = load.acknowledged | {k: v for k, v in resolved.items() if sequence_of(v)}
    assert again.terminate() == 0
    commands = assert_kept(starter.data_dir, acknowledged)
    return (
        f"gone after {seconds:.2f} s; {len(load.acknowledged)} acknowledged before, 0 lost; "
        f"{len(resolved)} unknown, all resolved by their key; {commands} in the journal"
    )


def test_short_write_ends_the_server(starter: Starter, figures: Callable[[str], None]) -> None:
    """[I1-I8 I10] Fault 5: the file may not grow: a short write, then none at all."""
    server, address = starter.server()
    with MixedLoad(address, "w") as load:
        load.wait(3)
        began = time.monotonic()
        size = (starter.data_dir / "journal").stat().st_size + 50_001
        psutil.Process(server.pid).rlimit(resource.RLIMIT_FSIZE, (size, size))
        figures(f"fault 5: {assert_gone_and_kept(starter, server, load, began)}")


@pytest.mark.parametrize(
    ("fault", "call", "error"), [(10, "fdatasync", "EIO"), (9, "write", "ENOSPC")]
)
def test_failed_call_ends_the_server(
    starter: Starter,
    tmp_path: Path,
    figures: Callable[[str], None],
    fault: int,
    call: str,
    error: str,
) -> None:
    """[I1-I8 I10] Through the journal's own calls: one error, no second try."""
    sign = tmp_path / "sign"
    module = "tests.processes.failing_disk"
    server, address = starter.server(module=module, FAILING_DISK=str(sign), FAILING_CALL=call)
    with MixedLoad(address, "f") as load:
        load.wait(3)
        began = time.monotonic()
        sign.touch()
        until(lambda: not is_there(server.pid), GONE_S + BUSY_S, "the end of the server")
        figures(f"fault {fault}: {assert_gone_and_kept(starter, server, load, began)}")
    assert sign.read_text() == f"{error}\n", "what failed was tried again"


@pytest.mark.parametrize(
    ("call", "code"), [("fdatasync", Exit.APPEND_FAILED), ("write", Exit.DISK_FULL)]
)
def test_a_call_that_fails_at_the_start_is_told_before_anybody_is_served(
    starter: Starter, tmp_path: Path, call: str, code: int
) -> None:
    server, _ = starter.server()
    assert server.terminate() == 0
    sign = tmp_path / "sign"
    sign.touch()
    places = ("--data-dir", str(starter.data_dir), "--grpc-port", str(free_port()))
    module = "tests.processes.failing_disk"
    again = starter.run("server", *places, module=module, FAILING_DISK=str(sign), FAILING_CALL=call)
    assert again.wait() == code, again.lines
    assert again.line("exchange: the journal can't be written"), again.lines
    assert starter.server()[0].terminate() == 0


def test_sync_failed_by_the_kernel_ends_the_server(
    starter: Starter, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    """[I1-I8 I10] Fault 10, through the system call, where strace may do that."""
    trace = tmp_path / "trace"
    server, address = starter.server()
    with MixedLoad(address, "s") as load:
        load.wait(3)
        with attached(server.pid, "fdatasync:error=EIO:when=5+", trace) as why_not:
            if why_not:
                figures(f"fault 10: not through the system call, {why_not}")
                return
            until(lambda: "EIO" in (trace.read_text() if trace.exists() else ""), 10, "EIO")
            began = time.monotonic()
            until(lambda: not is_there(server.pid), GONE_S + BUSY_S, "the end of the server")
            found = assert_gone_and_kept(starter, server, load, began)
    syncs = [line for line in trace.read_text().splitlines() if "fdatasync" in line]
    failed = [line for line in syncs if "EIO" in line]
    assert len(failed) == 1, f"a failed sync was tried again: {failed}"
    figures(f"fault 10, by strace: {found}")
