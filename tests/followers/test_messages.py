"""The messages of topics and channels, and checkpoints of the Kafka follower, without any Kafka."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import Parse
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import UInt64Value

from clients.examples.kafka_book import KafkaBook
from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from exchange.v1.order_service_pb2 import (
    OrderEvent,
    OrderEventKind,
    StreamOrderEventsResponse,
)
from exchange.v1.types_pb2 import Level, Order, Trade
from server.core.commands import CancelOrders, PlaceOrder, ReplaceOrder, SetInstrument
from server.core.engine import Engine
from server.core.instruments import Instrument
from server.core.types import BUY, E8, INT64_MAX, LIMIT, SELL, Stamp
from server.event_messages import varint
from server.followers import kafka_checkpoint, messages
from server.followers.kafka_checkpoint import NOTHING, Checkpoint
from server.followers.levels import LevelFold, levels_of
from server.followers.messages import (
    BOOK_UPDATES,
    LEVELS_MAX,
    ORDER_EVENTS,
    ORDERS,
    TRADES,
    Encoder,
    Encoding,
    Json,
    MessageMark,
    Out,
    Protobuf,
    time_ns_of,
)
from server.journal.record import BATCH, Record, decode_frame
from server.rpc.event_formats import OrderEventFormat
from tests.history.written import Written
from tests.journal.site import Site, every_command, trade

TYPES: dict[str, type[Message]] = {
    ORDERS: Order,
    TRADES: Trade,
    ORDER_EVENTS: OrderEvent,
    BOOK_UPDATES: StreamOrderBookResponse,
}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    site = Site(tmp_path_factory.mktemp("site"))
    every_command(site)
    replaced_and_reduced(site)
    trade(site, 120)
    site.close()
    return [it for it in map(decode_frame, site.log.follow(0)) if it.kind == BATCH]


def replaced_and_reduced(site: Site) -> None:
    """An order that trades at the price that it was given later, and one that self-trade
    prevention makes smaller."""
    name = "CUT-USD"
    site.commit(SetInstrument(Instrument(name)))
    site.commit(PlaceOrder("client-1", name, BUY, LIMIT, 3 * E8, 5 * E8))
    site.commit(PlaceOrder("client-2", name, SELL, LIMIT, E8, 9 * E8, order_id="sold"))
    site.commit(ReplaceOrder("client-2", "sold", 5 * E8))
    site.commit(PlaceOrder("client-1", name, SELL, LIMIT, E8, 5 * E8, self_trade_prevention=5))


def everything(topic: str, mark: MessageMark) -> bool:
    return bool(topic and mark)


def sent(encoder: Encoder, records: list[Record], wanted: Any = everything) -> Iterator[Out]:
    for record in records:
        for sequence, events in enumerate(record.events(), record.first_sequence):
            yield from encoder.messages(sequence, record.time_ns, events, wanted)


class Counting:
    """Counts what is encoded."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._encoding = Protobuf()

    def value(self, message: Message) -> bytes:
        name = message.DESCRIPTOR.name
        self.counts[name] = self.counts.get(name, 0) + 1
        return self._encoding.value(message)

    def with_field(self, value: bytes, name: str, inner: bytes) -> bytes:
        return self._encoding.with_field(value, name, inner)


def test_orders_and_trades_are_encoded_once(records: list[Record]) -> None:
    counting = Counting()
    found = list(sent(Encoder(counting), records))
    topics = [out.topic for out in found]
    assert counting.counts == {
        "Order": topics.count(ORDERS),
        "Trade": topics.count(TRADES),
        "OrderEvent": topics.count(ORDER_EVENTS),
        "StreamOrderBookResponse": topics.count(BOOK_UPDATES),
    }
    assert all(counting.counts.values())
    trades = {out.mark: out.value for out in found if out.topic == TRADES}
    orders = {out.mark: out.value for out in found if out.topic == ORDERS}
    for out in found:
        if out.topic == ORDER_EVENTS:
            event = OrderEvent.FromString(out.value)
            if event.kind == OrderEventKind.ORDER_EVENT_KIND_FILLED:
                first = (
                    out.mark if out.mark in trades else out.mark._replace(number=out.mark[1] - 1)
                )
                trade = Trade.FromString(trades[first])
                assert event.trade == trade
                assert event.order.filled_quantity_e8
                if out.mark in trades:
                    assert event.order.order_id == trade.maker_order_id
                    assert event.order.side == BUY + SELL - trade.aggressor_side
                else:
                    assert event.order.order_id == trade.taker_order_id
                    assert event.order.side == trade.aggressor_side
            else:
                assert event.order == Order.FromString(orders[out.mark])


