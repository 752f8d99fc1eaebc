"""A bare order book, the baseline of the engine's benchmark: nothing but price-time priority.

No checks, accounts, fees, keys, clients or memory of what ended; the same structure as
`server/core/book.py`. Events are plain tuples, all of them kept.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final

BUY: Final = 1

Event = tuple[int, ...]


class Resting:
    """One order in a queue."""

    __slots__ = ("earlier", "later", "level", "order_id", "price", "remaining", "side")

    def __init__(self, order_id: int, side: int, price: int, remaining: int) -> None:
        self.order_id = order_id
        self.side = side
        self.price = price
        self.remaining = remaining
        self.level: Queue | None = None
        self.earlier: Resting | None = None
        self.later: Resting | None = None


class Queue:
    """The orders at one price."""

    __slots__ = ("head", "quantity", "tail")

    def __init__(self) -> None:
        self.quantity = 0
        self.head: Resting | None = None
        self.tail: Resting | None = None


class BareBook:
    """Two sides, each a dict from price to queue and a sorted list of signed prices."""

    def __init__(self) -> None:
        self.bid_queues: dict[int, Queue] = {}
        self.ask_queues: dict[int, Queue] = {}
        self.bid_keys: list[int] = []
        self.ask_keys: list[int] = []
        self.orders: dict[int, Resting] = {}
        self.events: list[Event] = []

    def place(
        self, order_id: int, side: int, price: int, quantity: int, lowest_key: int, rests: bool
    ) -> None:
        """Trade down to the lowest key (price, negated for asks), then rest or drop the rest."""
        events = self.events
        events.append((1, order_id, side, price, quantity))
        orders = self.orders
        if side == BUY:
            sign, keys, queues = -1, self.ask_keys, self.ask_queues
        else:
            sign, keys, queues = 1, self.bid_keys, self.bid_queues
        while quantity and keys and keys[-1] >= lowest_key:
            level_price = sign * keys[-1]
            queue = queues[level_price]
            maker = queue.head
            while maker is not None and quantity:
                traded = maker.remaining if maker.remaining < quantity else quantity
                quantity -= traded
                maker.remaining -= traded
                queue.quantity -= traded
                events.append((2, maker.order_id, order_id, level_price, traded))
                if maker.remaining:
                    break
                later = maker.later
                queue.head = later
                if later is None:
                    queue.tail = None
                else:
                    later.earlier = None
                maker.level = maker.later = None
                del orders[maker.order_id]
                maker = later
            if queue.head is None:
                del queues[level_price]
                keys.pop()
        if quantity and rests:
            order = Resting(order_id, side, price, quantity)
            orders[order_id] = order
            if side == BUY:
                keys, queues, key = self.bid_keys, self.bid_queues, price
            else:
                keys, queues, key = self.ask_keys, self.ask_queues, -price
            own = queues.get(price)
            if own is None:
                own = queues[price] = Queue()
                own.head = order
                insort(keys, key)
            else:
                order.earlier = own.tail
                own.tail.later = order  # type: ignore[union-attr]
            own.tail = order
            own.quantity += quantity
            order.level = own

    def cancel(self, order_id: int) -> None:
        """End an open order."""
        order = self.orders.pop(order_id)
        queue = order.level
        assert queue is not None, "an open order rests"
        earlier, later = order.earlier, order.later
        if earlier is None:
            queue.head = later
        else:
            earlier.later = later
        if later is None:
            queue.tail = earlier
        else:
            later.earlier = earlier
        order.level = order.earlier = order.later = None
        queue.quantity -= order.remaining
        self.events.append((3, order_id, order.side, order.price, order.remaining))
        if queue.head is None:
            keys, queues, key = (
                (self.bid_keys, self.bid_queues, order.price)
                if order.side == BUY
                else (self.ask_keys, self.ask_queues, -order.price)
            )
            del queues[order.price]
            del keys[bisect_left(keys, key)]
