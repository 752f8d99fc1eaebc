"""The WebSocket bridge with many readers on one busy instrument, and with one that stops reading.

Everything is on this machine: server, bridge, Envoy, and the readers, a process of their own
(`bench.websocket_readers`). Orders change the book far more often than the ten times a second that
a connection is sent it; some of them trade. The delay of a trade is from its acknowledgement, as
the process that placed it got it over gRPC, to its frame at a reader, by the one clock that all
processes share; a frame that came before the acknowledgement counts as 0.

Beside them there is one client that wants everything. It reads it in one turn and not a byte in
the next, so that what the machine does meanwhile falls on both kinds of turns; the ratio is that of
their 99th percentiles, of each pair. Memory is what the
bridge's process has to itself, more than before the first connection.
"""

import asyncio
import contextlib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from bench import websocket_readers
from bench.comparison import spread
from bench.figures import PERCENTILES, percentiles
from bench.processes import HOST, STOP_S, Part, running
from bench.websocket_readers import DELIVERY_S, HANDSHAKE, INSTRUMENT, Received, masked
from bench.workloads import EXCHANGE, Plan, bench, exchange, gateway
from clients.client import ExchangeClient
from clients.errors import ExchangeError
from clients.requests import CancelOrder, PlaceOrder

CONNECTIONS: Final = 1_000
TRADES_PER_SECOND: Final = 20
ORDERS_PER_TRADE: Final = 5
"""That change the book besides."""
RESTING_MAX: Final = 200
"""Of those: the oldest is cancelled for each new one."""
READ_BYTES: Final = 256 * 1024
P99: Final = PERCENTILES.index(99.0)
DELAY_MS_MIN: Final = 0.001
"""To compare with: in a short turn all frames may be there before the replies they belong to."""
SHARES: Final = " / ".join(f"p{share:g}" for share in PERCENTILES)
RECEIVED: Final = "received"
"""The file with what the readers were sent."""
WANT_EVERYTHING: Final = masked(
    b'{"type":"subscribe","channels":["trades","orders","orderbook","depth"],"instrument":"%s"}'
    % INSTRUMENT.encode()
)


class Figures(NamedTuple):
    """What one run measured."""

    connections: int
    trades: int
    unanswered: int
    """Orders and cancels without a good answer, on a machine that is too busy for all this."""
    missed: int
    """Trades that did not come to a connection, or not in their order."""
    delays_ms: list[float]
    """At each of `percentiles`, while everybody reads."""
    stuck_ratios: list[float]
    """Of the 99th percentile beside a client that doesn't read to that, turn by turn."""
    memory_kb: dict[str, float]
    """Of a connection, by process."""
    cpu_us: dict[str, float]
    """Of a frame to one connection, by process."""
    frames_per_second: float

    def __str__(self) -> str:
        delays = " / ".join(f"{each:.3g}" for each in self.delays_ms)
        stuck = spread(self.stuck_ratios)
        return "\n".join(
            (
                *self._counted(),
                f"- ms from acknowledgement to frame, {SHARES}: {delays} (aim: p99 below 250)",
                f"- p99 beside a client that doesn't read, to one that does: {stuck} (aim: ≤ 1.20)",
                f"- kB a connection: {listed(self.memory_kb)} (aim: the bridge below 50)",
                f"- CPU µs a frame to one connection: {listed(self.cpu_us)}",
            )
        )

    def _counted(self) -> Iterator[str]:
        yield f"websocket: {self.connections:,} connections, {self.frames_per_second:,.0f} frames/s"
        unanswered = f", {self.unanswered} orders without an answer" if self.unanswered else ""
        yield f"- {self.trades} trades, {self.missed} missed by a connection (aim: 0){unanswered}"


def listed(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in values.items())


def measure(plan: Plan, connections: int = CONNECTIONS) -> Figures:
    """Start everything, and look for twice the plan's turns."""
    with (
        bench(plan) as directory,
        exchange(directory) as (server, grpc_port),
        bridge(grpc_port, directory) as link,
        gateway(grpc_port, directory) as (envoy, http_port),
    ):
        parts = {"bridge": link, "Envoy": envoy, "server": server}
        empty = {name: part.memory_bytes() for name, part in parts.items()}
        with readers(http_port, connections, directory) as (reading, finish):
            parts["readers"] = reading
            run = Run(plan, parts, http_port)
            asyncio.run(run.drive(grpc_port))
            run.count_cpu()
            grown = {name: parts[name].memory_bytes() - empty[name] for name in ("bridge", "Envoy")}
            finish(run.last_trade)
        received = websocket_readers.read(directory / RECEIVED)
    return run.figures(received, connections, grown)


@contextlib.contextmanager
def bridge(grpc_port: int, directory: Path) -> Iterator[Part]:
    """A bridge where the gateway looks for it."""
    address = f"{HOST}:{grpc_port}"
    with running([*EXCHANGE, "websocket", "--server", address], directory) as part:
        part.wait_until(lambda: is_there(f"\0exchange-websocket-{address}"))
        yield part


