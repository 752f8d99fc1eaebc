"""The book stream over gRPC: snapshot and deltas rebuild the book, whatever the reader does."""

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest

from exchange.v1.market_data_pb2 import (
    GetOrderBookRequest,
    StreamOrderBookRequest,
    StreamOrderBookResponse,
)
from server.core.commands import CancelOrders, PlaceOrder, SetInstrument
from server.core.engine import Engine
from server.core.instruments import Instrument
from server.core.types import BUY, LIMIT, SELL
from server.feed import depth
from server.feed.depth import PAGE_LEVELS, Page
from tests.feed.market import BTC, ETH, Crowd, Failure, Mirror, depth_of, running, seconds

pytestmark = pytest.mark.asyncio


async def until_at(mirror: Mirror, stream: Any, sequence: int) -> None:
    """Read until the book is that of a sequence, or later."""
    while mirror.sequence is None or mirror.sequence < sequence:
        mirror.take(await seconds(stream.read()))


async def until_whole(mirror: Mirror, stream: Any) -> None:
    """Read until all levels are there."""
    while mirror.partial:
        mirror.take(await seconds(stream.read()))


async def test_snapshot_and_deltas_rebuild_the_book(tmp_path: Path) -> None:
    """At random points the rebuilt book, with its checksum, is what GetOrderBook answers."""
    async with running(tmp_path, heartbeat_ms=20) as market:
        draw, crowd = random.Random(5), Crowd(5)
        stub = market.data()
        for _ in range(10):
            await market.commit(*crowd.commands(20))
        stream = stub.StreamOrderBook(StreamOrderBookRequest(instrument=BTC))
        mirror = Mirror()
        for _ in range(60):
            await market.commit(*crowd.commands(draw.randint(1, 40)))
            if draw.random() < 0.5:
                continue
            reply = await stub.GetOrderBook(GetOrderBookRequest(instrument=BTC, levels=1000))
            await until_at(mirror, stream, reply.book.sequence)
            bids, asks = mirror.depth()
            assert [(level.price_e8, level.quantity_e8) for level in reply.book.bids] == bids
            assert [(level.price_e8, level.quantity_e8) for level in reply.book.asks] == asks
        assert mirror.snapshots == 1
        assert mirror.deltas > 10
        stream.cancel()


