"""The journal's events as messages: those of Kafka's topics, of which `redis_messages.py` makes the
ones of Redis' channels.

Key: the instrument. Headers, ASCII: `sequence` of the command; `index`, rising within
the command; `type`; `journal`, the identity of the journal, hexadecimal. Value: protobuf, or the
same as JSON (field names as in the proto files, 64-bit integers as strings).

    topic                       value                                type
    exchange-orders             exchange.v1.Order                    accepted, replaced, reduced,
                                                                     cancelled, rejected
    exchange-trades             exchange.v1.Trade                    trade
    exchange-order-events       exchange.v1.OrderEvent               the five above; filled
    exchange-orderbook-updates  exchange.v1.StreamOrderBookResponse  delta; snapshot

- An order is sent whole when it is placed and whenever it changes otherwise than by a trade; a
  trade, which tells only what is filled and what remains, is in the other topics. In order events
  it is two messages, the maker's first, as in `StreamOrderEvents`.
- A book update holds the levels that a command changed, with their new quantity, 0 for gone;
  `previous_sequence` is that of the instrument's update before, 0 for the first. All of them from
  the beginning make the book. The checksum is not set. A snapshot holds all levels: where the topic
  begins later than the journal, each book begins with one.
- A book update of more than `LEVELS_MAX` levels a side is several messages of the same sequence,
  all but the last `partial`; those behind the first are deltas that name it as the one before.
- Every message of a topic's partition has a greater (sequence, index, instrument) than the
  one before, or is a repeat, which has not. That is all that a reader needs to drop repeats.

The levels are folded from the events alone; memory is one entry for each order that rests. Orders
and trades that stand in several messages are encoded once and put into the others as they are.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from exchange.v1.order_service_pb2 import OrderEvent as OrderEventMessage
from exchange.v1.order_service_pb2 import OrderEventKind
from exchange.v1.types_pb2 import Level as LevelMessage
from exchange.v1.types_pb2 import Order, Trade
from server import event_messages
from server.core.engine import Engine
from server.core.events import (
    Event,
    OrderAccepted,
    OrderEvent,
    OrderReduced,
    OrderReplaced,
    Traded,
)
from server.core.types import BUY

ORDERS: Final = "exchange-orders"
TRADES: Final = "exchange-trades"
ORDER_EVENTS: Final = "exchange-order-events"
BOOK_UPDATES: Final = "exchange-orderbook-updates"
TOPICS: Final = (ORDERS, TRADES, ORDER_EVENTS, BOOK_UPDATES)

LEVELS_MAX: Final = 5_000
"""A side, in one message: at most 750 kB, as JSON too. Brokers and clients take 1 MB."""

_KINDS: Final = {
    event: (kind, OrderEventKind.Name(kind).removeprefix("ORDER_EVENT_KIND_").lower())
    for event, kind in event_messages.KINDS.items()
}
_new: Final = tuple.__new__

Level = tuple[str, int, int]
"""Instrument, side and price."""


class MessageMark(NamedTuple):
    """Where a message stands among those of its partition."""

    sequence: int
    number: int
    """Of the message within the command: the header `index`."""
    instrument: str


class Out(NamedTuple):
    """One message to be sent."""

    topic: str
    mark: MessageMark
    type: str
    value: bytes


class Encoding(Protocol):
    """How messages become values."""

    def value(self, message: Message) -> bytes:
        """Of a message."""

    def with_field(self, value: bytes, name: str, inner: bytes) -> bytes:
        """Of an order event's `value`, with an encoded message as one more of its fields."""


class Protobuf:
    """Values as they are by default."""

    def value(self, message: Message) -> bytes:
        """Serialized."""
        return message.SerializeToString()

    def with_field(self, value: bytes, name: str, inner: bytes) -> bytes:
        """Fields of a message follow one another."""
        return value + event_messages.delimited(_FIELDS[name], inner)


class Json:
    """Values as text."""

    def value(self, message: Message) -> bytes:
        """On one line."""
        return MessageToJson(message, preserving_proto_field_name=True, indent=None).encode()

    def with_field(self, value: bytes, name: str, inner: bytes) -> bytes:
        """An order event is never empty, so another of its fields stands before."""
        return b'%s, "%s": %s}' % (value[:-1], name.encode(), inner)


_FIELDS: Final = {field.name: field.number for field in OrderEventMessage.DESCRIPTOR.fields}

Wanted = Callable[[str, MessageMark], bool]
"""Whether the message of a topic with this mark is to be made."""


def books_of(engine: Engine) -> "Books":
    """The levels as they are in a state."""
    books = Books()
    for instrument in engine.instruments:
        for order in engine.book(instrument).resting():
            books.rest(
                order.placed_sequence, instrument, order.side, order.price_e8, order.remaining_e8
            )
    return books


