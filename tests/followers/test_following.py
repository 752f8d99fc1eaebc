"""One follower beside a server: what it reports at once, and what it leaves to a person."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest

from exchange.v1.admin_service_pb2 import ReportFollowerRequest, StreamJournalResponse
from server.delays import FIRST_S
from server.followers import following as followings
from server.followers.following import RETRY_MAX_S, FollowerStopped, Following
from server.followers.journal_reader import Progress, Reached
from server.followers.kafka import KafkaFollower
from server.followers.postgres import PostgresFollower
from server.journal.record import BATCH, Record, encode
from server.maintenance.outside import PROBLEM_CHARS_MAX

BEGINS = "after_sequence 0 lies before the journal that is kept, which begins with sequence 900"
GONE = f"{BEGINS}: start from there, or afresh"
PAYLOAD = b"p" * 300
OTHER = 'after_time_ns "5" was not issued by this server: start again without it'
ANOTHER = 'journal "aa" was not issued by this server: start again without it'


async def keep_quiet(_request: bytes, context: Any) -> None:
    """As a server does where nothing happens, once it has said that it serves the stream."""
    await context.write(StreamJournalResponse().SerializeToString())
    await asyncio.Event().wait()


def messages_of(count: int) -> list[bytes]:
    """What is told of so many records of one command each."""
    messages = []
    position = 0
    for sequence in range(1, count + 1):
        record = Record(
            BATCH, position, 0, b"j" * 16, 0, 1, 1, b"o" * 16, sequence, 1, 5, b"c" * 16, PAYLOAD
        )
        position = record.end
        messages.append(
            StreamJournalResponse(
                frames=encode(record), position=position, durable_sequence=count
            ).SerializeToString()
        )
    return messages


def journal(count: int) -> Any:
    """Tells so many records, and then keeps quiet."""
    messages = messages_of(count)

    async def tell(_request: bytes, context: Any) -> None:
        for message in messages:
            await context.write(message)
        await asyncio.Event().wait()

    return tell


Like = type[PostgresFollower | KafkaFollower]


class Tables:
    """A follower that has so much already."""

    gather_s = 0.0
    held: Reached | None = None

    def __init__(self, sequence: int, like: Like = PostgresFollower) -> None:
        self.name = like.name
        self.remedy_not_kept = like.remedy_not_kept
        self.remedy_differs = like.remedy_differs
        self.sequence = sequence
        self.opened = 0
        self.begun: list[int] = []

    async def open(self) -> Reached:
        self.opened += 1
        return Reached(self.sequence)

    def begin(self, durable_sequence: int) -> None:
        self.begun.append(durable_sequence)

    async def take(self, records: list[Record], _progress: Progress) -> int | None:
        raise AssertionError("there is nothing to take")

    async def check(self) -> None:
        """All of it is there."""

    async def close(self) -> None:
        """Nothing is held."""


@asynccontextmanager
async def followed(
    tables: Tables, journal: Any, hear: Any, reported: Any, retry_max_s: float = RETRY_MAX_S
) -> AsyncIterator[Following]:
    """The follower beside a server with this journal."""

    async def report(request: ReportFollowerRequest, _context: Any) -> bytes:
        reported(request)
        return b""

    server = grpc.aio.server()
    methods: dict[str, Any] = {
        "StreamJournal": grpc.unary_stream_rpc_method_handler(journal),
        "ReportFollower": grpc.unary_unary_rpc_method_handler(
            report, ReportFollowerRequest.FromString
        ),
    }
    service = "exchange.v1.AdminService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    following = Following(tables, f"127.0.0.1:{port}", hear, retry_max_s)
    task = asyncio.create_task(following.run())
    try:
        async with asyncio.timeout(10):
            yield following
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.stop(None)


@pytest.mark.parametrize(
    ("like", "code", "details", "told", "reached"),
    [
        # It was emptied, and the journal holds no more what it needs.
        (
            PostgresFollower,
            grpc.StatusCode.OUT_OF_RANGE,
            GONE,
            (BEGINS, "exchange rebuild postgres"),
            77,
        ),
        (
            KafkaFollower,
            grpc.StatusCode.OUT_OF_RANGE,
            GONE,
            (BEGINS, '"snapshot"` in section [kafka]'),
            77,
        ),
        # It is that of an exchange that got further, or of this one before a copy was put back.
        (
            PostgresFollower,
            grpc.StatusCode.INVALID_ARGUMENT,
            "",
            ("at sequence 77", "one of its own"),
            0,
        ),
        (
            PostgresFollower,
            grpc.StatusCode.INVALID_ARGUMENT,
            "",
            ("from a copy", "rebuild postgres"),
            0,
        ),
        (
            KafkaFollower,
            grpc.StatusCode.INVALID_ARGUMENT,
            "",
            ("from a copy", "delete its topics"),
            0,
        ),
        # The journal was put back from a copy, and went on otherwise.
        (
            PostgresFollower,
            grpc.StatusCode.INVALID_ARGUMENT,
            OTHER,
            ("from a copy", "rebuild postgres"),
            0,
        ),
        (
            KafkaFollower,
            grpc.StatusCode.INVALID_ARGUMENT,
            OTHER,
            ("from a copy", "delete its topics"),
            0,
        ),
        # It is another exchange's, whatever that has in common with this one.
        (
            PostgresFollower,
            grpc.StatusCode.INVALID_ARGUMENT,
            ANOTHER,
            ("that of another exchange", "one of its own"),
            0,
        ),
    ],
)
def test_what_needs_a_person_is_said_once(
    like: Like, code: grpc.StatusCode, details: str, told: tuple[str, str], reached: int
) -> None:
    """And fits, whole, into what is kept of it for whoever asks for health. What the part holds of
    another journal is nothing of this one, and lets go of nothing of it."""
    said: list[str] = []
    reports: list[ReportFollowerRequest] = []
    tables = Tables(77, like)

    async def refuse(_request: bytes, context: Any) -> None:
        await context.abort(code, details)

    async def run() -> None:
        heard = asyncio.Event()

        def hear(line: str) -> None:
            said.append(line)
            heard.set()

        async with followed(tables, refuse, hear, reports.append) as following:
            await heard.wait()
            assert following.reached.sequence == reached
            assert told[1] in following.problem[:PROBLEM_CHARS_MAX]

    asyncio.run(run())
    assert len(said) == tables.opened == 1
    assert reports == []
    assert told[0] in said[0]


def test_where_it_is_is_reported_though_nothing_happens() -> None:
    """A server that was started anew knows only what was written down a while ago."""

    async def run() -> ReportFollowerRequest:
        told: asyncio.Future[ReportFollowerRequest] = asyncio.Future()

        def hear(report: ReportFollowerRequest) -> None:
            if not told.done():
                told.set_result(report)

        async with followed(Tables(77), keep_quiet, lambda _: None, hear):
            return await told

    report = asyncio.run(run())
    assert (report.follower, report.sequence) == ("postgres", 77)
    assert not report.HasField("keep_after_sequence")


def test_who_has_everything_follows_though_nothing_happens() -> None:
    async def nothing_new(_request: bytes, context: Any) -> None:
        await context.write(StreamJournalResponse(durable_sequence=77).SerializeToString())
        await asyncio.Event().wait()

    async def run() -> tuple[str, str]:
        said: asyncio.Future[str] = asyncio.Future()
        async with followed(Tables(77), nothing_new, said.set_result, lambda _: None) as following:
            return await said, following.problem

    assert asyncio.run(run()) == ("postgres follows from sequence 77", "")


def test_who_is_opened_again_asks_for_the_journal_from_where_it_is_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may have lost what it had: then an older answer would let go of what it needs."""
    monkeypatch.setattr(followings, "QUIET_S", 0.01)
    monkeypatch.setattr(followings, "REPORT_S", 0.01)
    reports: list[ReportFollowerRequest] = []
    one_by_one = journal(9)

    class Forgetful(Tables):
        """Not all of it is safe; then all is gone."""

        async def open(self) -> Reached:
            self.opened += 1
            return Reached(0)

        async def take(self, records: list[Record], _progress: Progress) -> int:
            return records[-1].last_sequence - 1

        async def check(self) -> None:
            if any(it.keep_after_sequence == 8 for it in reports):
                raise RuntimeError("all of it is gone")

    tables = Forgetful(0)

    async def tell_once(request: bytes, context: Any) -> None:
        await (one_by_one if tables.opened == 1 else keep_quiet)(request, context)

    async def run() -> list[ReportFollowerRequest]:
        told_anew = asyncio.Event()

        def hear(report: ReportFollowerRequest) -> None:
            reports.append(report)
            if tables.opened > 1:
                told_anew.set()

        async with followed(tables, tell_once, lambda _: None, hear):
            await told_anew.wait()
        return reports

    last = asyncio.run(run())[-1]
    assert (last.sequence, last.HasField("keep_after_sequence")) == (0, False)


