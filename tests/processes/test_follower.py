"""The snapshot follower beside a real server, and beside one that sends something else."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from exchange.v1.admin_service_pb2 import (
    CreateSnapshotRequest,
    CreateSnapshotResponse,
    GetStatusRequest,
    SnapshotReport,
    StreamJournalRequest,
    StreamJournalResponse,
)
from exchange.v1.admin_service_pb2_grpc import (
    AdminServiceServicer,
    AdminServiceStub,
    add_AdminServiceServicer_to_server,
)
from server.core.dump import state_hash
from server.exits import Exit
from server.followers import snapshots
from server.followers.snapshots import SnapshotFollower
from server.journal.fence import chain_after
from server.journal.payload import encode_batch
from server.journal.record import decode_frame, encode
from server.journal.refusals import ReplayDiffers
from server.journal.snapshots import snapshot_paths
from tests.journal.site import Site, every_command, trade
from tests.processes.load import Load
from tests.running import Running, Starter, free_port, until


@contextmanager
def admin(address: str) -> Iterator[Any]:
    with grpc.insecure_channel(address) as channel:
        yield AdminServiceStub(channel)


def follow(starter: Starter, address: str, *options: str) -> Running:
    """A follower that has caught hold of the server's journal."""
    options = ("--data-dir", str(starter.data_dir), "--server", address, *options)
    follower = starter.run("follower", *options)
    follower.wait_serving()
    return follower


def create_snapshot(address: str) -> CreateSnapshotResponse:
    with admin(address) as stub:
        written: CreateSnapshotResponse = stub.CreateSnapshot(CreateSnapshotRequest(), timeout=10)
    return written


def test_snapshot_on_demand_holds_everything_so_far(starter: Starter) -> None:
    server, address = starter.server()
    follower = follow(starter, address)
    with Load(address, "d") as load:
        load.wait(3)
    written = create_snapshot(address)
    with admin(address) as stub:
        status = stub.GetStatus(GetStatusRequest(), timeout=10)
    assert written.sequence == status.durable_sequence == status.snapshot_sequence
    assert [it.name for it in status.followers] == ["snapshots"]
    assert (starter.data_dir / written.file).exists()
    assert create_snapshot(address) == written, "nothing is new, so it is the same"
    server.kill()
    again, _ = starter.server()
    said = again.wait_line("recovered")
    assert f"snapshot {written.sequence}; replayed 0" in said
    assert written.state_hash.startswith(said.split("state hash ")[1][:16])
    assert follower.terminate() == Exit.CLEAN


def test_snapshots_come_by_themselves_and_go_on_with_a_new_server(
    starter: Starter, tmp_path: Path
) -> None:
    """[I8] Each is checked against a replay from the beginning, over two runs of the server."""
    file = tmp_path / "exchange.toml"
    file.write_text("[snapshots]\ninterval_s = 1\n")
    port = free_port()
    server, address = starter.server(port)
    follower = follow(starter, address, "--config", str(file))
    seen: set[Path] = set()

    def has_new() -> bool:
        return not seen.issuperset(snapshot_paths(starter.data_dir))

    for run in range(2):
        with Load(address, f"i{run}") as load:
            load.wait(2)
            # While there is always something new.
            seen.update(snapshot_paths(starter.data_dir))
            until(has_new, 10, f"a snapshot by itself in run {run}")
        server.kill()
        server, address = starter.server(port)
        follower.wait_line(f"following {address} again")
    assert follower.terminate() == Exit.CLEAN
    assert server.terminate() == Exit.CLEAN
    verified = starter.run("journal", "verify", "--data-dir", str(starter.data_dir))
    assert verified.wait() == Exit.CLEAN, verified.lines


def test_snapshots_that_fail_are_told_to_whoever_asks_how_the_exchange_is(
    starter: Starter, tmp_path: Path
) -> None:
    file = tmp_path / "exchange.toml"
    file.write_text("[snapshots]\ninterval_s = 1\n")
    _server, address = starter.server()
    follower = follow(starter, address, "--config", str(file))
    (starter.data_dir / "snapshots").write_text("not a directory")
    told: list[str] = []

    def is_told() -> bool:
        with admin(address) as stub:
            told[:] = stub.GetStatus(GetStatusRequest(), timeout=10).degraded
        return bool(told)

    follower.wait_line("no snapshot at sequence")
    until(is_told, 10, "what keeps the follower from writing one")
    (sentence,) = told
    assert sentence.startswith("no snapshot is written (")
    assert f"File exists: '{starter.data_dir / 'snapshots'}'" in sentence
    for _ in range(2):
        with pytest.raises(
            grpc.RpcError, match=r"the snapshot is .*not to be written: .*File exists"
        ):
            create_snapshot(address)


def test_waits_for_a_server(starter: Starter) -> None:
    port = free_port()
    options = ("--data-dir", str(starter.data_dir), "--server", f"127.0.0.1:{port}")
    follower = starter.run("follower", *options)
    follower.wait_line(f"no journal from 127.0.0.1:{port}")
    starter.server(port)
    follower.wait_serving()
    follower.wait_line(f"following 127.0.0.1:{port} again")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    every_command(site)
    trade(site, 10)
    site.close()
    return site


