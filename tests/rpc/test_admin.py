"""Operation: status, snapshots, followers, health, reflection."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from exchange.v1 import market_data_pb2
from exchange.v1.admin_service_pb2 import (
    CreateSnapshotRequest,
    GetStatusRequest,
    RemoveFollowerRequest,
    ReportFollowerRequest,
    SetInstrumentRequest,
    SnapshotReport,
    StreamJournalRequest,
    StreamJournalResponse,
)
from server.core.instruments import Instrument, Limits
from server.journal.positions import read_positions
from server.journal.refusals import PositionsDamaged
from server.maintenance.followers import FOLLOWERS_MAX
from server.rpc.server import SERVICES
from server.settings import EngineLimits
from tests.rpc.served import (
    BTC,
    BUY,
    Served,
    failure_of,
    info_of,
    refused,
    serving,
    until,
    value,
)

pytestmark = pytest.mark.asyncio

SNAPSHOTS = "snapshots"


async def test_status(served: Served) -> None:
    await served.place("A", BUY, 100, idempotency_key="k")
    status = await served.admin.GetStatus(GetStatusRequest())
    sequence = served.engine.sequence
    assert (status.applied_sequence, status.durable_sequence) == (sequence, sequence)
    assert (status.rules_version, status.epoch, status.version) == (2, 1, "0.1.0")
    assert (status.open_orders, status.keys, status.closed_orders) == (1, 1, 0)
    assert status.keys_guaranteed == Limits().keys_max
    assert status.window_ns == Limits().window_ns
    assert status.uptime_ns > 0
    assert status.recovery.startswith("recovered in ")
    assert [each for each in status.degraded if "snapshot follower" in each]


async def test_a_snapshot_is_asked_of_its_follower(served: Served) -> None:
    failure, info = await refused(served.admin.CreateSnapshot(CreateSnapshotRequest()))
    assert failure.code() == StatusCode.UNAVAILABLE
    assert (info.reason, info.metadata["retry_safe"]) == ("FOLLOWER_MISSING", "true")

    call = served.admin.StreamJournal(StreamJournalRequest(follower=SNAPSHOTS))
    assert not (await _message(call)).snapshot_requested_sequence
    await served.place("A", BUY, 100)
    asking = asyncio.ensure_future(_reply(served.admin.CreateSnapshot(CreateSnapshotRequest())))
    while not (wanted := (await _message(call)).snapshot_requested_sequence):
        pass
    assert wanted == served.engine.sequence
    early = SnapshotReport(sequence=wanted - 1, state_hash="aa", file="snapshots/early")
    late = SnapshotReport(sequence=wanted, state_hash="bb", file="snapshots/late")
    for report in (early, late):
        assert not asking.done()
        await served.admin.ReportFollower(
            ReportFollowerRequest(follower=SNAPSHOTS, sequence=wanted, snapshot=report)
        )
    reply = await asking
    assert (reply.sequence, reply.state_hash, reply.file) == (wanted, "bb", "snapshots/late")
    status = await served.admin.GetStatus(GetStatusRequest())
    assert status.snapshot_sequence == wanted
    assert not status.degraded
    call.cancel()


async def test_snapshots_are_degraded_while_the_last_attempt_failed(served: Served) -> None:
    async def told(**report: Any) -> tuple[str, str, list[str]]:
        await served.admin.ReportFollower(ReportFollowerRequest(follower=SNAPSHOTS, **report))
        health = served.exchange._status.health()
        status = await served.admin.GetStatus(GetStatusRequest())
        assert list(status.degraded) == health.degraded
        return health.state, health.snapshots, health.degraded

    sequence = served.engine.sequence
    call = served.admin.StreamJournal(StreamJournalRequest(follower=SNAPSHOTS))
    await _message(call)
    assert await told(sequence=sequence) == ("healthy", "healthy", [])
    full = await told(sequence=sequence, snapshot_problem="No space left on device")
    why = "no snapshot is written (No space left on device): a start re-applies ever more"
    assert full == ("degraded", "degraded", [why])
    assert await value(served, "newest_snapshot_sequence") == 0
    written = SnapshotReport(sequence=sequence, state_hash="aa", file="snapshots/one")
    assert await told(sequence=sequence, snapshot=written) == ("healthy", "healthy", [])
    assert await value(served, "newest_snapshot_sequence") == sequence
    *_, (long,) = await told(sequence=sequence, snapshot_problem="x" * 9_999)
    assert len(long) < 300
    call.cancel()
    await until(lambda: not served.exchange.followers.connected)
    health = served.exchange._status.health()
    assert health.snapshots == "down"
    assert len(health.degraded) == 1


async def test_who_asks_for_a_snapshot_is_told_at_once_why_it_failed(served: Served) -> None:
    """Not of an attempt before, nor of one that was to hold less; and whoever asks next is not
    answered by what became of that."""

    async def told(failed_sequence: int, problem: str = "disk full") -> None:
        report = ReportFollowerRequest(
            follower=SNAPSHOTS, snapshot_problem=problem, snapshot_failed_sequence=failed_sequence
        )
        await served.admin.ReportFollower(report)

    call = served.admin.StreamJournal(StreamJournalRequest(follower=SNAPSHOTS))
    await _message(call)
    await served.place("A", BUY, 100)
    await told(served.engine.sequence, "an earlier problem")
    for problem in ("disk full", "still full"):
        asking = asyncio.ensure_future(
            refused(served.admin.CreateSnapshot(CreateSnapshotRequest()))
        )
        while not (wanted := (await _message(call)).snapshot_requested_sequence):
            pass
        await told(0)
        await told(wanted - 1)
        assert not asking.done()
        await told(wanted, problem)
        failure, info = await asking
        assert failure.code() == StatusCode.UNAVAILABLE
        assert (info.reason, info.metadata["field"]) == ("NOT_SERVING", "snapshot")
        assert f'"not to be written: {problem}"' in str(failure.details())
    call.cancel()


async def test_a_snapshot_that_does_not_come_ends_with_the_deadline(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", grpc={"deadline_s": 1}) as served:
        call = served.admin.StreamJournal(StreamJournalRequest(follower=SNAPSHOTS))
        await _message(call)
        failure, _ = await refused(served.admin.CreateSnapshot(CreateSnapshotRequest()))
        assert failure.code() == StatusCode.DEADLINE_EXCEEDED
        assert not served.exchange.followers.snapshot_wanted
        call.cancel()


@pytest.mark.parametrize("name", ["", "Snapshots", "a" * 33, "a b"])
async def test_followers_have_names(served: Served, name: str) -> None:
    _, info = await refused(
        served.admin.ReportFollower(ReportFollowerRequest(follower=name, sequence=1))
    )
    assert (info.reason, info.metadata["field"]) == ("ID_INVALID", "follower")
    if name:
        call = served.admin.StreamJournal(StreamJournalRequest(follower=name))
        assert (await refused(call.read()))[1].reason == "ID_INVALID"


async def test_a_follower_may_have_more_kept_than_it_has_done(served: Served) -> None:
    for keep_after, kept in ((None, 3), (1, 1), (9, 3)):
        report = ReportFollowerRequest(follower="f", sequence=3, keep_after_sequence=keep_after)
        await served.admin.ReportFollower(report)
        assert served.exchange.followers.positions["f"] == kept
        assert served.exchange.followers.reports["f"].sequence == 3


async def test_a_follower_is_not_forgotten_while_it_is_registered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would follow on, and nothing of the journal be kept for it."""
    followers, begun, go_on = served.exchange.followers, asyncio.Event(), asyncio.Event()
    keep = followers.keep

    async def keep_slowly() -> None:
        begun.set()
        await go_on.wait()
        await keep()

    monkeypatch.setattr(followers, "keep", keep_slowly)
    call = served.admin.StreamJournal(StreamJournalRequest(follower="tape"))
    async with asyncio.timeout(10):
        await begun.wait()
        removal = served.admin.RemoveFollower(RemoveFollowerRequest(follower="tape"))
        _, info = await refused(removal)
        assert info.reason == "FOLLOWER_CONNECTED"
        go_on.set()
        await _message(call)
    assert "tape" in followers.positions
    call.cancel()


