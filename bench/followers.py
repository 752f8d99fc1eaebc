"""What followers keep up with, what they cost the others, and how fast history answers.

- *writer*: the agreed order stream, journaled beforehand, taken into an embedded PostgreSQL by a
  follower from its start on: commands a second until the last of them is there.
- *fixed rate*: so many orders a second in a trading session, ten a message and a hundred, to a
  server alone and to one with all followers and their servers; a message's time runs from when it
  was due. How far the followers were behind is what they had reported, looked at twenty times a
  second.
- *saturation*: the same without a fixed rate, and how long followers take afterwards.
- *PostgreSQL away*: orders/s in a trading session where the follower has no PostgreSQL, and where
  it has one that was killed, or stopped by a signal, so that it answers nothing.
- *history*: a page of trades, and a day of one-minute analytics, of a million trades of one day
  in the tables, read and made into a reply.

Both sides take turns, each on a data directory of its own that is gone before the next begins.
"""

import asyncio
import contextlib
import signal
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg
import grpc

from bench.comparison import judged
from bench.figures import PERCENTILES, Turn, write_messages
from bench.processes import HOST, Command, Part, drive, free_port, listens, running
from bench.recovery import journaled, stream
from bench.session_messages import messages, session_commands
from bench.workloads import EXCHANGE, Plan, bench, exchange
from exchange.v1.admin_service_pb2 import GetStatusRequest, GetStatusResponse
from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
from exchange.v1.market_data_pb2 import ListTradesResponse
from server import event_messages
from server.followers.migrations import migrate
from server.history.analytics import Analytics
from server.history.reader import History
from server.journal.snapshots import write_snapshot
from server.rpc.market_view import analytics
from server.supervisor.embedded import kafka as embedded_kafka
from server.supervisor.embedded import postgres as embedded_postgres
from server.supervisor.embedded import redis as embedded_redis

WRITTEN: Final = 200_000
WRITER_GOAL: Final = 10_000
RATE: Final = 5_000
MESSAGES: Final = (10, 100)
"""Orders in a message at the fixed rate; a hundred at saturation."""
IN_FLIGHT: Final = 64
P99: Final = PERCENTILES.index(99.0)
SATURATION_S: Final = 5.0
"""Of a turn: what followers had received before they are held costs them a second or two."""
SATURATION_COMMANDS: Final = 400_000
BEHIND_GOAL_S: Final = 1.0
SHARE_GOAL: Final = 0.9
AWAY_GOAL: Final = 0.95
AWAY_PARTS: Final = 5
"""Of a turn there: what else the machine does changes from second to second."""
TRADES: Final = 1_000_000
QUESTIONS: Final = 50
HISTORY_GOAL_MS: Final = 50.0
CATCH_UP_S: Final = 300.0
START_S: Final = 120.0
"""Until Kafka serves and all followers are there, where the cores are busy."""
INSTRUMENT: Final = "BTC-USD"

_FILL: Final = """
INSERT INTO trades SELECT n, 0, to_timestamp(1.7e9 + n * 0.0864),
    1700000000000000000 + n * 86400000, 'BTC-USD', 70000 + n % 977, 0.01 + n % 13, 'buy',
    'm' || n, 'c' || n % 50, n, 0.01,
    't' || n, 'c' || n % 49, n, 0.02 FROM generate_series(1::bigint, $1) AS n"""
_BARS: Final = """
INSERT INTO minute_bars SELECT instrument, time_ns / 60000000000, (array_agg(price))[1], max(price),
    min(price), (array_agg(price))[1], sum(quantity), sum(price * quantity), count(*), sum(price)
FROM trades GROUP BY 1, 2"""


class Beside(NamedTuple):
    """Turns of a server alone and of one with followers."""

    alone: list[Turn]
    followed: list[Turn]
    behind_s: list[float]
    """The most that a follower was behind during each turn."""
    caught_up_s: list[float]
    """Until none was after it."""


def measured(plan: Plan) -> Iterator[str]:
    """One line for each figure; with Kafka and Redis where they can be installed."""
    full = _installed()
    yield writer(plan)
    for size in MESSAGES:
        yield fixed_rate(plan, size, full=full)
    yield saturation(plan, full=full)
    yield away(plan)
    yield from history(plan)


def _installed() -> bool:
    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        embedded_redis.install(say)
        embedded_kafka.install(say)
    except (embedded_redis.RedisMissing, embedded_kafka.KafkaMissing) as missing:
        say(f"followers are measured without Kafka and Redis: {missing}")
        return False
    return True