def frames_of(site: Site) -> list[bytes]:
    data = (site.directory / "journal").read_bytes()
    frames, offset = [], 64
    while offset < len(data):
        end = decode_frame(data, offset).end
        frames.append(data[offset:end])
        offset = end
    return frames


def with_other_event(frames: list[bytes]) -> list[bytes]:
    """A journal that is whole, and says of its last command something that did not happen."""
    *before, last = map(decode_frame, frames)
    commands, events = last.commands(), [list(them) for them in last.events()]
    events[-1] = events[-1][:-1]
    other = last._replace(payload=encode_batch(commands, events))
    other = other._replace(chain=chain_after(before[-1].chain, other))
    return [*frames[:-1], encode(other)]


def message(frames: list[bytes], wanted: int = 0) -> StreamJournalResponse:
    return StreamJournalResponse(frames=b"".join(frames), snapshot_requested_sequence=wanted)


def test_state_is_that_of_the_journal(site: Site, tmp_path: Path) -> None:
    """[I8] Also where the stream begins again, and from its own snapshot."""
    frames = frames_of(site)
    last = site.engine.sequence
    follower = SnapshotFollower(tmp_path, interval_s=3600)
    follower.take(message(frames[:7]))
    follower.take(message(frames[3:12]))
    assert not follower.due()
    follower.take(message([], wanted=follower.sequence))
    first = follower.write()
    assert bytes.fromhex(first.state_hash) == site.hashes[first.sequence]
    again = SnapshotFollower(tmp_path, interval_s=0)
    assert again.sequence == first.sequence
    again.take(message(frames))
    assert again.due()
    assert again.write().sequence == last
    assert not again.due()
    assert bytes.fromhex(again.write().state_hash) == state_hash(site.engine)


