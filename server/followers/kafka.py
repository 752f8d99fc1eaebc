"""The Kafka follower: the journal's events on topics, gapless and in order, whatever happens.

Its position is in the topics themselves. To open is to create the topics that are missing, and to
read the last message of each partition; then the journal is taken in, and each message is sent that
stands behind the last one of its partition. A partition is written in the journal's order by one
idempotent producer, so what is there is a beginning of what should be, and what is missing is its
continuation: after an outage, a topic that was deleted, or another Kafka.

- Where the journal is taken in from: the levels of the books depend on all of it, and a partition
  whose last message is old may be quiet or lack something. A *checkpoint*, every `checkpoint_s`,
  keeps the books of a moment at which everything was acknowledged, with the ends of all partitions.
  While the topics reach at least that far the journal is taken in from there, else from its
  beginning. The server keeps the journal after the checkpoint, and no more, for this follower.
- A journal that was put back from a copy gives other events the sequences of those in the topics:
  so the newest message, which names its sequence and its time, has to be of this journal.
- `take` returns when everything in it is acknowledged (`kafka_publisher.py`). Where that fails, the
  publisher is closed, and everything begins again from what the topics then hold. While there is
  nothing to send, the ends of the topics are compared with where they were left.
- Where the journal's beginning is not kept, a topic that was emptied, or a Kafka that is new, can't
  be filled from there. With `fill_from = "snapshot"` it is filled from the checkpoint, or else
  the newest snapshot: each book begins with all its levels, and what was before is left out.

Known limits: filling from a snapshot can leave a gap in partitions that fell back without being
emptied. One writer: `exchange-*` topics are for this follower alone, and for one journal. A topic
is kept for ever unless its owner sets another retention; one that this emptied is filled again.
"""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Final

from confluent_kafka.admin import AdminClient

from server.followers import kafka_checkpoint
from server.followers.following import FollowerStopped
from server.followers.journal_reader import Progress, Reached
from server.followers.kafka_checkpoint import NOTHING, Checkpoint
from server.followers.kafka_publisher import Publisher
from server.followers.kafka_topics import KafkaFailed, Topics, compare, look
from server.followers.levels import LevelFold, levels_of
from server.followers.messages import Encoder, Json, Protobuf
from server.journal.record import Record
from server.journal.snapshots import newest_good
from server.settings import KafkaSettings

OPEN_S: Final = 300.0
"""For all questions asked on opening, of which each partition is one. The client's own limits end
by the wall clock: they would last an hour longer where it is set back by an hour meanwhile."""
GATHER_S: Final = 0.1
"""Ten times a second: each flush of a few messages costs the broker as much as hundreds do."""


class KafkaFollower:
    """A follower as `server/followers/following.py` has it."""

    name = "kafka"
    gather_s = GATHER_S
    remedy_not_kept = 'set `fill_from = "snapshot"` in section [kafka]'
    remedy_differs = "delete its topics"

    def __init__(
        self,
        brokers: str,
        data_dir: Path,
        *,
        limits: KafkaSettings,
        as_json: bool = False,
    ) -> None:
        self._client: dict[str, str | int | float | bool] = {
            "bootstrap.servers": brokers,
            "client.id": "exchange",
            # A topic that somebody deletes would come back as brokers make it by themselves.
            "allow.auto.create.topics": False,
            "socket.timeout.ms": max(limits.delivery_ms, 1_000),
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1_000,
            # What goes wrong is told once, by who opens and closes this.
            "log_level": 0,
        }
        self._data_dir = data_dir
        self._encoding = Json() if as_json else Protobuf()
        self._limits = limits
        self._checkpoint = NOTHING
        self.held = Reached(0)
        self._kept_s = 0.0
        self._publisher: Publisher | None = None
        self._admin: AdminClient | None = None

    async def open(self) -> Reached:
        """Find out what the topics hold, and from where the journal is needed for them."""
        try:
            async with asyncio.timeout(OPEN_S):
                topics = await asyncio.to_thread(look, self._client)
        except TimeoutError:
            raise KafkaFailed(f"no answer within {OPEN_S:g} s") from None
        kept = await asyncio.to_thread(kafka_checkpoint.read, self._data_dir)
        is_whole = kept.fits(topics.cluster, topics.ends())
        if not is_whole:
            kept = await asyncio.to_thread(self._begun, kept)
        self._checkpoint = kept
        self.held = topics.last
        self._kept_s = time.monotonic()
        books = await asyncio.to_thread(LevelFold.of, kept.orders, kept.updated)
        encoder = Encoder(self._encoding, books)
        publisher = Publisher(self._client, encoder, topics, self._limits.delivery_ms)
        if not is_whole and kept.sequence:
            await asyncio.to_thread(publisher.begin_books, kept.sequence, kept.time_ns)
        self._publisher = publisher
        self._admin = AdminClient(self._client)
        return Reached(kept.sequence, kept.time_ns)

    def begin(self, durable_sequence: int) -> None:
        """Nothing depends on it."""

    async def take(self, records: list[Record], _progress: Progress = lambda _: None) -> int:
        """Send what is missing of these, and wait until it is safe: the checkpoint's sequence."""
        assert self._publisher is not None
        self._judge(self._publisher.topics, records[0].journal.hex())
        await asyncio.to_thread(self._publisher.publish, records)
        if time.monotonic() - self._kept_s >= self._limits.checkpoint_s:
            await asyncio.to_thread(self._keep, self._publisher)
        return self._checkpoint.sequence

    async def check(self) -> None:
        """Whether the topics still end where they were left."""
        assert self._publisher is not None
        assert self._admin is not None
        await asyncio.to_thread(compare, self._admin, self._publisher.topics.tails)

    async def close(self) -> None:
        """Forget what was not acknowledged: the topics will tell."""
        publisher, self._publisher, self._admin = self._publisher, None, None
        if publisher is not None:
            publisher.close()
            await asyncio.to_thread(self._keep, publisher)

    def _begun(self, kept: Checkpoint) -> Checkpoint:
        """Where topics that lack something are filled from."""
        if self._limits.fill_from == "beginning":
            return NOTHING
        if kept.sequence:
            return kept
        engine = newest_good(self._data_dir).engine
        if engine is None:
            return NOTHING
        orders, updated = levels_of(engine).kept()
        begun = Checkpoint("", "", engine.sequence, engine.time_ns, {}, orders, updated)
        # Opened again before there is another, it begins here again, whatever snapshots come.
        with contextlib.suppress(OSError):
            kafka_checkpoint.write(self._data_dir, begun)
        return begun

    def _judge(self, topics: Topics, journal: str) -> None:
        if topics.journals - {journal}:
            raise FollowerStopped(
                f"the topics hold events of the journal {min(topics.journals - {journal})}, this"
                f" exchange's is {journal}: give it a Kafka of its own, or delete the topics"
            )
        if self._checkpoint.journal not in ("", journal):
            kafka_checkpoint.forget(self._data_dir)
            raise KafkaFailed("the checkpoint is of another journal: forgotten")

    def _keep(self, publisher: Publisher) -> None:
        """Where nothing is under way. Without a newer one more of the journal is kept."""
        checkpoint = publisher.checkpoint()
        if checkpoint is None or checkpoint.sequence <= self._checkpoint.sequence:
            return
        with contextlib.suppress(OSError):
            kafka_checkpoint.write(self._data_dir, checkpoint)
            self._checkpoint = checkpoint
        self._kept_s = time.monotonic()
