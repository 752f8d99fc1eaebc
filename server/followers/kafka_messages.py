"""The journal's events as messages of Kafka topics.

Key: the instrument. Headers, ASCII: `sequence` of the command; `index`, rising within
the command; `type`. Value: protobuf, or the same as JSON (field names
as in the proto files, 64-bit integers as strings).

    topic                       value                                type
    exchange-orders             exchange.v1.Order                    accepted, replaced, reduced,
                                                                     cancelled, rejected
    exchange-trades             exchange.v1.Trade                    trade
    exchange-order-events       exchange.v1.OrderEvent               the five above; filled
    exchange-orderbook-updates  exchange.v1.StreamOrderBookResponse  delta

- An order is sent whole when it is placed and whenever it changes otherwise than by a trade; a
  trade, which tells only what is filled and what remains, is in the other topics. In order events
  it is two messages, the maker's first, as in `StreamOrderEvents`.
- A book update holds the levels that a command changed, with their new quantity, 0 for gone;
  `previous_sequence` is that of the instrument's update before, 0 for the first. All of them from
  the beginning make the book. The checksum is not set.
- Every message of a topic's partition has a greater (sequence, index, instrument) than the
  one before, or is a repeat, which has not. That is all that a reader needs to drop repeats.

The levels are folded from the events alone; memory is one entry for each order that rests.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from exchange.v1.order_service_pb2 import OrderEvent as OrderEventMessage
from exchange.v1.order_service_pb2 import OrderEventKind
from exchange.v1.types_pb2 import Order, Trade
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


def protobuf(message: Message) -> bytes:
    """A value as it is by default."""
    return message.SerializeToString()


def json(message: Message) -> bytes:
    """A value as text."""
    return MessageToJson(message, preserving_proto_field_name=True, indent=None).encode()


class Encoder:
    """Makes the messages of a journal that is taken in record by record."""

    def __init__(self, encode: Callable[[Message], bytes], books: "Books | None" = None) -> None:
        """`books` are those where the journal is taken in from; empty at its beginning."""
        self._encode = encode
        self._books = Books() if books is None else books

    def messages(
        self, sequence: int, time_ns: int, events: Sequence[Event], *, wanted: bool
    ) -> Iterator[Out]:
        """Those of one command; none, but the same state, where they are not `wanted`."""
        self._books.begin()
        price_e8 = 0
        index = 0
        for position, event in enumerate(events):
            if isinstance(event, OrderEvent):
                self._books.order(event)
                if isinstance(event, OrderAccepted | OrderReplaced):
                    price_e8 = event.price_e8
                if wanted:
                    yield from self._order(sequence, position, index, time_ns, event)
                index += 1
            elif isinstance(event, Traded):
                self._books.traded(event)
                if wanted:
                    yield from self._trade(sequence, position, index, time_ns, event, price_e8)
                index += 2
        for instrument, update in self._books.updates(sequence, time_ns):
            if wanted:
                mark = Mark(sequence, 0, instrument)
                yield Out(BOOK_UPDATES, mark, "delta", self._encode(update))

    def _order(
        self, sequence: int, position: int, index: int, time_ns: int, event: OrderEvent
    ) -> Iterator[Out]:
        number, name = _KINDS[type(event)]  # type: ignore[index]
        mark = Mark(sequence, index, event.instrument)
        message = OrderEventMessage(
            sequence=sequence,
            index=position,
            time_ns=time_ns,
            kind=number,  # type: ignore[arg-type]
            change_e8=event.change_e8,
        )
        _order_into(message.order, event, time_ns)
        yield Out(ORDERS, mark, name, self._encode(message.order))
        yield Out(ORDER_EVENTS, mark, name, self._encode(message))

    def _trade(
        self, sequence: int, position: int, index: int, time_ns: int, event: Traded, price_e8: int
    ) -> Iterator[Out]:
        trade = _trade(sequence, position, time_ns, event)
        first = Mark(sequence, index, event.instrument)
        yield Out(TRADES, first, "trade", self._encode(trade))
        for mark, order in (
            (first, _maker(event)),
            (first._replace(number=index + 1), _taker(event, price_e8)),
        ):
            message = OrderEventMessage(
                sequence=sequence,
                index=position,
                time_ns=time_ns,
                kind=OrderEventKind.ORDER_EVENT_KIND_FILLED,
                order=order,
                trade=trade,
            )
            yield Out(ORDER_EVENTS, mark, "filled", self._encode(message))


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


def _order_into(into: Order, event: OrderEvent, time_ns: int) -> None:
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
