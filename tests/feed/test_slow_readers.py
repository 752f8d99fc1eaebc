"""Readers that don't read: cut or conflated, while nobody else notices and memory stays bounded."""

import asyncio
import gc
from pathlib import Path

import grpc
import psutil
import pytest

from exchange.v1.market_data_pb2 import StreamOrderBookRequest, StreamTickerRequest
from exchange.v1.order_service_pb2 import StreamOrderEventsRequest
from server.core.commands import PlaceOrder
from server.core.types import BUY, IOC, LIMIT, SELL
from server.feed.fan_out import QueueReader
from server.feed.resume import CHUNK_BYTES
from tests.feed.market import BTC, Market, running, seconds
from tests.feed.truth import Collector, info_of, order_events_of
from tests.on_loop import until

pytestmark = pytest.mark.asyncio

LITTLE_ROOM = {"grpc.http2.lookahead_bytes": 1024, "grpc.http2.bdp_probe": 0}
"""So that what is on its way is little, and the server notices soon."""


async def flood(market: Market, bytes_min: int) -> None:
    """Trade until streams of order events carry so many bytes, at least."""
    for _ in range(bytes_min // 100_000 + 1):
        await market.commit(
            *(PlaceOrder("maker", BTC, SELL, LIMIT, 1, 9, client_reference="r" * 64),) * 200,
            PlaceOrder("taker", BTC, BUY, LIMIT, 200, 9, IOC),
        )


async def test_slow_reader_is_cut_and_nobody_else_notices(tmp_path: Path) -> None:
    """I13: what waited for it is freed at once; I2: it resumes without a gap."""
    limit = 64 * 1024
    async with running(tmp_path, subscriber_bytes_max=limit, heartbeat_ms=20) as market:
        readers = market.feed.readers
        slow = market.orders(**LITTLE_ROOM).StreamOrderEvents(StreamOrderEventsRequest())
        other = market.orders().StreamOrderEvents(StreamOrderEventsRequest())
        got, behind = Collector(), Collector()
        got.take(await seconds(other.read()), first=True)
        behind.take(await seconds(slow.read()), first=True)
        start = market.sequencer.durable_sequence
        while readers.cut_count == 0:
            await flood(market, 100_000)
            assert readers.bytes_waiting <= 2 * (limit + 400_000)
            await got.go_on(other, market.sequencer.durable_sequence)
        assert readers.cut_count == 1
        assert readers.bytes_waiting == 0
        await flood(market, 1_000_000)
        last = market.sequencer.durable_sequence
        await got.go_on(other, last)
        assert got.names == order_events_of(market, after=start)
        # Its place is taken until it hears of it, which it does only now.
        assert len(readers.open) == 2
        cut = await behind.to_the_end(slow)
        assert cut.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        told = info_of(cut)
        assert told.reason == "SLOW_READER"
        assert told.metadata["retry_safe"] == "true"
        assert int(told.metadata["value"]) <= behind.sequence < last
        assert f"sequence {told.metadata['value']}" in str(cut.details())
        await until(lambda: len(readers.open) == 1)
        again = market.orders().StreamOrderEvents(
            StreamOrderEventsRequest(after_sequence=behind.sequence)
        )
        await behind.read(again, last)
        assert behind.names == got.names
        again.cancel()
        other.cancel()


async def test_who_resumed_is_cut_where_it_is_slow_later(tmp_path: Path) -> None:
    async with running(tmp_path, subscriber_bytes_max=64 * 1024) as market:
        readers = market.feed.readers
        start = await market.trade()
        last = await market.trade()
        slow = market.orders(**LITTLE_ROOM).StreamOrderEvents(
            StreamOrderEventsRequest(after_sequence=start)
        )
        got = Collector()
        await got.read(slow, last)
        await got.go_on(slow, await market.trade())
        while readers.cut_count == 0:
            await flood(market, 100_000)
            assert market.feed.orders.groups or readers.cut_count, "it left to read it all again"
        slow.cancel()


async def test_who_is_cut_while_the_first_message_is_on_its_way_is_told(tmp_path: Path) -> None:
    """The status waits for it: with the message go the headers, which come before any status."""
    async with running(tmp_path) as market:
        readers = market.feed.readers
        stub = market.orders()
        for turns in range(5):
            stream = stub.StreamOrderEvents(StreamOrderEventsRequest())
            reading = asyncio.create_task(Collector().to_the_end(stream))
            while not readers.open:  # noqa: ASYNC110 - turn by turn
                await asyncio.sleep(0)
            for _ in range(turns):
                await asyncio.sleep(0)
            (reader,) = readers.open
            assert isinstance(reader, QueueReader)
            reader.cut(1)
            assert info_of(await seconds(reading)).reason == "SLOW_READER"
            await until(lambda: not readers.open)


async def test_cut_reader_who_goes_without_reading_frees_its_place(tmp_path: Path) -> None:
    async with running(tmp_path, subscriber_bytes_max=64 * 1024) as market:
        readers = market.feed.readers
        slow = market.orders(**LITTLE_ROOM).StreamOrderEvents(StreamOrderEventsRequest())
        await seconds(slow.read())
        while readers.cut_count == 0:
            await flood(market, 100_000)
        assert len(readers.open) == 1
        slow.cancel()
        await until(lambda: not readers.open)


async def test_who_goes_is_woken_no_more(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        stub = market.data()
        streams = (
            stub.StreamOrderBook(StreamOrderBookRequest(instrument=BTC)),
            stub.StreamTicker(StreamTickerRequest(instrument=BTC)),
        )
        for stream in streams:
            await seconds(stream.read())
        woken = market.feed._depth(BTC).readers
        assert len(woken) == len(streams)
        for stream in streams:
            stream.cancel()
        await until(lambda: not woken)


async def test_what_is_read_of_the_past_at_once_is_about_a_message(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        await flood(market, 10 * CHUNK_BYTES)
        past = market.feed.orders.catch_up(("", ""), 0)
        pieces = await past.chunk(market.sequencer.durable_sequence)
        assert CHUNK_BYTES <= sum(len(each.data) for each in pieces) <= 2 * CHUNK_BYTES


async def test_readers_of_one_connection_share_a_bound(tmp_path: Path) -> None:
    """Behind a gateway, the one that doesn't read is cut, not those beside it."""
    async with running(
        tmp_path, connection_bytes_max=256 * 1024, subscriber_bytes_max=64 * 1024 * 1024
    ) as market:
        stub = market.orders(**LITTLE_ROOM)
        slow = stub.StreamOrderEvents(StreamOrderEventsRequest())
        beside = stub.StreamOrderEvents(StreamOrderEventsRequest(client_id="taker"))
        got = Collector()
        await seconds(slow.read())
        got.take(await seconds(beside.read()), first=True)
        start = market.sequencer.durable_sequence
        while market.feed.readers.cut_count == 0:
            await flood(market, 100_000)
            await got.go_on(beside, market.sequencer.durable_sequence)
        await flood(market, 100_000)
        await got.go_on(beside, market.sequencer.durable_sequence)
        assert got.names == order_events_of(market, "taker", after=start)
        assert market.feed.readers.cut_count == 1
        slow.cancel()
        beside.cancel()


async def test_memory_is_bounded_while_nobody_reads(tmp_path: Path) -> None:
    """I13: twenty readers that never read, and a hundred times their bound sent to each."""
    async with running(tmp_path, subscriber_bytes_max=64 * 1024) as market:
        stub = market.orders(**LITTLE_ROOM)
        streams = [
            stub.StreamOrderEvents(StreamOrderEventsRequest(instrument=BTC)) for _ in range(20)
        ]
        for stream in streams:
            await seconds(stream.read())
        await flood(market, 1_000_000)
        gc.collect()
        before = psutil.Process().memory_info().rss
        await flood(market, 6_400_000)
        gc.collect()
        grown = psutil.Process().memory_info().rss - before
        assert market.feed.readers.cut_count == 20
        assert market.feed.readers.bytes_waiting == 0
        # The orders themselves are remembered: about 1 kB each.
        assert grown < 40_000_000, f"{grown} bytes more"
        for stream in streams:
            stream.cancel()
