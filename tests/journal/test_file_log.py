"""The log in a file: what is read back, and what happens when the disk says no."""

import errno
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from server.core.commands import OpenSession
from server.core.dump import state_hash
from server.core.engine import RULES_VERSION
from server.core.events import SessionOpened
from server.journal import file_log, frames
from server.journal.fence import Fence, admit, new_fence
from server.journal.file_log import SEGMENT_BYTES, FileLog
from server.journal.frames import WALK_BYTES
from server.journal.log import Log, Mark, Position, Unknown
from server.journal.payload import encode_batch
from server.journal.record import BATCH, IDLE, Record, decode_frame
from server.journal.recovery import recover
from server.journal.refusals import JournalCorrupt
from server.journal.segments import FILE_HEADER_BYTES, Segments, create_file, read_header
from server.journal.storage import Storage
from tests.journal.site import Site, assert_recovered, settings, trade
from tests.journal.test_segments import rolling

OWNER = b"o" * 16


class FaultyStorage(Storage):
    """A file whose calls fail when told to, and that counts what is asked of it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        super().__init__(path, descriptor)
        self.write_error = 0
        self.sync_error = 0
        self.write_bytes_max = 0
        self.writes = 0
        self.syncs = 0

    def write(self, data: bytes | memoryview) -> int:
        self.writes += 1
        if self.write_error:
            raise OSError(self.write_error, "injected")
        return super().write(data[: self.write_bytes_max] if self.write_bytes_max else data)

    def fdatasync(self) -> None:
        self.syncs += 1
        if self.sync_error:
            raise OSError(self.sync_error, "injected")
        super().fdatasync()


def open_log(directory: Path) -> tuple[FileLog, FaultyStorage]:
    create_file(directory)
    storage = FaultyStorage.open(directory / "journal")
    assert isinstance(storage, FaultyStorage)
    segment = read_header(storage)
    mark = Mark(segment.journal, FILE_HEADER_BYTES, new_fence(0, segment.journal))
    return FileLog(Segments([segment], storage), mark, RULES_VERSION, SEGMENT_BYTES), storage


def append(log: FileLog, count: int) -> Position | Unknown:
    first = log.fence.last_sequence + 1
    sequences = range(first, first + count)
    payload = encode_batch(
        [OpenSession(f"c-{s}") for s in sequences],
        [[SessionOpened(s, f"c-{s}")] for s in sequences],
    )
    outcome = log.append(BATCH, first, count, max(first, log.fence.time_ns), payload)
    assert isinstance(outcome, Position | Unknown)
    return outcome


def frames_after(log: FileLog, sequence: int) -> list[Record]:
    return [decode_frame(frame) for frame in log.follow(sequence)]


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> FileLog:
    """Some 400 kB of records of 1 to 40 commands, with idle records and two more epochs."""
    log, _ = open_log(tmp_path_factory.mktemp("long"))
    for number in range(300):
        if number % 100 == 0:
            log.claim(OWNER)
        append(log, 1 + number * 7 % 40)
        if number % 9 == 0:
            log.append(IDLE, log.fence.last_sequence + 1, 0, log.fence.time_ns, b"")
    return log


def test_a_log_is_what_the_seam_says(tmp_path: Path) -> None:
    log: Log = open_log(tmp_path)[0]
    assert log.claim(OWNER) == 1
    assert log.claim(OWNER) == 2
    assert log.first_sequence == 1
    assert (log.durable_sequence, log.durable_position) == (0, log.mark.position)


def test_positions_grow_and_the_fence_admits_what_was_written(long_log: FileLog) -> None:
    fence = new_fence(0, long_log.mark.journal)
    position = FILE_HEADER_BYTES
    for record in frames_after(long_log, 0):
        assert record.position == record.durable_position == position
        outcome = admit(fence, record)
        assert isinstance(outcome, Fence), outcome
        fence, position = outcome, record.end
    assert fence == long_log.fence
    assert position == long_log.durable_position


@pytest.fixture(params=[WALK_BYTES, 1], ids=["walking at the end", "by halves alone"])
def halving(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How near the halves come before headers are stepped over."""
    monkeypatch.setattr(frames, "WALK_BYTES", request.param)


@pytest.mark.usefixtures("halving")
def test_every_sequence_is_found_without_an_index(long_log: FileLog) -> None:
    last = long_log.durable_sequence
    assert last > 5_000
    for sequence in [*range(1, last, 17), 1, 2, last - 1, last]:
        record = long_log.read(sequence)
        assert record.outcome(sequence)[0] == OpenSession(f"c-{sequence}")
    for sequence in (-1, 0, last + 1):
        with pytest.raises(KeyError):
            long_log.read(sequence)


@pytest.mark.usefixtures("halving")
def test_following_begins_right_after_the_sequence(long_log: FileLog) -> None:
    everything = frames_after(long_log, 0)
    last = long_log.durable_sequence
    for after in [*range(0, last, 97), last - 1, last, last + 9]:
        expected = [r for r in everything if r.first_sequence > after or r.last_sequence > after]
        assert frames_after(long_log, after) == expected, after


