"""Which embedded servers `exchange up` starts, and where.

PostgreSQL is started unless it is named or turned off, Redis and Kafka where `--full` asks for them
and they are not named. Each becomes a part beside the exchange, on a free port for the life of one
`up`; the other parts learn it from the environment, since an address may hold a password and the
process list shows command lines. Nothing waits for one: orders are taken without them.
"""

import contextlib
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from server.settings import Settings
from server.supervisor.embedded import kafka, postgres, redis
from server.supervisor.embedded.address import Address

VARIABLES: Final = {
    address.setting: address.variable
    for address in (postgres.ADDRESS, redis.ADDRESS, kafka.ADDRESS)
}
"""The environment's variables, by setting."""

OF_FULL: Final = {redis.NAME: redis.ADDRESS, kafka.NAME: kafka.ADDRESS}
"""The addresses of the servers that `--full` starts, by name."""


class EmbeddedServer(NamedTuple):
    """An embedded server that is started."""

    name: str
    """The name of the part, and of the command that becomes it."""
    port: int
    stop_signal: signal.Signals = signal.SIGTERM


class Chosen(NamedTuple):
    """Says what is started."""

    settings: Settings
    """The settings, with the addresses of the servers that are started."""
    servers: Sequence[EmbeddedServer]
    without_postgres: str = ""
    """Why there is no PostgreSQL although one is wanted."""


def choose(settings: Settings) -> Chosen:
    """Take ports and write the addresses down, in place of those that were left behind; raises
    `OSError`."""
    servers = []
    without_postgres = ""
    if not settings.postgres_url and settings.postgres != "off":
        try:
            postgres.programs()
            settings = _with_address(settings, postgres.ADDRESS)
        except (postgres.PostgresMissing, OSError) as failure:
            without_postgres = str(failure)
        else:
            port = postgres.ADDRESS.port(settings)
            servers.append(EmbeddedServer(postgres.NAME, port, postgres.STOP_SIGNAL))
    unnamed = [name for name, it in OF_FULL.items() if not getattr(settings, it.setting)]
    # One that runs alone keeps its address.
    ended = [name for name in unnamed if OF_FULL[name].is_left_behind(settings.data_dir)]
    remove_addresses(settings.data_dir, ended)
    for name in unnamed if settings.full else ():
        settings = _with_address(settings, OF_FULL[name])
        servers.append(EmbeddedServer(name, OF_FULL[name].port(settings)))
    return Chosen(settings, servers, without_postgres)


def _with_address(settings: Settings, address: Address) -> Settings:
    changed: dict[str, Any] = {address.setting: address.assign(settings.data_dir)}
    return replace(settings, **changed)


def remove_addresses(data_dir: Path, names: Sequence[str]) -> None:
    """Remove the written addresses of the Redis and the Kafka among these, which don't run any
    more: who finds one takes its server to be there."""
    for name in OF_FULL.keys() & set(names):
        with contextlib.suppress(OSError):
            (data_dir / OF_FULL[name].file_name).unlink()


def export_addresses(settings: Settings, servers: Sequence[EmbeddedServer]) -> None:
    """Put the addresses into the environment, for the parts, and take out what it says of
    connections to a PostgreSQL elsewhere, where there is one of our own."""
    if postgres.NAME in (server.name for server in servers):
        postgres.leave_others_out()
    for name, variable in VARIABLES.items():
        os.environ[variable] = getattr(settings, name)


def withdraw_addresses() -> None:
    """Take the addresses out of the environment, before this process becomes a program that has no
    use for them."""
    for variable in VARIABLES.values():
        os.environ.pop(variable, None)
