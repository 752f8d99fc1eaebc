"""Faults 15 and 16: a real PostgreSQL that is absent, killed, paused, wiped, in a deadlock; a
follower that is killed; both far behind. Orders are taken all along, and afterwards the rows are
the journal's."""

import asyncio
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import psutil
import pytest

from bench.recovery import journaled, stream
from exchange.v1.admin_service_pb2 import GetStatusRequest
from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
from exchange.v1.order_service_pb2 import GetOrderRequest, SessionOutcome
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
from server.followers.postgres import PostgresFollower
from server.followers.probes import PostgresProbe
from server.followers.rows import Batch
from server.journal.record import BATCH, Record, decode_frame
from server.journal.recovery import recover
from server.journal.snapshots import write_snapshot
from server.outage_lines import reason
from server.supervisor import main
from tests.followers.conftest import PostgresServer
from tests.followers.test_postgres import Fetch, assert_events, assert_fold, records
from tests.journal.site import Site, every_command, trade
from tests.processes.load import Load
from tests.running import Running, Starter, free_port, until

CATCH_UP_S = 60.0
CLOSED = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
MORE = 10
"""Messages of load before and after a fault: 200 commands."""
BEHIND_EVENTS = 100_000
COMMANDS_BEHIND = 76_000
"""Of the order stream, that lead to so many events."""
_WIPE = "DO $$BEGIN DROP SCHEMA public CASCADE; CREATE SCHEMA public; END$$"
"""At once: a follower that finds no schema makes one."""
_FOLLOWER_WAITS = """SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'exchange follower' AND wait_event_type = 'Lock'"""


def follow(starter: Starter, address: str, database: str, *options: str) -> Running:
    places = ("--data-dir", str(starter.data_dir), "--server", address)
    follower = starter.run("follower", *places, *options, POSTGRES_URL=database)
    follower.wait_serving()
    return follower


def written(fetch: Fetch) -> int:
    """Up to where the tables are; 0 where there is nothing to ask."""
    try:
        rows = fetch("SELECT sequence FROM follower_positions")
    except (OSError, asyncpg.PostgresError):
        return 0
    return int(rows[0][0]) if rows else 0


def durable(address: str) -> int:
    with grpc.insecure_channel(address) as channel:
        status = AdminServiceStub(channel).GetStatus(GetStatusRequest(), timeout=10)
        return int(status.durable_sequence)


def assert_invariants(fetch: Fetch, acknowledged: dict[str, SessionOutcome]) -> None:
    """What the rows alone must say, and that all is there that clients were told."""
    orders = fetch("SELECT side::text, sum(filled_quantity) FROM orders GROUP BY 1")
    trades = fetch("SELECT sum(quantity) FROM trades")
    assert {filled for _, filled in orders} == {trades[0][0]}, "I3: fills of a side, and trades"
    assert fetch("SELECT sum(realised_pnl) = sum(total_cost) FROM client_positions") == [(True,)], (
        "I6: money"
    )
    assert fetch(
        "SELECT (SELECT sum(fees) FROM client_positions) = (SELECT sum(balance) FROM fees)"
    ) == [(True,)], "I6: fees"
    told = {
        trade.trade_id
        for outcome in acknowledged.values()
        if outcome.HasField("placed")
        for trade in outcome.placed.trades
    }
    there = fetch("SELECT 'T' || sequence || '-' || event_index FROM trades")
    assert told, "nothing traded"
    assert told <= {row[0] for row in there}, "I1: acknowledged trades are missing"


def assert_kept(fetch: Fetch, starter: Starter, tmp_path: Path) -> int:
    """I2 I3 I6 I9 of a stopped server's journal and the tables: the number of commands."""
    copy = tmp_path / "copy"
    shutil.copytree(starter.data_dir, copy)
    recovered = recover(copy)
    found = [it for it in map(decode_frame, recovered.log.follow(0)) if it.kind == BATCH]
    recovered.log.close()
    assert_fold(fetch, recovered.engine)
    assert_events(fetch, found)
    return int(recovered.engine.sequence)


