"""A real Kafka broker for a module's tests, and what its topics hold."""

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    ConfigSource,
)

from server.followers.kafka import KafkaFollower
from server.followers.messages import TOPICS, Encoder, MessageMark, Protobuf
from server.journal.record import Record
from server.settings import KafkaSettings
from server.supervisor.embedded.kafka import KafkaMissing, command, install, prepare
from tests.running import free_port

START_S = 60.0


class Broker:
    """One node, on ports of its own, which it keeps across restarts."""

    def __init__(self, directory: Path) -> None:
        try:
            self._installation = install(print)
        except KafkaMissing as missing:
            # Where CI is set, a skip is a failure.
            pytest.skip(f"no Kafka here, so its follower is not tested: {missing}")
        self._port = free_port()
        self.address = f"127.0.0.1:{self._port}"
        self._directory = directory
        self._configuration = prepare(self._installation, directory, self._port, free_port())
        with self._configuration.open("a", encoding="utf-8") as configuration:
            configuration.write("auto.create.topics.enable=true\n")  # as other brokers have it
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Until it answers."""
        with (self._directory / "output").open("ab") as output:
            self._process = subprocess.Popen(
                command(self._installation, self._configuration),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        while True:
            assert self._process.poll() is None, (self._directory / "output").read_text()
            try:
                admin.list_topics(timeout=1)
            except Exception:
                assert time.monotonic() < deadline, (self._directory / "output").read_text()
            else:
                return

    def signal(self, number: int) -> None:
        """Pause it, or let it go on."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it the hard way."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def exit_code(self) -> int | None:
        """None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def topics(self) -> list[str]:
        """Those of the exchange that are there."""
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        return [name for name in admin.list_topics(timeout=10).topics if name in TOPICS]

    def settings(self, topic: str) -> dict[str, str]:
        """Those that the topic has of its own."""
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        asked = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)])
        (found,) = (done.result() for done in asked.values())
        own = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
        return {name: each.value for name, each in found.items() if each.source == own}

    def delete(self, *topics: str) -> None:
        """Topics and all that they hold."""
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        for done in admin.delete_topics(list(topics)).values() if topics else ():
            done.result()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It takes what is sent and answers nothing."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    @contextmanager
    def slowed(self) -> Iterator[None]:
        """It is stopped for nine tenths of the time."""
        ended = threading.Event()

        def take_turns() -> None:
            while not ended.is_set():
                self.signal(signal.SIGSTOP)
                ended.wait(0.045)
                self.signal(signal.SIGCONT)
                ended.wait(0.005)

        turns = threading.Thread(target=take_turns)
        turns.start()
        try:
            yield
        finally:
            ended.set()
            turns.join()

    def messages(self, topic: str) -> list[Any]:
        """All that a topic holds, partition by partition."""
        group = f"test-{os.getpid()}"
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": group, "log_level": 0})
        found: list[list[Any]] = []
        try:
            places = []
            missing = 0
            for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
                place = TopicPartition(topic, number, 0)
                low, high = consumer.get_watermark_offsets(place, timeout=10)
                missing += high - low
                places.append(place)
                found.append([])
            consumer.assign(places)
            while missing:
                message = consumer.poll(10)
                assert message is not None, f"{missing} messages of {topic} don't come"
                assert message.error() is None, message.error()
                found[message.partition() or 0].append(message)
                missing -= 1
        finally:
            consumer.close()
        return [message for messages in found for message in messages]


def everything(topic: str, mark: MessageMark) -> bool:
    return bool(topic and mark)


def row_of(message: Any) -> tuple[int, int, str, bytes]:
    headers = dict(message.headers())
    key = message.key().decode()
    return int(headers["sequence"]), int(headers["index"]), key, message.value()


def rows_of(records: list[Record]) -> dict[str, list[tuple[int, int, str, bytes]]]:
    """What the topics have to hold of them, sorted."""
    encoder = Encoder(Protobuf())
    rows = defaultdict(list)
    for record in records:
        for sequence, events in enumerate(record.events(), record.first_sequence):
            for out in encoder.messages(sequence, record.time_ns, events, everything):
                rows[out.topic].append((*out.mark, out.value))
    return {topic: sorted(found) for topic, found in rows.items()}


class Writer:
    """The follower without a server, on some days' records."""

    def __init__(self, broker: Broker, directory: Path, **limits: Any) -> None:
        self._broker = broker
        self._directory = directory
        self._limits = KafkaSettings(**{"delivery_ms": 2_000, "checkpoint_s": 0, **limits})

    def write(self, *batches: list[Record], whole: bool = True) -> tuple[int, int]:
        """Where it began, and after what it would have the journal kept."""
        return asyncio.run(self._write(batches, whole))

    async def _write(self, batches: Sequence[list[Record]], whole: bool) -> tuple[int, int]:
        follower = KafkaFollower(self._broker.address, self._directory, limits=self._limits)
        try:
            reached = await follower.open()
            kept = reached.sequence
            for batch in batches:
                left = [record for record in batch if record.last_sequence > reached.sequence]
                kept = await follower.take(left) if left else kept
            return reached.sequence, kept
        finally:
            if whole:
                await follower.close()

    def assert_all_there(self, records: list[Record]) -> None:
        rows = rows_of(records)
        for topic in TOPICS:
            found = sorted(row_of(message) for message in self._broker.messages(topic))
            assert found == rows[topic], "all of it, and nothing twice"
