"""Orders as `POST /orders`, many connections that stay open, each with one request in flight.

A closed loop: each connection sends its next order when the last one is answered, so that a slower
exchange gets fewer orders, not a growing queue. Orders of a file begin in the file's order; with
more than one connection they may arrive in another.

The connections speak just enough HTTP/1.1 for replies of a stated length, which is what the gateway
sends; a Python HTTP library would take several times the CPU of the exchange itself. A connection
that is lost, or has no answer within `ANSWER_S`, is counted and opened again; its order is not
repeated, since what became of it isn't known.
"""

import asyncio
import json
import resource
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast

import grpc

from clients.decimals import e8_of, text_of_e8
from clients.errors import UnavailableError
from clients.load.figures import Figures
from clients.requests import PlaceOrder

ANSWER_S = 30.0  # the gateway's own patience is shorter: what takes longer is lost
CONNECT_S = 10.0
OPENING_MAX = 100  # connections opened at once: less than a listener's queue holds
AGAIN_S = 0.2  # before a lost connection is opened again
HEAD_BYTES_MAX = 64 * 1024  # of one reply: several times what the gateway sends
REPLY_BYTES_MAX = 4 * 1024 * 1024  # of one reply: the gateway's own limit
FILES_APART = 64  # open files beside the connections
SWEEP_S = 0.5


class FilesLimitError(ValueError):
    """The system allows fewer connections; the message is the sentence to show."""


def http_body(order: PlaceOrder) -> bytes:
    """An order as the documented JSON has it, numbers with just the digits they have."""
    fields = {
        "client_id": order.client_id,
        "instrument": order.instrument,
        "side": order.side,
        "type": order.type,
        "time_in_force": order.time_in_force,
        "self_trade_prevention": order.self_trade_prevention,
        "order_id": order.order_id,
        "idempotency_key": order.idempotency_key,
    }
    text = json.dumps({name: value for name, value in fields.items() if value})
    numbers = f',"quantity":{text_of_e8(e8_of(order.quantity, "quantity"))}'
    if order.price is not None:
        numbers += f',"price":{text_of_e8(e8_of(order.price, "price"))}'
    if order.post_only:
        numbers += ',"post_only":true'
    return (text[:-1] + numbers + "}").encode()