def test_whatever_happens_to_it_under_load(
    starter: Starter,
    postgres: PostgresServer,
    database: str,
    fetch: Fetch,
    tmp_path: Path,
    figures: Callable[[str], None],
) -> None:
    """[I1 I2 I3 I6 I9 I13] Absent at the start, killed, paused, wiped; follower and server killed:
    no acknowledged trade is gone, no order has lost a fill."""
    postgres.kill()
    port = free_port()
    server, address = starter.server(port, POSTGRES_URL=database)
    follower = follow(starter, address, database)
    acknowledged: dict[str, SessionOutcome] = {}

    def under_load(fault: Callable[[], object]) -> Load:
        with Load(address, f"pg{len(acknowledged)}") as load:
            load.wait(MORE)
            fault()
            load.wait(load.answers + MORE)
        acknowledged.update(load.acknowledged)
        return load

    def follows(what: str) -> None:
        reached = durable(address)
        until(lambda: written(fetch) >= reached, CATCH_UP_S, what)

    under_load(postgres.start)
    follows("rows after its absence")
    process = psutil.Process(follower.pid)
    files, resident = process.num_fds(), process.memory_info().rss
    under_load(postgres.kill)
    postgres.start()
    follows("rows after a kill")
    load = under_load(lambda: postgres.signal(signal.SIGSTOP))
    assert read_order(address, load) == 1
    postgres.signal(signal.SIGCONT)
    follows("rows after a pause")
    under_load(lambda: fetch(_WIPE))
    follows("rows after the wipe")
    more_files, more = process.num_fds() - files, process.memory_info().rss - resident
    under_load(follower.kill)
    follower = follow(starter, address, database)
    follows("rows of another follower")
    with Load(address, "ended") as load:
        load.wait(MORE)
        server.kill()
    acknowledged.update(load.acknowledged)
    server, _ = starter.server(port, POSTGRES_URL=database)
    follows("rows after the server's end")
    assert_rebuilt_beside(fetch, starter, database)
    under_load(lambda: None)
    follows("rows after a rebuild")
    assert_invariants(fetch, acknowledged)
    assert more_files <= 4, f"I13: {more_files} more open files"
    # Beside the connections it holds the engine's copy, which grows by each order.
    assert more < 64 << 20, f"I13: {more >> 20} MiB more"
    follower.kill()
    assert server.terminate() == 0
    commands = assert_kept(fetch, starter, tmp_path)
    figures(
        "fault 15: PostgreSQL absent, killed, paused, wiped, rebuilt, follower and server killed:"
        f" {commands} commands taken meanwhile, rows equal the journal; I1 I2 I3 I6 I9 I13 hold"
        f" ({more >> 20} MiB and {more_files} files more)"
    )


def test_wiped_while_nothing_happens_it_fills_again(
    starter: Starter, database: str, fetch: Fetch
) -> None:
    """[I9] No command comes that would show it."""
    _server, address = starter.server(POSTGRES_URL=database)
    follow(starter, address, database)
    with Load(address, "wiped") as load:
        load.wait(1)
    reached = durable(address)
    until(lambda: written(fetch) >= reached, CATCH_UP_S, "rows")
    orders = fetch("SELECT * FROM orders ORDER BY placed_sequence")
    fetch(_WIPE)
    until(lambda: written(fetch) >= reached, CATCH_UP_S, "rows after the wipe")
    assert fetch("SELECT * FROM orders ORDER BY placed_sequence") == orders != []


def assert_rebuilt_beside(fetch: Fetch, starter: Starter, database: str) -> None:
    """While server and follower run: what was tampered with is put right, and stays so."""
    fetch("UPDATE client_positions SET net_quantity = net_quantity + 1")
    fetch("DELETE FROM trades WHERE sequence = (SELECT max(sequence) FROM trades)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POSTGRES_URL", database)
        assert main.main(["rebuild", "postgres", "--data-dir", str(starter.data_dir)]) == 0
    assert fetch("SELECT sum(net_quantity) FROM client_positions") == [(0,)]


