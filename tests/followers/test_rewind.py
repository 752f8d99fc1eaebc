"""`exchange rebuild postgres --rewind`: tables that are past the end of their journal."""

import asyncio
import shutil
from pathlib import Path

import pytest

from server.core.commands import Command
from server.core.events import Event
from server.core.market import MINUTE_NS
from server.followers.rebuild import Rebuild, Source
from server.journal.snapshots import load_snapshot
from tests.followers.test_postgres import KEPT, Fetch, assert_events, assert_fold, records, write
from tests.followers.test_rebuild import execute, run
from tests.journal.site import START_NS, Site, every_command, trade


def test_tables_go_back_to_a_journal_that_was_put_back_from_a_copy(
    tmp_path: Path, database: str, fetch: Fetch, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("POSTGRES_URL", database)
    site = Site(tmp_path / "site")
    every_command(site)
    trade(site, 40, seed=1)
    site.close()
    copy = shutil.copytree(site.directory, tmp_path / "copy")
    site.start()
    trade(site, 40, seed=2)
    write(database, [records(site)])
    site.close()
    then = Site(copy)
    then.close()
    ahead, last = site.engine.sequence, then.engine.sequence
    said = f"the tables are at sequence {ahead}, and the journal ends at {last}: name the data"
    assert run("--data-dir", str(copy), "--check") == 1
    assert said in capfd.readouterr().out
    # It may as well be an old copy beside an exchange that runs.
    assert run("--data-dir", str(copy)) == 1
    told = capfd.readouterr().err
    assert said in told
    assert "where its journal was put back from a copy, --rewind takes the tables back" in told
    assert_fold(fetch, site.engine)
    assert run("--data-dir", str(copy), "--rewind") == 0
    assert f"rewound from sequence {ahead} to {last}" in capfd.readouterr().out
    assert_fold(fetch, then.engine)
    assert_events(fetch, records(then))
    assert write(database, []) == last
    assert run("--data-dir", str(copy), "--check") == 0
    # Commands that made no rows differ in the position alone.
    execute(database, "UPDATE follower_positions SET sequence = sequence + 1")
    capfd.readouterr()
    assert run("--data-dir", str(copy), "--check") == 1
    assert "--rewind" in capfd.readouterr().out
    assert run("--data-dir", str(copy), "--rewind") == 0
    assert write(database, []) == last


class SlowSite(Site):
    """A journal of many minutes."""

    def commit(self, *commands: Command, time_ns: int = 0) -> list[list[Event]]:
        time_ns = time_ns or START_NS + self.engine.sequence * MINUTE_NS // 30
        return super().commit(*commands, time_ns=time_ns)


def test_what_is_past_the_end_goes_too_where_the_journal_was_cut(
    tmp_path: Path, database: str, fetch: Fetch
) -> None:
    """Bars and books of moments that never were would stay, and be in the follower's way."""
    site = SlowSite(tmp_path / "site")
    every_command(site)
    trade(site, 40, seed=1)
    kept = len(records(site))
    trade(site, 60, seed=2)
    snapshot_sequence, snapshot = site.engine.sequence, site.snapshot()
    trade(site, 40, seed=3)
    site.close()
    copied, last = records(site)[kept:], site.engine.sequence
    then = SlowSite(shutil.copytree(site.directory, tmp_path / "copy"))
    site.start()
    trade(site, 200, seed=4)
    site.close()
    write(database, [records(site)])
    source = Source(
        copied[0],
        lambda after: iter([it for it in copied if it.last_sequence > after]),
        lambda: (snapshot_sequence, load_snapshot(snapshot)[1]),
    )
    rebuild = Rebuild(database, KEPT, source, lambda _: None, rewind=True)
    assert asyncio.run(rebuild.run(mend=True)).ahead_sequence == site.engine.sequence
    assert fetch(f"SELECT max(sequence) <= {last} FROM orderbook_snapshots") == [(True,)]
    assert fetch("SELECT max(minute) FROM minute_bars") == [(copied[-1].time_ns // MINUTE_NS,)]
    trade(then, 200, seed=5)
    then.close()
    assert write(database, [[it for it in records(then) if it.first_sequence > last]])
    assert_fold(fetch, then.engine)
    assert_events(fetch, records(then))
