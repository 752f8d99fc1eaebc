"""`exchange up`: everything on this machine, from one terminal."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from clients.stopping import stop_on_signals
from server import logs
from server.exits import Exit
from server.journal.lock import DirectoryLock, DirectoryLocked
from server.journal.storage import DISK_FULL
from server.settings import Settings, meet, reachable
from server.supervisor.child_process import ChildProcess
from server.supervisor.embedded.choose import (
    EmbeddedServer,
    choose,
    export_addresses,
    remove_addresses,
)
from server.supervisor.ports import exposed, ports, unusable
from server.supervisor.priority import children_give_way
from server.supervisor.supervision import DEGRADED, GaveUp, Supervisor

PROBE_S: Final = 0.05
"""The time between two looks at whether a part serves."""


def up(settings: Settings, options: Sequence[str]) -> int:
    """Run until a signal or a failure: the exit code. `options` are handed on to the parts."""
    try:
        check_directory(settings.data_dir)
        check_ports(settings)
        return asyncio.run(_supervise(settings, options))
    except GaveUp as gave_up:
        logs.error(str(gave_up))
        return gave_up.code
    except OSError as failure:
        logs.error(f"a part can't be started: {failure}")
        return Exit.FAILED


def check_directory(directory: Path) -> None:
    """Refuse a directory that another exchange has, before its ports are blamed."""
    try:
        DirectoryLock(directory).release()
    except DirectoryLocked as locked:
        raise GaveUp(Exit.LOCKED, str(locked)) from locked
    except OSError as failure:
        if failure.errno in DISK_FULL:
            return  # The server says so, and is started again until there is room.
        raise GaveUp(
            Exit.CONFIGURATION,
            f"data_dir {directory} can't be used ({failure.strerror}): choose another with "
            "--data-dir (EXCHANGE_DATA_DIR)",
        ) from failure


def check_ports(settings: Settings) -> None:
    """Refuse addresses that can't or may not be listened on, before anything is started: the
    gateway would send this exchange's callers to whoever has them."""
    for name, other in (("http_port", settings.http_port), ("grpc_port", settings.grpc_port)):
        if settings.websocket and meet(settings.websocket, settings.host, other):
            raise GaveUp(
                Exit.CONFIGURATION,
                f"websocket is {settings.websocket}; it must be another address than {name}'s"
                f" ({other})",
            )
    if refused := exposed(settings):
        raise GaveUp(Exit.CONFIGURATION, refused)
    for port in ports(settings):
        if taken := unusable(port):
            raise GaveUp(Exit.PORT_TAKEN, f"{taken.why}: {taken.remedy}")


def log_state(sentence: str) -> None:
    """Log what became of a part."""
    if sentence.startswith(DEGRADED):
        logs.complain(sentence)
    else:
        logs.say(sentence)


async def _supervise(settings: Settings, options: Sequence[str]) -> int:
    stop = stop_on_signals(on_hangup=True)
    settings, servers, without_postgres = choose(settings)
    export_addresses(settings, servers)
    supervisor = _supervisor(settings, options, servers)
    try:
        stopping = asyncio.create_task(stop.wait())
        running = asyncio.create_task(_run(settings, supervisor, without_postgres))
        await asyncio.wait([stopping, running], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            try:
                running.result()
            except GaveUp:
                await supervisor.stop()
                raise
        running.cancel()
        logs.say("stopping")
        unclean = await supervisor.stop()
    finally:
        supervisor.kill()
        remove_addresses(settings.data_dir, [each.name for each in servers])
    if unclean:
        logs.error(f"stopped, but not cleanly: {', '.join(unclean)}; the next start recovers")
        return Exit.FAILED
    logs.say("stopped")
    return Exit.CLEAN


async def _run(settings: Settings, supervisor: Supervisor, without_postgres: str) -> None:
    degraded = await supervisor.start()
    for sentence in degraded:
        log_state(f"{DEGRADED}{sentence}")
    logs.flush()
    logs.show(ready_line(settings, without_postgres, with_http=supervisor.has_gateway))
    await supervisor.failure()


def ready_line(settings: Settings, without_postgres: str, *, with_http: bool) -> str:
    """Say where everything is that is there, and why there is no PostgreSQL, if one is wanted."""
    host = reachable(settings.host)
    host = f"[{host}]" if ":" in host else host
    http = f"HTTP http://{host}:{settings.http_port}, " if with_http else ""
    directory = settings.data_dir.absolute()
    without = f"; postgres is disabled: {without_postgres}" if without_postgres else ""
    return f"ready: {http}gRPC {settings.server_address}, data in {directory}{without}"


def _supervisor(
    settings: Settings, options: Sequence[str], servers: Sequence[EmbeddedServer]
) -> Supervisor:
    def command(name: str, *own: str) -> list[str]:
        # -P: a folder named `server` where the exchange is started must not be taken for ours.
        return [sys.executable, "-P", "-m", "server.supervisor.entry", name, *options, *own]

    async def gateway_serves() -> None:
        await _healthy(reachable(settings.host), settings.http_port)

    stop = settings.stop
    beside = [
        ChildProcess(
            server.name,
            command(server.name),
            logs.pass_on,
            stop.part_s,
            partial(_listens, server.port),
            server.stop_signal,
            partial(children_give_way, settings.niceness),
        )
        for server in servers
    ]

    def with_server(name: str, probe: Callable[[], Awaitable[None]] | None = None) -> ChildProcess:
        to_server = command(name, "--server", settings.server_address)
        return ChildProcess(name, to_server, logs.pass_on, stop.part_s, probe)

    return Supervisor(
        server=ChildProcess("server", command("server"), logs.pass_on, stop.server_s),
        gateway=with_server("gateway", gateway_serves),
        follower=with_server("follower"),
        websocket=with_server("websocket"),
        log=log_state,
        beside=beside,
    )


async def _listens(port: int) -> None:
    """Return once something does, on this machine."""
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(PROBE_S)


async def _healthy(host: str, port: int) -> None:
    """Return once the exchange answers through the gateway that it serves."""
    while True:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):
                if await _health(host, port):
                    return
        await asyncio.sleep(PROBE_S)


async def _health(host: str, port: int) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b" 200 " in await reader.readline()
    finally:
        writer.close()
