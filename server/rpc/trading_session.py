"""Trading sessions: many commands in a message, one answer for each message.

Theory of operation. A session is two loops. The reading one takes a message, submits all its
commands at once and builds the answer while the journal is at work; the writing one lets answers go
in order as they become durable. So several messages are under way at a time, and a message costs
one read, one submit and one write, however many commands it holds.

Bounds. At most `messages_max` answers wait, and `ANSWER_BYTES_MAX` of them, as the bytes that will
be sent; then nothing is read, and HTTP/2 flow control holds the client. The same happens when the
client doesn't read its answers. An answer lists at most `present.LISTED_MAX` trades and cancelled
orders, those of repeats last.

Rate limits. A message's orders and its cancels draw on the budgets that calls draw on; those over a
limit are refused one by one in the answer, and the session goes on.

Cancel on disconnect. The session is a journaled command, its id that command's sequence. However
the stream ends (closed, cancelled, lost, refused, server stopped), `EndSession` is submitted at
once; a client that closes its side gets the end of the stream when the cancels are durable. A
server that dies leaves the session open in the journal, and the next start ends it.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from grpc.aio import ServicerContext

from exchange.v1.order_service_pb2 import (
    SessionOutcome,
    TradingSessionOpen,
    TradingSessionRequest,
    TradingSessionResponse,
)
from server import logs
from server.core.checks import client_shape
from server.core.commands import (
    CancelOrders,
    Command,
    EndSession,
    OpenSession,
    PlaceOrder,
    ReplaceOrder,
)
from server.core.events import OrderCancelled
from server.core.rejects import Reject
from server.core.types import Repeat
from server.journal.refusals import JournalCorrupt
from server.limits.limiter import Limiter
from server.rpc import parse, present
from server.rpc.errors import (
    STOPPING,
    EdgeReason,
    EdgeReject,
    Refused,
    first_outcome_damaged,
    not_taken,
    refusal,
    refuse,
)
from server.rpc.rate_limits import SessionBudgets
from server.rpc.request_ids import request_id
from server.sequencer.errors import NotServing, NotTaken, Overloaded
from server.sequencer.sequencer import Sequencer
from server.sequencer.ticket import Applied, OpenRecord, Outcome, Ticket

SessionContext = ServicerContext[TradingSessionRequest, bytes]

ANSWER_BYTES_MAX: Final = 8 << 20
"""The bound of 8 MiB of answers that are not written, and the one that passes it: 30 to messages of
1,000 orders with the longest ids, 14 where each is filled. Smaller ones are held by their number
first."""

REPEAT_BYTES: Final = 2_048
"""The bytes counted for an outcome that is still to be read back: it waits as objects."""


class _Caller(NamedTuple):
    """Says who opened a session."""

    peer: str
    request_id: str


class _Answer(NamedTuple):
    """A message on its way out."""

    message: bytes | TradingSessionResponse
    """The message, encoded unless something is still to be read back."""
    record: OpenRecord | None
    """The record that the answer waits for."""
    byte_count: int
    """Roughly the bytes that it takes until it is written."""
    repeats: Sequence[tuple[SessionOutcome, Command | EdgeReject, Repeat]] = ()
    """Outcomes that are read back from the journal before the message goes."""
    left: int = 0
    """Trades and cancelled orders that the message may still list."""


class TradingSessions:
    """Serves all sessions of the server."""

    def __init__(
        self, sequencer: Sequencer, messages_max: int, limiters: Mapping[str, Limiter]
    ) -> None:
        self._sequencer = sequencer
        self._messages_max = messages_max
        self._limiters = limiters
        self._open: set[_Session] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def serve(self, context: SessionContext) -> None:
        """Handle one `TradingSession` call."""
        if self._stopped:
            await refuse(context, STOPPING)
        budgets = SessionBudgets(self._limiters, context)
        session = _Session(self._sequencer, context, self._messages_max, budgets)
        # Noted now: gRPC ends the process that looks at the context of a call which is over.
        caller = _Caller(context.peer(), request_id(context))
        self._open.add(session)
        try:
            refused = await session.run()
        finally:
            self._open.discard(session)
            # A task of its own: that of a caller who is gone has ended with him.
            ending = asyncio.create_task(self._end(session.session_id, caller))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        await asyncio.shield(ending)
        if refused is not None:
            await refuse(context, refused)

    def stop(self) -> None:
        """Read nothing more: each session answers what it took, and ends."""
        self._stopped = True
        for session in self._open:
            session.stop()

    async def _end(self, session_id: int, caller: _Caller) -> None:
        """End a session, and wait until its cancels are durable."""
        if not session_id:
            return
        try:
            ended = await self._submitted(EndSession(session_id))
            await ended.released()
        except NotServing:
            # The server is stopping and ends all sessions itself, or the next start does.
            return
        _tell(session_id, ended.outcomes[0], caller)

    async def _submitted(self, command: EndSession) -> Ticket:
        while True:
            try:
                return self._sequencer.submit((command,))
            except Overloaded:
                # Wait for the open record to go, then there is room.
                await self._sequencer.read(lambda _: None)


class _Session:
    """Serves one stream."""

    def __init__(
        self,
        sequencer: Sequencer,
        context: SessionContext,
        messages_max: int,
        budgets: SessionBudgets,
    ) -> None:
        self.session_id = 0
        self._budgets = budgets
        self._client_id = ""
        self._sequencer = sequencer
        self._context = context
        self._answers: asyncio.Queue[_Answer | None] = asyncio.Queue(messages_max)
        self._bytes_waiting = 0
        """The bytes of the answers that are not written."""
        self._room = asyncio.Event()
        self._room.set()
        self._waiting: asyncio.Task[Any] | None = None
        """The reading loop, while it waits for a message."""
        self._stopped = False

    async def run(self) -> Refused | None:
        """Serve until the stream ends; gives what it is to be refused with, if anything."""
        reading = asyncio.create_task(self._read_all())
        writing = asyncio.create_task(self._write_all())
        try:
            refused, _ = await asyncio.gather(reading, writing)
        finally:
            # Where one of them failed, the other one has nothing to wait for.
            reading.cancel()
            writing.cancel()
            # The error that one ended with holds this frame, and each holds its error.
            del reading, writing
        return refused

    def stop(self) -> None:
        """End the reading loop; what was taken is still answered."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def _read_all(self) -> Refused | None:
        refused = await self._take_all()
        await self._answers.put(None)
        return refused

    async def _take_all(self) -> Refused | None:
        message = await self._next()
        if not isinstance(message, TradingSessionRequest):
            return message
        answer = TradingSessionResponse()
        # All that is wrong with the first message is told before the session is journaled.
        opened = (
            client_shape(message.open.client_id)
            or parse.too_many("commands", len(message.commands))
            or self._begin(message.open, answer)
        )
        if not isinstance(opened, Ticket):
            return opened
        ticket: Ticket | None = opened
        while True:
            await self._put(self._take(message, answer, ticket))
            answer, ticket = TradingSessionResponse(), None
            message = await self._next()
            if not isinstance(message, TradingSessionRequest):
                return message
            if message.HasField("open"):
                return EdgeReject(EdgeReason.TOO_MANY, "open", 2, 1)
            refused = parse.too_many("commands", len(message.commands))
            if refused is not None:
                return refused

    async def _put(self, answer: _Answer) -> None:
        """Let an answer wait for its turn; returns when another one may."""
        self._bytes_waiting += answer.byte_count
        await self._answers.put(answer)
        if self._bytes_waiting > ANSWER_BYTES_MAX:
            self._room.clear()
            await self._room.wait()

    async def _next(self) -> TradingSessionRequest | Refused | None:
        """Give the next message, None where the client has no more; or what is no message, or comes
        after a stop."""
        self._waiting = asyncio.current_task()
        assert self._waiting is not None
        try:
            if self._stopped:
                return STOPPING
            message: object = await self._context.read()
        except asyncio.CancelledError:
            # By `stop`, unless the caller has gone at the same moment.
            if not self._stopped or self._waiting.uncancel():
                raise
            return STOPPING
        finally:
            self._waiting = None
        return message if isinstance(message, TradingSessionRequest | EdgeReject) else None

    def _begin(self, wish: TradingSessionOpen, answer: TradingSessionResponse) -> Ticket | Refused:
        """Open the session as the first message says."""
        self._client_id = wish.client_id
        commands = (OpenSession(wish.client_id),) if wish.cancel_on_disconnect else ()
        try:
            ticket = self._sequencer.submit(commands)
        except NotTaken as error:
            return not_taken(error)
        for outcome in ticket.outcomes:
            if isinstance(outcome, Reject):
                return outcome
            assert isinstance(outcome, Applied)
            self.session_id = outcome.sequence
        answer.opened.session_id = self.session_id
        answer.opened.sequence = self._sequencer.engine.sequence
        return ticket

    def _take(
        self, message: TradingSessionRequest, answer: TradingSessionResponse, ticket: Ticket | None
    ) -> _Answer:
        """Submit what a message holds, and build its answer."""
        session_id, client_id = self.session_id, self._client_id
        # As a list: each would be made again for each time that it is looked at.
        items = list(message.commands)
        parsed = self._budgets.judged(
            [parse.session_command(item, session_id, client_id) for item in items]
        )
        commands = [command for command in parsed if not isinstance(command, EdgeReject)]
        repeats: list[tuple[SessionOutcome, Command | EdgeReject, Repeat]] = []
        add = answer.outcomes.add
        left = present.LISTED_MAX
        try:
            ticket = self._sequencer.submit(commands)
        except NotTaken as error:
            refused = not_taken(error)
            for item in items:
                refusal(refused, add(request_id=item.request_id).refused)
            return _encoded(answer, ticket)
        outcomes: Iterable[Outcome | EdgeReject] = ticket.outcomes
        if len(commands) < len(parsed):
            outcomes = _woven(parsed, ticket.outcomes)
        for item, command, outcome in zip(items, parsed, outcomes, strict=True):
            into = add()
            into.request_id = item.request_id
            if isinstance(outcome, Applied):
                left -= _present(into, command, outcome, left)
            elif isinstance(outcome, Repeat):
                repeats.append((into, command, outcome))
            else:
                refusal(outcome, into.refused)
        if repeats:
            size = answer.ByteSize() + REPEAT_BYTES * len(repeats)
            return _Answer(answer, ticket.record, size, repeats, left)
        return _encoded(answer, ticket)

    async def _write_all(self) -> None:
        get, write = self._answers.get, self._context.write
        while (answer := await get()) is not None:
            message, record, byte_count, repeats, left = answer
            if record is not None:
                await record.released()
            if not isinstance(message, bytes):
                first = await self._sequencer.first_outcomes([repeat for _, _, repeat in repeats])
                for (into, command, _), applied in zip(repeats, first, strict=True):
                    if isinstance(applied, JournalCorrupt):
                        refusal(first_outcome_damaged(applied), into.refused)
                    else:
                        left -= _present(into, command, applied, left, repeated=True)
                message = message.SerializeToString()
            await write(message)
            self._bytes_waiting -= byte_count
            if self._bytes_waiting <= ANSWER_BYTES_MAX:
                self._room.set()


