"""Rows 2 and 5 on a real process and a real disk limit (`RLIMIT_FSIZE`)."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.journal.recovery import recover
from server.journal.segments import FILE_HEADER_BYTES
from tests.journal.site import Site, assert_recovered, settings, trade

WRITER = """
import json, resource, signal, sys
from pathlib import Path
from tests.journal.site import Site, settings, trade
limit, action = int(sys.argv[2]), int(sys.argv[3])
if action:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
site = Site(Path(sys.argv[1]))
def tell():
    print(site.engine.sequence, flush=True)
site.commit(*settings())
tell()
for number in range(1000):
    try:
        trade(site, 1, seed=number)
    except AssertionError as error:
        print(json.dumps(str(error)), flush=True)
        sys.exit(7)
    tell()
"""


def run(directory: Path, size_max: int, *, killed: bool) -> tuple[int, list[int], str]:
    """Write until the limit: exit code, acknowledged sequences, and the failure if it was said."""
    finished = subprocess.run(
        [sys.executable, "-c", WRITER, str(directory), str(size_max), str(int(killed))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    *lines, last = finished.stdout.splitlines()
    if last.isdigit():
        lines.append(last)
        last = '""'
    assert finished.stderr == ""
    return finished.returncode, [int(line) for line in lines], json.loads(last)


def reference(directory: Path, last_sequence: int) -> Site:
    """The same commands without a limit."""
    site = Site(directory)
    site.commit(*settings())
    number = 0
    while site.engine.sequence < last_sequence:
        trade(site, 1, seed=number)
        number += 1
    site.close()
    return site


@pytest.mark.parametrize("size_max", [FILE_HEADER_BYTES + 1_001, 5_000, 20_003])
def test_row_5_a_real_short_write_is_never_acknowledged(tmp_path: Path, size_max: int) -> None:
    """I1: CPython ignores SIGXFSZ, so the disk takes a part and then says EFBIG."""
    code, acknowledged, failure = run(tmp_path / "data", size_max, killed=False)
    assert code == 7
    assert "Unknown" in failure
    assert "File too large" in failure
    journal = tmp_path / "data" / "journal"
    assert journal.stat().st_size == size_max, "the write was really cut short"
    recovered = recover(tmp_path / "data")
    site = reference(tmp_path / "reference", acknowledged[-1])
    assert_recovered(recovered, site, acknowledged[-1])
    assert recovered.report.cut is not None
    assert not recovered.report.cut.possibly_acknowledged
    recovered.log.close()


@pytest.mark.parametrize("size_max", [1_500, 7_777, 15_000])
def test_row_2_killed_with_the_journal_at_exactly_this_byte(tmp_path: Path, size_max: int) -> None:
    """I1 I8: everything that was acknowledged is there, whole."""
    code, acknowledged, _ = run(tmp_path / "data", size_max, killed=True)
    assert code == -signal.SIGXFSZ
    assert (tmp_path / "data" / "journal").stat().st_size == size_max
    recovered = recover(tmp_path / "data")
    site = reference(tmp_path / "reference", acknowledged[-1])
    assert_recovered(recovered, site, acknowledged[-1])
    recovered.log.close()
