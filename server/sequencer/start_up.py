"""What happens before anybody is served, journaled like anything else.

The journal is claimed, sessions that were still open are ended, and what the configuration says
differently from the last time becomes commands.
"""

import os
from collections.abc import AsyncIterator, Sequence

from server.core.commands import EndSession, SetInstrument
from server.core.instruments import Instrument, Limits
from server.journal.log import Log, Lost, Unknown
from server.journal.refusals import JournalRefused
from server.sequencer.configured import differences
from server.sequencer.sequencer import Sequencer
from server.sequencer.ticket import Outcome


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
    for command in differences(sequencer.engine, limits, instruments):
        ticket = sequencer.submit((command,))
        await ticket.released()
        about = command.definition.name if isinstance(command, SetInstrument) else "engine"
        yield about, ticket.outcomes[0]
