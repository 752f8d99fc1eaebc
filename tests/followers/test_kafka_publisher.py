"""When the Kafka follower gives a broker up for silent, by a clock and a producer of the test's."""

import gc
from types import SimpleNamespace
from typing import Any

import pytest

from server.followers import kafka_publisher
from server.followers.kafka_publisher import LOOK_MESSAGES, Publisher
from server.followers.kafka_topics import KafkaFailed, Tail, Topics
from server.followers.messages import TOPICS, TRADES, Encoder, MessageMark, Out, Protobuf
from server.journal.record import Record
from tests.history.written import Written
from tests.journal.site import INSTRUMENT, settings

DELIVERY_S = 5.0
DELIVERY_MS = int(1_000 * DELIVERY_S)
NOBODY = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}
SLOW_BROKER = {
    "bootstrap.servers": "",
    "test.mock.num.brokers": 1,
    "test.mock.broker.rtt": 300,
    "log_level": 0,
}
"""Within the producer's own library; milliseconds to answer."""


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Broker:
    """A producer whose broker acknowledges what it has as soon as that is asked for, or never."""

    def __init__(self, clock: Clock, *, silent: bool) -> None:
        self._clock = clock
        self._silent = silent
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def produce(self, *_: Any, **__: Any) -> None:
        self._waiting += 1

    def poll(self, seconds: float) -> None:
        self._clock.now_s += seconds

    def flush(self, seconds: float) -> None:
        self._clock.now_s += seconds
        if not self._silent:
            self._waiting = 0


class Slow(Encoder):
    """Takes longer for one command than a broker may be silent."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(Protobuf())
        self._clock = clock

    def messages(self, sequence: int, *_: Any) -> list[Out]:
        self._clock.now_s += 3 * DELIVERY_S
        marks = [MessageMark(sequence, number, INSTRUMENT) for number in range(2 * LOOK_MESSAGES)]
        return [Out(TRADES, mark, "trade", b"") for mark in marks]


def empty_topics() -> Topics:
    return Topics("", frozenset(), {topic: [Tail(MessageMark(0, 0, ""), -1)] for topic in TOPICS})


def published(monkeypatch: pytest.MonkeyPatch, records: list[Record], *, silent: bool) -> Clock:
    clock = Clock()
    monkeypatch.setattr(kafka_publisher, "time", SimpleNamespace(monotonic=clock))
    publisher = Publisher(NOBODY, Slow(clock), empty_topics(), DELIVERY_MS)
    monkeypatch.setattr(publisher, "_producer", Broker(clock, silent=silent))
    publisher.publish(records)
    return clock


@pytest.fixture
def records() -> list[Record]:
    written = Written()
    written.commit(*settings())
    return written.records


def test_what_a_command_takes_to_encode_is_no_silence_of_the_broker(
    records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be given up, and the same again each time that it is begun anew."""
    published(monkeypatch, records, silent=False)


def test_a_silent_broker_is_given_up(
    records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KafkaFailed, match="nothing was acknowledged for 5 s"):
        published(monkeypatch, records, silent=True)


def test_what_is_under_way_when_it_is_closed_is_dropped_without_a_word(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Which would come past the lines that tell of an outage, each time that it is tried again."""
    publisher = Publisher(SLOW_BROKER, Encoder(Protobuf()), empty_topics(), DELIVERY_MS)
    producer = publisher._producer
    producer.produce("trades", b"acknowledged")
    assert producer.flush(30) == 0
    while not len(producer):  # On a busy machine the answer may come within one look.
        producer.produce("trades", b"under way")
        producer.poll(0.15)
    publisher.close()
    del publisher, producer
    gc.collect()  # It says its last when it is let go.
    assert capfd.readouterr() == ("", "")
