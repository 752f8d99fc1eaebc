"""What every follower shares: reading the journal from its own position, and saying how far it is.

A follower keeps its position with what it makes of the journal, and asks the server for what comes
after it. The stream never passes what is durable, so nothing taken in is ever taken back. When it
breaks, for whatever reason, it is asked for again from the position reached; records that were
taken already come first then (those without commands share a sequence with their neighbour), and
are recognised by their place in the journal.

The first stream or report under a name *registers* it, durably, at the position that it asks to go
on from: from then on the server keeps the journal after the follower's position, connected or not,
until `AdminService.RemoveFollower`. `report` moves the position on, so it is called only with what
is durable on the follower's side; a stream that asks for less moves it back. A position that lies
before what is still kept is answered with OUT_OF_RANGE and the first sequence that is there, one of
another journal, after the journal's end, or at which it says another time, with INVALID_ARGUMENT. A
stream that comes to damage in the journal ends with DATA_LOSS, once it has given what lies before
that.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Final, NamedTuple

import grpc

from exchange.v1.admin_service_pb2 import (
    ReportFollowerRequest,
    SnapshotReport,
    StreamJournalRequest,
    StreamJournalResponse,
)
from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
from server import logs
from server.delays import Delays
from server.journal.record import Record, decode_frame, step

RETRY_MAX_S: Final = 2.0
"""Between two attempts; the server may be recovering, and is not disturbed by them."""

REPORT_S: Final = 5.0
"""For the answer to a report."""

CHANNEL_OPTIONS: Final = (
    # A single record may be larger than any usual message.
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Straight to the address, whatever proxy the environment has for web pages.
    ("grpc.enable_http_proxy", 0),
)


class Reached(NamedTuple):
    """Up to where the journal was taken in."""

    sequence: int
    time_ns: int = 0
    """Stamp of that sequence; 0 where it is not known."""
    journal: str = ""
    """Identity of the journal that was taken in, hexadecimal; empty where it is not known."""


Progress = Callable[[Reached], None]
"""Told up to where the journal is safe in a part."""


class JournalNotKept(Exception):
    """What comes next is not in the journal any more; the text is the server's."""


class JournalOther(Exception):
    """The position is one of another journal."""


class JournalEndsBefore(Exception):
    """The journal has not reached the position: it was put back from a copy, or, where the position
    does not tell of which one it is, may be another one."""


class JournalDiffers(Exception):
    """The journal has something else at the position: it is another one, or was put back from a
    copy."""


_REFUSALS: Final = {"journal": JournalOther, "after_time_ns": JournalDiffers}
"""By the field of a request that is refused; by any other, the journal ends before it."""


class JournalDamaged(Exception):
    """What comes next is damaged; the text is the server's."""


def frames(message: StreamJournalResponse) -> Iterator[bytes]:
    """The frames of a message, as they lie."""
    data = message.frames  # Each look at the field is a copy of all of it.
    offset = 0
    while offset < len(data):
        place = step(data, offset)
        end = offset + place.end - place.position
        yield data[offset:end]
        offset = end


def records(message: StreamJournalResponse) -> Iterator[Record]:
    """The records of a message; raises what `decode_frame` does."""
    data = message.frames
    offset = 0
    while offset < len(data):
        record = decode_frame(data, offset)
        offset += record.end - record.position
        yield record


class JournalReader:
    """The journal of a running server, for the follower of this name; without one nothing is kept
    for it, and there is nothing to report."""

    def __init__(self, address: str, follower: str = "") -> None:
        self._channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._stub = AdminServiceStub(self._channel)
        self._address = address
        self._follower = follower

    async def messages(
        self,
        position: Callable[[], Reached],
        *,
        must_be_kept: bool = False,
        on_absence: Callable[[str], None] = lambda _: None,
    ) -> AsyncGenerator[StreamJournalResponse, None]:
        """Everything after `position()`, and then what comes; never ends by itself, but raises
        `JournalNotKept`, `JournalOther`, `JournalEndsBefore`, `JournalDiffers` and
        `JournalDamaged` where asked to. `on_absence` is told each time that there is none, and
        why; a reader that follows under no name says so in no line."""
        delays = Delays(RETRY_MAX_S)
        told = False
        while True:
            after = position()
            request = StreamJournalRequest(
                follower=self._follower,
                after_sequence=after.sequence,
                after_time_ns=after.time_ns,
                journal=after.journal,
            )
            call = self._stub.StreamJournal(request)
            try:
                async for message in call:
                    if told and self._follower:
                        again = f"following {self._address} again after sequence"
                        logs.say(f"{again} {position().sequence}")
                    told = False
                    delays.reset()
                    yield message
                why = "the stream ended"
            except grpc.aio.AioRpcError as error:
                if must_be_kept and error.code() is grpc.StatusCode.OUT_OF_RANGE:
                    raise JournalNotKept(error.details()) from error
                if must_be_kept and error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                    field, _, _ = str(error.details()).partition(" ")
                    raise _REFUSALS.get(field, JournalEndsBefore) from error
                if must_be_kept and error.code() is grpc.StatusCode.DATA_LOSS:
                    raise JournalDamaged(error.details()) from error
                why = f"{error.code().name}: {error.details()}"
            finally:
                call.cancel()
            absence = f"no journal from {self._address} ({why})"
            on_absence(absence)
            if not told and self._follower:
                logs.complain(f"{absence}; trying until it is there")
            told = True
            await asyncio.sleep(delays.next_s())

    async def report(
        self,
        sequence: int,
        snapshot: SnapshotReport | None = None,
        keep_after: int | None = None,
        snapshot_problem: str = "",
        snapshot_failed_sequence: int = 0,
    ) -> bool:
        """Tell the server how far this follower is, and, where that is earlier, after what the
        journal has to be kept for it; whether it was heard. Where it writes snapshots, also which
        one it has written, why the last attempt failed, and where one did, if that is not known."""
        request = ReportFollowerRequest(
            follower=self._follower,
            sequence=sequence,
            snapshot=snapshot,
            keep_after_sequence=keep_after,
            snapshot_problem=snapshot_problem,
            snapshot_failed_sequence=snapshot_failed_sequence,
        )
        try:
            await self._stub.ReportFollower(request, timeout=REPORT_S)
        except grpc.aio.AioRpcError:
            return False
        return True

    async def close(self) -> None:
        """End everything that is open."""
        await self._channel.close()
