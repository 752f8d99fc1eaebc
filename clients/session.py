"""A trading session: commands out, outcomes in, many in each message, many messages under way.

Two ways to use one, one or the other (both raise RuntimeError):

- `send(commands)`: typed. Any number of tasks may send at once; each call gets its own outcomes in
  its commands' order, matched by the request ids that the session gives out. A refusal is a value
  among the outcomes.
- `exchange(messages)`: raw, for programs that count microseconds. Generated messages as they are,
  the caller's own request ids, answers as they come; nothing is looked at but how many commands are
  unanswered.

What is unanswered is bounded in both, since the exchange stops reading a session whose outcomes
are not taken. Nothing is repeated: when the connection is lost, every unanswered command's outcome
is unknown (OutcomeUnknownError); give commands an order id or an idempotency key, and read or
repeat them over a new session or by a call. A session that was opened with `cancel_on_disconnect`
has its open orders cancelled by the exchange however it ends; where `async with` ends without an
error, that has happened, and where the session was lost, or the exchange does not say in time that
it has ended, it ends with an OutcomeUnknownError, also if a `send` has told of the loss.

gRPC cancels a whole stream when a task is cancelled in a write or a read of it. Writes of `send`
are therefore shielded, and one task of the session's own does the reading: a `send` that times out
harms no other.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Protocol, Self

import grpc

from clients.connection import Connection, is_cancelled
from clients.errors import ExchangeError, OutcomeUnknownError, UnavailableError, error_of
from clients.fields import FieldInvalidError
from clients.messages import built
from clients.order_wire import Outcome, session_command, session_outcome_of, which_of
from clients.requests import Command
from exchange.v1 import order_service_pb2 as orders_pb2

COMMANDS_MAX = 1_000  # commands a message: the exchange's limit
MESSAGES_MAX = 64  # unanswered messages of `send`: more than a sync and a round trip can use
UNANSWERED_MAX = 10_000  # unanswered commands of `exchange`: about a tenth of a second's work
OPEN_S = 5.0  # until the exchange has opened a session: the default deadline of a call
SEND_S = 5.0  # until the outcomes are there: the same
CLOSE_S = 5.0  # until the exchange has ended a session, its cancels durable: the same

Request = orders_pb2.TradingSessionRequest
Response = orders_pb2.TradingSessionResponse


class SessionStream(Protocol):
    """`TradingSession` of the generated stub."""

    def __call__(self) -> "grpc.aio.StreamStreamCall[Request, Response]": ...


class _Batch:
    """The commands of one message, until the last of their outcomes is there."""

    def __init__(self, first_id: int, commands: Sequence[Command]) -> None:
        self.first_id = first_id
        self.commands = commands
        self.message = Request(
            commands=[session_command(first_id + i, command) for i, command in enumerate(commands)]
        )
        self.outcomes: list[orders_pb2.SessionOutcome | None] = [None] * len(commands)
        self.missing = len(commands)
        self.done = asyncio.Event()

    def unanswered(self) -> list[Command]:
        return [
            command
            for command, outcome in zip(self.commands, self.outcomes, strict=True)
            if outcome is None
        ]


class TradingSession:
    """Open within `async with`; from `ExchangeClient.trading_session`."""

    def __init__(
        self,
        open_stream: SessionStream,
        connection: Connection,
        *,
        client_id: str = "",
        cancel_on_disconnect: bool = False,
    ) -> None:
        self._open_stream = open_stream
        self._connection = connection  # held for as long as the stream, by which a fork is seen
        self._address = connection.address
        self._first = Request(
            open=built(
                orders_pb2.TradingSessionOpen,
                client_id=client_id,
                cancel_on_disconnect=cancel_on_disconnect,
            )
        )
        self._write_turn = asyncio.Lock()
        self._room = asyncio.Semaphore(MESSAGES_MAX)
        self._waiting: dict[int, _Batch] = {}
        self._next_id = 1
        self._reader: asyncio.Task[None] | None = None
        self._is_raw = False
        self._entered = False
        self._end = ""
        self._end_told = False
        self.session_id = 0
        """The exchange's number for it; 0 without cancel on disconnect."""
        self.opened_sequence = 0

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a session is opened once; ask the client for another one")
        with self._told_of_closing():
            await self._open()
        return self

    async def _open(self) -> None:
        self._call = self._open_stream()
        self._answers = aiter(self._call)
        self._entered = True
        answer = None
        try:
            async with asyncio.timeout(OPEN_S):
                await self._call.write(self._first)
                answer = await anext(self._answers, None)
        except TimeoutError:
            self._call.cancel()
            raise self._overdue("opened", OPEN_S) from None
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise error_of(await self._status(), self._address, None) from None
        except asyncio.CancelledError:
            # gRPC ends a stream with its task, but not yet while it makes the connection.
            self._call.cancel()
            raise
        if answer is None or not answer.HasField("opened"):
            self._call.cancel()
            raise ExchangeError(
                f"{self._address} does not answer as the exchange does: the first message of a "
                "session must say that it is open",
                code=grpc.StatusCode.INTERNAL,
            )
        self.session_id = answer.opened.session_id
        self.opened_sequence = answer.opened.sequence

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end = self._end or "it was closed"
        if error is not None:
            self._call.cancel()
            if self._reader is not None:
                await asyncio.wait([self._reader])
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                with self._told_of_closing():
                    await self._close()
        except TimeoutError:
            self._call.cancel()
            if self._first.open.cancel_on_disconnect:
                raise self._not_cancelled(f"has not ended within {CLOSE_S:g} s") from None
            raise self._overdue("ended", CLOSE_S) from None
        status = await self._status()
        if status.code() is grpc.StatusCode.OK:
            return
        if self._first.open.cancel_on_disconnect:
            raise self._not_cancelled(f"was lost ({_how_ended(status)})")
        if not self._end_told:
            raise error_of(status, self._address, None)

    async def send(self, commands: Sequence[Command], timeout_s: float = SEND_S) -> list[Outcome]:
        """The commands' outcomes, in their order; more than 1,000 travel in several messages.

        A value that can't be sent raises FieldInvalidError before anything is. Past the timeout the
        outcomes are unknown, and the session goes on.
        """
        self._require_open()
        if self._is_raw:
            raise RuntimeError("this session exchanges raw messages: open another one to send")
        try:
            batches = [
                self._batch(commands[start : start + COMMANDS_MAX])
                for start in range(0, len(commands), COMMANDS_MAX)
            ]
        except FieldInvalidError as error:
            raise which_of(commands, "commands", error) from None
        why = ""
        written = 0
        try:
            async with asyncio.timeout(timeout_s):
                for batch in batches:
                    await self._write(batch)
                    written += 1
                for batch in batches:
                    await batch.done.wait()
        except TimeoutError:
            why = f"no answer within {timeout_s:g} s"
        except UnavailableError:
            # That nothing was sent is so of the first message only.
            if not written:
                raise
        lost = [command for batch in batches for command in batch.unanswered()]
        if lost:
            raise self._unknown(why or self._end, lost)
        outcomes = [outcome for batch in batches for outcome in batch.outcomes]
        return [session_outcome_of(outcome) for outcome in outcomes if outcome is not None]

    async def exchange(
        self,
        messages: Iterable[Request] | AsyncIterable[Request],
        unanswered_max: int = UNANSWERED_MAX,
    ) -> AsyncGenerator[Response, None]:
        """Writes every message and yields every answer, until each command has its outcome.

        A message goes out while fewer than `unanswered_max` commands are unanswered. Leaving
        early ends the session.
        """
        self._require_open()
        if self._end:
            raise self._ended()
        if self._reader is not None:
            raise RuntimeError("this session sends typed commands: open another one to exchange")
        self._is_raw = True
        flow = _Flow(self._call, unanswered_max)
        writer = asyncio.create_task(flow.write_all(messages))
        try:
            while await flow.answer_is_due():
                answer = await anext(self._answers, None)
                if answer is None:
                    break
                flow.answered(len(answer.outcomes))
                yield answer
            await writer
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the status says it
        except asyncio.CancelledError:
            if is_cancelled():
                raise
        finally:
            writer.cancel()
        if flow.unanswered or not flow.written:
            status = await self._status()
            raise self._unknown(_how_ended(status), [])

    def _require_open(self) -> None:
        if not self._entered:
            raise RuntimeError("this session is not open: use it within `async with`")

    @contextmanager
    def _told_of_closing(self) -> Iterator[None]:
        """gRPC ends the streams of a closed client as if the tasks at them were cancelled."""
        try:
            yield
        except (grpc.aio.UsageError, asyncio.CancelledError):
            if is_cancelled():
                raise
            raise UnavailableError(
                f"the client of the session with {self._address} has been closed, and the session "
                "with it; read the orders by their ids",
                code=grpc.StatusCode.CANCELLED,
            ) from None

    # Typed sending.

    def _batch(self, commands: Sequence[Command]) -> _Batch:
        batch = _Batch(self._next_id, commands)
        self._next_id += len(commands)
        return batch

    async def _write(self, batch: _Batch) -> None:
        await self._room.acquire()
        if self._end:
            self._room.release()
            raise self._ended()
        self._waiting.update((batch.first_id + i, batch) for i in range(len(batch.commands)))
        if self._reader is None:
            self._reader = asyncio.create_task(self._read_outcomes())
        await asyncio.shield(self._put(batch.message))

    async def _put(self, message: Request) -> None:
        async with self._write_turn:
            # Where the stream has ended, the reader tells everyone who waits.
            try:
                await self._call.write(message)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                pass
            except asyncio.CancelledError:
                if is_cancelled():
                    raise

    async def _read_outcomes(self) -> None:
        end = "ended by the exchange"
        try:
            async for answer in self._answers:
                for outcome in answer.outcomes:
                    self._settle(outcome)
        except grpc.aio.AioRpcError as error:
            end = _how_ended(error)
        except KeyError as error:
            end = f"an outcome of request {error}, which is not waiting for one"
            self._call.cancel()
        except asyncio.CancelledError:
            end = "it was closed"
            raise
        finally:
            self._end = self._end or end
            for batch in set(self._waiting.values()):
                self._finish(batch)
            self._waiting.clear()

    def _settle(self, outcome: orders_pb2.SessionOutcome) -> None:
        batch = self._waiting.pop(outcome.request_id)
        batch.outcomes[outcome.request_id - batch.first_id] = outcome
        batch.missing -= 1
        if not batch.missing:
            self._finish(batch)

    def _finish(self, batch: _Batch) -> None:
        batch.done.set()
        self._room.release()

    # How it ends.

    async def _close(self) -> None:
        # Where gRPC can not send that nothing more comes, the stream has ended; below it says how.
        with suppress(grpc.aio.InternalError):
            await self._call.done_writing()
        if self._reader is not None:
            await self._reader
            return
        with suppress(grpc.aio.AioRpcError):  # the status says it
            async for _ in self._answers:
                pass

    async def _status(self) -> grpc.aio.AioRpcError:
        return grpc.aio.AioRpcError(
            await self._call.code(),
            await self._call.initial_metadata(),
            await self._call.trailing_metadata(),
            details=await self._call.details(),
        )

    def _ended(self) -> UnavailableError:
        self._end_told = True
        return UnavailableError(
            f"the session with {self._address} has ended ({self._end}): nothing was sent; "
            "open a new one",
            code=grpc.StatusCode.UNAVAILABLE,
        )

    def _unknown(self, why: str, lost: Sequence[Command]) -> OutcomeUnknownError:
        self._end_told = True
        return OutcomeUnknownError(
            f"the session with {self._address} gave no outcome ({why}): the commands may have been "
            "applied; repeat them with the same idempotency keys, or read the orders by their ids",
            code=grpc.StatusCode.UNKNOWN,
            request=lost,
        )

    def _not_cancelled(self, why: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            f"the session with {self._address} {why}: its open orders are cancelled when the "
            "exchange finds that out, within 40 s, behind the gateway within 90 s, or at its next "
            "start; read them by their ids, or cancel them by a call",
            code=grpc.StatusCode.UNKNOWN,
        )

    def _overdue(self, what: str, timeout_s: float) -> UnavailableError:
        return UnavailableError(
            f"{self._address} has not {what} the session within {timeout_s:g} s",
            code=grpc.StatusCode.DEADLINE_EXCEEDED,
        )


