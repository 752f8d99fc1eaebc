"""Real processes of the exchange for tests: on ports of their own, gone with the test."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from server.supervisor.parent import SERVING, VARIABLE

EXCHANGE = "server.supervisor.entry"
START_S = 30.0
"""For a start, on a machine that is busy with other things."""
BUSY_S = 4.0
"""What such a machine may add to a time that is promised."""
CONFIGURING = ("EXCHANGE_", "POSTGRES_", "REDIS_", "KAFKA_")
"""So begins what of the environment configures an exchange."""
LEFT_OUT = {"PORT", "GRPC_PORT", "PYTHONDONTWRITEBYTECODE"}
"""What configures one, too, and what makes each start compile everything."""
ABORT_S = 5.0
"""For a process that hangs to say where."""

# Below the range that the kernel takes outgoing ports from: nobody else is given these, and a
# client that keeps trying can't meet itself.
PORT_FIRST, PORT_LAST = 20_000, 32_000
PORTS_EACH = 300
"""For one process that runs tests: more than they have in use at a time."""


def _own_ports() -> Iterator[int]:
    """Ports over and over that no other process of tests is given as long as this one runs, so
    that what is stopped for a moment comes back on its own."""
    for first in range(PORT_FIRST, PORT_LAST, PORTS_EACH):
        with socket.socket(socket.AF_UNIX) as claim:
            try:
                # No file: the name goes with the process.
                claim.bind(f"\0exchange tests, ports from {first}")
            except OSError:
                continue
            while True:
                yield from range(first, first + PORTS_EACH)
    raise AssertionError(f"all ports from {PORT_FIRST} are claimed: end other runs of the tests")


_ports = _own_ports()


def free_port() -> int:
    """A port that nobody listens on; each call gives another."""
    while True:
        port = next(_ports)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def until(condition: Callable[[], bool], seconds: float, what: str = "it") -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(0.005)


def is_there(process_id: int) -> bool:
    """Whether a process runs; an orphan that nobody has buried yet does not."""
    try:
        return bool(psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def unconfigured() -> dict[str, str]:
    """Give the environment without what configures somebody's own exchange."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(CONFIGURING) and name not in LEFT_OUT
    }


