"""`exchange export` as people type it, beside a server and without one."""

import csv
import io
import json
import os
import re
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from server.exits import Exit
from server.journal.lock import DirectoryLock
from server.supervisor.commands.export import bound
from tests.journal.site import Site, every_command, trade
from tests.processes.load import Load
from tests.running import Running, Starter


def exported(starter: Starter, *options: str) -> Running:
    running = starter.run("export", *options, "--data-dir", str(starter.data_dir))
    running.wait()
    return running


def test_export_beside_a_server_and_without(starter: Starter, tmp_path: Path) -> None:
    """The same rows in each kind of file, told from the stream and from the file."""
    server, address = starter.server()
    with Load(address, "e") as load:
        load.wait(5)
    paths = {kind: tmp_path / f"trades.{kind}" for kind in ("csv", "ndjson", "parquet")}
    for kind, path in paths.items():
        running = exported(starter, "trades", "--from", "5", "--to", "90", "--output", str(path))
        assert running.wait() == Exit.CLEAN, running.lines
        told = re.search(r"rows up to sequence ([0-9]+), ", running.lines[-1])
        assert told is not None
        assert 5 < int(told[1]) <= 90
        assert not path.with_name(f"{path.name}.part").exists(), kind
    assert server.terminate() == Exit.CLEAN
    rows = list(csv.DictReader(io.StringIO(paths["csv"].read_text())))
    assert rows
    assert all(5 <= int(row["sequence"]) <= 90 for row in rows)
    lines = [json.loads(line) for line in paths["ndjson"].read_text().splitlines()]
    assert [line["trade_id"] for line in lines] == [row["trade_id"] for row in rows]
    assert pyarrow.parquet.read_table(paths["parquet"]).num_rows == len(rows)
    alone = exported(starter, "trades", "--from", "5", "--to", "90", "--format", "ndjson")
    assert alone.wait() == Exit.CLEAN
    assert [json.loads(it) for it in alone.lines if it.startswith("{")] == lines
    orders = exported(starter, "orders", "--from", "2020-01-01", "--format", "csv")
    assert sum("e-" in line for line in orders.lines) > 50
    none = exported(starter, "events", "--to", "2020-01-01T00:00:00Z")
    assert none.lines[0].split(",")[0] == "sequence"
    assert none.lines[-1].startswith("0 rows")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("trades", "--format", "parquet"), Exit.CONFIGURATION, "name one with --output"),
        (("trades", "--from", "yesterday"), 2, "'yesterday' is neither a sequence (1000)"),
        (("trades", "--to", "2026-01-01T00:00:00.0000000001Z"), 2, "at most nine decimals"),
        (("trades", "--from", "9", "--to", "3"), 2, "--from 9 lies after --to 3"),
        (("trades", "--from", "2026-02-01", "--to", "2026-01-01"), 2, "lies after --to 2026-01-01"),
        (("fills",), 2, "invalid choice: 'fills'"),
    ],
)
def test_wrong_options_are_told(
    starter: Starter, options: tuple[str, ...], code: int, words: str
) -> None:
    starter.data_dir.mkdir(exist_ok=True)
    (starter.data_dir / "journal").touch()
    wrong = exported(starter, *options)
    assert wrong.wait() == code
    assert words in wrong.lines[-1]


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01T00:00:01.000000002Z", 1_000_000_002),
        ("1970-01-01T01:00:00.000000999+01:00", 999),
        ("1970-01-01T00:00:00,5", 500_000_000),
        ("1970-01-02", 86_400 * 10**9),
        ("1969-12-31T23:59:59.999999999Z", -1),
    ],
)
def test_times_of_a_range_are_exact(text: str, time_ns: int) -> None:
    assert bound(text) == (time_ns, text)


def test_what_is_missing_is_told(starter: Starter, tmp_path: Path) -> None:
    """No journal; and Parquet asked for where pyarrow can't be loaded."""
    nothing = exported(starter, "trades")
    assert nothing.wait() == Exit.FAILED
    assert "doesn't exist" in nothing.lines[-1]
    server, _ = starter.server()
    assert server.terminate() == Exit.CLEAN
    hidden = tmp_path / "hidden" / "pyarrow"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('hidden')\n")
    path = (str(hidden.parent), os.environ.get("PYTHONPATH", ""))
    running = starter.run(
        "export", "trades", "--output", str(tmp_path / "t.parquet"),
        "--data-dir", str(starter.data_dir), PYTHONPATH=os.pathsep.join(path),
    )  # fmt: skip
    assert running.wait() == Exit.PART_MISSING
    install = f"{sys.executable} -m pip install pyarrow"
    assert f"Parquet needs pyarrow (hidden): {install}, or" in running.lines[-1]


