"""The embedded Kafka: one broker, whose topics are where its data directory is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from tests.followers.kafka_site import Broker
from tests.running import until

CREATED_S = 10.0

ODD_NAME = os.fsdecode(b' Gr\xc3\xb6\xc3\x9fe \xff, "\\tb\\" #$x\n!port=1\t ')
"""Of a directory: what configuration files, lists and encodings have a meaning for."""


def test_its_topics_are_in_a_directory_of_any_name(tmp_path: Path) -> None:
    directory = tmp_path / ODD_NAME / "kafka"
    with started(directory) as admin:
        (made,) = admin.create_topics([NewTopic("kept", 1)]).values()
        made.result(CREATED_S)
        until((directory / "log" / "kept-0").is_dir, CREATED_S, "the topic's directory")
    with started(directory) as admin:
        assert "kept" in admin.list_topics(timeout=CREATED_S).topics
    assert [path.name for path in tmp_path.iterdir()] == [ODD_NAME]


@contextmanager
def started(directory: Path) -> Iterator[AdminClient]:
    """A broker, and who asks it."""
    broker = Broker(directory)
    broker.start()
    try:
        yield AdminClient({"bootstrap.servers": broker.address, "log_level": 0})
    finally:
        broker.kill()
