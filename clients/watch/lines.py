"""The view without a terminal: a line for each change, as text or as a JSON document.

Of the book only the best prices are told, once they or their quantities change; a line for each
change further out would be for nobody. The trades that are remembered at the start are told too.
"""

import sys

from clients.mirror import BookMirror
from clients.presentation import json_of, time_text
from clients.types import Level, OrderEvent, Trade
from clients.watch.view import Change, Interrupted, Restored


class LinePrinter:
    """Prints what changes."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._best: tuple[Level | None, Level | None] | None = None

    def tell(self, change: Change) -> None:
        """A line for this change, if it is one to tell."""
        if isinstance(change, BookMirror):
            self._book(change)
        elif isinstance(change, Trade):
            self._say("trade", _trade_text(change), trade=change)
        elif isinstance(change, OrderEvent):
            self._say("order", _order_text(change), event=change)
        elif isinstance(change, Interrupted):
            text = f"{change.stream} interrupted, trying again: {change.why}"
            self._say("interrupted", text, stream=change.stream, why=change.why)
        elif isinstance(change, Restored):
            self._say("restored", f"{change.stream} goes on", stream=change.stream)
        else:
            text = f"{change.stream} started afresh: {change.why}"
            self._say("restarted", text, stream=change.stream, why=change.why)

    def _book(self, book: BookMirror) -> None:
        bid, ask = best = book.best_bid, book.best_ask
        if best == self._best:
            return
        self._best = best
        text = f"{time_text(book.time)} book  bid {_level_text(bid)}  ask {_level_text(ask)}"
        self._say("book", text, sequence=book.sequence, time=book.time, bid=bid, ask=ask)

    def _say(self, kind: str, text: str, **fields: object) -> None:
        if self._as_json:
            text = json_of({"kind": kind, **fields}, indent=None)
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def _trade_text(trade: Trade) -> str:
    terms = f"{trade.aggressor_side} {trade.quantity:f} @ {trade.price:f}"
    return f"{time_text(trade.time)} trade {terms}"


def _order_text(event: OrderEvent) -> str:
    price = "" if event.price is None else f" @ {event.price:f}"
    return (
        f"{time_text(event.time)} order {event.order_id} {event.kind}: {event.side}{price}, "
        f"filled {event.filled_quantity:f}, remaining {event.remaining_quantity:f}"
    )


def _level_text(level: Level | None) -> str:
    return "-" if level is None else f"{level.quantity:f} @ {level.price:f}"
