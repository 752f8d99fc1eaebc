"""The processes of a run: started on free ports, watched, ended; nothing of them is left behind."""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from bench.figures import Turn

HOST = "127.0.0.1"
READY_S = 30.0
"""Seconds that a part may take to serve: ten times what the slowest needs."""
Command = Sequence[str | Path]

STOP_S = 10.0
"""Seconds that a part may take to stop, as the exchange promises."""


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Part:
    """One running process under load."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._counters = psutil.Process(process.pid)
        self._log = log

    def cpu_s(self) -> float:
        """CPU time that it has used, user and system."""
        times = self._counters.cpu_times()
        return times.user + times.system

    def memory_bytes(self) -> int:
        """What it has to itself."""
        size: int = self._counters.memory_full_info().uss
        return size

    def tree_cpu_s(self) -> float:
        """The same with all processes that it has now."""
        used_s = self.cpu_s()
        for child in self._counters.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = child.cpu_times()
                used_s += times.user + times.system
        return used_s

    def tree_signal(self, number: int) -> None:
        """To it and to all processes that it has now."""
        for process in (self._counters, *self._counters.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Return once it serves; raises when it ends first, or takes too long."""
        deadline = time.monotonic() + READY_S
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise RuntimeError(f"{self._process.args!r} does not serve: {said}")
            time.sleep(0.02)


@contextlib.contextmanager
def running(command: Command, directory: Path) -> Iterator[Part]:
    """The process of `command`, with what it says kept in a file of `directory`."""
    log = directory / f"{time.monotonic_ns()}.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=said,
            stderr=subprocess.STDOUT,
            env=_environment(),
        )
    try:
        yield Part(process, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    """Without the settings of somebody's own exchange."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("EXCHANGE_") and name not in ("PORT", "GRPC_PORT")
    }


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def passes_on(port: int) -> bool:
    """Whether a gateway there has found its server, who need not know the route asked for."""
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status != 503
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def drive(way: str, **options: str | Path | float) -> Turn:
    """One turn of a driver, in a process of its own, with the options of its command line."""
    command: list[str | Path | float] = [sys.executable, "-m", "bench.drivers", way]
    for name, value in options.items():
        command += ["--" + name.replace("_", "-"), value]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the {way} driver failed: {done.stderr[-2000:]}")
    return Turn.from_json(done.stdout.splitlines()[-1])
