"""The journal's events as messages of Kafka topics.

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
from exchange.v1.types_pb2 import Order, Trade
from server.core.engine import Engine
from server.core.events import (
    Event,
    OrderAccepted,
    OrderCancelled,
    OrderEvent,
    OrderReduced,
    OrderRejected,
    OrderReplaced,
    Traded,
)
from server.core.types import BUY, CANCELLED, FILLED, PARTIALLY_FILLED, SELL

ORDERS: Final = "exchange-orders"
TRADES: Final = "exchange-trades"
ORDER_EVENTS: Final = "exchange-order-events"
BOOK_UPDATES: Final = "exchange-orderbook-updates"
TOPICS: Final = (ORDERS, TRADES, ORDER_EVENTS, BOOK_UPDATES)

_KINDS: Final[dict[type[Event], tuple[int, str]]] = {
    OrderAccepted: (OrderEventKind.ORDER_EVENT_KIND_ACCEPTED, "accepted"),
    OrderReplaced: (OrderEventKind.ORDER_EVENT_KIND_REPLACED, "replaced"),
    OrderReduced: (OrderEventKind.ORDER_EVENT_KIND_REDUCED, "reduced"),
    OrderCancelled: (OrderEventKind.ORDER_EVENT_KIND_CANCELLED, "cancelled"),
    OrderRejected: (OrderEventKind.ORDER_EVENT_KIND_REJECTED, "rejected"),
}
_E8: Final = 10**8


class Mark(NamedTuple):
    """Where a message stands among those of its partition."""

    sequence: int
    number: int
    """Of the message within the command: the header `index`."""
    instrument: str


class Out(NamedTuple):
    """One message to be sent."""

    topic: str
    mark: Mark
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
        return value + _TAGS[name] + varint(len(inner)) + inner


class Json:
    """Values as text."""

    def value(self, message: Message) -> bytes:
        """On one line."""
        return MessageToJson(message, preserving_proto_field_name=True, indent=None).encode()

    def with_field(self, value: bytes, name: str, inner: bytes) -> bytes:
        """An order event is never empty, so another of its fields stands before."""
        return b'%s, "%s": %s}' % (value[:-1], name.encode(), inner)


def varint(number: int) -> bytes:
    """An integer as protobuf has it."""
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7) if number > 0x7F else (number,))
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_MESSAGE: Final = 2
"""The wire type of a message inside another."""
_TAGS: Final = {
    field.name: varint(field.number << 3 | _MESSAGE)
    for field in OrderEventMessage.DESCRIPTOR.fields
    if field.message_type is not None
}

Wanted = Callable[[str, Mark], bool]
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
        self.books = Books() if books is None else books

    def messages(
        self, sequence: int, time_ns: int, events: Sequence[Event], wanted: Wanted
    ) -> Iterator[Out]:
        """Those of one command that are wanted; the state is the same without any."""
        books = self.books
        books.begin()
        price_e8 = 0
        index = 0
        for position, event in enumerate(events):
            if isinstance(event, OrderEvent):
                books.order(event)
                if isinstance(event, OrderAccepted | OrderReplaced):
                    price_e8 = event.price_e8
                mark = Mark(sequence, index, event.instrument)
                yield from self._order(mark, position, time_ns, event, wanted)
                index += 1
            elif isinstance(event, Traded):
                books.traded(event)
                mark = Mark(sequence, index, event.instrument)
                yield from self._trade(mark, position, time_ns, event, price_e8, wanted)
                index += 2
        for instrument, update in books.updates(sequence, time_ns):
            mark = Mark(sequence, 0, instrument)
            if wanted(BOOK_UPDATES, mark):
                yield Out(BOOK_UPDATES, mark, "delta", self._encode(update))

    def snapshots(self, sequence: int, time_ns: int, wanted: Wanted) -> Iterator[Out]:
        """All levels after this sequence, where a book is to begin with them."""
        for instrument in self.books.instruments():
            mark = Mark(sequence, 0, instrument)
            if wanted(BOOK_UPDATES, mark):
                update = self.books.snapshot(instrument, sequence, time_ns)
                yield Out(BOOK_UPDATES, mark, "snapshot", self._encode(update))

    def _order(
        self, mark: Mark, position: int, time_ns: int, event: OrderEvent, wanted: Wanted
    ) -> Iterator[Out]:
        as_order, as_event = wanted(ORDERS, mark), wanted(ORDER_EVENTS, mark)
        if not (as_order or as_event):
            return
        number, name = _KINDS[type(event)]  # type: ignore[index]
        order = self._encode(_order(event, time_ns))
        if as_order:
            yield Out(ORDERS, mark, name, order)
        if as_event:
            message = OrderEventMessage(
                sequence=mark.sequence,
                index=position,
                time_ns=time_ns,
                kind=number,  # type: ignore[arg-type]
                change_e8=event.change_e8,
            )
            value = self._with_field(self._encode(message), "order", order)
            yield Out(ORDER_EVENTS, mark, name, value)

    def _trade(
        self,
        mark: Mark,
        position: int,
        time_ns: int,
        event: Traded,
        price_e8: int,
        wanted: Wanted,
    ) -> Iterator[Out]:
        second = mark._replace(number=mark.number + 1)
        as_trade, as_event = wanted(TRADES, mark), wanted(ORDER_EVENTS, second)
        if not (as_trade or as_event):
            return
        trade = self._encode(_trade(mark.sequence, position, time_ns, event))
        if as_trade:
            yield Out(TRADES, mark, "trade", trade)
        for each, order in ((mark, _maker(event)), (second, _taker(event, price_e8))):
            if wanted(ORDER_EVENTS, each):
                message = OrderEventMessage(
                    sequence=mark.sequence,
                    index=position,
                    time_ns=time_ns,
                    kind=OrderEventKind.ORDER_EVENT_KIND_FILLED,
                    order=order,
                )
                value = self._with_field(self._encode(message), "trade", trade)
                yield Out(ORDER_EVENTS, each, "filled", value)


class Books:
    """The levels of all books, and which of them a command changed."""

    def __init__(self) -> None:
        self._orders: dict[int, tuple[str, int, int, int]] = {}
        """Instrument, side, price and what remains, by placing sequence."""
        self._levels: dict[tuple[str, int, int], int] = {}
        self._before: dict[tuple[str, int, int], int] = {}
        self._updated: dict[str, int] = {}

    def rest(self, placed: int, instrument: str, side: int, price_e8: int, left_e8: int) -> None:
        """An order that rests where the journal is taken in from."""
        self._set(placed, (instrument, side, price_e8, left_e8))

    def kept(self) -> tuple[list[tuple[int, str, int, int, int]], dict[str, int]]:
        """What `of` needs to have the same again."""
        return [(placed, *order) for placed, order in self._orders.items()], dict(self._updated)

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
        """All levels as they are after this sequence, which the next update follows."""
        update = StreamOrderBookResponse(sequence=sequence, time_ns=time_ns, snapshot=True)
        for (name, side, price_e8), quantity_e8 in self._levels.items():
            if name == instrument:
                levels = update.bids if side == BUY else update.asks
                levels.add(price_e8=price_e8, quantity_e8=quantity_e8)
        self._updated[instrument] = sequence
        return update

    def begin(self) -> None:
        """With the next command."""
        self._before.clear()

    def order(self, event: OrderEvent) -> None:
        """An event of its own. One that will not rest leaves again within the same command."""
        self._set(event.placed_sequence, None)
        if isinstance(event, OrderAccepted | OrderReplaced | OrderReduced) and event.remaining_e8:
            place = (event.instrument, event.side, event.price_e8, event.remaining_e8)
            self._set(event.placed_sequence, place)

    def traded(self, event: Traded) -> None:
        """A trade takes off both sides."""
        for placed, remaining_e8 in (
            (event.maker_placed_sequence, event.maker_remaining_e8),
            (event.taker_placed_sequence, event.taker_remaining_e8),
        ):
            known = self._orders.get(placed)
            if known is not None:
                self._set(placed, (*known[:3], remaining_e8) if remaining_e8 else None)

    def updates(self, sequence: int, time_ns: int) -> Iterator[tuple[str, StreamOrderBookResponse]]:
        """What the command changed, by instrument."""
        changed: dict[str, StreamOrderBookResponse] = {}
        for (instrument, side, price_e8), before_e8 in self._before.items():
            now_e8 = self._levels.get((instrument, side, price_e8), 0)
            if now_e8 == before_e8:
                continue
            if instrument not in changed:
                changed[instrument] = StreamOrderBookResponse(
                    sequence=sequence,
                    previous_sequence=self._updated.get(instrument, 0),
                    time_ns=time_ns,
                )
                self._updated[instrument] = sequence
            levels = changed[instrument].bids if side == BUY else changed[instrument].asks
            levels.add(price_e8=price_e8, quantity_e8=now_e8)
        yield from sorted(changed.items())

    def _set(self, placed: int, order: tuple[str, int, int, int] | None) -> None:
        before = self._orders.pop(placed, None)
        if before is not None:
            self._add(before[:3], -before[3])
        if order is not None:
            self._orders[placed] = order
            self._add(order[:3], order[3])

    def _add(self, level: tuple[str, int, int], quantity_e8: int) -> None:
        before_e8 = self._levels.get(level, 0)
        self._before.setdefault(level, before_e8)
        if before_e8 + quantity_e8:
            self._levels[level] = before_e8 + quantity_e8
        else:
            self._levels.pop(level, None)


def _order(event: OrderEvent, time_ns: int) -> Order:
    into = Order()
    into.order_id = event.order_id
    into.client_id = event.client_id
    into.client_reference = event.client_reference
    into.instrument = event.instrument
    into.side = event.side  # type: ignore[assignment]
    into.type = event.order_type  # type: ignore[assignment]
    into.time_in_force = event.time_in_force  # type: ignore[assignment]
    into.post_only = event.post_only
    into.self_trade_prevention = event.self_trade_prevention  # type: ignore[assignment]
    into.price_e8 = event.price_e8
    into.quantity_e8 = event.quantity_e8
    into.filled_quantity_e8 = event.filled_e8
    into.remaining_quantity_e8 = event.remaining_e8
    into.cancelled_quantity_e8 = event.cancelled_e8
    into.status = event.status  # type: ignore[assignment]
    if event.status >= CANCELLED:
        into.end_reason = event.reason  # type: ignore[assignment]
    into.placed_sequence = event.placed_sequence
    into.created_time_ns = event.created_ns
    into.updated_time_ns = time_ns
    return into


def _trade(sequence: int, index: int, time_ns: int, event: Traded) -> Trade:
    return Trade(
        trade_id=f"T{sequence}-{index}",
        sequence=sequence,
        index=index,
        time_ns=time_ns,
        instrument=event.instrument,
        price_e8=event.price_e8,
        quantity_e8=event.quantity_e8,
        aggressor_side=event.aggressor_side,  # type: ignore[arg-type]
        maker_order_id=event.maker_order_id,
        maker_client_id=event.maker_client_id,
        taker_order_id=event.taker_order_id,
        taker_client_id=event.taker_client_id,
        maker_fee=_fee(event.maker_fee_e8),
        taker_fee=_fee(event.taker_fee_e8),
    )


def _fee(units_e8: int) -> str:
    whole, part = divmod(abs(units_e8), _E8)
    return f"{'-' if units_e8 < 0 else ''}{whole}.{part:08d}".rstrip("0").rstrip(".")


def _maker(event: Traded) -> Order:
    return Order(
        order_id=event.maker_order_id,
        client_id=event.maker_client_id,
        client_reference=event.maker_reference,
        instrument=event.instrument,
        side=BUY + SELL - event.aggressor_side,  # type: ignore[arg-type]
        # It trades at its own price.
        price_e8=event.price_e8,
        filled_quantity_e8=event.maker_filled_e8,
        remaining_quantity_e8=event.maker_remaining_e8,
        placed_sequence=event.maker_placed_sequence,
        status=PARTIALLY_FILLED if event.maker_remaining_e8 else FILLED,  # type: ignore[arg-type]
    )


def _taker(event: Traded, price_e8: int) -> Order:
    return Order(
        order_id=event.taker_order_id,
        client_id=event.taker_client_id,
        client_reference=event.taker_reference,
        instrument=event.instrument,
        side=event.aggressor_side,  # type: ignore[arg-type]
        price_e8=price_e8,
        filled_quantity_e8=event.taker_filled_e8,
        remaining_quantity_e8=event.taker_remaining_e8,
        placed_sequence=event.taker_placed_sequence,
        status=PARTIALLY_FILLED if event.taker_remaining_e8 else FILLED,  # type: ignore[arg-type]
    )
