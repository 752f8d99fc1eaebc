"""A data directory that was written before: what is in `tests/data/journal` must remain readable.

It was made by `write`, holds every kind of command, and has two snapshots of a journal of three
files. Whoever changes a format keeps reading this one and adds a directory written in the new one;
whoever changes what commands lead to raises the rules version, and expects the refusal.
"""

import shutil
from pathlib import Path

import pytest

from server.journal.recovery import recover
from server.journal.refusals import RulesDiffer
from tests.journal.site import Site, every_command, trade
from tests.journal.test_segments import Files

WRITTEN = Path(__file__).parents[1] / "data" / "journal"
UNDER_RULES_1 = WRITTEN.with_name("journal_of_rules_1")
LAST_SEQUENCE = 59
STATE_HASH = "2a15c7fcbe5e3c967d0ac563998d040f7e17c2d1f72f83a725357042592884b8"
SEGMENT_BYTES = 6_000


def write(directory: Path) -> tuple[int, str]:
    """Make such a directory anew: its last sequence and state hash."""
    site = Site(directory, SEGMENT_BYTES)
    site.log.attach(Files(directory))
    every_command(site)
    for records, seed in ((8, 1), (8, 2)):
        trade(site, records, seed=seed)
        site.snapshot()
    trade(site, 4, seed=3)
    site.idle()
    site.close()
    return site.engine.sequence, site.hashes[site.engine.sequence].hex()


@pytest.mark.parametrize("snapshots", [2, 1, 0])
def test_i8_what_was_written_before_is_read(tmp_path: Path, snapshots: int) -> None:
    """From the newest snapshot, from the older one, and from the first command on."""
    directory = shutil.copytree(WRITTEN, tmp_path / "data")
    for path in sorted((directory / "snapshots").iterdir())[snapshots:]:
        path.unlink()
    recovered = recover(directory)
    recovered.log.close()
    report = recovered.report
    assert report.passed_over == []
    assert (report.snapshot_sequence is None) == (snapshots == 0)
    assert (report.last_sequence, report.cut) == (LAST_SEQUENCE, None)
    assert report.state_hash.hex() == STATE_HASH


def test_what_was_written_under_other_rules_is_refused_untouched(tmp_path: Path) -> None:
    """It was not stopped cleanly: there are commands behind its newest snapshot."""
    directory = shutil.copytree(UNDER_RULES_1, tmp_path / "data")
    before = {path: path.read_bytes() for path in directory.rglob("journal*")}
    with pytest.raises(RulesDiffer, match="rules version 1, this release has 2"):
        recover(directory)
    assert {path: path.read_bytes() for path in directory.rglob("journal*")} == before


def test_what_was_written_before_is_written_now(tmp_path: Path) -> None:
    """Otherwise the directory is not of this release any more, and one of this is missing."""
    assert write(tmp_path / "data") == (LAST_SEQUENCE, STATE_HASH)
    names = [sorted(path.name for path in it.rglob("*")) for it in (WRITTEN, tmp_path / "data")]
    assert names[0] == names[1]
