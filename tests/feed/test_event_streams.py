"""Trades and order events over gRPC: whole, in order, resumable; cut for whoever doesn't read."""

import asyncio
import json
import random
import threading
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from exchange.http.v1.market_service_pb2 import StreamTradesResponse as JsonTrades
from exchange.v1.market_data_pb2 import StreamTradesRequest, StreamTradesResponse
from exchange.v1.order_service_pb2 import (
    OrderEventKind,
    StreamOrderEventsRequest,
    StreamOrderEventsResponse,
)
from exchange.v1.types_pb2 import END_REASON_SELF_TRADE_PREVENTION, END_REASON_UNSPECIFIED
from server.core.commands import CancelOrders, PlaceOrder
from server.core.types import BUY, E8, IOC, LIMIT, SELL, SelfTradePrevention
from server.feed import resume
from server.feed.event_streams import NEAR_SEQUENCES, PIECE_BYTES
from server.feed.fan_out import ServerStopping
from tests.feed.market import BTC, ETH, Crowd, Failure, running, seconds
from tests.feed.truth import Collector, info_of, order_events_of, trades_of
from tests.on_loop import until

pytestmark = pytest.mark.asyncio


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


async def test_an_order_event_says_why_an_order_was_reduced(tmp_path: Path) -> None:
    """An order that lives has no end reason; one that ended has the same."""
    async with running(tmp_path) as market:
        stream = market.orders().StreamOrderEvents(StreamOrderEventsRequest())
        await seconds(stream.read())
        await market.commit(
            PlaceOrder("a", BTC, SELL, LIMIT, 10, 100, order_id="a1"),
            PlaceOrder(
                "a", BTC, BUY, LIMIT, 4, 100, self_trade_prevention=SelfTradePrevention.DECREMENT
            ),
        )
        events: list[Any] = []
        while len(events) < 4:
            events += (await seconds(stream.read())).events
        resting, coming, reduced, ended = events
        assert resting.reason == coming.reason == END_REASON_UNSPECIFIED
        assert (reduced.order.order_id, reduced.change_e8) == ("a1", 4)
        assert reduced.kind == OrderEventKind.ORDER_EVENT_KIND_REDUCED
        assert reduced.reason == END_REASON_SELF_TRADE_PREVENTION
        assert reduced.order.end_reason == END_REASON_UNSPECIFIED
        assert ended.reason == ended.order.end_reason == END_REASON_SELF_TRADE_PREVENTION
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


async def test_who_resumes_is_not_slow_while_the_journal_is_read(tmp_path: Path) -> None:
    """Reading may take long, and more than may wait comes meanwhile: that is read there too."""
    limit = 64 * 1024
    async with running(tmp_path, subscriber_bytes_max=limit, heartbeat_ms=20) as market:
        start = await market.trade()
        await market.trade()
        got, crowd, held = Collector(), Crowd(5), threading.Event()
        market.feed._pool.submit(held.wait, 20)
        stream = market.orders().StreamOrderEvents(StreamOrderEventsRequest(after_sequence=start))
        got.take(await seconds(stream.read()), first=True)
        await until(lambda: bool(market.feed.orders.groups))
        most_waiting = 0
        for _ in range(40):
            await market.commit(*crowd.commands(100))
            most_waiting = max(most_waiting, market.feed.readers.bytes_waiting)
        held.set()
        assert limit < most_waiting < 2 * limit
        await got.go_on(stream, market.sequencer.durable_sequence)
        await until(lambda: bool(market.feed.orders.groups))
        await got.go_on(stream, await market.trade())
        assert got.names == order_events_of(market, after=start)
        assert market.feed.readers.cut_count == 0
        stream.cancel()


@pytest.mark.parametrize(("heartbeat_ms", "records"), [(10, 1), (60_000, 2)])
async def test_what_is_passed_over_of_the_journal_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heartbeat_ms: int, records: int
) -> None:
    """Where reading it takes long, so that the stream is not taken for dead; else at its end."""
    monkeypatch.setattr(resume, "CHUNK_SEQUENCES", 1)
    async with running(tmp_path, heartbeat_ms=heartbeat_ms) as market:
        start = market.sequencer.durable_sequence
        ends = [await market.trade() for _ in range(2)]
        market.feed._pool.submit(time.sleep, 0.03)
        reader = market.feed.read_orders("peer", "nobody", "", start)
        async with aclosing(reader.messages()) as messages:
            told = [
                StreamOrderEventsResponse.FromString(await seconds(anext(messages)))
                for _ in range(2)
            ]
        reader.close()
        assert [each.sequence for each in told] == [start, ends[records - 1]]
        assert not any(each.events for each in told)


async def test_a_stop_ends_a_stream_within_the_journal(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        start = await market.trade()
        await market.trade()
        reader = market.feed.read_trades("peer", BTC, start)
        messages = reader.messages()
        await seconds(anext(messages))
        market.feed.stop()
        with pytest.raises(ServerStopping) as ended:
            await seconds(anext(messages))
        assert ended.value.sequence == start
        reader.close()


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


def json_of(message: Message) -> str:
    """As the gateway prints it."""
    shown = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return json.dumps(shown, separators=(",", ":"))


@pytest.mark.parametrize("digits", [1, 64])
async def test_json_lines_of_trades_fit_into_64_kib(tmp_path: Path, digits: int) -> None:
    """They are longer than their encoding, the more so the shorter their ids are."""
    async with running(tmp_path) as market:
        count, each, price = 1_000, E8 // 3, 9 * E8 + 12_345_678
        sell = PlaceOrder("maker", BTC, SELL, LIMIT, each, price)
        await market.commit(*(sell._replace(order_id=f"{i:0{digits}}") for i in range(count)))
        before = market.sequencer.durable_sequence
        live = market.feed.read_json_trades("peer", BTC)
        resumed = market.feed.read_json_trades("peer", BTC, before)
        async with aclosing(live.messages()) as now, aclosing(resumed.messages()) as past:
            await seconds(anext(now))
            await market.commit(PlaceOrder("taker", BTC, BUY, LIMIT, count * each, price, IOC))
            for messages in (now, past):
                told, lengths = 0, []
                while told < count:
                    message = JsonTrades.FromString(await seconds(anext(messages)))
                    told += len(message.trades)
                    lengths.append(len(json_of(message)))
                assert 16 * 1024 < max(lengths) < 64 * 1024
        live.close()
        resumed.close()


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


async def test_what_happens_after_a_stop_is_resumed_later(tmp_path: Path) -> None:
    """Else a busy market would keep streams, and with them the server, from ending."""
    async with running(tmp_path) as market:
        reader = market.feed.read_trades("peer", BTC)
        messages = reader.messages()
        await seconds(anext(messages))
        told = await market.trade()
        market.feed.stop()
        await market.trade()
        trades = StreamTradesResponse.FromString(await seconds(anext(messages)))
        assert (trades.sequence, len(trades.trades)) == (told, 1)
        with pytest.raises(ServerStopping) as ended:
            await seconds(anext(messages))
        assert ended.value.sequence == told
        reader.close()
