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
from server.core.book import KEY_MIN, BookSide, Level
from server.core.events import Event, OrderCancelled, OrderReduced, OrderRejected, Traded
from server.core.market import Market
from server.core.orders import EVENT, NAMED, STANDING, Order, event_of
from server.core.types import (
    BUY,
    CANCELLED,
    LIMIT,
    EndReason,
    SelfTradePrevention,
)

_NONE: Final = int(SelfTradePrevention.NONE)
_CANCEL_NEWEST: Final = int(SelfTradePrevention.CANCEL_NEWEST)
_CANCEL_OLDEST: Final = int(SelfTradePrevention.CANCEL_OLDEST)
_DECREMENT: Final = int(SelfTradePrevention.DECREMENT)
_PREVENTED: Final = int(EndReason.SELF_TRADE_PREVENTION)
_new: Final = tuple.__new__


def crosses(market: Market, side: int, price_e8: int) -> bool:
    """Whether a limit order would trade at once."""
    opposite = market.book.asks if side == BUY else market.book.bids
    return bool(opposite.keys) and opposite.keys[-1] >= opposite.sign * price_e8


def fillable(market: Market, taker: Order) -> bool:
    """Whether all of an order would trade now."""
    opposite = market.book.asks if taker.side == BUY else market.book.bids
    is_limit = taker.accepted.order_type == LIMIT
    lowest_key = opposite.sign * taker.price_e8 if is_limit else KEY_MIN
    mode, account = taker.accepted.self_trade_prevention, taker.account
    meets_own = mode != _NONE and account.open_e8[opposite.side] > 0
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
        for maker in level.orders:
            if maker.account is not account:
                wanted_e8 -= maker.remaining_e8
                if wanted_e8 <= 0:
                    return True
            elif mode != _CANCEL_OLDEST:
                return False
    return False


