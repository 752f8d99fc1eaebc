"""The snapshot follower: keeps an engine of its own and writes its state down now and then.

It begins with the newest good snapshot, or with nothing, applies what the journal holds after it
and compares the events with the recorded ones. So a snapshot costs the server nothing but the
reading of its journal, and each one is a proof that the journal gives this state. It writes one
after `interval_s` if there is anything new, and at once when the server says that one is wanted,
whatever became of the last attempt: somebody waits for the answer.

If its events differ from the recorded ones it writes nothing any more, and its process ends.

It writes in a thread, so that the other followers of its process go on; it reads nothing itself
meanwhile. The server's stream waits, the server does not.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from exchange.v1.admin_service_pb2 import SnapshotReport, StreamJournalResponse
from server import logs
from server.core.engine import Engine
from server.followers.journal_reader import JournalReader, Reached, records
from server.journal.fence import new_fence
from server.journal.log import Mark
from server.journal.replay import Replay
from server.journal.segments import FILE_NAME
from server.journal.snapshots import (
    DIRECTORY_NAME,
    SnapshotBad,
    name_of,
    newest_good,
    read_snapshot_header,
    write_snapshot,
)

NAME: Final = "snapshots"
RETRY_S: Final = 10.0
"""After a snapshot that could not be written: what was in the way may be gone by then."""
REPORT_S: Final = 0.25
"""Between two looks at whether there is something to report or to write: what is shown as behind is
that old at the most."""
HELD_BYTES_MAX: Final = 256 << 10
"""256 KiB, some 900 orders and 15 ms of applying. A few at a time cost twice as much each, since
they find nothing in the processor's caches; more would hold up the other followers here."""


class SnapshotFollower:
    """Takes the journal in and writes snapshots; knows nothing of the network."""

    def __init__(self, directory: Path, interval_s: float) -> None:
        self._directory = directory
        self._interval_s = interval_s
        self._written_s = time.monotonic()
        self._failed_s = -RETRY_S
        self._replay: Replay | None = None
        self._held: list[StreamJournalResponse] = []
        self._held_bytes = 0
        self._wanted = 0
        self.written: SnapshotReport | None = None
        """The newest snapshot that is there."""
        self.untold: SnapshotReport | None = None
        """The same, until the server has heard of it: somebody may wait for that."""
        self.problem = ""
        """Why the last attempt to write one failed, empty where it did not."""
        self.failed_sequence = 0
        """Where an attempt failed, until the server has heard of it; 0 otherwise."""
        found = newest_good(directory)
        if found.header is not None and found.engine is not None:
            mark = found.header.mark
            self._replay = Replay(directory / FILE_NAME, found.engine, mark)
            self.written = _report(mark.fence.last_sequence, found.header.state_hash)

    @property
    def sequence(self) -> int:
        """Everything up to here is taken in."""
        return 0 if self._replay is None else self._replay.mark.fence.last_sequence

    def hold(self, message: StreamJournalResponse) -> None:
        """Keep a message for `catch_up`, or do that at once: where many wait, or a snapshot is
        asked for."""
        self._held.append(message)
        self._held_bytes += len(message.frames)
        if self._held_bytes >= HELD_BYTES_MAX or message.snapshot_requested_sequence:
            self.catch_up()

    def catch_up(self) -> None:
        """Take in what is held; raises as `take` does."""
        held, self._held, self._held_bytes = self._held, [], 0
        for message in held:
            self.take(message)

    def take(self, message: StreamJournalResponse) -> None:
        """Apply what is new in a message; raises `JournalRefused` where it does not fit."""
        for record in records(message):
            replay = self._replay
            if replay is None:
                fence = new_fence(record.shard, record.journal)
                mark = Mark(record.journal, record.position, fence)
                replay = self._replay = Replay(self._directory / FILE_NAME, Engine(), mark)
            if record.position >= replay.mark.position:
                replay.advance(record)
        if message.snapshot_requested_sequence:
            self._wanted = max(self._wanted, message.snapshot_requested_sequence)
            self._failed_s = -RETRY_S

    def due(self) -> bool:
        """Whether a snapshot is to be written, or one that is there to be reported again."""
        now = time.monotonic()
        if now - self._failed_s < RETRY_S:
            return False
        written = 0 if self.written is None else self.written.sequence
        if self._wanted and self.sequence >= self._wanted:
            return True
        late = now - self._written_s >= self._interval_s
        return late and self.sequence > written

    def write(self) -> SnapshotReport:
        """Write what `due` asks for; raises `OSError` or `SnapshotBad`, which harm nothing."""
        assert self._replay is not None
        if self.written is None or self.written.sequence != self.sequence:
            self._failed_s = time.monotonic()
            path = write_snapshot(self._directory, self._replay.engine, self._replay.mark)
            self.written = _report(self.sequence, read_snapshot_header(path).state_hash)
        self._failed_s = -RETRY_S
        self._wanted = 0
        self._written_s = time.monotonic()
        return self.written