def is_there(name: str) -> bool:
    """Whether somebody listens at a name of this machine."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(name) == 0


@contextlib.contextmanager
def readers(
    http_port: int, connections: int, directory: Path
) -> Iterator[tuple[Part, Callable[[str], None]]]:
    """All of them subscribed, and what ends them once they were sent a last trade."""
    command = [sys.executable, "-m", "bench.websocket_readers", "--port", str(http_port)]
    command += ["--count", str(connections), "--into", str(directory / RECEIVED)]
    log = directory / "readers.log"
    with (
        log.open("wb") as said,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != b"reading\n":
            raise RuntimeError(f"the readers failed: {log.read_text(encoding='utf-8')[-2000:]}")

        def finish(last_trade: str) -> None:
            process.communicate(last_trade.encode(), STOP_S + DELIVERY_S)

        try:
            yield Part(process, log), finish
        finally:
            process.kill()


class Run:
    """Turns with one more client, who reads or not, and what was acknowledged in each."""

    def __init__(self, plan: Plan, parts: dict[str, Part], http_port: int) -> None:
        self._plan = plan
        self._parts = parts
        self._http_port = http_port
        self._turn = -1
        """In even ones everybody reads; -1 and the last are not counted."""
        self._acknowledged: dict[str, tuple[int, int]] = {}
        """Turn and moment, by the trade's id."""
        self._unanswered = 0
        self._cpu: dict[str, float] = {}
        self._before: dict[str, float] = {}
        self._seconds = 0.0

    async def drive(self, grpc_port: int) -> None:
        """All turns."""
        began, self._before = time.monotonic(), self._cpu_now()
        async with ExchangeClient(f"{HOST}:{grpc_port}") as client, asyncio.TaskGroup() as calls:
            busy = calls.create_task(self._trade(client, calls))
            await asyncio.sleep(self._plan.warm_seconds)
            for turn in range(2 * self._plan.turns):
                self._turn = turn
                async with one_more(self._http_port, reads=turn % 2 == 0):
                    await asyncio.sleep(self._plan.seconds)
            self._turn = 2 * self._plan.turns
            busy.cancel()
        self._seconds = time.monotonic() - began

    @property
    def last_trade(self) -> str:
        """That was acknowledged."""
        return next(reversed(self._acknowledged), "")

    def count_cpu(self) -> None:
        """What was used since the beginning."""
        self._cpu = {name: used - self._before[name] for name, used in self._cpu_now().items()}

    def _cpu_now(self) -> dict[str, float]:
        return {name: part.cpu_s() for name, part in self._parts.items()}

    async def _trade(self, client: ExchangeClient, calls: asyncio.TaskGroup) -> None:
        """Orders at even moments; each `ORDERS_PER_TRADE` + 1st takes from one that rests."""
        loop = asyncio.get_running_loop()
        await client.place(PlaceOrder("maker", INSTRUMENT, "sell", 1_000_000, 70_000))
        began, number = loop.time(), 0
        while True:
            number += 1
            calls.create_task(self._answered(client, number))
            at = began + number / TRADES_PER_SECOND / (ORDERS_PER_TRADE + 1)
            await asyncio.sleep(at - loop.time())

    async def _answered(self, client: ExchangeClient, number: int) -> None:
        try:
            await self._order(client, number)
        except ExchangeError:
            self._unanswered += 1

    async def _order(self, client: ExchangeClient, number: int) -> None:
        if number % (ORDERS_PER_TRADE + 1) == 0:
            placed = await client.place(PlaceOrder("taker", INSTRUMENT, "buy", "0.01", 70_000))
            now_ns = time.monotonic_ns()
            for trade in placed.trades:
                self._acknowledged[trade.trade_id] = self._turn, now_ns
            return
        price = 69_900 - number % 40 if number % 2 else 70_100 + number % 40
        side = "buy" if number % 2 else "sell"
        name = f"bench-{number}"
        await client.place(PlaceOrder("maker", INSTRUMENT, side, "0.1", price, order_id=name))
        if number > RESTING_MAX and (number - RESTING_MAX) % (ORDERS_PER_TRADE + 1):
            await client.cancel(CancelOrder(f"bench-{number - RESTING_MAX}"))

    def figures(self, received: Received, connections: int, grown: dict[str, int]) -> Figures:
        """Of what was acknowledged and what came."""
        missed = received.faults
        delays: dict[int, list[float]] = {turn: [] for turn in range(2 * self._plan.turns)}
        arrived = dict(received.trades)
        for name, (turn, at_ns) in self._acknowledged.items():
            times = arrived.get(name, [])
            missed += connections - len(times)
            if turn in delays:
                delays[turn] += [max(each - at_ns, 0) / 1e6 for each in times]
        by_turn = [percentiles(each) for each in delays.values()]
        without, beside = by_turn[::2], by_turn[1::2]
        return Figures(
            connections=connections,
            trades=len(self._acknowledged),
            unanswered=self._unanswered,
            missed=missed,
            delays_ms=[statistics.median(each) for each in zip(*without, strict=True)],
            stuck_ratios=[
                b[P99] / max(a[P99], DELAY_MS_MIN) for a, b in zip(without, beside, strict=True)
            ],
            memory_kb={name: size / connections / 1e3 for name, size in grown.items()},
            cpu_us={name: used / received.frames * 1e6 for name, used in self._cpu.items()},
            frames_per_second=received.frames / self._seconds,
        )


@contextlib.asynccontextmanager
async def one_more(http_port: int, *, reads: bool) -> AsyncIterator[None]:
    """A client that wants everything, and reads all of it, or not a byte."""
    loop = asyncio.get_running_loop()
    with socket.socket() as link:
        if not reads:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.setblocking(False)
        await loop.sock_connect(link, (HOST, http_port))
        await loop.sock_sendall(link, HANDSHAKE.format(host=HOST).encode() + WANT_EVERYTHING)
        reading = asyncio.create_task(read_all(link)) if reads else None
        yield
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def read_all(link: socket.socket) -> None:
    """Until it is cancelled, or ended by the other side."""
    while await asyncio.get_running_loop().sock_recv(link, READ_BYTES):
        pass
