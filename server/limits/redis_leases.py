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

Who is the only front end is so for `ALONE_S` after it asked. One that was not heard of for
`ALIVE_S` joins: while others are there it leases nothing for `ALONE_S`, after which each of them
has asked again, and knows. `FLUSHALL` makes Redis forget who is there, and what was used. A front
end that it does not know any more tells what it knows of all budgets; if it had company it leases
nothing for `ALONE_S` to holders that it knows nothing of, until the others have told theirs, and
takes itself for the only one only after `ALIVE_S` of such answers.

Known limits: what was given out in process while Redis was away is not charged to it afterwards. Of
a holder who goes from one front end to another in the moment of a `FLUSHALL`, the other may know
less than the first until that one has asked again. One that joins within `HEARTBEAT_S` after it may
be told that it is the only one. Two exchanges that share a Redis need databases of their own (the
URL's path); a Redis cluster is not supported, since the script's keys would lie on several nodes.
"""

import asyncio
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from server.delays import Delays
from server.limits.leases import LeasedLimiter, Wish
from server.outage_lines import OutageLines, reason
from server.redis_client import redis_client

PREFIX: Final = "exchange:rate:"
FRONT_ENDS: Final = f"{PREFIX}front-ends"

HEARTBEAT_S: Final = 0.1
ALONE_S: Final = 0.2
"""Twice as long: an answer that is a little late makes nobody lose a burst."""
ALIVE_S: Final = 1.0
"""A front end that was not heard of for so long draws on nothing any more."""
SWEEP_S: Final = 1.0
"""Longest that Redis is not told of what was given out within half a block."""
HOLDERS_MAX: Final = 500
"""In one call: about 2 ms of Redis' time."""
SLOW_S: Final = 0.05
"""Hundreds of times what an answer takes, and half of what a block lasts."""
ANSWER_S: Final = 2.0
RETRY_MAX_S: Final = 5.0
STARTING_S: Final = 3.0
"""What a Redis that was never there may take before a line is said of it: an embedded one starts
beside this."""

SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local added = redis.pcall('ZADD', KEYS[1], now, ARGV[1])
if type(added) == 'table' then return redis.error_reply(added.err .. ': ' .. KEYS[1]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[2] / 1000))
local reply = {redis.call('ZCARD', KEYS[1]), added}
for i = 2, #KEYS do
  local limit, known = tonumber(ARGV[4 * i - 5]), tonumber(ARGV[4 * i - 4])
  local owed, wanted = tonumber(ARGV[4 * i - 3]), tonumber(ARGV[4 * i - 2])
  local used, bucket = 0, redis.pcall('HMGET', KEYS[i], 'used', 'at')
  if bucket.err then return redis.error_reply(bucket.err .. ': ' .. KEYS[i]) end
  if bucket[1] and bucket[2] then
    used = math.max(0, bucket[1] - math.max(0, now - bucket[2]) * limit / 1000000)
  end
  used = math.max(used, known * limit / 1000000) + owed
  local granted = math.max(0, math.min(wanted, math.floor(limit - used)))
  used = used + granted
  if used > 0 then
    redis.call('HSET', KEYS[i], 'used', string.format('%.6f', used),
      'at', string.format('%.0f', now))
    redis.call('PEXPIRE', KEYS[i], math.ceil(used / limit * 1000) + 1)
  end
  reply[2 * i - 1] = granted
  reply[2 * i] = math.floor(used / limit * 1000000)
end
return reply
"""
"""Arguments: this front end, `ALIVE_S` in microseconds, then of each bucket its limit, what is
known to be charged, what is owed, and what is wanted. Answers how many front ends there are,
whether this one is new, then of each bucket what is granted and what is charged. Charged is told as
the microseconds until it is paid off. An error names the key that can't be used."""


