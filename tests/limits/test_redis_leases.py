"""Budgets that front ends share through a real Redis, and what becomes of them without it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from exchange.v1.order_service_pb2 import PlaceOrdersRequest
from server.delays import FIRST_S, Delays
from server.limits import redis_leases
from server.limits.leases import LeasedLimiter
from server.limits.limiter import limiters
from server.limits.redis_leases import FRONT_ENDS, PREFIX, SCRIPT, RedisLeases
from server.outage_lines import LINES_MAX
from server.settings import RateLimits
from tests.followers.redis_site import Site
from tests.rpc.served import BUY, E8, order, refused, serving, until
from tests.running import START_S

LIMITS = RateLimits(orders_per_s=100, cancels_per_s=100, queries_per_s=5)
BLOCK = 10


class FrontEnd:
    """What a server has of it."""

    def __init__(self, url: str) -> None:
        self.said: list[str] = []
        self.limiters = limiters(LIMITS, LeasedLimiter)
        self.leases = RedisLeases(url, self.limiters, self.said.append)
        self.orders: LeasedLimiter = self.limiters["orders"]

    def is_ready(self, alone: bool) -> bool:
        is_alone = self.orders.is_alone(time.monotonic_ns())
        return self.leases.shared and is_alone == alone and not self.orders._joining

    def passes(self, holder: str = "client a") -> bool:
        return not self.orders.take({holder: 1}).retry_after_ns


@asynccontextmanager
async def front_ends(redis: Site, count: int) -> AsyncIterator[list[FrontEnd]]:
    """So many, which know of each other."""
    redis.flush()
    there = [FrontEnd(redis.url) for _ in range(count)]
    for each in there:
        each.leases.start()
    try:
        alone = count == 1
        await until(lambda: all(it.is_ready(alone) for it in there))
        yield there
    finally:
        for each in there:
            await each.leases.stop()


async def passed(there: list[FrontEnd], seconds: float) -> int:
    """How many orders of one client pass, sent through all of them as fast as that goes."""
    ends, count = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        count += sum(each.passes() for each in there)
        await asyncio.sleep(0)
    return count


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine an answer takes long, and in process each has a budget of its own."""
    monkeypatch.setattr(redis_leases, "SLOW_S", redis_leases.ANSWER_S)


@pytest.mark.asyncio
@pytest.mark.usefixtures("patient")
async def test_two_front_ends_share_one_budget(redis: Site) -> None:
    async with front_ends(redis, 2) as there:
        began = time.monotonic()
        count = await passed(there, 1.0)
        seconds = time.monotonic() - began
        burst_and_rate = LIMITS.orders_per_s * (1 + seconds)
        assert count <= burst_and_rate + 2 * BLOCK
        assert count >= 0.5 * burst_and_rate, "what is leased is used"
        assert there[0].passes("client b"), "others have budgets of their own"


@pytest.mark.asyncio
async def test_alone_a_whole_burst_passes_at_once_and_the_next_front_end_knows(
    redis: Site,
) -> None:
    async with front_ends(redis, 1) as [first]:
        assert sum(first.passes() for _ in range(300)) == LIMITS.orders_per_s
        with redis.client() as client:
            key = f"{PREFIX}orders:client a"

            def charged() -> bool:
                return float(client.hget(key, "used") or 0) > 0.5 * LIMITS.orders_per_s

            await until(charged)
        second = FrontEnd(redis.url)
        second.leases.start()
        await until(lambda: second.leases.shared)
        count = sum([second.passes() for _ in range(100)])
        await second.leases.stop()
        assert count <= BLOCK, "credit, before it has heard of this client"


@pytest.mark.asyncio
@pytest.mark.usefixtures("patient")
async def test_one_that_joins_a_lonely_one_adds_no_burst(
    redis: Site, figures: Callable[[str], None]
) -> None:
    """The first knows nothing of the second until it asks the next time."""
    async with front_ends(redis, 1) as [first]:
        asked = first.leases.renewals
        await until(lambda: first.leases.renewals > asked)
        second = FrontEnd(redis.url)
        began = time.monotonic()
        second.leases.start()
        count = sum(second.passes() for _ in range(300))
        count += await passed([second], redis_leases.HEARTBEAT_S / 2)
        count += sum(first.passes() for _ in range(300))
        count += await passed([first, second], 0.5)
        budget = LIMITS.orders_per_s * (1 + time.monotonic() - began)
        await second.leases.stop()
        figures(f"rate limits: a second front end joins, {count} orders of {budget:.0f} pass")
        assert count <= budget + 2 * BLOCK


