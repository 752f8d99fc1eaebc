"""A real PostgreSQL and a real Kafka for the tests of followers, started once for a module: each
test gets a database of its own, and a broker without topics."""

import asyncio
import contextlib
import itertools
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from server.supervisor.embedded import postgres as embedded_postgres
from server.supervisor.embedded.postgres import PostgresMissing
from tests.followers.kafka_site import Broker
from tests.followers.small_disk import SmallDisk
from tests.running import START_S, free_port

_numbers = itertools.count(1)


class PostgresServer:
    """A cluster, and the process that serves it."""

    def __init__(self, data_dir: Path, disk: SmallDisk | None = None, on_it: str = "") -> None:
        self.directory = embedded_postgres.prepare(data_dir)
        self._enter: Sequence[str] = ()
        if disk is not None:
            self._enter = disk.enter
            if on_it:
                disk.take_over(self.directory / on_it)
        self.port = free_port()
        self.url = embedded_postgres.url(data_dir, self.port)
        self.start()

    def start(self) -> None:
        command = [*self._enter, *embedded_postgres.command(self.directory, self.port)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while True:
            try:
                asyncio.run(self._connected())
                return
            except (OSError, asyncpg.PostgresError):
                assert self.process.poll() is None, "postgres ended"
                assert time.monotonic() < deadline, "postgres does not serve"
                time.sleep(0.02)

    async def _connected(self) -> None:
        await (await asyncpg.connect(self.url)).close()

    def signal(self, number: int) -> None:
        """To all of its processes, of which some end just then."""
        process = psutil.Process(self.process.pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(START_S)

    def database(self, tablespace: str = "pg_default") -> str:
        """The address of an empty database."""
        name = f"test_{next(_numbers)}"

        async def create() -> None:
            connection = await asyncpg.connect(self.url)
            await connection.execute(f"CREATE DATABASE {name} TABLESPACE {tablespace}")
            await connection.close()

        asyncio.run(create())
        return self.url.removesuffix("/postgres") + f"/{name}"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    try:
        server = PostgresServer(tmp_path_factory.mktemp("postgres"))
    except PostgresMissing as missing:
        pytest.skip(str(missing))
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    return postgres.database()


@pytest.fixture
def fetch(database: str) -> Callable[..., list[Any]]:
    """Rows of a query, as tuples."""

    async def rows(query: str) -> list[Any]:
        connection = await asyncpg.connect(database)
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    def run(query: str) -> list[Any]:
        found: Coroutine[Any, Any, list[Any]] = rows(query)
        return asyncio.run(found)

    return run


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def broker(kafka: Broker, figures: Callable[[str], None]) -> Iterator[Broker]:
    """A broker that runs, whatever a test before did to it, and no topics."""
    code = kafka.exit_code()
    if code is not None:
        figures(f"Kafka had ended with {code} before this test, and was started again")
        kafka.start()
        kafka.delete(*kafka.topics())
    yield kafka
    kafka.delete(*kafka.topics())
