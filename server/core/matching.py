"""Price-time priority: what happens when an order comes in.

An incoming order meets the resting orders of the other side at its limit or better, best price
first and, at one price, oldest first; each trade is at the resting order's price. Where the next
resting order is the same client's, the incoming order's self-trade prevention acts on it instead:

- NONE: they trade like any two;
- CANCEL_NEWEST ends the incoming order; CANCEL_OLDEST ends the resting one, and matching goes on;
  CANCEL_BOTH ends both;
- DECREMENT takes the smaller remaining quantity off both, counted as cancelled; an order with
  nothing left is ended, and matching goes on.

The resting order's event comes before the incoming one's. Earlier trades stand.

Fill-or-kill is judged by `fillable` before anything changes. It counts what would trade, so with
CANCEL_OLDEST own orders are skipped, and with the other modes it stops at the first own order.

A pass costs O(resting orders met); judging fill-or-kill O(levels), or O(orders met) where own
orders may be among them.
"""

from __future__ import annotations

from typing import Final

from server.core.accounts import FEE_DIVISOR
from server.core.book import KEY_MIN, BookSide
from server.core.events import Event, OrderCancelled, OrderReduced, OrderRejected, Traded
from server.core.market import Market
from server.core.orders import EventOfOrder, Order, event_of
from server.core.types import (
    BUY,
    CANCELLED,
    FILLED,
    GTC,
    LIMIT,
    PARTIALLY_FILLED,
    REJECTED,
    SELL,
    EndReason,
    SelfTradePrevention,
)

_NONE: Final = int(SelfTradePrevention.NONE)
_CANCEL_NEWEST: Final = int(SelfTradePrevention.CANCEL_NEWEST)
_CANCEL_OLDEST: Final = int(SelfTradePrevention.CANCEL_OLDEST)
_DECREMENT: Final = int(SelfTradePrevention.DECREMENT)
_PREVENTED: Final = int(EndReason.SELF_TRADE_PREVENTION)
_new: Final = tuple.__new__


def limit_key(opposite: BookSide, order_type: int, price_e8: int) -> int:
    """The lowest key of the other side that an order with this limit trades with."""
    return opposite.sign * price_e8 if order_type == LIMIT else KEY_MIN


def crosses(market: Market, side: int, price_e8: int) -> bool:
    """Whether a limit order would trade at once."""
    opposite = market.book.asks if side == BUY else market.book.bids
    return bool(opposite.keys) and opposite.keys[-1] >= opposite.sign * price_e8


def fillable(market: Market, taker: Order) -> bool:
    """Whether all of an order would trade now."""
    book = market.book
    opposite = book.asks if taker.side == BUY else book.bids
    lowest_key = limit_key(opposite, taker.order_type, taker.price_e8)
    mode = taker.self_trade_prevention
    meets_own = mode != _NONE and taker.account.open_e8[BUY + SELL - taker.side] > 0
    wanted_e8 = taker.remaining_e8
    for key in reversed(opposite.keys):
        if key < lowest_key:
            break
        level = opposite.levels[opposite.sign * key]
        if not meets_own:
            wanted_e8 -= level.quantity_e8
            if wanted_e8 <= 0:
                return True
            continue
        maker = level.head
        while maker is not None:
            if maker.account is not taker.account:
                wanted_e8 -= maker.remaining_e8
                if wanted_e8 <= 0:
                    return True
            elif mode != _CANCEL_OLDEST:
                return False
            maker = maker.later
    return False


def match(
    market: Market,
    taker: Order,
    sequence: int,
    time_ns: int,
    events: list[Event],
    ended: list[Order],
) -> None:
    """Trade an incoming order as far as it goes; `ended` gets the resting orders that it ended.

    Afterwards the taker is filled, or ended by self-trade prevention, or still live with the
    remaining quantity that nothing it may trade with rests against.
    """
    book = market.book
    opposite = book.asks if taker.side == BUY else book.bids
    keys = opposite.keys
    lowest_key = limit_key(opposite, taker.order_type, taker.price_e8)
    if not keys or keys[-1] < lowest_key:
        return
    account = taker.account
    prevents = taker.self_trade_prevention != _NONE
    first_e8 = last_e8 = quantity_sum_e8 = notional_sum_e16 = count = 0
    while keys and keys[-1] >= lowest_key:
        maker = opposite.levels[opposite.sign * keys[-1]].head
        assert maker is not None, "a level is never empty"
        if prevents and maker.account is account:
            _prevent(market, maker, taker, time_ns, events, ended)
            if taker.status >= FILLED:
                break
            continue
        quantity_e8, notional_e16 = _trade(market, maker, taker, sequence, time_ns, events)
        last_e8 = maker.price_e8
        if not count:
            first_e8 = last_e8
        quantity_sum_e8 += quantity_e8
        notional_sum_e16 += notional_e16
        count += 1
        if maker.status == FILLED:
            book.remove(maker)
            ended.append(maker)
        else:
            book.touched[keys[-1]] = None
        if taker.status == FILLED:
            break
    if count:
        market.record((first_e8, last_e8), (quantity_sum_e8, notional_sum_e16, count), time_ns)


