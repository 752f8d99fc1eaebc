"""What each message of a channel claims to hold, whoever listens when, from wherever it begins."""

from collections.abc import Iterable
from typing import Any

import pytest

from exchange.v1.market_data_pb2 import StreamOrderBookResponse, StreamTradesResponse
from server.core.commands import Command, PlaceOrder, SetInstrument
from server.core.engine import Engine
from server.core.instruments import Instrument
from server.core.types import BUY, SELL, Stamp
from server.followers import redis_messages
from server.followers.levels import levels_of
from server.followers.redis_messages import CHANNELS, Message, RedisMessages
from server.journal.payload import encode_batch
from server.journal.record import BATCH, Record

TRADES, _, BOOK = CHANNELS.values()
ALL = frozenset(CHANNELS.values())
BTC = "BTC-USD"


class Journal:
    """An engine, and the records of what it is told."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.apply(SetInstrument(Instrument(BTC)), SetInstrument(Instrument("ETH-USD")))

    def apply(self, *commands: Command) -> Record:
        engine = self.engine
        first = engine.sequence + 1
        events: list[Any] = [
            engine.apply(it, Stamp(number, number)) for number, it in enumerate(commands, first)
        ]
        payload = encode_batch(commands, events)
        many = len(commands)
        ids = (b"j" * 16, 0, 1, 1, b"o" * 16)
        return Record(BATCH, 0, 0, *ids, first, many, first, b"c" * 16, payload)

    def trade(self, instrument: str = BTC) -> Record:
        """Two commands, one trade, and a bid that is left."""
        sell = PlaceOrder("a", instrument, SELL, 1, 5, 100)
        return self.apply(sell, PlaceOrder("b", instrument, BUY, 1, 7, 100 + self.engine.sequence))


def tell(feed: RedisMessages, record: Record, listened: Iterable[str] = ALL) -> dict[str, Any]:
    """The messages of a record by channel; there is at most one of each."""
    found = feed.messages(record, record.events(), frozenset(listened))
    assert len(dict(found)) == len(found)
    return dict(map(decoded, found))


def decoded(message: Message) -> tuple[str, Any]:
    channel, data = message
    kind = StreamTradesResponse if channel.startswith(TRADES) else StreamOrderBookResponse
    return channel, kind.FromString(data)


def test_messages_of_a_channel_follow_on_one_another_and_not_on_what_nobody_heard() -> None:
    journal = Journal()
    feed = RedisMessages(journal.engine.sequence)
    channel = f"{TRADES}{BTC}"
    first = tell(feed, journal.trade())[channel]
    assert (first.previous_sequence, first.sequence, len(first.trades)) == (2, 4, 1)
    tell(feed, journal.trade("ETH-USD"))
    second = tell(feed, journal.trade())[channel]
    assert (second.previous_sequence, second.sequence) == (4, 8), "nothing of it lies between"
    assert channel not in tell(feed, journal.trade(), {BOOK})
    third = tell(feed, journal.trade())[channel]
    assert (third.previous_sequence, third.sequence) == (10, 12), "9 and 10 nobody was told of"
    assert tell(feed, journal.trade(), ()) == {}
    assert feed.sequence == 14
    assert tell(feed, journal.trade())[channel].previous_sequence == 14


def test_a_large_record_is_several_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_messages, "EVENTS_MAX", 2)
    journal = Journal()
    feed = RedisMessages(journal.engine.sequence)
    orders = [PlaceOrder("a", BTC, SELL, 1, 5, 100 + n) for n in range(5)]
    record = journal.apply(*orders)
    found = [
        decoded(each)[1]
        for each in feed.messages(record, record.events(), ALL)
        if each[0].startswith(BOOK)
    ]
    assert [(it.previous_sequence, it.sequence) for it in found] == [(2, 4), (4, 6), (6, 7)]
    assert sum(len(it.asks) for it in found) == 5


def test_levels_are_right_from_a_state_and_over_what_nobody_heard() -> None:
    journal = Journal()
    for _ in range(3):
        journal.trade()
    feed = RedisMessages(journal.engine.sequence, levels_of(journal.engine))
    book = journal.engine.book(BTC)
    tell(feed, journal.trade(), ())
    levels = dict(book.depth(BUY, 10))
    while not book.is_empty:
        record = journal.apply(PlaceOrder("c", BTC, SELL, 2, 3))
        update = tell(feed, record, {BOOK})[f"{BOOK}{BTC}"]
        levels |= {level.price_e8: level.quantity_e8 for level in update.bids}
        there = {price: quantity for price, quantity in levels.items() if quantity}
        assert there == dict(book.depth(BUY, 10))
        assert not update.asks
    assert set(levels.values()) == {0}
