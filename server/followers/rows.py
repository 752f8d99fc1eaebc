"""From journal records to rows: a fold, without a database.

A `Batch` takes records in and holds what a transaction is to write, as lines of COPY's text
format: names are ASCII without anything that would need escaping (the engine checks them), and an
exact decimal is an integer with an exponent, `7015050000000e-8`.

An order accepted in the batch is written once, as it stands at the end; one from before is updated
once, `changed` holding nulls for what stayed as it was. A trade tells of an order only what is
filled and what remains; which status follows from that needs the quantity, so for an order from
before it is left to the database (see `postgres.py`).

Positions are booked by the engine's own rules (`server/core/accounts.py`).
"""

import json
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, Final, NamedTuple

from server.core.accounts import Account, FeeAccount
from server.core.directory import Client
from server.core.events import (
    EVENT_KINDS,
    Event,
    InstrumentSet,
    OrderAccepted,
    OrderEvent,
    Traded,
)
from server.core.instruments import Instrument
from server.core.market import MINUTE_NS, Bar, Market
from server.core.types import BUY, FILLED, PARTIALLY_FILLED
from server.core.words import SIDES, STATUSES, TIMES_IN_FORCE, TYPES
from server.journal.record import Record

_TEXTS: Final = frozenset(
    name
    for event in (OrderEvent, Traded)
    for name, kind in event.__annotations__.items()
    if kind is str or kind == "str"
)


def _fields(event: type[Any], *left_out: str) -> list[str]:
    """List its fields in the order in which JSONB keeps them: nothing is left to be sorted."""
    return sorted({*event._fields} - {*left_out}, key=lambda name: (len(name), name))


def _template(event: type[Any], **said: str) -> str:
    """An event as JSON, by `%` with the fields of which nothing is said here."""
    texts = {name: '"%s"' if name in _TEXTS else "%d" for name in event._fields} | said
    return "{" + ",".join(f'"{name}":{texts[name]}' for name in _fields(event)) + "}"


_ORDER: Final = tuple(_template(OrderEvent, post_only=each) for each in ("false", "true"))
_of_order: Final = itemgetter(*map(OrderEvent._fields.index, _fields(OrderEvent, "post_only")))
_TRADED: Final = _template(Traded)
_of_traded: Final = itemgetter(*map(Traded._fields.index, _fields(Traded)))

_TRADED_KIND: Final = EVENT_KINDS[Traded]


class Standing:
    """An order as it stands at the end of a batch: its last event, and what was filled since."""

    __slots__ = ("event", "filled_e8", "remaining_e8", "sequence", "status", "updated_ns")

    def __init__(self, event: OrderEvent, updated_ns: int, sequence: int) -> None:
        self.event = event
        self.filled_e8 = event.filled_e8
        self.remaining_e8 = event.remaining_e8
        self.status = event.status
        self.updated_ns = updated_ns
        self.sequence = sequence
        """Of the command that changed it last."""

    @property
    def reason(self) -> int:
        """Why it ended, if other than by trades; an order that is open has none."""
        return self.event.reason if self.event.status >= FILLED else 0


class Filled(NamedTuple):
    """What trades tell of an order from before the batch."""

    filled_e8: int
    remaining_e8: int
    updated_ns: int
    sequence: int


