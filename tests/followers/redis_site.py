"""A real Redis for a module's tests, on a port that it keeps across restarts."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis, RedisError

from server.supervisor.embedded import redis as embedded_redis
from tests.running import free_port

START_S = 30.0


class Site:
    """A server, which may be ended, paused and emptied."""

    def __init__(self, directory: Path) -> None:
        try:
            self._program = embedded_redis.install(print)
        except embedded_redis.RedisMissing as missing:
            # Where CI is set, a skip is a failure.
            pytest.skip(f"no Redis here, so what needs it is not tested: {missing}")
        port = free_port()
        self.url = embedded_redis.url(directory, port)
        self._configuration = embedded_redis.prepare(directory, port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Until it answers."""
        self._process = subprocess.Popen(
            [*embedded_redis.command(self._program, self._configuration), "--databases", "4"],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_S
        while True:
            assert self._process.poll() is None, "redis ended"
            try:
                with self.client() as client:
                    client.ping()
                return
            except RedisError:
                assert time.monotonic() < deadline, "redis does not serve"
                time.sleep(0.01)

    def client(self) -> Redis:
        """To look inside; to be closed."""
        return Redis.from_url(self.url, socket_timeout=10)

    def database(self, number: int) -> str:
        """The address of one of its databases."""
        return f"{self.url.removesuffix('0')}{number}"

    def flush(self) -> None:
        """Everything that it had is gone."""
        with self.client() as client:
            client.flushall()

    def kill(self) -> None:
        """End it the hard way."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It takes what is sent and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all tests of a module."""
    site = Site(tmp_path_factory.mktemp("redis"))
    site.start()
    yield site
    site.kill()
