"""How answers look on a terminal: aligned columns for people, JSON for programs.

JSON holds the fields of `clients.types` by their names: decimals as strings, exact; times in
RFC 3339; whole numbers as numbers.
"""

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from clients.types import Book, CancelledAll, Level, Order, Placed, Trade

ORDER_COLUMNS = ("order", "client", "side", "quantity", "instrument", "price", "filled", "status")
TRADE_COLUMNS = ("time", "side", "quantity", "price", "maker", "taker")


class Answer(NamedTuple):
    """What a command found, and how people read it."""

    value: object
    lines: list[str]


def json_of(value: object) -> str:
    """Indented, so that people can read it too."""
    return json.dumps(_plain(value), indent=2)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return _time(value)
    return value


def placed_lines(placed: Placed) -> list[str]:
    """The order, and its trades on arrival."""
    lines = order_lines(placed.order)
    if placed.repeated:
        lines.append("as first answered: this key was used before")
    if placed.trades:
        lines += ["", *trades_lines(placed.trades)]
    if placed.trade_count > len(placed.trades):
        lines.append(f"and {placed.trade_count - len(placed.trades)} more trades")
    return lines


def cancelled_lines(cancelled: CancelledAll) -> list[str]:
    """How many, and which, as they ended."""
    lines = [f"{cancelled.cancelled_count} cancelled"]
    return lines + orders_lines(cancelled.orders) if cancelled.orders else lines


def order_lines(order: Order) -> list[str]:
    """One order, a line for what it is and a line for what became of it."""
    terms = [order.time_in_force.value]
    terms += ["post-only"] if order.post_only else []
    price = "market" if order.price is None else f"@ {_decimal(order.price)}"
    ended = f" ({order.end_reason.value.replace('_', ' ')})" if order.end_reason else ""
    what = f"{order.client_id} {order.side} {_decimal(order.quantity)} {order.instrument} {price}"
    became = (
        f"filled {_decimal(order.filled_quantity)}, "
        f"remaining {_decimal(order.remaining_quantity)}, "
        f"cancelled {_decimal(order.cancelled_quantity)}"
    )
    return [
        f"{order.order_id}  {what} {' '.join(terms)}",
        f"{order.status.replace('_', ' ')}{ended}: {became}",
    ]


def orders_lines(orders: Sequence[Order]) -> list[str]:
    """A row for each."""
    rows = [
        (
            order.order_id,
            order.client_id,
            order.side.value,
            _decimal(order.quantity),
            order.instrument,
            "market" if order.price is None else _decimal(order.price),
            _decimal(order.filled_quantity),
            order.status.value,
        )
        for order in orders
    ]
    return _table(ORDER_COLUMNS, rows, right={"quantity", "price", "filled"}) or ["no orders"]


def trades_lines(trades: Sequence[Trade]) -> list[str]:
    """The side is that of the taker."""
    rows = [
        (
            _time(trade.time),
            trade.aggressor_side.value,
            _decimal(trade.quantity),
            _decimal(trade.price),
            trade.maker_order_id,
            trade.taker_order_id,
        )
        for trade in trades
    ]
    return _table(TRADE_COLUMNS, rows, right={"quantity", "price"}) or ["no trades"]


def book_lines(book: Book) -> list[str]:
    """Asks above bids, the best two prices in the middle."""
    rows = [("ask", *_level(level)) for level in reversed(book.asks)]
    rows += [("bid", *_level(level)) for level in book.bids]
    title = f"{book.instrument} at sequence {book.sequence}"
    columns = ("", "price", "quantity")
    return [title, *(_table(columns, rows, right={"price", "quantity"}) or ["empty"])]


def _level(level: Level) -> tuple[str, str]:
    return _decimal(level.price), _decimal(level.quantity)


def _decimal(value: Decimal) -> str:
    return f"{value:f}"


def _time(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: set[str]) -> list[str]:
    if not rows:
        return []
    cells = [columns, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ).rstrip()
        for row in cells
    ]