def test_it_ends_though_a_driver_took_its_cancellation_for_its_own() -> None:
    class Deaf(Tables):
        async def open(self) -> Reached:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return await super().open()

    async def run() -> None:
        following = Following(Deaf(77), "127.0.0.1:1", lambda _: None)
        task = asyncio.create_task(following.run())
        await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=5)
        assert done
        assert task.cancelled()

    asyncio.run(run())


def test_a_slow_part_holds_back_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """However far behind it is, what waits for it is bounded."""
    monkeypatch.setattr(followings, "WAITING_BYTES_MAX", 1_000)
    count = 50

    class Slow(Tables):
        def __init__(self) -> None:
            super().__init__(0)
            self.batches: list[list[Record]] = []
            self.done = asyncio.Event()

        async def take(self, records: list[Record], _progress: Progress) -> None:
            self.batches.append(records)
            await asyncio.sleep(0.02)
            if records[-1].last_sequence == count:
                self.done.set()

    async def run() -> list[list[Record]]:
        tables = Slow()
        async with followed(tables, journal(count), lambda _: None, lambda _: None):
            await tables.done.wait()
        return tables.batches

    batches = asyncio.run(run())
    taken = [record.first_sequence for batch in batches for record in batch]
    assert taken == list(range(1, count + 1))
    assert max(sum(len(it.payload) for it in batch) for batch in batches) <= 1_000 + len(PAYLOAD)


