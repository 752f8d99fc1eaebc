"""What `exchange journal verify` and `show` say."""

import io
import json
from pathlib import Path

import pytest

from server.core.commands import COMMAND_KINDS
from server.core.dump import state_hash
from server.core.engine import RULES_VERSION
from server.journal.lock import DirectoryLock, DirectoryLocked
from server.journal.recovery import recover
from server.journal.snapshots import snapshot_paths, write_snapshot
from server.journal_tools import verify as verification
from server.journal_tools.show import show, show_frames
from server.journal_tools.verify import verify, verify_frames
from tests.journal.site import Copy, Site, every_command


def verified(directory: Path, *, replay: bool = True) -> tuple[int, str]:
    out = io.StringIO()
    return verify(directory, out, replay=replay), out.getvalue()


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("replay", [True, False])
def test_a_good_journal_is_good(with_snapshots: Copy, replay: bool) -> None:
    before = contents(with_snapshots.directory)
    code, text = verified(with_snapshots.directory, replay=replay)
    assert code == 0
    for path in snapshot_paths(with_snapshots.directory):
        assert f"good {path}\n" in text
    last = with_snapshots.site.engine.sequence
    assert f"{last} commands, last sequence {last}" in text
    assert (state_hash(with_snapshots.site.engine).hex() in text) == replay
    assert with_snapshots.site.log.fence.chain.hex() in text
    assert contents(with_snapshots.directory) == before


def test_every_flipped_bit_of_a_closed_journal_is_found(vouched: Copy) -> None:
    end = vouched.site.ends[-2][0]
    for bit in range(3, end * 8, 149):
        vouched.flip(bit)
        code, text = verified(vouched.directory, replay=False)
        assert code == 1, bit
        assert "BAD " in text
        assert "corrupt at offset" in text


def test_the_sequence_at_which_it_is_damaged_is_told(vouched: Copy) -> None:
    ends = vouched.site.ends
    for before, (end, _) in zip(ends[:-2:3], ends[1::3], strict=False):
        vouched.flip(end * 8 - 1)
        where = f"corrupt at offset {before[0]}, where sequence {before[1] + 1} is expected"
        assert where in verified(vouched.directory)[1]
        out = io.StringIO()
        assert show(vouched.directory, out, before[1] or 1) == 1
        assert where in out.getvalue()


def test_a_torn_tail_is_said_and_left(plain: Copy) -> None:
    plain.put(plain.original[:-1])
    code, text = verified(plain.directory)
    assert code == 0
    assert "torn: the frame ends 1 bytes too early; the next start cuts it" in text
    plain.flip(len(plain.original) * 8 - 1)
    code, text = verified(plain.directory)
    assert code == 1
    assert "possibly acknowledged" in text
    assert not list(plain.directory.glob("journal.cut-*"))


def shown(directory: Path, *, as_json: bool = False) -> tuple[int, str]:
    out = io.StringIO()
    return show(directory, out, as_json=as_json), out.getvalue()