async def test_positions_that_can_t_be_written_change_nothing(served: Served) -> None:
    """As on a full disk: said in words, and without a stack trace for each attempt."""
    await served.admin.ReportFollower(ReportFollowerRequest(follower="old", sequence=1))
    in_the_way = served.exchange._settings.data_dir / "followers.new"
    in_the_way.mkdir()
    report, remove = served.admin.ReportFollower, served.admin.RemoveFollower
    for call in (
        lambda: report(ReportFollowerRequest(follower="new", sequence=1)),
        served.admin.StreamJournal(StreamJournalRequest(follower="new")).read,
        lambda: remove(RemoveFollowerRequest(follower="old")),
    ):
        failure, info = await refused(call())
        assert (failure.code(), info.reason) == (StatusCode.UNAVAILABLE, "NOT_SERVING")
        assert "followers' positions is \"not to be written: Is a dir" in str(failure.details())
        assert served.exchange.followers.positions.keys() == {"old"}
    in_the_way.rmdir()
    removed = await served.admin.RemoveFollower(RemoveFollowerRequest(follower="old"))
    assert removed.sequence == 1
    assert not served.exchange.followers.positions


async def test_who_comes_under_a_name_that_can_t_be_registered_is_refused_with_it(
    served: Served,
) -> None:
    """The journal would not be kept for him."""
    (served.exchange._settings.data_dir / "followers.new").mkdir()
    request = ReportFollowerRequest(follower="new", sequence=1)
    for _, info in await asyncio.gather(
        *(refused(served.admin.ReportFollower(request)) for _ in range(3))
    ):
        assert info.reason == "NOT_SERVING"
    assert not served.exchange.followers.positions