@pytest.mark.asyncio
@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("spent_s", [0.02, 0.5])
async def test_emptied_it_gives_nobody_another_burst(
    redis: Site, figures: Callable[[str], None], spent_s: float
) -> None:
    async with front_ends(redis, 2) as there:
        began = time.monotonic()
        count = await passed(there[:1], spent_s / 2)
        count += await passed(there, spent_s / 2)
        redis.flush()
        count += await passed(there, 0.7)
        budget = LIMITS.orders_per_s * (1 + time.monotonic() - began)
        figures(f"rate limits: FLUSHALL after {spent_s} s, {count} orders of {budget:.0f} pass")
        assert count <= budget + 2 * BLOCK
        assert count >= 0.5 * budget, "and nobody is held up"


@pytest.mark.asyncio
@pytest.mark.usefixtures("patient")
async def test_emptied_it_gives_no_burst_to_who_changes_front_ends(redis: Site) -> None:
    """The other front end is the first to ask, has never heard of him, and sees nobody else."""
    async with front_ends(redis, 2) as [first, other]:
        began = time.monotonic()
        count = await passed([first], 0.1)
        redis.flush()
        asked = other.leases.renewals
        other.orders.wake()
        await until(lambda: other.leases.renewals > asked)
        count += sum(other.passes() for _ in range(300))
        count += await passed([other], 0.5)
        assert count <= LIMITS.orders_per_s * (1 + time.monotonic() - began) + 2 * BLOCK


@pytest.mark.asyncio
async def test_nothing_is_said_of_a_redis_that_starts_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    front = FrontEnd("redis://127.0.0.1:1")
    front.leases.start()
    assert not front.leases.shared, "until it is heard of"
    await until(lambda: front.leases.failures >= 2)
    assert front.said == []
    monkeypatch.setattr(redis_leases, "STARTING_S", 0.0)
    await until(lambda: front.said != [])
    await front.leases.stop()


