"""The slow-reader rule, without a transport."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from server.feed.fan_out import Piece, QueueReader, Readers, ServerStopping, TooManyReaders
from server.settings import FeedLimits

pytestmark = pytest.mark.asyncio

LIMITS = FeedLimits(subscribers_max=3, subscriber_bytes_max=100, connection_bytes_max=250)


class Stuck:
    """A reader whose sender is in the middle of a write that does not return."""

    def __init__(self, readers: Readers, peer: str) -> None:
        self.reader: QueueReader
        self.task = asyncio.create_task(self._send(readers, peer))

    async def _send(self, readers: Readers, peer: str) -> None:
        self.reader = QueueReader(readers, peer)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.reader.close()


@asynccontextmanager
async def stuck(readers: Readers, *peers: str) -> AsyncIterator[list[Stuck]]:
    senders = [Stuck(readers, peer) for peer in peers]
    await asyncio.sleep(0)
    yield senders
    for sender in senders:
        sender.task.cancel()
        with suppress(asyncio.CancelledError):
            await sender.task
    assert readers.open == set()
    assert readers.bytes_waiting == 0


def piece(size: int, sequence: int = 1) -> Piece:
    return Piece(sequence, b"x" * size)


async def test_cut_is_past_the_bound_and_judged_before_adding() -> None:
    readers = Readers(LIMITS, 0, 0)
    async with stuck(readers, "a", "b") as (slow, other):
        slow.reader.put([piece(60), piece(40)])
        slow.reader.put([piece(1)])
        other.reader.put([piece(100)])
        other.reader.put([piece(1)])
        assert readers.cut_count == 0
        slow.reader.sequence_sent = 41
        slow.reader.put([piece(1)])
        assert slow.reader.ended is not None
        assert (slow.reader.ended.sequence, slow.reader.ended.bytes_max) == (41, 100)
        assert slow.reader.bytes_waiting == 0
        assert readers.bytes_waiting == 101
        assert readers.cut_count == 1
        with pytest.raises(asyncio.CancelledError):
            await slow.task
        assert other.reader.ended is None
        assert not other.task.done()


async def test_a_record_larger_than_the_bound_makes_nobody_slow() -> None:
    readers = Readers(LIMITS, 0, 0)
    async with stuck(readers, "gateway", "gateway") as (first, second):
        for reader in (first.reader, second.reader):
            reader.put([piece(90), piece(90), piece(20)])
            reader.put([piece(100)])
        # Nor while it is being taken, whatever comes meanwhile.
        first.reader.take(180)
        first.reader.put([piece(100)])
        assert readers.cut_count == 0
        first.reader.take(1_000)
        # Then the bound is what it was, and who takes nothing is cut.
        first.reader.put([piece(99)])
        first.reader.put([piece(2)])
        second.reader.put([piece(1)])
        assert readers.cut_count == 0
        first.reader.put([piece(1)])
        second.reader.put([piece(1)])
        assert first.reader.ended is not None
        assert second.reader.ended is not None


async def test_past_the_bound_of_a_connection_the_slowest_is_cut() -> None:
    readers = Readers(LIMITS, 0, 0)
    async with stuck(readers, "gateway", "gateway", "elsewhere") as (first, second, alone):
        first.reader.put([piece(100)])
        first.reader.put([piece(60)])
        second.reader.put([piece(95)])
        alone.reader.put([piece(90)])
        assert readers.bytes_waiting == 345
        second.reader.put([piece(1)])
        assert first.reader.ended is not None
        assert first.reader.ended.bytes_max == 250
        assert second.reader.ended is None
        assert alone.reader.ended is None
        assert readers.bytes_waiting == 186


async def test_taking_makes_room() -> None:
    readers = Readers(LIMITS, 0, 0)
    async with stuck(readers, "a") as (sender,):
        reader = sender.reader
        for sequence in range(5):
            reader.put([piece(20, sequence)])
        assert [each.sequence for each in reader.take(50)] == [0, 1]
        assert [each.sequence for each in reader.take(1)] == [2]
        assert reader.bytes_waiting == readers.bytes_waiting == 40


async def test_places_are_bounded_and_come_back() -> None:
    readers = Readers(LIMITS, 0, 0)
    async with stuck(readers, "a", "b", "c") as senders:
        with pytest.raises(TooManyReaders, match="3 streams"):
            QueueReader(readers, "d")
        senders[0].reader.close()
        QueueReader(readers, "d").close()


async def test_stop_wakes_everybody_and_takes_nobody_in() -> None:
    readers = Readers(LIMITS, 9, 0)
    reader = QueueReader(readers, "a")
    reader.sequence_sent = 8
    news = asyncio.create_task(reader.news())
    await asyncio.sleep(0)
    readers.stop()
    assert await news
    with pytest.raises(ServerStopping) as ended:
        await reader.news()
    assert ended.value.sequence == 8
    with pytest.raises(ServerStopping):
        QueueReader(readers, "b")
    reader.close()


async def test_quiet_is_told_apart_from_news() -> None:
    readers = Readers(FeedLimits(heartbeat_ms=10), 0, 0)
    reader = QueueReader(readers, "a")
    assert not await reader.news()
    news = asyncio.create_task(reader.news())
    await asyncio.sleep(0)
    reader.put([piece(1)])
    assert await news
    reader.close()
