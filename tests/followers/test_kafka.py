"""The topics of a real Kafka equal the journal, whatever happened to either in between."""

import asyncio
import contextlib
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import psutil
import pytest
from confluent_kafka import KafkaException, Producer

from clients.examples.kafka_book import KafkaBook
from exchange.v1.admin_service_pb2 import GetStatusRequest, StreamJournalRequest
from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
from exchange.v1.market_data_pb2 import GetOrderBookRequest
from exchange.v1.market_data_pb2_grpc import MarketDataStub
from exchange.v1.order_service_pb2 import (
    CancelOrderRequest,
    OrderEvent,
    PlaceOrderRequest,
    StreamOrderEventsRequest,
)
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
from exchange.v1.part_service_pb2 import ListPartsRequest
from exchange.v1.part_service_pb2_grpc import PartServiceStub
from server.followers import kafka_checkpoint, kafka_publisher
from server.followers.following import FollowerStopped
from server.followers.journal_reader import frames
from server.followers.kafka import KafkaFollower
from server.followers.kafka_topics import KEPT, KafkaFailed
from server.followers.levels import LevelFold
from server.followers.messages import (
    BOOK_UPDATES,
    ORDER_EVENTS,
    ORDERS,
    TOPICS,
    TRADES,
    Encoder,
    Encoding,
    Json,
    Protobuf,
)
from server.journal.record import BATCH, Record, decode_frame
from server.settings import KafkaSettings
from tests.followers.kafka_site import Broker, Writer, everything, row_of, rows_of
from tests.journal.site import INSTRUMENT, Site, every_command, trade
from tests.processes.load import Load
from tests.running import Running, Starter, until

SECONDS = 60.0
"""For a follower to be level: an outage, its delays, and a busy machine."""
ANSWER_S: Final = 3.0
"""For an order, and for health to tell, on a busy machine."""
PROTOBUF: Final = Protobuf()
MIB: Final = 1024 * 1024
GROWN_MAX: Final = 48 * MIB
"""Two queues that fill, 4 and 16 MiB, what they hold as objects, and what the client library takes
for a second producer."""


def follow(
    starter: Starter, address: str, broker: Broker, *options: str, serving: bool = True
) -> Running:
    file = starter.data_dir.with_name("kafka.toml")
    file.write_text(
        "[kafka]\ndelivery_ms = 1500\ncheckpoint_s = 0\n[followers]\nretry_max_ms = 300\n"
    )
    places = ("--config", str(file), "--data-dir", str(starter.data_dir), "--server", address)
    follower = starter.run("follower", *places, "--kafka-brokers", broker.address, *options)
    if serving:
        follower.wait_serving()
    return follower


def load(address: str, name: str, messages: int = 2) -> None:
    with Load(address, name) as sending:
        sending.wait(messages)


def wait_level(address: str) -> None:
    """Until Kafka has everything that is durable."""
    with grpc.insecure_channel(address) as channel:
        stub: Any = AdminServiceStub(channel)

        def is_level() -> bool:
            status = stub.GetStatus(GetStatusRequest(), timeout=10)
            reached = {it.name: it.sequence for it in status.followers}
            return bool(reached.get("kafka") == status.durable_sequence)

        until(is_level, SECONDS, "a kafka follower that is level")


def wanted(address: str, encoding: Encoding) -> dict[str, list[tuple[int, int, str, bytes]]]:
    """What the topics have to hold: the journal from its beginning."""
    encoder = Encoder(encoding)
    found = defaultdict(list)
    with grpc.insecure_channel(
        address, options=[("grpc.max_receive_message_length", -1)]
    ) as channel:
        stub: Any = AdminServiceStub(channel)
        for message in stub.StreamJournal(StreamJournalRequest(until_now=True), timeout=30):
            for record in map(decode_frame, frames(message)):
                if record.kind != BATCH:
                    continue
                for sequence, events in enumerate(record.events(), record.first_sequence):
                    for out in encoder.messages(sequence, record.time_ns, events, everything):
                        row = (sequence, out.mark.number, out.mark.instrument, out.value)
                        found[out.topic].append(row)
    return found


def assert_topics_equal_the_journal(
    address: str, broker: Broker, encoding: Encoding = PROTOBUF
) -> None:
    journal = wanted(address, encoding)
    assert journal.keys() == set(TOPICS)
    for topic in TOPICS:
        kept: dict[tuple[int, int, str], bytes] = {}
        last: dict[str, tuple[int, int]] = {}
        for message in broker.messages(topic):
            sequence, number, instrument, value = row_of(message)
            if (sequence, number) > last.get(instrument, (0, -1)):
                last[instrument] = (sequence, number)
                kept[sequence, number, instrument] = value
            else:
                assert kept[sequence, number, instrument] == value, "a repeat says the same"
        found = [(*place, value) for place, value in sorted(kept.items())]
        assert found == sorted(journal[topic]), topic


