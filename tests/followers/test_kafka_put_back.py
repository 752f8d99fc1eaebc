"""Topics that hold what came after the copy that was put back as the exchange's data directory."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from exchange.v1.part_service_pb2 import ListPartsRequest
from exchange.v1.part_service_pb2_grpc import PartServiceStub
from server.followers import kafka_checkpoint
from server.followers.messages import TOPICS, Json, Protobuf
from tests.followers.kafka_site import Broker
from tests.followers.test_kafka import (
    SECONDS,
    assert_topics_equal_the_journal,
    follow,
    load,
    wait_level,
)
from tests.running import Running, Starter, until

Copy = Callable[[Path, Path], object]

FEW: Final = 2
MANY: Final = 20
"""Messages of a load."""


def whole(data: Path, copy: Path) -> None:
    """Of a stopped exchange."""
    shutil.copytree(data, copy)
    assert (copy / kafka_checkpoint.FILE_NAME).exists()


def of_the_journal(data: Path, copy: Path) -> None:
    """As it may be made of one that runs."""
    copy.mkdir(mode=0o700)
    if (data / "snapshots").exists():
        shutil.copytree(data / "snapshots", copy / "snapshots")
    for file in data.glob("journal*"):
        shutil.copy(file, copy)


def followed(starter: Starter, broker: Broker, name: str, messages: int, *options: str) -> None:
    """A run of the exchange, whose orders are in the topics at its end."""
    server, address = starter.server()
    follower = follow(starter, address, broker, *options)
    load(address, name, messages)
    wait_level(address)
    assert follower.terminate() == 0
    assert server.terminate() == 0


def put_back(starter: Starter, broker: Broker, copy: Copy, *options: str) -> None:
    """Topics that go on where the exchange was when a copy was made."""
    followed(starter, broker, "before", FEW, *options)
    kept = starter.data_dir.with_name("copy")
    copy(starter.data_dir, kept)
    followed(starter, broker, "lost", MANY, *options)
    shutil.rmtree(starter.data_dir)
    shutil.copytree(kept, starter.data_dir)


def ends(broker: Broker) -> list[int]:
    return [len(broker.messages(topic)) for topic in TOPICS]


def assert_stopped(address: str, follower: Running, why: str) -> None:
    """It says what to do, and health that it is down."""
    line = follower.wait_line("kafka is down", SECONDS)
    assert why in line
    assert "delete its topics if the journal was put back from a copy" in line
    with grpc.insecure_channel(address) as channel:
        parts: Any = PartServiceStub(channel)

        def is_told() -> bool:
            found = parts.ListParts(ListPartsRequest(), timeout=SECONDS).parts
            return any((it.name, it.state) == ("kafka", "down") for it in found)

        until(is_told, SECONDS, "a Kafka that is told to be down")


@pytest.mark.parametrize(("copy", "value"), [(whole, "protobuf"), (of_the_journal, "json")])
def test_it_says_so_until_the_topics_are_deleted(
    starter: Starter, broker: Broker, copy: Copy, value: str
) -> None:
    """[I2] What came since would be left out of them, as if it were there."""
    options = ("--kafka-format", value)
    put_back(starter, broker, copy, *options)
    held = ends(broker)
    _server, address = starter.server()
    follower = follow(starter, address, broker, *options)
    assert_stopped(address, follower, "which this exchange has not reached")
    load(address, "after", FEW)
    assert ends(broker) == held
    broker.delete(*broker.topics())
    wait_level(address)
    assert_topics_equal_the_journal(address, broker, Json() if value == "json" else Protobuf())


def test_the_topics_of_another_exchange_are_told_as_such(starter: Starter, broker: Broker) -> None:
    """However long the journals are: nothing was put back."""
    followed(starter, broker, "other", FEW)
    held = ends(broker)
    shutil.rmtree(starter.data_dir)
    _server, address = starter.server()
    load(address, "new", MANY)
    line = follow(starter, address, broker).wait_line("kafka is down", SECONDS)
    assert "it is that of another exchange, whose journal is" in line
    assert "give this exchange one of its own, or empty it" in line
    assert ends(broker) == held


@pytest.mark.parametrize("copy", [whole, of_the_journal])
def test_it_says_so_where_the_journal_has_outgrown_them(
    starter: Starter, broker: Broker, copy: Copy
) -> None:
    """[I2] It went on while Kafka was away: the last message's sequence is something else's."""
    put_back(starter, broker, copy)
    held = ends(broker)
    _server, address = starter.server()
    load(address, "after", 2 * MANY)
    follower = follow(starter, address, broker)
    assert_stopped(address, follower, "it holds something else")
    assert ends(broker) == held
    broker.delete(*broker.topics())
    wait_level(address)
    assert_topics_equal_the_journal(address, broker)
