"""`exchange` as people type it: help, version, and the journal beside a running server."""

import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from server.exits import Exit
from server.supervisor.parent import VARIABLE
from tests.processes.load import Load
from tests.running import START_S, Running, Starter, free_port, unconfigured

ROOT = Path(__file__).parents[2]


def said(starter: Starter, *command: str, **environment: str) -> Running:
    running = starter.run(*command, **environment)
    running.wait()
    return running


def test_help_names_every_command_and_setting(starter: Starter) -> None:
    text = "\n".join(said(starter, "--help").lines)
    for word in ("up", "server", "follower", "gateway", "journal", "export", "place", "trades"):
        assert f"    {word} " in text
    text = "\n".join(said(starter, "up", "--help").lines)
    for word in ("--data-dir", "--http-port", "--grpc-port", "--host", "--config"):
        assert f"  {word} " in text
    for word in ("EXCHANGE_DATA_DIR", "PORT", "GRPC_PORT", "EXCHANGE_HOST", "EXCHANGE_CONFIG"):
        assert f"({word};" in text
    text = " ".join("\n".join(said(starter, "rebuild", "--help").lines).split())
    assert "(POSTGRES_URL; the exchange's own, by postgres.url in the data directory)" in text
    assert said(starter, "--version").lines[0].startswith("exchange 0.")


@pytest.mark.parametrize(
    "command", [(), ("fly",), ("up", "--fast"), ("journal",), ("journal", "show", "5", "x")]
)
def test_wrong_usage_is_told(starter: Starter, command: tuple[str, ...]) -> None:
    wrong = said(starter, *command)
    assert wrong.wait() == 2
    assert "error: " in wrong.lines[-1]


def test_journal_is_read_beside_its_server_and_without(starter: Starter) -> None:
    """While the server has the directory, the frames come from its stream."""
    directory = ("--data-dir", str(starter.data_dir))
    server, address = starter.server()
    with Load(address, "j") as load:
        load.wait(2)
    beside = said(starter, "journal", "show", *directory, "--json", "5", "6")
    verified_beside = said(starter, "journal", "verify", *directory)
    server.signal(signal.SIGTERM)
    assert server.wait() == Exit.CLEAN
    alone = said(starter, "journal", "show", *directory, "--json", "5", "6")
    verified_alone = said(starter, "journal", "verify", *directory)
    assert beside.lines == alone.lines
    documents = [json.loads(line) for line in alone.lines]
    assert "j-0" in json.dumps(documents)
    assert verified_beside.wait() == verified_alone.wait() == Exit.CLEAN
    readable = said(starter, "journal", "show", *directory, "5", "6")
    assert "j-0" in "\n".join(readable.lines)


def test_damage_is_found(starter: Starter) -> None:
    server, address = starter.server()
    with Load(address, "j") as load:
        load.wait(2)
    assert server.terminate() == Exit.CLEAN
    journal = starter.data_dir / "journal"
    content = bytearray(journal.read_bytes())
    content[len(content) // 2] ^= 1
    journal.write_bytes(content)
    verified = said(starter, "journal", "verify", "--data-dir", str(starter.data_dir))
    assert verified.wait() == Exit.FAILED
    assert "BAD" in "\n".join(verified.lines)
    assert journal.read_bytes() == content


def test_no_journal_is_said(starter: Starter) -> None:
    verified = said(starter, "journal", "verify", "--data-dir", str(starter.data_dir / "none"))
    assert verified.wait() == Exit.FAILED
    assert "doesn't exist" in verified.lines[-1]


def test_a_lock_without_a_server_is_named(starter: Starter) -> None:
    """A server that starts has the lock and no address yet; nobody else opens its journal."""
    server, _ = starter.server()
    server.signal(signal.SIGSTOP)
    try:
        (starter.data_dir / "lock").write_text(json.dumps({"pid": server.pid}))
        locked = said(starter, "journal", "show", "--data-dir", str(starter.data_dir))
        assert locked.wait() == Exit.LOCKED
        assert f"locked by pid {server.pid}" in locked.lines[-1]
        address = f"127.0.0.1:{free_port()}"
        (starter.data_dir / "lock").write_text(json.dumps({"pid": server.pid, "grpc": address}))
        silent = starter.run("journal", "show", "--data-dir", str(starter.data_dir))
        assert silent.wait() == Exit.FAILED
        assert f"the server at {address} does not send it" in silent.lines[-1]
    finally:
        server.signal(signal.SIGCONT)


def test_an_interruption_while_it_loads_is_quiet(tmp_path: Path) -> None:
    """The signal comes in the middle of an import, as from someone who changed his mind at once."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["scripts"]["exchange"].partition(":")
    (tmp_path / "argparse.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(0.05)\n",
        encoding="ascii",
    )
    program = f"import sys; from {module} import {function} as run; sys.exit(run())"
    done = subprocess.run(
        [sys.executable, "-c", program, "--version"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("given", ["garbage", "5", "0:1", f"{'9' * 30}:1"])
def test_a_parent_that_is_none_is_told(starter: Starter, given: str) -> None:
    running = said(starter, "--version", **{VARIABLE: given})
    assert running.wait() == Exit.FAILED
    (line,) = running.lines
    assert line.startswith(f"exchange: {VARIABLE} is {given!r}; ")


def test_a_machine_that_gives_no_thread_is_told(tmp_path: Path) -> None:
    """Nobody can be made to have no more threads whom the kernel lets have any number."""
    program = """
import sys, threading
def refuse(_):
    raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
from server.supervisor.entry import main
sys.exit(main())
"""
    told = subprocess.run(
        [sys.executable, "-P", "-c", program, "follower", "--data-dir", str(tmp_path)],
        capture_output=True,
        check=False,
        env=unconfigured(),
        text=True,
        timeout=START_S,
    )
    assert told.returncode == Exit.FAILED
    (line,) = told.stderr.splitlines()
    assert line.startswith("exchange: no thread can be started: ")
