"""Snapshots: what is written comes back, damage never does, and a crash leaves old or new."""

import os
import random
from collections.abc import Callable, Iterable
from io import StringIO
from itertools import starmap
from pathlib import Path
from typing import Any

import pytest

from server.core.dump import Chunk, dump, load, state_hash
from server.core.engine import RULES_VERSION, Engine
from server.journal import snapshots
from server.journal.recovery import recover
from server.journal.snapshots import (
    KEPT,
    SnapshotBad,
    load_snapshot,
    newest_good,
    read_snapshot_header,
    snapshot_paths,
    write_snapshot,
)
from server.journal.storage import Storage
from server.journal_tools.verify import verify
from tests.journal.site import Copy, Site, assert_recovered, every_command, settings, trade


def sequences(directory: Path) -> list[int]:
    return [int(path.name[-20:]) for path in snapshot_paths(directory)]


def test_i8_a_snapshot_comes_back_as_it_was(tmp_path: Path) -> None:
    site = Site(tmp_path)
    every_command(site)
    trade(site, 20)
    path = site.snapshot()
    header, engine = load_snapshot(path)
    assert path.name == f"snapshot-{site.engine.sequence:020}"
    assert header.mark == site.log.mark
    assert header.rules_version == RULES_VERSION
    assert header.state_hash == state_hash(engine) == state_hash(site.engine)
    # What it does from here on is the same too.
    twin = Site(tmp_path / "twin")
    twin.engine = engine
    assert read_snapshot_header(path) == header
    site.close()
    twin.close()


def test_an_engine_that_stands_elsewhere_is_not_written(tmp_path: Path) -> None:
    site = Site(tmp_path)
    mark = site.log.mark
    site.commit(*settings())
    with pytest.raises(AssertionError):
        write_snapshot(tmp_path, site.engine, mark)
    site.close()