class Encoder:
    """Makes the messages of a journal that is taken in record by record."""

    def __init__(self, encoding: Encoding, books: "Books | None" = None) -> None:
        """`books` are those where the journal is taken in from; empty at its beginning."""
        self._encode = encoding.value
        self._with_field = encoding.with_field
        self._told = OrderEventMessage()
        """Written over for each: making one costs as much as encoding it."""
        self.books = Books() if books is None else books

    def messages(
        self, sequence: int, time_ns: int, events: Sequence[Event], wanted: Wanted | None = None
    ) -> list[Out]:
        """Those of one command that are wanted, or all; the state is the same without any."""
        books = self.books
        books.begin()
        made: list[Out] = []
        price_e8 = 0
        index = 0
        for position, event in enumerate(events):
            if type(event) is Traded:
                books.traded(event)
                self._trade(made, sequence, index, position, time_ns, event, price_e8, wanted)
                index += 2
            elif isinstance(event, OrderEvent):
                books.order(event)
                kind = type(event)
                if kind is OrderAccepted or kind is OrderReplaced:
                    price_e8 = event.price_e8
                mark = _new(MessageMark, (sequence, index, event.instrument))
                self._order(made, mark, position, time_ns, event, wanted)
                index += 1
        number = 0
        for instrument, update in books.updates(sequence, time_ns):
            parts = _parts(update) if books.changed_count > LEVELS_MAX else [update]
            for place, part in enumerate(parts, number):
                mark = _new(MessageMark, (sequence, place, instrument))
                if wanted is None or wanted(BOOK_UPDATES, mark):
                    made.append(_new(Out, (BOOK_UPDATES, mark, "delta", self._encode(part))))
            # The next instrument's come behind these in a partition.
            number += len(parts) - 1
        return made

    def snapshots(self, sequence: int, time_ns: int, wanted: Wanted) -> Iterator[Out]:
        """All levels after this sequence, where a book is to begin with them."""
        number = 0
        for instrument in self.books.instruments():
            update = self.books.snapshot(instrument, sequence, time_ns)
            # Sent now or, where it was begun before, then: what comes next follows on it.
            self.books.follow(instrument, sequence)
            parts = _parts(update)
            for place, part in enumerate(parts, number):
                mark = MessageMark(sequence, place, instrument)
                if wanted(BOOK_UPDATES, mark):
                    kind = "snapshot" if part.snapshot else "delta"
                    yield Out(BOOK_UPDATES, mark, kind, self._encode(part))
            number += len(parts) - 1

    def _order(
        self,
        made: list[Out],
        mark: MessageMark,
        position: int,
        time_ns: int,
        event: OrderEvent,
        wanted: Wanted | None,
    ) -> None:
        as_order = wanted is None or wanted(ORDERS, mark)
        as_event = wanted is None or wanted(ORDER_EVENTS, mark)
        if not (as_order or as_event):
            return
        number, name = _KINDS[type(event)]
        message = Order()
        event_messages.order(message, event, time_ns)
        order = self._encode(message)
        if as_order:
            made.append(_new(Out, (ORDERS, mark, name, order)))
        if as_event:
            told = self._told
            told.sequence, told.index, told.time_ns = mark.sequence, position, time_ns
            told.kind, told.change_e8 = number, event.change_e8
            value = self._with_field(self._encode(told), "order", order)
            made.append(_new(Out, (ORDER_EVENTS, mark, name, value)))

    def _trade(
        self,
        made: list[Out],
        sequence: int,
        index: int,
        position: int,
        time_ns: int,
        event: Traded,
        price_e8: int,
        wanted: Wanted | None,
    ) -> None:
        first = _new(MessageMark, (sequence, index, event.instrument))
        second = _new(MessageMark, (sequence, index + 1, event.instrument))
        as_trade = wanted is None or wanted(TRADES, first)
        as_event = wanted is None or wanted(ORDER_EVENTS, second)
        if not (as_trade or as_event):
            return
        message = Trade()
        event_messages.trade(message, sequence, position, time_ns, event)
        trade = self._encode(message)
        if as_trade:
            made.append(_new(Out, (TRADES, first, "trade", trade)))
        for mark, is_taker in ((first, False), (second, True)):
            if wanted is None or wanted(ORDER_EVENTS, mark):
                told = OrderEventMessage()
                told.sequence, told.time_ns = sequence, time_ns
                if position:
                    told.index = position
                told.kind = event_messages.FILLED_KIND
                event_messages.filled(told.order, event, is_taker, price_e8)
                value = self._with_field(self._encode(told), "trade", trade)
                made.append(_new(Out, (ORDER_EVENTS, mark, "filled", value)))


