"""A plain exchange: one list of resting orders, searched from the start for each trade.

It knows nothing of levels, queues or totals. The property tests drive it beside the engine and
compare what it says, event by event: (word, order id, ...).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Said = tuple[Any, ...]


@dataclass
class PlainOrder:
    """Side is +1 to buy and -1 to sell; no price means any."""

    id: str
    client: str
    instrument: str
    side: int
    price: int | None
    total: int
    time: str = "gtc"
    post_only: bool = False
    mode: str = "none"
    left: int = 0
    filled: int = 0

    def meets(self, other: PlainOrder) -> bool:
        """Whether a resting order of the other side is at this one's price or better."""
        if (other.instrument, other.side) != (self.instrument, -self.side):
            return False
        return self.price is None or (self.price - (other.price or 0)) * self.side >= 0


@dataclass
class PlainAccount:
    """Net quantity, cost and realised profit, from signed fills."""

    net: int = 0
    cost: int = 0
    realised: int = 0

    def fill(self, change: int, price: int) -> None:
        """Close what is held against the fill, then open the rest."""
        closed = min(abs(change), abs(self.net)) if change * self.net < 0 else 0
        if closed:
            share = round(Fraction(self.cost * closed, abs(self.net)))
            sign = 1 if change > 0 else -1
            self.realised -= sign * closed * price + share
            self.cost -= share
            self.net += sign * closed
            change -= sign * closed
        self.net += change
        self.cost += change * price


@dataclass
class PlainExchange:
    """What rests, oldest first."""

    resting: list[PlainOrder] = field(default_factory=list)
    accounts: dict[tuple[str, str], PlainAccount] = field(default_factory=dict)

    def best(self, order: PlainOrder, skip_own: bool = False) -> list[PlainOrder]:
        """The resting orders that an order meets, in the order in which it meets them."""
        met = [other for other in self.resting if order.meets(other)]
        if skip_own:
            met = [other for other in met if other.client != order.client]
        return sorted(met, key=lambda other: (other.price or 0) * order.side)

    def place(self, order: PlainOrder) -> list[Said]:
        """A new order."""
        order.left = order.total
        said: list[Said] = [("accepted", order.id)]
        if order.post_only and self.best(order):
            return [*said, self.end(order, "rejected")]
        if order.time == "fok" and not self.fillable(order):
            return [*said, self.end(order, "rejected")]
        return said + self.enter(order)

    def fillable(self, order: PlainOrder) -> bool:
        """Whether what it would trade is all of it."""
        total = 0
        for other in self.best(order, skip_own=order.mode == "oldest"):
            if total >= order.left:
                break
            if other.client == order.client and order.mode != "none":
                return False
            total += other.left
        return total >= order.left

    def enter(self, order: PlainOrder) -> list[Said]:
        """Trade as far as it goes; rest or end."""
        said: list[Said] = []
        while order.left and (met := self.best(order)):
            other = met[0]
            quantity = min(order.left, other.left)
            if other.client != order.client or order.mode == "none":
                for each, sign in ((other, other.side), (order, order.side)):
                    each.left -= quantity
                    each.filled += quantity
                    key = (each.client, each.instrument)
                    account = self.accounts.setdefault(key, PlainAccount())
                    account.fill(sign * quantity, other.price or 0)
                said.append(("trade", other.id, order.id, other.price, quantity))
                if not other.left:
                    self.resting.remove(other)
            elif order.mode == "decrement":
                said += [self.reduce(each, quantity, order) for each in (other, order)]
            else:
                if order.mode in ("oldest", "both"):
                    said.append(self.end(other, "cancelled"))
                if order.mode in ("newest", "both"):
                    said.append(self.end(order, self.word(order)))
        if order.left and order.time == "gtc":
            self.resting.append(order)
        elif order.left:
            said.append(self.end(order, self.word(order)))
        return said

    def reduce(self, order: PlainOrder, quantity: int, incoming: PlainOrder) -> Said:
        """Take the smaller quantity off; whoever has nothing left is ended."""
        if order.left == quantity:
            return self.end(order, self.word(order) if order is incoming else "cancelled")
        order.left -= quantity
        return ("reduced", order.id, quantity)

    def word(self, order: PlainOrder) -> str:
        """How an incoming order ends."""
        return "cancelled" if order.filled or order.time == "gtc" else "rejected"

    def end(self, order: PlainOrder, word: str) -> Said:
        """End it with what is left."""
        self.resting = [other for other in self.resting if other is not order]
        quantity, order.left = order.left, 0
        return (word, order.id, quantity)

    def find(self, order_id: str) -> PlainOrder | None:
        """The resting order of this id."""
        return next((order for order in self.resting if order.id == order_id), None)

    def replace(self, order: PlainOrder, price: int, total: int) -> list[Said] | None:
        """Another price and total for a resting order; None if it is refused."""
        left = order.left + total - order.total
        moves = price != order.price or total > order.total
        if left > 0 and moves and order.post_only:
            asked = PlainOrder("", "", order.instrument, order.side, price, total)
            if self.best(asked):
                return None
        if left <= 0:
            return [self.end(order, "cancelled")]
        order.price, order.total, order.left = price, total, left
        if not moves:
            return [("replaced", order.id)]
        self.resting.remove(order)
        return [("replaced", order.id), *self.enter(order)]
