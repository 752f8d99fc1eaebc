"""Outcomes of recent keys that Redis holds, for repeats that the engine can't be asked about now.

A repeat is the engine's to recognise, and it does so without asking anybody. What Redis holds
(`server/key_outcomes.py`) is for a front end whose engine takes nothing at this moment:
too much waits for the journal, its disk is full, it is stopping. Such a call would be refused; if
it repeats one that was accepted, it gets that outcome instead. Any other goes the way it would have
gone without Redis, so no decision rests on what Redis holds, lacks or says.

An entry counts only inside the window that the engine tells: the keys after the last one that it
has forgotten, up to what is durable; and only where the journal has the same time at its sequence,
since one that was put back from a copy gives sequences once more. Nobody waits longer than
`ANSWER_S`, at most `LOOKUPS_MAX` wait at once, and after a failure nobody does for `REST_S`.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from server.core.commands import Command
from server.journal.file_log import FileLog
from server.journal.refusals import JournalRefused
from server.key_outcomes import key_of, name_of, outcome_of
from server.sequencer.sequencer import Sequencer
from server.sequencer.ticket import Applied

ANSWER_S: Final = 0.05
LOOKUPS_MAX: Final = 16
REST_S: Final = 1.0


class RecentOutcomes:
    """Reads what the follower wrote."""

    def __init__(
        self,
        url: str,
        journal: bytes,
        window: Callable[[], range],
        time_of: Callable[[int], int],
    ) -> None:
        """`time_of` gives a sequence's time in the journal, 0 where it can't be told; it may wait
        for a disk."""
        # Here, since it takes a while, and not before it is known that there is a Redis.
        from server.redis_client import redis_client

        self.found = 0
        """Repeats that were answered."""
        self._journal = journal
        self._window = window
        self._time_of = time_of
        self._client = redis_client(url)
        self._waiting = 0
        self._rests_until_s = 0.0

    async def find(self, command: Command) -> Applied | None:
        """Find what the first command under the key of this one led to, if that is certain."""
        keyed = key_of(command)
        if keyed is None or self._waiting >= LOOKUPS_MAX:
            return None
        value = await self._value(name_of(self._journal, keyed))
        outcome = None if value is None else outcome_of(value, keyed, self._window())
        if outcome is None:
            return None
        if await asyncio.to_thread(self._time_of, outcome.sequence) != outcome.time_ns:
            return None
        self.found += 1
        return Applied(*outcome)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def _value(self, name: str) -> bytes | None:
        if time.monotonic() < self._rests_until_s:
            return None
        self._waiting += 1
        try:
            async with asyncio.timeout(ANSWER_S):
                value: Any = await self._client.get(name)
        except Exception:  # whatever Redis answers with, or its absence
            self._rests_until_s = time.monotonic() + REST_S
            return None
        else:
            return value if isinstance(value, bytes) else None
        finally:
            self._waiting -= 1


def recent_outcomes(url: str, sequencer: Sequencer, log: FileLog) -> RecentOutcomes | None:
    """Look them up for this exchange; None where no Redis is named."""
    if not url:
        return None

    def window() -> range:
        first = sequencer.engine.keys_after_sequence + 1
        return range(first, sequencer.durable_sequence + 1)

    def time_of(sequence: int) -> int:
        try:
            return log.read(sequence).time_ns
        except (KeyError, OSError, JournalRefused):
            return 0

    return RecentOutcomes(url, log.mark.journal, window, time_of)
