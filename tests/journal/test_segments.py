"""Segments read like one file; what is not whole is refused, or found again (rows 8 and 34)."""

import gc
import io
import os
import resource
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from server.journal.headroom import Headroom
from server.journal.log import NotKept
from server.journal.record import decode_frame
from server.journal.recovery import recover
from server.journal.refusals import JournalCorrupt
from server.journal.retention import needed_sequence, trim
from server.journal.segments import Segment, Segments, segment_paths
from server.journal.storage import Storage, create
from server.journal_tools.directory import Ending, directory_frames
from server.journal_tools.export import TABLES, Range
from server.journal_tools.show import show
from server.journal_tools.verify import verify
from tests.journal.site import Site, assert_recovered, settings, trade
from tests.journal.test_crashes import GIVEN_BACK, every_crash
from tests.running import until

SEGMENT_BYTES = 3_000


class Files:
    """Room without a thread: each is made when it is asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def take(self) -> Storage:
        path = self._directory / "journal.next-1"
        path.unlink(missing_ok=True)
        return create(path)


def rolling(directory: Path) -> Site:
    """A site whose journal goes on in a new file every few records."""
    site = Site(directory, SEGMENT_BYTES)
    roll_on(site)
    if not site.acknowledged:
        site.commit(*settings())
    return site


def roll_on(site: Site) -> None:
    site.log.attach(Files(site.directory))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Some segments, with two snapshots on the way."""
    site = rolling(tmp_path_factory.mktemp("segments") / "data")
    for seed in range(4):
        trade(site, 12, seed=seed)
        if seed in (1, 2):
            site.snapshot()
        site.idle()
    site.close()
    assert len(site.log.segments.all) > 5
    return site


@pytest.fixture
def directory(built: Site, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built.directory, tmp_path / "copy"))


def last_of(site: Site) -> int:
    return site.engine.sequence


def test_they_read_like_one_file(built: Site, directory: Path) -> None:
    """[I1 I2 I8] From the first and from a snapshot; by sequence; through the tools."""
    for keep_snapshots in (True, False):
        if not keep_snapshots:
            shutil.rmtree(directory / "snapshots")
        recovered = recover(directory)
        assert recovered.report.cut is None
        assert_recovered(recovered, built, last_of(built))
        log = recovered.log
        for sequence in range(1, last_of(built) + 1):
            record = log.read(sequence)
            assert record.outcome(sequence)[0] == built.acknowledged[sequence]
            first = decode_frame(next(iter(log.follow(sequence - 1))))
            assert first.first_sequence <= sequence
        log.close()
    out = io.StringIO()
    assert verify(directory, out) == 0, out.getvalue()
    assert f"last sequence {last_of(built)}" in out.getvalue()
    shown = io.StringIO()
    assert show(directory, shown, 1, None, as_json=True) == 0
    assert len(shown.getvalue().splitlines()) == last_of(built)
    frames = directory_frames(directory, Ending(), 20)
    rows = TABLES["events"].rows(Range(21).happened(map(decode_frame, frames)))
    assert {row[0] for row in rows} <= set(range(21, last_of(built) + 1))


def test_only_the_last_one_can_be_written_to(directory: Path) -> None:
    *sealed, last = segment_paths(directory)
    assert {stat.S_IMODE(path.stat().st_mode) for path in sealed} == {0o400}
    assert stat.S_IMODE(last.stat().st_mode) == 0o600


def missing(paths: list[Path]) -> Path:
    paths[2].unlink()
    return paths[3]


def missing_last(paths: list[Path]) -> Path:
    paths[-1].unlink()
    return paths[-2]


def swapped(paths: list[Path]) -> Path:
    spare = paths[2].with_name("spare")
    paths[2].rename(spare)
    paths[3].rename(paths[2])
    spare.rename(paths[3])
    return paths[2]


