"""The workloads that need a running exchange: who is started, what is sent, what the baseline is.

Each starts an exchange with an empty data directory and nothing but what the workload needs: the
server, for HTTP the gateway, never the snapshot follower. It drives it once, to warm it and to
learn its replies, starts the echo that gives them, and then lets both take turns.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import orders
from bench.comparison import Comparison, Side
from bench.figures import Turn, write_messages
from bench.flow import CLIENTS
from bench.processes import HOST, Command, Part, drive, free_port, listens, passes_on, running
from bench.session_messages import messages, session_commands

PYTHON = sys.executable
EXCHANGE = (PYTHON, "-m", "server.supervisor.entry")
PLACE = "/exchange.v1.OrderService/PlaceOrder"
PLACE_HTTP = "/exchange.http.v1.OrderService/PlaceOrder"

IN_FLIGHT = 50
"""Unary calls, or HTTP connections with one request each."""
MESSAGES_IN_FLIGHT = {1: 32, 10: 16, 100: 8}
"""Messages of a session by their size: what keeps the server busy, within what it lets wait."""
MIXED_ORDERS = 20_000
"""Prepared orders of the mix, sent again from the beginning where they don't last."""
ENDLESS = 1 << 40

_session_commands = cache(session_commands)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    seconds: float
    """Of one turn."""
    turns: int
    """Of each side."""
    seed: int
    directory: Path
    """Below it data directories are made, and removed."""
    turn_commands_max: int = 100_000
    """Of a session, so that the stream of 1,000,000 lasts for nine turns."""

    @property
    def warm_seconds(self) -> float:
        """Of the first turn of each side, which isn't counted."""
        return min(1.0, self.seconds)


@dataclass(frozen=True, slots=True)
class Lane:
    """One side, ready to be driven."""

    drive: Callable[[float], Turn]
    parts: dict[str, Part]
    side: Side = field(default_factory=Side)

    def turn(self, seconds: float) -> None:
        """Drive it, and keep figures and CPU time."""
        before = {name: part.cpu_s() for name, part in self.parts.items()}
        self.side.turns.append(self.drive(seconds))
        for name, part in self.parts.items():
            used_s = part.cpu_s() - before[name]
            self.side.cpu_s[name] = self.side.cpu_s.get(name, 0.0) + used_s


def take_turns(plan: Plan, exchange: Lane, baseline: Lane) -> None:
    """A B A B …, after a short turn of the baseline; the exchange is warm already."""
    baseline.drive(plan.warm_seconds)
    for _ in range(plan.turns):
        exchange.turn(plan.seconds)
        baseline.turn(plan.seconds)


def unary(plan: Plan) -> Comparison:
    """`PlaceOrder` over gRPC."""
    with bench(plan) as directory, exchange(directory) as (server, port):
        mixed = orders.mixed_orders(plan.seed, MIXED_ORDERS)
        requests, replies = directory / "requests", directory / "replies"
        write_messages(requests, [orders.grpc_message(order) for order in mixed])
        _place(port, requests, PLACE, plan.warm_seconds, replies=replies)
        with _echo("unary", replies, directory) as (echo, echo_port):
            ours = Lane(lambda s: _place(port, requests, PLACE, s), {"server": server})
            theirs = Lane(lambda s: _place(echo_port, requests, PLACE, s), {"echo": echo})
            take_turns(plan, ours, theirs)
    return Comparison(
        workload="unary",
        what=f"PlaceOrder over gRPC, {IN_FLIGHT} in flight on one connection; {orders.MIX}",
        baseline_what="grpc.aio servicer that answers the same messages with a ready one",
        exchange=ours.side,
        baseline=theirs.side,
        ratio_goal=0.70,
    )


def http(plan: Plan) -> Comparison:
    """`POST /orders` through the gateway."""
    with bench(plan) as directory, exchange(directory) as (server, port):
        mixed = orders.mixed_orders(plan.seed, MIXED_ORDERS)
        transcoded, replies = directory / "transcoded", directory / "replies"
        requests = directory / "requests"
        write_messages(transcoded, [orders.transcoded_message(order) for order in mixed])
        write_messages(requests, [orders.http_request(order) for order in mixed])
        _place(port, transcoded, PLACE_HTTP, plan.warm_seconds, replies=replies)
        with (
            gateway(port, directory) as (envoy, http_port),
            _echo("http", replies, directory) as (echo, echo_port),
            gateway(echo_port, directory) as (echo_envoy, echo_http_port),
        ):
            ours = Lane(lambda s: post(http_port, requests, s), {"server": server, "Envoy": envoy})
            theirs = Lane(
                lambda s: post(echo_http_port, requests, s), {"echo": echo, "Envoy": echo_envoy}
            )
            ours.drive(plan.warm_seconds)
            take_turns(plan, ours, theirs)
    return Comparison(
        workload="http",
        what=f"POST /orders through Envoy, {IN_FLIGHT} connections; {orders.MIX}",
        baseline_what="servicer behind the same Envoy configuration that parses its request and "
        "answers with the bytes of a real reply",
        exchange=ours.side,
        baseline=theirs.side,
        ratio_goal=0.70,
    )


