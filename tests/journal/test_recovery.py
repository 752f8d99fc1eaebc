"""Start-up is recovery: what comes back, what is cut, what is refused.

Every test asserts I1 (everything acknowledged, exactly once), I2 (no gaps) and I8 (the same state
hash) through `assert_recovered`, or that nothing on disk was changed where a start is refused.
"""

import gc
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from server import pace
from server.core.commands import OpenSession, PlaceOrder
from server.core.events import SessionOpened
from server.core.types import E8
from server.journal.log import Position
from server.journal.payload import encode_batch
from server.journal.record import BATCH, HEADER_BYTES
from server.journal.recovery import Progress, Recovered, recover
from server.journal.refusals import JournalCorrupt, JournalRefused, ReplayDiffers
from server.journal.segments import FILE_HEADER_BYTES
from tests.journal.site import INSTRUMENT, START_NS, Copy, Site, assert_recovered, settings, trade


def recovered_to(copy: Copy, last_sequence: int) -> Recovered:
    """Recover and assert the invariants; the log is closed again."""
    recovered = recover(copy.directory)
    try:
        assert_recovered(recovered, copy.site, last_sequence)
    finally:
        recovered.log.close()
    return recovered


def assert_refused(copy: Copy, *texts: str) -> JournalRefused:
    """A start is refused with these texts, and changes nothing on disk."""
    before = contents(copy.directory)
    with pytest.raises(JournalRefused) as caught:
        recover(copy.directory)
    for text in texts:
        assert text in str(caught.value)
    assert contents(copy.directory) == before, "a refused start changed the disk"
    return caught.value


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def prefix(site: Site, size: int) -> tuple[int, int]:
    """Where the last whole record within the first `size` bytes ends, and its last sequence."""
    return max([(FILE_HEADER_BYTES, 0), *(end for end in site.ends if end[0] <= size)])


def test_an_empty_directory_becomes_an_empty_exchange(tmp_path: Path) -> None:
    recovered = recover(tmp_path)
    assert recovered.engine.sequence == 0
    assert recovered.report.snapshot_sequence is None
    assert "replayed 0; last sequence 0; dropped 0 tail bytes" in recovered.report.sentence()
    recovered.log.close()


def test_i8_a_clean_journal_comes_back_as_it_was(plain: Copy) -> None:
    last = plain.site.engine.sequence
    report = recovered_to(plain, last).report
    assert (report.command_count, report.last_sequence, report.cut) == (last, last, None)
    assert plain.journal.read_bytes() == plain.original


def test_i8_snapshot_and_tail_give_what_the_whole_journal_gives(with_snapshots: Copy) -> None:
    last = with_snapshots.site.engine.sequence
    short = recovered_to(with_snapshots, last).report
    assert short.snapshot_sequence
    assert 0 < short.command_count < last
    for path in (with_snapshots.directory / "snapshots").iterdir():
        path.unlink()
    whole = recovered_to(with_snapshots, last).report
    assert (whole.snapshot_sequence, whole.command_count) == (None, last)
    assert whole.state_hash == short.state_hash