class Accounts:
    """What is remembered of positions between batches; all of it can be read again."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], Account] = {}
        self._markets: dict[str, Market] = {}

    def add(self, client_id: str, instrument: str) -> Account:
        """Make an account without any fill yet."""
        market = self._markets.get(instrument)
        if market is None:
            quote = FeeAccount(instrument.partition("-")[2])
            market = self._markets[instrument] = Market(Instrument(instrument), quote)
        account = self.held[client_id, instrument] = Account(Client(client_id), market)
        return account

    def forget(self) -> None:
        """Start anew."""
        self.held.clear()
        self._markets.clear()


class Batch:
    """The rows of some records."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.trades: list[str] = []
        self.placed: dict[int, Standing] = {}
        """Orders accepted here, by placing sequence."""
        self.changed: dict[int, Standing | Filled] = {}
        """The same of orders from before."""
        self.instruments: dict[str, tuple[Instrument, int]] = {}
        self.bars: dict[tuple[str, int], Bar] = {}
        """The trades of these records only; what is there already is added to by the database."""
        self.fees_e8: dict[str, int] = {}
        self.fills: list[tuple[Traded, int]] = []
        """Trades with their time, for the positions."""
        self.sequence = self.time_ns = 0
        self.time = ""

    def take(self, record: Record) -> None:
        """Take in what happened in one commit."""
        self.time_ns = record.time_ns
        self.time = timestamp(record.time_ns)
        for sequence, events in enumerate(record.events(), record.first_sequence):
            self.sequence = sequence
            for index, event in enumerate(events):
                if type(event) is Traded:
                    self._traded(event, index)
                elif isinstance(event, OrderEvent):
                    self._ordered(event, index)
                else:
                    self._other(event, index)

    def account_keys(self) -> set[tuple[str, str]]:
        """Whose positions change."""
        makers = ((fill.maker_client_id, fill.instrument) for fill, _ in self.fills)
        takers = ((fill.taker_client_id, fill.instrument) for fill, _ in self.fills)
        return set(chain(makers, takers))

    def book(self, accounts: Accounts) -> list[Account]:
        """Book the trades: the accounts that changed. Those that are missing are new."""
        changed: dict[tuple[str, str], Account] = {}
        for fill, time_ns in self.fills:
            direction = 1 if fill.aggressor_side == BUY else -1
            for client_id, fee_e8, sign in (
                (fill.maker_client_id, fill.maker_fee_e8, -direction),
                (fill.taker_client_id, fill.taker_fee_e8, direction),
            ):
                key = (client_id, fill.instrument)
                account = accounts.held.get(key) or accounts.add(*key)
                change_e8 = sign * fill.quantity_e8
                account.fill(change_e8, change_e8 * fill.price_e8, fee_e8, time_ns)
                changed[key] = account
        return list(changed.values())

    def _row(self, kind: int, index: int, placed_sequence: int, event: str) -> None:
        self.events.append(
            f"{self.sequence}\t{index}\t{self.time}\t{self.time_ns}\t{kind}\t{placed_sequence}"
            f"\t{event}\n"
        )

    def _ordered(self, event: OrderEvent, index: int) -> None:
        placed_sequence = event.placed_sequence
        said = _ORDER[event.post_only] % _of_order(event)
        self._row(EVENT_KINDS[type(event)], index, placed_sequence, said)  # type: ignore[index]
        standing = Standing(event, self.time_ns, self.sequence)
        if type(event) is OrderAccepted or placed_sequence in self.placed:
            self.placed[placed_sequence] = standing
        else:
            self.changed[placed_sequence] = standing

    def _traded(self, event: Traded, index: int) -> None:
        taker_sequence = event.taker_placed_sequence
        self._row(_TRADED_KIND, index, taker_sequence, _TRADED % _of_traded(event))
        self.trades.append(
            f"{self.sequence}\t{index}\t{self.time}\t{self.time_ns}\t{event.instrument}"
            f"\t{event.price_e8}e-8\t{event.quantity_e8}e-8\t{SIDES[event.aggressor_side]}"
            f"\t{event.maker_order_id}\t{event.maker_client_id}\t{event.maker_placed_sequence}"
            f"\t{event.maker_fee_e8}e-8\t{event.taker_order_id}\t{event.taker_client_id}"
            f"\t{taker_sequence}\t{event.taker_fee_e8}e-8\n"
        )
        self._filled(event.maker_placed_sequence, event.maker_filled_e8, event.maker_remaining_e8)
        self._filled(taker_sequence, event.taker_filled_e8, event.taker_remaining_e8)
        self.fills.append((event, self.time_ns))
        currency = event.instrument.partition("-")[2]
        fees_e8 = event.maker_fee_e8 + event.taker_fee_e8
        self.fees_e8[currency] = self.fees_e8.get(currency, 0) + fees_e8
        self._bar(event)

    def _bar(self, event: Traded) -> None:
        minute, price_e8 = self.time_ns // MINUTE_NS, event.price_e8
        bar = self.bars.get((event.instrument, minute))
        if bar is None:
            bar = self.bars[event.instrument, minute] = Bar(minute, price_e8)
        bar.add(price_e8, event.quantity_e8)

    def _filled(self, placed_sequence: int, filled_e8: int, remaining_e8: int) -> None:
        standing = self.placed.get(placed_sequence) or self.changed.get(placed_sequence)
        if not isinstance(standing, Standing):
            filled = Filled(filled_e8, remaining_e8, self.time_ns, self.sequence)
            self.changed[placed_sequence] = filled
            return
        standing.filled_e8, standing.remaining_e8 = filled_e8, remaining_e8
        standing.status = PARTIALLY_FILLED if remaining_e8 else FILLED
        standing.updated_ns, standing.sequence = self.time_ns, self.sequence

    def _other(self, event: Event, index: int) -> None:
        if isinstance(event, InstrumentSet):
            self.instruments[event.definition.name] = (event.definition, self.sequence)
        value = event[0]
        said = value._asdict() if isinstance(value, tuple) else event._asdict()
        self._row(EVENT_KINDS[type(event)], index, 0, json.dumps(said))

    def placed_lines(self) -> str:
        """COPY text for `orders`."""
        return "".join(_line(placed, order) for placed, order in self.placed.items())

    def changed_columns(self) -> list[tuple[Any, ...]]:
        """Placing sequence, price, quantity, filled, remaining, status, reason, time and sequence
        of the changes, each a column; of what only traded, the rest is None."""
        rows = []
        for placed, order in self.changed.items():
            price = quantity = status = reason = None
            if isinstance(order, Standing):
                price, quantity = f"{order.event.price_e8}e-8", f"{order.event.quantity_e8}e-8"
                status, reason = STATUSES[order.status], order.reason
            filled, remaining = f"{order.filled_e8}e-8", f"{order.remaining_e8}e-8"
            updated = order.updated_ns, order.sequence
            rows.append((placed, price, quantity, filled, remaining, status, reason, *updated))
        return list(zip(*rows, strict=True))


def _line(placed_sequence: int, order: Standing) -> str:
    event = order.event
    cancelled_e8 = event.quantity_e8 - order.filled_e8 - order.remaining_e8
    return (
        f"{placed_sequence}\t{event.order_id}\t{event.client_id}\t{event.client_reference}"
        f"\t{event.instrument}\t{SIDES[event.side]}\t{TYPES[event.order_type]}"
        f"\t{TIMES_IN_FORCE[event.time_in_force]}\t{'t' if event.post_only else 'f'}"
        f"\t{event.self_trade_prevention}\t{event.price_e8}e-8\t{event.quantity_e8}e-8"
        f"\t{order.filled_e8}e-8\t{order.remaining_e8}e-8\t{cancelled_e8}e-8"
        f"\t{STATUSES[order.status]}\t{order.reason}\t{event.session_id}"
        f"\t{timestamp(event.created_ns)}\t{event.created_ns}\t{order.updated_ns}"
        f"\t{order.sequence}\n"
    )


@lru_cache(maxsize=1_024)
def timestamp(time_ns: int) -> str:
    """Write a time for PostgreSQL, cut to microseconds. Cached: a record's orders have one time."""
    return (
        datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        + f".{time_ns % 1_000_000_000 // 1_000:06}+00"
    )
