"""How the outside parts are: asked of real ones, told to a real server, shown at once."""

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from exchange.http.v1 import system_service_pb2
from exchange.v1 import part_service_pb2
from exchange.v1.order_service_pb2 import PlaceOrderRequest
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
from exchange.v1.part_service_pb2 import ListPartsRequest, PartStatus
from exchange.v1.part_service_pb2_grpc import PartServiceStub
from server.followers import probes
from server.followers.journal_reader import Reached
from server.limits.limiter import Limiter, limiters
from server.outage_lines import LINES_MAX, WINDOW_S, OutageLines, reason
from server.rpc.rate_limits import judge_of
from server.settings import RateLimits
from tests.followers.conftest import PostgresServer
from tests.running import BUSY_S, START_S, Running, Starter, free_port, until

SHOWN_S = 2.0
"""A part that died is shown as down within that."""
ANSWER_S = 0.5
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def test_a_part_that_keeps_failing_is_left_alone_and_said_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    said: list[str] = []

    class Refusing:
        async def ask(self) -> None:
            raise ConnectionRefusedError("nobody is there")

        async def close(self) -> None:
            pass

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == probes.BREAKER_FAILURES + 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", pause)
    followed: Any = SimpleNamespace(name="redis", problem="", reached=Reached(0))
    part = probes.Probing(Refusing(), followed, said.append)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(part.run())
    tried = [probes.INTERVAL_S] * (probes.BREAKER_FAILURES - 1)
    assert pauses == tried + [probes.BREAKER_S] * 4
    assert said == [
        "redis does not answer (ConnectionRefusedError: nobody is there); asking until it does"
    ]
    assert "nobody is there" in part.report().problem


def test_each_outage_of_a_part_is_said_and_what_its_follower_says_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    problems = iter(("away", "", "away"))
    reports: list[str] = []

    class Changing:
        async def ask(self) -> None:
            if problem := next(problems):
                raise ConnectionRefusedError(problem)

        async def close(self) -> None:
            pass

    async def pause(seconds: float) -> None:
        assert seconds == probes.INTERVAL_S
        reports.append(part.report().problem)
        if len(reports) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", pause)
    following: Any = SimpleNamespace(name="redis", problem="", reached=Reached(7))
    part = probes.Probing(Changing(), following, said.append)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(part.run())
    assert [line.partition(" (")[0] for line in said] == [
        "redis does not answer",
        "redis answers again",
        "redis does not answer",
    ]
    away = "ConnectionRefusedError: away"
    assert reports == [away, "", away]
    part._problem, following.problem = "", "its tables are of another exchange"
    assert (part.report().problem, part.report().sequence) == (following.problem, 7)


def test_lines_about_a_part_that_comes_and_goes_are_bounded() -> None:
    now_s, said = 0.0, list[str]()
    lines = OutageLines(said.append, lambda: now_s)
    for number in range(100):
        lines(str(number))
    assert said[:-1] == [str(number) for number in range(LINES_MAX - 1)]
    assert said[-1] == f"{LINES_MAX - 1}; it comes and goes, no more is said of it for 60 s"
    now_s = WINDOW_S + 1
    lines("again")
    assert said[-1] == "again"


def test_an_end_of_a_wait_says_what_it_was() -> None:
    """Of most libraries it has no text."""
    assert reason(TimeoutError()) == "TimeoutError: no answer in time"
    assert reason(TimeoutError("nothing within 2 s")) == "TimeoutError: nothing within 2 s"


def test_neither_parts_nor_health_draw_on_a_rate() -> None:
    limits = RateLimits(orders_per_s=1, cancels_per_s=1, queries_per_s=1)
    budgets = limiters(limits, Limiter)
    for file, name in ((part_service_pb2, "PartService"), (system_service_pb2, "SystemService")):
        service = file.DESCRIPTOR.services_by_name[name]
        assert service.methods
        assert not [it.name for it in service.methods if judge_of(it, budgets)]


class Site:
    """A server and a follower of one PostgreSQL."""

    def __init__(self, starter: Starter, *options: str) -> None:
        self.server, self.address = starter.server(None, *options)
        self._channel = grpc.insecure_channel(self.address)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)
        self.follower: Running = starter.run(
            "follower", "--data-dir", str(starter.data_dir), "--server", self.address, *options
        )

    def part(self, name: str) -> PartStatus:
        listed = PartServiceStub(self._channel).ListParts(ListPartsRequest(), timeout=10)
        return next(part for part in listed.parts if part.name == name)

    def until(self, name: str, state: str, seconds: float = START_S) -> PartStatus:
        until(lambda: self.part(name).state == state, seconds, f"{name} {state}")
        return self.part(name)

    def answer_s(self) -> float:
        """How long an answer about the parts takes; a busy machine may hold up one, not all."""
        times_s = []
        for _ in range(5):
            began = time.monotonic()
            self.part("redis")
            times_s.append(time.monotonic() - began)
        return min(times_s)

    def service_status(self, name: str) -> int:
        """As the standard health service has it."""
        request = health_pb2.HealthCheckRequest(service=name)
        return int(self._health.Check(request, timeout=10).status)

    def place(self) -> None:
        fields: Any = {"side": 1, "type": 1, "price_e8": 10, "quantity_e8": 10}
        request = PlaceOrderRequest(client_id="alice", instrument="BTC-USD", **fields)
        OrderServiceStub(self._channel).PlaceOrder(request, timeout=10)


def test_idle_part_that_dies_shows_within_two_seconds(
    starter: Starter,
    postgres: PostgresServer,
    database: str,
    figures: Callable[[str], None],
) -> None:
    site = Site(starter, "--postgres-url", database)
    site.until("postgres", "healthy")
    until(lambda: site.service_status("postgres") == SERVING, SHOWN_S + BUSY_S)
    assert site.part("kafka").state == "disabled"
    postgres.process.send_signal(signal.SIGKILL)
    killed_s = time.monotonic()
    site.until("postgres", "down", SHOWN_S + BUSY_S)
    figures(f"a dead PostgreSQL is shown after {time.monotonic() - killed_s:.2f} s")
    site.place()
    down = site.part("postgres")
    assert down.events_behind == 1
    assert down.problem
    until(
        lambda: site.service_status("postgres") == NOT_SERVING,
        SHOWN_S + BUSY_S,
    )
    # Orders are taken, so the server serves.
    assert site.service_status("") == SERVING
    postgres.process.wait(10)
    postgres.start()
    assert site.until("postgres", "healthy").events_behind == 0
    said = [line for line in site.follower.lines if "postgres does not answer" in line]
    assert len(said) == 1, site.follower.lines
    site.follower.kill()
    site.until("postgres", "down", SHOWN_S + BUSY_S)


def test_part_that_hangs_is_down_and_delays_no_answer(starter: Starter) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
        site = Site(starter, "--redis-url", url)
        until(lambda: "no answer" in site.part("redis").problem, START_S)
        assert site.part("redis").state == "down"
        assert site.answer_s() < ANSWER_S
        site.place()