def test_topics_hold_the_journal_and_the_book(starter: Starter, broker: Broker) -> None:
    _server, address = starter.server()
    load(address, "before")
    follow(starter, address, broker)
    load(address, "after")
    wait_level(address)
    assert_topics_equal_the_journal(address, broker)

    book = KafkaBook("BTC-USD")
    for message in broker.messages(BOOK_UPDATES):
        book.take(message)
    with grpc.insecure_channel(address) as channel:
        market: Any = MarketDataStub(channel)
        real = market.GetOrderBook(GetOrderBookRequest(instrument="BTC-USD", levels=100)).book
        bids = {level.price_e8: level.quantity_e8 for level in real.bids}
        asks = {level.price_e8: level.quantity_e8 for level in real.asks}
        assert bids or asks, "the load leaves orders in the book"
        assert (book.bids, book.asks) == (bids, asks)

        orders: Any = OrderServiceStub(channel)
        streamed = []
        sent = [OrderEvent.FromString(it.value()) for it in broker.messages(ORDER_EVENTS)]
        for reply in orders.StreamOrderEvents(StreamOrderEventsRequest(after_sequence=0)):
            streamed += reply.events
            if len(streamed) >= len(sent):
                break
    assert sent == streamed, "two encoders, one truth"
    console = starter.run(
        *("--brokers", broker.address, "--topic", TRADES, "--until-now"),
        module="clients.examples.kafka_console",
    )
    assert console.wait() == 0
    trades = [event.trade for event in sent if event.HasField("trade")]
    assert len(console.lines) == len(trades) / 2 > 0
    last = max(trades, key=lambda trade: (trade.sequence, trade.index))
    assert any(f'"trade_id": "{last.trade_id}"' in line for line in console.lines)


def rss_of(follower: Running) -> int:
    return int(psutil.Process(follower.pid).memory_info().rss)


def test_outages_under_load_leave_no_gap(
    starter: Starter, broker: Broker, figures: Callable[[str], None]
) -> None:
    """[I2 I13] Killed, absent at the follower's start, paused, slow; orders go on all the while."""
    _server, address = starter.server()
    follower = follow(starter, address, broker)
    with Load(address, "killed") as sending:
        sending.wait(5)
        broker.kill()
        sending.wait(10)
    follower.kill()
    follower = follow(starter, address, broker)
    load(address, "absent")
    follower.wait_line("kafka is down")
    assert sum(line.startswith("kafka is down") for line in follower.lines) == 1
    assert_orders_are_taken_and_health_is_true(address)
    broker.start()
    wait_level(address)
    follower.wait_line("kafka follows")
    before = rss_of(follower)
    with broker.paused(), Load(address, "paused") as sending:
        until(lambda: is_down(follower), SECONDS, "a follower that gave up waiting")
        sending.wait(50)
        grown = rss_of(follower) - before
    figures(f"kafka follower, broker paused under load: {grown / MIB:+.1f} MiB")
    assert grown < GROWN_MAX
    wait_level(address)
    with Load(address, "ended") as sending:
        sending.wait(5)
        follower.kill()
        sending.wait(10)
    follower = follow(starter, address, broker)
    with broker.slowed(), Load(address, "slow") as sending:
        sending.wait(20)
    wait_level(address)
    assert_topics_equal_the_journal(address, broker)
    follower.signal(signal.SIGTERM)
    assert follower.wait() == 0


def assert_orders_are_taken_and_health_is_true(address: str) -> None:
    """Nobody waits for a Kafka that is away, and nobody says that it is well."""
    with grpc.insecure_channel(address) as channel:
        orders: Any = OrderServiceStub(channel)
        place = PlaceOrderRequest(
            client_id="away",
            instrument="BTC-USD",
            side=1,  # type: ignore[arg-type]
            type=1,  # type: ignore[arg-type]
            quantity_e8=1,
            price_e8=1,
            order_id="away-1",
        )
        orders.PlaceOrder(place, timeout=ANSWER_S)
        cancel = CancelOrderRequest(client_id="away", order_id="away-1")
        cancelled = orders.CancelOrder(cancel, timeout=ANSWER_S)
        assert cancelled.order.cancelled_quantity_e8 == 1
        parts: Any = PartServiceStub(channel)

        def is_told() -> bool:
            found = parts.ListParts(ListPartsRequest(), timeout=ANSWER_S).parts
            return any((it.name, it.state) == ("kafka", "down") for it in found)

        until(is_told, ANSWER_S, "a Kafka that is told to be down")


def is_down(follower: Running) -> bool:
    said = [line for line in follower.lines if line.startswith("kafka ")]
    return said[-1].startswith("kafka is down")


