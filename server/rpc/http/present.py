"""Events and engine state into the documented JSON shapes.

A reply to a command is made of the command's events alone, so that a repeat gets the first one's.
"""

from typing import Any, Final

from exchange.http.v1 import market_service_pb2, order_service_pb2, types_pb2
from exchange.http.v1.market_service_pb2 import GetAnalyticsResponse
from server.core.accounts import Position
from server.core.engine import Engine
from server.core.events import OrderEvent, Traded
from server.core.instruments import Instrument
from server.core.market import MINUTE_NS, Ticker
from server.core.types import BUY, CANCELLED, LIMIT, SELL
from server.core.words import END_REASONS
from server.event_messages import Standing
from server.feed.activity import Activity
from server.history.analytics import Analytics, average_e8
from server.rpc.http.doubles import E16, double_from, double_of, double_up_to
from server.rpc.http.words import (
    PREVENTIONS,
    RULE_REASONS,
    SIDES,
    STATUSES,
    TIMES_IN_FORCE,
    TYPES,
)
from server.rpc.market_figures import Statistics
from server.rpc.present import LISTED_MAX, standing_after
from server.sequencer.ticket import Applied
from server.times import time_text, time_text_in_full

E6: Final = 1_000_000

Placed = (
    order_service_pb2.PlaceOrderResponse
    | order_service_pb2.PlaceOrderResult
    | order_service_pb2.ReplaceOrderResponse
)


def order(
    into: types_pb2.Order, event: OrderEvent, updated_ns: int, standing: Standing | None = None
) -> None:
    """Show the order as it stands after an event of its own, or else as `standing` says. Unpacked
    whole: reading fields by name costs as much as writing them."""
    (
        into.order_id, into.client_id, _, into.instrument, side, order_type, time_in_force,
        into.post_only, _, price_e8, quantity_e8, filled_e8, remaining_e8, cancelled_e8, status, _,
        created_ns, _, reason, _,
    ) = event  # fmt: skip
    if standing is not None:
        filled_e8, remaining_e8, cancelled_e8, status, reason = standing
    into.side = SIDES.of[side]
    into.type = TYPES.of[order_type]
    if order_type == LIMIT:
        into.price = double_of(price_e8)
    into.quantity = double_of(quantity_e8)
    if filled_e8:
        into.filled_quantity = double_of(filled_e8)
    if remaining_e8:
        into.remaining_quantity = double_of(remaining_e8)
    if cancelled_e8:
        into.cancelled_quantity = double_of(cancelled_e8)
    into.status = STATUSES.of[status]
    if status >= CANCELLED:
        into.end_reason = END_REASONS[reason]
        if reason in RULE_REASONS:
            into.reject_reason = RULE_REASONS[reason]
    into.time_in_force = TIMES_IN_FORCE.of[time_in_force]
    into.created_at = created = time_text(created_ns)
    into.updated_at = created if updated_ns == created_ns else time_text(updated_ns)


def placed(
    into: Placed,
    applied: Applied,
    repeated: bool,
    trades_max: int = LISTED_MAX,
) -> None:
    """Write the reply to a place or a replace, but for its book, with at most so many trades."""
    sequence, time_ns, events = applied
    first = events[0]
    assert isinstance(first, OrderEvent)
    into.sequence = sequence
    if repeated:
        into.repeated = True
    if len(events) == 1:
        order(into.order, first, time_ns)
        return
    order(into.order, first, time_ns, standing_after(first, events))
    count = 0
    for index, event in enumerate(events):
        if type(event) is Traded:
            if count < trades_max:
                trade(into.trades.add(), sequence, index, time_ns, event)
            count += 1
    into.trade_count = count


def trade(into: types_pb2.Trade, sequence: int, index: int, time_ns: int, traded: Traded) -> None:
    """Show a trade by its two sides; unpacked whole, like an order."""
    (
        into.instrument, price_e8, quantity_e8, side,
        maker_order_id, _, _, _, _, _, maker_fee_e8,
        taker_order_id, _, _, _, _, _, taker_fee_e8,
    ) = traded  # fmt: skip
    into.trade_id = f"T{sequence}-{index}"
    if side == BUY:
        into.buy_order_id, into.sell_order_id = taker_order_id, maker_order_id
    else:
        into.buy_order_id, into.sell_order_id = maker_order_id, taker_order_id
    into.price = double_of(price_e8)
    into.quantity = double_of(quantity_e8)
    into.timestamp = time_text(time_ns)
    into.sequence = sequence
    into.side = SIDES.of[side]
    if maker_fee_e8:
        into.maker_fee = double_of(maker_fee_e8)
    if taker_fee_e8:
        into.taker_fee = double_of(taker_fee_e8)


def role(client_id: str, traded: Traded) -> str:
    """Tell what a client was in a trade of his."""
    if traded.maker_client_id == traded.taker_client_id:
        return "both"
    return "maker" if traded.maker_client_id == client_id else "taker"


def depth(into: Any, engine: Engine, instrument: str, levels: int) -> None:
    """Show the best levels of both sides in whatever has `bids` and `asks`."""
    book = engine.book(instrument)
    for add, side in ((into.bids.add, BUY), (into.asks.add, SELL)):
        cumulative_e8 = 0
        for price_e8, quantity_e8 in book.depth(side, levels):
            cumulative_e8 += quantity_e8
            add(
                price=double_of(price_e8),
                quantity=double_of(quantity_e8),
                cumulative=double_of(cumulative_e8),
            )


