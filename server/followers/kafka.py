"""The Kafka follower: the journal's events on topics, gapless and in order, whatever happens.

Its position is in the topics themselves. To open is to create the topics that are missing, and to
read the last message of each partition; then the journal is taken in from its beginning, and each
message is sent that stands behind the last one of its partition. A partition is written in the
journal's order by one idempotent producer, so what is there is a beginning of what should be, and
what is missing is its continuation: after an outage, a topic that was deleted, or another Kafka.

- `take` returns when all replicas in sync have acknowledged everything in it. The producer's queue
  is bounded; full, it is waited for. What is not acknowledged in `DELIVERY_MS` closes the producer,
  and everything begins again from what the topics then hold. A message whose fate was unknown may
  be there twice then; its headers tell (`kafka_messages.py`).
- A message that lands at another offset than the one after the last shows a topic that was emptied
  behind the producer's back: closed, and begun again, too.

Known limits: opening takes the whole journal in, some µs an event, since the levels of the book
depend on all of it. One writer: `exchange-*` topics are for this follower alone. A topic is kept
for ever unless its owner sets another retention; one that was emptied by it is filled again.
"""

import asyncio
import time
import zlib
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from server.followers.following import Reached
from server.followers.kafka_messages import TOPICS, Encoder, Mark, Out, json, protobuf
from server.journal.record import Record

PARTITIONS: Final = 3
"""Of a topic that is made here: a few consumers can share it."""
QUEUE_MESSAGES_MAX: Final = 20_000
QUEUE_KIB_MAX: Final = 16 * 1024
"""Waiting in the producer: a fraction of a second of a busy exchange."""
DELIVERY_MS: Final = 5_000
"""For one message, retries included: a leader changes in less."""
ANSWER_S: Final = 5.0
"""For a question to the brokers."""
TURN_S: Final = 0.05
"""Of waiting for acknowledgements, between two looks at what went wrong."""


class KafkaFailed(Exception):
    """It has to be opened again; the message says why."""


