"""What only some installations need: installed on first use, into a cache of the user's.

All data directories share `<cache>/exchange-backend/<name>-<digest>`, where `<cache>` is
`XDG_CACHE_HOME`, else `~/.cache`, and the digest that of the lists which say what is in it, so
another release gets another folder. Everything is made in a temporary folder beside it that takes
its name at the end, so that an installation is there whole or not at all, and two at once do no
harm. What a process left unfinished that was ended is removed by the next installation.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from server.supervisor.parent import tied

ROOT: Final = Path(__file__).resolve().parents[2]
LOCK: Final = ROOT / "requirements-full.lock"
UNFINISHED: Final = "installing-"
"""Begins the name of a folder that is being filled; the process that does it comes next."""


class ToolFailed(Exception):
    """A program that installs or prepares something failed; the message says how."""


def place(name: str, listed: bytes) -> Path:
    """The folder of what is listed, once it is installed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exchange-backend"
    return cache / f"{name}-{hashlib.sha256(listed).hexdigest()[:16]}"


def installed(
    name: str, listed: bytes, make: Callable[[Path], None], say: Callable[[str], None]
) -> Path:
    """The folder of what is listed; `make` fills it where it is not there yet."""
    directory = place(name, listed)
    cache = directory.parent
    if not directory.exists():
        begun_s = time.monotonic()
        cache.mkdir(parents=True, exist_ok=True)
        _remove_unfinished(cache)
        prefix = f"{UNFINISHED}{os.getpid()}-"
        with tempfile.TemporaryDirectory(dir=cache, prefix=prefix) as making:
            make(Path(making))
            try:
                Path(making).rename(directory)
            except OSError:
                if not directory.exists():
                    raise
            else:
                Path(making).mkdir()
        say(f"{name} is installed, in {time.monotonic() - begun_s:.0f} s")
    return directory


def _remove_unfinished(cache: Path) -> None:
    """Folders of processes that are gone."""
    for path in cache.glob(f"{UNFINISHED}*"):
        process_id = path.name.removeprefix(UNFINISHED).partition("-")[0]
        if not Path("/proc", process_id).exists():
            shutil.rmtree(path, ignore_errors=True)


def install_packages(lock: Path, target: Path, *options: str) -> None:
    """Python packages with their hashes checked; raises `ToolFailed`."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run([*pip, "--require-hashes", *options, "--target", str(target), "-r", str(lock)])


def run(command: list[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a program to its end; raises `ToolFailed` with the last that it said."""
    done = subprocess.run(
        tied(command),  # Not to go on once this process is ended, as `up` ends it with all parts.
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or [str(done.returncode)]
        raise ToolFailed(f"{Path(command[0]).name} could not install it: {last[0]}")