def fixed_rate(plan: Plan, size: int, *, full: bool) -> str:
    """What followers add to the time of a message, and how far behind they are."""
    found = beside(plan, size, RATE / size, full=full)
    alone, followed = (
        statistics.median(turn.latencies_ms[P99] for turn in turns)
        for turns in (found.alone, found.followed)
    )
    reached = followed <= max(1.2 * alone, alone + 1)
    rate = statistics.median(turn.rate for turn in found.followed)
    late = max(found.behind_s)
    return (
        f"- **fixed rate**: {rate:,.0f} orders/s, {size} a message, with {_named(full)}:"
        f" p99 {followed:.1f} ms, without {alone:.1f} ms"
        f" ({judged(reached, 'at most 1.2 times, or 1 ms more')}); at most {late:.2f} s behind"
        f" ({judged(late < BEHIND_GOAL_S, f'less than {BEHIND_GOAL_S:g} s')})"
    )


def saturation(plan: Plan, *, full: bool) -> str:
    """What share of the speed is left."""
    longer = replace(plan, seconds=SATURATION_S, turn_commands_max=SATURATION_COMMANDS)
    found = beside(longer, 100, 0, full=full)
    shares = [b.rate / a.rate for a, b in zip(found.alone, found.followed, strict=True)]
    share = statistics.median(shares)
    return (
        f"- **saturation**: {statistics.median(turn.rate for turn in found.followed):,.0f} orders/s"
        f" with {_named(full)}, without"
        f" {statistics.median(turn.rate for turn in found.alone):,.0f}: {share:.2f}"
        f" ({judged(share >= SHARE_GOAL, f'at least {SHARE_GOAL:g}')}); caught up"
        f" {max(found.caught_up_s):.1f} s after the last order at the most"
    )


def away(plan: Plan) -> str:
    """What share of the speed is left while PostgreSQL is not there: all servers are there at once,
    and the short turns of each lie between those of the others."""
    size, count = 100, plan.turn_commands_max // AWAY_PARTS
    rates: list[list[float]] = []
    with contextlib.ExitStack() as stack:
        directories = [Path(stack.enter_context(bench(plan))) for _ in range(3)]
        ports = [stack.enter_context(_without_postgres(directories[0]))]
        for directory, number in zip(
            directories[1:], (signal.SIGKILL, signal.SIGSTOP), strict=True
        ):
            ports.append(stack.enter_context(_postgres_away(directory, number)))
        requests = directories[0] / "requests"
        turns = plan.turns * AWAY_PARTS
        write_messages(requests, messages(session_commands(count * (turns + 1)), size))
        for turn in range(turns + 1):
            rates.append([0.0] * len(ports))
            # Each comes after each of the others, whose follower may have something to do still.
            for side in range(turn, turn + len(ports)):
                side %= len(ports)
                found = drive(
                    "session",
                    port=ports[side],
                    requests=requests,
                    first=turn * count // size,
                    count=count // size,
                    seconds=plan.seconds,
                    in_flight=8,
                    size=size,
                    rate=0,
                )
                rates[-1][side] = found.rate
        for port in ports[1:]:
            with asked(port) as admin:
                assert behind(admin), "PostgreSQL is not away"
    # Of the first turn each is cold.
    without, killed, stopped = (
        statistics.median(one[side] / (one[0] if side else 1) for one in rates[1:])
        for side in range(3)
    )
    return (
        f"- **PostgreSQL away**: killed {killed:.2f}, stopped {stopped:.2f} of {without:,.0f}"
        f" orders/s without one"
        f" ({judged(min(killed, stopped) >= AWAY_GOAL, f'at least {AWAY_GOAL:g}')})"
    )


@contextlib.contextmanager
def follower(directory: Path, port: int, *options: str) -> Iterator[Part]:
    """A follower of the server there."""
    places: Command = ["--data-dir", directory / "data", "--server", f"{HOST}:{port}"]
    with running([*EXCHANGE, "follower", *places, *options], directory) as part:
        yield part


@contextlib.contextmanager
def _without_postgres(directory: Path) -> Iterator[int]:
    """A server with a follower that has none: the server's port."""
    with exchange(directory) as (_, port), follower(directory, port):
        yield port


@contextlib.contextmanager
def _postgres_away(directory: Path, number: int) -> Iterator[int]:
    """A server whose follower's PostgreSQL was sent this signal: the server's port."""
    with postgres(directory / "postgres") as (url, database):
        there = ("--postgres-url", url)
        with exchange(directory, *there) as (_, port), follower(directory, port, *there):
            asyncio.run(_written(url, 1))
            database.tree_signal(number)
            yield port
        database.tree_signal(signal.SIGCONT)