async def test_reader_who_keeps_up_gets_a_delta_for_each_record(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        stream = market.data().StreamOrderBook(StreamOrderBookRequest(instrument=BTC))
        first = await seconds(stream.read())
        assert first.snapshot
        assert not first.bids
        previous = first.sequence
        for price in (5, 6, 7):
            await market.commit(PlaceOrder("a", BTC, BUY, LIMIT, 3, price))
            delta = await seconds(stream.read())
            assert not delta.snapshot
            assert (delta.previous_sequence, delta.sequence) == (previous, previous + 1)
            assert delta.time_ns == market.engine.time_ns
            assert [(level.price_e8, level.quantity_e8) for level in delta.bids] == [(price, 3)]
            previous = delta.sequence
        stream.cancel()


async def test_quiet_stream_says_how_far_it_is(tmp_path: Path) -> None:
    """Trading elsewhere moves the sequence of the heartbeats, and the chain stays whole."""
    async with running(tmp_path, heartbeat_ms=20) as market:
        await market.commit(PlaceOrder("a", BTC, BUY, LIMIT, 3, 5))
        stream = market.data().StreamOrderBook(StreamOrderBookRequest(instrument=BTC))
        mirror = Mirror()
        await until_at(mirror, stream, market.sequencer.durable_sequence)
        await market.trade(ETH)
        await until_at(mirror, stream, market.sequencer.durable_sequence)
        assert mirror.deltas == 0
        assert mirror.heartbeats > 0
        await market.commit(PlaceOrder("a", BTC, BUY, LIMIT, 3, 6))
        await until_at(mirror, stream, market.sequencer.durable_sequence)
        assert mirror.deltas == 1
        stream.cancel()


async def test_what_changes_while_a_message_is_sent_waits_for_no_heartbeat(tmp_path: Path) -> None:
    async with running(tmp_path, heartbeat_ms=60_000) as market:
        reader = market.feed.read_book("peer", BTC)
        messages = reader.messages()
        mirror = Mirror()
        for price in range(1, 4):
            message = StreamOrderBookResponse.FromString(await seconds(anext(messages)))
            mirror.take(message)
            # The transport has the message, and has not come back for the next one.
            await market.commit(PlaceOrder("a", BTC, BUY, LIMIT, 1, price))
        assert (mirror.snapshots, mirror.deltas) == (1, 2)
        await messages.aclose()
        reader.close()


async def test_who_begins_where_others_do_shares_their_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand who lost the server at once would hold it for seconds when it is back."""
    made: list[int] = []
    page_of = depth.page_of

    def make(engine: Engine, instrument: str, after: tuple[int, int] | None) -> depth.Page:
        made.append(engine.sequence)
        return page_of(engine, instrument, after)

    monkeypatch.setattr(depth, "page_of", make)
    async with running(tmp_path) as market:

        async def begin() -> bytes:
            reader = market.feed.read_book("peer", BTC)
            async with aclosing(reader.messages()) as messages:
                first = await anext(messages)
            reader.close()
            return first

        for price in (1, 2):
            await market.commit(PlaceOrder("a", BTC, BUY, LIMIT, 1, price))
            first, *others = await asyncio.gather(*(begin() for _ in range(20)))
            assert set(others) == {first}
            assert len(StreamOrderBookResponse.FromString(first).bids) == price
            assert made == [market.engine.sequence + at for at in range(1 - price, 1)]


async def test_resume_at_random_points(tmp_path: Path) -> None:
    """Cut anywhere and resumed, the stream goes on without a snapshot, gap or wrong level."""
    async with running(tmp_path, heartbeat_ms=20) as market:
        draw, crowd = random.Random(6), Crowd(6)
        stub = market.data()
        mirror = Mirror()
        for _ in range(30):
            request = StreamOrderBookRequest(instrument=BTC, after_sequence=mirror.sequence)
            stream = stub.StreamOrderBook(request)
            for _ in range(draw.randint(1, 4)):
                await market.commit(*crowd.commands(draw.randint(1, 30)))
                mirror.take(await seconds(stream.read()))
            stream.cancel()
            await market.commit(*crowd.commands(draw.randint(1, 30)))
        stream = stub.StreamOrderBook(
            StreamOrderBookRequest(instrument=BTC, after_sequence=mirror.sequence)
        )
        await until_at(mirror, stream, market.sequencer.durable_sequence)
        assert mirror.depth() == depth_of(market, BTC)
        assert mirror.snapshots == 1
        stream.cancel()


async def test_resume_past_what_is_remembered_starts_afresh(tmp_path: Path) -> None:
    async with running(tmp_path, book_changes_max=16) as market:
        stub = market.data()
        stream = stub.StreamOrderBook(StreamOrderBookRequest(instrument=BTC))
        start = (await seconds(stream.read())).sequence
        stream.cancel()
        for price in range(1, 17):
            await market.commit(PlaceOrder("a", BTC, BUY, LIMIT, 1, price))
        remembered = await seconds(
            stub.StreamOrderBook(
                StreamOrderBookRequest(instrument=BTC, after_sequence=start)
            ).read()
        )
        assert not remembered.snapshot
        assert len(remembered.bids) == 16
        await market.commit(PlaceOrder("a", BTC, BUY, LIMIT, 1, 17))
        forgotten = await seconds(
            stub.StreamOrderBook(
                StreamOrderBookRequest(instrument=BTC, after_sequence=start)
            ).read()
        )
        assert forgotten.snapshot
        assert len(forgotten.bids) == 17


async def test_restart_between_cut_and_resume(tmp_path: Path) -> None:
    """The end of the last run can be resumed from, anything before starts afresh."""
    async with running(tmp_path) as market:
        await market.commit(PlaceOrder("a", BTC, BUY, LIMIT, 1, 7))
        last = market.sequencer.durable_sequence
    async with running(tmp_path) as market:
        stub = market.data()
        for after, afresh in ((last, False), (last - 1, True)):
            request = StreamOrderBookRequest(instrument=BTC, after_sequence=after)
            message = await seconds(stub.StreamOrderBook(request).read())
            assert message.snapshot is afresh
            assert message.sequence == last
            assert bool(message.bids) is afresh


async def test_deep_book_comes_in_pages(tmp_path: Path) -> None:
    """A book of more levels than a page, changed while it is being sent, is rebuilt exactly."""
    async with running(tmp_path, heartbeat_ms=20) as market:
        levels = 2 * PAGE_LEVELS + 10
        for first in range(0, levels, 1_000):
            many = range(first, min(first + 1_000, levels))
            await market.commit(
                *(PlaceOrder("a", BTC, BUY, LIMIT, 1, 10_000 - each) for each in many)
            )
        await market.commit(*(PlaceOrder("b", BTC, SELL, LIMIT, 2, 20_000 + i) for i in range(5)))
        stream = market.data().StreamOrderBook(StreamOrderBookRequest(instrument=BTC))
        mirror = Mirror()
        mirror.take(await seconds(stream.read()))
        assert len(mirror.bids) == PAGE_LEVELS
        assert mirror.partial
        # A level of each page: new ones, gone ones, changed ones.
        await market.commit(
            PlaceOrder("c", BTC, BUY, LIMIT, 5, 10_001),
            PlaceOrder("c", BTC, SELL, LIMIT, 7, 9_995),
            *(PlaceOrder("c", BTC, BUY, LIMIT, 5, 10_000 - i) for i in range(20, levels, 500)),
            CancelOrders("b"),
        )
        await until_at(mirror, stream, market.sequencer.durable_sequence)
        await until_whole(mirror, stream)
        assert mirror.depth() == depth_of(market, BTC)
        assert mirror.snapshots == 1
        stream.cancel()


@pytest.mark.parametrize(("remembered", "snapshots"), [(4_096, 1), (16, 2)])
async def test_what_changes_while_a_page_waits_to_be_durable_is_in_the_book(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remembered: int, snapshots: int
) -> None:
    """On levels of the page too, and more of them than are remembered."""
    async with running(tmp_path, heartbeat_ms=20, book_changes_max=remembered) as market:
        levels = [10_000 - each for each in range(PAGE_LEVELS + 100)]
        await market.commit(*(PlaceOrder("a", BTC, BUY, LIMIT, 1, each) for each in levels))
        at_boundary = market.sequencer.at_boundary

        async def overtaken(view: Callable[[Engine], Page]) -> Page:
            page = await at_boundary(view)
            if levels[0] not in page.levels:
                monkeypatch.undo()
                await market.commit(
                    *(PlaceOrder("b", BTC, BUY, LIMIT, 5, each) for each in levels[::50])
                )
            return page

        monkeypatch.setattr(market.sequencer, "at_boundary", overtaken)
        stream = market.data().StreamOrderBook(StreamOrderBookRequest(instrument=BTC))
        mirror = Mirror()
        mirror.take(await seconds(stream.read()))
        await until_whole(mirror, stream)
        await until_at(mirror, stream, market.sequencer.durable_sequence)
        assert mirror.depth() == depth_of(market, BTC)
        assert (mirror.sequence, mirror.snapshots) == (market.sequencer.durable_sequence, snapshots)
        stream.cancel()


async def test_reader_who_does_not_read_is_conflated(tmp_path: Path) -> None:
    """However much happens, it is not cut, nothing piles up, and it ends with the right book."""
    async with running(tmp_path, heartbeat_ms=20) as market:
        # Little room on the way, so that the server notices soon.
        stub = market.data(**{"grpc.http2.lookahead_bytes": 1024, "grpc.http2.bdp_probe": 0})
        stream = stub.StreamOrderBook(StreamOrderBookRequest(instrument=BTC))
        mirror = Mirror()
        mirror.take(await seconds(stream.read()))
        records = 0
        many = 400
        for turn in range(100):
            price = 1 + turn % 2
            await market.commit(
                CancelOrders("a"),
                *(PlaceOrder("a", BTC, BUY, LIMIT, 1 + turn, 2 * i + price) for i in range(many)),
            )
            records += 1
        assert market.feed.readers.bytes_waiting == 0
        await until_at(mirror, stream, market.sequencer.durable_sequence)
        assert mirror.depth() == depth_of(market, BTC)
        assert mirror.deltas < records
        stream.cancel()


async def test_very_slow_reader_gets_a_snapshot_again(tmp_path: Path) -> None:
    """Behind by more levels than are remembered, the book starts afresh within the same stream."""
    async with running(tmp_path, book_changes_max=16, heartbeat_ms=20) as market:
        stream = market.data().StreamOrderBook(StreamOrderBookRequest(instrument=BTC))
        mirror = Mirror()
        mirror.take(await seconds(stream.read()))
        await market.commit(*(PlaceOrder("a", BTC, BUY, LIMIT, 1, 1 + i) for i in range(40)))
        await until_at(mirror, stream, market.sequencer.durable_sequence)
        assert mirror.depth() == depth_of(market, BTC)
        assert mirror.snapshots == 2
        stream.cancel()


async def test_instrument_listed_while_running(tmp_path: Path) -> None:
    async with running(tmp_path, heartbeat_ms=20) as market:
        stub = market.data()
        unknown = stub.StreamOrderBook(StreamOrderBookRequest(instrument="SOL-USD"))
        with pytest.raises(Failure, match="not listed"):
            await seconds(unknown.read())
        await market.commit(SetInstrument(Instrument("SOL-USD")))
        stream = stub.StreamOrderBook(StreamOrderBookRequest(instrument="SOL-USD"))
        mirror = Mirror()
        mirror.take(await seconds(stream.read()))
        await market.commit(PlaceOrder("a", "SOL-USD", SELL, LIMIT, 4, 9))
        await until_at(mirror, stream, market.sequencer.durable_sequence)
        assert mirror.depth() == ([], [(9, 4)])
        stream.cancel()


async def test_many_readers_see_the_same(tmp_path: Path) -> None:
    """Readers of one book that keep up are sent the same bytes."""
    async with running(tmp_path) as market:
        stub = market.data()
        streams = [stub.StreamOrderBook(StreamOrderBookRequest(instrument=BTC)) for _ in range(20)]
        assert all([(await seconds(stream.read())).snapshot for stream in streams])
        await market.commit(PlaceOrder("a", BTC, BUY, LIMIT, 3, 5))
        messages: list[StreamOrderBookResponse] = await asyncio.gather(
            *(seconds(stream.read()) for stream in streams)
        )
        assert all(message == messages[0] for message in messages)
        assert len(market.feed._depth(BTC)._deltas) == 1
        for stream in streams:
            stream.cancel()


async def test_resume_after_a_sequence_of_the_future(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        request = StreamOrderBookRequest(instrument=BTC, after_sequence=999)
        with pytest.raises(Failure) as refused:
            await seconds(market.data().StreamOrderBook(request).read())
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "after_sequence 999" in str(refused.value.details())
