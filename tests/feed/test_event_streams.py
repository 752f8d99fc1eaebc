"""Trades and order events over gRPC: whole, in order, resumable; cut for whoever doesn't read."""

import asyncio
import gc
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from exchange.v1.market_data_pb2 import StreamTradesRequest
from exchange.v1.order_service_pb2 import OrderEventKind, StreamOrderEventsRequest
from server.core.commands import CancelOrders, PlaceOrder
from server.core.events import Event, OrderEvent, Traded
from server.core.types import BUY, IOC, LIMIT, SELL
from server.feed.event_streams import NEAR_SEQUENCES, PIECE_BYTES
from server.journal.record import decode_frame
from tests.feed.market import BTC, ETH, Crowd, Failure, Market, running, seconds, until

pytestmark = pytest.mark.asyncio

Name = tuple[int, int, str]
"""(sequence, index, order or trade id)."""


def journaled(market: Market) -> Iterator[tuple[int, int, Event]]:
    """Everything that happened, as the journal has it."""
    for frame in market.log.follow(0):
        record = decode_frame(frame)
        for sequence, events in enumerate(record.events(), record.first_sequence):
            for index, event in enumerate(events):
                yield sequence, index, event


def trades_of(market: Market, instrument: str = "", after: int = 0) -> list[Name]:
    return [
        (sequence, index, f"T{sequence}-{index}")
        for sequence, index, event in journaled(market)
        if isinstance(event, Traded) and sequence > after and instrument in ("", event.instrument)
    ]


def order_events_of(
    market: Market, client_id: str = "", instrument: str = "", after: int = 0
) -> list[Name]:
    found = []
    for sequence, index, event in journaled(market):
        if isinstance(event, Traded):
            orders = [
                (event.maker_client_id, event.maker_order_id),
                (event.taker_client_id, event.taker_order_id),
            ]
        elif isinstance(event, OrderEvent):
            orders = [(event.client_id, event.order_id)]
        else:
            continue
        if sequence > after and instrument in ("", event.instrument):
            found += [(sequence, index, own) for who, own in orders if client_id in ("", who)]
    return found


class Collector:
    """What a reader got, over any number of streams; the chain is checked on arrival."""

    def __init__(self) -> None:
        self.sequence = -1
        self.names: list[Name] = []
        self.messages: list[Any] = []
        self.restarted = False

    def take(self, message: Any, first: bool) -> None:
        if message.restarted:
            assert first
            self.restarted = True
        if self.sequence < 0 or message.restarted:
            self.sequence = message.previous_sequence
        assert message.previous_sequence == self.sequence
        assert message.sequence >= message.previous_sequence
        if hasattr(message, "trades"):
            names = [(each.sequence, each.index, each.trade_id) for each in message.trades]
        else:
            names = [(each.sequence, each.index, each.order.order_id) for each in message.events]
        self.names += names
        self.sequence = message.sequence
        self.messages.append(message)

    async def read(self, stream: Any, until: int) -> None:
        """Read from the beginning of a stream until everything up to a sequence is there."""
        first = True
        while first or self.sequence < until:
            self.take(await seconds(stream.read()), first)
            first = False

    async def go_on(self, stream: Any, until: int) -> None:
        """Read on until everything up to a sequence is there."""
        while self.sequence < until:
            self.take(await seconds(stream.read()), first=False)

    async def to_the_end(self, stream: Any) -> Failure:
        """Read on until the stream fails, and how."""
        try:
            while True:
                self.take(await seconds(stream.read()), first=False)
        except Failure as failure:
            return failure


