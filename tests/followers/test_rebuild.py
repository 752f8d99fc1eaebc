"""[I9] `exchange rebuild postgres`: tampered rows are found and put right, empty tables filled."""

import asyncio
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest

from exchange.v1.admin_service_pb2 import GetStatusRequest
from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
from server.followers import rebuild as rebuild_module
from server.followers.partitions import DAY_NS
from server.followers.rebuild import Rebuild, RebuildRefused, Result, Source
from server.journal.lock import DirectoryLock
from server.journal.record import BATCH, Record
from server.settings import HistorySettings
from server.supervisor import main
from server.supervisor.commands import rebuild as rebuild_command
from server.supervisor.embedded.postgres import URL_FILE_NAME
from server.supervisor.journal_access import kept_after, records_after
from tests.followers.test_postgres import KEPT, Fetch, assert_events, assert_fold, records, write
from tests.journal.site import START_NS, Site, every_command, settings, trade
from tests.processes.load import Load
from tests.running import Starter

TAMPERED = {
    "orders": "UPDATE orders SET filled_quantity = filled_quantity + 1 WHERE placed_sequence = 40",
    "trades": "DELETE FROM trades WHERE sequence = (SELECT min(sequence) FROM trades)",
    "order_events": "UPDATE order_events SET event_data = '{}' WHERE sequence = 60",
    "client_positions": "INSERT INTO client_positions VALUES ('nobody', 'BTC-USD', 1, 1, 0, 0, 1)",
    "fees": "UPDATE fees SET balance = balance + 0.00000001",
    "minute_bars": "UPDATE minute_bars SET volume = volume - 1",
    "instruments": "UPDATE instruments SET lot = 7",
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    every_command(site)
    trade(site, 80)
    site.close()
    return site


def run(*arguments: str) -> int:
    return main.main(["rebuild", "postgres", *arguments])


@pytest.fixture
def rebuild(site: Site, database: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setenv("POSTGRES_URL", database)
    return lambda *options: run("--data-dir", str(site.directory), *options)


def execute(database: str, *statements: str) -> None:
    async def go() -> None:
        connection = await asyncpg.connect(database)
        for statement in statements:
            assert not (await connection.execute(statement)).endswith(" 0"), statement
        await connection.close()

    asyncio.run(go())


def test_tampered_rows_are_found_and_put_right(
    site: Site,
    database: str,
    fetch: Fetch,
    rebuild: Callable[..., int],
    capfd: pytest.CaptureFixture[str],
) -> None:
    write(database, [records(site)])
    assert rebuild("--check") == 0
    assert f"sequences 1 to {site.engine.sequence}" in capfd.readouterr().out
    execute(database, *TAMPERED.values())
    assert rebuild("--check") == 1
    told = {line.split()[0]: line for line in capfd.readouterr().out.splitlines()}
    for table in TAMPERED:
        assert "0 missing, 0 too many, 0 different" not in told[table], told[table]
    assert "0 missing, 0 too many, 0 different" in told["orderbook_snapshots"]
    assert rebuild() == 0
    assert f"{len(TAMPERED)} rows put right" in capfd.readouterr().out
    assert_fold(fetch, site.engine)
    assert_events(fetch, records(site))
    assert rebuild("--check") == 0
    assert fetch("SELECT count(*) FROM pg_namespace WHERE nspname = 'exchange_rebuild'") == [(0,)]


@pytest.mark.parametrize("written", [0, 30, 60])
def test_what_is_not_there_yet_is_made(
    site: Site, database: str, fetch: Fetch, rebuild: Callable[..., int], written: int
) -> None:
    """Nothing, a part, or a part whose position was put back, so that a follower can't go on."""
    if written:
        write(database, [records(site)[:written]])
    if written == 60:
        execute(database, "UPDATE follower_positions SET sequence = sequence - 20")
    assert rebuild() == 0
    assert_fold(fetch, site.engine)
    assert_events(fetch, records(site))
    assert write(database, []) == site.engine.sequence


def test_refused(
    site: Site, database: str, tmp_path: Path, rebuild: Callable[..., int],
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    other = Site(tmp_path / "other")
    every_command(other)
    other.close()
    assert run("--data-dir", str(tmp_path / "none")) == 1
    assert "doesn't exist" in capfd.readouterr().err
    write(database, [records(site)])
    assert run("--data-dir", str(other.directory)) == 1
    assert "name the database of this exchange" in capfd.readouterr().err
    monkeypatch.setenv("POSTGRES_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert rebuild() == 1
    assert "is it running" in capfd.readouterr().err
    monkeypatch.delenv("POSTGRES_URL")
    assert rebuild() == 2


def test_a_damaged_tail_is_told_once_the_rows_before_it_are_right(
    site: Site, database: str, rebuild: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    """Nobody knows whether what it held was acknowledged."""
    journal = site.directory / "journal"
    data = bytearray(journal.read_bytes())
    data[-1] ^= 1
    journal.write_bytes(data)
    assert rebuild() == 1
    out, told = capfd.readouterr()
    assert f"every row is as the journal says, sequences 1 to {site.ends[-2][1]}\n" in out
    assert "possibly acknowledged" in told
    assert rebuild("--check") == 1
    assert "possibly acknowledged" in capfd.readouterr().err


def test_damage_of_a_record_is_told(
    site: Site, rebuild: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    journal = site.directory / "journal"
    data = bytearray(journal.read_bytes())
    data[site.ends[3][0] - 1] ^= 1
    journal.write_bytes(data)
    assert rebuild() == 1
    assert "the journal can't be read: " in capfd.readouterr().err


class CutJournal:
    """A journal of which only a later part is kept, and a snapshot within it."""

    def __init__(self, tmp_path: Path) -> None:
        self.site = Site(tmp_path / "cut")
        every_command(self.site)
        trade(self.site, 40, seed=1)
        self.kept = len(records(self.site))
        trade(self.site, 30, seed=2)
        self.snapshot = self.site.engine.sequence
        copy = self.site.snapshot()
        trade(self.site, 40, seed=3)
        self.site.close()
        self.path = copy
        self.all = records(self.site)

    def source(self, snapshot: bool = True) -> Source:
        from server.journal.snapshots import load_snapshot

        kept = self.all[self.kept :]
        return Source(
            kept[0],
            lambda after: iter([it for it in kept if it.last_sequence > after]),
            lambda: (self.snapshot, load_snapshot(self.path)[1]) if snapshot else None,
        )

    def run(self, database: str, *, mend: bool, snapshot: bool = True) -> Result:
        source = self.source(snapshot)
        rebuild = Rebuild(database, HistorySettings(), source, lambda sequence: None)
        return asyncio.run(rebuild.run(mend=mend))


def test_from_the_first_sequence_that_is_kept(tmp_path: Path, database: str, fetch: Fetch) -> None:
    cut = CutJournal(tmp_path)
    assert all(record.kind == BATCH for record in cut.all)
    write(database, [cut.all])
    proofs = cut.run(database, mend=False).found
    assert not [proof for proof in proofs if proof.wrong]
    assert {proof.table: proof.rows > 0 for proof in proofs if proof.table != "minute_bars"} == {
        "instruments": True,
        "orders": True,
        "trades": True,
        "order_events": True,
        "orderbook_snapshots": False,
        "client_positions": True,
        "fees": True,
    }
    first = cut.source().first_sequence
    before = fetch(f"SELECT * FROM order_events WHERE sequence < {first} ORDER BY 1, 2")
    execute(
        database,
        "UPDATE client_positions SET realised_pnl = realised_pnl + 1",
        f"DELETE FROM orders WHERE placed_sequence >= {first}",
        "UPDATE fees SET balance = 0",
    )
    assert sum(proof.wrong for proof in cut.run(database, mend=True).found) > 3
    assert_fold(fetch, cut.site.engine)
    assert_events(fetch, records(cut.site))
    assert before == fetch(f"SELECT * FROM order_events WHERE sequence < {first} ORDER BY 1, 2")
    assert fetch("SELECT begins_ns FROM follower_positions") == [(0,)]


def test_empty_tables_from_a_cut_journal(tmp_path: Path, database: str, fetch: Fetch) -> None:
    """What is there no longer isn't made up; what is, is exact."""
    cut = CutJournal(tmp_path)
    with pytest.raises(RebuildRefused, match="put archived files of it back"):
        cut.run(database, mend=True, snapshot=False)
    cut.run(database, mend=True)
    engine = cut.site.engine
    rows: list[Any] = fetch(
        "SELECT client_id, net_quantity * 1e8, fees * 1e8 FROM client_positions"
    )
    assert {row[0]: row[1:] for row in rows} == {
        client: (it.net_e8, it.fees_e8)
        for client in engine.directory.clients
        for it in engine.positions(client)
    }
    resting = {
        each.order_id: each.remaining_e8
        for each in engine.orders(limit=1_000_000)
        if not each.closed_sequence
    }
    rows = fetch("SELECT order_id, remaining_quantity * 1e8 FROM orders WHERE status < 'filled'")
    assert dict(rows) == resting
    assert fetch("SELECT min(sequence) FROM order_events") == [(cut.source().first_sequence,)]
    assert write(database, []) == engine.sequence


@pytest.mark.parametrize("written", [0, 20])
def test_rows_are_known_to_begin_after_a_gap(
    tmp_path: Path, database: str, fetch: Fetch, written: int
) -> None:
    """So that no day is settled from a part of its trades."""
    cut = CutJournal(tmp_path)
    write(database, [cut.all[:written]] if written else [])
    cut.run(database, mend=True)
    begins_ns = cut.all[cut.kept].time_ns
    assert fetch("SELECT begins_ns FROM follower_positions") == [(begins_ns,)]
    cut.run(database, mend=True)
    assert fetch("SELECT begins_ns FROM follower_positions") == [(begins_ns,)]
    # Archived files were put back.
    source = cut.source()._replace(
        first=cut.all[0],
        records=lambda after: iter([it for it in cut.all if it.last_sequence > after]),
    )
    asyncio.run(Rebuild(database, HistorySettings(), source, lambda _: None).run(mend=True))
    assert fetch("SELECT begins_ns FROM follower_positions") == [(0,)]
    assert_events(fetch, cut.all)


@pytest.mark.parametrize(
    ("written", "lost_at", "mend"),
    [(30, 1, True), (30, 1, False), (30, 2, True), (80, 3, True), (80, 2, False)],
    ids=["copy", "copy to check", "tables behind", "compare", "compare to check"],
)
def test_what_goes_from_the_journal_between_two_reads_is_no_reason_to_change_rows(
    site: Site, database: str, fetch: Fetch, written: int, lost_at: int, mend: bool
) -> None:
    """As where files of it are dropped: the rows are right, and the journal lacks them."""
    kept = records(site)
    write(database, [kept[:written]])
    reads = 0

    def read(after_sequence: int) -> Iterator[Record]:
        nonlocal reads
        reads += 1
        durable = kept[:60] if reads == 1 else kept
        asked = [it for it in durable if it.last_sequence > after_sequence]
        return iter(asked[5:] if reads == lost_at else asked)

    source = Source(kept[0], read, lambda: None)
    with pytest.raises(RebuildRefused, match="run it again"):
        asyncio.run(Rebuild(database, KEPT, source, lambda _: None).run(mend=mend))
    assert reads == lost_at
    assert_events(fetch, kept[:written])
    assert fetch("SELECT sequence FROM follower_positions") == [(kept[written - 1].last_sequence,)]


@pytest.mark.parametrize("ended_by", [0, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_server_keeps_the_journal_for_the_time_of_a_rebuild(
    starter: Starter,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    ended_by: int,
) -> None:
    """As for a follower, which is gone at its end, however it ends."""
    _server, address = starter.server()
    kept: list[dict[str, int]] = []

    def followers() -> dict[str, int]:
        with grpc.insecure_channel(address) as channel:
            status = AdminServiceStub(channel).GetStatus(GetStatusRequest(), timeout=10)
        return {it.name: it.sequence for it in status.followers}

    @contextmanager
    def read(directory: Path, after_sequence: int) -> Iterator[Iterator[Record]]:
        kept.append(followers())
        if ended_by and len(kept) > 1:
            os.kill(os.getpid(), ended_by)
        with records_after(directory, after_sequence) as found:
            yield found

    monkeypatch.setattr(rebuild_command, "records_after", read)
    monkeypatch.setenv("POSTGRES_URL", database)
    with Load(address, "kept") as sending:
        sending.wait(2)
    if ended_by:
        # Whoever runs the tests may have it ignored, as `nohup` does.
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            with pytest.raises((KeyboardInterrupt, SystemExit)):
                run("--data-dir", str(starter.data_dir))
        finally:
            signal.signal(signal.SIGHUP, before)
    else:
        assert run("--data-dir", str(starter.data_dir)) == 0, capfd.readouterr().err
    assert kept == [{}, *[{"rebuild": 0}] * (len(kept) - 1)]
    assert len(kept) > 1
    assert followers() == {}


def test_what_is_set_for_servers_elsewhere_is_not_for_the_embedded_one(
    site: Site, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POSTGRES_URL", raising=False)
    monkeypatch.setattr(os, "environ", {**os.environ, "PGTARGETSESSIONATTRS": "standby"})
    (site.directory / URL_FILE_NAME).write_text(f"{database}\n", "ascii")
    assert run("--data-dir", str(site.directory)) == 0


def test_a_server_that_is_gone_at_the_end_is_told_of(
    site: Site, starter: Starter, capfd: pytest.CaptureFixture[str]
) -> None:
    """But where it never heard of it there is nothing to be done."""
    with DirectoryLock(site.directory) as lock:
        lock.announce("127.0.0.1:1")
        with kept_after(site.directory, 0, "rebuild"):
            pass
    assert not capfd.readouterr().err
    server, _address = starter.server()
    with kept_after(starter.data_dir, 0, "rebuild"):
        server.close()
    assert "exchange followers --remove rebuild" in capfd.readouterr().err


def test_a_journal_that_can_no_longer_be_read_is_not_taken_for_the_database(
    site: Site,
    database: str,
    rebuild: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """As where its server is ended meanwhile."""
    reads = 0

    @contextmanager
    def read_once(directory: Path, after_sequence: int) -> Iterator[Iterator[Record]]:
        nonlocal reads
        reads += 1
        if reads > 1:
            raise OSError("the server at 127.0.0.1:1 does not send it: it is stopping")
        with records_after(directory, after_sequence) as found:
            yield found

    monkeypatch.setattr(rebuild_command, "records_after", read_once)
    assert rebuild() == 1
    told = capfd.readouterr().err
    assert "the journal can't be read: the server at 127.0.0.1:1" in told
    assert "PostgreSQL" not in told


def test_tables_may_be_in_another_schema(
    site: Site, database: str, fetch: Fetch, rebuild: Callable[..., int]
) -> None:
    """As where the schema that everybody shares is closed to ordinary users."""
    schema = (
        'CREATE SCHEMA "Of its own"',
        f'ALTER DATABASE {database.rpartition("/")[2]} SET search_path = "Of its own"',
    )
    execute(database, *schema)
    write(database, [records(site)[:30]])
    assert rebuild() == 0
    assert_fold(fetch, site.engine)
    execute(database, TAMPERED["orders"], TAMPERED["trades"])
    assert rebuild() == 0
    assert_fold(fetch, site.engine)
    cut = CutJournal(site.directory)
    execute(database, 'DROP SCHEMA "Of its own" CASCADE', schema[0])
    cut.run(database, mend=True)
    assert write(database, []) == cut.site.engine.sequence
    assert fetch("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_who_may_not_make_its_schema_is_told_which_right_it_takes(
    site: Site,
    database: str,
    rebuild: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    user = "ordinary"
    execute(
        database,
        f"CREATE ROLE {user} LOGIN PASSWORD 'p'",
        f"CREATE SCHEMA AUTHORIZATION {user}",
    )
    own = re.sub("//.*@", f"//{user}:p@", database)
    monkeypatch.setenv("POSTGRES_URL", own)
    write(own, [records(site)])
    assert rebuild() == 1
    assert "GRANT CREATE ON DATABASE" in capfd.readouterr().err
    execute(database, f"GRANT CREATE ON DATABASE {database.rpartition('/')[2]} TO {user}")
    assert rebuild() == 0


def test_a_check_drops_no_month(tmp_path: Path, database: str, fetch: Fetch) -> None:
    """Of a database whose time to be kept was made shorter since."""
    site = Site(tmp_path / "months")
    for number, command in enumerate(settings()):
        site.commit(command, time_ns=START_NS + number * 100 * DAY_NS)
    site.close()
    all_records = records(site)
    write(database, [all_records])
    source = Source(all_records[0], lambda _: iter(all_records), lambda: None)
    kept = HistorySettings(events_keep_days=1)
    for mend, count in ((False, 2), (True, 1)):
        rebuild = Rebuild(database, kept, source, lambda _: None)
        assert not [it for it in asyncio.run(rebuild.run(mend=mend)).found if it.wrong]
        assert fetch("SELECT count(*) FROM order_events") == [(count,)]


def test_a_month_that_somebody_reads_is_not_waited_for(
    tmp_path: Path, database: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads after that would wait as well; without a month to drop nobody is in the way."""
    monkeypatch.setattr(rebuild_module, "READERS_MS", 50)
    site = Site(tmp_path / "months")
    for number, command in enumerate(settings()):
        site.commit(command, time_ns=START_NS + number * 100 * DAY_NS)
    site.close()
    all_records = records(site)
    write(database, [all_records[:1]])
    source = Source(all_records[0], lambda _: iter(all_records), lambda: None)

    async def run() -> None:
        reader = await asyncpg.connect(database)
        async with reader.transaction():
            await reader.fetch("SELECT FROM trades, order_events")
            everything = Rebuild(database, KEPT, source, lambda _: None)
            assert (await everything.run(mend=True)).sequence == all_records[-1].last_sequence
            short = HistorySettings(events_keep_days=1)
            with pytest.raises(RebuildRefused, match="while somebody reads"):
                await Rebuild(database, short, source, lambda _: None).run(mend=True)
        await reader.close()

    asyncio.run(run())
    assert fetch("SELECT count(*) FROM order_events") == [(2,)]


def test_a_month_that_was_detached_is_told_of_and_no_copies_stay(
    site: Site,
    database: str,
    fetch: Fetch,
    rebuild: Callable[..., int],
    capfd: pytest.CaptureFixture[str],
) -> None:
    write(database, [records(site)])
    ((month,),) = fetch("SELECT min(tableoid::regclass::text) FROM trades")
    fetch(f"ALTER TABLE trades DETACH PARTITION {month}")
    for options in ((), ("--check",)):
        assert rebuild(*options) == 1
        assert f"the table {month} is no partition of trades" in capfd.readouterr().err
        assert fetch("SELECT FROM pg_namespace WHERE nspname = 'exchange_rebuild'") == []
    fetch(f"ALTER TABLE {month} RENAME TO put_aside")
    assert rebuild() == 0
    assert_fold(fetch, site.engine)
    assert_events(fetch, records(site))
