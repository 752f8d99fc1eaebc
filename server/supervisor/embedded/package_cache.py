"""What only some installations need: installed on first use, into a cache of the user's.

All data directories share `<cache>/exchange-backend/<name>-<digest>`, where `<cache>` is
`XDG_CACHE_HOME`, else `~/.cache`, and the digest that of the lists which say what is in it, so
another release gets another folder. Everything is made in a temporary folder beside it that takes
its name at the end, so that an installation is there whole or not at all.

One process installs at a time: the tools have folders of their own in which two get in each
other's way. The others wait, and find it there. What one left unfinished is removed by the next.
"""

import csv
import errno
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
CHOOSE: Final = "choose a directory with XDG_CACHE_HOME"
UNUSABLE: Final = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
"""The errors of a cache that nobody can use until somebody changes something."""


class ToolFailed(Exception):
    """A program that installs or prepares something failed; the message says how."""


def place(name: str, listed: bytes) -> Path:
    """Name the folder of what is listed, once it is installed; raises `ToolFailed`."""
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute()
    except RuntimeError as unknown:
        raise ToolFailed(f"this user has no home: {CHOOSE}") from unknown
    return caches / "exchange-backend" / f"{name}-{hashlib.sha256(listed).hexdigest()[:16]}"


def installed(
    directory: Path,
    make: Callable[[Path], None],
    is_whole: Callable[[Path], bool],
    log: Callable[[str], None],
) -> None:
    """See that the folder that `place` named is whole; `make` fills it where it is not. Raises
    `ToolFailed`, and `OSError` where trying again may help."""
    try:
        if is_whole(directory):
            return
        directory.parent.mkdir(parents=True, exist_ok=True)
        with _turn(directory.parent, log):
            if not is_whole(directory):
                _install(directory, make, log)
    except OSError as failure:
        if failure.errno not in UNUSABLE:
            raise
        raise ToolFailed(
            f"{failure.filename or directory.parent} can't be used ({failure.strerror}): {CHOOSE}"
        ) from failure


def _install(directory: Path, make: Callable[[Path], None], log: Callable[[str], None]) -> None:
    begun_s = time.monotonic()
    name = directory.name.partition("-")[0]
    if directory.exists():
        log(f"{name} is damaged in {directory}: it is installed again")
        shutil.rmtree(directory)
    making = directory.with_name(UNFINISHED)
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    try:
        make(making)
        making.rename(directory)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    log(f"{name} is installed, in {time.monotonic() - begun_s:.0f} s")


def are_whole(packages: Path) -> bool:
    """Tell whether there are Python packages here, each file of the size that its package says: it
    has another where the machine went down before all was on the disk."""
    records = list(packages.glob("*.dist-info/RECORD"))
    return bool(records) and all(_is_whole(packages, record) for record in records)


def _is_whole(packages: Path, record: Path) -> bool:
    try:
        rows = [*csv.reader(record.read_text("utf-8").splitlines())]
        sizes = {name: size for name, _, size in rows}
        # It lists itself: one that was cut says too little.
        return str(record.relative_to(packages)) in sizes and all(
            _has_size(packages / name, int(size))
            for name, size in sizes.items()
            if size and not name.startswith("../")  # of the programs beside, which nobody starts
        )
    except (ValueError, csv.Error):
        return False


def _has_size(file: Path, size: int) -> bool:
    try:
        return file.stat().st_size == size
    except (FileNotFoundError, NotADirectoryError):
        return False


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