async def read(
    follower: SnapshotFollower,
    reader: JournalReader,
    engine_use: asyncio.Lock,
    on_serving: Callable[[], None],
) -> None:
    """Take the journal in until it is cancelled; raises as `SnapshotFollower.take` does."""
    serving = False
    stream = reader.messages(lambda: Reached(follower.sequence))
    async with contextlib.aclosing(stream) as messages:
        async for message in messages:
            async with engine_use:
                follower.hold(message)
                if not serving:
                    follower.catch_up()
                    serving = True
                    on_serving()
                if message.snapshot_requested_sequence and follower.due():
                    await _write_one(follower, reader)


async def write(
    follower: SnapshotFollower, reader: JournalReader, engine_use: asyncio.Lock
) -> None:
    """Write snapshots and tell the server, until it is cancelled; raises like `read`."""
    reported: tuple[int, str] | None = None
    while True:
        async with engine_use:
            follower.catch_up()
            if follower.due():
                await _write_one(follower, reader)
        now = (follower.sequence, follower.problem)
        if now != reported or follower.untold is not None or follower.failed_sequence:
            reported = now if await _tell(follower, reader) else None
        await asyncio.sleep(REPORT_S)


async def _write_one(follower: SnapshotFollower, reader: JournalReader) -> None:
    began = time.monotonic()
    try:
        written = await asyncio.to_thread(follower.write)
    except (OSError, SnapshotBad) as error:
        # Nothing is lost without it: the next start re-applies more, and there is a next time.
        logs.complain(f"no snapshot at sequence {follower.sequence}: {error}")
        follower.problem, follower.failed_sequence = str(error), follower.sequence
    else:
        taken_ms = 1_000 * (time.monotonic() - began)
        logs.say(f"snapshot of sequence {written.sequence} in {taken_ms:.0f} ms")
        follower.untold, follower.problem, follower.failed_sequence = written, "", 0
    # Each time: the server may be another one by now.
    await _tell(follower, reader)


async def _tell(follower: SnapshotFollower, reader: JournalReader) -> bool:
    """Tell the server how far it is, of a new snapshot, and of one that could not be written;
    whether it was heard."""
    told, failed_sequence = follower.untold, follower.failed_sequence
    if not await reader.report(
        follower.sequence,
        told,
        snapshot_problem=follower.problem,
        snapshot_failed_sequence=failed_sequence,
    ):
        return False
    if follower.untold is told:
        follower.untold = None
    if follower.failed_sequence == failed_sequence:
        follower.failed_sequence = 0
    return True


def _report(sequence: int, state_hash: bytes) -> SnapshotReport:
    file = f"{DIRECTORY_NAME}/{name_of(sequence)}"
    return SnapshotReport(sequence=sequence, state_hash=state_hash.hex(), file=file)
