"""What every unary handler does between parsing and presenting: submit or read, inside its time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

from server.core.commands import Command
from server.core.engine import Engine
from server.core.rejects import Reject
from server.core.types import Repeat
from server.journal.refusals import JournalCorrupt
from server.rpc.context import Context
from server.rpc.deadlines import Deadlines, outcome_unknown
from server.rpc.errors import (
    EdgeReason,
    EdgeReject,
    Refused,
    first_outcome_damaged,
    not_taken,
    refuse,
)
from server.rpc.recent_outcomes import RecentOutcomes
from server.sequencer.errors import NotTaken
from server.sequencer.sequencer import Sequencer
from server.sequencer.ticket import Applied

T = TypeVar("T")


class View(NamedTuple):
    """Says what to make of the engine right after a command's record, once for each key."""

    key: Hashable
    render: Callable[[Engine], Any]


class Committed(NamedTuple):
    """An accepted command that may be shown."""

    applied: Applied
    repeated: bool
    """Whether the command was seen before under its key; then this is what the first one led to."""
    view: Any
    """What the view made, if one was asked for."""


class Calls:
    """The sequencer's verbs for calls that end."""

    def __init__(
        self, sequencer: Sequencer, deadlines: Deadlines, recent: RecentOutcomes | None = None
    ) -> None:
        self.sequencer = sequencer
        self._deadlines = deadlines
        self._recent = recent

    async def commit(
        self, command: Command, context: Context, view: View | None = None
    ) -> Committed:
        """Submit, wait until it is durable; refuses the call where the command is refused."""
        timer_s = self._deadlines.timer_s(context)
        if isinstance(timer_s, EdgeReject):
            await self.refuse(context, timer_s)
        try:
            ticket = self.sequencer.submit((command,))
        except NotTaken as error:
            return await self._remembered(command, context, error, view)
        outcome = ticket.outcomes[0]
        if view is not None and not isinstance(outcome, Reject):
            ticket.view(*view)
        try:
            await ticket.released(timer_s)
        except TimeoutError:
            await self.refuse(context, outcome_unknown(timer_s))
        repeated = isinstance(outcome, Repeat)
        if isinstance(outcome, Repeat):
            (first,) = await self.sequencer.first_outcomes([outcome])
            if isinstance(first, JournalCorrupt):
                await self.refuse(context, first_outcome_damaged(first))
            outcome = first
        if isinstance(outcome, Reject):
            await self.refuse(context, outcome)
        return Committed(outcome, repeated, ticket.views[view.key] if view else None)

    async def commit_all(
        self, commands: Sequence[Command], context: Context
    ) -> list[tuple[Applied, bool] | Refused]:
        """Commit many commands, each with an outcome of its own and whether it is a repeat."""
        timer_s = self._deadlines.timer_s(context)
        if isinstance(timer_s, EdgeReject):
            await self.refuse(context, timer_s)
        try:
            ticket = self.sequencer.submit(commands)
        except NotTaken as error:
            await self.refuse(context, not_taken(error))
        try:
            await ticket.released(timer_s)
        except TimeoutError:
            await self.refuse(context, outcome_unknown(timer_s))
        repeats = [each for each in ticket.outcomes if isinstance(each, Repeat)]
        all_first = iter(await self.sequencer.first_outcomes(repeats))
        found: list[tuple[Applied, bool] | Refused] = []
        for outcome in ticket.outcomes:
            if isinstance(outcome, Repeat):
                first = next(all_first)
                if isinstance(first, JournalCorrupt):
                    found.append(first_outcome_damaged(first))
                else:
                    found.append((first, True))
            else:
                found.append((outcome, False) if isinstance(outcome, Applied) else outcome)
        return found

    async def read(self, view: Callable[[Engine], T], context: Context) -> T:
        """Give what `view` makes of the engine, once all of that is durable."""
        return await self.within(lambda: self.sequencer.read(view), context)

    async def within(self, work: Callable[[], Awaitable[T]], context: Context) -> T:
        """Give what `work` gives inside the call's time; nothing is sequenced by it."""
        timer_s = self._deadlines.timer_s(context)
        if isinstance(timer_s, EdgeReject):
            await self.refuse(context, timer_s)
        try:
            async with asyncio.timeout(timer_s):
                return await work()
        except TimeoutError:
            late = EdgeReject(EdgeReason.DEADLINE_PASSED, "deadline", "", f"{timer_s:g} s")
            await self.refuse(context, late)

    async def refuse(self, context: Context, refused: Refused) -> NoReturn:
        """End the call; a door that words refusals its own way overrides this."""
        await refuse(context, refused)

    async def _remembered(
        self, command: Command, context: Context, error: NotTaken, view: View | None
    ) -> Committed:
        """Answer a repeat while nothing is taken; refuse any other call."""
        applied = None if self._recent is None else await self._recent.find(command)
        if applied is None:
            await self.refuse(context, not_taken(error))
        return Committed(applied, True, await self.sequencer.read(view.render) if view else None)
