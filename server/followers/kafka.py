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
- `take` returns when all replicas in sync have acknowledged everything in it. The producer's queue
  is bounded; full, it is waited for. When nothing has been acknowledged for `delivery_ms` the
  producer is closed, and everything begins again from what the topics then hold. No message is ever
  given up alone, since those behind it would be sent and leave a gap. A message whose fate was
  unknown may be there twice then; its headers tell (`messages.py`).
- A batch whose last message does not land as many offsets behind the last one as it has messages
  shows a topic that was emptied behind the producer's back: closed, and begun again, too. While
  there is nothing to send the ends are compared instead.

- Where the journal's beginning is not kept, a topic that was emptied, or a Kafka that is new, can't
  be filled from there. With `fill_from = "snapshot"` it is filled from the checkpoint, or else
  the newest snapshot: each book begins with all its levels, and what was before is left out.

Known limits: the last can leave a gap in partitions that fell back without being emptied. One
writer: `exchange-*` topics are for this follower alone, and for one journal. A topic is
kept for ever unless its owner sets another retention; one that was emptied by it is filled again.
"""

import asyncio
import contextlib
import logging
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient

from server.followers import kafka_checkpoint
from server.followers.following import FollowerStopped
from server.followers.journal_reader import Progress, Reached
from server.followers.kafka_checkpoint import NOTHING, Checkpoint
from server.followers.kafka_topics import TURN_S, KafkaFailed, Tail, Topics, compare, look
from server.followers.messages import (
    Books,
    Encoder,
    Json,
    MessageMark,
    Out,
    Protobuf,
    books_of,
)
from server.journal.record import Record
from server.journal.snapshots import newest_good
from server.settings import KafkaSettings

QUEUE_MESSAGES_MAX: Final = 20_000
QUEUE_KIB_MAX: Final = 16 * 1024
"""Waiting in the producer: a fraction of a second of a busy exchange."""
GATHER_S: Final = 0.1
"""Ten times a second: each flush of a few messages costs the broker as much as hundreds do."""
LINGER_MS: Final = 50
"""Longer than a batch takes to encode: its messages go together, at the flush behind them."""
LOOK_MESSAGES: Final = 256
"""So many are handed over between two looks at what became of those before."""

UNHEARD: Final = logging.Logger("kafka")
"""For what a producer says whatever its `log_level`: that what it drops at its end leaves a gap."""
UNHEARD.disabled = True

Delivered = Callable[[KafkaError | None, Message], None]
Headers = dict[str, str | bytes | None]
Ready = tuple[str, bytes, bytes, int, Delivered | None, None, int, Headers]
"""A message as the producer takes it: topic, value, key, partition, who is told of its delivery,
nobody else, the time as it is then, headers."""


class Place(NamedTuple):
    """Where an instrument's messages go."""

    partition: int
    tail: Tail
    key: bytes


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
        self._kept_s = 0.0
        self._publisher: Publisher | None = None
        self._admin: AdminClient | None = None

    async def open(self) -> Reached:
        """Find out what the topics hold, and from where the journal is needed for them."""
        topics = await asyncio.to_thread(look, self._client)
        kept = await asyncio.to_thread(kafka_checkpoint.read, self._data_dir)
        is_whole = kept.fits(topics.cluster, topics.ends())
        if not is_whole:
            kept = await asyncio.to_thread(self._begun, kept)
        self._checkpoint = kept
        self._kept_s = time.monotonic()
        encoder = Encoder(self._encoding, Books.of(kept.orders, kept.updated))
        publisher = Publisher(self._client, encoder, topics, self._limits.delivery_ms)
        if not is_whole and kept.sequence:
            publisher.begin_books(kept.sequence, kept.time_ns)
        self._publisher = publisher
        self._admin = AdminClient(self._client)
        return Reached(kept.sequence, kept.time_ns)

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
        orders, updated = books_of(engine).kept()
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

    def _keep(self, publisher: "Publisher") -> None:
        """Where nothing is under way. Without a newer one more of the journal is kept."""
        checkpoint = publisher.checkpoint()
        if checkpoint is None or checkpoint.sequence <= self._checkpoint.sequence:
            return
        with contextlib.suppress(OSError):
            kafka_checkpoint.write(self._data_dir, checkpoint)
            self._checkpoint = checkpoint
        self._kept_s = time.monotonic()


