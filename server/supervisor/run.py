"""One part alone, in this process."""

import errno
import os
from collections.abc import Callable
from typing import Final, NoReturn

from server.exits import Exit
from server.settings import Settings
from server.supervisor.parent import Parent
from server.supervisor.up import error


def server(settings: Settings, parent: Parent) -> int:
    """Until SIGTERM or SIGINT."""
    from server.app import main

    return main(settings, parent.serving, lambda: parent.process_ids)


def follower(settings: Settings, parent: Parent) -> int:
    """Until SIGTERM or SIGINT."""
    from server.followers.snapshots import main

    return main(settings, parent.serving)


def gateway(settings: Settings, parent: Parent) -> int:
    """Becomes Envoy, which keeps the tie to the parent and gets the signals itself."""
    del parent
    from gateway import envoy

    try:
        command = envoy.command(settings, json_lines=settings.log_format == "json")
    except envoy.EnvoyMissing as missing:
        error(str(missing))
        return Exit.PART_MISSING
    return _become(command)


def websocket(settings: Settings, parent: Parent) -> int:
    """Until SIGTERM or SIGINT."""
    from gateway.websocket.bridge import main

    try:
        main(settings.server_address, settings.websocket_address, parent.serving)
    except OSError as failure:
        error(f"websocket {settings.websocket_address} can't be listened on ({failure.strerror})")
        return Exit.PORT_TAKEN if failure.errno == errno.EADDRINUSE else Exit.FAILED
    return Exit.CLEAN


def postgres(settings: Settings, parent: Parent) -> int:
    """Becomes the embedded PostgreSQL, which keeps the tie to the parent."""
    del parent
    from server.supervisor import embedded_postgres

    os.nice(embedded_postgres.NICENESS)
    try:
        directory = embedded_postgres.prepare(settings.data_dir)
        command = embedded_postgres.command(directory, embedded_postgres.port_of(settings))
    except embedded_postgres.PostgresMissing as missing:
        error(str(missing))
        return Exit.PART_MISSING
    except OSError as failure:
        error(f"the embedded postgres can't be started: {failure}")
        return Exit.FAILED
    # Nothing of the address is for the server, whose environment may be read longer than ours.
    os.environ.pop("POSTGRES_URL", None)
    return _become(command)


def _become(command: list[str]) -> NoReturn:
    os.execv(command[0], command)


PARTS: Final[dict[str, Callable[[Settings, Parent], int]]] = {
    "server": server,
    "follower": follower,
    "gateway": gateway,
    "websocket": websocket,
    "postgres": postgres,
}
