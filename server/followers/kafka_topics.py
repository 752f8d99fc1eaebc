"""What the topics hold: made where they are missing, and the last message of each partition."""

import time
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from server.followers.journal_reader import Reached
from server.followers.messages import TOPICS, MessageMark, time_ns_of

PARTITIONS: Final = 3
"""Of a topic that is made here: a few consumers can share it."""
KEPT: Final = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    # Else a broker refuses messages whose sender's clock is an hour ahead of its own.
    "message.timestamp.type": "LogAppendTime",
}
"""Everything, whatever the brokers' default and the clocks are."""
ANSWER_S: Final = 5.0
"""For a question to the brokers."""
TURN_S: Final = 0.05
"""Between two looks at something that takes a moment."""


class KafkaFailed(Exception):
    """The topics have to be opened again; the message says why."""


class Tail:
    """One partition: its last message, by mark and offset."""

    __slots__ = ("mark", "offset", "under_way")

    def __init__(self, mark: MessageMark, offset: int) -> None:
        self.mark = mark
        self.offset = offset
        # Messages sent since, before the last one.
        self.under_way = 0


Tails = dict[str, list[Tail]]
_NOTHING: Final = MessageMark(0, 0, "")
_NO_LEADER_YET: Final = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)


class Topics(NamedTuple):
    """Says what the topics hold."""

    cluster: str
    """Identity of the Kafka."""
    journals: frozenset[str]
    """Identities of the journals that the last messages are of."""
    tails: Tails
    last: Reached = Reached(0)
    """Of the newest of them."""

    def ends(self) -> dict[str, list[int]]:
        """Offset of the last message of each partition; -1 where there is none, or none left."""
        return {
            topic: [-1 if tail.mark == _NOTHING else tail.offset for tail in tails]
            for topic, tails in self.tails.items()
        }


def look(client: dict[str, Any]) -> Topics:
    """Find out; every topic is there afterwards. Raises `KafkaFailed` and `KafkaException`."""
    admin = AdminClient(client)
    there = admin.list_topics(timeout=ANSWER_S)
    missing = [
        NewTopic(topic, PARTITIONS, config=KEPT) for topic in TOPICS if topic not in there.topics
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
        tails, journals, last = _tails(admin, consumer)
    finally:
        consumer.close()
    return Topics(there.cluster_id or "", frozenset(journals - {""}), tails, last)


def compare(admin: AdminClient, tails: Tails) -> None:
    """Raises `KafkaFailed` and `KafkaException` where one doesn't end where it was left."""
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = {
        TopicPartition(topic, number): latest
        for topic, partitions in tails.items()
        for number in range(len(partitions))
    }
    for place, found in admin.list_offsets(asked, request_timeout=ANSWER_S).items():
        offset, left = found.result().offset, tails[place.topic][place.partition].offset + 1
        if offset != left:
            raise KafkaFailed(
                f"{place.topic}/{place.partition} ends at offset {offset}, and was left at {left}:"
                " somebody else changed it"
            )


def _tails(admin: AdminClient, consumer: Consumer) -> tuple[Tails, set[str], Reached]:
    """Ask for all last messages at once."""
    tails: Tails = {}
    wanted = []
    for topic in TOPICS:
        tails[topic] = []
        for number in range(_partitions(admin, topic)):
            place = TopicPartition(topic, number)
            low, high = _watermarks(consumer, place)
            tails[topic].append(Tail(_NOTHING, high - 1))
            if low < high:
                wanted.append(TopicPartition(topic, number, high - 1))
    journals: set[str] = set()
    last = Reached(0)
    consumer.assign(wanted)
    deadline = time.monotonic() + ANSWER_S
    left = {(place.topic, place.partition) for place in wanted}
    while left:
        message = consumer.poll(TURN_S)
        if message is not None and message.error() is None:
            topic, number = str(message.topic()), int(message.partition() or 0)
            if (topic, number) in left:
                tails[topic][number].mark, journal, time_ns = mark_of(message)
                journals.add(journal)
                sequence = tails[topic][number].mark.sequence
                last = max(last, Reached(sequence, time_ns, journal))
                left.discard((topic, number))
                consumer.pause([TopicPartition(topic, number)])
        elif time.monotonic() > deadline:
            why = "no answer" if message is None else message.error()
            topic, number = min(left)
            raise KafkaFailed(f"the end of {topic}/{number} can't be read: {why}")
    return tails, journals, last


def mark_of(message: Message) -> tuple[MessageMark, str, int]:
    """Where a message stands, the identity of its journal, and the time of its command; raises
    `KafkaFailed`."""
    headers: dict[str, Any] = dict(message.headers() or ())
    try:
        instrument = (message.key() or b"").decode()
        mark = MessageMark(int(headers["sequence"]), int(headers["index"]), instrument)
        journal = bytes(headers.get("journal", b"")).decode()
        return mark, journal, time_ns_of(str(message.topic()), message.value() or b"")
    except (KeyError, ValueError) as error:
        place = f"{message.topic()}/{message.partition()}"
        raise KafkaFailed(
            f"{place} ends with a message that is not the exchange's: {error!r}"
        ) from error


def _partitions(admin: AdminClient, topic: str) -> int:
    """A topic that was just made takes a moment to be known."""
    deadline = time.monotonic() + ANSWER_S
    while not (count := len(admin.list_topics(topic, timeout=ANSWER_S).topics[topic].partitions)):
        if time.monotonic() > deadline:
            raise KafkaFailed(f"{topic} has no partitions after {ANSWER_S:.0f} s")
        time.sleep(TURN_S)
    return count


def _watermarks(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    """Ask for the first and the next offset of a partition, again until it has a leader."""
    deadline = time.monotonic() + ANSWER_S
    while True:
        try:
            return consumer.get_watermark_offsets(place, timeout=ANSWER_S)
        except KafkaException as error:
            if error.args[0].code() not in _NO_LEADER_YET or time.monotonic() > deadline:
                raise
        time.sleep(TURN_S)
