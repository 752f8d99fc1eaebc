"""Streams that are gone on with after every interruption: nothing missing, nothing twice.

`followed` reads a stream until it ends, waits for a growing delay, opens it again after the last
sequence, and so on until its reader leaves. It ends by itself only where asking again can't help:
with the `RefusedError` that says so (an unknown instrument, say, or a wished start that the
exchange has not given out: it was restored from an older copy since then).

- Interrupted means: the connection broke, the server stopped, it cut a slow reader, it said nothing
  for `Retries.silence_s` although heartbeats are due, or a message does not follow on the one
  before. `on_interruption` is told each time, and how long it takes until the next attempt.
- A stream that worked for longer than the longest delay begins with the shortest again.
- Trades and order events go on after the last sequence that was complete. A command with very many
  events travels in several messages, and what has been handed out of it is left out when it comes
  again: the order of a command's events never changes, so counting them is enough.
- Where the wished start lies too far back for the exchange, the first message says `restarted`:
  what came before it was left out. Of what was dropped from its journal that is what came before
  the first sequence that is kept.
- An exchange that was restored from an older copy, or began anew, may have got further than where a
  stream was, with other commands. So before a stream of trades or order events is gone on with, the
  newest entry that was handed out is asked for again: if it is another one, or none, the stream
  starts afresh and says so. That is left out where it lies more than `PROOF_MAX` sequences back,
  which would cost the exchange a long look into its journal.

While the reader is busy nothing is read ahead: the exchange conflates a book for a slow reader, and
cuts the other streams, which then are gone on with.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import grpc

from clients.errors import ExchangeError, RefusedError, UnavailableError
from clients.mirror import BookMirror, OutOfStepError
from clients.retries import Delays, Retries
from clients.types import OrderEventsMessage, TradesMessage
from exchange.v1.market_data_pb2 import StreamOrderBookResponse

POSITION_UNKNOWN = "CURSOR_INVALID"  # the exchange's reason for a sequence that it never gave out
POSITION_DROPPED = "NOT_KEPT"  # and for one before the journal that it keeps
PROOF_MAX = 10_000  # sequences that the exchange has to look through again, at most

M = TypeVar("M")
V = TypeVar("V")
E = TypeVar("E", TradesMessage, OrderEventsMessage)
M_contra = TypeVar("M_contra", contravariant=True)
V_co = TypeVar("V_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Interruption:
    """A stream was interrupted and will be gone on with."""

    error: ExchangeError | OutOfStepError
    delay_s: float
    """Until the next attempt."""


OnInterruption = Callable[[Interruption], None]
Open = Callable[[int | None], AsyncGenerator[M, None]]
"""Opens the stream after a sequence; None: where it begins by itself."""


class Position(Protocol[M_contra, V_co]):
    """How far a stream has been read."""

    @property
    def after_sequence(self) -> int | None:
        """Where to go on; None: afresh."""

    def take(self, message: M_contra) -> V_co:
        """The next message, and what a reader gets for it; may raise `OutOfStepError`."""

    def lost(self, error: ExchangeError | OutOfStepError) -> bool:
        """The stream has ended so: whether it can be gone on with."""


async def followed(
    open_stream: Open[M],
    position: Position[M, V],
    retries: Retries,
    on_interruption: OnInterruption | None = None,
) -> AsyncGenerator[V, None]:
    """Gives what the stream says, over all its interruptions."""
    clock = asyncio.get_running_loop().time
    delays = Delays(retries)
    while True:
        error: ExchangeError | OutOfStepError
        opened_s = clock()
        async with aclosing(open_stream(position.after_sequence)) as messages:
            while True:
                try:
                    value = position.take(await _next(messages, retries.silence_s))
                except (ExchangeError, OutOfStepError) as caught:
                    error = caught
                    break
                yield value
        if not position.lost(error):
            raise error
        if clock() - opened_s > retries.delay_max_s:
            delays.reset()
        delay_s = delays.next_s(error)
        if on_interruption is not None:
            on_interruption(Interruption(error, delay_s))
        await asyncio.sleep(delay_s)


async def _next(messages: AsyncGenerator[M, None], silence_s: float) -> M:
    try:
        async with asyncio.timeout(silence_s):
            return await anext(messages)
    except TimeoutError:
        said = f"the stream has said nothing for {silence_s:g} s, not even that it is quiet"
    except StopAsyncIteration:
        said = "the exchange ended the stream without saying why"
    raise UnavailableError(said, code=grpc.StatusCode.UNAVAILABLE)


def may_go_on(error: ExchangeError | OutOfStepError) -> bool:
    """Whether the same stream may work later: unless the exchange refused it for good."""
    return not isinstance(error, RefusedError) or error.retry_safe


class NewestPosition(Generic[M]):
    """Follows a stream whose every message is the newest state: there is nothing to miss."""

    @property
    def after_sequence(self) -> None:
        return None

    def take(self, message: M) -> M:
        return message

    def lost(self, error: ExchangeError | OutOfStepError) -> bool:
        return may_go_on(error)


class BookPosition:
    """How far a book has been read: `Position` of its mirror."""

    def __init__(self, instrument: str) -> None:
        self.mirror = BookMirror(instrument)
        self._afresh = ""

    @property
    def after_sequence(self) -> int | None:
        resumable = self.mirror.begun and not self.mirror.partial and not self._afresh
        return self.mirror.sequence if resumable else None

    def take(self, message: StreamOrderBookResponse) -> BookMirror:
        why = self._afresh
        if not why and self.mirror.partial:
            why = "the stream was interrupted before all levels of a deep book were there"
        self.mirror.take(message, why)
        self._afresh = ""
        return self.mirror

    def lost(self, error: ExchangeError | OutOfStepError) -> bool:
        if isinstance(error, OutOfStepError) or _position_unknown(error):
            if not self.mirror.begun:
                return isinstance(error, OutOfStepError)
            self._afresh = str(error)
            return True
        return may_go_on(error)


class BookMessagesPosition:
    """Follows a book for a reader who passes the messages on."""

    def __init__(self, instrument: str) -> None:
        self._book = BookPosition(instrument)

    @property
    def after_sequence(self) -> int | None:
        return self._book.after_sequence

    def take(self, message: StreamOrderBookResponse) -> tuple[BookMirror, StreamOrderBookResponse]:
        return self._book.take(message), message

    def lost(self, error: ExchangeError | OutOfStepError) -> bool:
        return self._book.lost(error)


class EventsPosition(Generic[E]):
    """How far trades or order events have been read."""

    def __init__(
        self,
        after_sequence: int | None,
        entries: Callable[[E], Sequence["_Sequenced"]],
        without_first: Callable[[E, int], E],
    ) -> None:
        self._after = after_sequence
        self._entries: Callable[[E], Sequence[_Sequenced]] = entries
        self._without_first: Callable[[E, int], E] = without_first
        self._begun = False
        self._newest: _Sequenced | None = None
        self._ahead: list[int] = []  # later sequences than `_after` of what has been handed out
        self._repeated = 0  # of these, how many are about to come again
        self._afresh = False

    @property
    def after_sequence(self) -> int | None:
        return self._after

    def proven(self, open_stream: Open[E]) -> Open[E]:
        """The stream, if the exchange still has what was read of it."""

        async def opened(after_sequence: int | None) -> AsyncGenerator[E, None]:
            newest = self._newest
            if newest and after_sequence and after_sequence - newest.sequence <= PROOF_MAX:
                async with aclosing(open_stream(newest.sequence - 1)) as again:
                    await self._prove(newest, again)
            async with aclosing(open_stream(after_sequence)) as messages:
                async for message in messages:
                    yield message

        return opened

    async def _prove(self, newest: "_Sequenced", again: AsyncGenerator[E, None]) -> None:
        try:
            await self._find(newest, again)
        except RefusedError as error:
            if error.reason != POSITION_DROPPED:
                raise

    async def _find(self, newest: "_Sequenced", again: AsyncGenerator[E, None]) -> None:
        async for message in again:
            if message.restarted:
                return  # it can't be asked for any more
            if any(_name(entry) == _name(newest) for entry in self._entries(message)):
                return
            if message.sequence >= newest.sequence:
                raise _OtherHistoryError(
                    f"the exchange has another history than the one that was read: what it has at "
                    f"sequence {newest.sequence} is not what it gave"
                )

    def take(self, message: E) -> E:
        if message.restarted or self._afresh:
            message = replace(message, restarted=True)
            self._ahead, self._repeated = [], 0
        elif self._after is not None and message.previous_sequence != self._after:
            raise OutOfStepError(
                f"the stream stands at sequence {self._after}, and the next message follows on "
                f"{message.previous_sequence}: something between is missing"
            )
        self._begun, self._afresh = True, False
        entries = self._entries(message)
        sequences = [entry.sequence for entry in entries]
        if entries:
            self._newest = entries[-1]
        known = min(self._repeated, len(sequences))
        self._repeated -= known
        self._ahead += sequences[known:]
        self._ahead = [sequence for sequence in self._ahead if sequence > message.sequence]
        self._after = message.sequence
        return self._without_first(message, known) if known else message

    def lost(self, error: ExchangeError | OutOfStepError) -> bool:
        if isinstance(error, _OtherHistoryError) or (self._begun and _position_unknown(error)):
            self._after, self._afresh, self._newest = None, True, None
            return True
        if isinstance(error, RefusedError) and error.reason == POSITION_DROPPED:
            first = error.limit or ""
            self._after = int(first) - 1 if first.isdecimal() else None
            self._afresh, self._newest = True, None
            return True
        self._repeated = len(self._ahead)
        return may_go_on(error)


class _OtherHistoryError(OutOfStepError):
    """What was read is not what the exchange has."""


class _Sequenced(Protocol):
    @property
    def sequence(self) -> int: ...

    @property
    def index(self) -> int: ...

    @property
    def time(self) -> datetime: ...


def _name(entry: _Sequenced) -> tuple[int, int, datetime]:
    """Name an entry, whatever history it is of."""
    return entry.sequence, entry.index, entry.time


def _position_unknown(error: ExchangeError | OutOfStepError) -> bool:
    return isinstance(error, RefusedError) and error.reason == POSITION_UNKNOWN


def trades_position(after_sequence: int | None) -> EventsPosition[TradesMessage]:
    """How far trades have been read."""
    return EventsPosition[TradesMessage](
        after_sequence,
        lambda message: message.trades,
        lambda message, count: replace(message, trades=message.trades[count:]),
    )


def order_events_position(after_sequence: int | None) -> EventsPosition[OrderEventsMessage]:
    """How far order events have been read."""
    return EventsPosition[OrderEventsMessage](
        after_sequence,
        lambda message: message.events,
        lambda message, count: replace(message, events=message.events[count:]),
    )