async def send_over_http(
    host: str,
    port: int,
    bodies: Iterator[bytes],
    figures: Figures,
    *,
    clients: int,
    seconds: float,
    stop: asyncio.Event,
) -> None:
    """Sends until the bodies or the seconds are over, or `stop` is set; waits for the answers."""
    allow_files(clients)
    run = _Run(host, port, bodies, figures)
    connecting = asyncio.create_task(run.connect(clients))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({connecting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done():
            return
        connecting.result()
        began = time.perf_counter()
        run.begin()
        ends: set[asyncio.Future[Any]] = {stopped, run.finished}
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        run.end()
        await run.finished
        figures.seconds = time.perf_counter() - began
    finally:
        stopped.cancel()
        connecting.cancel()
        await asyncio.wait({connecting})
        run.close()


def allow_files(connections: int) -> None:
    """Raises the soft limit of open files as far as is needed, or says that it can't be."""
    needed = connections + FILES_APART
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise FilesLimitError(
            f"{connections:,} clients need {needed:,} open files and this system allows {hard:,}: "
            f"use fewer clients, or raise the limit (ulimit -Hn {needed})"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


class _Run:
    """What all connections share: the orders, the figures, and when it is over."""

    def __init__(self, host: str, port: int, bodies: Iterator[bytes], figures: Figures) -> None:
        self._host, self._port = host, port
        self._bodies = bodies
        self._figures = figures
        self._over = False
        self._connections: set[_Connection] = set()
        self._reopening: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None
        self.in_flight = 0
        self.finished: asyncio.Future[None] = self._loop.create_future()
        self._authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.head = (
            f"POST /orders HTTP/1.1\r\nhost: {self._authority}\r\n"
            "content-type: application/json\r\ncontent-length: "
        ).encode()

    # The connections.

    async def connect(self, clients: int) -> None:
        room = asyncio.Semaphore(OPENING_MAX)

        async def one() -> None:
            async with room:
                await self._open()

        # The first alone: where nobody is there, one attempt says so.
        for count in (1, clients - 1):
            opening = [self._loop.create_task(one()) for _ in range(count)]
            try:
                await asyncio.gather(*opening)
            # A name that none can have is refused by Python's own look-up.
            except (OSError, UnicodeError) as error:
                raise UnavailableError(
                    f"http://{self._authority} took {len(self._connections):,} of "
                    f"{clients:,} connections ({str(error) or 'no answer'}); check that the "
                    "exchange runs there, and that it allows so many",
                    code=grpc.StatusCode.UNAVAILABLE,
                ) from None
            finally:
                for task in opening:
                    task.cancel()
                await asyncio.gather(*opening, return_exceptions=True)

    async def _open(self) -> "_Connection":
        async with asyncio.timeout(CONNECT_S):
            _, connection = await self._loop.create_connection(
                lambda: _Connection(self), self._host, self._port
            )
        self._connections.add(connection)
        return connection

    def lost(self, connection: "_Connection") -> None:
        self._connections.discard(connection)
        if not self._over:
            task = self._loop.create_task(self._reopen())
            self._reopening.add(task)
            task.add_done_callback(self._reopening.discard)

    async def _reopen(self) -> None:
        while not self._over:
            await asyncio.sleep(AGAIN_S)
            try:
                connection = await self._open()
            except (OSError, TimeoutError):
                continue
            connection.send()
            return

    # The orders.

    def begin(self) -> None:
        for connection in list(self._connections):
            connection.send()
        self._sweep()

    def next_body(self) -> bytes | None:
        body = None if self._over else next(self._bodies, None)
        if body is None:
            self.end()
            return None
        self._figures.sent += 1
        self.in_flight += 1
        return body

    def answered(self, status: int, body: bytes, answer_ms: float) -> None:
        figures = self._figures
        figures.answers_ms.append(answer_ms)
        if status < 300:
            figures.accepted += 1
            # What the reply says of the order comes first; it has the word for no other.
            figures.rejected += b'"status":"rejected"' in body
            figures.trades += body.count(b'"trade_id"')
        else:
            figures.refuse(*_refusal(status, body))
        self.done()

    def failed(self, why: str) -> None:
        self._figures.fail(why)
        self.done()

    def done(self) -> None:
        self.in_flight -= 1
        self._finish()

    def end(self) -> None:
        """Take no more orders."""
        self._over = True
        self._finish()

    def _finish(self) -> None:
        if self._over and not self.in_flight and not self.finished.done():
            self.finished.set_result(None)

    def _sweep(self) -> None:
        limit = time.perf_counter() - ANSWER_S
        for connection in list(self._connections):
            connection.give_up_before(limit)
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    def close(self) -> None:
        self._over = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in self._reopening:
            task.cancel()
        for connection in list(self._connections):
            connection.abort()


class _Connection(asyncio.Protocol):
    """One client: one connection, one request at a time."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._received = b""
        self._sent: float | None = None
        self._why = "connection lost"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self) -> None:
        """Send the next order, if there is one."""
        body = self._run.next_body()
        if body is not None:
            self._sent = time.perf_counter()
            self._transport.write(self._run.head + b"%d\r\n\r\n%b" % (len(body), body))

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        head = received.find(b"\r\n\r\n")
        if head < 0 and len(received) <= HEAD_BYTES_MAX:
            return
        lines = received[: max(head, 0)].lower()
        length = _length(lines)
        if self._sent is None or length is None:
            self._why = "unreadable reply"
            self.abort()
        elif len(received) >= head + 4 + length:
            answer_ms = (time.perf_counter() - self._sent) * 1e3
            self._received, self._sent = b"", None
            closes = b"\r\nconnection: close" in lines
            self._run.answered(int(lines[9:12]), received[head + 4 :], answer_ms)
            if closes:
                self._transport.close()
            else:
                self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if self._sent is not None:
            self._sent = None
            self._run.failed(f"{self._why} ({error})" if error else self._why)
        self._run.lost(self)

    def give_up_before(self, limit: float) -> None:
        if self._sent is not None and self._sent < limit:
            self._why = f"no answer within {ANSWER_S:g} s"
            self.abort()

    def abort(self) -> None:
        self._transport.abort()


def _refusal(status: int, body: bytes) -> tuple[str, str]:
    """Tell a refusal's kind and text: the exchange's reason and sentence, or what there is."""
    kind, said = f"HTTP {status}", body.decode(errors="replace")
    with suppress(ValueError, TypeError, LookupError, RecursionError):
        told = json.loads(body)
        said = str(told["error"])
        kind = str(told["details"][0]["reason"])
    return kind, said


def _length(lines: bytes) -> int | None:
    """The stated length of a reply's body, within the limit; None where it can't be read."""
    start = lines.find(b"\r\ncontent-length:")
    digits = lines[start + 17 :].split(b"\r\n", 1)[0].strip()
    if not lines.startswith(b"http/1.1 ") or start < 0 or not lines[9:12].isdigit():
        return None
    if not digits.isdigit() or len(digits) > 10 or int(digits) > REPLY_BYTES_MAX:
        return None
    return int(digits)
