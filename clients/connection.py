"""One gRPC channel to the exchange, and how calls over it are made, repeated and told of.

Failures of gRPC become the errors of `clients.errors` here and nowhere else; `clients.retries` says
when a call is made again.

What goes on when a client is closed ends with an error. gRPC would end it as if its task had been
cancelled, which a group of tasks takes for what was meant.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar, cast
from weakref import WeakSet

import grpc

from clients.errors import OutcomeUnknownError, UnavailableError, error_of
from clients.requests import CancelOrders, Request
from clients.retries import Retries, repeated

RECEIVE_BYTES_MAX = 64 * 1024 * 1024  # a reply to 1,000 orders that trade 400 times each
CONNECT_S = 5.0  # until a connection is there: the default deadline of a call

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
    # A peer that is gone without a word is noticed within 40 s, also on a quiet stream.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # by default a minute, within which keepalive waits
    # A server that is back is found within a second; gRPC's own delay grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Each client has a connection of its own, with its own flow control.
    ("grpc.use_local_subchannel_pool", 1),
    # Orders go straight to the address named, whatever proxy the environment has for web pages.
    ("grpc.enable_http_proxy", 0),
)

CLOSED = "this client has been closed; open another one"
FORKED = (
    "this process was forked while a client was open, or a session or stream of one was kept, "
    "which gRPC does not survive: have it started by multiprocessing's `spawn` or `forkserver`, or "
    "open the first client after the fork"
)

Q = TypeVar("Q")
A = TypeVar("A")
M = TypeVar("M")
V = TypeVar("V")


class Call(Protocol[Q, A]):
    """A unary call of a generated stub."""

    def __call__(self, request: Q, /, *, timeout: float) -> "grpc.aio.UnaryUnaryCall[Q, A]": ...


class Stream(Protocol[Q, A]):
    """A server stream of a generated stub."""

    def __call__(self, request: Q, /) -> "grpc.aio.UnaryStreamCall[Q, A]": ...


class Connection:
    """Made within a running event loop, and belongs to it."""

    def __init__(self, address: str, retries: Retries) -> None:
        if any(each.process_id != os.getpid() for each in _held):
            raise RuntimeError(FORKED)
        self.process_id: int = os.getpid()
        self.address = address
        self.retries = retries
        self.channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        self._is_closed = False
        _held.add(self)

    async def close(self) -> None:
        """Ends whatever goes on over it."""
        self._is_closed = True
        await self.channel.close()

    async def connect(self, timeout_s: float) -> None:
        """Connects now, or raises UnavailableError."""
        state = self.channel.get_state(try_to_connect=True)
        try:
            with self._told_of_closing():
                async with asyncio.timeout(timeout_s):
                    while state is not grpc.ChannelConnectivity.READY:
                        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                            raise self._not_reachable("no connection could be made")
                        await self.channel.wait_for_state_change(state)
                        state = self.channel.get_state(try_to_connect=True)
        except TimeoutError:
            raise self._not_reachable(f"no connection within {timeout_s:g} s") from None

    async def command(self, call: Call[Q, A], message: Q, request: Request) -> A:
        """Something that changes the exchange; repeated if every command has a key."""

        async def attempt(timeout_s: float) -> A:
            try:
                return _readable(await call(message, timeout=timeout_s))
            except grpc.aio.AioRpcError as error:
                raise error_of(error, self.address, request) from None

        with self._told_of_closing(request):
            return await repeated(attempt, self.retries, repeatable=_has_key(request))

    async def read(self, call: Call[Q, A], message: Q, attempt_s: float | None = None) -> A:
        """Repeats a call that changes nothing until it is answered or the retries are used up."""

        async def attempt(timeout_s: float) -> A:
            try:
                return _readable(await call(message, timeout=attempt_s or timeout_s))
            except grpc.aio.AioRpcError as error:
                raise error_of(error, self.address, None) from None

        with self._told_of_closing():
            return await repeated(attempt, self.retries, repeatable=True)

    async def stream(
        self, open_stream: Stream[Q, M], request: Q, convert: Callable[[M], V]
    ) -> AsyncGenerator[V, None]:
        """Gives the messages of one stream, until it ends or is left."""
        with self._told_of_closing():
            call = open_stream(request)
            messages = cast("AsyncGenerator[M, None]", aiter(call))
            try:
                async for message in messages:
                    yield convert(_readable(message))
            except grpc.aio.AioRpcError as error:
                raise error_of(error, self.address, None) from None
            finally:
                call.cancel()
                # It and the call refer to each other until it ends: what lay unread would wait for
                # the collector, which counts objects and sees two.
                await messages.aclose()

    @contextmanager
    def _told_of_closing(self, request: Request | None = None) -> Iterator[None]:
        try:
            yield
        except (grpc.aio.UsageError, asyncio.CancelledError):
            if not self._is_closed or is_cancelled():
                raise
            if request is None:
                raise RuntimeError(CLOSED) from None
            raise OutcomeUnknownError(
                "this client was closed before the answer came: it may have been applied; repeat "
                "it with the same idempotency key, or read the order by its id",
                code=grpc.StatusCode.CANCELLED,
                request=request,
            ) from None

    def _not_reachable(self, why: str) -> UnavailableError:
        return UnavailableError(
            f"the exchange at {self.address} is not reachable: {why}; check that it runs there",
            code=grpc.StatusCode.UNAVAILABLE,
        )


_held: WeakSet[Connection] = WeakSet()
"""Also those of the process that this one was forked from. One that is closed stays while anything
holds it, and with it what gRPC has beside the channel."""


def _readable(message: M) -> M:
    """Raises where gRPC gives nothing in place of bytes that are no message."""
    if message is None:
        nothing = grpc.aio.Metadata()
        said = "what came is no message of the exchange's"
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, details=said)
    return message


def is_cancelled() -> bool:
    """Whether somebody has cancelled this task, not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _has_key(request: Request) -> bool:
    commands = request if isinstance(request, Sequence) else [request]
    return all(
        not isinstance(command, CancelOrders) and command.idempotency_key for command in commands
    )
