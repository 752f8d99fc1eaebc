"""The follower process: the snapshot follower, those of the outside parts, and their probes.

Where the snapshot follower finds other events than the recorded ones, the process ends with an exit
code of its own: either engine or journal is wrong, and no restart changes that.

It runs at low priority: while the server needs the cores, it waits.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import NoReturn

import uvloop

from server import collector, logs
from server.exits import Exit
from server.followers import snapshots
from server.followers.following import Follower, Following
from server.followers.journal_reader import JournalReader
from server.followers.probes import probe, probings
from server.journal.refusals import JournalRefused
from server.outage_lines import OutageLines
from server.settings import Settings


def main(settings: Settings, on_serving: Callable[[], None]) -> int:
    """Follow until SIGTERM or SIGINT: the exit code."""
    try:
        uvloop.run(_follow(settings, on_serving))
    except JournalRefused as refused:
        logs.last_word(f"the snapshot follower can't go on: {refused}")
        os._exit(Exit.DIVERGED)


async def _follow(settings: Settings, on_serving: Callable[[], None]) -> NoReturn:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    follower = snapshots.SnapshotFollower(settings.data_dir, settings.snapshots.interval_s)
    collector.settle()
    reader = JournalReader(settings.server_address, snapshots.NAME)
    engine_use = asyncio.Lock()
    retry_max_s = settings.followers.retry_max_ms / 1_000
    followings = [
        Following(each, settings.server_address, OutageLines(logs.complain), retry_max_s)
        for each in _followers(settings)
    ]
    probe(probings(settings, followings, logs.complain), settings.server_address)
    tasks = [
        asyncio.create_task(stop.wait()),
        asyncio.create_task(snapshots.read(follower, reader, engine_use, on_serving)),
        asyncio.create_task(snapshots.write(follower, reader, engine_use)),
        *(asyncio.create_task(following.run()) for following in followings),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        # A part that is only just starting may let nobody go for seconds.
        await asyncio.wait(tasks, timeout=settings.stop.part_s / 2)
        await reader.close()
    # Not to wait for threads that ask a part which doesn't answer: there is nothing to lose.
    logs.flush()
    os._exit(Exit.CLEAN)


def _followers(settings: Settings) -> list[Follower]:
    """Make a follower for each outside part that the settings name; what is not asked for costs
    nothing, not even its library."""
    parts: list[Follower] = []
    if settings.postgres_url:
        from server.followers.postgres import PostgresFollower

        parts.append(PostgresFollower(settings.postgres_url, settings.history, say=logs.complain))
    if settings.kafka_brokers:
        from server.followers.kafka import KafkaFollower

        as_json = settings.kafka_format == "json"
        brokers, limits = settings.kafka_brokers, settings.kafka
        parts.append(KafkaFollower(brokers, settings.data_dir, limits=limits, as_json=as_json))
    if settings.redis_url:
        from server.followers.redis import RedisFollower

        parts.append(RedisFollower(settings.redis_url, settings.data_dir))
    return parts
