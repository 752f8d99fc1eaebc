"""What a journal's events tell, added up without the engine: orders, queues and positions.

An order queues at its price once its command is over, and loses its place when it is replaced by
another price or a larger quantity. So each fill must be of the first order at the best price of the
other side, whatever the engine thinks of it.
"""

from collections import defaultdict
from dataclasses import dataclass

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
from server.core.types import BUY, SELL

Place = tuple[str, int]
"""Instrument and side."""


@dataclass
class ToldOrder:
    """An order as its events add up."""

    order_id: str
    client_id: str
    place: Place
    price_e8: int
    quantity_e8: int
    filled_e8: int = 0
    cancelled_e8: int = 0

    @property
    def left_e8(self) -> int:
        return self.quantity_e8 - self.filled_e8 - self.cancelled_e8


class Told:
    """Takes commands' events in order; an `AssertionError` names the invariant."""

    def __init__(self) -> None:
        self.orders: dict[int, ToldOrder] = {}
        """By the sequence that placed them."""
        self.queues: dict[Place, dict[int, dict[int, None]]] = defaultdict(dict)
        """By price, those that wait there, the first first."""
        self.net_e8: dict[tuple[str, str], int] = defaultdict(int)
        self.fills = 0
        self._incoming: dict[int, None] = {}

    def take(self, events: list[Event]) -> None:
        """The events of one command."""
        for event in events:
            if isinstance(event, Traded):
                self._trade(event)
            elif isinstance(event, OrderEvent):
                self._change(event)
        for sequence in self._incoming:
            order = self.orders[sequence]
            if order.left_e8:
                self.queues[order.place].setdefault(order.price_e8, {})[sequence] = None
        self._incoming.clear()

    def assert_uncrossed(self) -> None:
        """Between two commands."""
        for name, side in list(self.queues):
            bids, asks = self.queues[name, BUY], self.queues[name, SELL]
            if side == BUY and bids and asks:
                assert max(bids) < min(asks), f"I4: {name} is crossed"

    def assert_same(self, engine: Engine) -> None:
        """The engine holds what the events tell, and nothing else."""
        left = {sequence: order.left_e8 for sequence, order in self.orders.items()}
        held: dict[int, int] = {}
        net_e8: dict[tuple[str, str], int] = {}
        for market in engine.markets.values():
            for side in (market.book.bids, market.book.asks):
                for level in side.levels.values():
                    for order in level.orders:
                        held[order.accepted.placed_sequence] = order.remaining_e8
        for client in engine.directory.clients.values():
            for name, account in client.accounts.items():
                if account.net_e8:
                    net_e8[client.client_id, name] = account.net_e8
        assert held == {sequence: it for sequence, it in left.items() if it}, "I3: open orders"
        assert net_e8 == {key: it for key, it in self.net_e8.items() if it}, "I6: positions"

    def _change(self, event: OrderEvent) -> None:
        sequence = event.placed_sequence
        if isinstance(event, OrderAccepted):
            assert sequence not in self.orders, f"I3: {event} is accepted twice"
            place = event.instrument, event.side
            self.orders[sequence] = ToldOrder(
                event.order_id, event.client_id, place, event.price_e8, event.quantity_e8
            )
            self._incoming[sequence] = None
        order = self.orders[sequence]
        if isinstance(event, OrderReplaced):
            if event.price_e8 != order.price_e8 or event.quantity_e8 > order.quantity_e8:
                self._leave(sequence, order)
                self._incoming[sequence] = None
            order.price_e8, order.quantity_e8 = event.price_e8, event.quantity_e8
        elif isinstance(event, OrderReduced | OrderCancelled | OrderRejected):
            order.cancelled_e8 += event.change_e8
        found = event.filled_e8, event.cancelled_e8, event.remaining_e8
        told = order.filled_e8, order.cancelled_e8, order.left_e8
        assert found == told, f"I3: {event}, and its fills and cancels add up to {told}"
        if isinstance(event, OrderCancelled | OrderRejected):
            assert order.left_e8 == 0, f"I3: {event}"
        if order.left_e8 == 0:
            self._leave(sequence, order)

    def _trade(self, trade: Traded) -> None:
        side = trade.aggressor_side
        levels = self.queues[trade.instrument, BUY + SELL - side]
        maker_at, taker_at = trade.maker_placed_sequence, trade.taker_placed_sequence
        maker, taker = self.orders[maker_at], self.orders[taker_at]
        assert taker_at in self._incoming, f"I5: {trade}: the taker didn't come just now"
        best = min(levels) if side == BUY else max(levels)
        first = next(iter(levels[best]))
        assert (best, first) == (trade.price_e8, maker_at), f"I5: {trade}: {first} waits at {best}"
        if taker.price_e8:
            through = (best - taker.price_e8) * (1 if side == BUY else -1)
            assert through <= 0, f"I5: {trade}: the taker's price is {taker.price_e8}"
        sign = 1 if side == BUY else -1
        for order, change in ((taker, sign), (maker, -sign)):
            order.filled_e8 += trade.quantity_e8
            self.net_e8[order.client_id, trade.instrument] += change * trade.quantity_e8
        found = trade.maker_filled_e8, trade.maker_remaining_e8
        assert found == (maker.filled_e8, maker.left_e8), f"I3: {trade}"
        found = trade.taker_filled_e8, trade.taker_remaining_e8
        assert found == (taker.filled_e8, taker.left_e8), f"I3: {trade}"
        assert maker.left_e8 >= 0, f"I3: {trade}"
        assert taker.left_e8 >= 0, f"I3: {trade}"
        if maker.left_e8 == 0:
            self._leave(maker_at, maker)
        self.fills += 2

    def _leave(self, sequence: int, order: ToldOrder) -> None:
        self._incoming.pop(sequence, None)
        level = self.queues[order.place].get(order.price_e8)
        if level is not None:
            level.pop(sequence, None)
            if not level:
                del self.queues[order.place][order.price_e8]