class Books:
    """The levels of all books, and which of them a command changed."""

    def __init__(self) -> None:
        self._orders: dict[int, tuple[Level, int]] = {}
        """Where each rests and what remains of it, by placing sequence."""
        self._levels: dict[Level, int] = {}
        self._before: dict[Level, int] = {}
        self._updated: dict[str, int] = {}

    def rest(self, placed: int, instrument: str, side: int, price_e8: int, left_e8: int) -> None:
        """An order that rests where the journal is taken in from."""
        level = (instrument, side, price_e8)
        self._orders[placed] = level, left_e8
        self._add(level, left_e8)

    @property
    def changed_count(self) -> int:
        """Levels that the command touched."""
        return len(self._before)

    def kept(self) -> tuple[list[tuple[int, str, int, int, int]], dict[str, int]]:
        """What `of` needs to have the same again."""
        orders = [(placed, *level, left_e8) for placed, (level, left_e8) in self._orders.items()]
        return orders, dict(self._updated)

    @classmethod
    def of(
        cls, orders: Iterable[tuple[int, str, int, int, int]], updated: Mapping[str, int]
    ) -> "Books":
        """The books that `kept` told of."""
        books = cls()
        for order in orders:
            books.rest(*order)
        books._updated.update(updated)
        return books

    def instruments(self) -> list[str]:
        """Those that ever had a level, as far as is known."""
        return sorted({*self._updated, *(instrument for instrument, _, _ in self._levels)})

    def snapshot(self, instrument: str, sequence: int, time_ns: int) -> StreamOrderBookResponse:
        """All levels as they are after this sequence, best first."""
        update = StreamOrderBookResponse(sequence=sequence, time_ns=time_ns, snapshot=True)
        for (name, side, price_e8), quantity_e8 in self._levels.items():
            if name == instrument:
                levels = update.bids if side == BUY else update.asks
                levels.add(price_e8=price_e8, quantity_e8=quantity_e8)
        update.bids.sort(key=_price, reverse=True)
        update.asks.sort(key=_price)
        return update

    def follow(self, instrument: str, sequence: int) -> None:
        """The next update is the one after this."""
        self._updated[instrument] = sequence

    def begin(self) -> None:
        """With the next command."""
        self._before.clear()

    def order(self, event: OrderEvent) -> None:
        """An event of its own. One that will not rest leaves again within the same command."""
        kind = type(event)
        placed, left_e8 = event.placed_sequence, event.remaining_e8
        if kind is not OrderAccepted:
            known = self._orders.pop(placed, None)
            if known is not None:
                self._add(known[0], -known[1])
        if left_e8 and (kind is OrderAccepted or kind is OrderReplaced or kind is OrderReduced):
            level = (event.instrument, event.side, event.price_e8)
            self._orders[placed] = level, left_e8
            self._add(level, left_e8)

    def traded(self, event: Traded) -> None:
        """A trade takes off both sides."""
        orders = self._orders
        (_, _, _, _, _, _, _, maker, _, maker_left_e8, _, _, _, _, taker, _, taker_left_e8, _) = (
            event
        )
        for placed, left_e8 in ((maker, maker_left_e8), (taker, taker_left_e8)):
            known = orders.get(placed)
            if known is not None:
                level, before_e8 = known
                if left_e8:
                    orders[placed] = level, left_e8
                else:
                    del orders[placed]
                self._add(level, left_e8 - before_e8)

    def updates(self, sequence: int, time_ns: int) -> list[tuple[str, StreamOrderBookResponse]]:
        """What the command changed, by instrument."""
        changed: dict[str, StreamOrderBookResponse] = {}
        levels = self._levels
        for level, before_e8 in self._before.items():
            now_e8 = levels.get(level, 0)
            if now_e8 == before_e8:
                continue
            instrument, side, price_e8 = level
            update = changed.get(instrument)
            if update is None:
                update = changed[instrument] = StreamOrderBookResponse()
                update.sequence = sequence
                update.previous_sequence = self._updated.get(instrument, 0)
                update.time_ns = time_ns
                self._updated[instrument] = sequence
            into = (update.bids if side == BUY else update.asks).add()
            into.price_e8 = price_e8
            if now_e8:
                into.quantity_e8 = now_e8
        return sorted(changed.items()) if len(changed) > 1 else list(changed.items())

    def _add(self, level: Level, quantity_e8: int) -> None:
        before_e8 = self._levels.get(level, 0)
        if level not in self._before:
            self._before[level] = before_e8
        after_e8 = before_e8 + quantity_e8
        if after_e8:
            self._levels[level] = after_e8
        elif before_e8:
            del self._levels[level]


def _price(level: LevelMessage) -> int:
    return level.price_e8


def _parts(update: StreamOrderBookResponse) -> list[StreamOrderBookResponse]:
    """The update in messages of a bounded size, in order."""
    deepest = max(len(update.bids), len(update.asks))
    if deepest <= LEVELS_MAX:
        return [update]
    return [
        StreamOrderBookResponse(
            sequence=update.sequence,
            previous_sequence=update.sequence if first else update.previous_sequence,
            time_ns=update.time_ns,
            snapshot=update.snapshot and not first,
            bids=update.bids[first : first + LEVELS_MAX],
            asks=update.asks[first : first + LEVELS_MAX],
            partial=first + LEVELS_MAX < deepest,
        )
        for first in range(0, deepest, LEVELS_MAX)
    ]