def test_an_order_event_is_that_of_the_stream(records: list[Record]) -> None:
    streamed = [
        event
        for record in records
        for sequence, events in enumerate(record.events(), record.first_sequence)
        for _, entry in OrderEventFormat().entries(
            sequence, record.time_ns, events, lambda *key: [key]
        )
        for event in StreamOrderEventsResponse.FromString(entry).events
    ]
    found = [out for out in sent(Encoder(Protobuf()), records) if out.topic == ORDER_EVENTS]
    assert [OrderEvent.FromString(out.value) for out in found] == streamed
    sold = [it.order for it in streamed if it.order.order_id == "sold"]
    assert [(it.price_e8, it.filled_quantity_e8) for it in sold] == [
        (9 * E8, 0),
        (5 * E8, 0),
        (5 * E8, E8),
    ]
    assert OrderEventKind.ORDER_EVENT_KIND_REDUCED in {it.kind for it in streamed}


def test_levels_and_times_are_those_of_the_engine(records: list[Record]) -> None:
    engine, encoder = Engine(), Encoder(Protobuf())
    told: dict[tuple[str, int, int], int] = {}
    times_ns: dict[int, int] = {}
    for record in records:
        for sequence, command in enumerate(record.commands(), record.first_sequence):
            engine.apply(command, Stamp(sequence, record.time_ns))
            times_ns[sequence] = record.time_ns
        for out in sent(encoder, [record]):
            if out.topic == BOOK_UPDATES:
                update = StreamOrderBookResponse.FromString(out.value)
                for side, levels in ((BUY, update.bids), (SELL, update.asks)):
                    for level in levels:
                        told[out.mark.instrument, side, level.price_e8] = level.quantity_e8
            elif out.topic == ORDERS:
                order = Order.FromString(out.value)
                assert order.created_time_ns == times_ns[order.placed_sequence]
                assert order.updated_time_ns == record.time_ns
        assert {place: quantity for place, quantity in told.items() if quantity} == {
            (name, side, price_e8): quantity_e8
            for name in engine.instruments
            for side in (BUY, SELL)
            for price_e8, quantity_e8 in engine.book(name).depth(side, 1_000)
        }
    assert len(told) > 10
    orders, _ = encoder.books.kept()
    assert sorted(orders) == sorted(levels_of(engine).kept()[0]), "only what rests is kept"


class Sent:
    """A message as a consumer has it."""

    def __init__(self, out: Out) -> None:
        self._out = out

    def key(self) -> bytes:
        return self._out.mark.instrument.encode()

    def value(self) -> bytes:
        return self._out.value

    def headers(self) -> list[tuple[str, bytes]]:
        return [("index", b"%d" % self._out.mark.number)]


def test_a_book_of_a_topic_in_json_is_refused_in_words() -> None:
    update = Sent(Out("", MessageMark(3, 0, "BTC-USD"), "delta", b'{"sequence": "3"}'))
    with pytest.raises(ValueError, match="--kafka-format json"):
        KafkaBook("BTC-USD").take(update)  # type: ignore[arg-type]


def books_of_topic(outs: list[Out]) -> dict[str, KafkaBook]:
    """Each message twice, as after an outage."""
    books = {out.mark.instrument: KafkaBook(out.mark.instrument) for out in outs}
    for out in outs:
        for message in (Sent(out), Sent(out)):
            books[out.mark.instrument].take(message)  # type: ignore[arg-type]
    return books


