"""Kafka after the wall clock was set back, by which its client ends its waits."""

import threading
from pathlib import Path

import pytest

from server.followers import kafka
from server.followers.kafka import KafkaFollower
from server.followers.kafka_topics import KafkaFailed
from server.settings import KafkaSettings


@pytest.mark.asyncio
async def test_a_question_that_does_not_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(kafka, "look", lambda _: ended.wait(60))
    monkeypatch.setattr(kafka, "OPEN_S", 0.05)
    follower = KafkaFollower("127.0.0.1:9", tmp_path, limits=KafkaSettings())
    try:
        with pytest.raises(KafkaFailed, match=r"no answer within 0\.05 s"):
            await follower.open()
    finally:
        ended.set()
        await follower.close()
