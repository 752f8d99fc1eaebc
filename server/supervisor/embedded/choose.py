"""Which embedded servers `exchange up` starts, and where.

PostgreSQL is started unless it is named or turned off, Redis and Kafka where `--full` asks for them
and they are not named. Each becomes a part beside the exchange, on a free port for the life of one
`up`; the other parts learn it from the environment, since an address may hold a password and the
process list shows command lines. Nothing waits for one: orders are taken without them.
"""

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from server.settings import Settings
from server.supervisor.embedded import kafka, postgres, redis
from server.supervisor.embedded.address import Address

VARIABLES: Final = {
    address.setting: address.variable
    for address in (postgres.ADDRESS, redis.ADDRESS, kafka.ADDRESS)
}
"""By setting."""


class EmbeddedServer(NamedTuple):
    """One of them."""

    name: str
    """Of the part, and of the command that becomes it."""
    port: int
    stop_signal: signal.Signals = signal.SIGTERM


class Chosen(NamedTuple):
    """What is started."""

    settings: Settings
    """With the addresses of those that are."""
    servers: Sequence[EmbeddedServer]
    without_postgres: str = ""
    """Why there is no PostgreSQL although one is wanted."""


def choose(settings: Settings) -> Chosen:
    """Take ports and write the addresses down; raises `OSError`."""
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
    for name, address in ((redis.NAME, redis.ADDRESS), (kafka.NAME, kafka.ADDRESS)):
        if settings.full and not getattr(settings, address.setting):
            settings = _with_address(settings, address)
            servers.append(EmbeddedServer(name, address.port(settings)))
    return Chosen(settings, servers, without_postgres)


def _with_address(settings: Settings, address: Address) -> Settings:
    changed: dict[str, Any] = {address.setting: address.assign(settings.data_dir)}
    return replace(settings, **changed)


def export_addresses(settings: Settings) -> None:
    """Put them into the environment, for the parts."""
    for name, variable in VARIABLES.items():
        os.environ[variable] = getattr(settings, name)


def withdraw_addresses() -> None:
    """Take them out of the environment, before this process becomes a program that has no use for
    them."""
    for variable in VARIABLES.values():
        os.environ.pop(variable, None)