def test_updates_of_many_levels_are_several_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several instruments in one command too; each goes on wherever it was cut."""
    monkeypatch.setattr(messages, "LEVELS_MAX", 3)
    written = Written()
    depths = {"C-USD": (4, 9), "A-USD": (9, 4), "B-USD": (9, 9)}
    for name, (bids, asks) in depths.items():
        written.commit(SetInstrument(Instrument(name)))
        written.commit(
            *(PlaceOrder("a", name, BUY, LIMIT, E8, 1 + each) for each in range(bids)),
            *(PlaceOrder("a", name, SELL, LIMIT, E8, 101 + each) for each in range(asks)),
        )
    resting = levels_of(written.engine)
    written.commit(CancelOrders("a"))
    written.commit(PlaceOrder("a", "B-USD", BUY, LIMIT, E8, 1))
    outs = [out for out in sent(Encoder(Protobuf()), written.records) if out.topic == BOOK_UPDATES]
    cancelled = [out for out in outs if out.mark.sequence == outs[-1].mark.sequence - 1]
    updates = [StreamOrderBookResponse.FromString(out.value) for out in cancelled]
    assert [update.partial for update in updates] == [True, True, False] * 3
    assert not any(update.snapshot for update in updates), "what it does not tell stays"
    assert [out.mark for out in outs] == sorted({out.mark for out in outs})
    for name, book in books_of_topic(outs).items():
        assert (book.bids, book.asks) == ({1: E8} if name == "B-USD" else {}, {})
    for last in cancelled:
        late = sent(Encoder(Protobuf()), written.records, lambda _, it, at=last.mark: it > at)
        assert [it for it in late if it.topic == BOOK_UPDATES] == outs[outs.index(last) + 1 :]
    begun = list(Encoder(Protobuf(), resting).snapshots(10**6, 1, everything))
    assert [out.mark for out in begun] == sorted({out.mark for out in begun})
    assert [out.type for out in begun] == ["snapshot", "delta", "delta"] * 3
    for name, book in books_of_topic(begun).items():
        bids, asks = depths[name]
        assert book.bids == dict.fromkeys(range(1, 1 + bids), E8)
        assert book.asks == dict.fromkeys(range(101, 101 + asks), E8)


def test_however_many_books_begin_their_levels_are_read_once() -> None:
    class Levels(dict[Any, int]):
        reads = 0

        def items(self) -> Any:
            self.reads += 1
            return super().items()

    levels = [
        (name, side, price) for name in ("B", "A") for side in (BUY, SELL) for price in (2, 3)
    ]
    books = LevelFold.of(((at, *level, E8) for at, level in enumerate(levels)), {"GONE": 4})
    books._levels = there = Levels(books._levels)
    begun = list(Encoder(Protobuf(), books).snapshots(5, 1, everything))
    found = [StreamOrderBookResponse.FromString(out.value) for out in begun]
    assert there.reads == 1
    sides = [
        ([it.price_e8 for it in book.bids], [it.price_e8 for it in book.asks]) for book in found
    ]
    assert sides == [([3, 2], [2, 3]), ([3, 2], [2, 3]), ([], [])]
    assert [out.mark.instrument for out in begun] == ["A", "B", "GONE"]


def test_updates_of_two_books_have_the_order_of_a_partition() -> None:
    """A reader takes what comes behind a greater mark for a repeat."""
    written = Written()
    for name in ("B-USD", "A-USD"):
        written.commit(SetInstrument(Instrument(name)))
        written.commit(PlaceOrder("a", name, BUY, LIMIT, E8, 1))
    written.commit(CancelOrders("a"))
    outs = [out for out in sent(Encoder(Protobuf()), written.records) if out.topic == BOOK_UPDATES]
    assert [out.mark.instrument for out in outs] == ["B-USD", "A-USD", "A-USD", "B-USD"]
    assert [out.mark for out in outs] == sorted(out.mark for out in outs)


@pytest.mark.parametrize("encoding", [Protobuf(), Json()])
def test_the_largest_message_is_one_that_brokers_take(encoding: Encoding) -> None:
    levels = [Level(price_e8=INT64_MAX, quantity_e8=INT64_MAX)] * LEVELS_MAX
    update = StreamOrderBookResponse(
        sequence=INT64_MAX, previous_sequence=INT64_MAX, time_ns=INT64_MAX, bids=levels, asks=levels
    )
    assert len(encoding.value(update)) < 1_000_000


@pytest.mark.parametrize("number", [0, 127, 128, 0x3FFF, 0x4000, 2**21 - 1, 2**21, 2**35])
def test_integers_are_those_that_protobuf_reads(number: int) -> None:
    assert UInt64Value.FromString(b"\x08" + varint(number)).value == number


def test_json_says_the_same(records: list[Record]) -> None:
    binary, text = (list(sent(Encoder(each), records)) for each in (Protobuf(), Json()))
    assert len(binary) == len(text) > 500
    for one, other in zip(binary, text, strict=True):
        assert one[:3] == other[:3]
        kind = TYPES[one.topic]
        assert Parse(other.value, kind()) == kind.FromString(one.value)


@pytest.mark.parametrize("encoding", [Protobuf(), Json()])
def test_every_value_tells_the_time_of_its_command(
    records: list[Record], encoding: Encoding
) -> None:
    times = {
        sequence: record.time_ns
        for record in records
        for sequence in range(record.first_sequence, record.last_sequence + 1)
    }
    encoder = Encoder(encoding)
    found = list(sent(encoder, records))
    last = records[-1]
    found += encoder.snapshots(last.last_sequence, last.time_ns, everything)
    assert {out.topic for out in found} == set(TYPES)
    for out in found:
        assert time_ns_of(out.topic, out.value) == times[out.mark.sequence]


@pytest.mark.parametrize("value", [b"\xff", b"{]"])
@pytest.mark.parametrize("topic", TYPES)
def test_what_is_no_value_has_no_time(topic: str, value: bytes) -> None:
    with pytest.raises(ValueError, match=r"(?i)error|failed"):
        time_ns_of(topic, value)


def test_what_is_not_wanted_changes_nothing_of_the_rest(records: list[Record]) -> None:
    every = list(sent(Encoder(Protobuf()), records))
    for topic in TYPES:
        some = sent(Encoder(Protobuf()), records, lambda it, _, topic=topic: it == topic)
        assert list(some) == [out for out in every if out.topic == topic]
    middle = every[len(every) // 2].mark
    late = sent(Encoder(Protobuf()), records, lambda _, mark: mark > middle)
    assert list(late) == [out for out in every if out.mark > middle]


@pytest.mark.parametrize("encoding", [Protobuf(), Json()])
def test_books_that_were_kept_go_on_as_they_were(
    records: list[Record], encoding: Encoding, tmp_path: Path
) -> None:
    every = list(sent(Encoder(encoding), records))
    half = len(records) // 2
    first = Encoder(encoding)
    before = list(sent(first, records[:half]))
    last = records[half - 1]
    checkpoint = Checkpoint(
        last.journal.hex(),
        "k",
        last.last_sequence,
        last.time_ns,
        {"t": [5, -1]},
        *first.books.kept(),
    )
    kafka_checkpoint.write(tmp_path, checkpoint)
    found = kafka_checkpoint.read(tmp_path)
    assert found == checkpoint
    after = sent(Encoder(encoding, LevelFold.of(found.orders, found.updated)), records[half:])
    assert [*before, *after] == every


def test_a_checkpoint_that_is_not_whole_is_none(tmp_path: Path) -> None:
    assert kafka_checkpoint.read(tmp_path) == NOTHING
    checkpoint = NOTHING._replace(cluster="k", sequence=7, ends={"t": [1]})
    kafka_checkpoint.write(tmp_path, checkpoint)
    kafka_checkpoint.write(tmp_path, checkpoint._replace(sequence=8))
    assert kafka_checkpoint.read(tmp_path).sequence == 8
    file = tmp_path / kafka_checkpoint.FILE_NAME
    whole = file.read_bytes()
    for broken in (whole[:-1], b"", whole[:40] + b"\0" + whole[41:]):
        file.write_bytes(broken)
        assert kafka_checkpoint.read(tmp_path) == NOTHING
    kafka_checkpoint.forget(tmp_path)
    assert kafka_checkpoint.read(tmp_path) == NOTHING


@pytest.mark.parametrize(
    ("ends", "fits"),
    [
        ({"t": [5, -1]}, True),
        ({"t": [9, 0]}, True),
        ({"t": [4, 3]}, False),
        ({"t": [-1, -1]}, False),
        ({"t": [5]}, False),
        ({"t": [5, -1], "u": [0]}, False),
    ],
)
def test_a_checkpoint_fits_topics_that_reach_as_far(ends: dict[str, list[int]], fits: bool) -> None:
    checkpoint = NOTHING._replace(cluster="k", sequence=3, ends={"t": [5, -1]})
    assert checkpoint.fits("k", ends) is fits
    assert not checkpoint.fits("other", ends)
