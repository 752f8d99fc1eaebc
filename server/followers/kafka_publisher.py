"""Publishes messages to Kafka's topics behind the last ones that are there, gapless and in order.

- All is acknowledged, by all replicas in sync, when `publish` returns. The producer's queue is
  bounded; full, it is waited for. When nothing has been acknowledged for `delivery_ms`, `publish`
  raises, and a new publisher begins from what the topics then hold. No message is ever given up
  alone, since those behind it would be sent and leave a gap. A message whose fate was unknown may
  be there twice then; its headers tell (`messages.py`).
- A batch whose last message does not land as many offsets behind the last one as it has messages
  shows a topic that was emptied behind the producer's back: that raises, too.
"""

import logging
import re
import time
import zlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from server.followers.kafka_checkpoint import Checkpoint
from server.followers.kafka_topics import TURN_S, KafkaFailed, Tail, Topics
from server.followers.messages import Encoder, MessageMark, Out
from server.journal.record import Record

QUEUE_MESSAGES_MAX: Final = 20_000
QUEUE_KIB_MAX: Final = 16 * 1024
"""Waiting in the producer: a fraction of a second of a busy exchange."""
LINGER_MS: Final = 50
"""Longer than a batch takes to encode: its messages go together, at the flush behind them."""
LOOK_MESSAGES: Final = 256
"""So many are handed over between two looks at what became of those before."""

_REFUSED: Final = re.compile(
    r"ProduceRequest for (\S+) \[\d+\] with \d+ message\(s\) failed: (.+) \(broker \d+ PID.*"
)
_REMEDIES: Final = {
    KafkaError(KafkaError.MSG_SIZE_TOO_LARGE).str(): "raise its max.message.bytes",
    KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED).str(): "let the exchange write to it",
}

UNHEARD: Final = logging.Logger("kafka")
"""For what a producer says whatever its `log_level`: that what it drops at its end leaves a gap."""
UNHEARD.disabled = True

_new: Final = tuple.__new__

Delivered = Callable[[KafkaError | None, Message], None]
Headers = dict[str, str | bytes | None]


class Ready(NamedTuple):
    """A message as `Producer.produce` takes it, argument by argument."""

    topic: str
    value: bytes
    key: bytes
    partition: int
    callback: Delivered | None
    """Told of its delivery."""
    on_delivery: None
    """Another name of the one before."""
    timestamp: int
    """0: the time as it is when it is sent."""
    headers: Headers


class Place(NamedTuple):
    """Where an instrument's messages go."""

    partition: int
    tail: Tail
    key: bytes


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
        """Publish all messages of these that are missing; raises `KafkaFailed`."""
        try:
            self._publish(records)
        except KafkaException as error:
            raise KafkaFailed(_why(error.args[0])) from error

    def _publish(self, records: list[Record]) -> None:
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
        last = self._newest.values()
        self._ready += (message._replace(callback=self._delivered) for message in last)
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
        """Make a checkpoint of this moment; None where not everything is acknowledged."""
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
        """Send the messages of one sequence."""
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
            newest[tail] = _new(Ready, (topic, value, key, partition, None, None, 0, headers))
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
            self._failed = self._failed or _why(error)
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
            self._failed = self._failed or _why(error)

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


def _why(error: KafkaError) -> str:
    """Tell of an error in the same words each time, and what a person can do."""
    found = _REFUSED.fullmatch(error.str())
    if not found:
        return error.str()
    topic, why = found.groups()
    remedy = _REMEDIES.get(why)
    return f"{topic} does not take what is sent ({why})" + (f": {remedy}" if remedy else "")