def test_topic_that_was_deleted_is_filled_again(starter: Starter, broker: Broker) -> None:
    """And values are JSON by option."""
    _server, address = starter.server()
    follow(starter, address, broker, "--kafka-format", "json")
    load(address, "first")
    wait_level(address)
    broker.delete(ORDERS)
    load(address, "second")
    until(lambda: ORDERS in broker.topics(), SECONDS, "the topic")
    wait_level(address)
    assert_topics_equal_the_journal(address, broker, Json())
    # No message comes that would show that this one is gone.
    trades = len(broker.messages(TRADES))
    broker.delete(TRADES)
    until(lambda: TRADES in broker.topics(), SECONDS, "the other topic")

    def are_there() -> bool:
        with contextlib.suppress(KafkaException):  # of a topic without a leader yet
            return len(broker.messages(TRADES)) >= trades
        return False

    until(are_there, SECONDS, "its messages")
    assert_topics_equal_the_journal(address, broker, Json())


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    site = Site(tmp_path_factory.mktemp("site"))
    every_command(site)
    trade(site, 90)
    site.close()
    return [it for it in map(decode_frame, site.log.follow(0)) if it.kind == BATCH]


def test_begins_again_at_its_checkpoint(
    broker: Broker, records: list[Record], tmp_path: Path
) -> None:
    writer = Writer(broker, tmp_path)
    first, second, third = records[:30], records[30:60], records[60:]
    assert writer.write(first, second) == (0, second[-1].last_sequence)
    assert writer.write() == (second[-1].last_sequence, second[-1].last_sequence)
    # Ahead of the checkpoint, which is what a crash leaves.
    crashed = Writer(broker, tmp_path, checkpoint_s=3_600)
    assert crashed.write(third[:10], whole=False) == (second[-1].last_sequence,) * 2
    assert writer.write(third) == (second[-1].last_sequence, third[-1].last_sequence)
    writer.assert_all_there(records)
    # A clean end leaves a checkpoint, however long ago the one before was.
    kafka_checkpoint.forget(tmp_path)
    assert crashed.write(records)[0] == 0
    assert writer.write()[0] == records[-1].last_sequence
    writer.assert_all_there(records)


@pytest.mark.parametrize("topic", [TOPICS[0], TOPICS[3]])
def test_a_wiped_topic_is_filled_from_the_beginning(
    broker: Broker, records: list[Record], tmp_path: Path, topic: str
) -> None:
    writer = Writer(broker, tmp_path)
    writer.write(records[:50])
    broker.delete(topic)
    until(lambda: topic not in broker.topics(), SECONDS, "the end of the topic")
    assert writer.write(records)[0] == 0
    writer.assert_all_there(records)
    assert broker.settings(topic) == KEPT, "not what brokers do by default"


def test_what_lands_elsewhere_than_behind_the_last_is_noticed(
    broker: Broker, records: list[Record], tmp_path: Path
) -> None:
    """[I2] A batch of several messages for one partition, between which only the last tells."""

    async def run() -> None:
        follower = KafkaFollower(broker.address, tmp_path, limits=KafkaSettings())
        await follower.open()
        try:
            await follower.take(records[:20])
            await follower.take(records[20:30])
            partition = broker.messages(ORDER_EVENTS)[-1].partition()
            assert partition is not None
            somebody = Producer({"bootstrap.servers": broker.address})
            somebody.produce(ORDER_EVENTS, b"not ours", b"anything", partition)
            assert somebody.flush(SECONDS) == 0
            with pytest.raises(KafkaFailed, match=f"{ORDER_EVENTS}/{partition} goes on at offset"):
                await follower.take(records[30:])
        finally:
            await follower.close()

    asyncio.run(run())


def book_of(broker: Broker, records: list[Record], name: str) -> tuple[KafkaBook, LevelFold]:
    """A book made of the topic alone, and what it has to be."""
    book, encoder = KafkaBook(name), Encoder(Protobuf())
    for message in broker.messages(BOOK_UPDATES):
        book.take(message)
    for record in records:
        for sequence, events in enumerate(record.events(), record.first_sequence):
            for _ in encoder.messages(sequence, record.time_ns, events, everything):
                pass
    return book, encoder.books