class Running:
    """One `exchange ...` process and what it has said so far; it does not outlive this process."""

    def __init__(self, command: Sequence[str], module: str = EXCHANGE, **environment: str) -> None:
        here, there = socket.socketpair()
        self._link = here
        own = unconfigured()
        # Tests about it ask for it: a database for each exchange would cost all others seconds.
        own["EXCHANGE_POSTGRES"] = "off"
        # Beside tests that keep the cores busy, parts that give way would never get on.
        own["EXCHANGE_NICENESS"] = "0"
        own[VARIABLE] = f"{there.fileno()}:{os.getpid()}"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(there.fileno(),),
            env={**own, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", **environment},
            start_new_session=True,
        )
        there.close()
        self.pid = self._process.pid
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_serving(self) -> None:
        """Until the part says to its parent that it serves."""
        self._link.settimeout(START_S)
        try:
            said = self._link.recv(len(SERVING))
        except TimeoutError:
            raise AssertionError(f"it does not serve:\n{self._abort()}") from None
        assert said == SERVING, f"it ended with {self.wait()}: {self.lines}"

    def wait_line(self, beginning: str, seconds: float = START_S) -> str:
        """Until it has said a line that begins so."""

        def found() -> bool:
            assert self._reader.is_alive() or self.line(beginning), (
                f"it ended without a line that begins {beginning!r}: {self.lines}"
            )
            return self.line(beginning) is not None

        until(found, seconds, f"a line that begins {beginning!r}, after {self.lines}")
        return self.line(beginning) or ""

    def line(self, beginning: str) -> str | None:
        """The newest line that begins so."""
        return next((it for it in reversed(self.lines) if it.startswith(beginning)), None)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it with SIGKILL and wait."""
        self._process.kill()
        self.wait()

    def terminate(self, seconds: float = 10.0) -> int:
        """End it with SIGTERM: the exit code."""
        self._process.terminate()
        return self.wait(seconds)

    def wait(self, seconds: float = START_S) -> int:
        """Until it has ended and all that it said is here: the exit code."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end in {seconds} s:\n{self._abort()}") from None
        self._reader.join(seconds)
        return code

    def _abort(self) -> str:
        """What it has said, and where its threads are, and, as far as they get to say it, those of
        its parts."""
        # Parts first: what they say of it comes through the process that started them.
        for process_id in [*reversed(self.children()), self.pid]:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(process_id)
                process.send_signal(signal.SIGABRT)
                process.send_signal(signal.SIGCONT)
                psutil.wait_procs([process], ABORT_S)
                self._until_quiet()
        self._process.kill()
        self._process.wait()
        self._reader.join(ABORT_S)
        return "\n".join(self.lines)

    def _until_quiet(self) -> None:
        """What a part said last has still to be handed on."""
        deadline, told = time.monotonic() + ABORT_S, -1
        while told != len(self.lines) and time.monotonic() < deadline:
            told = len(self.lines)
            self._reader.join(0.1)

    def children(self) -> list[int]:
        """Process ids of all that it started."""
        return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]

    def command_lines(self) -> dict[int, list[str]]:
        """Of all that it started, by process id, but those that have gone or are about to."""
        found = {}
        for process_id in self.children():
            with suppress(psutil.NoSuchProcess):
                found[process_id] = psutil.Process(process_id).cmdline()
        return {process_id: line for process_id, line in found.items() if line}

    def close(self) -> None:
        """Nothing of it is left."""
        for process_id in [*self.children(), self.pid] if self._process.poll() is None else []:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(process_id).kill()
        self._process.wait(START_S)
        self._reader.join(START_S)
        self._link.close()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.decode(errors="replace").rstrip("\n"))


class Starter:
    """Starts what a test needs and leaves nothing behind."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._started: list[Running] = []

    def run(self, *command: str, module: str = EXCHANGE, **environment: str) -> Running:
        """Start `exchange` with these arguments."""
        running = Running(command, module, **environment)
        self._started.append(running)
        return running

    def server(
        self, port: int | None = None, *options: str, module: str = EXCHANGE, **environment: str
    ) -> tuple[Running, str]:
        """A server that serves, and its gRPC address."""
        port = port or free_port()
        places = ("--data-dir", str(self.data_dir), "--grpc-port", str(port))
        running = self.run("server", *places, *options, module=module, **environment)
        running.wait_serving()
        return running, f"127.0.0.1:{port}"

    def up(
        self,
        *options: str,
        data_dir: Path | None = None,
        module: str = EXCHANGE,
        **environment: str,
    ) -> "Everything":
        """A whole exchange that is ready."""
        http_port, grpc_port = free_port(), free_port()
        directory = str(data_dir or self.data_dir)
        ports = ("--http-port", str(http_port), "--grpc-port", str(grpc_port))
        running = self.run(
            "up", "--data-dir", directory, *ports, *options, module=module, **environment
        )
        everything = Everything(running, http_port, grpc_port)
        running.wait_line("ready")
        # On a busy machine it may be that before each part of it is.
        for line in [it for it in running.lines if it.endswith(" does not serve yet")]:
            running.wait_line(f"{line.split()[1]} is back")
        return everything

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for running in self._started:
            running.close()


class Everything:
    """`exchange up`, and where it is."""

    def __init__(self, running: Running, http_port: int, grpc_port: int) -> None:
        self.running = running
        self.http = f"http://127.0.0.1:{http_port}"
        self.grpc = f"127.0.0.1:{grpc_port}"
        self.http_port = http_port
        self.grpc_port = grpc_port
