"""Outcomes of keys in a real Redis: a repeat gets its own, and nothing is decided by it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from exchange.v1.admin_service_pb2 import GetStatusRequest
from exchange.v1.order_service_pb2 import PlaceOrderRequest, PlaceOrderResponse
from server import key_outcomes
from server.core.commands import Command, PlaceOrder, SetInstrument
from server.core.engine import Engine
from server.core.instruments import Instrument
from server.core.types import Stamp
from server.followers.redis import RedisFollower
from server.journal.payload import encode_batch
from server.journal.record import BATCH, Record, decode_frame
from server.key_outcomes import LIFE_NS, name_of
from server.rpc import recent_outcomes
from server.rpc.recent_outcomes import LOOKUPS_MAX
from server.settings import SequencerLimits
from tests.followers.redis_site import Site
from tests.rpc.served import BUY, E8, SELL, HeldJournal, Served, order, refused, serving, until
from tests.running import free_port

TIGHT = SequencerLimits(commands_waiting_max=1)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no failure of Redis."""
    monkeypatch.setattr(recent_outcomes, "ANSWER_S", 5.0)


@asynccontextmanager
async def served_with(redis: Site, directory: Path) -> AsyncIterator[Served]:
    """A server whose engine takes one command at a time."""
    redis.flush()
    settings = {"sequencer": TIGHT, "redis_url": redis.url}
    async with serving(directory, **settings) as served:
        yield served


async def tell(redis: Site, served: Served, directory: Path) -> None:
    """Bring everything that is durable to Redis, as the follower does."""
    follower = RedisFollower(redis.url, directory)
    await follower.open()
    records = [it for it in map(decode_frame, served.exchange._log.follow(0)) if it.kind == BATCH]
    await follower.take(records)
    await follower.close()


@asynccontextmanager
async def nothing_is_taken(served: Served) -> AsyncIterator[None]:
    """As many commands wait for the journal as may."""
    with HeldJournal(served) as held:
        sequencer, filling = served.exchange.sequencer, []
        before = sequencer.engine.sequence
        while sequencer._open is None:
            call = served.orders.PlaceOrder(order("filler", BUY, 1))
            filling.append(asyncio.ensure_future(call))
            await until(lambda: sequencer.engine.sequence == before + len(filling))
            await until(held.entered.is_set)
        yield
    await asyncio.gather(*filling)


def keyed(**changes: Any) -> PlaceOrderRequest:
    return order("c-1", BUY, 5 * E8, **{"idempotency_key": "k-1", **changes})


def without_mark(reply: PlaceOrderResponse) -> PlaceOrderResponse:
    assert reply.repeated
    reply.repeated = False
    return reply


@pytest.mark.asyncio
async def test_a_repeat_is_answered_while_nothing_is_taken_and_nothing_else_is(
    redis: Site, tmp_path: Path
) -> None:
    async with served_with(redis, tmp_path / "data") as served:
        await served.orders.PlaceOrder(order("maker", SELL, 5 * E8, quantity_e8=4))
        first = await served.orders.PlaceOrder(keyed())
        assert first.trade_count == 1
        await tell(redis, served, tmp_path / "data")
        async with nothing_is_taken(served):
            assert without_mark(await served.orders.PlaceOrder(keyed())) == first
            for other in (
                keyed(quantity_e8=11),
                keyed(idempotency_key="k-2"),
                keyed(idempotency_key=""),
                order("c-2", BUY, 5 * E8, idempotency_key="k-1"),
            ):
                _, info = await refused(served.orders.PlaceOrder(other))
                assert info.reason == "OVERLOADED"
        assert without_mark(await served.orders.PlaceOrder(keyed())) == first, "the engine says so"
        assert b"key_outcomes_found_total 1.0" in await served.exchange._metrics.text()


@pytest.mark.asyncio
async def test_stale_and_forged_entries_are_not_used(redis: Site, tmp_path: Path) -> None:
    async with served_with(redis, tmp_path / "data") as served:
        first = await served.orders.PlaceOrder(keyed())
        await tell(redis, served, tmp_path / "data")
        status = await served.admin.GetStatus(GetStatusRequest())
        assert status.keys_after_sequence < first.sequence
        journal = served.exchange._log.mark.journal
        command = PlaceOrder("c-1", "BTC-USD", BUY, 1, 10, 5 * E8, idempotency_key="k-1")
        name = name_of(journal, command)
        with redis.client() as client:
            value = client.get(name)
            assert isinstance(value, bytes)
            assert 0 < client.pttl(name) <= LIFE_NS // 10**6
            ahead = (first.sequence + 1_000).to_bytes(8, "little")
            other = int.from_bytes(value[16:24], "little") ^ 1
            # As of a journal that was put back from a copy, and went on differently.
            other_time = (int.from_bytes(value[8:16], "little") + 1).to_bytes(8, "little")
            forged = {
                "ahead of what is durable": ahead + value[8:],
                "before every key": bytes(8) + value[8:],
                "of another digest": value[:16] + other.to_bytes(8, "little") + value[24:],
                "of another time": value[:8] + other_time + value[16:],
                "cut": value[:-1],
                "noise": b"\xff" * 100,
                "short": b"1",
                "empty": b"",
            }
            async with nothing_is_taken(served):
                for what, bad in forged.items():
                    client.set(name, bad)
                    _, info = await refused(served.orders.PlaceOrder(keyed()))
                    assert info.reason == "OVERLOADED", what
                client.set(name, value)
                assert without_mark(await served.orders.PlaceOrder(keyed())) == first
                # What the engine has forgotten may be a new order by now.
                served.engine.keys.generations.forgotten_sequence = first.sequence
                _, info = await refused(served.orders.PlaceOrder(keyed()))
                assert info.reason == "OVERLOADED"
                served.engine.keys.generations.forgotten_sequence = 0
            for bad in forged.values():
                client.set(name, bad)
                assert without_mark(await served.orders.PlaceOrder(keyed())) == first
        assert len(served.engine.orders(client_id="c-1")) == 1