def _trade(
    market: Market, maker: Order, taker: Order, sequence: int, time_ns: int, events: list[Event]
) -> tuple[int, int]:
    """One trade, of the smaller remaining quantity; gives its quantity and notional."""
    maker_e8 = maker.remaining_e8
    taker_e8 = taker.remaining_e8
    quantity_e8 = maker_e8 if maker_e8 < taker_e8 else taker_e8
    price_e8 = maker.price_e8
    notional_e16 = price_e8 * quantity_e8
    side = taker.side

    maker_e8 -= quantity_e8
    maker.remaining_e8 = maker_e8
    maker.filled_e8 += quantity_e8
    maker.status = PARTIALLY_FILLED if maker_e8 else FILLED
    maker.updated_ns = time_ns
    level = maker.level
    assert level is not None, "a maker rests"
    level.quantity_e8 -= quantity_e8
    taker_e8 -= quantity_e8
    taker.remaining_e8 = taker_e8
    taker.filled_e8 += quantity_e8
    taker.status = PARTIALLY_FILLED if taker_e8 else FILLED

    # Rounded towards plus infinity, as `fee_of`, spelled out twice: this is the busiest place.
    maker_fee_e8 = -((-notional_e16 * market.maker_fee_e6) // FEE_DIVISOR)
    taker_fee_e8 = -((-notional_e16 * market.taker_fee_e6) // FEE_DIVISOR)
    market.fee_account.balance_e8 += maker_fee_e8 + taker_fee_e8
    change_e8 = quantity_e8 if side == BUY else -quantity_e8
    maker_account = maker.account
    maker_account.open_e8[maker.side] -= quantity_e8
    maker_account.fill(-change_e8, price_e8, maker_fee_e8, time_ns)
    taker.account.fill(change_e8, price_e8, taker_fee_e8, time_ns)

    trade = _new(
        Traded,
        (
            market.name,
            price_e8,
            quantity_e8,
            side,
            maker.order_id,
            maker.client_id,
            maker.client_reference,
            maker.placed_sequence,
            maker.filled_e8,
            maker_e8,
            maker_fee_e8,
            taker.order_id,
            taker.client_id,
            taker.client_reference,
            taker.placed_sequence,
            taker.filled_e8,
            taker_e8,
            taker_fee_e8,
        ),
    )
    market.trades.append((sequence, len(events), time_ns, trade))
    events.append(trade)
    return quantity_e8, notional_e16


def end_resting(market: Market, order: Order, reason: int) -> OrderCancelled:
    """Take a resting order out of the book and cancel what remains of it."""
    order.account.open_e8[order.side] -= order.remaining_e8
    market.book.remove(order)
    return _end(OrderCancelled, CANCELLED, order, reason)


def end_incoming(order: Order, reason: int) -> OrderCancelled | OrderRejected:
    """End an order that is not in the book: rejected if it has no fill and could not rest."""
    if order.filled_e8 or (
        order.time_in_force == GTC and reason != EndReason.POST_ONLY_WOULD_CROSS
    ):
        return _end(OrderCancelled, CANCELLED, order, reason)
    return _end(OrderRejected, REJECTED, order, reason)


def _end(kind: type[EventOfOrder], status: int, order: Order, reason: int) -> EventOfOrder:
    # A plain integer in place of an enum member, which prints and hashes otherwise.
    reason = +reason
    change_e8 = order.remaining_e8
    order.cancelled_e8 += change_e8
    order.remaining_e8 = 0
    order.status = status
    order.reason = reason
    return event_of(kind, order, reason, change_e8)


def _prevent(
    market: Market,
    maker: Order,
    taker: Order,
    time_ns: int,
    events: list[Event],
    ended: list[Order],
) -> None:
    """Keep an incoming order from trading with this resting one of the same client."""
    mode = taker.self_trade_prevention
    if mode == _DECREMENT:
        change_e8 = min(maker.remaining_e8, taker.remaining_e8)
        if maker.remaining_e8 > change_e8:
            maker.account.open_e8[maker.side] -= change_e8
            market.book.reduce(maker, change_e8)
            maker.updated_ns = time_ns
            maker.cancelled_e8 += change_e8
            events.append(event_of(OrderReduced, maker, _PREVENTED, change_e8))
        else:
            events.append(end_resting(market, maker, _PREVENTED))
            ended.append(maker)
        if taker.remaining_e8 > change_e8:
            taker.remaining_e8 -= change_e8
            taker.cancelled_e8 += change_e8
            events.append(event_of(OrderReduced, taker, _PREVENTED, change_e8))
        else:
            events.append(end_incoming(taker, _PREVENTED))
        return
    if mode != _CANCEL_NEWEST:
        events.append(end_resting(market, maker, _PREVENTED))
        ended.append(maker)
    if mode != _CANCEL_OLDEST:
        events.append(end_incoming(taker, _PREVENTED))