@pytest.mark.asyncio
async def test_one_that_comes_and_goes_is_not_told_of_for_ever(
    redis: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    class Noted(Delays):
        def next_s(self) -> float:
            waits.append(super().next_s())
            return waits[-1]

    monkeypatch.setattr(redis_leases, "Delays", Noted)
    async with front_ends(redis, 1) as [front]:
        with redis.client() as client:
            for outage in range(1, LINES_MAX):
                client.client_kill_filter(_type="normal")
                await until(lambda: front.leases.failures >= outage and front.leases.shared)  # noqa: B023
        assert len(front.said) == LINES_MAX
        assert "no more is said" in front.said[-1]
    assert max(waits) <= FIRST_S, "each time it is back soon"


@pytest.mark.asyncio
async def test_paused_killed_and_emptied_it_keeps_limiting(
    redis: Site,
) -> None:
    async with front_ends(redis, 1) as [front]:
        began = time.monotonic()
        with redis.paused():
            count = await passed([front], 0.3)
            assert not front.leases.shared
        assert count <= LIMITS.orders_per_s * (1 + time.monotonic() - began)
        await until(lambda: front.leases.shared)
        assert front.said == [], "an answer that was late is no failure"
        redis.kill()
        began = time.monotonic()
        count = await passed([front], 0.5)
        assert count <= LIMITS.orders_per_s * (1 + time.monotonic() - began)
        assert not front.leases.shared
        await until(lambda: front.leases.failures >= 3)
        assert len(front.said) == 1, "said once, not for each attempt"
        assert front.said[0].startswith("rate limits are kept in process: redis is away (Conn")
        redis.start()
        await until(lambda: front.leases.shared)
        assert front.said[1:] == ["rate limits are shared through redis again"]
        began = time.monotonic()
        working = asyncio.create_task(passed([front], 0.3))
        redis.flush()
        with redis.client() as client:
            client.script_flush()
        assert await working <= LIMITS.orders_per_s * (1 + time.monotonic() - began)
        await until(lambda: front.leases.shared)


@pytest.mark.asyncio
@pytest.mark.usefixtures("patient")
async def test_who_goes_is_forgotten_and_who_is_left_has_a_whole_burst_again(redis: Site) -> None:
    async with front_ends(redis, 2) as [first, second]:
        await second.leases.stop()
        assert not second.leases.shared
        await until(lambda: first.is_ready(alone=True))
    with redis.client() as client:
        assert client.exists(FRONT_ENDS)
        await until(lambda: not client.exists(FRONT_ENDS))


@pytest.mark.asyncio
@pytest.mark.usefixtures("patient")
async def test_more_than_one_call_takes_is_asked_for_in_calls_one_after_the_other(
    redis: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_leases, "HEARTBEAT_S", 60.0)
    monkeypatch.setattr(redis_leases, "HOLDERS_MAX", 3)
    async with front_ends(redis, 1) as [front]:
        asked: list[int] = []
        wishes = front.leases._wishes

        def noted() -> object:
            found = wishes()
            asked.append(len(found))
            return found

        monkeypatch.setattr(front.leases, "_wishes", noted)
        for limiter in (front.orders, front.limiters["cancels"]):
            limiter.join(0)
            for number in range(4):
                assert not limiter.take({f"client {number}": 1}).retry_after_ns
        await until(lambda: sum(asked) >= 8)
        assert asked[:3] == [3, 3, 2]


def test_the_script_leases_whole_units_and_no_more_than_there_is(redis: Site) -> None:
    """Of 10 a second 5.5 are known to be charged, and 4.5 left."""
    redis.flush()
    with redis.client() as client:
        answer = client.eval(SCRIPT, 2, FRONT_ENDS, f"{PREFIX}a", "x", 10**6, 10, 550_000, 0, 10)
    assert answer == [1, 1, 4, 950_000]


def test_what_is_charged_stays_where_the_clock_of_redis_is_set_back(redis: Site) -> None:
    redis.flush()
    with redis.client() as client:
        hour_s = client.time()[0] + 3_600
        client.hset(f"{PREFIX}a", mapping={"used": "5", "at": str(hour_s * 10**6)})
        answer = client.eval(SCRIPT, 2, FRONT_ENDS, f"{PREFIX}a", "x", 10**6, 10, 0, 1, 2)
    assert answer == [1, 1, 2, 800_000]


@pytest.mark.asyncio
async def test_keys_go_when_they_are_paid_off(redis: Site) -> None:
    async with front_ends(redis, 2) as there:
        assert all(each.passes(f"client {number}") for each in there for number in range(20))
        with redis.client() as client:
            pattern = f"{PREFIX}orders:*"
            await until(lambda: len(client.keys(pattern)) == 20)
            await until(lambda: client.keys(pattern) == [])
        await until(lambda: all(each.leases.held == 0 for each in there))


@pytest.mark.asyncio
async def test_a_server_limits_with_redis_and_without(redis: Site, tmp_path: Path) -> None:
    redis.kill()
    rates = RateLimits(orders_per_s=3)

    def many_of(client: str) -> PlaceOrdersRequest:
        """More than are paid off while the test runs."""
        return PlaceOrdersRequest(orders=[order(client, BUY, E8)] * 300)

    async with serving(tmp_path / "data", rates=rates, redis_url=redis.url) as served:
        await served.orders.PlaceOrders(many_of("c-1"))
        _, info = await refused(served.orders.PlaceOrder(order("c-1", BUY, E8)))
        assert info.reason == "RATE_LIMITED"
        assert b"rate_limits_shared 0.0" in await served.exchange._metrics.text()
        redis.start()
        leases = served.exchange._leases
        assert leases is not None
        await until(lambda: leases.shared)
        elsewhere = (("x-forwarded-for", "10.0.0.2"),)
        await served.orders.PlaceOrders(many_of("c-2"), metadata=elsewhere)
        call = served.orders.PlaceOrder(order("c-2", BUY, E8), metadata=elsewhere)
        _, info = await refused(call)
        assert info.reason == "RATE_LIMITED"
        with redis.client() as client:
            await until(lambda: client.exists(f"{PREFIX}orders:client c-2"))
        text = await served.exchange._metrics.text()
        assert b"rate_limits_shared 1.0" in text
        assert b"rate_lease_renewals_total" in text


@pytest.mark.asyncio
@pytest.mark.parametrize("key", [FRONT_ENDS, f"{PREFIX}orders:client c-1"])
async def test_a_key_of_another_kind_is_named_to_whoever_asks_for_health(
    redis: Site, tmp_path: Path, key: str
) -> None:
    """Limits hold meanwhile, and are shared again once it is gone."""
    redis.flush()
    async with serving(tmp_path / "data", rates=RateLimits(), redis_url=redis.url) as served:
        leases, status = served.exchange._leases, served.exchange._status
        assert leases is not None
        await until(lambda: leases.shared)
        with redis.client() as client:
            client.set(key, "somebody's")
            async with asyncio.timeout(START_S):
                while not any(sentence.endswith(f": {key})") for sentence in status.degraded()):
                    await served.orders.PlaceOrder(order("c-1", BUY, E8))
                    await asyncio.sleep(0.01)
            assert leases.problem.startswith(
                "rate limits are kept in process: redis refuses (ResponseError: WRONGTYPE"
            )
        redis.kill()
        away = "rate limits are kept in process: redis is away ("
        await until(lambda: leases.problem.startswith(away))
        redis.start()
        await until(lambda: leases.shared)
        assert not leases.problem
