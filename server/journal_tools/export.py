"""The journal as three tables, for `exchange export`: trades, orders, events.

A table is a list of columns and a function that makes rows of a range of the journal, in one pass,
in the journal's order; whoever writes them down decides how a column looks (`UNITS`: integers of
10^-8, `TIME`: ns since 1970 UTC). The names are those of HTTP replies and of the tables.

- *trades*: each trade, as it happened. The append-only log of trades, in other words.
- *orders*: each order that was placed in the range, as it stood at the end of the range. Those that
  ended come first, by the command that ended them; then those still open, in placing order. Where
  the journal is damaged the range ends before that, which is raised once they are told.
- *events*: every event, with what most have in common, and all of its fields as one document.

A range is bounded by sequences and by times: the first sequence and the last both belong to it, a
time from which it begins does, the time at which it ends does not. Memory: one record, and for
*orders* what the range placed and did not end, about 1 KB each.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from server.core.commands import Command
from server.core.events import Event, OrderAccepted, OrderEvent, Traded
from server.core.instruments import Instrument, Limits
from server.core.types import OrderStatus, OrderType, Side
from server.core.words import END_REASONS, PREVENTIONS, SIDES, STATUSES, TIMES_IN_FORCE, TYPES
from server.journal.payload import PayloadInvalid
from server.journal.record import FrameBad, Record
from server.journal.refusals import JournalRefused

NUMBER: Final = "number"
UNITS: Final = "units"
TIME: Final = "time"
WORD: Final = "word"
FLAG: Final = "flag"
DOCUMENT: Final = "document"

DAMAGE: Final = (JournalRefused, FrameBad, PayloadInvalid)
"""What ends a journal that is read before its end."""

Row = tuple[Any, ...]
Happened = tuple[int, int, list[Event]]
"""Sequence, time, and what the command led to."""


class Column(NamedTuple):
    """One column; a value of None in it says that there is none."""

    name: str
    kind: str


class Table(NamedTuple):
    """What can be exported under a name."""

    columns: tuple[Column, ...]
    rows: Callable[[Iterable[Happened]], Iterator[Row]]


class Range(NamedTuple):
    """Which part of the journal; without anything else, all of it."""

    first_sequence: int = 1
    last_sequence: int = sys.maxsize
    from_ns: int = 0
    until_ns: int = sys.maxsize

    def happened(self, records: Iterable[Record]) -> Iterator[Happened]:
        """What lies within, of records in order; reads none behind it. Raises
        `PayloadInvalid`."""
        for record in records:
            if record.first_sequence > self.last_sequence or record.time_ns >= self.until_ns:
                return
            if record.last_sequence < self.first_sequence or record.time_ns < self.from_ns:
                continue
            for sequence, events in enumerate(record.events(), record.first_sequence):
                if self.first_sequence <= sequence <= self.last_sequence:
                    yield sequence, record.time_ns, events


def _trades(happened: Iterable[Happened]) -> Iterator[Row]:
    for sequence, time_ns, events in happened:
        for index, event in enumerate(events):
            if type(event) is Traded:
                bought = event.aggressor_side == Side.BUY
                orders = (event.taker_order_id, event.maker_order_id)
                yield (
                    f"T{sequence}-{index}",
                    sequence,
                    index,
                    time_ns,
                    event.instrument,
                    event.price_e8,
                    event.quantity_e8,
                    SIDES[event.aggressor_side],
                    event.maker_order_id,
                    event.maker_client_id,
                    event.maker_reference,
                    event.taker_order_id,
                    event.taker_client_id,
                    event.taker_reference,
                    event.maker_fee_e8,
                    event.taker_fee_e8,
                    *(orders if bought else orders[::-1]),
                )


class _Standing:
    """An order of the range, as far as the range has been read."""

    __slots__ = ("event", "filled_e8", "remaining_e8", "time_ns")

    def __init__(self, event: OrderEvent, time_ns: int) -> None:
        self.take(event, time_ns)

    def take(self, event: OrderEvent, time_ns: int) -> None:
        """Make it stand as this event says."""
        self.event = event
        self.filled_e8 = event.filled_e8
        self.remaining_e8 = event.remaining_e8
        self.time_ns = time_ns

    def fill(self, filled_e8: int, remaining_e8: int, time_ns: int) -> None:
        """Take in a fill."""
        self.filled_e8 = filled_e8
        self.remaining_e8 = remaining_e8
        self.time_ns = time_ns

    def row(self) -> Row:
        event, filled_e8 = self.event, self.filled_e8
        status = event.status
        if filled_e8 != event.filled_e8:
            status = OrderStatus.PARTIALLY_FILLED if self.remaining_e8 else OrderStatus.FILLED
        return (
            event.order_id,
            event.client_id,
            event.client_reference,
            event.instrument,
            SIDES[event.side],
            TYPES[event.order_type],
            TIMES_IN_FORCE[event.time_in_force],
            event.post_only,
            PREVENTIONS[event.self_trade_prevention],
            event.price_e8 if event.order_type == OrderType.LIMIT else None,
            event.quantity_e8,
            filled_e8,
            self.remaining_e8,
            event.quantity_e8 - filled_e8 - self.remaining_e8,
            STATUSES[status],
            END_REASONS.get(event.reason) if status in _ENDED_BY_REASON else None,
            event.placed_sequence,
            event.created_ns,
            self.time_ns,
        )


_ENDED_BY_REASON: Final = (OrderStatus.CANCELLED, OrderStatus.REJECTED)


def _orders(happened: Iterable[Happened]) -> Iterator[Row]:
    standing: dict[int, _Standing] = {}
    damage: Exception | None = None
    try:
        for _, time_ns, events in happened:
            touched: dict[int, _Standing] = {}
            for event in events:
                touched |= _moved_on(standing, event, time_ns)
            for placed_sequence, order in touched.items():
                if not order.remaining_e8:
                    yield order.row()
                    del standing[placed_sequence]
    except DAMAGE as found:
        damage = found
    for order in standing.values():
        yield order.row()
    if damage is not None:
        raise damage


def _moved_on(
    standing: dict[int, _Standing], event: Event, time_ns: int
) -> Iterator[tuple[int, _Standing]]:
    """The orders of the range that an event is about, after it."""
    if isinstance(event, Traded):
        for placed_sequence, filled_e8, remaining_e8 in (
            (event.maker_placed_sequence, event.maker_filled_e8, event.maker_remaining_e8),
            (event.taker_placed_sequence, event.taker_filled_e8, event.taker_remaining_e8),
        ):
            order = standing.get(placed_sequence)
            if order is not None:
                order.fill(filled_e8, remaining_e8, time_ns)
                yield placed_sequence, order
    elif isinstance(event, OrderAccepted):
        order = standing[event.placed_sequence] = _Standing(event, time_ns)
        yield event.placed_sequence, order
    elif isinstance(event, OrderEvent):
        order = standing.get(event.placed_sequence)
        if order is not None:
            order.take(event, time_ns)
            yield event.placed_sequence, order


def _events(happened: Iterable[Happened]) -> Iterator[Row]:
    for sequence, time_ns, events in happened:
        for index, event in enumerate(events):
            about = event if isinstance(event, OrderEvent) else None
            traded = event if isinstance(event, Traded) else None
            either = about or traded
            yield (
                sequence,
                index,
                time_ns,
                type(event).__name__,
                either.instrument if either else None,
                about.order_id if about else None,
                about.client_id if about else None,
                fields(event),
            )


def fields(item: Event | Command) -> dict[str, Any]:
    """Give all fields by their names, integers in the units that the names say."""
    return {
        name: field._asdict() if isinstance(field, Instrument | Limits) else field
        for name, field in item._asdict().items()
    }


TABLES: Final[dict[str, Table]] = {
    "trades": Table(
        (
            Column("trade_id", WORD),
            Column("sequence", NUMBER),
            Column("index", NUMBER),
            Column("timestamp", TIME),
            Column("instrument", WORD),
            Column("price", UNITS),
            Column("quantity", UNITS),
            Column("aggressor_side", WORD),
            Column("maker_order_id", WORD),
            Column("maker_client_id", WORD),
            Column("maker_reference", WORD),
            Column("taker_order_id", WORD),
            Column("taker_client_id", WORD),
            Column("taker_reference", WORD),
            Column("maker_fee", UNITS),
            Column("taker_fee", UNITS),
            Column("buy_order_id", WORD),
            Column("sell_order_id", WORD),
        ),
        _trades,
    ),
    "orders": Table(
        (
            Column("order_id", WORD),
            Column("client_id", WORD),
            Column("client_reference", WORD),
            Column("instrument", WORD),
            Column("side", WORD),
            Column("type", WORD),
            Column("time_in_force", WORD),
            Column("post_only", FLAG),
            Column("self_trade_prevention", WORD),
            Column("price", UNITS),
            Column("quantity", UNITS),
            Column("filled_quantity", UNITS),
            Column("remaining_quantity", UNITS),
            Column("cancelled_quantity", UNITS),
            Column("status", WORD),
            Column("end_reason", WORD),
            Column("placed_sequence", NUMBER),
            Column("created_at", TIME),
            Column("updated_at", TIME),
        ),
        _orders,
    ),
    "events": Table(
        (
            Column("sequence", NUMBER),
            Column("index", NUMBER),
            Column("timestamp", TIME),
            Column("kind", WORD),
            Column("instrument", WORD),
            Column("order_id", WORD),
            Column("client_id", WORD),
            Column("event", DOCUMENT),
        ),
        _events,
    ),
}