def _named(full: bool) -> str:
    return f"snapshots, PostgreSQL{', Kafka and Redis' if full else ''}"


@contextlib.contextmanager
def postgres(directory: Path) -> Iterator[tuple[str, Part]]:
    """An embedded PostgreSQL, and its address."""
    cluster, port = embedded_postgres.prepare(directory), free_port()
    command = embedded_postgres.command(cluster, port)
    with running(command, directory) as part:
        part.wait_until(lambda: listens(port))
        yield embedded_postgres.url(directory, port), part


@contextlib.contextmanager
def everything(directory: Path, *, full: bool) -> Iterator[int]:
    """`exchange up` with its own servers: the gRPC port."""
    port = free_port()
    ports = ["--http-port", str(free_port()), "--grpc-port", str(port)]
    options = ["--full"] if full else []
    command: Command = [*EXCHANGE, "up", "--data-dir", directory / "data", *ports, *options]
    with running(command, directory) as part:
        wanted = {"snapshots", "postgres", *(("kafka", "redis") if full else ())}
        part.wait_until(lambda: listens(port))
        deadline = time.monotonic() + START_S
        with asked(port) as admin:
            while not wanted <= {it.name for it in status(admin).followers}:
                assert time.monotonic() < deadline, f"not all of {wanted} follow by {START_S:g} s"
                time.sleep(0.1)
        yield port


@contextlib.contextmanager
def asked(port: int) -> "Iterator[AdminServiceStub]":
    """Who asks the server how it is."""
    with grpc.insecure_channel(f"{HOST}:{port}") as channel:
        yield AdminServiceStub(channel)


def status(admin: "AdminServiceStub") -> GetStatusResponse:
    """What the server says of itself; nothing where it does not answer."""
    try:
        return admin.GetStatus(GetStatusRequest(), timeout=5)
    except grpc.RpcError:
        return GetStatusResponse()


def behind(admin: "AdminServiceStub") -> int:
    """Commands that the last follower has not taken in."""
    said = status(admin)
    return max((said.durable_sequence - it.sequence for it in said.followers), default=0)


def writer(plan: Plan, count: int = WRITTEN) -> str:
    """How fast one follower writes."""
    with bench(plan) as directory:
        engine, log = journaled(directory / "data", stream(count))
        write_snapshot(directory / "data", engine, log.mark)
        log.close()
        with (
            exchange(directory) as (_, port),
            postgres(directory / "postgres") as (url, database),
            follower(directory, port, "--postgres-url", url) as part,
        ):
            used_s = asyncio.run(_written(url, 1)), part.cpu_s(), database.tree_cpu_s()
            began = time.monotonic()
            taken = asyncio.run(_written(url, engine.sequence)) - used_s[0]
            seconds = time.monotonic() - began
            ours = 1e6 * (part.cpu_s() - used_s[1]) / taken
            theirs = 1e6 * (database.tree_cpu_s() - used_s[2]) / taken
    rate = taken / seconds
    return (
        f"- **writer**: {taken:,} commands into PostgreSQL at {rate:,.0f}/s"
        f" ({judged(rate >= WRITER_GOAL, f'at least {WRITER_GOAL:,}')}); CPU {ours:.0f} µs a"
        f" command in the follower, {theirs:.0f} in PostgreSQL"
    )


async def _written(url: str, sequence: int) -> int:
    """Wait until the tables are there: where they are. By one connection: to make one is work."""
    query = "SELECT sequence FROM follower_positions"
    connection = await _connected(url)
    deadline = time.monotonic() + CATCH_UP_S
    while time.monotonic() < deadline:
        with contextlib.suppress(asyncpg.UndefinedTableError):
            reached = await connection.fetchval(query) or 0
            if reached >= sequence:
                await connection.close()
                return int(reached)
        await asyncio.sleep(0.02)
    raise RuntimeError(f"PostgreSQL was not at sequence {sequence} after {CATCH_UP_S:g} s")


async def _connected(url: str) -> Any:
    deadline = time.monotonic() + 30
    while True:
        try:
            return await asyncpg.connect(url)
        except (OSError, asyncpg.PostgresError):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