def doubled(paths: list[Path]) -> Path:
    extra = paths[-1].with_name(f"journal-{len(paths) + 1:08}")
    shutil.copy(paths[-1], extra)
    return extra


def cut_short(paths: list[Path]) -> Path:
    paths[2].chmod(0o600)
    os.truncate(paths[2], paths[2].stat().st_size - 5)
    return paths[2]


def made_longer(paths: list[Path]) -> Path:
    paths[2].chmod(0o600)
    with paths[2].open("ab") as file:
        file.write(b"more")
    return paths[2]


def header_flipped(paths: list[Path]) -> Path:
    data = bytearray(paths[2].read_bytes())
    data[60] ^= 1
    paths[2].chmod(0o600)
    paths[2].write_bytes(data)
    return paths[2]


def foreign(paths: list[Path]) -> Path:
    other = rolling(paths[0].parent / "other")
    trade(other, 40)
    other.close()
    paths[2].unlink()
    shutil.copy(segment_paths(other.directory)[2], paths[2])
    return paths[2]


@pytest.mark.parametrize(
    "damage",
    [missing, missing_last, swapped, doubled, cut_short, made_longer, header_flipped, foreign],
)
def test_row_8_a_wrong_segment_is_refused(
    directory: Path, damage: Callable[[list[Path]], Path]
) -> None:
    """With the file's name, and nothing is changed."""
    named = damage(segment_paths(directory))
    before = {path: path.read_bytes() for path in segment_paths(directory)}
    with pytest.raises(JournalCorrupt) as refused:
        recover(directory)
    assert str(refused.value).startswith(f"{named} is corrupt at offset"), refused.value
    assert "Nothing was changed" in str(refused.value)
    assert {path: path.read_bytes() for path in segment_paths(directory)} == before


@pytest.mark.timeout(20)
def test_a_pipe_is_no_segment(directory: Path) -> None:
    path = segment_paths(directory)[-1]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        recover(directory)


@pytest.mark.parametrize("name", ["journal-00000000", "journal-00000001", "journal-2"])
def test_other_names_are_passed_by(built: Site, directory: Path, name: str) -> None:
    """The first segment is `journal`, so there is no number below 2."""
    shutil.copy(segment_paths(directory)[1], directory / name)
    assert_recovered(recover(directory), built, last_of(built))


def test_row_7_a_flipped_bit_in_any_segment_is_found(built: Site, directory: Path) -> None:
    """Where a segment is followed by another, everything in it was durable: never a tail."""
    shutil.rmtree(directory / "snapshots")
    for path in segment_paths(directory)[:-1]:
        data = path.read_bytes()
        path.chmod(0o600)
        for bit in range(200 * 8 + 3, len(data) * 8, 4_001):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.raises(JournalCorrupt):
                recover(directory)
        path.write_bytes(data)
    assert_recovered(recover(directory), built, last_of(built))


def test_row_7_a_damaged_header_names_the_sequence_that_is_expected_there(
    built: Site, directory: Path
) -> None:
    starts = [segment.first_sequence for segment in built.log.segments.all]
    for path, first_sequence in zip(segment_paths(directory), starts, strict=True):
        data, mode = path.read_bytes(), path.stat().st_mode
        path.chmod(0o600)
        path.write_bytes(data[:20] + b"damaged" + data[27:])
        with pytest.raises(JournalCorrupt) as caught:
            recover(directory)
        found = caught.value
        assert (found.file, found.offset, found.sequence) == (path, 0, first_sequence)
        path.write_bytes(data)
        path.chmod(mode)
    recover(directory).log.close()


