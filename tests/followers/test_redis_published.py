"""Each message once and none left out, whatever Redis took before: the follower alone with one."""

import time
from pathlib import Path

import pytest
from redis import ResponseError

from server.followers.redis import RedisFollower
from tests.followers.redis_site import Site as RedisSite
from tests.followers.test_redis_clocks import CHANNEL, journal_of

pytestmark = pytest.mark.asyncio


async def test_what_redis_refused_is_published_when_it_is_opened_again(
    redis: RedisSite, tmp_path: Path
) -> None:
    """Though nothing has happened since."""
    redis.flush()
    follower = RedisFollower(redis.url, tmp_path)
    await follower.open()
    with redis.client() as client, client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(CHANNEL)
        listener.get_message(timeout=5)
        client.config_set("maxmemory", "1")
        try:
            with pytest.raises(ResponseError, match="maxmemory"):
                await follower.take(journal_of(tmp_path / "data", time.time_ns()))
        finally:
            client.config_set("maxmemory", "0")
        await follower.close()
        assert (await follower.open()).sequence == 3
        assert listener.get_message(timeout=5) is not None
        assert client.hget("exchange:feed", "sequence") == b"3"
        await follower.close()
        await follower.open()
        client.publish(CHANNEL, "what comes next")
        heard = listener.get_message(timeout=5)
        assert heard is not None
        assert heard["data"] == b"what comes next"
    await follower.close()


async def test_what_was_published_is_neither_again_nor_moves_the_position_back(
    redis: RedisSite, tmp_path: Path
) -> None:
    """A follower that starts takes the journal in from before, for the books."""
    redis.flush()
    now_ns = time.time_ns()
    journal = journal_of(tmp_path / "data", now_ns)
    position = {"journal": journal[0].journal.hex(), "sequence": "9", "time_ns": str(now_ns)}
    follower = RedisFollower(redis.url, tmp_path)
    with redis.client() as client, client.pubsub(ignore_subscribe_messages=True) as listener:
        client.hset("exchange:feed", mapping=position)
        await follower.open()
        listener.subscribe(CHANNEL)
        listener.get_message(timeout=5)
        await follower.take(journal)
        client.publish(CHANNEL, "what comes next")
        heard = listener.get_message(timeout=5)
        assert heard is not None
        assert heard["data"] == b"what comes next"
        assert client.hmget("exchange:feed", list(position)) == [
            value.encode() for value in position.values()
        ]
    await follower.close()


async def test_exchanges_with_a_database_each_do_not_hear_one_another(
    redis: RedisSite, tmp_path: Path
) -> None:
    """Though their instruments have one name, and Redis publishes past its databases."""
    redis.flush()
    channels = {0: CHANNEL, 3: CHANNEL.replace("exchange:", "exchange@3:")}
    with redis.client() as client, client.pubsub(ignore_subscribe_messages=True) as listener:
        for database, channel in channels.items():
            listener.subscribe(channel)
            listener.get_message(timeout=5)
            follower = RedisFollower(redis.database(database), tmp_path)
            await follower.open()
            await follower.take(journal_of(tmp_path / str(database), time.time_ns()))
            await follower.close()
            heard = listener.get_message(timeout=5)
            assert heard is not None
            assert heard["channel"] == channel.encode()
            assert listener.get_message() is None


async def test_in_a_quiet_market_the_connection_is_not_idle(
    redis: RedisSite, tmp_path: Path
) -> None:
    """A Redis with a `timeout` would close it, and what comes next would find it away."""
    follower = RedisFollower(redis.url, tmp_path)
    await follower.open()
    with redis.client() as client:
        last = {each["cmd"] for each in client.client_list()}
        await follower.check()
        assert {each["cmd"] for each in client.client_list()} - last == {"ping"}
    await follower.close()
