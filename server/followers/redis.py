"""The Redis follower: what happened, published to whoever listens, and outcomes of recent keys.

Redis holds no truth, and this never waits for any of it to be there: `FLUSHALL`, a restart or an
hour without Redis cost nothing that somebody could not ask the exchange for.

- *Publishing* (`redis_messages.py`). How far it is stands in the hash `exchange:feed` (`journal`,
  `sequence`, its `time_ns`), written in one script with what is published. A follower that starts
  takes the newest snapshot for the levels of the books, and the journal after it; it publishes what
  comes after the position that it finds, or, where there is none of this journal, after what was
  durable when that was first served. What Redis did not take is kept, one batch at most, and
  published first when it is back; meanwhile nothing more is read. So a subscriber finds every
  message, or a gap in `previous_sequence`.
- *Keys.* The outcome of each command that has an idempotency key is kept for the rest of its hour
  (`server/key_outcomes.py`), for front ends.

Known limits: books are not folded from the journal's beginning where neither snapshot nor journal
goes back there, and a follower without the server's data directory finds no snapshot. Redis has to
be of version 6.2 or newer.
"""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

import msgpack
from redis.asyncio import Redis

from server.followers.journal_reader import Progress, Reached
from server.followers.levels import levels_of
from server.followers.redis_messages import CHANNELS, RedisMessages, channels_of
from server.journal.record import Record
from server.journal.snapshots import newest_good
from server.key_outcomes import LIFE_NS, entries
from server.redis_client import redis_client

POSITION: Final = "exchange:feed"
ANSWER_S: Final = 2.0
"""For a batch, on a machine that is busy."""
BATCH_COMMANDS_MAX: Final = 2_000
"""In one call: some ms of Redis' time, and what is kept for it while it is away."""

SCRIPT: Final = """
local batch = cmsgpack.unpack(ARGV[1])
for _, kept in ipairs(batch[1]) do
  for i = 2, #kept, 2 do
    redis.call('SET', kept[i], kept[i + 1], 'PX', kept[1])
  end
end
for i = 1, #batch[2], 2 do
  redis.call('PUBLISH', batch[2][i], batch[2][i + 1])
end
if #batch[3] > 0 then
  redis.call('HSET', KEYS[1], unpack(batch[3]))
end
"""
"""Does all of a batch in one call, given as msgpack: for each record the milliseconds for which its
outcomes are kept, then names and values; channels and messages; fields and values of the position.
As single commands it would cost this process and Redis several times as much."""


class Batch:
    """What Redis is to be given for some records."""

    def __init__(self) -> None:
        self.kept: list[list[Any]] = []
        self.published: list[Any] = []
        self.position: tuple[str, ...] = ()

    def packed(self) -> bytes:
        """Pack it for the script."""
        packed: bytes = msgpack.packb(
            (self.kept, self.published, self.position), use_bin_type=False
        )
        return packed


class RedisFollower:
    """Publishes to one Redis."""

    name = "redis"
    gather_s = 0.0
    remedy_not_kept = remedy_differs = ""
    held = None

    def __init__(self, url: str, data_dir: Path) -> None:
        self._url = url
        self._data_dir = data_dir
        self._client: Redis | None = None
        self._channels = CHANNELS
        self._messages: RedisMessages | None = None
        self._unsent: bytes = b""
        self._position: tuple[str, Reached] = ("", Reached(0))
        self._begun_sequence: int | None = None

    async def open(self) -> Reached:
        """Connect, find out what was published, and publish what could not be."""
        self._client = client = redis_client(self._url, ANSWER_S)
        self._channels = channels_of(client.connection_pool.connection_kwargs.get("db") or 0)
        found: Any = await client.hmget(POSITION, ["journal", "sequence", "time_ns"])
        if self._messages is None:
            journal, sequence, time_ns = (each or b"" for each in found)
            if sequence.isdigit() and time_ns.isdigit():
                reached = Reached(int(sequence), int(time_ns))
                self._position = (journal.decode(errors="replace"), reached)
            self._messages = await asyncio.to_thread(self._begun)
        await self._send()
        return Reached(self._messages.sequence)

    def begin(self, durable_sequence: int) -> None:
        """Where Redis holds no position of this journal, what follows is published."""
        if self._begun_sequence is None:
            self._begun_sequence = durable_sequence

    async def take(self, records: list[Record], progress: Progress = lambda _: None) -> None:
        """Publish them, in calls of a bounded size."""
        listened = await self._listened()
        batch: list[Record] = []
        count = 0
        for record in records:
            if batch and count + record.command_count > BATCH_COMMANDS_MAX:
                await self._bring(batch, listened)
                progress(Reached(batch[-1].last_sequence, batch[-1].time_ns))
                batch, count = [], 0
            batch.append(record)
            count += record.command_count
        await self._bring(batch, listened)

    async def check(self) -> None:
        """Nothing is kept there that could be missed; but some close what is idle for seconds."""
        assert self._client is not None
        await self._client.ping()

    async def close(self) -> None:
        """Let go of the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _begun(self) -> RedisMessages:
        """Begin at the newest snapshot."""
        engine = newest_good(self._data_dir).engine
        if engine is None:
            return RedisMessages(channels=self._channels)
        return RedisMessages(engine.sequence, levels_of(engine), self._channels)

    async def _listened(self) -> frozenset[str]:
        """Prefixes of the channels that somebody listens to."""
        assert self._client is not None
        prefixes = self._channels.values()
        async with self._client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("PUBSUB", "NUMPAT")
            for prefix in prefixes:
                pipeline.execute_command("PUBSUB", "CHANNELS", f"{prefix}*")
            patterns, *names = await pipeline.execute()
        return frozenset(
            prefix for prefix, heard in zip(prefixes, names, strict=True) if patterns or heard
        )

    async def _bring(self, records: list[Record], listened: frozenset[str]) -> None:
        messages = self._messages
        assert messages is not None
        batch = Batch()
        now_ns = time.time_ns()
        for record in records:
            events_of = record.events()
            if self._was_published(record):
                messages.skip(record, events_of)
                continue
            for message in messages.messages(record, events_of, listened):
                batch.published += message
            # Stamps are ahead of a clock that was set back: their hour does not wait for it.
            left_ms = (LIFE_NS - max(0, now_ns - record.time_ns)) // 1_000_000
            if left_ms > 0:
                kept: list[Any] = [left_ms]
                for entry in entries(record, events_of):
                    kept += entry
                batch.kept.append(kept)
            # The other followers share this process.
            await asyncio.sleep(0)
        last = records[-1]
        if not self._was_published(last):
            reached = ("sequence", str(last.last_sequence), "time_ns", str(last.time_ns))
            batch.position = ("journal", last.journal.hex(), *reached)
            self._unsent = batch.packed()
        await self._send()

    def _was_published(self, record: Record) -> bool:
        journal, reached = self._position
        if journal == record.journal.hex():
            # A journal that was put back from a copy gives sequences again, later.
            return record.last_sequence <= reached.sequence and record.time_ns <= reached.time_ns
        return record.last_sequence <= (self._begun_sequence or 0)

    async def _send(self) -> None:
        assert self._client is not None
        if not self._unsent:
            return
        await self._client.eval(SCRIPT, 1, POSITION, self._unsent)
        self._unsent = b""