async def test_positions_that_can_t_be_read_are_for_a_person_to_decide_on(tmp_path: Path) -> None:
    (tmp_path / "followers").mkdir()
    with pytest.raises(PositionsDamaged, match=r"can't be read .*Is a directory"):
        read_positions(tmp_path)


async def test_no_follower_has_what_there_is_not(served: Served) -> None:
    """Believed, it would let go of the journal, or be given out as the newest snapshot."""
    ahead = served.engine.sequence + 1
    for name, sequence, snapshot, reason, field in (
        ("tape", ahead, None, "CURSOR_INVALID", "sequence"),
        (SNAPSHOTS, 1, SnapshotReport(sequence=ahead), "CURSOR_INVALID", "snapshot.sequence"),
        ("tape", 1, SnapshotReport(sequence=1), "ID_INVALID", "follower"),
    ):
        report = ReportFollowerRequest(follower=name, sequence=sequence, snapshot=snapshot)
        _, info = await refused(served.admin.ReportFollower(report))
        assert (info.reason, info.metadata["field"]) == (reason, field)
    report = ReportFollowerRequest(follower=SNAPSHOTS, snapshot_failed_sequence=ahead)
    _, info = await refused(served.admin.ReportFollower(report))
    assert (info.reason, info.metadata["field"]) == ("CURSOR_INVALID", "snapshot_failed_sequence")
    for failure in ({"snapshot_problem": "disk full"}, {"snapshot_failed_sequence": 1}):
        report = ReportFollowerRequest(follower="tape", sequence=1, **failure)
        _, info = await refused(served.admin.ReportFollower(report))
        assert (info.reason, info.metadata["field"]) == ("ID_INVALID", "follower")
    assert not served.exchange.followers.positions
    assert served.exchange.followers.snapshot_sequence == 0


async def test_only_so_many_followers_are_remembered(served: Served) -> None:
    for number in range(FOLLOWERS_MAX):
        request = ReportFollowerRequest(follower=f"f{number}", sequence=1)
        await served.admin.ReportFollower(request)
    request.follower = "one-more"
    failure, info = await refused(served.admin.ReportFollower(request))
    assert failure.code() == StatusCode.INVALID_ARGUMENT
    assert (info.reason, info.metadata["limit"]) == ("TOO_MANY", str(FOLLOWERS_MAX))


async def test_a_stopping_server_ends_journal_streams(tmp_path: Path) -> None:
    """And who waits for a snapshot, which no follower could report any more."""
    async with serving(tmp_path / "data") as served:
        call = served.admin.StreamJournal(StreamJournalRequest(follower=SNAPSHOTS))
        await _message(call)
        asking = served.admin.CreateSnapshot(CreateSnapshotRequest())
        await _message(call)
        failing = asyncio.ensure_future(failure_of(call))
        await served.stop()
        for failure in (await failing, (await refused(asking))[0]):
            assert failure.code() == StatusCode.UNAVAILABLE
            assert info_of(failure).reason == "NOT_SERVING"


async def test_health_of_every_service(served: Served) -> None:
    stub: Any = health_pb2_grpc.HealthStub(served.channel)
    messages: Any = health_pb2
    for name in ("", *SERVICES):
        reply = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    listed = (await stub.List(messages.HealthListRequest())).statuses
    assert listed.keys() == {"", *SERVICES}
    failure, _ = await refused(stub.Check(health_pb2.HealthCheckRequest(service="no")))
    assert failure.code() == StatusCode.NOT_FOUND
    assert SERVICES[0] in str(failure.details())


