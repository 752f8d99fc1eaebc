"""What the engine reads of a client's list of orders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from server.core.engine import Engine
from server.core.orders import Order


class WatchedOrders(list[Order]):
    """Counts the orders that are read."""

    read = 0

    def __iter__(self) -> Iterator[Order]:
        self.read += len(self)
        return super().__iter__()

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        self.read += len(found) if isinstance(index, slice) else 1
        return found


def watch(engine: Engine, client_id: str) -> WatchedOrders:
    """The list of a client who has placed nothing yet."""
    client = engine.directory.client(client_id)
    assert not client.accounts, f"{client_id} has placed orders"
    client.placed = watched = WatchedOrders()
    return watched
