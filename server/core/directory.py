"""Every order that is open or remembered, by id and by client.

Both indexes are in placing order. An ended order stays for as long as `requests.Generations`
says, which is one comparison at each look-up; its memory is given back later, two orders for each
one that ends, so what an index holds beyond that is invisible. A client's list is compacted in
steps of bounded size, for the same reason: no command pays for all that a client placed. A client
is dropped with its last order unless it has traded: positions stay for ever.

Costs: look-up by id O(1); a page of a client's orders O(log n + what the filter passes over), where
only open ones are asked for at most O(log n + what is open); a page over all clients O(orders newer
than the page + what the filter passes over).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from typing import Final

from server.core.accounts import Account
from server.core.market import Market
from server.core.orders import Order
from server.core.requests import Generations
from server.core.types import OPEN, PARTIALLY_FILLED

COMPACT_COUNT: Final = 64
"""A client's list is compacted when this many of it are forgotten, and at least half of it."""

COMPACT_STEP: Final = 4_096
"""Orders of a client's list that one step of a compaction looks at. The next step is due when a
quarter as many more are forgotten: four are looked at for each, so the end is always reached."""


def _placed_sequence(order: Order) -> int:
    return order.placed_sequence


class Client:
    """What belongs to one client id."""

    __slots__ = (
        "accounts",
        "client_id",
        "compact_at",
        "compacted",
        "forgotten",
        "open",
        "placed",
        "traded",
    )

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.accounts: dict[str, Account] = {}
        self.open: dict[Order, None] = {}
        """Resting orders, in placing order; always this dict."""
        self.placed: list[Order] = []
        """All orders in placing order, with some forgotten ones among them; always this list."""
        self.forgotten = 0
        """Number of orders given back, less those no longer in `placed`: some are taken out of it
        before it is their turn. With the last order of all it is the length of that list."""
        self.compacted = -1
        """How much of `placed`, from its beginning, the compaction that is under way has done; -1
        while none is."""
        self.compact_at = COMPACT_COUNT
        """The least of `forgotten` at which its next step is due."""
        self.traded = False

    def compact(self, forgotten_sequence: int) -> None:
        """Take the next step: drop the forgotten orders among the next few."""
        placed, begin = self.placed, max(0, self.compacted)
        part = placed[begin : begin + COMPACT_STEP]
        kept = [each for each in part if not 0 < each.closed_sequence <= forgotten_sequence]
        placed[begin : begin + len(part)] = kept
        self.forgotten -= len(part) - len(kept)
        self.compacted = begin + len(kept)
        self.compact_at = self.forgotten + COMPACT_STEP // 4
        if self.compacted == len(placed):
            self._end_compaction()

    def clear(self) -> None:
        """Drop all orders, which are all given back."""
        self.placed.clear()
        self.forgotten = 0
        self._end_compaction()

    def _end_compaction(self) -> None:
        self.compacted = -1
        self.compact_at = COMPACT_COUNT


