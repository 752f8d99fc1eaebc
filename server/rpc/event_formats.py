"""How the feed's events are encoded: trades, and order events.

An entry is a reply that holds one element, so that entries and a header without elements, written
one behind the other, are one reply (`server/feed/event_streams.py`).
"""

from collections.abc import Iterator, Sequence
from typing import Final

from exchange.v1.market_data_pb2 import StreamTradesResponse
from exchange.v1.order_service_pb2 import OrderEvent as Message
from exchange.v1.order_service_pb2 import OrderEventKind, StreamOrderEventsResponse
from server import event_messages
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
from server.core.types import BUY, FILLED, PARTIALLY_FILLED, SELL
from server.feed.event_streams import Filter, Wanted
from server.rpc.delimited import delimited

Entries = Iterator[tuple[Sequence[Filter], bytes]]

_KINDS: Final[dict[type[Event], int]] = {
    OrderAccepted: OrderEventKind.ORDER_EVENT_KIND_ACCEPTED,
    OrderReplaced: OrderEventKind.ORDER_EVENT_KIND_REPLACED,
    OrderReduced: OrderEventKind.ORDER_EVENT_KIND_REDUCED,
    OrderCancelled: OrderEventKind.ORDER_EVENT_KIND_CANCELLED,
    OrderRejected: OrderEventKind.ORDER_EVENT_KIND_REJECTED,
}

# Looking a name up in a generated enum costs a microsecond.
_FILLED: Final = OrderEventKind.ORDER_EVENT_KIND_FILLED


class TradeFormat:
    """`StreamTradesResponse`."""

    def entries(
        self, sequence: int, time_ns: int, events: Sequence[Event], wanted: Wanted
    ) -> Entries:
        """Each trade."""
        for index, event in enumerate(events):
            if type(event) is Traded and (keys := wanted("", event.instrument)):
                reply = StreamTradesResponse()
                event_messages.trade(reply.trades.add(), sequence, index, time_ns, event)
                yield keys, reply.SerializeToString()

    def header(self, sequence: int, previous_sequence: int, restarted: bool) -> bytes:
        """A message without trades."""
        return StreamTradesResponse(
            sequence=sequence, previous_sequence=previous_sequence, restarted=restarted
        ).SerializeToString()


class OrderEventFormat:
    """`StreamOrderEventsResponse`."""

    def entries(
        self, sequence: int, time_ns: int, events: Sequence[Event], wanted: Wanted
    ) -> Entries:
        """Each event of an order; a trade is one of the maker's order and one of the taker's."""
        incoming_price_e8 = 0
        for index, event in enumerate(events):
            if isinstance(event, Traded):
                instrument = event.instrument
                makers = wanted(event.maker_client_id, instrument)
                takers = wanted(event.taker_client_id, instrument)
                if makers or takers:
                    # The trade is the larger part, and the same for both.
                    trade = Message()
                    event_messages.trade(trade.trade, sequence, index, time_ns, event)
                    part = trade.SerializeToString()
                if makers:
                    filled = _filled_maker(_begun(sequence, index, time_ns), event)
                    yield makers, _entry(filled, part)
                if takers:
                    filled = _begun(sequence, index, time_ns)
                    yield takers, _entry(_filled_taker(filled, event, incoming_price_e8), part)
            elif isinstance(event, OrderEvent):
                if isinstance(event, (OrderAccepted, OrderReplaced)):
                    # A trade doesn't tell the taker's limit: it is that of the order coming in.
                    incoming_price_e8 = event.price_e8
                if keys := wanted(event.client_id, event.instrument):
                    into = _begun(sequence, index, time_ns)
                    into.kind = _KINDS[type(event)]  # type: ignore[assignment]
                    into.change_e8 = event.change_e8
                    event_messages.order(into.order, event, time_ns)
                    yield keys, _entry(into)

    def header(self, sequence: int, previous_sequence: int, restarted: bool) -> bytes:
        """A message without events."""
        return StreamOrderEventsResponse(
            sequence=sequence, previous_sequence=previous_sequence, restarted=restarted
        ).SerializeToString()


def _entry(event: Message, rest: bytes = b"") -> bytes:
    """The reply that holds this event, some of whose fields may be encoded already."""
    return delimited(
        StreamOrderEventsResponse.EVENTS_FIELD_NUMBER, event.SerializeToString() + rest
    )


def _begun(sequence: int, index: int, time_ns: int) -> Message:
    event = Message()
    event.sequence = sequence
    event.index = index
    event.time_ns = time_ns
    return event


def _filled_maker(into: Message, event: Traded) -> Message:
    into.kind = _FILLED
    order = into.order
    order.order_id = event.maker_order_id
    order.client_id = event.maker_client_id
    order.client_reference = event.maker_reference
    order.instrument = event.instrument
    order.side = BUY + SELL - event.aggressor_side  # type: ignore[assignment]
    # It trades at its own price.
    order.price_e8 = event.price_e8
    order.filled_quantity_e8 = event.maker_filled_e8
    order.remaining_quantity_e8 = event.maker_remaining_e8
    order.placed_sequence = event.maker_placed_sequence
    order.status = PARTIALLY_FILLED if event.maker_remaining_e8 else FILLED  # type: ignore[assignment]
    return into


def _filled_taker(into: Message, event: Traded, price_e8: int) -> Message:
    into.kind = _FILLED
    order = into.order
    order.order_id = event.taker_order_id
    order.client_id = event.taker_client_id
    order.client_reference = event.taker_reference
    order.instrument = event.instrument
    order.side = event.aggressor_side  # type: ignore[assignment]
    order.price_e8 = price_e8
    order.filled_quantity_e8 = event.taker_filled_e8
    order.remaining_quantity_e8 = event.taker_remaining_e8
    order.placed_sequence = event.taker_placed_sequence
    order.status = PARTIALLY_FILLED if event.taker_remaining_e8 else FILLED  # type: ignore[assignment]
    return into
