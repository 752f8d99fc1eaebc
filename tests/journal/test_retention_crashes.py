"""Row 34: the process ends at each step of an archiving, of a dropping, or of noting followers."""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from server.journal import retention
from server.journal.positions import read_positions
from server.journal.recovery import Recovered, recover
from server.journal.retention import needed_sequence, trim
from server.journal.segments import segment_paths
from server.maintenance.followers import FollowerRegistry
from tests.journal.site import Site, assert_recovered, trade
from tests.journal.test_crashes import every_crash
from tests.journal.test_segments import rolling

NOBODY = 65534


@contextmanager
def ordinary_user() -> Iterator[Path]:
    """Who, other than root, can't write to what is read-only, with a directory of his own."""
    is_root = os.geteuid() == 0
    with TemporaryDirectory() as name:
        if is_root:
            os.chown(name, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            if is_root:
                os.seteuid(0)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A journal of which two segments or more are needed by nobody."""
    site = rolling(tmp_path_factory.mktemp("retention") / "data")
    for seed in range(3):
        trade(site, 7, seed=seed)
        site.snapshot()
    site.close()
    return site


def opened(directory: Path) -> tuple[Recovered, int]:
    """The recovered journal, and the first sequence of it that is needed."""
    recovered = recover(directory)
    return recovered, needed_sequence(directory)


@pytest.mark.parametrize("archiving", [True, False], ids=["archive", "drop"])
def test_row_34_killed_at_each_step_of_letting_go(
    origin: Site, tmp_path: Path, archiving: bool
) -> None:
    """[I1 I2 I8] What is left is a journal that goes on; an archive has, whole, what is gone."""
    directory, place = tmp_path / "data", tmp_path / "archive"
    archive = place if archiving else None
    names = [path.name for path in segment_paths(origin.directory)]
    last = origin.engine.sequence
    recovered, needed = recover(origin.directory), 0

    def prepare() -> None:
        nonlocal recovered, needed
        recovered.log.close()
        for made in (directory, place):
            shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(origin.directory, directory)
        recovered, needed = opened(directory)
        assert len(recovered.log.segments.dispensable(needed)) >= 2

    def begin() -> None:
        trim(recovered.log.segments, needed, archive)

    def check() -> None:
        again, needed_again = opened(directory)
        assert again.report.state_hash == origin.hashes[last], "I8: another state"
        kept = [path.name for path in segment_paths(directory)]
        assert kept == names[-len(kept) :], "I2: a segment between others is gone"
        # The next attempt finishes what this one began.
        trim(again.log.segments, needed_again, archive)
        assert not again.log.segments.dispensable(needed_again)
        again.log.close()
        if archive is not None:
            for path in segment_paths(archive):
                shutil.copy2(path, directory)
            shutil.rmtree(directory / "snapshots")
            whole = recover(directory)
            assert_recovered(whole, origin, last)
            whole.log.close()

    calls = every_crash(prepare, begin, check)
    expected = {"unlink", "fsync"} | ({"mkdir", "sendfile", "rename"} if archiving else set())
    assert expected <= set(calls)
    assert calls.count("unlink") >= 2
    recovered.log.close()


def test_a_new_archive_is_durable_up_to_what_was_there_before(
    origin: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are worth nothing in a directory that a power cut takes away."""
    synced: list[Path] = []
    monkeypatch.setattr(retention, "sync_directory", synced.append)
    path = segment_paths(origin.directory)[0]
    archive = tmp_path / "of" / "journals"
    retention.keep_in(archive, path)
    assert set(synced) == {tmp_path, tmp_path / "of", archive}
    assert synced[-1] == archive, "what is in it, last"
    assert (archive / path.name).read_bytes() == path.read_bytes()


def test_a_copy_that_only_looks_alike_is_not_taken_for_the_segment(
    origin: Site, tmp_path: Path
) -> None:
    """A byte that rots changes neither size nor time; the segment is then the only good one."""
    path = segment_paths(origin.directory)[0]
    archive = tmp_path / "archive"
    retention.keep_in(archive, path)
    kept, moment = archive / path.name, path.stat()
    retention.keep_in(archive, path)  # Of an attempt that went no further; they were the same then.
    kept.chmod(0o600)
    kept.write_bytes(path.read_bytes()[:-1] + b"?")
    os.utime(kept, ns=(moment.st_atime_ns, moment.st_mtime_ns))
    with pytest.raises(FileExistsError, match="move it away"):
        retention.keep_in(archive, path)


def test_row_34_an_ordinary_user_finishes_an_archiving_that_was_killed(origin: Site) -> None:
    """The copy has the mode of a sealed segment before it has its name."""
    data = segment_paths(origin.directory)[0].read_bytes()
    with ordinary_user() as directory:
        path, archive = directory / "journal", directory / "archive"

        def prepare() -> None:
            shutil.rmtree(archive, ignore_errors=True)
            path.unlink(missing_ok=True)
            path.write_bytes(data)
            path.chmod(0o400)

        def keep() -> None:
            retention.keep_in(archive, path)

        def check() -> None:
            keep()
            assert [each.read_bytes() for each in archive.iterdir()] == [data]

        every_crash(prepare, keep, check)


def register(followers: FollowerRegistry) -> None:
    asyncio.run(followers.register("new", 3))


def move_on(followers: FollowerRegistry) -> None:
    followers.report("old", 11, keep_after=9)
    asyncio.run(followers.keep())


def remove(followers: FollowerRegistry) -> None:
    asyncio.run(followers.remove("old"))


@pytest.mark.parametrize(
    ("change", "after"),
    [(register, {"old": 5, "new": 3}), (move_on, {"old": 9}), (remove, {})],
)
def test_row_34_killed_at_each_step_of_noting_followers(
    tmp_path: Path, change: Callable[[FollowerRegistry], None], after: dict[str, int]
) -> None:
    """The old positions or the new ones, never neither: the journal is kept for them."""
    before = {"old": 5}
    seen: list[dict[str, int]] = []
    followers = FollowerRegistry(0, tmp_path, read_positions(tmp_path))

    def prepare() -> None:
        nonlocal followers
        for path in tmp_path.iterdir():
            path.unlink()
        followers = FollowerRegistry(0, tmp_path, read_positions(tmp_path))
        asyncio.run(followers.register("old", 5))

    def check() -> None:
        found = FollowerRegistry(0, tmp_path, read_positions(tmp_path))
        seen.append(dict(found.positions))
        assert seen[-1] in (before, after)
        # What the crash left behind is in nobody's way.
        change(found)
        assert read_positions(tmp_path) == after

    calls = every_crash(prepare, lambda: change(followers), check)
    assert {"open", "write", "fdatasync", "rename", "fsync"} <= set(calls)
    assert seen[0] == before
    assert seen[-1] == after
