"""Who follows the journal, how far each is, and the snapshots that are asked of one of them.

A follower that reports under a name is remembered with its last report until the server ends.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from server import logs
from server.core.rejects import RejectReason
from server.rpc.errors import EdgeReason, EdgeReject

NAME_PATTERN: Final = "[a-z0-9_-]{1,32}"
_NAME: Final = re.compile(NAME_PATTERN)

FOLLOWERS_MAX: Final = 100
"""Names that are remembered: far more than the parts of any exchange."""

SNAPSHOTS: Final = "snapshots"
"""The follower that writes snapshots."""


class Snapshot(NamedTuple):
    """A snapshot that was written and verified."""

    sequence: int
    state_hash: str
    file: str


class Report(NamedTuple):
    """What a follower last said."""

    sequence: int
    time_ns: int


class Followers:
    """All of them."""

    def __init__(self, snapshot_sequence: int, clock: Callable[[], int] = time.time_ns) -> None:
        self.reports: dict[str, Report] = {}
        self.connected: Counter[str] = Counter()
        """Open streams by name."""
        self.snapshot_sequence = snapshot_sequence
        """Of the newest snapshot known, 0 for none."""
        self.wake: Callable[[], None] = lambda: None
        """Called when a snapshot is asked for, to have the streams say so."""
        self._clock = clock
        self._written: Snapshot | None = None
        self._waiting: list[tuple[int, asyncio.Future[Snapshot]]] = []

    def name_refused(self, name: str) -> EdgeReject | None:
        """What is wrong with a follower's name, if anything."""
        if not _NAME.fullmatch(name):
            return EdgeReject(RejectReason.ID_INVALID, "follower", name, NAME_PATTERN)
        known = self.reports.keys() | self.connected.keys()
        if name not in known and len(known) >= FOLLOWERS_MAX:
            return EdgeReject(EdgeReason.TOO_MANY, "follower", len(known) + 1, FOLLOWERS_MAX)
        return None

    @property
    def snapshot_wanted(self) -> int:
        """The sequence that a snapshot is asked to hold, 0 where nobody waits for one."""
        return max((sequence for sequence, _ in self._waiting), default=0)

    @contextmanager
    def following(self, name: str) -> Iterator[None]:
        """While its stream is open; an empty name is nobody's."""
        if not name:
            yield
            return
        self.connected[name] += 1
        logs.info("follower connected", follower=name)
        try:
            yield
        finally:
            self.connected[name] -= 1
            logs.info("follower gone", follower=name)

    def report(self, name: str, sequence: int) -> None:
        """Everything up to there is safe with this follower."""
        self.reports[name] = Report(sequence, self._clock())

    def snapshot_written(self, snapshot: Snapshot) -> None:
        """Answer who asked for it."""
        self.snapshot_sequence = max(self.snapshot_sequence, snapshot.sequence)
        self._written = snapshot
        still_waiting = []
        for sequence, waiter in self._waiting:
            if snapshot.sequence < sequence:
                still_waiting.append((sequence, waiter))
            elif not waiter.done():
                waiter.set_result(snapshot)
        self._waiting = still_waiting

    async def snapshot(self, sequence: int) -> Snapshot | EdgeReject:
        """Have a snapshot written that holds everything up to a sequence, and wait for it; the
        newest one where that does already."""
        if self._written is not None and self._written.sequence >= sequence:
            return self._written
        if not self.connected[SNAPSHOTS]:
            return EdgeReject(EdgeReason.FOLLOWER_MISSING, "follower", SNAPSHOTS)
        waiter: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()
        entry = (sequence, waiter)
        self._waiting.append(entry)
        self.wake()
        try:
            return await waiter
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