def test_show_judges_a_tail_as_verify_does(
    plain: Copy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A snapshot of its end proves that it was durable. What is JSON stays so."""
    site = Site(tmp_path / "site")
    every_command(site)
    site.snapshot()
    site.close()
    proven = Copy(site, tmp_path / "proven")
    for copy in (plain, proven):
        copy.put(copy.original[:-1])
        code, _ = verified(copy.directory)
        assert code == shown(copy.directory)[0] == int(copy is proven)
        copy.flip(len(copy.original) * 8 - 1)
        assert verified(copy.directory)[0] == 1
        said = "BAD " if copy is proven else "possibly acknowledged"
        code, text = shown(copy.directory)
        assert code == 1
        assert said in text.splitlines()[-1]
        code, text = shown(copy.directory, as_json=True)
        assert code == 1
        lines = [json.loads(line) for line in text.splitlines()]
        assert lines[0]["sequence"] == 1
        (told,) = capsys.readouterr().err.splitlines()
        assert said in told


def test_damaged_and_foreign_snapshots_are_found(with_snapshots: Copy, plain_site: Site) -> None:
    newest, older = snapshot_paths(with_snapshots.directory)
    newest.write_bytes(newest.read_bytes()[:-1])
    code, text = verified(with_snapshots.directory)
    assert code == 1
    assert f"BAD  {newest}: the digest" in text
    assert f"good {older}\n" in text
    newest.unlink()
    recovered = recover(plain_site.directory)
    write_snapshot(with_snapshots.directory, recovered.engine, recovered.log.mark)
    recovered.log.close()
    code, text = verified(with_snapshots.directory)
    assert code == 1
    assert "of another history" in text or "is of a place at which no record" in text


def test_a_snapshot_of_another_state_is_found(
    with_snapshots: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "state_hash", lambda engine: bytes(32))
    code, text = verified(with_snapshots.directory)
    assert code == 1
    assert text.count("its state is not what the journal's commands lead to") == 2


def test_other_rules_are_walked_without_applying(
    plain: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "RULES_VERSION", RULES_VERSION + 1)
    code, text = verified(plain.directory)
    assert code == 0
    assert (
        f"from sequence 1 on, commands can't be applied again: rules version {RULES_VERSION}"
        in (text)
    )
    assert "state hash" not in text


def test_the_frames_of_a_server_are_verified_and_shown_alike(with_snapshots: Copy) -> None:
    """While a server holds the lock, the same comes from the frames that it streams."""
    locked = DirectoryLock(with_snapshots.directory)
    recovered = recover(with_snapshots.directory)
    with pytest.raises(DirectoryLocked):
        verify(with_snapshots.directory, io.StringIO())
    with pytest.raises(DirectoryLocked):
        show(with_snapshots.directory, io.StringIO())
    out, shown = io.StringIO(), io.StringIO()
    assert verify_frames(recovered.log.follow(0), with_snapshots.directory, out) == 0
    assert show_frames(recovered.log.follow(4), shown, 5, 6) == 0
    recovered.log.close()
    locked.release()
    assert out.getvalue() == verified(with_snapshots.directory)[1]
    again = io.StringIO()
    assert show(with_snapshots.directory, again, 5, 6) == 0
    assert again.getvalue() == shown.getvalue()


def test_show_prints_commands_with_their_events(plain: Copy) -> None:
    out = io.StringIO()
    assert show(plain.directory, out, 3, 4) == 0
    text = out.getvalue()
    assert "batch at offset " in text
    assert "\n  3 OpenSession(client_id='client-1')\n    3.0 SessionOpened(session_id=3" in text
    assert "\n  4 PlaceOrder(" in text
    assert "  2 " not in text
    assert "  5 " not in text


def test_show_says_what_of_the_range_is_not_there(plain: Copy) -> None:
    out = io.StringIO()
    newest = plain.site.engine.sequence
    assert show(plain.directory, out, newest + 1000) == 0
    assert out.getvalue() == f"note no sequence {newest + 1000} yet\n"
    locked = DirectoryLock(plain.directory)
    log = recover(plain.directory).log
    cut = io.StringIO()
    # As a server sends them whose journal was cut, and to a program.
    assert show_frames(log.follow(4), cut, 1, 2) == show_frames(log.follow(4), cut, 5, 5) == 0
    assert cut.getvalue().splitlines()[0].startswith("note the journal that is kept begins with")
    assert cut.getvalue().count("note ") == 1
    silent = io.StringIO()
    assert show_frames(log.follow(4), silent, 1, 2, as_json=True) == 0
    assert silent.getvalue() == ""
    log.close()
    locked.release()


def test_show_as_json_is_one_object_a_command(plain: Copy) -> None:
    out = io.StringIO()
    assert show(plain.directory, out, as_json=True) == 0
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    last = plain.site.engine.sequence
    assert [line["sequence"] for line in lines] == list(range(1, last + 1))
    assert {line["command"]["kind"] for line in lines} == {kind.__name__ for kind in COMMAND_KINDS}
    assert lines[0]["command"]["definition"]["name"] == "BTC-USD"
    assert lines[0]["events"][0]["kind"] == "InstrumentSet"


def test_what_is_no_data_directory_is_said_and_nothing_made(tmp_path: Path) -> None:
    out = io.StringIO()
    assert verify(tmp_path / "none", out) == 1
    assert show(tmp_path / "none", out) == 1
    assert out.getvalue().count("doesn't exist; name a data directory") == 2
    assert shown(tmp_path / "none", as_json=True) == (1, "")
    assert not (tmp_path / "none").exists()
