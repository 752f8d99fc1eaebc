"""The agreed order stream, as rows and as commands."""

from __future__ import annotations

import csv
import gzip
from itertools import islice
from pathlib import Path
from typing import Final

from server.core.commands import CancelOrder, Command, PlaceOrder
from server.core.types import BUY, E8, GTC, IOC, LIMIT, MARKET, SELL

PATH: Final = Path(__file__).parent.parent / "tests" / "data" / "flow" / "orders.csv.gz"
CLIENTS: Final = 10
"""The stream names no clients; its orders are dealt to this many in turn."""

Row = tuple[str, int, int, int, str]
"""(operation, side, price, quantity, order id); 0 where a cancel or market order has none."""


def rows(count: int) -> list[Row]:
    """The first operations of the stream."""
    with gzip.open(PATH, "rt", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        return [
            (operation, BUY if side == "buy" else SELL, int(price or 0), int(quantity or 0), name)
            for operation, side, price, quantity, name in islice(reader, count)
        ]


def command(row: Row, instrument: str = "BTC-USD") -> Command:
    """The row as a command: whole ticks and lots become whole units."""
    operation, side, price, quantity, name = row
    client_id = f"client-{int(name) % CLIENTS}"
    if operation == "cancel":
        return CancelOrder(client_id, name)
    market = operation == "market"
    return PlaceOrder(
        client_id,
        instrument,
        side,
        MARKET if market else LIMIT,
        quantity * E8,
        0 if market else price * E8,
        GTC if operation == "limit" else IOC,
        order_id=name,
    )
