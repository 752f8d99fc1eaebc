"""PostgreSQL, Redis and Kafka of one's own: which of them `exchange up` starts, and where.

PostgreSQL is started unless it is named or turned off, Redis and Kafka where `--full` asks for them
and they are not named. Each becomes a part beside the exchange, on a free port for the life of one
`up`; the other parts are told by the environment, since an address may hold a password and the
process list shows command lines. Nothing waits for one: orders are taken without them.
"""

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from server.settings import Settings
from server.supervisor import embedded_postgres, kafka_broker, redis_server

VARIABLES: Final = {
    "postgres_url": "POSTGRES_URL",
    "redis_url": "REDIS_URL",
    "kafka_brokers": "KAFKA_BROKERS",
}
"""By setting."""


class OwnServer(NamedTuple):
    """One of them."""

    name: str
    """Of the part, and of the command that becomes it."""
    port: int
    stop_signal: signal.Signals = signal.SIGTERM


class Chosen(NamedTuple):
    """What is started."""

    settings: Settings
    """With the addresses of those that are."""
    servers: Sequence[OwnServer]
    without_postgres: str = ""
    """Why there is no PostgreSQL although one is wanted."""


def choose(settings: Settings) -> Chosen:
    """Take ports and write the addresses down; raises `OSError`."""
    servers = []
    without_postgres = ""
    if not settings.postgres_url and settings.postgres != "off":
        try:
            embedded_postgres.programs()
            url = embedded_postgres.choose_url(settings.data_dir)
        except (embedded_postgres.PostgresMissing, OSError) as failure:
            without_postgres = str(failure)
        else:
            settings = replace(settings, postgres_url=url)
            stop_signal = embedded_postgres.STOP_SIGNAL
            servers.append(OwnServer(embedded_postgres.NAME, _port_in(url), stop_signal))
    if settings.full and not settings.redis_url:
        url = redis_server.choose_url(settings.data_dir)
        settings = replace(settings, redis_url=url)
        servers.append(OwnServer(redis_server.NAME, _port_in(url)))
    if settings.full and not settings.kafka_brokers:
        brokers = kafka_broker.choose_brokers(settings.data_dir)
        settings = replace(settings, kafka_brokers=brokers)
        servers.append(OwnServer(kafka_broker.NAME, _port_in(f"//{brokers}")))
    return Chosen(settings, servers, without_postgres)


def tell_parts(settings: Settings) -> None:
    """Where everything is, by the environment."""
    for name, variable in VARIABLES.items():
        os.environ[variable] = getattr(settings, name)


def forget() -> None:
    """Before this process becomes a program that has no use for the addresses."""
    for variable in VARIABLES.values():
        os.environ.pop(variable, None)


def _port_in(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None, url
    return port
