"""How commands get at a journal, beside a running server and without one.

Nobody but the server opens a live journal. So the directory's lock is taken, if there is one, or,
while a server holds it, the same frames are read from that server's stream, up to what is durable.
"""

import argparse
import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from server.exits import Exit
from server.logs import error
from server.settings import Settings
from server.supervisor.options import settings_of
from server.supervisor.parent import Parent
from server.supervisor.setting_values import ConfigurationWrong

if TYPE_CHECKING:
    from exchange.v1.admin_service_pb2 import StreamJournalResponse
    from server.journal.lock import DirectoryLocked
    from server.journal.record import Record

ANSWER_S: Final = 10.0
"""The time for the server to answer at all; how long the journal takes nobody knows."""
WRITING: Final = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""The errors that only writing can bring: no fault of the journal's, which is read."""


def guarded(
    run: Callable[[argparse.Namespace, Settings], int],
) -> Callable[[argparse.Namespace, Parent], int]:
    """Guard a command that reads a journal: what may be in its way is told in a sentence."""

    def run_guarded(options: argparse.Namespace, _: Parent) -> int:
        from server.journal.lock import DirectoryLocked

        try:
            return run(options, settings_of(options))
        except ConfigurationWrong as wrong:
            error(str(wrong))
            return Exit.CONFIGURATION
        except DirectoryLocked as locked:
            error(str(locked))
            return Exit.LOCKED
        except OSError as failure:
            if failure.errno in WRITING:
                raise
            error(f"the journal can't be read: {failure}")
            return Exit.FAILED

    return run_guarded


def has_journal(directory: Path) -> bool:
    """Tell whether there is a journal to read; says so where there is none."""
    from server.journal.segments import segment_paths

    found = bool(segment_paths(directory))
    if not found:
        error(f"a journal doesn't exist in {directory}; name a data directory with --data-dir")
    return found


@contextmanager
def records_after(directory: Path, after_sequence: int) -> "Iterator[Iterator[Record]]":
    """Read the records from the one with the next sequence on, up to what is durable now; raises
    `JournalRefused`, and behind the last good one `TailDamaged`."""
    from server.journal.lock import DirectoryLocked, reading
    from server.journal.record import decode_frame

    with ExitStack() as stack:
        try:
            stack.enter_context(reading(directory))
        except DirectoryLocked as locked:
            frames = stack.enter_context(frames_from_server(locked, max(after_sequence, 0)))
        else:
            frames = _whole(directory, after_sequence)
        yield map(decode_frame, frames)


def _whole(directory: Path, after_sequence: int) -> Iterator[bytes]:
    from server.journal.refusals import TailDamaged
    from server.journal_tools.directory import Ending, directory_frames

    ending = Ending()
    yield from directory_frames(directory, ending, after_sequence)
    if ending.cut is not None and ending.is_damage:
        raise TailDamaged(f"tail {ending.cut.sentence()}; the next start cuts it")


@contextmanager
def kept_after(directory: Path, sequence: int, follower: str) -> Iterator[None]:
    """Have a server with this directory keep its journal after a sequence meanwhile, as it does for
    a follower, which has this name. Where it can't be told, it may go."""
    from server.journal.lock import DirectoryLocked, reading

    try:
        with reading(directory):
            address = None
    except DirectoryLocked as locked:
        address = locked.address
    if address is None:
        yield
        return
    import grpc

    from exchange.v1.admin_service_pb2 import RemoveFollowerRequest, ReportFollowerRequest
    from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
    from server.followers.journal_reader import CHANNEL_OPTIONS

    with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        server = AdminServiceStub(channel)
        is_kept = False
        try:
            with suppress(grpc.RpcError):
                report = ReportFollowerRequest(follower=follower, sequence=sequence)
                server.ReportFollower(report, timeout=ANSWER_S)
                is_kept = True
            yield
        finally:
            try:
                server.RemoveFollower(RemoveFollowerRequest(follower=follower), timeout=ANSWER_S)
            except grpc.RpcError:
                if is_kept:
                    error(
                        f"the server at {address} does not answer: once it does, run exchange"
                        f" followers --remove {follower}, or it keeps the journal for this for ever"
                    )


@contextmanager
def frames_from_server(
    locked: "DirectoryLocked", after_sequence: int = 0
) -> Iterator[Iterator[bytes]]:
    """Read the frames that the owner of the lock sends; its refusal stands if it serves nowhere.
    Where it comes to damage, `JournalRefused` is raised once it has sent what lies before that."""
    if locked.address is None:
        raise locked
    import grpc
    import grpc.experimental

    from exchange.v1.admin_service_pb2 import GetStatusRequest, StreamJournalRequest
    from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
    from server.followers.journal_reader import CHANNEL_OPTIONS, frames

    # Without a thread of the channel's own: one that is stopped by the interpreter's end while it
    # holds the call's lock would make the end wait for that lock for ever.
    alone = (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1)
    with grpc.insecure_channel(locked.address, options=(*CHANNEL_OPTIONS, alone)) as channel:
        server = AdminServiceStub(channel)
        try:
            status = server.GetStatus(GetStatusRequest(), timeout=ANSWER_S)
            # Beyond the newest there is nothing to send, which is no mistake.
            after = min(after_sequence, status.durable_sequence)
            after = max(after, status.journal_first_sequence - 1)
            request = StreamJournalRequest(after_sequence=after, until_now=True)
            messages = server.StreamJournal(request)
            try:
                yield (frame for message in _sent(messages) for frame in frames(message))
            finally:
                messages.cancel()
        except grpc.RpcError as error:
            # The error is the call itself, which its class does not say.
            details = getattr(error, "details", None)
            why = details() if details else error
            if details and error.code() is grpc.StatusCode.OUT_OF_RANGE:
                # What it begins with was kept a moment ago; to begin there is to begin anew.
                why = f"{details().partition(':')[0]}; run it again"
            raise OSError(f"the server at {locked.address} does not send it: {why}") from error


def _sent(messages: Any) -> "Iterator[StreamJournalResponse]":
    import grpc

    from server.journal.refusals import JournalRefused

    try:
        yield from messages
    except grpc.RpcError as error:
        if messages.code() is grpc.StatusCode.DATA_LOSS:
            raise JournalRefused(messages.details()) from error
        raise