@pytest.mark.asyncio
async def test_another_journal_s_entry_is_not_this_one_s(redis: Site, tmp_path: Path) -> None:
    async with served_with(redis, tmp_path / "one") as served:
        await served.orders.PlaceOrder(keyed())
        await tell(redis, served, tmp_path / "one")
    async with serving(tmp_path / "two", sequencer=TIGHT, redis_url=redis.url) as served:
        await served.orders.PlaceOrder(order("other", BUY, E8, idempotency_key="k-9"))
        async with nothing_is_taken(served):
            _, info = await refused(served.orders.PlaceOrder(keyed()))
            assert info.reason == "OVERLOADED"


@pytest.mark.asyncio
async def test_with_redis_down_or_paused_keys_work_and_wait_for_nothing(
    redis: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_outcomes, "ANSWER_S", 0.05)
    async with served_with(redis, tmp_path / "data") as served:

        async def placed_and_repeated(key: str) -> float:
            began = time.monotonic()
            first = await served.orders.PlaceOrder(keyed(idempotency_key=key))
            again = await served.orders.PlaceOrder(keyed(idempotency_key=key))
            assert without_mark(again) == first
            return time.monotonic() - began

        with redis.paused():
            assert await placed_and_repeated("paused") < 1.0
            async with nothing_is_taken(served):
                _, info = await refused(served.orders.PlaceOrder(keyed(idempotency_key="paused")))
                assert info.reason == "OVERLOADED"
        redis.kill()
        assert await placed_and_repeated("down") < 1.0
        redis.start()
        redis.flush()
        assert await placed_and_repeated("emptied") < 1.0
        orders = [it for it in served.engine.orders() if it.client_id == "c-1"]
        assert len(orders) == 3, "one for each key"


@pytest.mark.asyncio
async def test_one_key_many_times_at_once_is_one_order_while_redis_is_emptied(
    redis: Site, tmp_path: Path
) -> None:
    async with serving(tmp_path / "data", redis_url=redis.url) as served:
        for number in range(5):
            calls = [
                served.orders.PlaceOrder(keyed(idempotency_key=f"k-{number}")) for _ in "1" * 20
            ]
            redis.flush()
            replies = await asyncio.gather(*calls)
            assert len({reply.order.order_id for reply in replies}) == 1
            assert sum(not reply.repeated for reply in replies) == 1
            await tell(redis, served, tmp_path / "data")
        assert len(served.engine.orders(client_id="c-1")) == 5


def test_an_outcome_that_is_too_large_is_left_to_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine()
    command = PlaceOrder("c", "BTC-USD", BUY, 1, 10, 5, idempotency_key="k")
    plain = command._replace(idempotency_key="")
    commands: list[Command] = [SetInstrument(Instrument("BTC-USD")), command, plain]
    events: Any = [engine.apply(it, Stamp(n, n)) for n, it in enumerate(commands, 1)]
    payload = encode_batch(commands, events)
    record = Record(BATCH, 0, 0, b"j" * 16, 0, 1, 1, b"o" * 16, 1, 3, 5, b"c" * 16, payload)
    ((name, value),) = key_outcomes.entries(record, events)
    assert name == name_of(b"j" * 16, command)
    found = key_outcomes.outcome_of(value, command, range(1, 4))
    assert found == (2, 5, events[1])
    assert key_outcomes.outcome_of(value, command, range(3, 4)) is None
    monkeypatch.setattr(key_outcomes, "VALUE_BYTES_MAX", len(value) - 1)
    assert list(key_outcomes.entries(record, events)) == []


@pytest.mark.asyncio
async def test_a_redis_that_is_away_is_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recent = recent_outcomes.RecentOutcomes(
        f"redis://127.0.0.1:{free_port()}", b"j" * 16, lambda: range(1, 2), lambda _: 0
    )
    monkeypatch.setattr(recent_outcomes, "REST_S", 60.0)
    command = PlaceOrder("c", "BTC-USD", BUY, 1, 10, 5, idempotency_key="k")
    assert await recent.find(command) is None
    asked = AsyncMock()
    monkeypatch.setattr(recent._client, "get", asked)
    assert await recent.find(command) is None
    assert not asked.called
    await recent.close()


@pytest.mark.asyncio
async def test_so_many_wait_for_redis_at_once_and_others_after_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recent = recent_outcomes.RecentOutcomes(
        f"redis://127.0.0.1:{free_port()}", b"j" * 16, lambda: range(1, 2), lambda _: 0
    )
    answer = asyncio.Event()

    async def answered(_: str) -> None:
        await answer.wait()

    asked = AsyncMock(side_effect=answered)
    monkeypatch.setattr(recent._client, "get", asked)
    command = PlaceOrder("c", "BTC-USD", BUY, 1, 10, 5, idempotency_key="k")
    for turn in (1, 2):
        answer.clear()
        finding = [asyncio.create_task(recent.find(command)) for _ in range(LOOKUPS_MAX + 5)]
        await asyncio.sleep(0.01)
        assert sum(task.done() for task in finding) == 5
        assert asked.call_count == turn * LOOKUPS_MAX
        answer.set()
        assert await asyncio.gather(*finding) == [None] * len(finding)
    await recent.close()