class RedisLeases:
    """Keeps the limiters of one front end in step with the shared budgets."""

    def __init__(
        self, url: str, limiters: Mapping[str, LeasedLimiter], say: Callable[[str], None]
    ) -> None:
        self.renewals = 0
        """Calls that were answered."""
        self.failures = 0
        """Calls that were not."""
        self.problem = ""
        """Why the budgets are not shared, as was said; empty where nothing has been."""
        self._url = url
        self._limiters = limiters
        self._say = OutageLines(say)
        self._front_end = os.urandom(8).hex()
        self._due = asyncio.Event()
        self._began_s = time.monotonic()
        self._swept_s = 0.0
        self._asked_s = -math.inf
        """When what was answered last was asked."""
        self._joined_s = 0.0
        """When nobody takes itself for the only one any more who has not heard of this one."""
        self._lonely_s = math.inf
        """From when on this one takes itself for the only one."""
        self._task: asyncio.Task[None] | None = None
        for limiter in limiters.values():
            limiter.wake = self._due.set

    @property
    def shared(self) -> bool:
        """Whether the budgets are the shared ones at this moment."""
        return self.renewals > 0 and any(limiter.shared for limiter in self._limiters.values())

    @property
    def held(self) -> int:
        """Leases that are kept."""
        return sum(limiter.held for limiter in self._limiters.values())

    def start(self) -> None:
        """Begin, in the background; there is nothing to wait for. Until something is known,
        credit has to do."""
        for limiter in self._limiters.values():
            limiter.join(0, joining=True)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Draw on nothing any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._leave()

    async def _run(self) -> None:
        delays = Delays(RETRY_MAX_S)
        while True:
            client = redis_client(self._url, ANSWER_S)
            renewals = self.renewals
            try:
                await self._keep(client)
            except Exception as error:  # whatever Redis answers with, or its absence
                self._leave()
                self._note(error)
            finally:
                await client.aclose()
            if self.renewals > renewals:
                delays.reset()
            await asyncio.sleep(delays.next_s())

    async def _keep(self, client: Redis) -> None:
        script = client.register_script(SCRIPT)
        while True:
            await self._renew(script)
            if self.problem:
                self.problem = ""
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
        arguments: list[Any] = [self._front_end, int(1e6 * ALIVE_S)]
        for limiter, wish in wishes:
            keys.append(f"{PREFIX}{limiter.kind}:{wish.holder}")
            arguments += (limiter.limit, wish.known_us, wish.owed, wish.wanted)
        asked_s = time.monotonic()
        asking = asyncio.ensure_future(script(keys=keys, args=arguments))
        try:
            answered, _ = await asyncio.wait([asking], timeout=SLOW_S)
            if not answered:
                self._leave()
            reply = await asking
        finally:
            asking.cancel()
        self.renewals += 1
        self._join(asked_s, only=reply[0] == 1, new=reply[1] == 1)
        for number, (limiter, wish) in enumerate(wishes):
            limiter.granted(wish, reply[2 * number + 2], reply[2 * number + 3])
        if len(wishes) == HOLDERS_MAX:
            self._due.set()

    def _join(self, asked_s: float, *, only: bool, new: bool) -> None:
        """Whether Redis knows of no other front end, and whether it did not know this one."""
        now_s = time.monotonic()
        joins = asked_s - self._asked_s > ALIVE_S
        self._asked_s = asked_s
        if not only:
            self._lonely_s = math.inf
        elif self._lonely_s == math.inf:
            self._lonely_s = now_s + (0 if joins else ALIVE_S)
        alone = now_s >= self._lonely_s
        if new and not alone:
            self._joined_s = now_s + ALONE_S
        alone_until_ns = int(1e9 * (asked_s + ALONE_S)) if alone else 0
        for limiter in self._limiters.values():
            limiter.join(alone_until_ns, joining=now_s < self._joined_s)
            if new:
                limiter.tell_all()

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
        if not self.renewals and time.monotonic() - self._began_s < STARTING_S:
            return
        why = "redis refuses" if isinstance(error, ResponseError) else "redis is away"
        problem = f"rate limits are kept in process: {why} ({reason(error)})"
        if why not in self.problem:
            self._say(problem)
        self.problem = problem
