"""What passes through the sequencer: the open record, the ticket for it, the closed record."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from server.core.commands import Command
from server.core.engine import Engine
from server.core.events import Event
from server.core.rejects import Reject
from server.core.types import Repeat


class Applied(NamedTuple):
    """A command was accepted: its stamp, and what happened."""

    sequence: int
    time_ns: int
    events: list[Event]


Outcome = Applied | Reject | Repeat


class OpenRecord:
    """Commands applied but not yet handed to the journal, and who waits for them.

    It stays the meeting point of its tickets until it is durable.
    """

    __slots__ = (
        "closed",
        "commands",
        "durable",
        "events",
        "first_sequence",
        "renders",
        "submitted_ns",
        "time_ns",
        "views",
        "waiters",
    )

    def __init__(self, first_sequence: int, time_ns: int) -> None:
        self.first_sequence = first_sequence
        self.time_ns = time_ns
        self.commands: list[Command] = []
        self.events: list[list[Event]] = []
        self.submitted_ns: list[int] = []
        self.renders: dict[Hashable, Callable[[Engine], Any]] = {}
        self.views: dict[Hashable, Any] = {}
        self.waiters: list[asyncio.Future[None]] = []
        self.closed = False
        self.durable = False

    async def released(self, allowed_s: float | None = None) -> None:
        """Return once the record is durable; raises `TimeoutError` where that takes longer than is
        allowed. Giving up one waiter disturbs no other."""
        if self.durable:
            return
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self.waiters.append(waiter)
        if allowed_s is None:
            await waiter
            return
        timer = loop.call_later(allowed_s, _give_up, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
        if not self.durable:
            raise TimeoutError

    def release(self) -> None:
        """Let everybody go who waits; the closed record has the rest."""
        self.durable = True
        self.commands, self.events, self.submitted_ns, self.renders = [], [], [], {}
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self.waiters.clear()


class Ticket:
    """The place of some commands in the order of things; their outcomes may be shown once released.

    The commands were applied when the ticket was made: giving it up changes nothing.
    """

    __slots__ = ("_engine", "outcomes", "record", "views")

    def __init__(self, outcomes: list[Outcome], record: OpenRecord | None, engine: Engine) -> None:
        self.outcomes = outcomes
        """The outcomes, one for each command, in their order."""
        self.record = record
        """The record that the ticket waits for, if any; once durable it keeps only its views."""
        self._engine = engine
        self.views: dict[Hashable, Any] = {} if record is None else record.views
        """What `view` asked for, by key; complete once released."""

    def view(self, key: Hashable, render: Callable[[Engine], Any]) -> None:
        """Have `render` called once for all tickets of the record when the record closes.

        A ticket that waits for no open record (all its commands were refused or repeats) sees the
        state as it is now, which is that after the newest record.
        """
        record = self.record
        if record is not None and not record.closed:
            record.renders.setdefault(key, render)
        elif key not in self.views:
            self.views[key] = render(self._engine)

    async def released(self, allowed_s: float | None = None) -> None:
        """Return once everything that the outcomes show is durable; raises `TimeoutError` where
        that takes longer than is allowed."""
        if self.record is not None:
            await self.record.released(allowed_s)


def _give_up(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        # No error: the future would hold it, it this frame, and that the future.
        waiter.set_result(None)


class ClosedRecord:
    """One record of the journal on its way out: complete, and unchanged from here on."""

    __slots__ = (
        "commands",
        "events",
        "first_sequence",
        "last_sequence",
        "submitted_ns",
        "sync_ns",
        "time_ns",
    )

    def __init__(self, record: OpenRecord) -> None:
        self.first_sequence = record.first_sequence
        self.last_sequence = record.first_sequence + len(record.commands) - 1
        self.time_ns = record.time_ns
        self.commands = record.commands
        self.events = record.events
        """The list of each command's events."""
        self.submitted_ns = record.submitted_ns
        """The monotonic clock at each submit whose commands are in the record."""
        self.sync_ns = 0
        """The time that writing the record and making it durable took; known once it is."""
