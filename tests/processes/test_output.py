"""Commands whose output can't be written: a reader who has seen enough, a disk that is full."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.exits import Exit
from tests.running import EXCHANGE, Starter

UNTOLD = 4
FULL = Path("/dev/full")
NO_ROOM = "what there is to say can't be written: No space left on device"


def ended(*command: str, output: int) -> tuple[int, str]:
    """Exit code, and what it said on standard error."""
    run = subprocess.run(
        [sys.executable, "-P", "-m", EXCHANGE, *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    return run.returncode, run.stderr.decode()


@pytest.fixture
def nobody() -> int:
    """The end of a pipe that nobody reads."""
    there, here = os.pipe()
    os.close(there)
    return here


@pytest.mark.parametrize("command", ["doctor", "completion bash"])
def test_a_reader_who_has_seen_enough_is_no_failure(command: str, nobody: int) -> None:
    assert ended(*command.split(), output=nobody) == (Exit.CLEAN, "")


def test_a_full_disk_is_told_and_is_no_refusal(starter: Starter, tmp_path: Path) -> None:
    """What was asked for has been done all the same: 1, a refusal, would say the contrary."""
    _, address = starter.server()
    with FULL.open("w") as full:
        code, said = ended("positions", "alice", "--address", address, output=full.fileno())
        assert (code, said) == (UNTOLD, f"exchange: {NO_ROOM}\n")
        export = ("export", "trades", "--data-dir", str(starter.data_dir))
        code, said = ended(*export, output=full.fileno())
        assert (code, said.splitlines()[-1]) == (Exit.FAILED, f"exchange: {NO_ROOM}")


def test_a_device_is_written_to_and_not_replaced(starter: Starter, tmp_path: Path) -> None:
    server, _ = starter.server()
    server.terminate()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    export = ("export", "trades", "--data-dir", str(starter.data_dir), "--output", str(pipe))
    running = starter.run(*export)
    assert running.wait() == Exit.CLEAN, running.lines
    assert os.read(reader, 100).startswith(b"trade_id,sequence,")
    os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.parametrize("command", ["order", "watch", "load --instrument"])
def test_what_is_no_text_is_refused_before_it_is_sent(command: str) -> None:
    code, said = ended(*command.split(), os.fsdecode(b"b\xff"), output=subprocess.DEVNULL)
    assert code == Exit.CONFIGURATION
    assert said.splitlines()[-1].endswith("must be text as the locale encodes it; got 'b\\udcff'")


def test_closed_streams_are_for_nobody() -> None:
    """As a cron job or a daemon may start it."""
    run = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -P -m {EXCHANGE} completion bash <&- >&- 2>&-'],
        timeout=60,
        check=False,
    )
    assert run.returncode == Exit.CLEAN
