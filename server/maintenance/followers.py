"""Who follows the journal, how far each is, and the snapshots that are asked of one of them.

A follower is *registered* when it first streams or reports under a name, in the file of
`server/journal/positions.py`, before it is sent anything; a PostgreSQL or Kafka that the
configuration names also before it is there, where files of the journal may go. The journal after
its position is kept for it, whether it is connected or not, until an admin removes it. Its position
is what it last reported as safe (or, earlier than that, as what it would have to begin again from),
or asked to go on from where that is earlier; the file may lag behind that, which only keeps more.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from server import logs
from server.journal.positions import write_positions

NAME_PATTERN: Final = "[a-z0-9_-]{1,32}"
_NAME: Final = re.compile(NAME_PATTERN)

FOLLOWERS_MAX: Final = 100
"""The number of names that are remembered: far more than the parts of any exchange."""

SNAPSHOTS: Final = "snapshots"
"""The follower that writes snapshots."""

TOLD_AFTER_S: Final = 1.0
"""Seconds of a stream after which it is said that it is there."""


class Snapshot(NamedTuple):
    """A snapshot that was written and verified."""

    sequence: int
    state_hash: str
    file: str


class Report(NamedTuple):
    """Says what a follower last reported."""

    sequence: int
    time_ns: int


class FollowerRefused(Exception):
    """Says why nothing was done for a follower, or for who waits for one."""


class NameInvalid(FollowerRefused):
    """The name is not of the form `NAME_PATTERN`."""

    def __init__(self, name: str) -> None:
        super().__init__(f"follower {name!r} is not of the form {NAME_PATTERN}")
        self.name = name


class TooManyFollowers(FollowerRefused):
    """As many followers are registered as are remembered."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} followers, the limit is {FOLLOWERS_MAX}")
        self.count = count
        """The number of followers, with the one that is refused."""


class FollowerConnected(FollowerRefused):
    """The follower is connected at this moment, so it can't be removed."""

    def __init__(self, name: str) -> None:
        super().__init__(f"follower {name} is connected")
        self.name = name


class FollowerMissing(FollowerRefused):
    """The follower would have to be connected for this."""

    def __init__(self, name: str) -> None:
        super().__init__(f"follower {name} is not connected")
        self.name = name