def _how_ended(status: grpc.aio.AioRpcError) -> str:
    """Of the exchange's own refusals only the facts: that nothing happened, as their sentences say,
    is so of a call and not of a session."""
    told = error_of(status, "", None)
    if not told.reason:
        return f"{told.code.name}: {status.details()}"
    limit = f", limit {told.limit}" if told.limit else ""
    return f"{told.code.name}, {told.reason}: {told.field} {told.value}{limit}"


class _Flow:
    """How many commands of raw messages are out, and who waits for that to change."""

    def __init__(
        self, call: "grpc.aio.StreamStreamCall[Request, Response]", unanswered_max: int
    ) -> None:
        assert unanswered_max > 0, "at least one command must be allowed out"
        self._call = call
        self._unanswered_max = unanswered_max
        self._room = asyncio.Event()
        self._sent = asyncio.Event()
        self._over = False
        self.unanswered = 0
        self.written = False

    async def write_all(self, messages: Iterable[Request] | AsyncIterable[Request]) -> None:
        try:
            async for message in _each(messages):
                while self.unanswered >= self._unanswered_max:
                    self._room.clear()
                    await self._room.wait()
                self.unanswered += len(message.commands)
                self._sent.set()
                await self._call.write(message)
            self.written = True
        finally:
            self._over = True
            self._sent.set()

    async def answer_is_due(self) -> bool:
        while not self.unanswered and not self._over:
            self._sent.clear()
            await self._sent.wait()
        return self.unanswered > 0

    def answered(self, commands: int) -> None:
        self.unanswered -= commands
        self._room.set()


async def _each(messages: Iterable[Request] | AsyncIterable[Request]) -> AsyncIterator[Request]:
    if isinstance(messages, AsyncIterable):
        async for message in messages:
            yield message
    else:
        for message in messages:
            yield message
