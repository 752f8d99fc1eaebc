"""What is told of a full disk, a slow one, a clock set back, and a journal that was cut."""

import asyncio
import errno
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from exchange.http.v1.market_service_pb2 import StreamTradesRequest as HttpStreamTradesRequest
from exchange.http.v1.market_service_pb2_grpc import MarketServiceStub
from exchange.http.v1.system_service_pb2 import GetHealthRequest
from exchange.http.v1.system_service_pb2_grpc import SystemServiceStub
from exchange.v1.admin_service_pb2 import (
    GetStatusRequest,
    RemoveFollowerRequest,
    ReportFollowerRequest,
    StreamJournalRequest,
)
from exchange.v1.market_data_pb2 import StreamTradesRequest
from exchange.v1.order_service_pb2 import CancelOrderRequest
from server.core.requests import Keys
from server.journal.retention import needed_sequence
from server.journal.segments import Segments
from server.journal.snapshots import write_snapshot
from server.journal.storage import Storage
from server.maintenance import journal as maintenance
from server.settings import EngineLimits, JournalSettings
from tests.rpc.served import BTC, BUY, HeldJournal, Served, info_of, refused, serving, until, value

pytestmark = pytest.mark.asyncio

DROP = JournalSettings(segment_bytes=64 * 1024, retention="drop")