def session(plan: Plan, size: int) -> Comparison:
    """`TradingSession` with `size` commands a message."""
    in_flight = MESSAGES_IN_FLIGHT[size]
    turn_messages = plan.turn_commands_max // size
    with bench(plan) as directory, exchange(directory) as (server, port):
        requests, replies = directory / "requests", directory / "replies"
        commands = _session_commands(plan.turn_commands_max * (plan.turns + 1))
        write_messages(requests, messages(commands, size))

        def talk(port: int, first: int, seconds: float, **options: Path) -> Turn:
            return drive(
                "session",
                port=port,
                requests=requests,
                first=first,
                count=turn_messages,
                seconds=seconds,
                in_flight=in_flight,
                size=size,
                **options,
            )

        sent = 0

        def go_on(seconds: float, **options: Path) -> Turn:
            nonlocal sent
            turn = talk(port, sent, seconds, **options)
            sent += turn.requests
            return turn

        go_on(plan.warm_seconds, replies=replies)
        with _echo("session", replies, directory) as (echo, echo_port):
            ours = Lane(go_on, {"server": server})
            theirs = Lane(lambda s: talk(echo_port, 0, s), {"echo": echo})
            take_turns(plan, ours, theirs)
    return Comparison(
        workload=f"session {size}",
        what=f"TradingSession, {size} a message, {in_flight} messages in flight, one client; the "
        f"order stream of tests/data/flow, {CLIENTS} clients",
        baseline_what="grpc.aio stream that parses the same messages and answers with the bytes of "
        "real replies",
        exchange=ours.side,
        baseline=theirs.side,
        rate_goal=60_000 if size == 100 else None,
    )


def _place(port: int, requests: Path, path: str, seconds: float, **options: Path) -> Turn:
    return drive(
        "unary",
        port=port,
        requests=requests,
        path=path,
        count=ENDLESS,
        seconds=seconds,
        in_flight=IN_FLIGHT,
        **options,
    )


def post(port: int, requests: Path, seconds: float, size: int = 1) -> Turn:
    """One turn of HTTP, with so many orders a request."""
    return drive(
        "http",
        port=port,
        requests=requests,
        count=ENDLESS,
        seconds=seconds,
        in_flight=IN_FLIGHT,
        size=size,
    )


@contextlib.contextmanager
def bench(plan: Plan) -> Iterator[Path]:
    """A directory for one workload, gone with it."""
    with TemporaryDirectory(prefix="bench-", dir=plan.directory) as directory:
        yield Path(directory)


@contextlib.contextmanager
def exchange(directory: Path, *options: str) -> Iterator[tuple[Part, int]]:
    """A server with an empty data directory below this one, and its port."""
    port = free_port()
    command: Command = [
        *EXCHANGE,
        "server",
        "--data-dir",
        directory / "data",
        "--grpc-port",
        str(port),
        *options,
    ]
    with running(command, directory) as part:
        part.wait_until(lambda: listens(port))
        yield part, port


@contextlib.contextmanager
def gateway(server_port: int, directory: Path) -> Iterator[tuple[Part, int]]:
    """A gateway in front of a server, and its port."""
    port = free_port()
    address = f"{HOST}:{server_port}"
    command: Command = [*EXCHANGE, "gateway", "--http-port", str(port), "--server", address]
    with running(command, directory) as part:
        part.wait_until(lambda: passes_on(port))
        yield part, port


@contextlib.contextmanager
def _echo(way: str, replies: Path, directory: Path) -> Iterator[tuple[Part, int]]:
    port = free_port()
    command: Command = [PYTHON, "-m", "bench.echo", way, "--port", str(port), "--replies", replies]
    with running(command, directory) as part:
        part.wait_until(lambda: listens(port))
        yield part, port