def quotes(into: market_service_pb2.GetBestQuotesResponse, engine: Engine, instrument: str) -> None:
    """Show the book's best levels, where there are any."""
    book = engine.book(instrument)
    bid_e8, ask_e8 = book.best_bid, book.best_ask
    if bid_e8:
        into.bid_price = double_of(bid_e8)
        into.bid_quantity = double_of(book.quantity(BUY, bid_e8))
    if ask_e8:
        into.ask_price = double_of(ask_e8)
        into.ask_quantity = double_of(book.quantity(SELL, ask_e8))
    if bid_e8 and ask_e8:
        into.spread = double_of(ask_e8 - bid_e8)
        # Times ten, since half of a unit is five of the next smaller one.
        into.mid = double_of((bid_e8 + ask_e8) * 5, 10**9)


def analytics(instrument: str, minutes: int, found: Analytics) -> GetAnalyticsResponse:
    """Show trades by interval."""
    reply = GetAnalyticsResponse(
        instrument=instrument,
        start_time=time_text_in_full(found.start_ns),
        end_time=time_text_in_full(found.end_ns),
        interval_minutes=minutes,
        overall_vwap=double_of(found.vwap_e8),
        sequence=found.sequence,
    )
    for bar in found.intervals:
        reply.aggregates.add(
            time_bucket=time_text(bar.minute * MINUTE_NS),
            trade_count=bar.count,
            total_quantity=double_of(bar.volume_e8),
            avg_price=double_of(average_e8(bar.price_sum_e8, bar.count)),
            min_price=double_of(bar.low_e8),
            max_price=double_of(bar.high_e8),
            total_volume=double_of(bar.notional_e16, E16),
            vwap=double_of(average_e8(bar.notional_e16, bar.volume_e8)),
            open=double_of(bar.open_e8),
            close=double_of(bar.close_e8),
        )
    return reply


def ticker(
    into: market_service_pb2.GetTickerResponse, engine: Engine, instrument: str, day: Ticker
) -> None:
    """Show what there is of last price, best quotes and 24 hours."""
    book = engine.book(instrument)
    bid_e8, ask_e8 = book.best_bid, book.best_ask
    if day.last_price_e8:
        into.last = double_of(day.last_price_e8)
    if bid_e8:
        into.bid = double_of(bid_e8)
        into.bid_quantity = double_of(book.quantity(BUY, bid_e8))
    if ask_e8:
        into.ask = double_of(ask_e8)
        into.ask_quantity = double_of(book.quantity(SELL, ask_e8))
    if day.trade_count:
        into.open = double_of(day.open_e8)
        into.high = double_of(day.high_e8)
        into.low = double_of(day.low_e8)
        into.change = double_of(day.last_price_e8 - day.open_e8)
    into.volume = double_of(day.volume_e8)
    into.notional = double_of(day.notional_e16, E16)
    into.trade_count = day.trade_count


def statistics(
    into: market_service_pb2.GetStatisticsResponse, found: Statistics, activity: Activity
) -> None:
    """Show what a market holds, and what it did."""
    done, day, seconds = found.done, found.day, activity.recent_seconds
    into.open_orders = found.open_orders
    into.orders = done.orders
    into.trades = done.trades
    into.volume = double_of(done.volume_e8)
    into.orders_per_second = float(f"{done.recent_orders / seconds:.15g}")
    into.trades_per_second = float(f"{done.recent_trades / seconds:.15g}")
    into.trades_24h = day.trade_count
    into.volume_24h = double_of(day.volume_e8)
    into.bid_levels = found.bid_levels
    into.ask_levels = found.ask_levels
    into.bid_depth = double_of(found.bid_depth_e8)
    into.ask_depth = double_of(found.ask_depth_e8)
    if found.bid_levels and found.ask_levels:
        into.spread = double_of(found.spread_e8)
    into.since = time_text(activity.since_ns)


def position(into: market_service_pb2.Position, held: Position) -> None:
    """Show a position; the average is divided only here."""
    into.instrument = held.instrument
    into.net_quantity = double_of(held.net_e8)
    into.total_cost = double_of(held.cost_e16, E16)
    into.avg_price = double_of(held.average_price_e8)
    into.realised_pnl = double_of(held.realised_e16, E16)
    into.unrealised_pnl = double_of(held.unrealised_e16, E16)
    into.fees = double_of(held.fees_e8)
    into.last_updated = time_text(held.updated_ns)


def instrument(into: market_service_pb2.Instrument, definition: Instrument) -> None:
    """Show what can be traded, within which numbers."""
    into.instrument = definition.name
    into.tick_size = double_of(definition.tick_e8)
    into.lot_size = double_of(definition.lot_e8)
    into.min_price = double_from(definition.price_min_e8)
    into.max_price = double_up_to(definition.price_max_e8)
    into.min_quantity = double_from(definition.quantity_min_e8)
    into.max_quantity = double_up_to(definition.quantity_max_e8)
    into.maker_fee_rate = double_of(definition.maker_fee_e6, E6)
    into.taker_fee_rate = double_of(definition.taker_fee_e6, E6)
    into.self_trade_prevention = PREVENTIONS.of[definition.self_trade_prevention]
