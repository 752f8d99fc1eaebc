"""Python, its packages, Envoy, the limits of the system and its clock."""

import ctypes
import importlib
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from typing import Final

from server.settings import Settings
from server.supervisor.commands.doctor.finding import Finding, bad, good, note

DISTRIBUTION: Final = "exchange-backend"
PYTHONS: Final = ((3, 11), (3, 12))
INSTALL: Final = "install what requirements.lock lists: make clean up, or `pip install -r` it"
REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)\s*>=\s*([0-9.]+)", re.ASCII)
OPTIONAL: Final = re.compile(r";.*\bextra\s*==")
ENVOY_VERSION: Final = re.compile(r"/([0-9]+\.[0-9]+\.[0-9]+)/", re.ASCII)
PARTS: Final = "server.process, server.followers.process, gateway.websocket.bridge"
"""Modules that load all that server, follower and bridge load, and the trading commands too."""
LOAD_S: Final = 60.0
"""The time to load `PARTS`, from a cold disk."""
ENVOY_S: Final = 20.0
"""The time for Envoy to say its version: it is 100 MB to read from a cold disk."""
FILES_SPARE: Final = 256
"""Descriptors that the server needs besides one for each subscriber's connection."""
CLOCK_UNSYNCHRONISED: Final = 5
"""The answer of `adjtimex` where nothing keeps the clock: TIME_ERROR."""
TIMEX_BYTES: Final = 512
"""The room for the structure of `adjtimex`: more than it takes on any machine."""
YEAR_FIRST: Final = 2025
"""The year before which no clock can be right: this program is not older."""


def examine(settings: Settings) -> Iterator[Finding]:
    """Examine the installation in the order in which one thing needs the other."""
    yield _python()
    yield from _packages()
    yield _envoy()
    yield _files(settings)
    yield _clock()


def _python() -> Finding:
    said = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info[:2] in PYTHONS:
        return good("python", said)
    wanted = " or ".join(f"{major}.{minor}" for major, minor in PYTHONS)
    return note("python", f"{said}, which was not tried", f"use Python {wanted}")


def _packages() -> Iterator[Finding]:
    wrong = []
    try:
        required = metadata.requires(DISTRIBUTION) or ()
    except metadata.PackageNotFoundError:
        yield bad("packages", f"{DISTRIBUTION} itself is not installed", INSTALL)
        return
    rows = [row for row in required if not OPTIONAL.search(row)]
    for row in filter(None, map(REQUIREMENT.match, rows)):
        name, least = row.groups()
        try:
            found: str | None = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
        else:
            if not found:  # typed as if that could not be
                wrong.append(f"{name} is damaged")
            elif _numbers(found) < _numbers(least):
                wrong.append(f"{name} is {found}, at least {least} is needed")
    if wrong:
        yield bad("packages", "; ".join(wrong), INSTALL)
        return
    if said := _failure_to_load():
        yield bad("packages", f"they can't be loaded: {said}", f"{INSTALL}, with --force-reinstall")
        return
    slow = _slow_packages()
    if slow:
        yield note("packages", f"{', '.join(slow)} run without their compiled part: slow", INSTALL)
    else:
        yield good("packages", f"all {len(rows)} there, compiled")


def _failure_to_load() -> str:
    """Tell why a package can't be loaded that is damaged, or made for another machine or Python; in
    a process of its own, since it may take that along."""
    try:
        tried = subprocess.run(
            [sys.executable, "-P", "-c", f"import {PARTS}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LOAD_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as failure:
        return str(failure)
    if not tried.returncode:
        return ""
    return next(reversed(tried.stderr.strip().splitlines()), f"exit code {tried.returncode}")


def _slow_packages() -> list[str]:
    """List the packages that fall back on Python by themselves where a wheel doesn't fit."""
    crc = importlib.import_module("google_crc32c")
    protobuf = importlib.import_module("google.protobuf.internal.api_implementation")
    msgpack = importlib.import_module("msgpack")
    slow = {
        "google-crc32c": crc.implementation != "c",
        "protobuf": protobuf.Type() == "python",
        "msgpack": msgpack.Packer.__module__ != "msgpack._cmsgpack",
    }
    return [name for name, is_slow in slow.items() if is_slow]


def _envoy() -> Finding:
    try:
        from gateway import envoy
    except Exception as failure:  # whatever a damaged package raises
        return bad("envoy", f"it can't be looked for: {failure}", INSTALL)
    try:
        program = envoy.program()
        asked = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=ENVOY_S,
            check=False,
        )
    except envoy.EnvoyMissing as missing:
        return bad("envoy", str(missing), INSTALL)
    except (OSError, subprocess.TimeoutExpired) as failure:
        return bad("envoy", f"it does not run: {failure}", f"{INSTALL}; is it made for this CPU?")
    found = ENVOY_VERSION.search(asked.stdout)
    if asked.returncode or not found:
        last = (asked.stderr or asked.stdout).strip().splitlines()[-1:]
        said = f"it does not run: {' '.join(last) or f'exit code {asked.returncode}'}"
        return bad("envoy", said, f"{INSTALL}; is it made for this system?")
    return good("envoy", f"{found[1]} at {program}")


def _files(settings: Settings) -> Finding:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # Each part takes what it may have.
    needed = settings.feed.subscribers_max + FILES_SPARE
    if hard == resource.RLIM_INFINITY or hard >= needed:
        return good("open files", f"up to {hard}")
    said = f"up to {hard}, and {needed} are needed if every subscriber connects"
    return note("open files", said, f"have the hard limit raised (ulimit -Hn {needed})")


def _clock() -> Finding:
    now = time.gmtime()
    said = time.strftime("%Y-%m-%d %H:%M:%S UTC", now)
    if now.tm_year < YEAR_FIRST:
        return bad("clock", f"it says {said}", "set it, and let NTP keep it")
    if not _is_synchronised():
        return note("clock", f"{said}, not synchronised", "let chrony or systemd-timesyncd keep it")
    return good("clock", f"{said}, synchronised")


def _is_synchronised() -> bool:
    """Tell whether the kernel thinks its clock right; true where it can't be asked."""
    try:
        answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    except (OSError, AttributeError):
        return True
    return bool(answer != CLOCK_UNSYNCHRONISED)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall("[0-9]+", version)[:3])