def _encoded(answer: TradingSessionResponse, ticket: Ticket | None) -> _Answer:
    data = answer.SerializeToString()
    return _Answer(data, None if ticket is None else ticket.record, len(data))


def _tell(session_id: int, ended: Outcome, caller: _Caller) -> None:
    events = ended.events if isinstance(ended, Applied) else ()
    logs.info(
        "session with cancel on disconnect ended",
        session_id=session_id,
        orders_cancelled=sum(isinstance(event, OrderCancelled) for event in events),
        **caller._asdict(),
    )


def _woven(
    parsed: Iterable[Command | EdgeReject], outcomes: Iterable[Outcome]
) -> list[Outcome | EdgeReject]:
    """Put the outcomes together, with what was never submitted at its place."""
    rest = iter(outcomes)
    return [each if isinstance(each, EdgeReject) else next(rest) for each in parsed]


def _present(
    into: SessionOutcome,
    command: Command | EdgeReject,
    applied: Applied,
    listed_max: int,
    repeated: bool = False,
) -> int:
    """Write an outcome into the answer; gives how many trades or cancelled orders it lists."""
    kind = type(command)
    if kind is PlaceOrder:
        return present.placed(into.placed, applied, repeated, listed_max)
    if kind is ReplaceOrder:
        return present.placed(into.replaced, applied, repeated, listed_max)
    if kind is CancelOrders:
        return present.cancelled_all(into.cancelled_all, applied, listed_max)
    present.cancelled(into.cancelled, applied, repeated)
    return 0