def read_order(address: str, load: Load) -> int:
    """What memory holds is read without it: the quantity of the newest order, in whole units."""
    name = next(key for key in reversed(load.acknowledged) if load.sent[key].HasField("place"))
    with grpc.insecure_channel(address) as channel:
        request = GetOrderRequest(order_id=name)
        found = OrderServiceStub(channel).GetOrder(request, timeout=5)
    return int(found.order.quantity_e8 // load.sent[name].place.quantity_e8)


@pytest.mark.parametrize("after", ["_rows", "_lock_position"])
def test_cut_between_write_and_commit(
    database: str, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    """[I9] Fault 16: neither rows nor position are there, and the next attempt writes both once."""
    site = Site(tmp_path / "site")
    every_command(site)
    trade(site, 60)
    site.close()
    all_records = records(site)
    step = getattr(PostgresFollower, after)

    async def cut(self: PostgresFollower, connection: Any, *arguments: Any) -> None:
        await step(self, connection, *arguments)
        connection.terminate()
        raise ConnectionError("cut")

    async def run() -> None:
        follower = PostgresFollower(database)
        try:
            await follower.open()
            await follower.take(all_records[:20])
            with monkeypatch.context() as patch:
                patch.setattr(PostgresFollower, after, cut)
                with pytest.raises((ConnectionError, asyncpg.InterfaceError)):
                    await follower.take(all_records[20:])
        finally:
            await follower.close()
        try:
            assert (await follower.open()).sequence == all_records[19].last_sequence
            await follower.take(all_records[20:])
        finally:
            await follower.close()

    asyncio.run(run())
    assert_fold(fetch, site.engine)
    assert_events(fetch, all_records)


def test_what_the_journal_may_forget_is_not_forgotten_by_a_server_that_is_killed(
    postgres: PostgresServer, database: str, fetch: Fetch, tmp_path: Path
) -> None:
    """[I9] The embedded one commits asynchronously: its last moments are gone with it."""
    site = Site(tmp_path / "site")
    every_command(site)
    trade(site, 60)
    site.close()
    all_records = records(site)

    async def safe_after() -> list[int | None]:
        follower = PostgresFollower(database)
        try:
            await follower.open()
            safe = [await follower.take([record]) for record in all_records]
            postgres.kill()
        finally:
            await follower.close()
        return safe

    safe = asyncio.run(safe_after())
    postgres.start()
    kept = safe[-1]
    assert kept, "nothing was ever safe"
    assert kept <= written(fetch) <= all_records[-1].last_sequence
    asyncio.run(reopened(database, all_records))
    assert_fold(fetch, site.engine)


def test_where_it_is_when_it_is_opened_it_is_after_a_kill(
    postgres: PostgresServer, database: str, fetch: Fetch, tmp_path: Path
) -> None:
    """[I9] Though the one before it waited for no commit but the first."""
    site = Site(tmp_path / "site")
    every_command(site)
    trade(site, 60)
    site.close()
    first, *others = records(site)

    async def opened_again() -> int:
        before, after = PostgresFollower(database), PostgresFollower(database)
        try:
            await before.open()
            await before.take([first])
            await before.take(others)
            reached = await after.open()
            postgres.kill()
        finally:
            await before.close()
            await after.close()
        return reached.sequence

    reached = asyncio.run(opened_again())
    postgres.start()
    assert written(fetch) == reached == others[-1].last_sequence


def test_only_commits_that_were_waited_for_are_told_to_be_safe(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server commits asynchronously by default, as the embedded one does."""
    monkeypatch.setattr("server.followers.postgres.SETTLE_S", 3_600.0)
    site = Site(tmp_path / "site")
    every_command(site)
    site.close()
    commits: list[str] = []

    class Watched(PostgresFollower):
        async def _rows(self, connection: Any, batch: Batch) -> None:
            commits.append(await connection.fetchval("SHOW synchronous_commit"))
            await super()._rows(connection, batch)

    async def run() -> list[int | None]:
        follower = Watched(database)
        try:
            await follower.open()
            return [await follower.take([record]) for record in records(site)[:3]]
        finally:
            await follower.close()

    assert asyncio.run(run()) == [records(site)[0].last_sequence] * 3
    assert commits == ["on", "off", "off"]


async def reopened(database: str, all_records: list[Record]) -> None:
    """Takes what is missing."""
    follower = PostgresFollower(database)
    try:
        reached = await follower.open()
        await follower.take([it for it in all_records if it.last_sequence > reached.sequence])
    finally:
        await follower.close()


def test_a_connection_that_was_closed_is_told_as_such(database: str, fetch: Fetch) -> None:
    """Not by what the client's library was doing with it."""

    async def run() -> list[str]:
        follower, probe = PostgresFollower(database), PostgresProbe(database)
        told = []
        try:
            await follower.open()
            await probe.ask()
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid IN ({})"
            ids = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'exchange %'"
            assert await asyncio.to_thread(fetch, query.format(ids)) == [(True,)] * 2
            for ask in (follower.check, probe.ask):
                # The first may hear of it from the server.
                for _ in range(2):
                    with pytest.raises(CLOSED) as failed:
                        await ask()
                told.append(reason(failed.value))
        finally:
            await follower.close()
            await probe.close()
        return told

    assert asyncio.run(run()) == ["the server closed the connection"] * 2


@pytest.mark.parametrize("locked", ["client_positions", "orders"])
def test_a_deadlock_is_said_once_and_costs_nothing(
    starter: Starter, database: str, fetch: Fetch, tmp_path: Path, locked: str
) -> None:
    """[I1 I2 I3 I6 I9] Another session locks the same rows in the other order, and PostgreSQL ends
    the follower's transaction."""
    server, address = starter.server(POSTGRES_URL=database)
    follower = follow(starter, address, database)
    with Load(address, "before") as load:
        load.wait(1)
    acknowledged = dict(load.acknowledged)
    reached = durable(address)
    until(lambda: written(fetch) >= reached, CATCH_UP_S, "rows")

    async def in_the_other_order() -> None:
        connection = await asyncpg.connect(database, server_settings={"deadlock_timeout": "1h"})
        try:
            async with connection.transaction():
                await connection.execute(f"SELECT FROM {locked} FOR UPDATE")
                with Load(address, "after") as load:
                    await asyncio.to_thread(load.wait, MORE)
                acknowledged.update(load.acknowledged)
                await asyncio.to_thread(
                    until, lambda: fetch(_FOLLOWER_WAITS) == [(1,)], CATCH_UP_S, "its wait"
                )
                await connection.execute("SELECT FROM follower_positions FOR UPDATE")
                await asyncio.to_thread(follower.wait_line, "postgres is down")
        finally:
            await connection.close()

    asyncio.run(in_the_other_order())
    reached = durable(address)
    until(lambda: written(fetch) >= reached, CATCH_UP_S, "rows after the deadlock")
    assert_invariants(fetch, acknowledged)
    follower.kill()
    said = [line for line in follower.lines if "is down" in line]
    assert len(said) == 1
    assert said[0].startswith("postgres is down (DeadlockDetectedError: deadlock detected)")
    assert not [line for line in follower.lines if line.startswith("DETAIL")]
    assert server.terminate() == 0
    assert_kept(fetch, starter, tmp_path)


def test_a_hundred_thousand_events_behind_at_the_start(
    starter: Starter,
    database: str,
    fetch: Fetch,
    tmp_path: Path,
    figures: Callable[[str], None],
) -> None:
    """[I2 I3 I6 I9] It catches up while orders are taken."""
    engine, log = journaled(starter.data_dir, stream(COMMANDS_BEHIND))
    write_snapshot(starter.data_dir, engine, log.mark)
    log.close()
    server, address = starter.server()
    began = time.monotonic()
    # The stream begins in 1970.
    settings = tmp_path / "settings.toml"
    settings.write_text("[history]\nevents_keep_days = 0\n")
    follower = follow(starter, address, database, "--config", str(settings))
    with Load(address, "behind") as load:
        load.wait(5)
        sequence = durable(address)
    until(lambda: written(fetch) >= sequence, CATCH_UP_S, "all of it")
    seconds = time.monotonic() - began
    events = fetch("SELECT count(*) FROM order_events")[0][0]
    assert events >= BEHIND_EVENTS
    follower.kill()
    assert server.terminate() == 0
    assert_kept(fetch, starter, tmp_path)
    figures(
        f"fault 15: {events} events behind at the start, caught up in {seconds:.1f} s"
        " while orders were taken; I2 I3 I6 I9 hold"
    )