class Directory:
    """Orders and clients."""

    __slots__ = ("_closed", "_reused", "accounts", "clients", "generations", "orders")

    def __init__(self, capacity: int, window_ns: int) -> None:
        self.orders: dict[str, Order] = {}
        self.clients: dict[str, Client] = {}
        self.accounts: dict[tuple[str, str], Account] = {}
        """By client id and instrument."""
        self.generations = Generations(capacity, window_ns)
        self._closed: deque[Order] = deque()
        # Orders in `_closed` that are no longer in `orders`, because their ids were used again.
        self._reused = 0

    def find(self, order_id: str) -> Order | None:
        """The open or remembered order of this id."""
        order = self.orders.get(order_id)
        if order is None or self.is_forgotten(order):
            return None
        return order

    def is_forgotten(self, order: Order) -> bool:
        """Whether it ended too long ago."""
        return 0 < order.closed_sequence <= self.generations.forgotten_sequence

    def client(self, client_id: str) -> Client:
        """The client, made when first asked for."""
        client = self.clients.get(client_id)
        if client is None:
            client = self.clients[client_id] = Client(client_id)
        return client

    def account(self, client: Client, market: Market) -> Account:
        """The client's account in this instrument, made when first asked for."""
        account = client.accounts.get(market.name)
        if account is None:
            account = client.accounts[market.name] = Account(client, market)
            self.accounts[client.client_id, market.name] = account
        return account

    def make_way(self, order_id: str) -> None:
        """Drop a forgotten order before its id is used again: the index is in placing order."""
        if self.orders.pop(order_id, None) is not None:
            self._reused += 1

    def close(self, order: Order, sequence: int, time_ns: int) -> None:
        """Remember that an order was ended by the command that is being applied."""
        order.closed_sequence = sequence
        order.updated_ns = time_ns
        self._closed.append(order)
        # `generations.add`, spelled out: every order comes by here.
        generations = self.generations
        if generations.count >= generations.seal_count or time_ns >= generations.seal_ns:
            generations.seal(sequence, time_ns)
        generations.last_sequence = sequence
        generations.count += 1
        if generations.surplus:
            self._give_back(min(2, generations.surplus))

    def _give_back(self, count: int) -> None:
        self.generations.surplus -= count
        for _ in range(count):
            order = self._closed.popleft()
            if self.orders.get(order.order_id) is order:
                del self.orders[order.order_id]
            else:
                self._reused -= 1
            client = order.account.client
            client.forgotten += 1
            held = len(client.placed)
            if client.forgotten == held:
                if client.traded:
                    client.clear()
                else:
                    self._drop(client)
            elif client.forgotten >= client.compact_at and (
                client.compacted >= 0 or 2 * client.forgotten >= held
            ):
                client.compact(self.generations.forgotten_sequence)

    def _drop(self, client: Client) -> None:
        del self.clients[client.client_id]
        for instrument in client.accounts:
            del self.accounts[client.client_id, instrument]

    @property
    def open_count(self) -> int:
        """Number of orders that are open."""
        return len(self.orders) + self._reused - len(self._closed)

    def newest_first(
        self, client_id: str, before_sequence: int, only_open: bool = False
    ) -> Iterator[Order]:
        """Orders of a client, or of all, placed before this sequence (0: any). With `only_open` one
        that ended may be missing."""
        candidates: Iterator[Order] = reversed(self.orders.values())
        if client_id:
            client = self.clients.get(client_id)
            if client is None:
                return
            placed = client.placed
            end = len(placed)
            if before_sequence:
                end = bisect_left(placed, before_sequence, key=_placed_sequence)
            if not only_open or end < len(client.open):
                for index in range(end - 1, -1, -1):
                    yield placed[index]
                return
            candidates = reversed(client.open)
        for order in candidates:
            if not before_sequence or order.placed_sequence < before_sequence:
                yield order

    def page(
        self,
        client_id: str = "",
        instrument: str = "",
        side: int = 0,
        status: int = 0,
        before_sequence: int = 0,
        limit: int = 100,
        working: bool = False,
    ) -> list[Order]:
        """Open and remembered orders, newest first by placing sequence, filtered; `working` lets
        only those through that are in the book."""
        found: list[Order] = []
        only_open = working or status in (OPEN, PARTIALLY_FILLED)
        for order in self.newest_first(client_id, before_sequence, only_open):
            if len(found) >= limit:
                break
            if (
                (not instrument or order.instrument == instrument)
                and (not side or order.side == side)
                and (not status or order.status == status)
                and not (working and order.closed_sequence)
                and not self.is_forgotten(order)
            ):
                found.append(order)
        return found

    def kept_orders(self) -> Iterator[Order]:
        """Every open and remembered order, in placing order."""
        forgotten_sequence = self.generations.forgotten_sequence
        for order in self.orders.values():
            if not 0 < order.closed_sequence <= forgotten_sequence:
                yield order

    def load_closed(self, order: Order) -> None:
        """Take over an order that had ended; in the order in which they did."""
        self._closed.append(order)
