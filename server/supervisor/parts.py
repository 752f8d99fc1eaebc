"""The parts of the exchange, each to be run alone, in this process.

What only one of them needs is imported when it is run: every command loads this module.
"""

import errno
import os
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, NoReturn

from server import logs
from server.exits import Exit
from server.logs import error
from server.settings import Settings
from server.supervisor.parent import Parent
from server.supervisor.ports import exposed


def server(settings: Settings, parent: Parent) -> int:
    """Run the server until SIGTERM or SIGINT."""
    from server.process import main

    return main(settings, parent.serving, lambda: parent.process_ids)


def follower(settings: Settings, parent: Parent) -> int:
    """Run the follower until SIGTERM or SIGINT."""
    from server.followers.process import main
    from server.supervisor.priority import give_way

    give_way(settings.niceness)
    return main(settings, parent.serving)


def gateway(settings: Settings, _parent: Parent) -> int:
    """Become Envoy, which keeps the tie to the parent and gets the signals itself."""
    from gateway import envoy

    json_lines = settings.log_format == "json"
    if json_lines:
        # Envoy's lines have local time, those of the other parts UTC.
        os.environ["TZ"] = "UTC0"
    try:
        configuration = envoy.written(settings)
        os.set_inheritable(configuration, True)
        command = envoy.command(configuration, json_lines=json_lines)
    except envoy.EnvoyMissing as missing:
        error(str(missing))
        return Exit.PART_MISSING
    except OSError as failure:
        error(f"the gateway's configuration can't be handed to Envoy: {failure}")
        return Exit.FAILED
    return _become(command)


def websocket(settings: Settings, parent: Parent) -> int:
    """Run the WebSocket bridge until SIGTERM or SIGINT."""
    from gateway.websocket.bridge import main

    if refused := exposed(settings):
        error(refused)
        return Exit.CONFIGURATION
    try:
        main(settings.server_address, settings.websocket_address, parent.serving)
    except OSError as failure:
        error(f"websocket {settings.websocket_address} can't be listened on ({failure.strerror})")
        return Exit.PORT_TAKEN if failure.errno == errno.EADDRINUSE else Exit.FAILED
    return Exit.CLEAN


def postgres(settings: Settings, _parent: Parent) -> int:
    """Become the embedded PostgreSQL."""
    from server.supervisor.embedded import postgres as embedded

    def command() -> list[str]:
        directory = embedded.prepare(settings.data_dir)
        return embedded.command(directory, embedded.ADDRESS.port(settings))

    return _become_server("postgres", command, settings.niceness)


def redis(settings: Settings, _parent: Parent) -> int:
    """Become the embedded Redis."""
    from server.supervisor.embedded import redis as embedded

    def command() -> list[str]:
        program = embedded.install(logs.say)
        port = embedded.ADDRESS.port(settings)
        return embedded.command(program, embedded.prepare(settings.data_dir, port))

    return _become_server("redis", command, settings.niceness)


def kafka(settings: Settings, _parent: Parent) -> int:
    """Become the embedded Kafka."""
    from server.supervisor.embedded import kafka as embedded
    from server.supervisor.embedded.address import free_port

    def command() -> list[str]:
        installation = embedded.install(logs.say)
        directory = settings.data_dir.absolute() / embedded.DIRECTORY_NAME
        port = embedded.ADDRESS.port(settings)
        configuration = embedded.prepare(installation, directory, port, free_port())
        # It says much at a start and a stop that is of use to nobody but who looks for a fault.
        output = os.open(directory / embedded.OUTPUT_FILE_NAME, _NEW_FILE, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        return embedded.command(installation, configuration)

    return _become_server("kafka", command, settings.niceness)


def _become_server(name: str, command: Callable[[], list[str]], niceness: int) -> int:
    """Make an embedded server ready and become it; it keeps the tie to the parent."""
    from server.supervisor.embedded.program_missing import ProgramMissing

    try:
        ready = command()
    except ProgramMissing as missing:
        error(str(missing))
        return Exit.PART_MISSING
    except OSError as failure:
        error(f"the embedded {name} can't be started: {failure}")
        return Exit.FAILED
    return _become(ready, niceness)


def _become(command: list[str], niceness: int = 0) -> NoReturn:
    from server.supervisor.embedded.choose import withdraw_addresses
    from server.supervisor.priority import give_way

    withdraw_addresses()
    give_way(niceness)
    logs.flush()
    os.execv(command[0], command)


_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class Part(NamedTuple):
    """A part of the exchange, and the command that becomes it."""

    name: str
    summary: str
    description: str
    run: Callable[[Settings, Parent], int]
    """The function that runs the part and returns the exit code."""
    without: Sequence[str] = ()
    """The settings that the part does not take."""


PARTS: Final = (
    Part(
        "server",
        "run the server alone",
        "Takes orders over gRPC, matches them and keeps the journal.",
        server,
        without=("server",),
    ),
    Part(
        "follower",
        "run the follower alone",
        "Follows the journal of a running server: writes snapshots for the next start, and keeps\n"
        "PostgreSQL, Kafka and Redis, where they are named, up to date.",
        follower,
    ),
    Part(
        "gateway",
        "run the gateway alone",
        "Envoy: HTTP JSON, and gRPC passed through, in front of a running server.",
        gateway,
    ),
    Part(
        "websocket",
        "run the WebSocket bridge alone",
        "Holds the connections of WebSocket clients for the gateway, in front of a running server.",
        websocket,
    ),
    Part(
        "postgres",
        "run the embedded PostgreSQL alone",
        "A database in the data directory, whose file postgres.url has its address.",
        postgres,
    ),
    Part(
        "redis",
        "run the embedded Redis alone",
        "Keeps nothing on disk. The file redis.url in the data directory has its address.",
        redis,
    ),
    Part(
        "kafka",
        "run the embedded Kafka alone",
        "A broker in the data directory, whose file kafka.brokers has its address. After SIGTERM\n"
        "its exit code is 143, as any Java program's.",
        kafka,
    ),
)
