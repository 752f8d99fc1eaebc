"""Topics that somebody changes while they are written."""

import asyncio
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)

from server.followers.kafka import KafkaFollower
from server.followers.kafka_topics import KafkaFailed
from server.followers.messages import ORDER_EVENTS
from server.journal.record import Record
from server.settings import KafkaSettings
from tests.followers.kafka_site import Broker
from tests.journal.site import Site, every_command, records_of, trade
from tests.running import until

SECONDS = 60.0


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    site = Site(tmp_path / "data")
    every_command(site)
    trade(site, 40)
    site.close()
    return records_of(tmp_path / "data")


def limit_messages(broker: Broker, topic: str, size: int) -> None:
    admin = AdminClient({"bootstrap.servers": broker.address, "log_level": 0})
    change = AlterConfigOpType.SET
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=change)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    for done in admin.incremental_alter_configs([resource]).values():
        done.result()


def test_one_that_is_deleted_under_load_is_not_made_by_the_broker(
    broker: Broker, records: list[Record], tmp_path: Path
) -> None:
    """It would have one partition, and lose what is a week old."""

    def is_gone() -> bool:
        return ORDER_EVENTS not in broker.topics()

    async def run() -> None:
        follower = KafkaFollower(broker.address, tmp_path, limits=KafkaSettings(delivery_ms=5_000))
        await follower.open()
        try:
            await follower.take(records[:20])
            await asyncio.to_thread(broker.delete, ORDER_EVENTS)
            with pytest.raises(KafkaFailed):
                await follower.take(records[20:])
            await asyncio.to_thread(until, is_gone, SECONDS, "the end of the topic")
        finally:
            await follower.close()

    asyncio.run(run())


def test_one_that_takes_smaller_messages_is_told_with_a_remedy(
    broker: Broker, records: list[Record], tmp_path: Path
) -> None:
    """In the same words at each attempt, so that it is one line."""

    async def run() -> list[str]:
        told = []
        for size in (100, 100, 1_048_588):
            follower = KafkaFollower(broker.address, tmp_path, limits=KafkaSettings())
            await follower.open()
            try:
                await asyncio.to_thread(limit_messages, broker, ORDER_EVENTS, size)
                await follower.take(records)
            except KafkaFailed as failed:
                told.append(str(failed))
            finally:
                await follower.close()
        return told

    (told,) = set(asyncio.run(run()))
    assert told == (
        f"{ORDER_EVENTS} does not take what is sent (Broker: Message size too large):"
        " raise its max.message.bytes"
    )