def test_epochs_follow_each_other_over_restarts(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.commit(*settings())
    for epoch in range(2, 5):
        site.close()
        site.start()
        assert site.log.fence.epoch == epoch
        trade(site, 2, seed=epoch)
    site.close()
    recovered = recover(tmp_path)
    assert_recovered(recovered, site, site.engine.sequence)
    recovered.log.close()


def test_row_2_cut_at_every_byte_of_the_last_records(plain: Copy) -> None:
    """I1 I2 I8: what is recovered is the longest valid prefix, and the rest is kept aside."""
    site, data = plain.site, plain.original
    exact = range(site.ends[-4][0], len(data) + 1)
    for size in [*range(FILE_HEADER_BYTES, site.ends[-4][0], 61), *exact]:
        plain.put(data[:size])
        end, last_sequence = prefix(site, size)
        cut = recovered_to(plain, last_sequence).report.cut
        assert plain.journal.read_bytes() == data[:end]
        if size == end:
            assert cut is None
            continue
        assert cut is not None
        assert (cut.offset, cut.byte_count) == (end, size - end)
        assert not cut.possibly_acknowledged, "an end that was never written is only torn"
        assert cut.kept_at is not None
        assert cut.kept_at.read_bytes() == data[end:size]
        assert f"{size - end} tail bytes from offset {end}, torn" in cut.sentence()


def test_a_journal_without_its_file_header_is_refused(plain: Copy) -> None:
    for size in range(FILE_HEADER_BYTES):
        plain.put(plain.original[:size])
        assert_refused(plain, str(plain.journal), "offset 0")


def test_the_next_start_after_a_cut_is_clean_and_goes_on(plain: Copy) -> None:
    site = plain.site
    plain.put(plain.original[:-1])
    end, last_sequence = site.ends[-2]
    recovered_to(plain, last_sequence)
    again = recover(plain.directory)
    assert again.report.cut is None
    assert again.log.claim(b"n" * 16) == 2
    sequence = last_sequence + 1
    payload = encode_batch([OpenSession("c")], [[SessionOpened(sequence, "c")]])
    assert isinstance(again.log.append(BATCH, sequence, 1, 2 * START_NS, payload), Position)
    again.log.close()
    assert recover(plain.directory).engine.sequence == sequence
    assert plain.journal.read_bytes()[:end] == plain.original[:end]


def test_every_cut_tail_gets_a_name_of_its_own(plain: Copy) -> None:
    end = plain.site.ends[-2][0]
    names = []
    for size in (end + 5, end + 6, end + 7):
        plain.journal.write_bytes(plain.original[:size])
        cut = recover(plain.directory).report.cut
        assert cut is not None
        assert cut.kept_at is not None
        names.append(cut.kept_at.name)
    assert names == [f"journal.cut-{end}", f"journal.cut-{end}-2", f"journal.cut-{end}-3"]
    assert (plain.directory / names[0]).stat().st_size == 5


def test_a_tail_is_durable_elsewhere_before_it_is_cut(
    plain: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def noted(name: str) -> None:
        real = getattr(os, name)

        def call(descriptor: int, *rest: object) -> object:
            calls.append(f"{name} {Path(f'/proc/self/fd/{descriptor}').resolve().name}")
            return real(descriptor, *rest)

        monkeypatch.setattr(os, name, call)

    for name in ("fsync", "fdatasync", "ftruncate"):
        noted(name)
    plain.put(plain.original[:-1])
    recover(plain.directory).log.close()
    kept = f"journal.cut-{plain.site.ends[-2][0]}"
    directory = plain.directory.name
    assert calls == [
        f"fdatasync {kept}",
        f"fsync {directory}",
        "ftruncate journal",
        "fsync journal",
    ]


def test_a_recovered_engine_has_nothing_to_tell_a_feed(with_snapshots: Copy, plain: Copy) -> None:
    for copy in (with_snapshots, plain):
        recovered = recover(copy.directory)
        engine = recovered.engine
        assert engine.take_touched() == {}
        engine.apply(PlaceOrder("c", INSTRUMENT, 1, 1, E8, 1), (engine.sequence + 1, 2 * START_NS))
        assert engine.take_touched() == {INSTRUMENT: [(1, 1, E8)]}
        recovered.log.close()


def bits_of(site: Site, record: int) -> list[int]:
    """Every bit of a record's header, and one of each byte of its payload."""
    start, end = site.ends[record - 1][0], site.ends[record][0]
    header = range(start * 8, (start + HEADER_BYTES) * 8)
    payload = (byte * 8 + byte % 8 for byte in range(start + HEADER_BYTES, end))
    return [*header, *payload]


def test_row_7_a_flipped_bit_in_the_last_record_is_cut(plain: Copy) -> None:
    """I1: nobody vouches for it, so it is reported as possibly acknowledged and kept aside."""
    site = plain.site
    end, last_sequence = site.ends[-2]
    bits = bits_of(site, -1)
    for bit in bits:
        plain.flip(bit)
        damaged = plain.journal.read_bytes()
        cut = recovered_to(plain, last_sequence).report.cut
        assert cut is not None
        assert cut.offset == end
        assert cut.possibly_acknowledged
        assert cut.kept_at is not None
        assert cut.kept_at.read_bytes() == damaged[end:]


def test_row_7_a_flipped_bit_that_a_later_record_vouches_for_is_refused(vouched: Copy) -> None:
    """The idle record is enough to vouch for the last batch."""
    site = vouched.site
    offset, last_sequence = site.ends[-3]
    bits = bits_of(site, -2)
    for bit in bits:
        vouched.flip(bit)
        error = assert_refused(vouched, str(vouched.journal), "Restore the data directory")
        assert isinstance(error, JournalCorrupt)
        assert (error.offset, error.sequence) == (offset, last_sequence + 1)


def test_row_7_a_flipped_bit_in_the_idle_record_costs_nothing(vouched: Copy) -> None:
    end, last_sequence = vouched.site.ends[-2]
    for bit in bits_of(vouched.site, -1)[::5]:
        vouched.flip(bit)
        cut = recovered_to(vouched, last_sequence).report.cut
        assert cut is not None
        assert cut.offset == end


def test_row_7_a_flipped_bit_anywhere_before_the_tail_is_refused(plain: Copy) -> None:
    site = plain.site
    before_last = site.ends[-2][0]
    for bit in range(FILE_HEADER_BYTES * 8 + 3, before_last * 8, 97):
        plain.flip(bit)
        offset = max(end for end, _ in [(FILE_HEADER_BYTES, 0), *site.ends] if end <= bit // 8)
        error = assert_refused(plain)
        assert isinstance(error, JournalCorrupt)
        assert error.offset == offset


def test_row_7_a_flipped_bit_in_the_file_header_is_refused(plain: Copy) -> None:
    for bit in range(FILE_HEADER_BYTES * 8):
        plain.flip(bit)
        assert_refused(plain, str(plain.journal), "offset 0")


def test_row_7_damage_is_refused_where_only_a_snapshot_knows_better(with_snapshots: Copy) -> None:
    """The snapshot itself is damaged behind its header, which still proves what was durable."""
    site = with_snapshots.site
    newest, older = sorted((with_snapshots.directory / "snapshots").iterdir(), reverse=True)
    newest.write_bytes(newest.read_bytes()[:-1])
    position = next(end for end, last in site.ends if last == int(newest.name[-20:]))
    older_position = next(end for end, last in site.ends if last == int(older.name[-20:]))
    for size in range(older_position, position, 13):
        with_snapshots.put(with_snapshots.original[:size])
        assert_refused(with_snapshots, "a snapshot", str(position))


def test_row_7_nothing_but_a_snapshot_header_vouches(with_snapshots: Copy) -> None:
    """Every frame from the damage on is destroyed, so that no later one can say anything."""
    newest, older = sorted((with_snapshots.directory / "snapshots").iterdir(), reverse=True)
    newest.write_bytes(newest.read_bytes()[:-1])
    ends = {last: end for end, last in with_snapshots.site.ends}
    data, first = with_snapshots.original, ends[int(older.name[-20:])]
    with_snapshots.put(data[:first] + bytes(len(data) - first))
    known = ends[int(newest.name[-20:])]
    assert_refused(with_snapshots, f"offset {first}", f"everything before position {known} was")
    newest.unlink()
    cut = recovered_to(with_snapshots, int(older.name[-20:])).report.cut
    assert cut is not None
    assert (cut.offset, cut.possibly_acknowledged) == (first, True)


def test_a_journal_that_ends_before_its_snapshot_is_refused(with_snapshots: Copy) -> None:
    newest = max((with_snapshots.directory / "snapshots").iterdir())
    position = next(end for end, last in with_snapshots.site.ends if last == int(newest.name[-20:]))
    for size in (FILE_HEADER_BYTES, position - 1):
        with_snapshots.put(with_snapshots.original[:size])
        assert_refused(with_snapshots, f"offset {size}", f"had {position} bytes")
    with_snapshots.put(with_snapshots.original[:position])
    recovered_to(with_snapshots, int(newest.name[-20:]))


def test_a_journal_that_is_gone_is_refused_where_snapshots_are(with_snapshots: Copy) -> None:
    with_snapshots.journal.unlink()
    assert_refused(with_snapshots, "it is missing, and there are snapshots of it")


def test_row_8_another_journal_beside_the_snapshots_is_refused(
    with_snapshots: Copy, plain_site: Site
) -> None:
    with_snapshots.put((plain_site.directory / "journal").read_bytes())
    assert_refused(with_snapshots, "a snapshot is of")


Forge = Callable[[Copy, Site], bytes]


def frames(copy: Copy) -> list[bytes]:
    """The journal in pieces: file header, then frame by frame."""
    bounds = [0, FILE_HEADER_BYTES, *(end for end, _ in copy.site.ends)]
    return [copy.original[a:b] for a, b in itertools.pairwise(bounds)]


def swap_two(copy: Copy, other: Site) -> bytes:
    pieces = frames(copy)
    pieces[5], pieces[6] = pieces[6], pieces[5]
    return b"".join(pieces)


def leave_one_out(copy: Copy, other: Site) -> bytes:
    pieces = frames(copy)
    return b"".join(pieces[:5] + pieces[6:])


def repeat_in_the_middle(copy: Copy, other: Site) -> bytes:
    pieces = frames(copy)
    return b"".join(pieces[:6] + pieces[5:])


def repeat_the_last(copy: Copy, other: Site) -> bytes:
    return copy.original + frames(copy)[-1]


def zero_a_block(copy: Copy, other: Site) -> bytes:
    data = bytearray(copy.original)
    data[1024:1536] = bytes(512)
    return bytes(data)


def copy_a_block_over_another(copy: Copy, other: Site) -> bytes:
    data = bytearray(copy.original)
    data[1536:2048] = data[1024:1536]
    return bytes(data)


def put_a_block_of_another_journal(copy: Copy, other: Site) -> bytes:
    data = bytearray(copy.original)
    data[1024:1536] = (other.directory / "journal").read_bytes()[1024:1536]
    return bytes(data)


def go_on_with_another_journal(copy: Copy, other: Site) -> bytes:
    foreign = (other.directory / "journal").read_bytes()
    return copy.original + foreign[other.ends[0][0] : other.ends[2][0]]


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (swap_two, "belongs to offset"),
        (leave_one_out, "belongs to offset"),
        (repeat_in_the_middle, "belongs to offset"),
        (repeat_the_last, "belongs to offset"),
        (zero_a_block, "was durable"),
        (copy_a_block_over_another, "was durable"),
        (put_a_block_of_another_journal, "was durable"),
        (go_on_with_another_journal, "of the journal"),
    ],
)
def test_row_8_blocks_in_the_wrong_place_are_refused(
    forge: Forge, message: str, plain: Copy, vouched_site: Site
) -> None:
    plain.put(forge(plain, vouched_site))
    assert_refused(plain, message)


def test_another_outcome_is_refused_and_both_are_named(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.commit(*settings())
    sequence = site.engine.sequence + 1
    commands = [OpenSession("a"), OpenSession("b")]
    lies = [[SessionOpened(sequence, "a")], [SessionOpened(sequence + 1, "forged")]]
    site.log.append(BATCH, sequence, 2, START_NS * 2, encode_batch(commands, lies))
    site.close()
    with pytest.raises(ReplayDiffers) as caught:
        recover(tmp_path)
    assert caught.value.sequence == sequence + 1
    assert "forged" in str(caught.value)
    assert f"Now: SessionOpened(session_id={sequence + 1}, client_id='b')" in str(caught.value)


def test_a_journaled_command_that_is_refused_now_is_named(tmp_path: Path) -> None:
    site = Site(tmp_path)
    command = PlaceOrder("c", INSTRUMENT, 1, 1, E8, E8)
    site.log.append(BATCH, 1, 1, START_NS, encode_batch([command], [[]]))
    site.close()
    with pytest.raises(ReplayDiffers, match=r"sequence 1 had another outcome.*INSTRUMENT_UNKNOWN"):
        recover(tmp_path)


def test_progress_is_told_while_it_takes_long(plain: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "INTERVAL_S", 0.0)
    told: list[Progress] = []
    recover(plain.directory, told.append).log.close()
    sequences = [progress.last_sequence for progress in told]
    assert sequences == [last for _, last in plain.site.ends]
    assert told[-1].sentence().startswith("recovering: sequence ")
    assert "100 % of" in told[-1].sentence()


def test_progress_is_told_while_a_snapshot_is_loaded(
    with_snapshots: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "INTERVAL_S", 0.0)
    told: list[Progress] = []
    recover(with_snapshots.directory, told.append).log.close()
    assert told[0].sentence().startswith("recovering: snapshot, ")
    assert told[-1].last_sequence == with_snapshots.site.engine.sequence


def test_no_progress_is_told_of_what_takes_no_time(plain: Copy) -> None:
    told: list[Progress] = []
    recover(plain.directory, told.append).log.close()
    assert told == []


def test_what_was_recovered_is_not_walked_by_the_collector(with_snapshots: Copy) -> None:
    """At a million orders that would take a second and a half, twice before the first reply."""
    walked: list[int] = []

    def count(phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            walked.append(len(gc.get_objects()))

    assert gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.callbacks.append(count)
    try:
        recovered = recover(with_snapshots.directory)
        gc.collect()
    finally:
        gc.callbacks.remove(count)
        gc.unfreeze()
    recovered.log.close()
    assert gc.isenabled()
    assert len(recovered.engine.directory.orders) > 20
    assert max(walked) < 20


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    site = Site(tmp_path / "data")
    site.commit(*settings())
    site.snapshot()
    site.close()
    with (tmp_path / "data" / "journal").open("ab") as journal:
        journal.write(b"x")
    recover(tmp_path / "data").log.close()
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert len(files) == 3
    assert {path.stat().st_mode & 0o077 for path in files} == {0}
    assert (tmp_path / "data" / "snapshots").stat().st_mode & 0o077 == 0
