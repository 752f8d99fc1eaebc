"""The journal's events as messages of Redis channels, for gateways on other machines.

    channel                          message                                  of the streams
    exchange:trades:<instrument>     exchange.v1.StreamTradesResponse         StreamTrades
    exchange:orders:<instrument>     exchange.v1.StreamOrderEventsResponse    StreamOrderEvents
    exchange:orderbook:<instrument>  exchange.v1.StreamOrderBookResponse      StreamOrderBook

in protobuf, as gRPC sends them: several trades or events in one message, a book's changes of
several commands as one delta, without a checksum.

Redis publishes without regard to its databases. So that two exchanges that have a database each
don't hear one another, the names in database 3, say, begin with `exchange@3:` instead; those above
are of database 0.

A message holds all that its channel has to tell of the sequences after `previous_sequence`, up to
`sequence`. Publishing is not kept anywhere: who was not connected, or was cut, has missed it. So
a subscriber subscribes first, then asks the exchange over gRPC for what was before, and

- passes over a message whose `sequence` is not greater than its own: a repeat;
- asks over gRPC again, from its own sequence, where `previous_sequence` is greater than that;
- takes what is left of a message that overlaps with what it has.

Channels that nobody subscribes to are left out; what they would have held lies before
`previous_sequence` of their next message.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Final

from exchange.v1.market_data_pb2 import StreamOrderBookResponse, StreamTradesResponse
from exchange.v1.order_service_pb2 import StreamOrderEventsResponse
from server.core.events import Event, OrderEvent, Traded
from server.event_messages import delimited
from server.followers.levels import LevelFold
from server.followers.messages import (
    BOOK_UPDATES,
    ORDER_EVENTS,
    TRADES,
    Encoder,
    MessageMark,
    Out,
    Protobuf,
)
from server.journal.record import Record

EVENTS_MAX: Final = 500
"""Trades or events in a message, unless one command has more: some 100 KB."""

_ITEM: Final = StreamTradesResponse.TRADES_FIELD_NUMBER
"""Of an element: in the one response `trades`, in the other `events`."""

Message = tuple[str, bytes]
"""A channel and what is published on it."""


def channels_of(database: int) -> dict[str, str]:
    """Prefix of the channels, by what is encoded for them."""
    exchange = f"exchange@{database}:" if database else "exchange:"
    return {
        TRADES: f"{exchange}trades:",
        ORDER_EVENTS: f"{exchange}orders:",
        BOOK_UPDATES: f"{exchange}orderbook:",
    }


CHANNELS: Final = channels_of(0)


class RedisMessages:
    """Makes the messages; what is left out of them is taken in all the same."""

    def __init__(
        self,
        sequence: int = 0,
        books: LevelFold | None = None,
        channels: Mapping[str, str] = CHANNELS,
    ) -> None:
        self.sequence = sequence
        """Everything up to here was taken in."""
        self._channels = channels
        self._encoder = Encoder(Protobuf(), books)
        self._covered: dict[str, int] = {}
        """Up to where the messages of each channel go."""
        self._unheard = dict.fromkeys(channels.values(), sequence)
        """Up to where nobody was told, by prefix of the channel."""

    def skip(self, record: Record, events_of: Sequence[list[Event]]) -> None:
        """Take it in, and begin to publish after it."""
        books = self._encoder.books
        books.begin()
        for events in events_of:
            for event in events:
                if isinstance(event, OrderEvent):
                    books.order(event)
                elif isinstance(event, Traded):
                    books.traded(event)
        self.sequence = record.last_sequence
        for prefix in self._unheard:
            self._unheard[prefix] = self.sequence

    def messages(
        self, record: Record, events_of: Sequence[list[Event]], listened: Set[str]
    ) -> list[Message]:
        """What is to be published of it, on channels with these prefixes."""
        if not listened:
            self.skip(record, events_of)
            return []

        def wanted(topic: str, _: MessageMark) -> bool:
            return self._channels.get(topic) in listened

        found: list[Message] = []
        made = _Batch()
        time_ns = record.time_ns
        for sequence, events in enumerate(events_of, record.first_sequence):
            for out in self._encoder.messages(sequence, time_ns, events, wanted):
                made.take(out)
            self.sequence = sequence
            if made.count >= EVENTS_MAX:
                found += self._close(made, time_ns)
                made = _Batch()
        found += self._close(made, time_ns)
        for prefix in self._unheard.keys() - listened:
            self._unheard[prefix] = self.sequence
        return found

    def _close(self, made: "_Batch", time_ns: int) -> list[Message]:
        found = []
        for topic, instrument, build in made.contents():
            prefix = self._channels[topic]
            channel = f"{prefix}{instrument}"
            previous = max(self._covered.get(channel, 0), self._unheard[prefix])
            found.append((channel, build(self.sequence, previous, time_ns)))
            self._covered[channel] = self.sequence
        return found


Build = Callable[[int, int, int], bytes]


class _Batch:
    """What several records give for each channel."""

    def __init__(self) -> None:
        self.count = 0
        self._items: dict[tuple[str, str], list[bytes]] = {}
        self._levels: dict[str, dict[tuple[bool, int], int]] = {}

    def take(self, out: Out) -> None:
        """Take one encoded message, in the journal's order."""
        instrument = out.mark.instrument
        if out.topic == BOOK_UPDATES:
            update = StreamOrderBookResponse.FromString(out.value)
            levels = self._levels.setdefault(instrument, {})
            for is_bid, side in ((True, update.bids), (False, update.asks)):
                for level in side:
                    levels[is_bid, level.price_e8] = level.quantity_e8
        else:
            self._items.setdefault((out.topic, instrument), []).append(out.value)
            self.count += 1

    def contents(self) -> list[tuple[str, str, Build]]:
        """Topic, instrument, and what makes the message."""
        found: list[tuple[str, str, Build]] = []
        for (topic, instrument), items in self._items.items():
            response = StreamTradesResponse if topic == TRADES else StreamOrderEventsResponse
            found.append((topic, instrument, _builder(response, items)))
        for instrument, levels in self._levels.items():
            found.append((BOOK_UPDATES, instrument, _delta(levels)))
        return found


def _builder(
    response: type[StreamTradesResponse] | type[StreamOrderEventsResponse], items: list[bytes]
) -> Build:
    def build(sequence: int, previous: int, _: int) -> bytes:
        head = response(sequence=sequence, previous_sequence=previous).SerializeToString()
        return head + b"".join(delimited(_ITEM, item) for item in items)

    return build


def _delta(levels: dict[tuple[bool, int], int]) -> Build:
    def build(sequence: int, previous: int, time_ns: int) -> bytes:
        update = StreamOrderBookResponse(
            sequence=sequence, previous_sequence=previous, time_ns=time_ns
        )
        for (is_bid, price_e8), quantity_e8 in levels.items():
            side = update.bids if is_bid else update.asks
            side.add(price_e8=price_e8, quantity_e8=quantity_e8)
        return update.SerializeToString()

    return build