def test_an_empty_exchange_has_a_snapshot_too(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.snapshot()
    site.close()
    recovered = recover(tmp_path)
    assert recovered.report.snapshot_sequence == 0
    recovered.log.close()


def test_the_newest_two_good_ones_stay(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.commit(*settings())
    written = []
    for seed in range(5):
        trade(site, 1, seed=seed)
        written.append(int(site.snapshot().name[-20:]))
        assert sequences(tmp_path) == sorted(written[-KEPT:], reverse=True)
    site.close()


def test_a_damaged_one_is_neither_deleted_nor_counted(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.commit(*settings())
    for seed in range(2):
        trade(site, 1, seed=seed)
        damaged = site.snapshot()
    damaged.write_bytes(damaged.read_bytes()[:-3])
    kept = damaged.read_bytes()
    for seed in range(2, 5):
        trade(site, 1, seed=seed)
        site.snapshot()
    assert len(sequences(tmp_path)) == KEPT + 1
    assert damaged.read_bytes() == kept
    site.close()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_passed_over(with_snapshots: Copy, make: Callable[[Path], None]) -> None:
    """Nobody waits for what might come through a pipe."""
    path = snapshot_paths(with_snapshots.directory)[0]
    path.unlink()
    make(path)
    recovered = recover(with_snapshots.directory)
    recovered.log.close()
    ((passed_over, why),) = recovered.report.passed_over
    assert passed_over == path
    assert "not a regular file" in why
    out = StringIO()
    assert verify(with_snapshots.directory, out, replay=False) == 1
    assert f"BAD  {path}: " in out.getvalue()


def test_the_same_sequence_again_takes_the_newer_place(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.commit(*settings())
    site.snapshot()
    site.close()
    site.start()
    path = site.snapshot()
    assert sequences(tmp_path) == [site.engine.sequence]
    assert read_snapshot_header(path).mark.fence.epoch == 2
    site.close()


@pytest.mark.parametrize("part", ["header", "sections and end"])
def test_row_7_a_damaged_snapshot_is_never_loaded(with_snapshots: Copy, part: str) -> None:
    """Every bit of the header; behind it one bit of each byte of a long run and of the end."""
    path = snapshot_paths(with_snapshots.directory)[0]
    data = path.read_bytes()
    size = snapshots._HEADER.size
    if part == "header":
        bits = list(range(size * 8))
    else:
        tail = [*range(size, min(size + 600, len(data))), *range(len(data) - 300, len(data))]
        bits = [byte * 8 + byte % 8 for byte in tail if byte >= size]
    for bit in bits:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(SnapshotBad):
            load_snapshot(path)


def test_row_7_a_snapshot_of_any_other_length_is_never_loaded(with_snapshots: Copy) -> None:
    path = snapshot_paths(with_snapshots.directory)[0]
    data = path.read_bytes()
    draw = random.Random(7)
    for size in [0, 1, len(data) - 1, *(draw.randrange(len(data)) for _ in range(60))]:
        path.write_bytes(data[:size])
        with pytest.raises(SnapshotBad):
            load_snapshot(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(SnapshotBad, match="digest of the whole file"):
        load_snapshot(path)


def test_row_7_the_one_before_a_damaged_snapshot_is_used(with_snapshots: Copy) -> None:
    """I1 I8: a longer tail is re-applied, the damaged file stays and is named."""
    site = with_snapshots.site
    newest, older = snapshot_paths(with_snapshots.directory)
    damaged = bytearray(newest.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    newest.write_bytes(damaged)
    recovered = recover(with_snapshots.directory)
    assert_recovered(recovered, site, site.engine.sequence)
    assert recovered.report.snapshot_sequence == int(older.name[-20:])
    assert f"passed over {newest}: the checksum" in recovered.report.sentence()
    assert newest.read_bytes() == damaged
    recovered.log.close()
    older.write_bytes(b"")
    recovered = recover(with_snapshots.directory)
    assert_recovered(recovered, site, site.engine.sequence)
    assert recovered.report.snapshot_sequence is None
    assert len(recovered.report.passed_over) == 2
    recovered.log.close()


def test_a_state_that_is_not_what_its_header_says_is_passed_over(
    with_snapshots: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "state_hash", lambda engine: bytes(32))
    engine, log, _ = recover(with_snapshots.directory)
    path = write_snapshot(with_snapshots.directory, engine, log.mark)
    log.close()
    found = newest_good(with_snapshots.directory)
    assert found.passed_over == [(path, "its state doesn't hash as the header says")]
    assert found.header is not None
    assert found.header.state_hash != bytes(32)


def under_newer_rules(name: str, rows: list[Any]) -> Chunk:
    return name, [(row[0] + 1, *row[1:]) for row in rows] if name == "engine" else rows


def with_a_section_more(name: str, rows: list[Any]) -> Chunk:
    return "margins" if name == "keys" else name, rows


def with_a_field_more(name: str, rows: list[Any]) -> Chunk:
    return name, [(*row, 0) for row in rows] if name == "bars" else rows


@pytest.mark.parametrize(
    ("newer", "error"),
    [
        (under_newer_rules, f"AssertionError('state of rules version {RULES_VERSION + 1}')"),
        (with_a_section_more, "KeyError('margins')"),
        (with_a_field_more, "ValueError('too many values to unpack"),
    ],
)
def test_the_state_of_a_newer_release_is_passed_over(
    with_snapshots: Copy,
    newer: Callable[[str, list[Any]], Chunk],
    error: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """[I1 I8]"""
    site, directory = with_snapshots.site, with_snapshots.directory
    older = snapshot_paths(directory)[0]
    engine, log, _ = recover(directory)
    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "dump", lambda engine: starmap(newer, dump(engine)))
        path = write_snapshot(directory, engine, log.mark)
    log.close()
    recovered = recover(directory)
    assert_recovered(recovered, site, site.engine.sequence)
    assert recovered.report.snapshot_sequence == int(older.name[-20:])
    (passed_over,) = recovered.report.passed_over
    assert passed_over.path == path
    assert passed_over.reason.startswith(f"its state can't be loaded: {error}")
    recovered.log.close()


def test_verify_proves_that_the_loader_keeps_all_of_a_snapshot(
    with_snapshots: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start takes that from here, having hashed the rows alone."""

    def forgetful(chunks: Iterable[Chunk]) -> Engine:
        engine = load(chunks)
        next(iter(engine.markets.values())).last_price_e8 += 1
        return engine

    monkeypatch.setattr(snapshots, "load", forgetful)
    found = newest_good(with_snapshots.directory)
    assert found.passed_over == []
    said = StringIO()
    assert verify(with_snapshots.directory, said) == 1
    for path in snapshot_paths(with_snapshots.directory):
        bad = f"BAD  {path}: the state made of it doesn't hash as its header says"
        assert bad in said.getvalue().splitlines()


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("point", ["fdatasync", "check", "publish", "_drop_old"])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_crash_while_writing_leaves_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, before: bool
) -> None:
    """Never neither (I8), and what was left over goes at the next start."""
    site = Site(tmp_path)
    site.commit(*settings())
    for seed in range(KEPT):
        trade(site, 1, seed=seed)
        site.snapshot()
    old = sequences(tmp_path)
    trade(site, 1, seed=9)
    owner = Storage if point == "fdatasync" else snapshots
    real = getattr(owner, point)

    def die(*arguments: object) -> None:
        if not before:
            real(*arguments)
        raise Killed

    monkeypatch.setattr(owner, point, die)
    # A killed process cleans nothing up.
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
    with pytest.raises(Killed):
        site.snapshot()
    monkeypatch.undo()
    site.close()
    recovered = recover(tmp_path)
    assert recovered.report.snapshot_sequence in (old[0], site.engine.sequence)
    assert_recovered(recovered, site, site.engine.sequence)
    assert recovered.report.passed_over == []
    recovered.log.close()
    assert all(path.name[9:].isdigit() for path in (tmp_path / "snapshots").iterdir())


def test_what_reads_back_differently_is_never_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the older ones stay, though there is a newer name for them to make room for."""
    site = Site(tmp_path)
    site.commit(*settings())
    for seed in range(KEPT):
        trade(site, 1, seed=seed)
        site.snapshot()
    before = sequences(tmp_path)
    trade(site, 1, seed=9)
    real = Storage.write

    def altered(storage: Storage, data: bytes | memoryview) -> int:
        return real(storage, bytes(data[:-1]) + bytes([data[-1] ^ 1]))

    monkeypatch.setattr(Storage, "write", altered)
    with pytest.raises(SnapshotBad):
        site.snapshot()
    monkeypatch.undo()
    assert sequences(tmp_path) == before
    site.close()


def test_a_failed_snapshot_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path)
    site.commit(*settings())
    site.snapshot()
    trade(site, 1)
    before = sequences(tmp_path)

    def refuse(storage: Storage) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Storage, "fdatasync", refuse)
    with pytest.raises(OSError, match="No space left"):
        site.snapshot()
    monkeypatch.undo()
    assert sequences(tmp_path) == before
    assert len(list((tmp_path / "snapshots").iterdir())) == len(before)
    site.close()
