"""What happens before anybody is served, journaled like anything else.

The journal is claimed, sessions that were still open are ended, and what the configuration says
differently from the last time becomes commands.

The engine keeps what the configuration last said beside what holds now, so that a start can tell
the two apart: a field that the configuration changed is applied to what holds, and a field that an
admin changed stays as long as the configuration says about it what it said before. What the
configuration no longer mentions stays as it is.
"""

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, TypeVar

from server.core.commands import EndSession, SetInstrument, SetLimits
from server.core.engine import Engine
from server.core.instruments import Instrument, Limits
from server.journal.log import Log, Lost, Unknown
from server.journal.refusals import JournalRefused
from server.sequencer.sequencer import Sequencer
from server.sequencer.ticket import Outcome

Definition = TypeVar("Definition", Instrument, Limits)


def claim(log: Log) -> None:
    """Begin an epoch of this process; raises `JournalRefused` where that can't be written."""
    epoch = log.claim(os.urandom(16))
    if isinstance(epoch, Lost | Unknown):
        raise JournalRefused(f"the journal can't be written: {epoch.reason}")


async def end_sessions(sequencer: Sequencer) -> None:
    """End all sessions that are open, as a stop does too."""
    # Where nothing waits for the journal, any number of them is taken.
    while sequencer.waiting:
        await sequencer.read(lambda _: None)
    commands = [EndSession(each) for each in sequencer.engine.open_sessions()]
    await sequencer.submit(commands).released()


async def configure(
    sequencer: Sequencer, limits: Limits, instruments: Sequence[Instrument]
) -> AsyncIterator[tuple[str, Outcome]]:
    """Apply what the configuration changed: the name of each instrument, or `engine`, and what
    became of it. Raises `NotTaken`."""
    for command in _differences(sequencer.engine, limits, instruments):
        ticket = sequencer.submit((command,))
        await ticket.released()
        about = command.definition.name if isinstance(command, SetInstrument) else "engine"
        yield about, ticket.outcomes[0]


def _differences(
    engine: Engine, limits: Limits, instruments: Sequence[Instrument]
) -> Iterator[SetLimits | SetInstrument]:
    """Give the commands that take the engine from the last configuration to this one."""
    if limits != engine.configured_limits:
        yield SetLimits(_changed(engine.limits, engine.configured_limits, limits), limits)
    listed = engine.instruments
    for said in instruments:
        last = engine.configured_instruments.get(said.name)
        if said != last:
            yield SetInstrument(_changed(listed.get(said.name), last, said), said)


def _changed(now: Definition | None, last: Definition | None, said: Definition) -> Definition:
    """Give `now` with the fields that `said` has otherwise than `last`; all of `said` where the
    configuration says something for the first time."""
    if now is None or last is None:
        return said
    fields = zip(said._fields, said, last, strict=True)
    changed: dict[str, Any] = {name: new for name, new, old in fields if new != old}
    return now._replace(**changed)