def test_following_goes_on_where_it_ended(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path)
    log.claim(OWNER)
    follow = log.follow(0)
    assert len(list(follow)) == 1
    assert list(follow) == []
    for count in (1, 3, 2_000, 1):
        append(log, count)
        (frame,) = follow
        assert decode_frame(frame).command_count == count


def test_a_record_longer_than_any_buffer_is_read(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path)
    log.claim(OWNER)
    append(log, 3)
    append(log, 120_000)
    append(log, 3)
    assert log.read(60_000).last_sequence == 120_003
    assert log.read(120_005).command_count == 3
    assert [r.command_count for r in frames_after(log, 0)] == [0, 3, 120_000, 3]


def test_readers_never_pass_what_is_durable(tmp_path: Path) -> None:
    """Readers in two threads against a writer: each sees whole frames, in order, all of them."""
    log, _ = open_log(tmp_path)
    log.claim(OWNER)
    done = threading.Event()
    seen: list[list[int]] = [[], []]
    failures: list[BaseException] = []

    def read(into: list[int]) -> None:
        follow = log.follow(0)
        try:
            while True:
                finished = done.is_set()
                for frame in follow:
                    record = decode_frame(frame)
                    assert record.end <= log.durable_position
                    into.extend(range(record.first_sequence, record.last_sequence + 1))
                    if record.command_count:
                        assert log.read(into[-1]) == record
                if finished:
                    return
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(into,)) for into in seen]
    for thread in threads:
        thread.start()
    for number in range(200):
        append(log, 1 + number % 5)
    done.set()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert seen == [list(range(1, log.durable_sequence + 1))] * 2


@pytest.mark.parametrize("size", [1, 7, 124, 125])
def test_row_5_short_writes_are_continued(tmp_path: Path, size: int) -> None:
    log, storage = open_log(tmp_path)
    storage.write_bytes_max = size
    log.claim(OWNER)
    assert isinstance(append(log, 2), Position)
    assert storage.syncs == 2
    assert [r.command_count for r in frames_after(log, 0)] == [0, 2]


@pytest.mark.parametrize(
    ("write_error", "sync_error"),
    [(0, errno.EIO), (0, errno.ENOSPC), (errno.EIO, 0), (errno.ENOSPC, 0), (errno.EFBIG, 0)],
    ids=["sync EIO", "sync ENOSPC", "write EIO", "write ENOSPC", "write EFBIG"],
)
def test_row_10_a_failed_append_is_unknown_and_the_last(
    tmp_path: Path, write_error: int, sync_error: int
) -> None:
    """I1: what was acknowledged before stays; after the failure nothing is tried again."""
    site = Site(tmp_path / "data")
    site.commit(*settings())
    trade(site, 3)
    acknowledged = site.engine.sequence
    faulty = FaultyStorage.open(site.directory / "journal")
    assert isinstance(faulty, FaultyStorage)
    log = FileLog(
        Segments([read_header(faulty)], faulty), site.log.mark, RULES_VERSION, SEGMENT_BYTES
    )
    faulty.write_error, faulty.sync_error = write_error, sync_error
    before = log.durable_position
    first = append(log, 1)
    assert isinstance(first, Unknown)
    assert "injected" in first.reason
    assert str(site.directory / "journal") in first.reason
    assert log.disk_full == (errno.ENOSPC in (write_error, sync_error))
    faulty.write_error = faulty.sync_error = 0
    calls = (faulty.writes, faulty.syncs)
    for _ in range(3):
        again = append(log, 1)
        assert isinstance(again, Unknown)
        assert "takes nothing since" in again.reason
    assert isinstance(log.claim(OWNER), Unknown)
    assert (faulty.writes, faulty.syncs) == calls, "an append was tried after the failure"
    assert (log.durable_position, log.durable_sequence) == (before, acknowledged)
    assert frames_after(log, acknowledged) == []
    faulty.close()
    site.close()
    recovered = recover(site.directory)
    # Synced or not, the whole frame of a failed sync is in the file, and never was acknowledged.
    written = acknowledged + (1 if sync_error else 0)
    site.acknowledged[acknowledged + 1] = OpenSession(f"c-{acknowledged + 1}")
    site.hashes[acknowledged + 1] = state_hash(recovered.engine)
    assert_recovered(recovered, site, written)
    recovered.log.close()


def test_a_disk_that_takes_nothing_is_a_failure_and_no_endless_loop(tmp_path: Path) -> None:
    log, storage = open_log(tmp_path)
    log.claim(OWNER)
    storage.write = lambda data: 0  # type: ignore[method-assign]
    outcome = append(log, 1)
    assert isinstance(outcome, Unknown)
    assert "takes no more bytes" in outcome.reason