def test_messages_are_taken_in_together(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = frames_of(site)
    follower = SnapshotFollower(tmp_path, interval_s=3600)
    follower.hold(message(frames[:2]))
    assert follower.sequence == 0
    follower.catch_up()
    begun = follower.sequence
    assert begun > 0
    follower.hold(message(frames[2:4]))
    assert follower.sequence == begun
    # At once where a snapshot is wanted, and where more is held than there is room for.
    follower.hold(message(frames[4:6], wanted=begun))
    assert follower.sequence > begun
    assert follower.due()
    monkeypatch.setattr(snapshots, "HELD_BYTES_MAX", 1)
    follower.hold(message(frames[6:]))
    assert follower.sequence == site.engine.sequence


class Reader:
    """Two halves of a journal; the first asks for a snapshot."""

    def __init__(self, frames: list[bytes]) -> None:
        self._messages = [message(frames[:7], wanted=1), message(frames[7:])]

    async def messages(self, _: Callable[[], int]) -> AsyncIterator[StreamJournalResponse]:
        for each in self._messages:
            yield each

    async def report(
        self, sequence: int, snapshot: SnapshotReport | None = None, **_: str | int
    ) -> bool:
        return sequence >= 0 and (snapshot is None or snapshot.sequence == sequence)


@pytest.mark.asyncio
async def test_others_go_on_while_a_snapshot_is_written(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other followers of the process have the loop, but nobody the engine."""
    follower = SnapshotFollower(tmp_path, interval_s=3600)
    begun, others_went_on = threading.Event(), threading.Event()
    write, sequences = follower.write, []

    def write_slowly() -> SnapshotReport:
        begun.set()
        assert others_went_on.wait(10)
        sequences.append(follower.sequence)
        return write()

    monkeypatch.setattr(follower, "write", write_slowly)
    engine_use = asyncio.Lock()
    reader: Any = Reader(frames_of(site))
    reading = asyncio.create_task(snapshots.read(follower, reader, engine_use, lambda: None))
    writing = asyncio.create_task(snapshots.write(follower, reader, engine_use))
    assert await asyncio.to_thread(begun.wait, 10)
    first = follower.sequence
    assert 0 < first < site.engine.sequence
    others_went_on.set()
    await asyncio.wait_for(reading, 10)
    writing.cancel()
    follower.catch_up()
    assert sequences == [first]
    assert follower.sequence == site.engine.sequence
    assert [int(path.name[-20:]) for path in snapshot_paths(tmp_path)] == [first]


@pytest.mark.asyncio
async def test_a_snapshot_is_told_of_until_it_is_heard(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked for it would wait for his whole deadline."""
    monkeypatch.setattr(snapshots, "REPORT_S", 0.005)
    follower = SnapshotFollower(tmp_path, interval_s=3600)
    told: list[int] = []
    heard = asyncio.Event()

    async def report(
        sequence: int, snapshot: SnapshotReport | None = None, **failure: str | int
    ) -> bool:
        assert not any(failure.values())
        if snapshot is None:
            return True
        told.append(snapshot.sequence)
        if len(told) == 3:
            heard.set()
        return heard.is_set()

    reader: Any = Reader(frames_of(site))
    monkeypatch.setattr(reader, "report", report)
    engine_use = asyncio.Lock()
    writing = asyncio.create_task(snapshots.write(follower, reader, engine_use))
    await snapshots.read(follower, reader, engine_use, lambda: None)
    await asyncio.wait_for(heard.wait(), 10)
    writing.cancel()
    assert len(set(told)) == 1
    assert follower.untold is None


@pytest.mark.asyncio
async def test_each_attempt_that_fails_is_told_of_until_one_does_not(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that was started meanwhile has to hear of it too."""
    monkeypatch.setattr(snapshots, "REPORT_S", 0.005)
    monkeypatch.setattr(snapshots, "RETRY_S", 0.01)
    in_the_way = tmp_path / "snapshots"
    in_the_way.write_text("not a directory")
    follower = SnapshotFollower(tmp_path, interval_s=3600)
    problems: list[tuple[str, int]] = []
    written = asyncio.Event()

    async def report(
        sequence: int,
        snapshot: SnapshotReport | None = None,
        *,
        snapshot_problem: str = "",
        snapshot_failed_sequence: int = 0,
    ) -> bool:
        problems.append((snapshot_problem, snapshot_failed_sequence))
        if problems.count(problems[-1]) == 3 and in_the_way.is_file():
            in_the_way.unlink()
        if snapshot is not None:
            written.set()
        return True

    reader: Any = Reader(frames_of(site))
    monkeypatch.setattr(reader, "report", report)
    engine_use = asyncio.Lock()
    reading = asyncio.create_task(snapshots.read(follower, reader, engine_use, lambda: None))
    writing = asyncio.create_task(snapshots.write(follower, reader, engine_use))
    await asyncio.wait_for(written.wait(), 10)
    writing.cancel()
    await reading
    failed = [sequence for problem, sequence in problems if str(in_the_way) in problem]
    assert len([sequence for sequence in failed if sequence]) >= 3
    assert problems[-1] == (follower.problem, follower.failed_sequence) == ("", 0)


def test_a_snapshot_that_cannot_be_written_is_tried_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = SnapshotFollower(tmp_path, interval_s=3600)
    follower.take(message(frames_of(site), wanted=site.engine.sequence))
    in_the_way = tmp_path / "snapshots"
    in_the_way.write_text("not a directory")
    with pytest.raises(OSError, match="snapshots"):
        follower.write()
    assert not follower.due(), "not at once"
    follower.take(message([], wanted=1))
    assert follower.due(), "but at once for who asks for one"
    with pytest.raises(OSError, match="snapshots"):
        follower.write()
    in_the_way.unlink()
    monkeypatch.setattr(snapshots, "RETRY_S", 0)
    assert follower.due()
    assert follower.write().sequence == site.engine.sequence


def test_other_events_are_not_taken(site: Site, tmp_path: Path) -> None:
    follower = SnapshotFollower(tmp_path, interval_s=0)
    with pytest.raises(ReplayDiffers) as differs:
        follower.take(message(with_other_event(frames_of(site))))
    assert f"sequence {site.engine.sequence}" in str(differs.value)


class OtherServer(AdminServiceServicer):
    """Sends these frames."""

    def __init__(self, frames: list[bytes]) -> None:
        self._message = message(frames)

    def StreamJournal(
        self, request: StreamJournalRequest, context: grpc.ServicerContext
    ) -> Iterator[StreamJournalResponse]:
        yield self._message


def test_divergence_ends_it_loudly_and_writes_nothing(starter: Starter, site: Site) -> None:
    other = OtherServer(with_other_event(frames_of(site)))  # type: ignore[abstract]
    server = grpc.server(futures.ThreadPoolExecutor(2))
    add_AdminServiceServicer_to_server(other, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        options = ("--data-dir", str(starter.data_dir), "--server", f"127.0.0.1:{port}")
        follower = starter.run("follower", *options)
        assert follower.wait() == Exit.DIVERGED
    finally:
        server.stop(None)
    assert follower.lines[-1].startswith("exchange: the snapshot follower can't go on")
    assert snapshot_paths(starter.data_dir) == []


@pytest.mark.parametrize("damaged", [b"", b'{"postgres": 1', b"[1]", b'{"postgres": "x"}', b"\xff"])
def test_damaged_positions_are_for_a_person_to_decide_on(starter: Starter, damaged: bytes) -> None:
    starter.data_dir.mkdir()
    positions = starter.data_dir / "followers"
    positions.write_bytes(damaged)
    server = starter.run(
        "server", "--data-dir", str(starter.data_dir), "--grpc-port", str(free_port())
    )
    assert server.wait() == Exit.JOURNAL_CORRUPT
    assert f"exchange: {positions}, which says for which followers" in server.lines[-1]
    assert "remove it" in server.lines[-1]
    assert positions.read_bytes() == damaged
    assert sorted(path.name for path in starter.data_dir.iterdir()) == ["followers", "lock"]
