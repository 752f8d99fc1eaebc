"""The ports, and the server behind them if there is one."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from clients.client import ExchangeClient
from clients.errors import ExchangeError
from clients.retries import Retries
from clients.types import Status
from server.journal.lock import DirectoryLocked
from server.journal.snapshots import snapshot_paths
from server.settings import Settings, address, reachable
from server.supervisor.commands.doctor.finding import Finding, bad, good, note
from server.supervisor.ports import GRPC, HTTP, WEBSOCKET, Port, ports, unusable

ANSWER_S: Final = 3.0
"""The time for an answer from this machine: it comes in milliseconds, or something is wrong."""
ANSWER_BYTES_MAX: Final = 65_536
BRIDGE_FIGURE: Final = b"websocket_connections"
"""The figure that every WebSocket bridge tells, and nobody else."""
SNAPSHOT_INTERVALS_MAX: Final = 3
"""The number of snapshots missed one after the other before it is told."""


def examine(settings: Settings, owner: DirectoryLocked | None) -> Iterator[Finding]:
    """Examine the ports, and the server behind them; `owner` has the data directory."""
    at = owner.address if owner is not None else None
    own = {settings.grpc_address, address(reachable(settings.host), settings.grpc_port)}
    if at is not None and at not in own:
        # Then who has these ports says nothing about it.
        said = f"the server is at {at}: it was started with other settings than these"
        yield note("ports", said, "ask with the same options and variables")
    else:
        for port in ports(settings):
            # Not everybody who has the directory is a server.
            yield _port(port, is_running=(at if port.name == GRPC else owner) is not None)
    at = at or (settings.server_address if owner is not None or settings.server else None)
    status: Status | None = None
    if at is None:
        yield note("server", "it does not run", "exchange up")
    else:
        begun = time.perf_counter()
        try:
            status = asyncio.run(_status(at))
        except ExchangeError as error:
            yield bad("server", str(error), "look at what exchange up or exchange server said")
        else:
            took_ms = (time.perf_counter() - begun) * 1000
            said = f"{at} answers in {took_ms:.0f} ms, durable up to {status.durable_sequence}"
            yield good("server", said)
            yield from (note("server", sentence) for sentence in status.degraded)
    try:
        # How far another directory's server is says nothing of this one.
        yield from _snapshot(settings, status if owner is not None else None)
    except OSError as failure:
        why = failure.strerror or str(failure)
        yield bad("snapshot", f"it can't be read: {why}", "ask as the user who runs the exchange")


def _port(port: Port, *, is_running: bool) -> Finding:
    at = address(reachable(port.host), port.number)
    refused = unusable(port)
    if refused is None and is_running:
        return note(port.name, f"{at} is free: the {port.part} does not run here")
    if refused is None:
        return good(port.name, f"{at} is free")
    if is_running and ANSWERS[port.name](at):
        return good(port.name, f"{at}, served by this exchange")
    return bad(port.name, *refused)


def _is_exchange(at: str) -> bool:
    """Tell whether the gateway of an exchange answers there, well or not."""
    try:
        answered = json.loads(_answer(at, "/healthz"))
    except ValueError:
        return False
    return isinstance(answered, dict) and bool({"status", "error"} & answered.keys())


def _answer(at: str, path: str) -> bytes:
    """Give the answer of an address; empty where there is none."""
    try:
        with closing(HTTPConnection(at, timeout=ANSWER_S)) as connection:
            connection.request("GET", path)
            return connection.getresponse().read(ANSWER_BYTES_MAX)
    except (OSError, HTTPException):
        return b""


def _is_bridge(at: str) -> bool:
    """Tell whether the WebSocket bridge of an exchange answers there."""
    return BRIDGE_FIGURE in _answer(at, "/metrics")


ANSWERS: Final[dict[str, Callable[[str], bool]]] = {
    HTTP: _is_exchange,
    GRPC: lambda _: True,  # The data directory says that its server listens there.
    WEBSOCKET: _is_bridge,
}
"""The check for each port that this exchange's part is what listens there, by the port's name."""


async def _status(at: str) -> Status:
    retries = Retries(attempt_s=ANSWER_S, overall_s=ANSWER_S)
    async with ExchangeClient(at, retries=retries) as exchange:
        await exchange.connect(ANSWER_S)
        return await exchange.status()


def _snapshot(settings: Settings, status: Status | None) -> Iterator[Finding]:
    """Examine this directory's snapshot; how much a start has to apply again depends on it."""
    newest = max(_snapshots(settings.data_dir), key=lambda it: it.stat().st_mtime, default=None)
    if newest is None:
        if status is None or status.durable_sequence == 0:
            yield note("snapshot", "there is none yet")
            return
        behind = status.durable_sequence
        said = f"none yet: a start would apply {behind:,} commands again"
        each_s = settings.snapshots.interval_s
        yield note("snapshot", said, f"the follower writes one every {each_s} s: does it run?")
        return
    if newest.stat().st_mtime > time.time() + 1:
        yield bad("clock", f"{newest} was written in the future", "set the clock right")
    age_s = max(time.time() - newest.stat().st_mtime, 0)
    said = f"{age_s:,.0f} s old"
    behind = 0 if status is None else status.durable_sequence - status.snapshot_sequence
    said += f", {behind:,} commands behind" if status is not None else ""
    if behind > 0 and age_s > SNAPSHOT_INTERVALS_MAX * settings.snapshots.interval_s:
        yield bad("snapshot", said, "start the follower (exchange up does), and read what it says")
    else:
        yield good("snapshot", said)


def _snapshots(directory: Path) -> list[Path]:
    return snapshot_paths(directory) if directory.exists() else []