async def test_health_says_that_the_server_stops(tmp_path: Path) -> None:
    """To those who watch too, whose calls end with that: a stop waits for none of them."""
    async with serving(tmp_path / "data") as served:
        stub: Any = health_pb2_grpc.HealthStub(served.channel)
        call = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICES[0]))
        unknown = stub.Watch(health_pb2.HealthCheckRequest(service="no"))
        assert (await call.read()).status == health_pb2.HealthCheckResponse.SERVING
        assert (await unknown.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        await served.stop()
        assert (await call.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        for each in (call, unknown):
            assert await each.read() is grpc.aio.EOF
            assert await each.code() is StatusCode.OK


@pytest.mark.parametrize("on", [True, False])
async def test_reflection_can_be_turned_off(tmp_path: Path, on: bool) -> None:
    async with serving(tmp_path / "data", grpc={"reflection": on}) as served:
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        make_stub: Any = reflection_pb2_grpc.ServerReflectionStub
        stub = make_stub(served.channel)
        call = stub.ServerReflectionInfo()
        if not on:
            # Nothing is written: a write that the refusal overtakes is told as INTERNAL.
            assert (await refused(call.read()))[0].code() == StatusCode.UNIMPLEMENTED
            return
        await call.write(request)
        reply = await call.read()
        assert set(SERVICES) <= {each.name for each in reply.list_services_response.service}


@pytest.mark.parametrize(
    ("name", "is_known"),
    [
        ("exchange.v1.OrderService", True),
        ("exchange.v1.OrderService.PlaceOrder", True),
        ("exchange.v1.Order", True),
        ("exchange.v1.Order.order_id", True),
        ("grpc.health.v1.Health.Check", True),
        ("exchange.v1.OrderService.Nothing", False),
        ("nothing", False),
    ],
)
async def test_reflection_finds_what_has_a_name(served: Served, name: str, is_known: bool) -> None:
    make_stub: Any = reflection_pb2_grpc.ServerReflectionStub
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)
    reply = await make_stub(served.channel).ServerReflectionInfo(iter([request])).read()
    assert bool(reply.file_descriptor_response.file_descriptor_proto) is is_known
    assert reply.error_response.error_code == (0 if is_known else StatusCode.NOT_FOUND.value[0])


async def test_a_stopping_server_ends_reflection(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as served:
        make_stub: Any = reflection_pb2_grpc.ServerReflectionStub
        call = make_stub(served.channel).ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        assert await call.read()
        failing = asyncio.ensure_future(failure_of(call))
        await served.stop()
        failure = await failing
        assert failure.code() == StatusCode.UNAVAILABLE
        assert info_of(failure).reason == "NOT_SERVING"


async def test_bytes_that_are_no_question_to_reflection_are_refused(served: Served) -> None:
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    ask: Any = served.channel.stream_stream(path)
    call = ask(iter([b"\xff"]))
    failure = await failure_of(call)
    assert failure.code() == StatusCode.INVALID_ARGUMENT
    assert info_of(failure).reason == "MESSAGE_INVALID"


async def test_what_the_configuration_changed_is_applied_at_the_next_start(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "data"
    async with serving(directory, instruments=(Instrument(BTC, tick_e8=10),)) as served:
        admins = market_data_pb2.Instrument(name=BTC, tick_e8=10, taker_fee_e6=5)
        await served.admin.SetInstrument(SetInstrumentRequest(instrument=admins))
        await served.place("A", BUY, 100)
        before = served.engine.sequence
    async with serving(directory, instruments=(Instrument(BTC, tick_e8=10),)) as served:
        assert served.engine.sequence == before, "nothing changed in the file"
    changed = Instrument(BTC, tick_e8=10, lot_e8=1, quantity_max_e8=50)
    async with serving(directory, instruments=(changed, Instrument("NEW-USD"))) as served:
        now = served.engine.instruments[BTC]
        assert (now.quantity_max_e8, now.taker_fee_e6) == (50, 5), "what an admin changed stays"
        assert list(served.engine.instruments) == [BTC, "NEW-USD"]
        assert served.engine.sequence == before + 2
    finer = changed._replace(tick_e8=1)
    async with serving(directory, instruments=(finer,)) as served:
        assert served.engine.instruments[BTC].tick_e8 == 10
        assert "NEW-USD" in served.engine.instruments, "nothing is removed for missing in the file"
        status = await served.admin.GetStatus(GetStatusRequest())
        (sentence,) = [each for each in status.degraded if BTC in each]
        assert "while orders rest" in sentence


async def test_changed_limits_of_the_engine_are_applied_at_the_next_start(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as served:
        before = served.engine.sequence
    async with serving(tmp_path / "data", engine=EngineLimits(keys_max=7)) as served:
        assert served.engine.limits == Limits(keys_max=7)
        assert served.engine.sequence == before + 1


async def _reply(call: Any) -> Any:
    return await call


async def _message(call: Any) -> StreamJournalResponse:
    message = await call.read()
    assert isinstance(message, StreamJournalResponse)
    return message