def beside(plan: Plan, size: int, rate: float, *, full: bool) -> Beside:
    """The same load on a server alone and with followers."""
    measured = Beside([], [], [], [])
    for _ in range(plan.turns):
        with bench(plan) as directory, exchange(directory) as (_, port), _watched(port):
            measured.alone.append(_loaded(plan, directory, port, size, rate))
        with bench(plan) as directory, everything(directory, full=full) as port:
            with _watched(port) as most:
                measured.followed.append(_loaded(plan, directory, port, size, rate))
            measured.behind_s.append(most[0] / measured.followed[-1].rate)
            measured.caught_up_s.append(_catch_up(port))
    return measured


def _loaded(plan: Plan, directory: Path, port: int, size: int, rate: float) -> Turn:
    requests = directory / "requests"
    most = int(plan.seconds * rate * size) if rate else plan.turn_commands_max
    warm = size * 50
    write_messages(requests, messages(session_commands(most + warm), size))

    def send(first: int, count: int) -> Turn:
        return drive(
            "session",
            port=port,
            requests=requests,
            first=first,
            count=count,
            seconds=plan.seconds + 30 * bool(rate),
            in_flight=IN_FLIGHT if rate else 8,
            size=size,
            rate=rate,
        )

    send(0, warm // size)
    _catch_up(port)
    return send(warm // size, most // size)


def _catch_up(port: int) -> float:
    """Wait until no follower is behind: how long that took, in seconds."""
    began = time.monotonic()
    with asked(port) as admin:
        while behind(admin) and time.monotonic() - began < CATCH_UP_S:
            time.sleep(0.02)
    return time.monotonic() - began


@contextlib.contextmanager
def _watched(port: int) -> Iterator[list[int]]:
    """The most that a follower was behind. It looks over one connection: each new one is work."""
    most, ended = [0], threading.Event()

    def look() -> None:
        with asked(port) as admin:
            while not ended.wait(0.05):
                most[0] = max(most[0], behind(admin))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def history(plan: Plan, trades: int = TRADES) -> Iterator[str]:
    """How long reads take."""
    with bench(plan) as directory, postgres(directory) as (url, _):
        asyncio.run(_fill(url, trades))
        asked = asyncio.run(_asked(url, trades))
    for what, times_ms in asked.items():
        median = statistics.median(times_ms)
        yield (
            f"- **history**: {what} over {trades:,} trades: median {median:.1f} ms, at most"
            f" {max(times_ms):.1f} ({judged(median < HISTORY_GOAL_MS, 'under 50 ms')})"
        )


async def _fill(url: str, trades: int) -> None:
    connection = await _connected(url)
    await migrate(connection)
    months = "FOR VALUES FROM ('2023-11-01+00') TO ('2023-12-01+00')"
    await connection.execute(f"CREATE TABLE trades_2023_11 PARTITION OF trades {months}")
    instrument = "INSERT INTO instruments VALUES ('BTC-USD', 1, 1, 1, 1, 1, 1, 0, 0, 1, 1)"
    await connection.execute(instrument)
    await connection.execute(_FILL, trades)
    await connection.execute(_BARS)
    query = "INSERT INTO follower_positions VALUES ('postgres', '', $1, $2)"
    await connection.execute(query, trades, 1_700_086_520_000_000_000)
    await connection.execute("ANALYZE")
    await connection.close()


async def _asked(url: str, trades: int) -> dict[str, list[float]]:
    reader = History(url)
    first = 1_700_000_000 // 60 + 1
    asked = defaultdict[str, list[float]](list)
    for number in range(QUESTIONS):
        before = trades * (number + 1) // QUESTIONS

        async def page(client_id: str = "", before: int = before) -> bytes:
            reply = ListTradesResponse()
            for trade in await reader.trades(INSTRUMENT, (before, 0), 1_000, client_id):
                event_messages.trade(reply.trades.add(), *trade)
            return reply.SerializeToString()

        async def day() -> bytes:
            bars = await reader.minutes(INSTRUMENT, first, first + 1_439, 1, 10_001)
            assert trades < TRADES or len(bars) == 1_439, len(bars)
            return analytics(Analytics(0, 1, bars, 1)).SerializeToString()

        asked["a page of 1,000"].append(await _timed_ms(page))
        own = partial(page, f"c{number % 49}")
        asked["a page of 1,000 of one client's"].append(await _timed_ms(own))
        asked["a day of one-minute analytics"].append(await _timed_ms(day))
    await reader.close()
    return asked


async def _timed_ms(question: Callable[[], Awaitable[bytes]]) -> float:
    began = time.perf_counter()
    assert await question()
    return 1_000 * (time.perf_counter() - began)
