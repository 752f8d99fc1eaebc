"""`StreamJournal`: the journal's frames, as they lie, to whoever keeps a position.

A stream takes a message's worth from the log, in a thread where a disk has to be read, and sends
it; the transport's backpressure is the only queue, so a slow follower holds one message and nothing
of the server. Where nothing more is durable it waits for the next record, and then a little longer:
a follower is behind by that much, and hundreds of records share the cost of a message. While the
server is saturated, followers wait, except for a snapshot that somebody waits for. Nothing that
isn't durable is ever sent: the log doesn't give it.
"""

import asyncio
from collections.abc import Iterator
from typing import Final

from exchange.v1.admin_service_pb2 import StreamJournalRequest, StreamJournalResponse
from server.journal.log import Frames, Log, NotKept
from server.journal.record import step
from server.journal.refusals import JournalCorrupt
from server.maintenance.followers import SNAPSHOTS, FollowerRefused, FollowerRegistry
from server.maintenance.saturation import Saturation
from server.rpc.context import Context
from server.rpc.errors import STOPPING, EdgeReason, EdgeReject, Refused, not_followed
from server.sequencer.ticket import ClosedRecord

MESSAGE_BYTES_MAX: Final = 1 << 20
"""1 MiB of frames in a message, unless one is larger: below the 4 MiB that clients accept by
default, and large enough that a message's own cost vanishes."""

GATHER_S: Final = 0.05
"""The time that a stream that had everything waits after a new record: 20 messages a second."""


class JournalStreams:
    """Serves all open streams."""

    def __init__(self, log: Log, followers: FollowerRegistry) -> None:
        self._log = log
        self._followers = followers
        self._saturation = Saturation(lambda: log.durable_sequence)
        self._waiting: set[asyncio.Future[None]] = set()
        self._stopped = False
        followers.attach(self._wake)

    def on_durable(self, record: ClosedRecord) -> None:
        """Wake the streams: there is something new to send."""
        self._wake()

    @property
    def durable_sequence(self) -> int:
        """Give the last sequence that anybody can have read."""
        return self._log.durable_sequence

    def stop(self) -> None:
        """End all streams, and what waits for a follower."""
        self._stopped = True
        self._followers.stop()
        self._wake()

    async def serve(self, request: StreamJournalRequest, context: Context) -> Refused | None:
        """Send until the caller has enough; gives what the call is to be refused with."""
        try:
            if request.follower:
                self._followers.check_name(request.follower)
        except FollowerRefused as error:
            return not_followed(error)
        if request.journal.lower() not in ("", self._log.mark.journal.hex()):
            return EdgeReject(EdgeReason.CURSOR_INVALID, "journal", request.journal)
        if request.after_sequence > self._log.durable_sequence:
            return EdgeReject(EdgeReason.CURSOR_INVALID, "after_sequence", request.after_sequence)
        first = self._log.first_sequence
        if request.after_sequence + 1 < first:
            return EdgeReject(EdgeReason.NOT_KEPT, "after_sequence", request.after_sequence, first)
        if request.after_time_ns and not await asyncio.to_thread(self._has_given, request):
            return EdgeReject(EdgeReason.CURSOR_INVALID, "after_time_ns", request.after_time_ns)
        with self._followers.following(request.follower):
            try:
                if request.follower:
                    await self._followers.register(request.follower, request.after_sequence)
            except OSError as error:
                return not_followed(error)
            try:
                return await self._send(request, context)
            except NotKept as gone:
                return EdgeReject(
                    EdgeReason.NOT_KEPT, "sequence", gone.sequence, gone.first_sequence
                )

    def _has_given(self, request: StreamJournalRequest) -> bool:
        """Tell whether the sequence was given at that time, as far as the journal still tells."""
        try:
            return self._log.read(request.after_sequence).time_ns == request.after_time_ns
        except (KeyError, JournalCorrupt):
            return True

    async def _send(self, request: StreamJournalRequest, context: Context) -> Refused | None:
        log = self._log
        end = log.durable_position
        frames = Chunks(await asyncio.to_thread(log.follow, request.after_sequence))
        requests_told = 0
        first = True
        while not self._stopped:
            if not first and self._is_held(request.follower):
                await asyncio.sleep(GATHER_S)
                continue
            seen = log.durable_position
            data = frames.take() if frames.at_hand else await asyncio.to_thread(frames.take)
            requests, wanted = self._snapshot_wanted(request.follower, requests_told)
            tells = bool(data or wanted or first)
            if tells:
                await context.write(
                    StreamJournalResponse(
                        frames=data,
                        position=frames.position,
                        durable_sequence=log.durable_sequence,
                        snapshot_requested_sequence=wanted,
                    )
                )
                requests_told = requests
                first = False
            if request.until_now and (not data or frames.position >= end):
                return None
            # A record that became durable since is either seen here, or its `durable` is to come.
            # So is a stop, and what is asked for while something is told: nobody may wait for one
            # that has been.
            if not tells and log.durable_position == seen and not self._stopped:
                await self._wait()
        return STOPPING

    def _snapshot_wanted(self, follower: str, told: int) -> tuple[int, int]:
        """Give how many requests there were, and what the snapshot follower, which was told of the
        first ones, is to be told now; 0 where there is nothing."""
        requests = self._followers.snapshot_requests if follower == SNAPSHOTS else 0
        return requests, self._followers.snapshot_wanted if requests > told else 0

    def _is_held(self, follower: str) -> bool:
        """Tell whether this follower is to wait for callers."""
        awaited = follower == SNAPSHOTS and self._followers.snapshot_wanted
        return bool(follower) and not awaited and self._saturation.holds()

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)
        if not self._stopped:
            await asyncio.sleep(GATHER_S)

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)


class Chunks:
    """A followed log in pieces of about a message. Used by one thread at a time."""

    def __init__(self, frames: Frames) -> None:
        self.position = 0
        """The position right after what was taken."""
        self._frames = frames
        self._left = b""

    @property
    def at_hand(self) -> bool:
        """Tell whether `take` waits for no disk."""
        return self._frames.at_hand

    def take(self) -> bytes:
        """Take what comes next, empty where nothing more is durable. What lies before damage is
        given first; the next call raises `JournalCorrupt`."""
        taken: list[bytes] = []
        size = 0
        try:
            for frame in self._next():
                if taken and size + len(frame) > MESSAGE_BYTES_MAX:
                    self._left = frame
                    break
                taken.append(frame)
                size += len(frame)
        except JournalCorrupt:
            if not taken:
                raise
        if taken:
            self.position = step(taken[-1]).end
        return b"".join(taken)

    def _next(self) -> Iterator[bytes]:
        if self._left:
            left, self._left = self._left, b""
            yield left
        yield from self._frames