def test_damage_met_by_a_reader_is_said(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path)
    log.claim(OWNER)
    for _ in range(3):
        append(log, 1)
    middle = log.read(2)
    log.recent.clear()  # Else there is no need to read it.
    path = tmp_path / "journal"
    data = bytearray(path.read_bytes())
    data[middle.end - 1] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalCorrupt, match=f"offset {middle.position}, where sequence 2"):
        log.read(2)
    with pytest.raises(JournalCorrupt, match=f"corrupt at offset {middle.position}"):
        list(log.follow(0))
    assert log.read(3).first_sequence == 3
    data[middle.position] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalCorrupt, match=f"corrupt at offset {middle.position}, where"):
        log.read(2)


def met(read: Callable[[], object]) -> list[int]:
    """Where damage was met."""
    try:
        read()
    except JournalCorrupt as damage:
        return [damage.offset]
    return []


@pytest.mark.usefixtures("halving")
def test_a_damaged_header_is_met_only_by_those_who_need_its_record(tmp_path: Path) -> None:
    """Whether commands are in it or not, and wherever in the journal it is."""
    log, _ = open_log(tmp_path)
    for number in range(24):
        if number % 10 == 0:
            log.claim(OWNER)
        append(log, 1 + number % 3)
        if number % 5 == 0:
            log.append(IDLE, log.fence.last_sequence + 1, 0, log.fence.time_ns, b"")
    log.claim(OWNER)
    records = frames_after(log, 0)
    log.recent.clear()  # As after a start: else there is no need to read it.
    path = tmp_path / "journal"
    sound = path.read_bytes()
    for bad in records:
        data = bytearray(sound)
        data[bad.position + 12] ^= 1
        path.write_bytes(data)
        for sequence in range(1, log.durable_sequence + 1):
            holds = bad.first_sequence <= sequence <= bad.last_sequence
            assert met(lambda: log.read(sequence)) == [bad.position] * holds  # noqa: B023
            follows = max(bad.first_sequence, bad.last_sequence) > sequence
            assert met(lambda: list(log.follow(sequence))) == [bad.position] * follows  # noqa: B023
    log.close()


def test_an_intact_frame_of_another_place_is_no_record(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path)
    log.claim(OWNER)
    for _ in range(3):
        append(log, 1)
    middle, newest = log.read(2), log.read(3)
    assert middle.end - middle.position == newest.end - newest.position
    path = tmp_path / "journal"
    data = bytearray(path.read_bytes())
    data[middle.position : middle.end] = data[newest.position : newest.end]
    path.write_bytes(data)
    log.recent.clear()
    assert met(lambda: log.read(2)) == met(lambda: list(log.follow(1))) == [middle.position]
    assert log.read(3) == newest
    log.close()


def test_what_a_reader_is_told_to_put_back_is_enough(tmp_path: Path) -> None:
    """And nothing is lost that came after the copy was made."""
    site = rolling(tmp_path / "data")
    trade(site, 21)
    copy = Path(shutil.copytree(site.directory, tmp_path / "copy"))
    trade(site, 1)
    first, *_, last = site.log.segments.all
    assert (copy / last.path.name).stat().st_size < last.path.stat().st_size
    for segment, told in ((first, "put only this file back"), (last, "bytes of a copy over its")):
        path, sequence = segment.path, segment.first_sequence
        sound = path.read_bytes()
        data = bytearray(sound)
        data[segment.offset(site.log.read(sequence).end) - 1] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)
        with pytest.raises(JournalCorrupt, match=f"stop the exchange, and .*{told}"):
            site.log.read(sequence)
        if segment is first:
            shutil.copy(copy / path.name, path)
        else:
            with path.open("r+b") as file:
                file.write((copy / path.name).read_bytes())
        assert path.read_bytes() == sound
    site.close()


def test_the_newest_frames_are_shared_by_all_who_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_log, "RECENT_BYTES_MAX", 2_000)
    log, _ = open_log(tmp_path)
    log.claim(OWNER)
    behind = log.follow(0)
    assert len(list(behind)) == 1
    for _ in range(30):
        append(log, 1)
    assert 1_000 < sum(len(frame) for frame, _ in log.recent.values()) <= 2_000
    # One is further behind than is remembered and reads the file first, the other needs no disk.
    newest = log.follow(29)
    assert (behind.at_hand, newest.at_hand) == (False, True)
    assert [decode_frame(frame).first_sequence for frame in behind] == list(range(1, 31))
    (frame,) = newest
    assert frame is log.recent[decode_frame(frame).position][0]
    assert behind.at_hand, "there is nothing more"
    append(log, 1)
    assert list(behind) == list(newest) == [list(log.recent.values())[-1][0]]
    assert behind.reader.sequence == newest.reader.sequence == 32


def test_a_half_made_journal_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "journal.new").write_bytes(b"left by a crash")
    create_file(tmp_path)
    storage = Storage.open(tmp_path / "journal")
    assert read_header(storage).fence.shard == 0
    assert storage.size() == FILE_HEADER_BYTES
    storage.close()
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "journal.new").exists()
