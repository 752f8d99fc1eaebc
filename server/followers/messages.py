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

The levels are folded from the events alone (`levels.py`). Orders and trades that stand in several
messages are encoded once and put into the others as they are.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from google.protobuf.json_format import MessageToJson, Parse, ParseError
from google.protobuf.message import DecodeError, Message

from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from exchange.v1.order_service_pb2 import OrderEvent as OrderEventMessage
from exchange.v1.order_service_pb2 import OrderEventKind
from exchange.v1.types_pb2 import Order, Trade
from server import event_messages
from server.core.events import Event, OrderAccepted, OrderEvent, OrderReplaced, Traded
from server.followers.levels import LevelFold

ORDERS: Final = "exchange-orders"
TRADES: Final = "exchange-trades"
ORDER_EVENTS: Final = "exchange-order-events"
BOOK_UPDATES: Final = "exchange-orderbook-updates"
TOPICS: Final = (ORDERS, TRADES, ORDER_EVENTS, BOOK_UPDATES)

LEVELS_MAX: Final = 5_000
"""A side, in one message: at most 750 kB, as JSON too. Brokers and clients take 1 MB."""

_TIMES: Final[dict[str, tuple[type[Message], str]]] = {
    ORDERS: (Order, "updated_time_ns"),
    TRADES: (Trade, "time_ns"),
    ORDER_EVENTS: (OrderEventMessage, "time_ns"),
    BOOK_UPDATES: (StreamOrderBookResponse, "time_ns"),
}
"""What a value is, and which of its fields has the time of the command."""
_KINDS: Final = {
    event: (kind, OrderEventKind.Name(kind).removeprefix("ORDER_EVENT_KIND_").lower())
    for event, kind in event_messages.KINDS.items()
}
_new: Final = tuple.__new__


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
        """Make the value of a message."""

    def with_field(self, value: bytes, name: str, inner: bytes) -> bytes:
        """Add an encoded message to an order event's `value` as one more of its fields."""


class Protobuf:
    """Values as they are by default."""

    def value(self, message: Message) -> bytes:
        """Serialize the message."""
        return message.SerializeToString()

    def with_field(self, value: bytes, name: str, inner: bytes) -> bytes:
        """Append it: the fields of a message follow one another."""
        return value + event_messages.delimited(_FIELDS[name], inner)


class Json:
    """Values as text."""

    def value(self, message: Message) -> bytes:
        """Write the message on one line."""
        return MessageToJson(message, preserving_proto_field_name=True, indent=None).encode()

    def with_field(self, value: bytes, name: str, inner: bytes) -> bytes:
        """An order event is never empty, so another of its fields stands before."""
        return b'%s, "%s": %s}' % (value[:-1], name.encode(), inner)


_FIELDS: Final = {field.name: field.number for field in OrderEventMessage.DESCRIPTOR.fields}

Wanted = Callable[[str, MessageMark], bool]
"""Whether the message of a topic with this mark is to be made."""


class Encoder:
    """Makes the messages of a journal that is taken in record by record."""

    def __init__(self, encoding: Encoding, books: LevelFold | None = None) -> None:
        """`books` are those where the journal is taken in from; empty at its beginning."""
        self._encode = encoding.value
        self._with_field = encoding.with_field
        self._told = OrderEventMessage()
        """Written over for each: making one costs as much as encoding it."""
        self.books = LevelFold() if books is None else books

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
        for instrument, update in self.books.snapshots(sequence, time_ns):
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
            told.reason = event.reason  # type: ignore[assignment]
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


def time_ns_of(topic: str, value: bytes) -> int:
    """Of the command that a message tells of, in either encoding; raises `ValueError`."""
    kind, field = _TIMES[topic]
    message = kind()
    try:
        if value[:1] == b"{":
            Parse(value, message, ignore_unknown_fields=True)
        else:
            message.ParseFromString(value)
    except (DecodeError, ParseError) as error:
        raise ValueError(str(error)) from error
    return int(getattr(message, field))


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