def info_of(failure: Failure) -> ErrorInfo:
    """The machine-readable part of a failure."""
    details = dict(failure.trailing_metadata())["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    info = ErrorInfo()
    assert Status.FromString(details).details[0].Unpack(info)
    return info


async def test_live_streams_have_everything_their_filter_lets_through(tmp_path: Path) -> None:
    async with running(tmp_path, heartbeat_ms=20) as market:
        data, orders = market.data(), market.orders()
        trades = {name: Collector() for name in ("", BTC, ETH)}
        events = {
            key: Collector()
            for key in (("", ""), ("c1", ""), ("", ETH), ("c2", BTC), ("nobody", ""))
        }
        streams: list[tuple[Collector, Any]] = [
            (own, data.StreamTrades(StreamTradesRequest(instrument=name)))
            for name, own in trades.items()
        ]
        streams += [
            (
                own,
                orders.StreamOrderEvents(
                    StreamOrderEventsRequest(client_id=client, instrument=name)
                ),
            )
            for (client, name), own in events.items()
        ]
        for own, stream in streams:
            own.take(await seconds(stream.read()), first=True)
        start = market.sequencer.durable_sequence
        crowd = Crowd(1)
        for _ in range(40):
            await market.commit(*crowd.commands(10))
        last = market.sequencer.durable_sequence
        for own, stream in streams:
            await own.go_on(stream, last)
            stream.cancel()
        for name, own in trades.items():
            assert own.names == trades_of(market, name)
        for (client, name), own in events.items():
            assert own.names == order_events_of(market, client, name, after=start)
        assert len(trades[BTC].names) > 20
        assert len(events["c2", BTC].names) > 20
        assert events["nobody", ""].names == []


async def test_what_an_order_event_says(tmp_path: Path) -> None:
    kinds = OrderEventKind
    async with running(tmp_path) as market:
        stream = market.orders().StreamOrderEvents(StreamOrderEventsRequest())
        await seconds(stream.read())
        await market.commit(
            PlaceOrder("a", BTC, SELL, LIMIT, 10, 100, order_id="a1", client_reference="mine"),
            PlaceOrder("b", BTC, BUY, LIMIT, 4, 105, IOC, order_id="b1"),
            CancelOrders("a"),
        )
        events: list[Any] = []
        while len(events) < 5:
            events += (await seconds(stream.read())).events
        accepted, taken, maker, taker, cancelled = events
        assert [each.kind for each in events] == [
            kinds.ORDER_EVENT_KIND_ACCEPTED,
            kinds.ORDER_EVENT_KIND_ACCEPTED,
            kinds.ORDER_EVENT_KIND_FILLED,
            kinds.ORDER_EVENT_KIND_FILLED,
            kinds.ORDER_EVENT_KIND_CANCELLED,
        ]
        assert accepted.order.client_reference == maker.order.client_reference == "mine"
        assert accepted.order.placed_sequence == maker.order.placed_sequence == accepted.sequence
        assert (maker.sequence, maker.index) == (taker.sequence, taker.index)
        assert maker.trade == taker.trade
        assert (maker.trade.price_e8, maker.trade.quantity_e8) == (100, 4)
        assert (maker.order.side, maker.order.price_e8) == (SELL, 100)
        assert (maker.order.filled_quantity_e8, maker.order.remaining_quantity_e8) == (4, 6)
        # The taker's own limit, not the price of the trade.
        assert (taker.order.order_id, taker.order.side, taker.order.price_e8) == ("b1", BUY, 105)
        assert (taker.order.filled_quantity_e8, taker.order.remaining_quantity_e8) == (4, 0)
        assert taken.order.order_id == "b1"
        assert (cancelled.change_e8, cancelled.order.cancelled_quantity_e8) == (6, 6)
        stream.cancel()


@pytest.mark.parametrize("kind", ["trades", "orders"])
async def test_resume_at_random_points_is_gap_free(tmp_path: Path, kind: str) -> None:
    """I2: whatever the cut, each event arrives exactly once and in order."""
    async with running(tmp_path, heartbeat_ms=20) as market:
        draw, crowd = random.Random(3), Crowd(3)
        data, orders = market.data(), market.orders()
        stream: Any
        got = Collector()
        got.sequence = 0
        for _ in range(25):
            for _ in range(draw.randint(0, 6)):
                await market.commit(*crowd.commands(draw.randint(1, 20)))
            if kind == "trades":
                stream = data.StreamTrades(StreamTradesRequest(after_sequence=got.sequence))
            else:
                stream = orders.StreamOrderEvents(
                    StreamOrderEventsRequest(after_sequence=got.sequence)
                )
            for number in range(draw.randint(1, 4)):
                await market.commit(*crowd.commands(draw.randint(1, 20)))
                got.take(await seconds(stream.read()), first=number == 0)
            stream.cancel()
        last = market.sequencer.durable_sequence
        if kind == "trades":
            stream = data.StreamTrades(StreamTradesRequest(after_sequence=got.sequence))
        else:
            stream = orders.StreamOrderEvents(StreamOrderEventsRequest(after_sequence=got.sequence))
        await got.read(stream, last)
        stream.cancel()
        expected = trades_of(market) if kind == "trades" else order_events_of(market)
        assert got.names == expected
        assert len(expected) > 100


async def test_resume_from_far_while_trading_goes_on(tmp_path: Path) -> None:
    """The journal is read in chunks until the live stream takes over, at full trading."""
    async with running(tmp_path, heartbeat_ms=20) as market:
        crowd = Crowd(4)
        while market.sequencer.durable_sequence < 3 * NEAR_SEQUENCES:
            await market.commit(*crowd.commands(1_000))
        got = Collector()
        got.sequence = 10
        stream = market.data().StreamTrades(StreamTradesRequest(instrument=BTC, after_sequence=10))
        trading = True

        async def trade_on() -> None:
            while trading:
                await market.commit(*crowd.commands(50))

        trader = asyncio.create_task(trade_on())
        await got.read(stream, 3 * NEAR_SEQUENCES + 500)
        trading = False
        await trader
        last = market.sequencer.durable_sequence
        await got.go_on(stream, last)
        stream.cancel()
        assert got.names == trades_of(market, BTC, after=10)


async def test_resume_from_too_far_back_says_so(tmp_path: Path) -> None:
    """The window at its bound, and one beyond it."""
    async with running(tmp_path, heartbeat_ms=20, resume_sequences_max=10) as market:
        await market.trade()
        for _ in range(6):
            await market.trade()
        last = market.sequencer.durable_sequence
        data, orders = market.data(), market.orders()
        for within, after in ((True, last - 10), (False, last - 11)):
            streams = (
                data.StreamTrades(StreamTradesRequest(after_sequence=after)),
                orders.StreamOrderEvents(StreamOrderEventsRequest(after_sequence=after)),
            )
            for stream in streams:
                first = await seconds(stream.read())
                assert first.restarted is not within
                assert first.sequence == first.previous_sequence == (after if within else last)
                second = await seconds(stream.read())
                assert second.sequence == last
                assert not second.restarted
                stream.cancel()


async def test_resume_after_a_sequence_of_the_future(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        ahead = market.sequencer.durable_sequence + 1
        for stream in (
            market.data().StreamTrades(StreamTradesRequest(after_sequence=ahead)),
            market.orders().StreamOrderEvents(StreamOrderEventsRequest(after_sequence=ahead)),
        ):
            with pytest.raises(Failure) as refused:
                await seconds(stream.read())
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert info_of(refused.value).reason == "CURSOR_INVALID"


async def test_quiet_streams_say_how_far_they_are(tmp_path: Path) -> None:
    async with running(tmp_path, heartbeat_ms=20) as market:
        trades = market.data().StreamTrades(StreamTradesRequest(instrument=ETH))
        orders = market.orders().StreamOrderEvents(StreamOrderEventsRequest(client_id="nobody"))
        for stream in (trades, orders):
            got = Collector()
            await got.read(stream, 0)
            last = await market.trade(BTC)
            await got.go_on(stream, last)
            assert got.names == []
            stream.cancel()


async def test_command_with_more_trades_than_a_message(tmp_path: Path) -> None:
    """Its messages go out piece by piece; only the last one counts it as complete."""
    async with running(tmp_path) as market:
        count = 5_000
        for _ in range(count // 1_000):
            await market.commit(*(PlaceOrder("maker", BTC, SELL, LIMIT, 1, 9),) * 1_000)
        before = market.sequencer.durable_sequence
        live = market.data().StreamTrades(StreamTradesRequest(instrument=BTC))
        own = Collector()
        await own.read(live, before)
        await market.commit(PlaceOrder("taker", BTC, BUY, LIMIT, count, 9, IOC))
        resumed = market.data().StreamTrades(StreamTradesRequest(after_sequence=before))
        again = Collector()
        await again.read(resumed, before + 1)
        await own.go_on(live, before + 1)
        for got, stream in ((own, live), (again, resumed)):
            assert got.names == trades_of(market)
            assert len(got.names) == count
            sizes = [message.ByteSize() for message in got.messages]
            assert len([size for size in sizes if size > PIECE_BYTES // 2]) >= 2
            assert max(sizes) < PIECE_BYTES + 100
            assert [message.sequence for message in got.messages[1:-1]] == [before] * (
                len(sizes) - 2
            )
            stream.cancel()


# A reader that doesn't read ----------------------------------------------------------------------

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


# Bounds and ends ---------------------------------------------------------------------------------


async def test_streams_have_a_bound(tmp_path: Path) -> None:
    async with running(tmp_path, subscribers_max=2) as market:
        stub = market.data()
        streams = [stub.StreamTrades(StreamTradesRequest()) for _ in range(2)]
        for stream in streams:
            await seconds(stream.read())
        with pytest.raises(Failure) as refused:
            await seconds(stub.StreamTrades(StreamTradesRequest()).read())
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert info_of(refused.value).metadata["limit"] == "2"
        streams[0].cancel()
        await until(lambda: len(market.feed.readers.open) == 1)
        another = stub.StreamTrades(StreamTradesRequest())
        await seconds(another.read())
        another.cancel()
        streams[1].cancel()


async def test_stop_tells_where_to_resume(tmp_path: Path) -> None:
    """A stream gets what is left, then UNAVAILABLE; the next run goes on from there."""
    async with running(tmp_path) as market:
        stream = market.data().StreamTrades(StreamTradesRequest())
        got = Collector()
        got.take(await seconds(stream.read()), first=True)
        last = await market.trade()
        market.feed.stop()
        ended = await got.to_the_end(stream)
        assert ended.code() is grpc.StatusCode.UNAVAILABLE
        assert f"resume after sequence {last}" in str(ended.details())
        assert got.sequence == last
        assert got.names == trades_of(market)
        with pytest.raises(Failure) as refused:
            await seconds(market.data().StreamTrades(StreamTradesRequest()).read())
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    async with running(tmp_path) as market:
        await market.trade()
        stream = market.data().StreamTrades(StreamTradesRequest(after_sequence=got.sequence))
        await got.read(stream, market.sequencer.durable_sequence)
        assert got.names == trades_of(market)
        stream.cancel()


async def test_filters_that_name_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        refusals = (
            (market.data().StreamTrades(StreamTradesRequest(instrument="X-Y")), "NOT_FOUND"),
            (
                market.orders().StreamOrderEvents(StreamOrderEventsRequest(instrument="X-Y")),
                "NOT_FOUND",
            ),
            (
                market.orders().StreamOrderEvents(StreamOrderEventsRequest(client_id="a b")),
                "INVALID_ARGUMENT",
            ),
        )
        for stream, code in refusals:
            with pytest.raises(Failure) as refused:
                await seconds(stream.read())
            assert refused.value.code() is grpc.StatusCode[code]