class KafkaFollower:
    """A follower as `server/followers/following.py` has it."""

    name = "kafka"

    def __init__(self, brokers: str, *, as_json: bool = False) -> None:
        self._client = {
            "bootstrap.servers": brokers,
            "client.id": "exchange",
            "socket.timeout.ms": DELIVERY_MS,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1_000,
            # What goes wrong is told once, by who opens and closes this.
            "log_level": 0,
        }
        self._encode = json if as_json else protobuf
        self._publisher: Publisher | None = None

    async def open(self) -> Reached:
        """Find out what the topics hold; the journal is needed from its beginning."""
        last = await asyncio.to_thread(tails, self._client)
        self._publisher = Publisher(self._client, Encoder(self._encode), last)
        return Reached(0)

    async def take(self, records: list[Record]) -> None:
        """Send what is missing of these, and wait until it is safe."""
        assert self._publisher is not None
        await asyncio.to_thread(self._publisher.publish, records)

    async def close(self) -> None:
        """Forget what was not acknowledged: the topics will tell."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close()


class Tail:
    """One partition: its last message, by mark and offset."""

    __slots__ = ("mark", "offset")

    def __init__(self, mark: Mark, offset: int) -> None:
        self.mark = mark
        self.offset = offset


Tails = dict[str, list[Tail]]
_NOTHING: Final = Mark(0, 0, "")


class Publisher:
    """Writes the topics on from where they ended. Used by one thread at a time."""

    def __init__(self, client: dict[str, Any], encoder: Encoder, last: Tails) -> None:
        self._encoder = encoder
        self._last = last
        self._reached = min(tail.mark.sequence for tails in last.values() for tail in tails)
        """Nothing of the commands before it is missing anywhere."""
        self._failed = ""
        self._closed = False
        self._producer = Producer(
            client
            | {
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 5,
                "message.timeout.ms": DELIVERY_MS,
                "queue.buffering.max.messages": QUEUE_MESSAGES_MAX,
                "queue.buffering.max.kbytes": QUEUE_KIB_MAX,
                "error_cb": self._note,
            }
        )

    def publish(self, records: list[Record]) -> None:
        """All messages of these that are missing; raises `KafkaFailed`."""
        messages = self._encoder.messages
        for record in records:
            for sequence, events in enumerate(record.events(), record.first_sequence):
                wanted = sequence >= self._reached
                for out in messages(sequence, record.time_ns, events, wanted=wanted):
                    self._send(out)
        while len(self._producer) and not self._failed and not self._closed:
            self._producer.flush(TURN_S)
        self._check()

    def close(self) -> None:
        """Drop what waits."""
        self._closed = True
        self._producer.purge()

    def _send(self, out: Out) -> None:
        tails = self._last[out.topic]
        key = out.mark.instrument.encode()
        partition = zlib.crc32(key) % len(tails)
        tail = tails[partition]
        if out.mark <= tail.mark:
            return
        tail.mark = out.mark
        headers: dict[str, str | bytes | None] = {
            "sequence": str(out.mark.sequence).encode(),
            "index": str(out.mark.number).encode(),
            "type": out.type.encode(),
        }
        while True:
            self._check()
            try:
                self._producer.produce(
                    out.topic, out.value, key, partition, self._delivered, headers=headers
                )
            except BufferError:
                self._producer.poll(TURN_S)
            else:
                self._producer.poll(0)
                return

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed = self._failed or error.str()
            return
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert partition is not None
        assert offset is not None
        tail = self._last[topic][partition]
        if offset != tail.offset + 1:
            self._failed = self._failed or (
                f"{topic}/{partition} goes on at offset {offset} after {tail.offset}: somebody else"
                " changed it"
            )
        tail.offset = offset

    def _note(self, error: KafkaError) -> None:
        if error.fatal():
            self._failed = self._failed or error.str()

    def _check(self) -> None:
        if self._failed:
            raise KafkaFailed(self._failed)
        if self._closed:
            raise KafkaFailed("closed")


def tails(client: dict[str, Any]) -> Tails:
    """The last message of every partition of every topic, which is there afterwards."""
    admin = AdminClient(client)
    there = admin.list_topics(timeout=ANSWER_S).topics
    missing = [
        NewTopic(topic, PARTITIONS, config={"retention.ms": "-1"})
        for topic in TOPICS
        if topic not in there
    ]
    for made in admin.create_topics(missing, request_timeout=ANSWER_S).values() if missing else ():
        try:
            made.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    group = {"group.id": "exchange-follower", "enable.auto.commit": False}
    consumer = Consumer(client | group)
    try:
        return {
            topic: [_tail(consumer, topic, number) for number in range(_partitions(admin, topic))]
            for topic in TOPICS
        }
    finally:
        consumer.close()


def _partitions(admin: AdminClient, topic: str) -> int:
    """A topic that was just made takes a moment to be known."""
    return _until(lambda: len(admin.list_topics(topic, timeout=ANSWER_S).topics[topic].partitions))


def _until(found: Callable[[], int]) -> int:
    deadline = time.monotonic() + ANSWER_S
    while not (count := found()):
        if time.monotonic() > deadline:
            raise KafkaFailed(f"a topic has no partitions after {ANSWER_S:.0f} s")
        time.sleep(TURN_S)
    return count


def _tail(consumer: Consumer, topic: str, number: int) -> Tail:
    place = TopicPartition(topic, number)
    low, high = consumer.get_watermark_offsets(place, timeout=ANSWER_S)
    if low == high:
        return Tail(_NOTHING, high - 1)
    consumer.assign([TopicPartition(topic, number, high - 1)])
    message = consumer.poll(ANSWER_S)
    if message is None or message.error() is not None:
        why = "no answer" if message is None else message.error()
        raise KafkaFailed(f"{topic}/{number} can't be read at offset {high - 1}: {why}")
    headers: dict[str, Any] = dict(message.headers() or ())
    try:
        instrument = (message.key() or b"").decode()
        mark = Mark(int(headers["sequence"]), int(headers["index"]), instrument)
    except (KeyError, ValueError) as error:
        raise KafkaFailed(
            f"{topic}/{number} ends with a message that is not the exchange's: {error!r}"
        ) from error
    return Tail(mark, high - 1)
