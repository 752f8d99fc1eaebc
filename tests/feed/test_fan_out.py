"""The slow-reader rule, without a transport."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import pytest

from server.core.commands import CancelOrder
from server.feed.event_streams import PIECE_BYTES, EventReader, EventStreams, Filter, Wanted
from server.feed.fan_out import Piece, QueueReader, Readers, ServerStopping, TooManyReaders
from server.sequencer.ticket import ClosedRecord, OpenRecord
from server.settings import FeedLimits

pytestmark = pytest.mark.asyncio

LIMITS = FeedLimits(subscribers_max=3, subscriber_bytes_max=100, connection_bytes_max=250)
SHARED = FeedLimits(subscriber_bytes_max=1_000, connection_bytes_max=250)


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
    assert (readers.open, readers._connections) == (set(), {})


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


async def test_what_may_wait_beyond_the_bound_is_of_the_first_record_until_all_is_taken() -> None:
    readers = Readers(LIMITS, 0, 0)
    async with stuck(readers, "a") as (slow,):
        slow.reader.put([piece(180), piece(20)])
        slow.reader.take(180)
        for _ in range(2):
            slow.reader.put([piece(101)])
        slow.reader.put([piece(78)])
        assert (slow.reader.bytes_waiting, readers.cut_count) == (300, 0)
        slow.reader.put([piece(1)])
        slow.reader.put([piece(1)])
        assert slow.reader.ended is not None


async def test_what_may_wait_beyond_the_bound_of_a_connection_goes_with_the_record() -> None:
    """Taken or cut, it is no more room for the others."""
    readers = Readers(LIMITS, 0, 0)
    async with stuck(readers, "gateway", "gateway", "gateway") as (large, cut, last):
        for reader in (large.reader, cut.reader):
            reader.put([piece(300)])
        large.reader.take(1_000)
        for _ in range(2):
            cut.reader.put([piece(150)])
        assert cut.reader.ended is not None
        large.reader.put([piece(100)])
        last.reader.put([piece(90)])
        last.reader.put([piece(90)])
        assert readers.cut_count == 1
        large.reader.put([piece(1)])
        assert last.reader.ended is not None


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


async def test_the_slowest_of_a_connection_is_cut_in_its_own_turn_too() -> None:
    readers = Readers(SHARED, 0, 0)
    async with stuck(readers, "gateway", "gateway") as (slow, other):
        slow.reader.put([piece(200)])
        other.reader.put([piece(60)])
        slow.reader.put([piece(1)])
        assert slow.reader.ended is not None
        assert (slow.reader.bytes_waiting, readers.bytes_waiting) == (0, 60)


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
        senders[0].task.cancel()
        await asyncio.wait([senders[0].task])
        QueueReader(readers, "d").close()


async def test_stop_wakes_everybody_and_takes_nobody_in() -> None:
    readers = Readers(FeedLimits(heartbeat_ms=60_000), 9, 0)
    reader = QueueReader(readers, "a")
    reader.sequence_sent = 8
    news = asyncio.create_task(reader.news())
    await asyncio.sleep(0)
    readers.stop()
    async with asyncio.timeout(20):
        await news
    with pytest.raises(ServerStopping) as ended:
        await reader.news()
    assert ended.value.sequence == 8
    with pytest.raises(ServerStopping):
        QueueReader(readers, "b")
    reader.close()


async def test_what_comes_and_a_time_of_quiet_end_the_wait() -> None:
    reader = QueueReader(Readers(FeedLimits(heartbeat_ms=10), 0, 0), "a")
    await reader.news()
    reader.close()
    reader = QueueReader(Readers(FeedLimits(heartbeat_ms=60_000), 0, 0), "a")
    news = asyncio.create_task(reader.news())
    await asyncio.sleep(0)
    reader.put([piece(1)])
    async with asyncio.timeout(20):
        await news
    reader.close()


async def test_a_time_of_quiet_begins_with_each_wait() -> None:
    clock = asyncio.get_running_loop().time
    reader = QueueReader(Readers(FeedLimits(heartbeat_ms=50), 0, 0), "a")
    news = asyncio.create_task(reader.news())
    await asyncio.sleep(0.03)
    reader.wake()
    await news
    began = clock()
    await reader.news()
    assert clock() - began > 0.045
    reader.close()


class Words:
    """Events of tests: an order's client, and as many bytes as its id has."""

    piece_bytes = PIECE_BYTES

    def entries(
        self, _sequence: int, _time_ns: int, events: Sequence[Any], wanted: Wanted
    ) -> Iterator[tuple[Sequence[Filter], bytes]]:
        for client_id, entry in events:
            if keys := wanted(client_id, "A-B"):
                yield keys, entry

    def header(self, _sequence: int, _previous_sequence: int, _restarted: bool) -> bytes:
        return b""


def record(*events: tuple[str, bytes]) -> ClosedRecord:
    made = OpenRecord(1, 0)
    made.commands = [CancelOrder("", "")]
    made.events = [list(events)]  # type: ignore[arg-type]
    return ClosedRecord(made)


@asynccontextmanager
async def behind_a_gateway(
    readers: Readers, *client_ids: str
) -> AsyncIterator[tuple[EventStreams, list[EventReader]]]:
    """Streams of one connection, each for the events of a client, whose senders are stuck."""
    streams = EventStreams("words", readers, None, None, Words())  # type: ignore[arg-type]
    opened = []

    async def send(client_id: str) -> None:
        reader = streams.open("gateway", client_id, "", None)
        async with aclosing(reader.messages()) as messages:
            await anext(messages)
            opened.append(reader)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                reader.close()

    senders = [asyncio.create_task(send(client_id)) for client_id in client_ids]
    await asyncio.sleep(0)
    yield streams, opened
    for sender in senders:
        sender.cancel()
        with suppress(asyncio.CancelledError):
            await sender
    assert streams.groups == {}
    assert readers.bytes_waiting == 0


async def test_the_last_reader_of_a_filter_is_cut_before_its_turn() -> None:
    readers = Readers(SHARED, 0, 0)
    async with behind_a_gateway(readers, "", "maker", "taker") as (streams, opened):
        everything, slow, slower = opened
        streams.publish(record(("maker", b"x" * 80), ("taker", b"x" * 90)))
        everything.take(1_000)
        streams.publish(record(("maker", b"x" * 20), ("taker", b"x" * 20)))
        streams.publish(record(("maker", b"x"), ("taker", b"x")))
        assert slower.ended is not None
        assert readers.cut_count == 1
        assert (everything.bytes_waiting, slow.bytes_waiting) == (42, 101)
        assert readers.bytes_waiting == 143


async def test_who_was_cut_before_its_turn_is_given_nothing_more() -> None:
    readers = Readers(SHARED, 0, 0)
    async with behind_a_gateway(readers, "", "taker", "taker") as (streams, opened):
        everything, slow, slower = opened
        streams.publish(record(("taker", b"x" * 80)))
        slow.take(1_000)
        everything.take(1_000)
        streams.publish(record(("taker", b"x" * 60)))
        everything.take(1_000)
        assert (slow.bytes_waiting, slower.bytes_waiting) == (60, 140)
        streams.publish(record(("taker", b"x" * 55)))
        assert slower.ended is not None
        assert (slow.bytes_waiting, slower.bytes_waiting) == (115, 0)
        assert readers.cut_count == 1
