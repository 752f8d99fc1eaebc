"""Redis after the wall clock was set: stamps that are ahead of it, or behind what it once was."""

import time
from pathlib import Path

import pytest

from server.core.commands import PlaceOrder
from server.core.types import BUY, E8, LIMIT
from server.followers.redis import RedisFollower
from server.journal.record import Record
from server.key_outcomes import LIFE_NS
from tests.followers.redis_site import Site as RedisSite
from tests.journal.site import INSTRUMENT, Site, records_of, settings

HOUR_NS = 3_600 * 10**9
CHANNEL = f"exchange:orders:{INSTRUMENT}"


def journal_of(directory: Path, time_ns: int) -> list[Record]:
    """Of one order with a key, stamped then."""
    site = Site(directory)
    site.commit(*settings(), time_ns=time_ns)
    order = PlaceOrder("c", INSTRUMENT, BUY, LIMIT, E8, E8, idempotency_key="k")
    site.commit(order, time_ns=time_ns)
    site.close()
    return records_of(directory)


@pytest.mark.asyncio
@pytest.mark.parametrize("ahead_ns", [-HOUR_NS // 2, 24 * HOUR_NS])
async def test_outcomes_of_keys_are_gone_within_their_hour(
    redis: RedisSite, tmp_path: Path, ahead_ns: int
) -> None:
    redis.flush()
    follower = RedisFollower(redis.url, tmp_path)
    await follower.open()
    await follower.take(journal_of(tmp_path / "data", time.time_ns() + ahead_ns))
    await follower.close()
    with redis.client() as client:
        names = client.keys("exchange:key:*")
        assert isinstance(names, list)
        assert len(names) == 1
        left_ms = client.pttl(names[0])
    longest_ms = (LIFE_NS + min(ahead_ns, 0)) // 10**6
    assert 0.9 * longest_ms < left_ms <= longest_ms


@pytest.mark.asyncio
@pytest.mark.parametrize("age_ns", [LIFE_NS, 2 * LIFE_NS])
async def test_outcomes_of_keys_whose_hour_is_over_are_not_kept(
    redis: RedisSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age_ns: int
) -> None:
    """As where Redis was away for longer; all else of those records is taken."""
    redis.flush()
    now_ns = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now_ns)
    follower = RedisFollower(redis.url, tmp_path)
    await follower.open()
    await follower.take(journal_of(tmp_path / "data", now_ns - age_ns))
    await follower.close()
    with redis.client() as client:
        assert client.keys() == [b"exchange:feed"]
        assert client.hget("exchange:feed", "sequence") == b"3"


@pytest.mark.asyncio
@pytest.mark.parametrize("ahead_ns", [-HOUR_NS, HOUR_NS])
async def test_what_is_published_at_first_is_told_by_no_clock(
    redis: RedisSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead_ns: int
) -> None:
    """What was durable when the journal was served is not, and all that follows is."""
    redis.flush()
    journal = journal_of(tmp_path / "data", time.time_ns())
    before, (order,) = journal[:-1], journal[-1:]
    clock_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: clock_ns() + ahead_ns)
    follower = RedisFollower(redis.url, tmp_path)
    await follower.open()
    follower.begin(before[-1].last_sequence)
    with redis.client() as client, client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(CHANNEL)
        listener.get_message(timeout=5)
        await follower.take(before)
        assert not client.exists("exchange:feed")
        follower.begin(order.last_sequence)  # served again, as after a restart of the server
        await follower.take([order])
        assert listener.get_message(timeout=5) is not None
        assert client.hget("exchange:feed", "sequence") == b"3"
    await follower.close()


@pytest.mark.asyncio
async def test_what_follows_on_a_copy_that_was_put_back_is_published(
    redis: RedisSite, tmp_path: Path
) -> None:
    """It has sequences that were published already, of something else."""
    redis.flush()
    now_ns = time.time_ns()
    journal = journal_of(tmp_path / "data", now_ns)
    position = {"journal": journal[0].journal.hex(), "sequence": 1_000, "time_ns": now_ns - 1}
    follower = RedisFollower(redis.url, tmp_path)
    with redis.client() as client, client.pubsub(ignore_subscribe_messages=True) as listener:
        client.hset("exchange:feed", mapping=position)
        await follower.open()
        listener.subscribe(CHANNEL)
        listener.get_message(timeout=5)
        await follower.take(journal)
        assert listener.get_message(timeout=5) is not None
        assert client.hmget("exchange:feed", ["sequence", "time_ns"]) == [b"3", b"%d" % now_ns]
    await follower.close()