def test_row_34_killed_at_each_step_into_the_next_segment(tmp_path: Path) -> None:
    """[I1 I2 I8] What was acknowledged is there, and the journal goes on."""
    origin = rolling(tmp_path / "origin")
    trade(origin, 8)
    origin.close()
    place = tmp_path / "data"
    site: Site = origin

    def prepare() -> None:
        nonlocal site
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(origin.directory, place)
        site = Site.__new__(Site)
        site.directory, site.segment_bytes = place, SEGMENT_BYTES
        site.acknowledged, site.hashes = dict(origin.acknowledged), dict(origin.hashes)
        site.ends = []
        site.start()
        roll_on(site)

    def begin() -> None:
        before = len(site.log.segments.all)
        seed = 50
        while len(site.log.segments.all) == before:
            seed += 1
            trade(site, 1, seed=seed)

    def check() -> None:
        acknowledged = max(site.acknowledged)
        again = Site.__new__(Site)
        again.directory, again.segment_bytes = place, SEGMENT_BYTES
        again.acknowledged = dict(site.acknowledged)
        again.hashes, again.ends = dict(site.hashes), []
        recovered = recover(place)
        assert recovered.engine.sequence >= acknowledged, "I1: acknowledged commands are gone"
        recovered.log.close()
        again.start()
        roll_on(again)
        trade(again, 6, seed=99)
        again.log.close()
        assert recover(place).engine.sequence == again.engine.sequence

    calls = every_crash(prepare, begin, check)
    assert {"open", "write", "fdatasync", "rename", "fsync", GIVEN_BACK} <= set(calls)


def test_what_is_needed_by_nobody_is_archived(built: Site, directory: Path, tmp_path: Path) -> None:
    """[I8] Never beyond the older of two whole snapshots or the last follower; what is left goes on
    being a journal, and says where it begins."""
    recovered = recover(directory)
    log, segments = recovered.log, recovered.log.segments
    older = sorted(int(path.name[-20:]) for path in (directory / "snapshots").iterdir())[0]
    assert needed_sequence(directory) == older
    assert trim(segments, 2, tmp_path / "archive") == []
    gone = trim(segments, older, tmp_path / "archive")
    assert gone
    assert [path.name for path in gone] == sorted(
        path.name for path in (tmp_path / "archive").iterdir()
    )
    first = log.first_sequence
    assert 1 < first <= older
    assert log.read(first).first_sequence <= first
    with pytest.raises(KeyError):
        log.read(first - 1)
    with pytest.raises(NotKept, match=f"begins with {first}"):
        log.follow(first - 2)
    log.close()
    again = recover(directory)
    assert again.engine.sequence == last_of(built)
    assert again.report.state_hash == built.hashes[last_of(built)]
    again.log.close()
    out = io.StringIO()
    assert verify(directory, out) == 0, out.getvalue()
    assert f"the journal that is kept begins with sequence {first}" in out.getvalue()
    assert "applied again from here on" in out.getvalue()
    assert f"state hash {built.hashes[last_of(built)].hex()}" in out.getvalue()
    for path in (tmp_path / "archive").iterdir():
        shutil.copy2(path, directory)
    shutil.rmtree(directory / "snapshots")
    whole = recover(directory)
    assert_recovered(whole, built, last_of(built))
    whole.log.close()


def test_one_snapshot_or_a_damaged_one_keeps_everything(directory: Path) -> None:
    newest = sorted((directory / "snapshots").iterdir())[-1]
    data = bytearray(newest.read_bytes())
    data[-40] ^= 1
    newest.write_bytes(data)
    assert needed_sequence(directory) == 0
    newest.unlink()
    assert needed_sequence(directory) == 0


def test_without_a_snapshot_a_journal_without_its_beginning_is_refused(directory: Path) -> None:
    log = recover(directory).log
    trim(log.segments, 60, None)
    first = log.first_sequence
    log.close()
    shutil.rmtree(directory / "snapshots")
    with pytest.raises(JournalCorrupt, match=f"begins with sequence {first} here, and no good"):
        recover(directory)


def test_an_archive_is_never_overwritten(directory: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "journal").write_bytes(b"of another exchange")
    segments = Segments.open(directory)
    with pytest.raises(FileExistsError, match="is another file"):
        trim(segments, 60, archive)
    assert (directory / "journal").exists()
    segments.close()