def test_filled_from_the_newest_state_where_the_journal_is_cut(
    broker: Broker, tmp_path: Path
) -> None:
    site = Site(tmp_path / "site")
    every_command(site)
    trade(site, 40)
    site.snapshot()
    at_snapshot = site.engine.sequence
    trade(site, 40, seed=2)
    site.close()
    records = [it for it in map(decode_frame, site.log.follow(0)) if it.kind == BATCH]
    half = [it for it in records if it.last_sequence <= at_snapshot + 30]
    writer = Writer(broker, site.directory, fill_from="snapshot")

    def assert_book_is_whole(first_sequence: int) -> None:
        marks = [row_of(message)[0] for message in broker.messages(BOOK_UPDATES)]
        assert min(marks) == first_sequence
        book, books = book_of(broker, records, INSTRUMENT)
        wanted = dict(books.snapshots(0, 0))[INSTRUMENT]
        assert book.bids == {level.price_e8: level.quantity_e8 for level in wanted.bids}
        assert book.asks == {level.price_e8: level.quantity_e8 for level in wanted.asks}
        assert book.bids or book.asks

    assert writer.write(half)[0] == at_snapshot
    assert writer.write(records)[0] == half[-1].last_sequence
    assert_book_is_whole(at_snapshot)
    events = {row_of(message)[0] for message in broker.messages(ORDER_EVENTS)}
    assert min(events) > at_snapshot
    # Emptied, and the checkpoint is newer than the snapshot.
    kafka_checkpoint.forget(site.directory)
    broker.delete(*broker.topics())
    writer.write(half)
    broker.delete(BOOK_UPDATES)
    until(lambda: BOOK_UPDATES not in broker.topics(), SECONDS, "the end of the topic")
    assert writer.write(records)[0] == half[-1].last_sequence
    assert_book_is_whole(half[-1].last_sequence)
    assert {row_of(message)[0] for message in broker.messages(ORDER_EVENTS)} == events


def test_topics_of_another_journal_are_left_alone(
    broker: Broker, records: list[Record], tmp_path: Path
) -> None:
    writer = Writer(broker, tmp_path / "one")
    (tmp_path / "one").mkdir()
    writer.write(records[:20])
    other = Site(tmp_path / "other")
    every_command(other)
    other.close()
    others = [it for it in map(decode_frame, other.log.follow(0)) if it.kind == BATCH]
    with pytest.raises(FollowerStopped, match="a Kafka of its own"):
        Writer(broker, tmp_path / "other").write(others)
    writer.write(records)
    writer.assert_all_there(records)


def test_a_broker_that_comes_back_too_late_leaves_no_gap(
    broker: Broker, records: list[Record], tmp_path: Path
) -> None:
    """[I2] What is sent little by little while nothing is acknowledged is given up as a whole."""
    limits = KafkaSettings(delivery_ms=500, checkpoint_s=0)

    class Slowly(list[Record]):
        given = 0

        def __iter__(self) -> Iterator[Record]:
            for record in super().__iter__():
                time.sleep(0.02)
                self.given += 1
                yield record

    async def run(given: int) -> None:
        follower = KafkaFollower(broker.address, tmp_path, limits=limits)
        reached = await follower.open()
        left = Slowly(record for record in records if record.last_sequence > reached.sequence)
        with broker.paused():
            taking = asyncio.create_task(follower.take(left))
            await asyncio.to_thread(
                until, lambda: left.given >= given or taking.done(), SECONDS, "records"
            )
        with contextlib.suppress(KafkaFailed):
            await taking
        await follower.close()

    for given in (22, 25, 30, 45):
        asyncio.run(run(given))
        kafka_checkpoint.forget(tmp_path)
    Writer(broker, tmp_path).write(records)
    for topic in TOPICS:
        last: dict[str, tuple[int, int]] = {}
        found = []
        for message in broker.messages(topic):
            sequence, number, instrument, value = row_of(message)
            if (sequence, number) > last.get(instrument, (0, -1)):
                last[instrument] = (sequence, number)
                found.append((sequence, number, instrument, value))
        assert sorted(found) == rows_of(records)[topic], topic


def test_what_waits_for_a_broker_is_bounded(
    broker: Broker, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[I13] A queue that is full is waited for; nothing of it is lost."""
    monkeypatch.setattr(kafka_publisher, "QUEUE_MESSAGES_MAX", 40)
    follower = KafkaFollower(
        broker.address, tmp_path, limits=KafkaSettings(delivery_ms=60_000, checkpoint_s=0)
    )

    async def run() -> None:
        await follower.open()
        publisher = follower._publisher
        assert publisher is not None
        waiting = publisher._producer
        with broker.paused():
            taking = asyncio.create_task(follower.take(records))
            deadline = time.monotonic() + SECONDS
            while len(waiting) < kafka_publisher.QUEUE_MESSAGES_MAX:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
            for _ in range(20):
                assert len(waiting) <= kafka_publisher.QUEUE_MESSAGES_MAX
                await asyncio.sleep(0.01)
            assert not taking.done()
        assert await taking == records[-1].last_sequence
        await follower.close()

    asyncio.run(run())
    Writer(broker, tmp_path).assert_all_there(records)
