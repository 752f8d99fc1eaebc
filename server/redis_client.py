"""How everything here reaches Redis: a client that connects with its first call, and gives up at
once. Who uses it decides when to try again, and says so; redis-py would do that unseen."""

from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

ANSWER_S: Final = 5.0
"""For a connection, or an answer, where the caller has no bound of its own or a tighter one."""


def redis_client(url: str, answer_s: float = ANSWER_S) -> Redis:
    """Make a client of the Redis at this address."""
    return Redis.from_url(
        url,
        socket_timeout=answer_s,
        socket_connect_timeout=answer_s,
        retry=Retry(NoBackoff(), 0),
    )