@pytest.fixture(autouse=True)
def nobody_else_trims(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do it themselves: at the same time as the server would count twice."""
    monkeypatch.setattr(maintenance, "TRIM_S", 3_600.0)


async def health_of(served: Served) -> int:
    stub: Any = health_pb2_grpc.HealthStub(served.channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest())).status)


async def journal_of(served: Served) -> tuple[str, str]:
    """What `/healthz` says of all, and of the journal."""
    stub: Any = SystemServiceStub(served.channel)
    health = await stub.GetHealth(GetHealthRequest())
    return health.status, health.checks.journal


async def becomes(served: Served, wanted: int) -> None:
    while await health_of(served) != wanted:  # noqa: ASYNC110 - another task makes it so
        await asyncio.sleep(0.01)


async def test_row_9_new_orders_wait_for_room_and_cancels_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = False
    sound = Storage.reserve

    def reserve(self: Storage, size: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        sound(self, size)

    monkeypatch.setattr(Storage, "reserve", reserve)
    settings = JournalSettings(segment_bytes=64 * 1024)
    async with serving(tmp_path / "data", journal=settings) as served:
        resting = await served.place("alice", BUY, 100)
        full = True
        placed, number = True, 0
        while placed:
            number += 1
            assert number < 2_000
            calls = [served.place("bob", BUY, 90) for _ in range(50)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            placed = not any(isinstance(result, BaseException) for result in results)
        failure, info = await refused(served.place("alice", BUY, 100))
        assert failure.code() == StatusCode.RESOURCE_EXHAUSTED
        assert info.reason == "JOURNAL_FULL"
        assert info.metadata["retry_safe"] == "true"
        assert "journal disk full" in (failure.details() or "")
        assert await value(served, "orders_rejected_total", reason="journal_full") >= 1
        cancel = CancelOrderRequest(order_id=resting.order.order_id)
        assert (await served.orders.CancelOrder(cancel)).order.remaining_quantity_e8 == 0
        full = False
        await until(lambda: not served.exchange.sequencer.journal_full)
        await served.place("alice", BUY, 100)


async def test_row_11_a_slow_disk_turns_health_and_a_fast_one_turns_it_back(
    tmp_path: Path,
) -> None:
    settings = JournalSettings(sync_slow_ms=50)
    async with serving(tmp_path / "data", journal=settings) as served:
        assert await health_of(served) == health_pb2.HealthCheckResponse.SERVING
        with HeldJournal(served):
            waiting = asyncio.create_task(served.place("alice", BUY, 100))
            await becomes(served, health_pb2.HealthCheckResponse.NOT_SERVING)
            assert any("slow" in told for told in served.exchange._journal.sentences)
            assert await journal_of(served) == ("degraded", "degraded")
        await waiting
        await becomes(served, health_pb2.HealthCheckResponse.SERVING)
        assert not served.exchange._journal.sentences
        assert (await journal_of(served))[1] == "healthy"


async def test_row_11_a_disk_that_is_slow_from_the_start_is_told_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = Segments.fdatasync

    def slow(segments: Segments) -> None:
        time.sleep(0.01)
        sound(segments)

    monkeypatch.setattr(Segments, "fdatasync", slow)
    async with serving(tmp_path / "data", journal=JournalSettings(sync_slow_ms=1)) as served:
        assert await health_of(served) == health_pb2.HealthCheckResponse.NOT_SERVING
        monkeypatch.undo()
        # Until the last slow one is forgotten.
        monkeypatch.setattr(maintenance, "SLOW_FORGOTTEN_S", 0.01)
        await becomes(served, health_pb2.HealthCheckResponse.SERVING)


async def fill(served: Served, directory: Path) -> None:
    """Three segments and a snapshot; a second one is written when the server stops."""
    log = served.exchange._log
    while len(log.segments.all) < 3:
        await asyncio.gather(*(served.place("bob", BUY, 90) for _ in range(100)))
    write_snapshot(directory, served.engine, log.mark)
    await served.place("bob", BUY, 90)
    served.exchange.followers.snapshot_sequence = served.engine.sequence


async def test_row_14_a_clock_behind_the_newest_stamp_is_told_while_it_is(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentences = served.exchange._journal.sentences
    await served.place("alice", BUY, 100)
    clock_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: clock_ns() - 3_600 * 10**9)
    await until(lambda: bool(sentences))
    assert "time stands still until 20" in sentences[0]
    assert (await journal_of(served))[1] == "degraded"
    await served.place("alice", BUY, 100)
    monkeypatch.undo()
    await until(lambda: not sentences)
    assert (await journal_of(served))[1] == "healthy"


async def test_what_nobody_needs_is_dropped_and_the_rest_says_where_it_begins(
    tmp_path: Path,
) -> None:
    """Not before two snapshots are there, nor beyond the slowest registered follower, which stays
    registered through a restart; then whoever asks for it is told what is still there."""
    directory = tmp_path / "data"
    async with serving(directory, journal=DROP) as served:
        await served.admin.ReportFollower(ReportFollowerRequest(follower="slow", sequence=3))
        await fill(served, directory)
    async with serving(directory, journal=DROP) as served:
        log = served.exchange._log
        assert served.exchange.followers.positions == {"slow": 3}
        trim = served.exchange._journal._trim
        await trim()
        assert log.first_sequence == 1, "dropped before a follower had it"
        reply = await served.admin.RemoveFollower(RemoveFollowerRequest(follower="slow"))
        assert reply.sequence == 3
        await trim()
        first = log.first_sequence
        assert first > 1
        status = await served.admin.GetStatus(GetStatusRequest())
        assert status.journal_first_sequence == first
        stream = served.admin.StreamJournal(StreamJournalRequest(after_sequence=first - 2))
        failure, info = await refused(stream.read())
        assert failure.code() == StatusCode.OUT_OF_RANGE
        assert info.metadata["limit"] == str(first)
        trades = served.market.StreamTrades(StreamTradesRequest(instrument=BTC, after_sequence=1))
        failure, info = await refused(trades.read())
        assert failure.code() == StatusCode.OUT_OF_RANGE, info_of(failure)
        http: Any = MarketServiceStub(served.channel)
        lines = http.StreamTrades(HttpStreamTradesRequest(from_sequence="2"))
        failure, info = await refused(lines.read())
        assert (info.reason, info.metadata["field"]) == ("NOT_KEPT", "from_sequence")
        assert str(failure.details()).startswith("from_sequence 2 lies before")
        request = StreamJournalRequest(after_sequence=first - 1, until_now=True)
        assert await served.admin.StreamJournal(request).read()


async def test_snapshots_are_read_once_where_nothing_can_go_by_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many orders they are hundreds of MB, and the look comes each second."""
    read: list[Path] = []

    def look(directory: Path) -> int:
        read.append(directory)
        return needed_sequence(directory)

    monkeypatch.setattr(maintenance, "needed_sequence", look)
    directory = tmp_path / "data"
    async with serving(directory, journal=DROP) as served:
        await served.place("alice", BUY, 100)
        write_snapshot(directory, served.engine, served.exchange._log.mark)
        await fill(served, directory)
        older, trim = served.engine.sequence, served.exchange._journal._trim
        for _ in range(3):
            await trim()
        assert served.exchange._log.first_sequence == 1
        assert len(read) == 1
        write_snapshot(directory, served.engine, served.exchange._log.mark)
        served.exchange.followers.snapshot_sequence = older + 1
        await trim()
        assert served.exchange._log.first_sequence > 1
        assert len(read) == 2


async def test_who_registers_while_it_is_found_out_what_may_go_has_it_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "data"
    async with serving(directory, journal=DROP) as served:
        await fill(served, directory)
    async with serving(directory, journal=DROP) as served:
        followers = served.exchange.followers
        keep = followers.keep

        async def keep_beside_another() -> None:
            monkeypatch.undo()
            await followers.register("late", 3)
            await keep()

        monkeypatch.setattr(followers, "keep", keep_beside_another)
        await served.exchange._journal._trim()
        assert followers.positions == {"late": 3}
        assert served.exchange._log.first_sequence == 1


async def test_who_is_to_be_filled_has_the_journal_kept_before_he_was_ever_there(
    tmp_path: Path,
) -> None:
    """Absent since the start, and through a restart; until an admin gives him up."""
    directory = tmp_path / "data"
    away: Any = {"kafka_brokers": "127.0.0.1:1", "redis_url": "redis://127.0.0.1:1"}
    async with serving(directory, journal=DROP, **away) as served:
        await fill(served, directory)
    async with serving(directory, journal=DROP, **away) as served:
        trim = served.exchange._journal._trim
        await trim()
        assert served.exchange._log.first_sequence == 1, "dropped before he had it"
        assert served.exchange.followers.positions == {"kafka": 0}
        await served.admin.RemoveFollower(RemoveFollowerRequest(follower="kafka"))
        await trim()
        first = served.exchange._log.first_sequence
        assert first > 1
    async with serving(directory, journal=DROP, **away) as served:
        await served.exchange._journal._trim()
        assert served.exchange.followers.positions == {"kafka": first - 1}


async def test_an_archive_that_takes_nothing_is_told_until_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(maintenance, "TRIM_S", 0.01)
    caplog.set_level("INFO", "exchange")
    directory, in_the_way = tmp_path / "data", tmp_path / "archive"
    async with serving(directory, journal=DROP) as served:
        await fill(served, directory)
    in_the_way.touch()
    archive = replace(DROP, retention="archive", archive_dir=str(in_the_way / "here"))
    async with serving(directory, journal=archive) as served:
        await until(lambda: "journal segments stay" in caplog.messages)
        assert [it for it in served.exchange._journal.sentences if str(in_the_way) in it]
        in_the_way.unlink()
        await until(lambda: "journal segments go again" in caplog.messages)
        assert not served.exchange._journal.sentences
    assert caplog.messages.count("journal segments stay") == 1
    assert list((in_the_way / "here").iterdir())


async def test_what_a_remembered_key_was_used_for_is_kept(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    async with serving(directory, journal=DROP) as served:
        first = await served.place("alice", BUY, 100, idempotency_key="k")
        await fill(served, directory)
    async with serving(directory, journal=DROP) as served:
        await served.exchange._journal._trim()
        assert served.exchange._log.first_sequence == 1
        again = await served.place("alice", BUY, 100, idempotency_key="k")
        assert (again.repeated, again.sequence) == (True, first.sequence)


async def test_the_oldest_key_is_looked_for_once_until_more_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look for it past a million forgotten ones would hold everything up, each second."""
    looked: list[Keys] = []
    rows = Keys.rows

    def look(keys: Keys) -> Iterator[tuple[str, int, int]]:
        looked.append(keys)
        return rows(keys)

    directory = tmp_path / "data"
    few = EngineLimits(keys_max=2)
    async with serving(directory, journal=DROP, engine=few) as served:
        await served.place("alice", BUY, 100, idempotency_key="k")
        await fill(served, directory)
    async with serving(directory, journal=DROP, engine=few) as served:
        monkeypatch.setattr(Keys, "rows", look)
        trim = served.exchange._journal._trim
        for _ in range(3):
            await trim()
        assert served.exchange._log.first_sequence == 1
        assert len(looked) == 1
        for number in range(9):
            await served.place("alice", BUY, 100, idempotency_key=f"k{number}")
        await trim()
        assert served.exchange._log.first_sequence > 1
        assert len(looked) == 2


async def test_who_asks_for_the_journal_keeps_it_from_the_earliest_place_that_he_may_need(
    served: Served,
) -> None:
    """Kafka's follower, say, goes on behind its topics, and begins again at its checkpoint."""
    for _ in range(5):
        await served.place("bob", BUY, 90)
    report = ReportFollowerRequest(follower="kafka", sequence=5, keep_after_sequence=3)
    await served.admin.ReportFollower(report)
    for after, kept in ((5, 3), (2, 2), (4, 2)):
        stream = served.admin.StreamJournal(
            StreamJournalRequest(follower="kafka", after_sequence=after)
        )
        assert await stream.read()
        assert served.exchange.followers.positions == {"kafka": kept}
        stream.cancel()


async def test_a_follower_that_is_connected_is_not_forgotten(served: Served) -> None:
    await served.place("bob", BUY, 90)
    stream = served.admin.StreamJournal(StreamJournalRequest(follower="reports"))
    assert await stream.read()
    request = RemoveFollowerRequest(follower="reports")
    failure, info = await refused(served.admin.RemoveFollower(request))
    assert (failure.code(), info.reason) == (StatusCode.ABORTED, "FOLLOWER_CONNECTED")
    assert "stop it first" in str(failure.details())
    stream.cancel()
    await until(lambda: not served.exchange.followers.connected)
    await served.admin.RemoveFollower(request)
    assert "reports" not in served.exchange.followers.positions


async def test_who_resumes_from_what_is_dropped_meanwhile_is_told_where_it_begins(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "data"
    async with serving(directory, journal=DROP) as served:
        await fill(served, directory)
    async with serving(directory, journal=DROP) as served:
        held = threading.Event()
        served.exchange.feed._pool.submit(held.wait, 20)
        stream: Any = served.market.StreamTrades(StreamTradesRequest(after_sequence=0))
        assert (await stream.read()).sequence == 0
        await served.exchange._journal._trim()
        held.set()
        first = served.exchange._log.first_sequence
        assert first > 1
        failure, info = await refused(stream.read())
        assert (failure.code(), info.reason) == (StatusCode.OUT_OF_RANGE, "NOT_KEPT")
        assert info.metadata["limit"] == str(first)