class Publisher:
    """Writes the topics on from where they ended. Used by one thread at a time."""

    def __init__(
        self, client: dict[str, Any], encoder: Encoder, topics: Topics, delivery_ms: int
    ) -> None:
        self.topics = topics
        self._encoder = encoder
        self._places: dict[tuple[str, str], Place] = {}
        """By topic and instrument."""
        self._newest: dict[Tail, Ready] = {}
        """What comes last in each partition so far, not yet handed over: the last of all tells
        where it landed, and with that where those before it did."""
        self._ready: list[Ready] = []
        """What is handed over next: without somebody to tell, a message costs half as much."""
        self._begun_sequence = max(
            tail.mark.sequence for tails in topics.tails.values() for tail in tails
        )
        """Of what comes after it, all topics lack everything."""
        self._handed_over = self._acknowledged = 0
        """Messages, as far as was looked."""
        self._beginning: list[Out] = []
        self._done: Record | None = None
        """The last one of which everything is acknowledged; None while that is not known."""
        self._stalled_s = delivery_ms / 1_000
        self._moved_s = self._looked_s = time.monotonic()
        """When something was last seen to be acknowledged, or begun; and when was last looked."""
        self._failed = ""
        self._closed = False
        self._producer = Producer(
            client
            | {
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": LINGER_MS,
                # One message that is given up while those behind it are sent would be a gap.
                "message.timeout.ms": 0,
                "enable.gapless.guarantee": True,
                "queue.buffering.max.messages": QUEUE_MESSAGES_MAX,
                "queue.buffering.max.kbytes": QUEUE_KIB_MAX,
                "error_cb": self._note,
                "logger": UNHEARD,
            }
        )

    def publish(self, records: list[Record]) -> None:
        """All messages of these that are missing; raises `KafkaFailed`."""
        self._done = None
        self._moved_s = self._looked_s = time.monotonic()
        self._send(self._beginning, records[0].journal.hex().encode())
        self._beginning.clear()
        messages = self._encoder.messages
        for record in records:
            journal = record.journal.hex().encode()
            wanted = self._is_missing if record.first_sequence <= self._begun_sequence else None
            for sequence, events in enumerate(record.events(), record.first_sequence):
                self._send(messages(sequence, record.time_ns, events, wanted), journal)
        for topic, value, key, partition, _, _, _, headers in self._newest.values():
            self._ready.append((topic, value, key, partition, self._delivered, None, 0, headers))
        self._newest.clear()
        self._hand_over()
        while len(self._producer):
            self._check()
            self._producer.flush(TURN_S)
        self._check()
        self._done = records[-1]

    def begin_books(self, sequence: int, time_ns: int) -> None:
        """Send all levels first, to partitions that have none or older ones."""
        self._beginning = list(self._encoder.snapshots(sequence, time_ns, self._is_missing))

    def checkpoint(self) -> Checkpoint | None:
        """Of this moment; None where not everything is acknowledged."""
        done = self._done
        if done is None or self._failed:
            return None
        journal, cluster = done.journal.hex(), self.topics.cluster
        ends = self.topics.ends()
        books = self._encoder.books.kept()
        return Checkpoint(journal, cluster, done.last_sequence, done.time_ns, ends, *books)

    def close(self) -> None:
        """Drop what waits."""
        self._closed = True
        self._producer.purge()

    def _place(self, topic: str, instrument: str) -> Place:
        found = self._places.get((topic, instrument))
        if found is None:
            tails, key = self.topics.tails[topic], instrument.encode()
            partition = zlib.crc32(key) % len(tails)
            found = self._places[topic, instrument] = Place(partition, tails[partition], key)
        return found

    def _is_missing(self, topic: str, mark: MessageMark) -> bool:
        return mark > self._place(topic, mark.instrument).tail.mark

    def _send(self, made: list[Out], journal: bytes) -> None:
        """Messages of one sequence."""
        if not made:
            return
        at = b"%d" % made[0].mark.sequence
        places, newest, ready = self._places, self._newest, self._ready
        for topic, mark, kind, value in made:
            _, number, instrument = mark
            place = places.get((topic, instrument)) or self._place(topic, instrument)
            partition, tail, key = place
            tail.mark = mark
            before = newest.get(tail)
            if before is not None:
                tail.under_way += 1
                ready.append(before)
            index, name = b"%d" % number, kind.encode()
            headers: Headers = {"sequence": at, "index": index, "type": name, "journal": journal}
            newest[tail] = (topic, value, key, partition, None, None, 0, headers)
        if len(ready) >= LOOK_MESSAGES:
            self._hand_over()

    def _hand_over(self) -> None:
        self._check()
        self._producer.poll(0)
        produce = self._producer.produce
        for message in self._ready:
            while True:
                try:
                    produce(*message)
                except BufferError:
                    self._check()
                    self._producer.poll(TURN_S)
                else:
                    self._handed_over += 1
                    break
        self._ready.clear()

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed = self._failed or error.str()
            return
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert partition is not None
        assert offset is not None
        tail = self.topics.tails[topic][partition]
        if offset != tail.offset + tail.under_way + 1:
            self._failed = self._failed or (
                f"{topic}/{partition} goes on at offset {offset - tail.under_way} after"
                f" {tail.offset}: somebody else changed it"
            )
        tail.offset, tail.under_way = offset, 0

    def _note(self, error: KafkaError) -> None:
        if error.fatal():
            self._failed = self._failed or error.str()

    def _check(self) -> None:
        if self._failed:
            raise KafkaFailed(self._failed)
        if self._closed:
            raise KafkaFailed("closed")
        waiting, now_s = len(self._producer), time.monotonic()
        acknowledged = self._handed_over - waiting
        if acknowledged > self._acknowledged:
            self._acknowledged = acknowledged
            self._moved_s = now_s
        elif now_s - self._looked_s > max(self._stalled_s / 2, 4 * TURN_S):
            # A command that fills or cancels very many takes as long to encode, and what was
            # acknowledged meanwhile is heard after this.
            self._moved_s = now_s
        elif waiting and now_s - self._moved_s > self._stalled_s:
            raise KafkaFailed(f"nothing was acknowledged for {self._stalled_s:g} s")
        self._looked_s = now_s
