"""Operation: instruments, fees, snapshots, status, log level, the journal for followers."""

from exchange.v1 import admin_service_pb2 as messages
from exchange.v1.admin_service_pb2_grpc import AdminServiceServicer
from server import logs
from server.core import commands
from server.core.events import InstrumentSet
from server.core.instruments import Instrument
from server.core.rejects import RejectReason
from server.maintenance.followers import SNAPSHOTS, FollowerRefused, FollowerRegistry, Snapshot
from server.maintenance.outside import PROBLEM_CHARS_MAX
from server.rpc import parse, present
from server.rpc.calls import Calls
from server.rpc.context import Context
from server.rpc.errors import EdgeReason, EdgeReject, not_followed, refuse
from server.rpc.journal_stream import JournalStreams
from server.rpc.request_ids import request_id
from server.rpc.settlement import SettlementCalls
from server.rpc.snapshots import create_snapshot
from server.rpc.status import ExchangeStatus
from server.settings import LOG_LEVELS


class AdminService(AdminServiceServicer):
    """`exchange.v1.AdminService`."""

    def __init__(
        self,
        calls: Calls,
        followers: FollowerRegistry,
        streams: JournalStreams,
        settling: SettlementCalls,
        status: ExchangeStatus,
    ) -> None:
        self._calls = calls
        self._followers = followers
        self._streams = streams
        self._settling = settling
        self._status = status

    async def SetInstrument(
        self, request: messages.SetInstrumentRequest, context: Context
    ) -> messages.SetInstrumentResponse:
        listed = self._calls.sequencer.engine.instruments
        command = parse.set_instrument(request, listed)
        if isinstance(command, EdgeReject):
            await refuse(context, command)
        # As in SetFees, nothing is awaited before it is submitted.
        sequence, set_to = await self._set(command, context)
        _tell("instrument set", context, sequence=sequence, **set_to._asdict())
        reply = messages.SetInstrumentResponse(sequence=sequence)
        present.instrument(reply.instrument, set_to)
        return reply

    async def SetFees(
        self, request: messages.SetFeesRequest, context: Context
    ) -> messages.SetFeesResponse:
        listed = self._calls.sequencer.engine.instruments
        command = parse.set_fees(request, listed)
        if isinstance(command, EdgeReject):
            await refuse(context, command)
        # Nothing is awaited before it is submitted: the rest of the instrument is as it is then.
        sequence, set_to = await self._set(command, context)
        fees = {"maker_fee_e6": set_to.maker_fee_e6, "taker_fee_e6": set_to.taker_fee_e6}
        _tell("fees set", context, sequence=sequence, name=set_to.name, **fees)
        reply = messages.SetFeesResponse(sequence=sequence)
        present.instrument(reply.instrument, set_to)
        return reply

    async def _set(
        self, command: commands.SetInstrument, context: Context
    ) -> tuple[int, Instrument]:
        """Commit a definition: at which sequence, and what the instrument is then."""
        committed = await self._calls.commit(command, context)
        event = committed.applied.events[0]
        assert isinstance(event, InstrumentSet)
        return committed.applied.sequence, event.definition

    async def CreateSnapshot(
        self, request: messages.CreateSnapshotRequest, context: Context
    ) -> messages.CreateSnapshotResponse:
        written = await create_snapshot(self._calls, self._followers, context)
        return messages.CreateSnapshotResponse(**written._asdict())

    async def GetStatus(
        self, request: messages.GetStatusRequest, context: Context
    ) -> messages.GetStatusResponse:
        return await self._calls.read(self._status.reply, context)

    async def StreamJournal(  # type: ignore[override]
        self, request: messages.StreamJournalRequest, context: Context
    ) -> None:
        ended = await self._streams.serve(request, context)
        if ended is not None:
            await refuse(context, ended)

    async def ReportFollower(
        self, request: messages.ReportFollowerRequest, context: Context
    ) -> messages.ReportFollowerResponse:
        keep_after = request.sequence
        if request.HasField("keep_after_sequence"):
            keep_after = min(keep_after, request.keep_after_sequence)
        try:
            self._followers.check_name(request.follower)
            refused = self._report_refused(request)
            if refused is not None:
                await refuse(context, refused)
            await self._followers.register(request.follower, keep_after)
        except (FollowerRefused, OSError) as error:
            await refuse(context, not_followed(error))
        self._followers.report(request.follower, request.sequence, keep_after)
        if request.follower == SNAPSHOTS:
            self._followers.snapshot_problem = request.snapshot_problem[:PROBLEM_CHARS_MAX]
        if request.snapshot_failed_sequence:
            self._followers.snapshot_failed(request.snapshot_failed_sequence)
        if request.HasField("snapshot"):
            written = request.snapshot
            self._followers.snapshot_written(
                Snapshot(written.sequence, written.state_hash, written.file)
            )
        return messages.ReportFollowerResponse()

    def _report_refused(self, request: messages.ReportFollowerRequest) -> EdgeReject | None:
        """Refuse what nobody can have: it would let go of the journal, or pass for a snapshot."""
        failed_sequence = request.snapshot_failed_sequence
        of_snapshots = request.HasField("snapshot") or request.snapshot_problem or failed_sequence
        if of_snapshots and request.follower != SNAPSHOTS:
            alone = f"{SNAPSHOTS}, which alone writes them"
            return EdgeReject(RejectReason.ID_INVALID, "follower", request.follower, alone)
        for field, sequence in (
            ("sequence", request.sequence),
            ("snapshot.sequence", request.snapshot.sequence),
            ("snapshot_failed_sequence", failed_sequence),
        ):
            if sequence > self._streams.durable_sequence:
                return EdgeReject(EdgeReason.CURSOR_INVALID, field, sequence)
        return None

    async def RemoveFollower(
        self, request: messages.RemoveFollowerRequest, context: Context
    ) -> messages.RemoveFollowerResponse:
        try:
            sequence = await self._followers.remove(request.follower)
        except (FollowerRefused, OSError) as error:
            await refuse(context, not_followed(error))
        _tell("follower removed", context, follower=request.follower, sequence=sequence)
        return messages.RemoveFollowerResponse(sequence=sequence)

    async def SetLogLevel(
        self, request: messages.SetLogLevelRequest, context: Context
    ) -> messages.SetLogLevelResponse:
        if request.level not in LOG_LEVELS:
            levels = ", ".join(LOG_LEVELS)
            wrong = EdgeReject(RejectReason.SETTING_INVALID, "level", request.level, levels)
            await refuse(context, wrong)
        previous = logs.level_now()
        # A decision that is told in any case, also by one who is to tell nothing more.
        logs.set_level("info")
        _tell("log level set", context, new_level=request.level, previous_level=previous)
        logs.set_level(request.level)
        return messages.SetLogLevelResponse(previous_level=previous)

    async def SettleDay(  # type: ignore[override]
        self, request: messages.SettleDayRequest, context: Context
    ) -> None:
        refused = await self._settling.serve(request, context)
        if refused is not None:
            await refuse(context, refused)


def _tell(message: str, context: Context, **fields: object) -> None:
    """Log what was asked for; who asked is known by the id that he gave his request."""
    logs.info(message, **fields, request_id=request_id(context))