class SnapshotFailed(FollowerRefused):
    """The snapshot could not be written."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"no snapshot is written: {problem}")
        self.problem = problem


class RegistryStopped(FollowerRefused):
    """The server stops: no snapshot is written any more."""

    def __init__(self) -> None:
        super().__init__("the server is stopping")


class FollowerRegistry:
    """Knows who is registered, how far each is, and who is connected."""

    def __init__(self, snapshot_sequence: int, directory: Path, positions: dict[str, int]) -> None:
        self._directory = directory
        self.positions = positions
        """The sequence after which the journal is kept, by the name of a registered follower."""
        self._keeping = asyncio.Lock()
        # Who comes under a name while it is being registered shares what becomes of that.
        self._registering = asyncio.Lock()
        self.reports: dict[str, Report] = {}
        self.connected: Counter[str] = Counter()
        """Open streams by name."""
        self.snapshot_sequence = snapshot_sequence
        """The sequence of the newest snapshot known, 0 for none."""
        self.snapshot_problem = ""
        """Why the last attempt to write a snapshot failed, empty where it did not."""
        self._written: Snapshot | None = None
        self._wake_streams: Callable[[], None] = lambda: None
        self.snapshot_requests = 0
        """How many snapshots were asked for that were not there yet."""
        self._waiting: list[tuple[int, asyncio.Future[Snapshot | FollowerRefused]]] = []

    def attach(self, wake_streams: Callable[[], None]) -> None:
        """Call this when a snapshot is asked for, to have the streams of the journal say so; they
        are made later, since each registers its follower here."""
        self._wake_streams = wake_streams

    def check_name(self, name: str) -> None:
        """Raise `FollowerRefused` where nobody can be registered under this name."""
        if not _NAME.fullmatch(name):
            raise NameInvalid(name)
        if name not in self.positions and len(self.positions) >= FOLLOWERS_MAX:
            raise TooManyFollowers(len(self.positions) + 1)

    def sequences(self) -> dict[str, int]:
        """Give the sequence up to which each registered follower has everything, as last said."""
        said = {name: it.sequence for name, it in self.reports.items()}
        return {name: said.get(name, kept) for name, kept in self.positions.items()}

    @property
    def snapshot_wanted(self) -> int:
        """Give the sequence that a snapshot is asked to hold, 0 where nobody waits for one."""
        return max((sequence for sequence, _ in self._waiting), default=0)

    @contextmanager
    def following(self, name: str) -> Iterator[None]:
        """Count a follower as connected while its stream is open; an empty name is nobody's. One
        that comes and goes, since its part fails each time, says that itself."""
        if not name:
            yield
            return
        told: list[str] = []

        def tell() -> None:
            told.append(name)
            logs.info("follower connected", follower=name)

        self.connected[name] += 1
        timer = asyncio.get_running_loop().call_later(TOLD_AFTER_S, tell)
        try:
            yield
        finally:
            timer.cancel()
            # Names without an open stream are left out: there is no end to those that can come.
            self.connected -= Counter((name,))
            if told:
                logs.info("follower gone", follower=name)

    async def register(self, name: str, sequence: int) -> None:
        """Keep the journal after this sequence for a follower; durable on return if it is new, and
        raises `OSError` where it can't be."""
        async with self._registering:
            is_new = name not in self.positions
            self.positions[name] = min(sequence, self.positions.get(name, sequence))
            if is_new:
                try:
                    await self.keep()
                except OSError:
                    self.positions.pop(name, None)
                    raise

    async def remove(self, name: str) -> int:
        """Keep nothing for a follower any more: its last position, 0 where it had none. Raises
        `FollowerRefused`, or `OSError`, and then it is kept for it as before."""
        self.check_name(name)
        if self.connected[name]:
            raise FollowerConnected(name)
        if name not in self.positions:
            return 0
        sequence = self.positions.pop(name)
        try:
            await self.keep()
        except OSError:
            self.positions.setdefault(name, sequence)
            raise
        self.reports.pop(name, None)
        return sequence

    async def keep(self) -> None:
        """Make the positions durable; raises `OSError`."""
        async with self._keeping:
            await asyncio.to_thread(write_positions, self._directory, dict(self.positions))

    def report(self, name: str, sequence: int, keep_after: int) -> None:
        """Note that everything up to the sequence is safe with this registered follower; the
        journal after `keep_after` is kept for it."""
        self.positions[name] = keep_after
        self.reports[name] = Report(sequence, time.time_ns())

    def snapshot_written(self, snapshot: Snapshot) -> None:
        """Answer who asked for the snapshot."""
        self.snapshot_sequence = max(self.snapshot_sequence, snapshot.sequence)
        self._written = snapshot
        self._answer(snapshot.sequence, snapshot)

    def snapshot_failed(self, sequence: int) -> None:
        """Tell who asked for a snapshot up to there that it could not be written, and why."""
        self._answer(sequence, SnapshotFailed(self.snapshot_problem))

    def stop(self) -> None:
        """Tell who waits for a snapshot that none is written any more."""
        self._answer(self.snapshot_wanted, RegistryStopped())

    def _answer(self, upto: int, answer: Snapshot | FollowerRefused) -> None:
        still_waiting = []
        for sequence, waiter in self._waiting:
            if upto < sequence:
                still_waiting.append((sequence, waiter))
            elif not waiter.done():
                waiter.set_result(answer)
        self._waiting = still_waiting

    async def snapshot(self, sequence: int) -> Snapshot:
        """Have a snapshot written that holds everything up to a sequence, and wait for it; the
        newest one where that does already. Raises `FollowerRefused`."""
        if self._written is not None and self._written.sequence >= sequence:
            return self._written
        if not self.connected[SNAPSHOTS]:
            raise FollowerMissing(SNAPSHOTS)
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Snapshot | FollowerRefused] = loop.create_future()
        entry = (sequence, waiter)
        self._waiting.append(entry)
        self.snapshot_requests += 1
        self._wake_streams()
        try:
            answer = await waiter
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
        if isinstance(answer, FollowerRefused):
            raise answer
        return answer