def test_what_is_safe_of_a_long_batch_shows_before_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is back and being filled isn't down, and what follows what was taken before is
    still needed of the journal."""
    monkeypatch.setattr(followings, "REPORT_S", 0.01)

    class Long(Tables):
        async def open(self) -> Reached:
            await super().open()
            if self.opened == 1:
                raise ConnectionRefusedError("nobody listens")
            return Reached(self.sequence)

        async def take(self, records: list[Record], progress: Progress) -> int:
            for record in records:
                progress(Reached(record.last_sequence, record.time_ns))
            return await asyncio.Future()

    async def run() -> tuple[Following, list[ReportFollowerRequest]]:
        reports: list[ReportFollowerRequest] = []
        partly_there = asyncio.Event()

        def hear(report: ReportFollowerRequest) -> None:
            reports.append(report)
            if report.sequence > 1:
                partly_there.set()

        async with followed(Long(1), journal(50), lambda _: None, hear) as following:
            await partly_there.wait()
        return following, reports

    following, reports = asyncio.run(run())
    assert (following.problem, following.reached.sequence) == ("", reports[-1].sequence)
    for report in reports:
        kept = report.keep_after_sequence if report.HasField("keep_after_sequence") else None
        assert (kept or report.sequence) == 1


def test_what_waited_for_a_part_that_failed_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record is taken once all the same, and what waited holds back nothing."""
    monkeypatch.setattr(followings, "WAITING_BYTES_MAX", 1_000)
    monkeypatch.setattr(followings, "QUIET_S", 60.0)
    count = 10

    class Failing(Tables):
        """Fails once, when all that may waits for it."""

        def __init__(self) -> None:
            super().__init__(0)
            self.closed = 0
            self.taken: list[int] = []
            self.following: Following
            self.done = asyncio.Event()

        async def take(self, records: list[Record], _progress: Progress) -> None:
            if self.opened == 1:
                following = self.following
                async with following._changed:
                    await following._changed.wait_for(lambda: following._waiting_bytes >= 1_000)
                raise RuntimeError("gone")
            self.taken += [record.first_sequence for record in records]
            if records[-1].last_sequence == count:
                self.done.set()

        async def close(self) -> None:
            self.closed += 1

    async def run() -> Failing:
        tables = Failing()
        async with followed(
            tables, journal(count), lambda _: None, lambda _: None
        ) as tables.following:
            await tables.done.wait()
            assert (tables.opened, tables.closed) == (2, 1)
        return tables

    tables = asyncio.run(run())
    assert tables.taken == list(range(1, count + 1))
    assert tables.closed == 2


