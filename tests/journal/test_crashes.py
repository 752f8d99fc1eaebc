"""Row 34: the process ends at each system call that changes the disk, one run for each.

What is begun is a first start, a recovery that cuts a torn tail, or a snapshot that makes an older
one superfluous. Whatever was reached, the next start must find the old state or the new one, whole.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.journal.recovery import recover
from server.journal.snapshots import KEPT, load_snapshot, snapshot_paths
from tests.journal.site import Copy, Site, assert_recovered, settings, trade

CHANGING = ("open", "write", "fdatasync", "fsync", "ftruncate", "rename", "replace", "unlink",
            "mkdir", "sendfile")  # fmt: skip


GIVEN_BACK = "room given back"


class Killed(BaseException):
    """The process has ended; nothing that it still tries has an effect."""


class Mortal:
    """Ends the process before its `last`th change; a write that it dies in is half written."""

    def __init__(self, last: int) -> None:
        self.calls: list[str] = []
        self._last = last

    def call(self, name: str, real: Callable[..., object], *arguments: object) -> object:
        if name == "open" and not int(arguments[1]) & os.O_CREAT:  # type: ignore[call-overload]
            return real(*arguments)
        if len(self.calls) >= self._last:
            raise Killed
        if name == "ftruncate" and os.fstat(arguments[0]).st_size == arguments[1]:  # type: ignore[arg-type]
            # The file stays as it is; what goes is the room reserved behind its end.
            self.calls.append(GIVEN_BACK)
        else:
            self.calls.append(name)
        if len(self.calls) == self._last:
            if name == "write":
                descriptor, data = arguments
                real(descriptor, bytes(data)[: len(bytes(data)) // 2])  # type: ignore[call-overload]
            if name == "sendfile":
                real(*arguments[:3], 100)
            raise Killed
        return real(*arguments)


@contextmanager
def mortal(last: int) -> Iterator[Mortal]:
    """What is done within ends at that change."""
    life = Mortal(last)
    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGING:
            real = getattr(os, name)

            def call(
                *arguments: object, name: str = name, real: object = real, **_: object
            ) -> object:
                return life.call(name, real, *arguments)  # type: ignore[arg-type]

            patch.setattr(os, name, call)
        yield life


def every_crash(
    prepare: Callable[[], object], begin: Callable[[], object], check: Callable[[], object]
) -> list[str]:
    """Kill `begin` at each of its changes and `check` after each: the changes that it makes when
    nothing is in its way."""
    last = 0
    while True:
        last += 1
        prepare()
        with mortal(last) as life:
            try:
                begin()
            except Killed:
                pass
            else:
                assert_kept_through_power_cuts(life.calls)
                return life.calls
        check()


def assert_kept_through_power_cuts(calls: list[str]) -> None:
    """Before a file gets its name, or a tail goes that was kept aside, what was written is synced;
    and the name, or the new end, before anything else is done."""
    syncs = ("fdatasync", "fsync")
    for at, call in enumerate(calls):
        if call in ("rename", "replace", "ftruncate"):
            before = [it for it in calls[:at] if it in ("write", "sendfile", *syncs)]
            assert before[-1] in syncs, (at, calls)
            assert calls[at + 1 :][:1] == ["fsync"], (at, calls)


def test_row_34_a_first_start(tmp_path: Path) -> None:
    """I8: the start after it has an empty exchange."""
    directory = tmp_path / "data"

    def begin() -> None:
        recover(directory).log.close()

    def check() -> None:
        recovered = recover(directory)
        assert recovered.report.last_sequence == 0
        assert recovered.report.cut is None
        recovered.log.close()
        shutil.rmtree(directory)

    calls = every_crash(lambda: directory.mkdir(), begin, check)
    assert {"open", "write", "fdatasync", "rename", "fsync"} <= set(calls)


def test_row_34_a_recovery_that_cuts_a_tail(plain: Copy) -> None:
    """I1 I8: what was whole stays, and the tail's bytes are there until they are kept aside."""
    size = len(plain.original) - 3
    torn = plain.original[:size]
    end, last_sequence = plain.site.ends[-2]

    def begin() -> None:
        recover(plain.directory).log.close()

    def check() -> None:
        data = plain.journal.read_bytes()
        assert data[:end] == torn[:end]
        kept = [path.read_bytes() for path in plain.directory.glob("journal.cut-*")]
        assert data == torn or torn[end:] in kept
        recovered = recover(plain.directory)
        assert_recovered(recovered, plain.site, last_sequence)
        recovered.log.close()
        assert plain.journal.read_bytes() == torn[:end]
        assert torn[end:] in [path.read_bytes() for path in plain.directory.glob("journal.cut-*")]

    calls = every_crash(lambda: plain.put(torn), begin, check)
    assert {"open", "write", "fdatasync", "fsync", "ftruncate"} <= set(calls)


def test_row_34_a_snapshot_that_replaces_an_older_one(tmp_path: Path) -> None:
    """I8: the two before it or it and the one before, never fewer good ones than are kept."""
    site = Site(tmp_path / "data")
    site.commit(*settings())
    for seed in range(KEPT):
        trade(site, 1, seed=seed)
        site.snapshot()
    seeds = iter(range(1_000))

    def check() -> None:
        good = [load_snapshot(path)[0] for path in snapshot_paths(site.directory)]
        assert len(good) >= KEPT
        recovered = recover(site.directory)
        assert recovered.report.passed_over == []
        assert recovered.report.cut is None
        assert_recovered(recovered, site, site.engine.sequence)
        recovered.log.close()
        left = [path.name for path in (site.directory / "snapshots").iterdir()]
        assert not [name for name in left if name.endswith(".new")]

    calls = every_crash(lambda: trade(site, 1, seed=100 + next(seeds)), site.snapshot, check)
    assert {"open", "write", "fdatasync", "rename", "fsync", "unlink"} <= set(calls)
    assert len(calls) > 10
    site.close()