def test_the_first_segment_goes_while_the_next_one_begins(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads: neither undoes what the other one did."""
    log = recover(directory).log
    segments, mark = log.segments, log.mark
    before = segments.all

    def made(*fields: Any) -> Segment:
        forgetting = threading.Thread(target=segments.forget, args=(before[0],))
        forgetting.start()
        forgetting.join()
        return Segment(*fields)

    monkeypatch.setattr("server.journal.segments.Segment", made)
    segments.roll(create(directory / "journal.next-1"), mark.position, mark.fence)
    assert segments.all[:-1] == before[1:]
    assert segments.all[-1].number == before[-1].number + 1
    log.close()


def test_row_9_room_is_reserved_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told when there is none, nothing left lying about, and told when there is again."""
    told: list[str] = []
    full = True
    sound = Storage.reserve

    def reserve(self: Storage, size: int) -> None:
        if full:
            raise OSError(28, "No space left on device")
        sound(self, size)

    monkeypatch.setattr(Storage, "reserve", reserve)
    headroom = Headroom(tmp_path, 1 << 20, told.append)
    headroom.start()
    try:
        assert told == ["No space left on device"]
        assert not list(tmp_path.iterdir())
        assert headroom.take() is None
        full = False
        while len(told) < 2:
            headroom._wanted.set()
            os.sched_yield()
        room = headroom.take()
        assert told[1] == ""
        assert room is not None
        assert room.size() == 0
        assert room.path.stat().st_blocks * 512 >= 1 << 20, "no room was reserved"
        room.give_back()
        assert room.path.stat().st_blocks == 0
        room.close()
    finally:
        headroom.stop()


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """As when callers have all of them. What tests before left to the collector is closed first."""
    gc.collect()
    gc.disable()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(open_file.name) for open_file in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
    taken: list[int] = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        gc.enable()


def test_row_22_the_next_segment_begins_while_callers_have_every_descriptor(tmp_path: Path) -> None:
    """[I1 I2 I8]"""
    site = Site(tmp_path / "data", SEGMENT_BYTES)
    told: list[str] = []
    headroom = Headroom(site.directory, SEGMENT_BYTES, told.append)
    headroom.start()
    site.log.attach(headroom)
    site.commit(*settings())
    try:
        with no_descriptor_left():
            trade(site, 30)
        assert len(site.log.segments.all) > 1
    finally:
        headroom.stop()
    assert not told, "no disk is full"
    site.close()
    assert_recovered(recover(site.directory), site, site.engine.sequence)


def test_row_22_room_comes_once_callers_have_left_a_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.journal.headroom.RETRY_S", 0.01)
    told: list[str] = []
    headroom = Headroom(tmp_path, SEGMENT_BYTES, told.append)
    headroom.start()
    try:
        with no_descriptor_left():
            rooms = [headroom.take()]
            assert rooms[0] is not None
            tried = headroom._count + 2

            def refused() -> bool:
                # A descriptor that somebody else in this process let go is taken too.
                rooms.append(headroom.take())
                return rooms[-1] is None and headroom._count > tried

            until(refused, 10, "an attempt without a descriptor")
        until(lambda: headroom._ready is not None, 10, "room for the next segment")
        for room in filter(None, rooms):
            room.close()
    finally:
        headroom.stop()
    assert not told, "no disk is full"


def test_row_33_what_is_given_back_is_taken_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal's thread may go on while a server stops, and begin the next segment just then."""
    headroom = Headroom(tmp_path, 1 << 20, lambda _: None)
    headroom.start()
    taken: list[Storage | None] = []
    close = Storage.close

    def take_and_close(self: Storage) -> None:
        taken.append(headroom.take())
        close(self)

    monkeypatch.setattr(Storage, "close", take_and_close)
    headroom.stop()
    assert taken == [None]
    assert not list(tmp_path.iterdir())
