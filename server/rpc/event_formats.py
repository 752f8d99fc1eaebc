"""How the feed's events are encoded: trades, and order events.

An entry is a reply that holds one element, so that entries and a header without elements, written
one behind the other, are one reply (`server/feed/event_streams.py`).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from exchange.v1.market_data_pb2 import StreamTradesResponse
from exchange.v1.order_service_pb2 import OrderEvent as Message
from exchange.v1.order_service_pb2 import StreamOrderEventsResponse
from server import event_messages
from server.core.events import (
    Event,
    OrderAccepted,
    OrderEvent,
    OrderReplaced,
    Traded,
)
from server.feed.event_streams import PIECE_BYTES, Filter, Wanted

Entries = Iterator[tuple[Sequence[Filter], bytes]]


class TradeFormat:
    """Makes a `StreamTradesResponse` of a contract, and fills in its trades."""

    def __init__(
        self,
        message: type[Any],
        fill: Callable[[Any, int, int, int, Traded], None],
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        self.piece_bytes = piece_bytes
        self._message = message
        self._fill = fill

    def entries(
        self, sequence: int, time_ns: int, events: Sequence[Event], wanted: Wanted
    ) -> Entries:
        """Encode each trade."""
        for index, event in enumerate(events):
            if type(event) is Traded and (keys := wanted("", event.instrument)):
                reply = self._message()
                self._fill(reply.trades.add(), sequence, index, time_ns, event)
                yield keys, reply.SerializeToString()

    def header(self, sequence: int, previous_sequence: int, restarted: bool) -> bytes:
        """Encode a message without trades."""
        begun = self._message(
            sequence=sequence, previous_sequence=previous_sequence, restarted=restarted
        )
        return bytes(begun.SerializeToString())


TRADES: Final = TradeFormat(StreamTradesResponse, event_messages.trade)


class OrderEventFormat:
    """Makes a `StreamOrderEventsResponse`."""

    piece_bytes = PIECE_BYTES

    def entries(
        self, sequence: int, time_ns: int, events: Sequence[Event], wanted: Wanted
    ) -> Entries:
        """Encode each event of an order; a trade is one of the maker's and one of the taker's."""
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
                for keys, is_taker in ((makers, False), (takers, True)):
                    if keys:
                        into = _begun(sequence, index, time_ns)
                        into.kind = event_messages.FILLED_KIND
                        event_messages.filled(into.order, event, is_taker, incoming_price_e8)
                        yield keys, _entry(into, part)
            elif isinstance(event, OrderEvent):
                if isinstance(event, (OrderAccepted, OrderReplaced)):
                    # A trade doesn't tell the taker's limit: it is that of the order coming in.
                    incoming_price_e8 = event.price_e8
                if keys := wanted(event.client_id, event.instrument):
                    into = _begun(sequence, index, time_ns)
                    into.kind = event_messages.KINDS[type(event)]
                    into.change_e8 = event.change_e8
                    into.reason = event.reason  # type: ignore[assignment]
                    event_messages.order(into.order, event, time_ns)
                    yield keys, _entry(into)

    def header(self, sequence: int, previous_sequence: int, restarted: bool) -> bytes:
        """Encode a message without events."""
        return StreamOrderEventsResponse(
            sequence=sequence, previous_sequence=previous_sequence, restarted=restarted
        ).SerializeToString()


def _entry(event: Message, rest: bytes = b"") -> bytes:
    """Encode the reply that holds this event, some of whose fields may be encoded already."""
    return event_messages.delimited(
        StreamOrderEventsResponse.EVENTS_FIELD_NUMBER, event.SerializeToString() + rest
    )


def _begun(sequence: int, index: int, time_ns: int) -> Message:
    event = Message()
    event.sequence = sequence
    event.index = index
    event.time_ns = time_ns
    return event