def match(
    market: Market,
    taker: Order,
    opposite: BookSide,
    lowest_key: int,
    sequence: int,
    time_ns: int,
    events: list[Event],
) -> list[Order]:
    """Trade an incoming order with the levels down to this key; gives the orders that it ended.

    Afterwards the taker has nothing remaining, or nothing it may trade with rests against it.
    """
    keys, levels, touched = opposite.keys, opposite.levels, market.book.touched
    # Positive for a purchase. With the rates turned alike a fee keeps its sign, and is rounded up.
    direction = -opposite.sign
    maker_rate_e6, taker_rate_e6 = direction * market.maker_fee_e6, direction * market.taker_fee_e6
    accepted, account, name = taker.accepted, taker.account, market.name
    order_id, client_id, reference = accepted[:3]
    side, taker_sequence = accepted.side, accepted.placed_sequence
    first_e8 = price_e8 = price_sum_e8 = volume_e16 = fees_e8 = count = 0
    filled_e8 = before_e8 = taker.filled_e8
    remaining_e8 = taker.remaining_e8
    ended: list[Order] = []
    while remaining_e8 and keys and keys[-1] >= lowest_key:
        level = levels[opposite.sign * keys[-1]]
        maker = level.head
        maker_account = maker.account
        if maker_account is account and accepted.self_trade_prevention != _NONE:
            taker.filled_e8, taker.remaining_e8 = filled_e8, remaining_e8
            _prevent(market, maker, taker, time_ns, events, ended)
            remaining_e8 = taker.remaining_e8
            continue
        price_e8 = level.price_e8
        touched[level.key] = None
        left_e8 = maker.remaining_e8
        quantity_e8 = left_e8 if left_e8 <= remaining_e8 else remaining_e8
        remaining_e8 -= quantity_e8
        filled_e8 += quantity_e8
        maker.remaining_e8 = left_e8 = left_e8 - quantity_e8
        maker.filled_e8 = maker_filled_e8 = maker.filled_e8 + quantity_e8
        level.quantity_e8 -= quantity_e8
        maker_account.open_e8[opposite.side] -= quantity_e8
        if left_e8:
            maker.updated_ns = time_ns
        else:
            ended.append(maker)
            _unqueue(opposite, level, maker)
        change_e8 = direction * quantity_e8
        amount_e16 = price_e8 * change_e8
        maker_fee_e8 = -(-amount_e16 * maker_rate_e6 // FEE_DIVISOR)
        taker_fee_e8 = -(-amount_e16 * taker_rate_e6 // FEE_DIVISOR)
        fees_e8 += maker_fee_e8 + taker_fee_e8
        maker_account.fill(-change_e8, -amount_e16, maker_fee_e8, time_ns)
        account.fill(change_e8, amount_e16, taker_fee_e8, time_ns)
        made = maker.accepted
        trade = _new(Traded, (
            name, price_e8, quantity_e8, side, made.order_id, made.client_id, made.client_reference,
            made.placed_sequence, maker_filled_e8, left_e8, maker_fee_e8,
            order_id, client_id, reference, taker_sequence, filled_e8, remaining_e8, taker_fee_e8,
        ))  # fmt: skip
        market.trades.append((sequence, len(events), time_ns, trade))
        events.append(trade)
        volume_e16 += amount_e16
        count, price_sum_e8, first_e8 = count + 1, price_sum_e8 + price_e8, first_e8 or price_e8
    if count:
        taker.filled_e8, taker.remaining_e8 = filled_e8, remaining_e8
        sums = (filled_e8 - before_e8, abs(volume_e16), price_sum_e8, count, fees_e8)
        market.record(first_e8, price_e8, sums, time_ns)
    return ended


def _unqueue(side: BookSide, level: Level, maker: Order) -> None:
    """Take out the oldest order of a level, which is filled."""
    later = maker.later
    maker.level = maker.later = None
    del maker.account.open[maker]
    side.order_count -= 1
    if later is None:
        side.drop(level)
    else:
        level.head = later
        later.earlier = None


def end_resting(market: Market, order: Order, reason: int) -> OrderCancelled:
    """Take a resting order out of the book and cancel what remains of it."""
    account, level, change_e8 = order.account, order.level, order.remaining_e8
    assert level is not None, "it rests"
    account.open_e8[level.side.side] -= change_e8
    del account.open[order]
    market.book.remove(order)
    market.placed_e8 -= change_e8
    order.remaining_e8 = 0
    order.reason = reason
    accepted, quantity_e8, filled_e8 = order.accepted, order.quantity_e8, order.filled_e8
    changing = (order.price_e8, quantity_e8, filled_e8, 0, quantity_e8 - filled_e8, CANCELLED)
    named = accepted[NAMED:EVENT]
    return _new(OrderCancelled, accepted[:STANDING] + changing + named + (reason, change_e8))


def end_incoming(order: Order, reason: int) -> OrderCancelled | OrderRejected:
    """End what remains of an order that is not in the book."""
    change_e8 = order.remaining_e8
    order.account.market.placed_e8 -= change_e8
    order.remaining_e8 = 0
    order.reason = reason
    status = order.ended_status(reason)
    if status == CANCELLED:
        return event_of(OrderCancelled, order, status, reason, change_e8)
    return event_of(OrderRejected, order, status, reason, change_e8)


def _prevent(
    market: Market,
    maker: Order,
    taker: Order,
    time_ns: int,
    events: list[Event],
    ended: list[Order],
) -> None:
    """Keep an incoming order from trading with this resting one of the same client."""
    mode = taker.accepted.self_trade_prevention
    if mode != _DECREMENT:
        if mode != _CANCEL_NEWEST:
            events.append(end_resting(market, maker, _PREVENTED))
            ended.append(maker)
        if mode != _CANCEL_OLDEST:
            events.append(end_incoming(taker, _PREVENTED))
        return
    change_e8 = min(maker.remaining_e8, taker.remaining_e8)
    if maker.remaining_e8 > change_e8:
        maker.account.open_e8[maker.side] -= change_e8
        market.book.reduce(maker, change_e8)
        maker.updated_ns = time_ns
        events.append(_reduced(maker, change_e8))
    else:
        events.append(end_resting(market, maker, _PREVENTED))
        ended.append(maker)
    if taker.remaining_e8 > change_e8:
        taker.remaining_e8 -= change_e8
        events.append(_reduced(taker, change_e8))
    else:
        events.append(end_incoming(taker, _PREVENTED))


def _reduced(order: Order, change_e8: int) -> OrderReduced:
    return event_of(OrderReduced, order, order.status, _PREVENTED, change_e8)
