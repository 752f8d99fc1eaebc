"""PostgreSQL, Redis and Kafka: named, embedded, or not asked for. Orders are taken without."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from server.settings import Settings, address
from server.supervisor.commands.doctor.finding import Finding, good, note
from server.supervisor.embedded import kafka, postgres, redis
from server.supervisor.embedded.address import Address
from server.supervisor.embedded.package_cache import CHOOSE
from server.supervisor.embedded.program_missing import ProgramMissing

ANSWER_S: Final = 2.0
NOT_WANTED: Final = "not asked for: disabled"
FULL: Final = "exchange up --full starts one of its own"
ON_FIRST_USE: Final = "the first exchange up --full does that, where it can download packages"
AGAIN: Final = "the next exchange up --full installs it again, where it can download packages"
FIRST_PORTS: Final = {"postgresql": 5432, "postgres": 5432, "redis": 6379, "rediss": 6379}
"""Ports of addresses without one."""


def examine(settings: Settings) -> Iterator[Finding]:
    """Examine PostgreSQL, Redis and Kafka, with one finding for each."""
    if settings.postgres_url:
        yield _named("postgres", settings.postgres_url)
    elif settings.postgres == "off":
        yield good("postgres", NOT_WANTED)
    else:
        yield _embedded_postgres()
    yield _of_full(redis.NAME, redis.ADDRESS, redis.place, redis.is_whole, settings)
    yield _of_full(kafka.NAME, kafka.ADDRESS, kafka.place, kafka.is_whole, settings)


def _embedded_postgres() -> Finding:
    try:
        return good("postgres", f"of its own, {postgres.programs()}")
    except ProgramMissing as missing:
        return note("postgres", missing.why, missing.remedy)


def _of_full(
    name: str,
    its: Address,
    where: Callable[[], Path],
    is_whole: Callable[[Path], bool],
    settings: Settings,
) -> Finding:
    if url := getattr(settings, its.setting):
        return _named(name, url)
    if url := _written(settings.data_dir / its.file_name):
        return _named(name, url, FULL)
    if not settings.full:
        return good(name, f"{NOT_WANTED}; {FULL}")
    try:
        directory = where()
        if is_whole(directory):
            return good(name, f"of its own, {directory}")
        is_there = directory.exists()
    except ProgramMissing as missing:
        return note(name, missing.why, missing.remedy)
    except OSError as failure:
        return note(name, f"can't be looked at: {failure}", CHOOSE)
    if is_there:
        return note(name, f"damaged in {directory}", AGAIN)
    return note(name, "not installed yet", ON_FIRST_USE)


def _written(file: Path) -> str:
    """Read the address of a server that an `exchange up` started; empty where none is known."""
    try:
        return file.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _named(name: str, url: str, remedy: str = "start it, or name another") -> Finding:
    """Examine whether something listens there; the address is shown without a password."""
    host, port = _place(url)
    is_directory = host.startswith("/")
    shown = f"{host}/.s.PGSQL.{port}" if is_directory else address(host, port)
    try:
        if is_directory:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(ANSWER_S)
                connection.connect(shown)
        else:
            socket.create_connection((host, port), ANSWER_S).close()
    except (OSError, UnicodeError) as failure:  # the second for a name that none can have
        said = f"{shown} does not answer ({failure}): orders are taken without it"
        return note(name, said, remedy)
    return good(name, f"{shown} answers")


def _place(url: str) -> tuple[str, int]:
    """Give host and port, of several the first; for PostgreSQL also the directory of its socket."""
    scheme, places, _, query, _ = urlsplit(url if "//" in url else f"//{url}")
    asked = dict(parse_qsl(query))  # libpq takes them there too
    given = unquote((places.rpartition("@")[2] or asked.get("host", "")).split(",")[0])
    host, _, port = given.rpartition(":")
    if not port.isdecimal():
        host, port = given, asked.get("port", "").partition(",")[0]
    number = int(port) if port.isdecimal() else FIRST_PORTS.get(scheme, 0)
    return host.strip("[]") or "127.0.0.1", number