def test_a_part_that_is_starting_too_is_not_said_to_be_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    following = Following(Tables(0), "127.0.0.1:1", said.append)
    following._note(ConnectionRefusedError("nobody listens"))
    assert following.problem == "ConnectionRefusedError: nobody listens"
    assert said == []
    # Not so what waits for a person, or is not there after a while.
    following._note(FollowerStopped("of another journal"))
    assert len(said) == 1
    monkeypatch.setattr(followings, "STARTING_S", 0.0)
    following._note(ConnectionRefusedError("nobody listens"))
    following._note(ConnectionRefusedError("nobody listens"))
    assert said[1:] == [
        "postgres is down (ConnectionRefusedError: nobody listens); trying until it is back"
    ]


def test_what_needs_a_person_is_tried_less_often() -> None:
    for error, least_s, most_s in (
        (RuntimeError("gone"), FIRST_S / 2, FIRST_S),
        (FollowerStopped("of another journal"), RETRY_MAX_S / 2, RETRY_MAX_S),
    ):
        following = Following(Tables(0), "127.0.0.1:1", lambda _: None)
        following._note(error)
        assert least_s <= following._delays.next_s() <= most_s


def test_delays_begin_anew_once_it_went_well() -> None:
    following = Following(Tables(0), "127.0.0.1:1", lambda _: None)
    for _ in range(9):
        following._note(RuntimeError("gone"))
        following._delays.next_s()
    following._went_well()
    following._note(RuntimeError("gone"))
    assert following._delays.next_s() <= FIRST_S


@pytest.mark.asyncio
async def test_what_a_part_refused_is_let_go_of() -> None:
    """At once: the collector looks at old objects so rarely that each refused batch stayed."""

    class Full(Tables):
        def __init__(self) -> None:
            super().__init__(0)
            self.refused: list[weakref.ref[Rows]] = []
            self.has_five = asyncio.Event()

        async def take(self, records: list[Record], _progress: Progress) -> int | None:
            rows = Rows(records)
            self.refused.append(weakref.ref(rows))
            if len(self.refused) == 5:
                self.has_five.set()
            raise OSError(f"no room for {len(rows)} rows")

    class Rows(list[Record]):
        """What is made of the records."""

    full = Full()
    gc.disable()
    try:
        async with followed(full, journal(3), print, print, retry_max_s=0.01):
            await full.has_five.wait()
            assert [it() for it in full.refused[:4]] == [None] * 4
    finally:
        gc.enable()
