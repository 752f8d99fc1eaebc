"""The levels of all books, folded from order events and trades alone, without an engine."""

from collections.abc import Iterable, Iterator, Mapping

from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from server.core.engine import Engine
from server.core.events import OrderAccepted, OrderEvent, OrderReduced, OrderReplaced, Traded
from server.core.types import BUY

Level = tuple[str, int, int]
"""Instrument, side and price."""


class LevelFold:
    """The levels of all books, and which of them a command changed. Memory: one entry for each
    order that rests, and one for each level."""

    def __init__(self) -> None:
        self._orders: dict[int, tuple[Level, int]] = {}
        """Where each rests and what remains of it, by placing sequence."""
        self._levels: dict[Level, int] = {}
        self._before: dict[Level, int] = {}
        self._updated: dict[str, int] = {}

    def rest(self, placed: int, instrument: str, side: int, price_e8: int, left_e8: int) -> None:
        """An order that rests where the journal is taken in from."""
        level = (instrument, side, price_e8)
        self._orders[placed] = level, left_e8
        self._add(level, left_e8)

    @property
    def changed_count(self) -> int:
        """Levels that the command touched."""
        return len(self._before)

    def kept(self) -> tuple[list[tuple[int, str, int, int, int]], dict[str, int]]:
        """Give what `of` needs to make the same levels again."""
        orders = [(placed, *level, left_e8) for placed, (level, left_e8) in self._orders.items()]
        return orders, dict(self._updated)

    @classmethod
    def of(
        cls, orders: Iterable[tuple[int, str, int, int, int]], updated: Mapping[str, int]
    ) -> "LevelFold":
        """Make the levels that `kept` told of."""
        fold = cls()
        for order in orders:
            fold.rest(*order)
        fold._updated.update(updated)
        return fold

    def snapshots(
        self, sequence: int, time_ns: int
    ) -> Iterator[tuple[str, StreamOrderBookResponse]]:
        """Give all levels as they are after this sequence, best first, by instrument: each that
        ever had one, as far as is known, in the order of their names."""
        books: dict[str, list[tuple[int, int, int]]] = {name: [] for name in self._updated}
        for (instrument, side, price_e8), quantity_e8 in self._levels.items():
            books.setdefault(instrument, []).append((price_e8, side, quantity_e8))
        for instrument in sorted(books):
            update = StreamOrderBookResponse(sequence=sequence, time_ns=time_ns, snapshot=True)
            rising = sorted(books[instrument])
            for price_e8, side, quantity_e8 in reversed(rising):
                if side == BUY:
                    update.bids.add(price_e8=price_e8, quantity_e8=quantity_e8)
            for price_e8, side, quantity_e8 in rising:
                if side != BUY:
                    update.asks.add(price_e8=price_e8, quantity_e8=quantity_e8)
            yield instrument, update

    def follow(self, instrument: str, sequence: int) -> None:
        """The next update is the one after this."""
        self._updated[instrument] = sequence

    def begin(self) -> None:
        """Begin to collect the changes of the next command."""
        self._before.clear()

    def order(self, event: OrderEvent) -> None:
        """An event of its own. One that will not rest leaves again within the same command."""
        kind = type(event)
        placed, left_e8 = event.placed_sequence, event.remaining_e8
        if kind is not OrderAccepted:
            known = self._orders.pop(placed, None)
            if known is not None:
                self._add(known[0], -known[1])
        if left_e8 and (kind is OrderAccepted or kind is OrderReplaced or kind is OrderReduced):
            level = (event.instrument, event.side, event.price_e8)
            self._orders[placed] = level, left_e8
            self._add(level, left_e8)

    def traded(self, event: Traded) -> None:
        """A trade takes off both sides."""
        orders = self._orders
        (_, _, _, _, _, _, _, maker, _, maker_left_e8, _, _, _, _, taker, _, taker_left_e8, _) = (
            event
        )
        for placed, left_e8 in ((maker, maker_left_e8), (taker, taker_left_e8)):
            known = orders.get(placed)
            if known is not None:
                level, before_e8 = known
                if left_e8:
                    orders[placed] = level, left_e8
                else:
                    del orders[placed]
                self._add(level, left_e8 - before_e8)

    def updates(self, sequence: int, time_ns: int) -> list[tuple[str, StreamOrderBookResponse]]:
        """What the command changed, by instrument."""
        changed: dict[str, StreamOrderBookResponse] = {}
        levels = self._levels
        for level, before_e8 in self._before.items():
            now_e8 = levels.get(level, 0)
            if now_e8 == before_e8:
                continue
            instrument, side, price_e8 = level
            update = changed.get(instrument)
            if update is None:
                update = changed[instrument] = StreamOrderBookResponse()
                update.sequence = sequence
                update.previous_sequence = self._updated.get(instrument, 0)
                update.time_ns = time_ns
                self._updated[instrument] = sequence
            into = (update.bids if side == BUY else update.asks).add()
            into.price_e8 = price_e8
            if now_e8:
                into.quantity_e8 = now_e8
        return sorted(changed.items()) if len(changed) > 1 else list(changed.items())

    def _add(self, level: Level, quantity_e8: int) -> None:
        before_e8 = self._levels.get(level, 0)
        if level not in self._before:
            self._before[level] = before_e8
        after_e8 = before_e8 + quantity_e8
        if after_e8:
            self._levels[level] = after_e8
        elif before_e8:
            del self._levels[level]


def levels_of(engine: Engine) -> "LevelFold":
    """The levels as they are in a state."""
    fold = LevelFold()
    for instrument in engine.instruments:
        for order in engine.book(instrument).resting():
            fold.rest(
                order.placed_sequence, instrument, order.side, order.price_e8, order.remaining_e8
            )
    return fold
