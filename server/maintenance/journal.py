"""Looks after the journal while the server runs: its room, its speed, and what is kept of it.

- Without room for the next segment (`headroom.py`) the sequencer refuses what would take more,
  with the reason "journal disk full"; reads and cancels go on, and it ends by itself.
- An append that takes longer than `sync_slow_ms` turns health to NOT_SERVING, at the latest
  `LOOK_S` after that; the next one in time, or `SLOW_FORGOTTEN_S` without any, turn it back. Calls
  are taken all the same, up to the sequencer's bound.
- While the wall clock is more than `CLOCK_BEHIND_S` behind the newest stamp, all stamps have that
  same time, which never goes back; minutes, days and the hour of keys wait for the clock too.
- Damage that a reader has met, before what a start re-applies, is told from then on; orders go on.
- Every `TRIM_S` what nobody needs any more is archived or dropped, where that is asked for. Who is
  to be filled from the journal (`filled`) needs all of it before he is there for the first time.

Each state is a sentence in the status while it lasts, and a line of the log when it changes.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from server import logs
from server.core.engine import Engine
from server.journal.file_log import FileLog
from server.journal.headroom import Headroom
from server.journal.retention import needed_sequence, trim
from server.maintenance.followers import FollowerRegistry
from server.maintenance.health_state import HealthState
from server.sequencer.sequencer import Sequencer
from server.settings import ARCHIVE, KEEP, JournalSettings
from server.times import second_text

LOOK_S: Final = 0.1
"""The time between two looks at whether an append takes too long."""
SLOW_FORGOTTEN_S: Final = 5.0
"""The time after a slow append that none followed: nobody sends anything while health says no."""
CLOCK_BEHIND_S: Final = 1.0
"""The lag behind the newest stamp that is told: NTP steps a clock so far only at its start."""
TRIM_S: Final = 1.0
"""The time between two looks at whether there is something to archive or drop."""


class JournalMaintenance:
    """Looks after one log for one server."""

    def __init__(
        self,
        log: FileLog,
        sequencer: Sequencer,
        followers: FollowerRegistry,
        settings: JournalSettings,
        filled: Sequence[str],
        on_slow: Callable[[bool], None],
    ) -> None:
        """`on_slow` is told when an append takes too long, and when none does any more."""
        self.sentences: list[str] = []
        """What is not as it should be with the journal, at this moment."""
        self._log = log
        self._directory = log.segments.path.parent
        self._sequencer = sequencer
        self._followers = followers
        self._on_slow = on_slow
        self._settings = settings
        self._filled = list(filled)
        """Followers that are not registered yet, as far as is known."""
        self._full = ""
        self._slow = ""
        self._behind = ""
        self._trim_failed = ""
        self._damage = ""
        self._looked_at = -1
        """The last forgotten sequence when the oldest key was looked for."""
        self._oldest = 0
        self._older = -1, 0
        """Sequences of the newest snapshot, and of the older one of two that were whole then."""
        self._tasks: list[asyncio.Task[None]] = []
        self._headroom = Headroom(self._directory, settings.segment_bytes, self._room_changed)

    def health(self) -> HealthState:
        """Tell how the journal is; down while it takes no orders."""
        if self._full:
            return HealthState.DOWN
        return HealthState.DEGRADED if self.sentences else HealthState.HEALTHY

    async def start(self) -> None:
        """Make room, then look after the journal."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._headroom.start)
        self._log.attach(self._headroom)
        self._tasks = [asyncio.create_task(self._watch())]
        if self._settings.retention != KEEP:
            self._tasks.append(asyncio.create_task(self._trim_always()))

    async def stop(self) -> None:
        """Stop looking after the journal."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._headroom.stop)

    def _room_changed(self, why: str) -> None:
        """Note on the headroom's thread whether there is room."""
        self._sequencer.journal_full = why
        self._loop.call_soon_threadsafe(self._tell_room, why)

    def _tell_room(self, why: str) -> None:
        self._full = ""
        if why:
            self._full = f"journal disk full ({why}): new orders are refused until room is freed"
            logs.warning("journal disk full", reason=why)
        else:
            logs.info("journal disk has room again")
        self._say()

    async def _watch(self) -> None:
        while True:
            slow_ms = self._slow_ms()
            if bool(slow_ms) != bool(self._slow):
                self._slow = ""
                if slow_ms:
                    self._slow = f"the journal's disk is slow: a sync takes {slow_ms} ms or more"
                    logs.warning("journal slow", taken_ms=slow_ms)
                else:
                    logs.info("journal fast again")
                self._say()
                self._on_slow(bool(slow_ms))
            self._look_at_clock()
            self._look_at_damage()
            await asyncio.sleep(LOOK_S)

    def _look_at_clock(self) -> None:
        stamp_ns = self._sequencer.engine.time_ns
        behind_s = (stamp_ns - time.time_ns()) / 1e9
        if (behind_s > CLOCK_BEHIND_S) == bool(self._behind):
            return
        self._behind = ""
        if behind_s > CLOCK_BEHIND_S:
            stamp = second_text(stamp_ns)
            self._behind = f"the clock is behind the newest stamp: time stands still until {stamp}"
            logs.warning("clock behind the newest stamp", stamp=stamp, seconds=round(behind_s))
        else:
            logs.info("clock past the newest stamp again")
        self._say()

    def _look_at_damage(self) -> None:
        """Tell of damage once: it stays, and who else meets it, or more of it, is not told of."""
        if self._log.damage and not self._damage:
            self._damage = self._log.damage
            logs.warning("journal damaged", reason=self._damage)
            self._say()

    def _slow_ms(self) -> int:
        """Give the milliseconds that an append takes, if that is too long; 0 otherwise."""
        log, most_ms = self._log, self._settings.sync_slow_ms
        now_ns, began_ns = time.monotonic_ns(), log.append_began_ns
        if began_ns and (now_ns - began_ns) // 1_000_000 > most_ms:
            return (now_ns - began_ns) // 1_000_000
        forgotten = now_ns - log.append_ended_ns > SLOW_FORGOTTEN_S * 1e9
        taken_ms = log.append_taken_ns // 1_000_000
        return taken_ms if taken_ms > most_ms and not forgotten else 0

    async def _trim_always(self) -> None:
        while True:
            await asyncio.sleep(TRIM_S)
            why = ""
            try:
                await self._trim()
            except OSError as error:
                why = f"the journal's first segments stay: {error}"
            if why != self._trim_failed:
                self._trim_failed = why
                self._say()
                if why:
                    logs.warning("journal segments stay", reason=why)
                else:
                    logs.info("journal segments go again")

    async def _trim(self) -> None:
        """Drop what nobody needs any more. Where nothing can go by what is known in memory, no
        snapshot is read: the older one of those that were found whole is the same until a newer one
        is written."""
        segments, followers = self._log.segments, self._followers
        while self._filled:
            if self._filled[-1] not in followers.positions:
                await followers.register(self._filled[-1], self._log.first_sequence - 1)
            self._filled.pop()
        needs = [*followers.positions.values(), followers.snapshot_sequence]
        engine = self._sequencer.engine
        if engine.counts().keys:
            needs.append(self._oldest_key(engine))
        newest = followers.snapshot_sequence
        if self._older[0] == newest:
            needs.append(self._older[1])
        if not segments.dispensable(min(needs)):
            return
        self._older = newest, await asyncio.to_thread(needed_sequence, self._directory)
        needed = min(self._older[1], *needs)
        if not segments.dispensable(needed):
            return
        await followers.keep()
        # Somebody may have registered meanwhile.
        needed = min([needed, *followers.positions.values()])
        settings = self._settings
        archive = Path(settings.archive_dir) if settings.retention == ARCHIVE else None
        gone = await asyncio.to_thread(trim, segments, needed, archive)
        for path in gone:
            logs.info(
                "journal segment gone",
                file=path.name,
                archive=str(archive or ""),
                first_sequence=self._log.first_sequence,
            )

    def _oldest_key(self, engine: Engine) -> int:
        """Find the sequence of the oldest key that is remembered. It is another one only once more
        are forgotten; to look for it holds the loop, for 40 ms where a million are forgotten whose
        memory is yet to be given back."""
        forgotten = engine.keys_after_sequence
        if self._looked_at != forgotten:
            self._looked_at = forgotten
            self._oldest = next(engine.keys.rows())[1]
        return self._oldest

    def _say(self) -> None:
        told = (self._full, self._slow, self._behind, self._trim_failed, self._damage)
        self.sentences[:] = [sentence for sentence in told if sentence]
