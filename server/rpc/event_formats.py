"""How the feed's events are encoded: trades, and order events.

An entry is a reply that holds one element, so that entries and a header without elements, written
one behind the other, are one reply (`server/feed/event_streams.py`).
"""

from collections.abc import Iterator, Sequence
from typing import Final

from exchange.v1.market_data_pb2 import StreamTradesResponse
from exchange.v1.order_service_pb2 import OrderEvent as Message
from exchange.v1.order_service_pb2 import OrderEventKind, StreamOrderEventsResponse
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
from server.feed.feed import Formats
from server.rpc import present

Entries = Iterator[tuple[Sequence[Filter], bytes]]

_KINDS: Final[dict[type[Event], int]] = {
    OrderAccepted: OrderEventKind.ORDER_EVENT_KIND_ACCEPTED,
    OrderReplaced: OrderEventKind.ORDER_EVENT_KIND_REPLACED,
    OrderReduced: OrderEventKind.ORDER_EVENT_KIND_REDUCED,
    OrderCancelled: OrderEventKind.ORDER_EVENT_KIND_CANCELLED,
    OrderRejected: OrderEventKind.ORDER_EVENT_KIND_REJECTED,
}


class TradeFormat:
    """`StreamTradesResponse`."""

    def entries(
        self, sequence: int, time_ns: int, events: Sequence[Event], wanted: Wanted
    ) -> Entries:
        """Each trade."""
        for index, event in enumerate(events):
            if type(event) is Traded and (keys := wanted("", event.instrument)):
                reply = StreamTradesResponse()
                present.trade(reply.trades.add(), sequence, index, time_ns, event)
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
            if isinstance(event, (OrderAccepted, OrderReplaced)):
                # A trade doesn't tell the taker's limit: it is that of the order that came in.
                incoming_price_e8 = event.price_e8
            if isinstance(event, Traded):
                for side in (BUY + SELL - event.aggressor_side, event.aggressor_side):
                    maker = side != event.aggressor_side
                    client_id = event.maker_client_id if maker else event.taker_client_id
                    if keys := wanted(client_id, event.instrument):
                        reply = StreamOrderEventsResponse()
                        into = _begun(reply, sequence, index, time_ns)
                        _filled(into, event, maker, incoming_price_e8)
                        present.trade(into.trade, sequence, index, time_ns, event)
                        yield keys, reply.SerializeToString()
            elif isinstance(event, OrderEvent) and (
                keys := wanted(event.client_id, event.instrument)
            ):
                reply = StreamOrderEventsResponse()
                into = _begun(reply, sequence, index, time_ns)
                into.kind = _KINDS[type(event)]  # type: ignore[assignment]
                into.change_e8 = event.change_e8
                present.order(into.order, event, time_ns)
                yield keys, reply.SerializeToString()

    def header(self, sequence: int, previous_sequence: int, restarted: bool) -> bytes:
        """A message without events."""
        return StreamOrderEventsResponse(
            sequence=sequence, previous_sequence=previous_sequence, restarted=restarted
        ).SerializeToString()


FORMATS: Final = Formats(TradeFormat(), OrderEventFormat())


def _begun(reply: StreamOrderEventsResponse, sequence: int, index: int, time_ns: int) -> Message:
    into = reply.events.add()
    into.sequence = sequence
    into.index = index
    into.time_ns = time_ns
    return into


def _filled(into: Message, event: Traded, maker: bool, incoming_price_e8: int) -> None:
    """What a trade tells of one of its orders."""
    into.kind = OrderEventKind.ORDER_EVENT_KIND_FILLED
    order = into.order
    order.instrument = event.instrument
    if maker:
        order.order_id = event.maker_order_id
        order.client_id = event.maker_client_id
        order.client_reference = event.maker_reference
        order.placed_sequence = event.maker_placed_sequence
        order.filled_quantity_e8 = event.maker_filled_e8
        order.remaining_quantity_e8 = event.maker_remaining_e8
        order.price_e8 = event.price_e8
        order.side = BUY + SELL - event.aggressor_side  # type: ignore[assignment]
    else:
        order.order_id = event.taker_order_id
        order.client_id = event.taker_client_id
        order.client_reference = event.taker_reference
        order.placed_sequence = event.taker_placed_sequence
        order.filled_quantity_e8 = event.taker_filled_e8
        order.remaining_quantity_e8 = event.taker_remaining_e8
        order.price_e8 = incoming_price_e8
        order.side = event.aggressor_side  # type: ignore[assignment]
    status = PARTIALLY_FILLED if order.remaining_quantity_e8 else FILLED
    order.status = status  # type: ignore[assignment]
