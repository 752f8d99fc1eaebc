"""The topics of a real Kafka equal the journal, whatever happened to either in between."""

import signal
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import Parse

from clients.examples.kafka_book import KafkaBook
from exchange.v1.admin_service_pb2 import GetStatusRequest, StreamJournalRequest
from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
from exchange.v1.market_data_pb2 import GetOrderBookRequest
from exchange.v1.market_data_pb2_grpc import MarketDataStub
from exchange.v1.order_service_pb2 import OrderEvent, StreamOrderEventsRequest
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
from server.followers.kafka_messages import (
    BOOK_UPDATES,
    ORDER_EVENTS,
    ORDERS,
    TOPICS,
    Encoder,
    protobuf,
)
from server.followers.position import frames
from server.journal.record import BATCH, decode_frame
from tests.followers.kafka_site import Broker
from tests.processes.load import Load
from tests.running import Running, Starter, until

SECONDS = 60.0
"""For a follower to be level: an outage, its delays, and a busy machine."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(autouse=True)
def fresh(broker: Broker) -> Iterator[None]:
    yield
    broker.delete(*broker.topics())


def follow(starter: Starter, address: str, broker: Broker, *options: str) -> Running:
    places = ("--data-dir", str(starter.data_dir), "--server", address)
    follower = starter.run("follower", *places, "--kafka-brokers", broker.address, *options)
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


def wanted(address: str) -> dict[str, list[tuple[int, int, str, bytes]]]:
    """What the topics have to hold: the journal from its beginning."""
    encoder = Encoder(protobuf)
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
                    for out in encoder.messages(sequence, record.time_ns, events, wanted=True):
                        row = (sequence, out.mark.number, out.mark.instrument, out.value)
                        found[out.topic].append(row)
    return found


def row_of(message: Any) -> tuple[int, int, str, bytes]:
    headers = dict(message.headers())
    key = message.key().decode()
    return int(headers["sequence"]), int(headers["index"]), key, message.value()


def assert_topics_equal_the_journal(address: str, broker: Broker) -> None:
    journal = wanted(address)
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


def test_values_are_json_by_option(starter: Starter, broker: Broker) -> None:
    _server, address = starter.server()
    follow(starter, address, broker, "--kafka-format", "json")
    load(address, "json", 1)
    wait_level(address)
    texts = [Parse(it.value(), OrderEvent()) for it in broker.messages(ORDER_EVENTS)]
    values = [row[3] for row in wanted(address)[ORDER_EVENTS]]
    assert texts == [OrderEvent.FromString(value) for value in values]


def test_outages_under_load_leave_no_gap(starter: Starter, broker: Broker) -> None:
    _server, address = starter.server()
    follower = follow(starter, address, broker)
    with Load(address, "killed") as sending:
        sending.wait(5)
        broker.kill()
        sending.wait(10)
    broker.start()
    with Load(address, "ended") as sending:
        sending.wait(5)
        follower.kill()
        sending.wait(10)
    follower = follow(starter, address, broker)
    wait_level(address)
    with broker.paused():
        load(address, "paused", 2)
        follower.wait_line("kafka is down")
    wait_level(address)
    assert_topics_equal_the_journal(address, broker)


def test_topic_that_was_deleted_is_filled_again(starter: Starter, broker: Broker) -> None:
    _server, address = starter.server()
    follow(starter, address, broker)
    load(address, "first")
    wait_level(address)
    broker.delete(ORDERS)
    load(address, "second")
    until(lambda: ORDERS in broker.topics(), SECONDS, "the topic")
    wait_level(address)
    assert_topics_equal_the_journal(address, broker)


def test_absent_at_start_and_follower_ends_at_once(starter: Starter, broker: Broker) -> None:
    _server, address = starter.server()
    broker.kill()
    follower = follow(starter, address, broker)
    load(address, "absent")
    follower.wait_line("kafka is down")
    assert sum(line.startswith("kafka is down") for line in follower.lines) == 1
    broker.start()
    wait_level(address)
    assert_topics_equal_the_journal(address, broker)
    follower.signal(signal.SIGTERM)
    assert follower.wait() == 0