def test_nothing_is_written_before_the_journal_can_be_read(starter: Starter) -> None:
    server, _ = starter.server()
    assert server.terminate() == Exit.CLEAN
    with DirectoryLock(starter.data_dir):
        running = exported(starter, "trades")
        assert running.wait() == Exit.LOCKED
    assert len(running.lines) == 1, running.lines


def test_damage_ends_an_export(starter: Starter, tmp_path: Path) -> None:
    server, address = starter.server()
    with Load(address, "d") as load:
        load.wait(2)
    assert server.terminate() == Exit.CLEAN
    journal = starter.data_dir / "journal"
    content = bytearray(journal.read_bytes())
    content[len(content) // 2] ^= 1
    journal.write_bytes(content)
    running = exported(starter, "events")
    assert running.wait() == Exit.FAILED
    assert "what was written ends before the damage" in running.lines[-1]
    out = tmp_path / "events.csv"
    running = exported(starter, "events", "--output", str(out))
    assert running.wait() == Exit.FAILED
    assert f"what was written to {out}.part ends before the damage" in running.lines[-1]
    assert (tmp_path / "events.csv.part").is_file()
    assert "corrupt at offset" in running.lines[-1]


def test_a_damaged_tail_is_told_once_all_rows_before_it_are_there(
    starter: Starter, tmp_path: Path
) -> None:
    """Nobody knows whether what it held was acknowledged."""
    site = Site(starter.data_dir)
    every_command(site)
    trade(site, 12)
    site.close()
    last = site.ends[-2][1]
    open_then = tmp_path / "orders.csv"
    orders = exported(starter, "orders", "--to", str(last), "--output", str(open_then))
    assert orders.wait() == Exit.CLEAN
    journal = starter.data_dir / "journal"
    content = bytearray(journal.read_bytes())
    content[-1] ^= 1
    journal.write_bytes(content)
    out = tmp_path / "events.csv"
    running = exported(starter, "events", "--output", str(out))
    assert running.wait() == Exit.FAILED
    assert f"what was written to {out}.part ends before the damage" in running.lines[-1]
    assert "possibly acknowledged" in running.lines[-1]
    rows = csv.DictReader(io.StringIO((tmp_path / "events.csv.part").read_text()))
    assert [row["sequence"] for row in rows][-1] == str(last)
    orders = exported(starter, "orders", "--output", str(tmp_path / "now.csv"))
    assert orders.wait() == Exit.FAILED
    assert "ends before the damage, with orders as they stood then: " in orders.lines[-1]
    stood = open_then.read_text()
    assert (tmp_path / "now.csv.part").read_text() == stood
    assert ",open," in stood
    # Who needs nothing of it has all there is.
    before = exported(starter, "events", "--to", str(last - 1), "--output", str(out))
    assert before.wait() == Exit.CLEAN


def test_damage_that_a_running_server_meets_ends_an_export_and_a_verification(
    starter: Starter, tmp_path: Path
) -> None:
    """As without a server: what came before is given, and the damage is named."""
    site = Site(starter.data_dir)
    every_command(site)
    trade(site, 12)
    site.snapshot()
    trade(site, 1)
    site.close()
    starter.server()
    journal = starter.data_dir / "journal"
    content = bytearray(journal.read_bytes())
    content[site.ends[-3][0] - 1] ^= 1
    with journal.open("r+b") as file:
        file.write(content)
    out = tmp_path / "events.csv"
    running = exported(starter, "events", "--output", str(out))
    assert running.wait() == Exit.FAILED
    assert f"what was written to {out}.part ends before the damage" in running.lines[-1]
    assert "journal is corrupt at offset" in running.lines[-1]
    directory = ("--data-dir", str(starter.data_dir))
    verified = starter.run("journal", "verify", *directory)
    assert verified.wait() == Exit.FAILED
    assert verified.lines[-1].startswith("BAD  journal at sequence")
    shown = starter.run("journal", "show", "--json", *directory)
    assert shown.wait() == Exit.FAILED
    (told,) = (line for line in shown.lines if not line.startswith("{"))
    assert told.startswith("BAD  journal at sequence")
