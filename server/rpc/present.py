"""Events into messages. A reply is made of a command's events alone, never of the engine's state.

So a repeat, whose events are read back from the journal, gets the reply of the first time. How an
order stands after a command is said by the last of the command's events that concerns it: a trade
tells what is filled and what remains, every other event holds the whole order.

Orders and trades themselves are written by `server/event_messages.py`.
"""

from collections.abc import Sequence
from typing import Final

from exchange.v1 import account_service_pb2, market_data_pb2, order_service_pb2
from server.core.accounts import Position
from server.core.events import Event, OrderEvent, Traded
from server.core.instruments import Instrument
from server.core.types import FILLED, PARTIALLY_FILLED
from server.decimals import E16_PLACES, decimal_text
from server.event_messages import Standing, order, trade
from server.sequencer.ticket import Applied

LISTED_MAX: Final = 1_000
"""The number of trades and cancelled orders in one reply, to however many commands, which has the
true counts too: about 250 KB. The rest is to be had by paging or by stream."""


Placed = order_service_pb2.PlaceOrderResponse | order_service_pb2.ReplaceOrderResponse


def placed(
    into: Placed, applied: Applied, repeated: bool = False, listed_max: int = LISTED_MAX
) -> int:
    """Write the reply to a place or a replace; gives how many trades it lists."""
    sequence, time_ns, events = applied
    first = events[0]
    assert isinstance(first, OrderEvent)
    into.sequence = sequence
    if repeated:
        into.repeated = True
    if len(events) == 1:
        order(into.order, first, time_ns)
        return 0
    order(into.order, first, time_ns, standing_after(first, events))
    add = into.trades.add
    count = 0
    for index, event in enumerate(events):
        if type(event) is Traded:
            if count < listed_max:
                trade(add(), sequence, index, time_ns, event)
            count += 1
    into.trade_count = count
    return min(count, listed_max)


def cancelled(
    into: order_service_pb2.CancelOrderResponse, applied: Applied, repeated: bool = False
) -> None:
    """Write the reply to a cancel."""
    event = applied.events[0]
    assert isinstance(event, OrderEvent)
    order(into.order, event, applied.time_ns)
    into.sequence = applied.sequence
    if repeated:
        into.repeated = True


def cancelled_all(
    into: order_service_pb2.CancelOrdersResponse, applied: Applied, listed_max: int = LISTED_MAX
) -> int:
    """Write the reply to a cancel-all; gives how many orders it lists."""
    into.sequence = applied.sequence
    into.cancelled_count = len(applied.events)
    listed = applied.events[:listed_max]
    for event in listed:
        assert isinstance(event, OrderEvent)
        order(into.orders.add(), event, applied.time_ns)
    return len(listed)


def instrument(into: market_data_pb2.Instrument, definition: Instrument) -> None:
    """Show an instrument: the message has the definition's fields."""
    for name, value in zip(definition._fields, definition, strict=True):
        setattr(into, name, value)


def position(into: account_service_pb2.Position, held: Position) -> None:
    """Show a position with money as decimal text; the average is divided only here."""
    into.instrument = held.instrument
    into.net_quantity_e8 = held.net_e8
    into.total_cost = decimal_text(held.cost_e16, E16_PLACES)
    into.average_price = decimal_text(held.average_price_e8)
    into.realised_pnl = decimal_text(held.realised_e16, E16_PLACES)
    into.unrealised_pnl = decimal_text(held.unrealised_e16, E16_PLACES)
    into.fees = decimal_text(held.fees_e8)
    into.updated_time_ns = held.updated_ns


def standing_after(first: OrderEvent, events: Sequence[Event]) -> Standing:
    """Tell how the incoming order stands after all events of its command: the last that concerns it
    says so, and a trade says what is filled and what remains."""
    for event in reversed(events):
        if type(event) is Traded:
            filled_e8, remaining_e8 = event.taker_filled_e8, event.taker_remaining_e8
            cancelled_e8 = first.quantity_e8 - filled_e8 - remaining_e8
            status = PARTIALLY_FILLED if remaining_e8 else FILLED
            return filled_e8, remaining_e8, cancelled_e8, status, 0
        if isinstance(event, OrderEvent) and event.placed_sequence == first.placed_sequence:
            return (
                event.filled_e8,
                event.remaining_e8,
                event.cancelled_e8,
                event.status,
                event.reason,
            )
    raise AssertionError("the first event concerns the order")
