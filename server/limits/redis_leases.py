"""The shared budgets in Redis: one script that charges and leases, called in the background.

A budget is a hash `exchange:rate:<kind>:<holder>` with `used`, the units that are not paid off yet,
and `at`, when that was so in microseconds of Redis' own clock; it is paid off at the limit's rate,
and the key is gone once it is. The sorted set `exchange:rate:front-ends` holds who draws on the
budgets, by when each was last heard of.

One call at a time is under way, for up to `HOLDERS_MAX` holders: as soon as something is due, else
each `HEARTBEAT_S`, so that the others know of this front end. An answer that takes longer than
`SLOW_S` puts the limiters on their own until it comes; one that fails, or is `ANSWER_S` late, until
another attempt succeeds, after delays from 0.1 s to 5 s. It is said once when that begins and once
when it ends. Nobody waits for any of it.

Known limit: one that was the only front end learns of another within `HEARTBEAT_S`, and so may give
out a burst that the other has had; likewise after `FLUSHALL`, with which all budgets are forgotten.
Two exchanges that share a Redis need databases of their own (the URL's path); a Redis cluster is
not supported, since the script's keys would lie on several nodes.
"""

import asyncio
import os
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from server.limits.leases import LeasedLimiter, Wish

PREFIX: Final = "exchange:rate:"
FRONT_ENDS: Final = f"{PREFIX}front-ends"

HEARTBEAT_S: Final = 0.25
ALIVE_US: Final = 1_000_000
"""A front end that was not heard of for so long draws on nothing any more."""
SWEEP_S: Final = 1.0
"""Longest that Redis is not told of what was given out within half a block."""
HOLDERS_MAX: Final = 500
"""In one call: about 2 ms of Redis' time."""
SLOW_S: Final = 0.05
"""Hundreds of times what an answer takes, and half of what a block lasts."""
ANSWER_S: Final = 2.0
DELAY_FIRST_S: Final = 0.1
DELAY_MAX_S: Final = 5.0

SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[2] / 1000))
local reply = {redis.call('ZCARD', KEYS[1])}
for i = 2, #KEYS do
  local limit = tonumber(ARGV[3 * i - 3])
  local owed, wanted = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
  local used, bucket = 0, redis.call('HMGET', KEYS[i], 'used', 'at')
  if bucket[1] and bucket[2] then
    used = math.max(0, bucket[1] - math.max(0, now - bucket[2]) * limit / 1000000)
  end
  used = used + owed
  local granted = math.max(0, math.min(wanted, math.floor(limit - used)))
  used = used + granted
  if used > 0 then
    redis.call('HSET', KEYS[i], 'used', string.format('%.6f', used),
      'at', string.format('%.0f', now))
    redis.call('PEXPIRE', KEYS[i], math.ceil(used / limit * 1000) + 1)
  end
  reply[2 * i - 2] = granted
  reply[2 * i - 1] = math.floor(limit - used)
end
return reply
"""
"""Arguments: this front end, `ALIVE_US`, then limit, owed and wanted of each bucket. Answers how
many front ends there are, then for each bucket what is granted and what is left."""


def connect(url: str, answer_s: float) -> Redis:
    """A client that fails at once instead of trying again by itself."""
    return Redis.from_url(
        url,
        socket_timeout=answer_s,
        socket_connect_timeout=answer_s,
        retry=Retry(NoBackoff(), 0),
    )


class RedisLeases:
    """Keeps the limiters of one front end in step with the shared budgets."""

    def __init__(
        self, url: str, limiters: Mapping[str, LeasedLimiter], say: Callable[[str], None]
    ) -> None:
        self.renewals = 0
        """Calls that were answered."""
        self.failures = 0
        """Calls that were not."""
        self._url = url
        self._limiters = limiters
        self._say = say
        self._front_end = os.urandom(8).hex()
        self._due = asyncio.Event()
        self._problem = ""
        self._swept_s = 0.0
        self._task: asyncio.Task[None] | None = None
        for limiter in limiters.values():
            limiter.wake = self._due.set

    @property
    def shared(self) -> bool:
        """Whether the budgets are the shared ones at this moment."""
        return any(limiter.shared for limiter in self._limiters.values())

    @property
    def held(self) -> int:
        """Leases that are kept."""
        return sum(limiter.held for limiter in self._limiters.values())

    def start(self) -> None:
        """Begin, in the background; there is nothing to wait for."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Draw on nothing any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._leave()

    async def _run(self) -> None:
        delay_s = DELAY_FIRST_S
        while True:
            client = connect(self._url, ANSWER_S)
            renewals = self.renewals
            try:
                await self._keep(client)
            except Exception as error:  # whatever Redis answers with, or its absence
                self._leave()
                self._note(error)
            finally:
                await client.aclose()
            if self.renewals > renewals:
                delay_s = DELAY_FIRST_S
            await asyncio.sleep(delay_s * (1 - random.random() / 2))
            delay_s = min(2 * delay_s, DELAY_MAX_S)

    async def _keep(self, client: Redis) -> None:
        script = client.register_script(SCRIPT)
        while True:
            await self._renew(script)
            if self._problem:
                self._problem = ""
                self._say("rate limits are shared through redis again")
            if not self._due.is_set():
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await self._due.wait()
                except TimeoutError:
                    pass

    async def _renew(self, script: Any) -> None:
        self._due.clear()
        self._sweep()
        wishes = self._wishes()
        keys = [FRONT_ENDS]
        arguments: list[Any] = [self._front_end, ALIVE_US]
        for limiter, wish in wishes:
            keys.append(f"{PREFIX}{limiter.kind}:{wish.holder}")
            arguments += (limiter.limit, wish.owed, wish.wanted)
        asking = asyncio.ensure_future(script(keys=keys, args=arguments))
        try:
            answered, _ = await asyncio.wait([asking], timeout=SLOW_S)
            if not answered:
                self._leave()
            reply = await asking
        finally:
            asking.cancel()
        self.renewals += 1
        for limiter in self._limiters.values():
            limiter.join(alone=reply[0] == 1)
        for number, (limiter, wish) in enumerate(wishes):
            limiter.granted(wish, reply[2 * number + 1], reply[2 * number + 2])
        if len(wishes) == HOLDERS_MAX:
            self._due.set()

    def _wishes(self) -> list[tuple[LeasedLimiter, Wish]]:
        found: list[tuple[LeasedLimiter, Wish]] = []
        for limiter in self._limiters.values():
            found += [(limiter, wish) for wish in limiter.wishes(HOLDERS_MAX - len(found))]
        return found

    def _sweep(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._swept_s >= SWEEP_S:
            self._swept_s = now_s
            for limiter in self._limiters.values():
                limiter.sweep()

    def _leave(self) -> None:
        for limiter in self._limiters.values():
            limiter.leave()

    def _note(self, error: Exception) -> None:
        self.failures += 1
        if not self._problem:
            self._say(f"rate limits are kept in process: redis is away ({error or type(error)})")
        self._problem = str(error) or type(error).__name__
