"""What only some installations need: installed on first use, into a cache of the user's.

All data directories share `<cache>/exchange-backend/<name>-<digest>`, where `<cache>` is
`XDG_CACHE_HOME`, else `~/.cache`, and the digest that of the lists which say what is in it, so
another release gets another folder. Everything is made in a temporary folder beside it that takes
its name at the end, so that an installation is there whole or not at all.

One process installs at a time: the tools have folders of their own in which two get in each
other's way. The others wait, and find it there. What one left unfinished is removed by the next.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from server.supervisor.parent import tied

ROOT: Final = Path(__file__).resolve().parents[3]
LOCK: Final = ROOT / "requirements-full.lock"
UNFINISHED: Final = "installing"
"""The folder that is being filled."""
TURN: Final = "turn"
"""The file that the one holds who fills it."""
UNREACHABLE: Final = re.compile(r"after connection broken by '(.+)': ")
"""The words of pip for an index that can't be reached, before it says that nothing is there."""
NOTHING_FOUND: Final = "ERROR: No matching distribution found"


class ToolFailed(Exception):
    """A program that installs or prepares something failed; the message says how."""


def place(name: str, listed: bytes) -> Path:
    """Name the folder of what is listed, once it is installed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exchange-backend"
    return cache / f"{name}-{hashlib.sha256(listed).hexdigest()[:16]}"


def installed(
    name: str, listed: bytes, make: Callable[[Path], None], log: Callable[[str], None]
) -> Path:
    """Find the folder of what is listed; `make` fills it where it is not there yet."""
    directory = place(name, listed)
    cache = directory.parent
    if directory.exists():
        return directory
    cache.mkdir(parents=True, exist_ok=True)
    with _turn(cache, log):
        if not directory.exists():
            begun_s = time.monotonic()
            making = cache / UNFINISHED
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            try:
                make(making)
                making.rename(directory)
            finally:
                shutil.rmtree(making, ignore_errors=True)
            log(f"{name} is installed, in {time.monotonic() - begun_s:.0f} s")
    return directory


@contextmanager
def _turn(cache: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Wait for the turn to install; the kernel gives it on when a process ends, however it ends."""
    with (cache / TURN).open("wb") as turn:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log("waiting for another process that installs")
            fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def install_packages(lock: Path, target: Path, *options: str) -> None:
    """Install Python packages with their hashes checked; raises `ToolFailed`."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    command = [*pip, "--require-hashes", *options, "--target", str(target), "-r", str(lock)]
    run(command, "pip could not install it")


def run(command: list[str], failed: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a program to its end; raises `ToolFailed` with what then failed, and why."""
    done = subprocess.run(
        tied(command),  # Not to go on once this process is ended, as `up` ends it with all parts.
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        errors="replace",  # It may name paths, which can be bytes in no encoding.
        check=False,
    )
    if done.returncode:
        why = _why(done.stderr or done.stdout) or str(done.returncode)
        raise ToolFailed(f"{failed}: {why}")


def _why(said: str) -> str:
    """Find the last line of what a program said, or what led to it."""
    last = next(reversed(said.strip().splitlines()), "")
    broken = UNREACHABLE.findall(said)
    if broken and last.startswith(NOTHING_FOUND):
        cause = re.sub(r"<[^>]*>: ", "", broken[-1])  # without Python's name for the connection
        return f"the package index can't be reached: {cause}"
    return last
