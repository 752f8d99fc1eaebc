"""Fault 15: the disk of a real PostgreSQL is full: that of its tables, and that of its log."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import grpc
import pytest

from exchange.v1.part_service_pb2 import ListPartsRequest, PartStatus
from exchange.v1.part_service_pb2_grpc import PartServiceStub
from server.supervisor.embedded.postgres import PostgresMissing
from tests.followers.conftest import PostgresServer
from tests.followers.small_disk import SmallDisk
from tests.followers.test_postgres import Fetch
from tests.followers.test_postgres_faults import (
    CATCH_UP_S,
    MORE,
    assert_invariants,
    assert_kept,
    durable,
    follow,
    read_order,
    written,
)
from tests.processes.load import Load
from tests.running import Starter, until

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 and not os.environ.get("CI"), reason="only root can mount a small disk"
)

DISK_BYTES = 64 << 20
"""Two segments of PostgreSQL's log, and some of its tables."""
TABLES, LOG = "tables", "pg_wal"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk", DISK_BYTES)
    yield disk
    disk.close()


@pytest.fixture
def postgres(disk: SmallDisk, tmp_path: Path, on_it: str) -> Iterator[PostgresServer]:
    try:
        server = PostgresServer(tmp_path / "postgres", disk, LOG if on_it == LOG else "")
    except PostgresMissing as missing:
        pytest.skip(str(missing))
    yield server
    server.kill()


@pytest.fixture
def database(postgres: PostgresServer, disk: SmallDisk, on_it: str) -> str:
    if on_it == LOG:
        return postgres.database()
    (disk.path / TABLES).mkdir(mode=0o700)
    run(postgres.url, f"CREATE TABLESPACE small LOCATION '{disk.place / TABLES}'")
    return postgres.database("small")


def run(url: str, statement: str) -> None:
    async def connected() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(connected())


def has_ended(postgres: PostgresServer) -> bool:
    """A segment of its log further on, of which one may have been made ahead."""
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        run(postgres.url, "SELECT pg_switch_wal()")
        run(postgres.url, "CREATE TEMPORARY TABLE something_to_log ()")
    return postgres.process.poll() is not None


def told(address: str) -> PartStatus:
    """What health says of it."""
    with grpc.insecure_channel(address) as channel:
        parts = PartServiceStub(channel).ListParts(ListPartsRequest(), timeout=10).parts
    return next(part for part in parts if part.name == "postgres")


@pytest.mark.parametrize("on_it", [TABLES, LOG])
def test_a_full_disk_costs_no_order_and_no_row(
    starter: Starter,
    postgres: PostgresServer,
    database: str,
    fetch: Fetch,
    disk: SmallDisk,
    tmp_path: Path,
    figures: Callable[[str], None],
    on_it: str,
) -> None:
    """[I1 I2 I3 I6 I9] Orders are taken while nothing can be written; with room again the rows are
    the journal's. Without room for its log PostgreSQL ends, and does not start again."""
    server, address = starter.server(POSTGRES_URL=database)
    follower = follow(starter, address, database)
    acknowledged = {}
    with Load(address, "before") as load:
        load.wait(MORE)
    acknowledged.update(load.acknowledged)
    until(lambda: told(address) == PartStatus(name="postgres", state="healthy"), CATCH_UP_S)
    disk.fill()
    if on_it == LOG:
        until(lambda: has_ended(postgres), CATCH_UP_S, "its end")
    with Load(address, "full") as load:
        until(lambda: told(address).state == "down", CATCH_UP_S, "a PostgreSQL told to be down")
        load.wait(load.answers + MORE)
        assert read_order(address, load) == 1
    acknowledged.update(load.acknowledged)
    down = told(address)
    assert down.events_behind > 0
    assert ("No space left on device" if on_it == TABLES else "") in down.problem
    assert down.problem
    disk.free()
    if on_it == LOG:
        postgres.start()
    with Load(address, "free") as load:
        load.wait(MORE)
    acknowledged.update(load.acknowledged)
    reached = durable(address)
    until(lambda: written(fetch) >= reached, CATCH_UP_S, "rows once there is room")
    until(lambda: told(address) == PartStatus(name="postgres", state="healthy"), CATCH_UP_S)
    assert_invariants(fetch, acknowledged)
    follower.kill()
    assert not [it for it in follower.lines if "Traceback" in it or it.startswith("HINT")]
    assert server.terminate() == 0
    commands = assert_kept(fetch, starter, tmp_path)
    figures(
        f"fault 15: the disk of PostgreSQL's {on_it} full: {commands} commands taken, rows equal"
        " the journal; I1 I2 I3 I6 I9 hold"
    )
