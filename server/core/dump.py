"""The whole state as plain data, and back, and its hash.

`dump` gives (section, rows) in a fixed order, in chunks of bounded size; a row holds integers,
strings, booleans, None and lists or tuples of these, so that any plain format can carry it (money
may exceed 64 bits). What it gives depends only on the commands that were applied: not on the
machine, on string hashing, on whether the engine was itself loaded, or on memory that is yet to be
given back for what is already forgotten. `state_hash` is a digest of exactly that.

`load` takes the same, with lists for tuples if need be, and gives an engine that behaves alike from
then on. It trusts its input: whoever reads a file checks it first.

The sections, in this order, and why each is enough:

- `engine`: rules version, sequence, time, limits and what the configuration file last said;
- `fees`, `instruments`, `configured`: in listing order;
- `trades`, `bars`: recent trades and 24 hours of minutes, oldest first;
- `accounts`: those that traded, by first fill within an instrument;
- `sessions`: open ones, oldest first;
- `orders`: open and remembered, in placing order; open quantities and what a client or session has
  open follow from them;
- `queues`: the ids of the resting orders of each book, bids first, best price first, oldest first;
- `generations`, `keys`: how far back orders and keys are remembered, and the keys by sequence.

No command may be applied while a dump is being read.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any, Final

from server.core.book import BookSide, Level
from server.core.engine import RULES_VERSION, Engine
from server.core.events import OrderAccepted, Traded
from server.core.instruments import Instrument, Limits
from server.core.market import Bar, Market
from server.core.orders import Order
from server.core.state import Session
from server.core.types import OPEN

ROWS_MAX: Final = 10_000
"""Rows of a chunk: a few megabytes at most while one is encoded."""

_MARSHAL_VERSION: Final = 2
"""The last one without references and interned text: equal data gives equal bytes. It is what the
hash is made of, five times faster than `repr`; nothing is ever read back with it."""

Row = Sequence[Any]
Chunk = tuple[str, list[Row]]


def dump(engine: Engine) -> Iterator[Chunk]:
    """Give all state, section by section."""
    markets = engine.markets.values()
    sections: tuple[tuple[str, Iterable[Row]], ...] = (
        ("engine", _engine_rows(engine)),
        ("fees", engine.fee_accounts().items()),
        ("instruments", ((*market.definition, market.last_price_e8) for market in markets)),
        ("configured", (tuple(each) for each in engine.configured_instruments.values())),
        (
            "trades",
            (
                (sequence, index, time_ns, *trade)
                for market in markets
                for sequence, index, time_ns, trade in market.trades
            ),
        ),
        ("bars", ((market.name, *bar.row()) for market in markets for bar in market.bars)),
        ("accounts", (account.row() for market in markets for account in market.accounts)),
        ("sessions", ((number, each.client_id) for number, each in engine.sessions.items())),
        ("orders", map(Order.row, engine.directory.kept_orders())),
        (
            "queues",
            ((order.order_id,) for market in markets for order in market.book.resting()),
        ),
        ("generations", _generation_rows(engine)),
        ("keys", engine.keys.rows()),
    )
    for name, rows in sections:
        remaining = iter(rows)
        while chunk := list(islice(remaining, ROWS_MAX)):
            yield name, chunk


def _engine_rows(engine: Engine) -> Iterator[Row]:
    configured = engine.configured_limits
    yield (
        RULES_VERSION,
        engine.sequence,
        engine.time_ns,
        tuple(engine.limits),
        None if configured is None else tuple(configured),
    )


def _generation_rows(engine: Engine) -> Iterator[Row]:
    yield "orders", *engine.directory.generations.dump()
    yield "keys", *engine.keys.generations.dump()


def load(chunks: Iterable[tuple[str, Iterable[Row]]]) -> Engine:
    """An engine with the state that was dumped."""
    engine = Engine()
    closed: list[Order] = []
    for name, rows in chunks:
        if name == "orders":
            closed += _load_orders(engine, rows)
        elif name == "queues":
            _load_queues(engine, rows)
        else:
            loader = _LOADERS[name]
            for row in rows:
                loader(engine, row)
    # In the order in which they ended, as far as the order matters: the sort is stable.
    closed.sort(key=lambda order: order.closed_sequence)
    for order in closed:
        engine.directory.load_closed(order)
    for market in engine.markets.values():
        for side in (market.book.bids, market.book.asks):
            side.keys.reverse()
    return engine


def _load_engine(engine: Engine, row: Row) -> None:
    rules_version, engine.sequence, engine.time_ns, limits, configured = row
    # An older release's clean stop leaves its state to this one; a newer one's can't be judged.
    assert rules_version <= RULES_VERSION, f"state of rules version {rules_version}"
    engine.take_limits(Limits(*limits))
    engine.configured_limits = None if configured is None else Limits(*configured)


def _load_fees(engine: Engine, row: Row) -> None:
    currency, balance_e8 = row
    engine.fee_account(currency).balance_e8 = balance_e8


def _load_instrument(engine: Engine, row: Row) -> None:
    *definition, last_price_e8 = row
    engine.list_market(Instrument(*definition)).last_price_e8 = last_price_e8


def _load_configured(engine: Engine, row: Row) -> None:
    configured = Instrument(*row)
    engine.configured_instruments[configured.name] = configured


def _load_trade(engine: Engine, row: Row) -> None:
    sequence, index, time_ns, *fields = row
    trade = Traded(*fields)
    engine.markets[trade.instrument].trades.append((sequence, index, time_ns, trade))


def _load_bar(engine: Engine, row: Row) -> None:
    instrument, minute, open_e8, *rest = row
    bar = Bar(minute, open_e8)
    (
        bar.high_e8, bar.low_e8, bar.close_e8,
        bar.volume_e8, bar.notional_e16, bar.price_sum_e8, bar.count,
    ) = rest  # fmt: skip
    engine.markets[instrument].bars.append(bar)


def _load_account(engine: Engine, row: Row) -> None:
    client_id, instrument, *numbers = row
    market = engine.markets[instrument]
    account = engine.directory.account(engine.directory.client(client_id), market)
    account.start_trading()
    (
        account.net_e8,
        account.cost_e16,
        account.realised_e16,
        account.fees_e8,
        account.updated_ns,
    ) = numbers
    market.placed_e8 += abs(account.net_e8)


def _load_session(engine: Engine, row: Row) -> None:
    session_id, client_id = row
    engine.sessions[session_id] = Session(client_id)


def _load_orders(engine: Engine, rows: Iterable[Row]) -> Iterator[Order]:
    """Load the orders that had ended, none queued or counted as closed. A dump has no id twice."""
    directory, accounts, new = engine.directory, engine.directory.accounts, tuple.__new__
    prices: dict[int, int] = {}
    make, orders = object.__new__, directory.orders
    for row in rows:
        (
            order_id, client_id, reference, instrument, side, order_type, time_in_force, post_only,
            prevention, placed_sequence, created_ns, session_id, price_e8, quantity_e8, filled_e8,
            remaining_e8, reason, updated_ns, closed_sequence,
        ) = row  # fmt: skip
        account = accounts.get((client_id, instrument))
        if account is None:
            market = engine.markets[instrument]
            account = directory.account(directory.client(client_id), market)
        market = account.market
        # Equal names and numbers are kept once, as they are in an engine that took the order.
        price_e8 = prices.setdefault(price_e8, price_e8)
        accepted = new(OrderAccepted, (
            order_id, account.client_id, reference, market.name, side, order_type, time_in_force,
            post_only, prevention, price_e8, quantity_e8, 0, quantity_e8, 0, OPEN,
            placed_sequence, created_ns, session_id, 0, 0,
        ))  # fmt: skip
        # A million of them are made at a start: `Order()` would take a third longer.
        order = make(Order)
        order.accepted = accepted
        order.account = account
        order.price_e8 = price_e8
        order.quantity_e8 = quantity_e8
        order.filled_e8 = filled_e8
        order.remaining_e8 = quantity_e8 if remaining_e8 == quantity_e8 else remaining_e8
        order.reason = reason
        order.updated_ns = created_ns if created_ns == updated_ns else updated_ns
        order.closed_sequence = closed_sequence
        order.level = order.earlier = order.later = None
        orders[order_id] = order
        account.placed.append(order)
        if closed_sequence:
            yield order
            continue
        market.placed_e8 += remaining_e8
        account.open_e8[side] += remaining_e8
        account.open[order] = None
        if session_id:
            engine.sessions[session_id].open[order] = None


def _load_queues(engine: Engine, rows: Iterable[Row]) -> None:
    orders = engine.directory.orders
    level: Level | None = None
    market: Market | None = None
    for (order_id,) in rows:
        order = orders[order_id]
        # Most rest behind the one before. No price is on both sides of a book.
        if level is None or order.price_e8 != level.price_e8 or order.account.market is not market:
            market = order.account.market
            level = _level_of(market.book.side(order.side), order)
        if level.head is not order:
            newest = level.tail
            newest.later = level.tail = order
            order.earlier = newest
        order.level = level
        level.quantity_e8 += order.remaining_e8
        level.side.order_count += 1


def _level_of(side: BookSide, order: Order) -> Level:
    """Where an order rests, made with its first one."""
    level = side.levels.get(order.price_e8)
    if level is None:
        level = side.levels[order.price_e8] = Level(side, order)
        # Each price is worse than those before it: one by one all would move for each.
        side.keys.append(level.key)
    return level


def _load_generations(engine: Engine, row: Row) -> None:
    name, *numbers = row
    kept = engine.directory.generations if name == "orders" else engine.keys.generations
    kept.load(numbers)


def _load_key(engine: Engine, row: Row) -> None:
    engine.keys.load(*row)


_LOADERS: Final = {
    "engine": _load_engine,
    "fees": _load_fees,
    "instruments": _load_instrument,
    "configured": _load_configured,
    "trades": _load_trade,
    "bars": _load_bar,
    "accounts": _load_account,
    "sessions": _load_session,
    "generations": _load_generations,
    "keys": _load_key,
}


class StateHash:
    """The hash of a state, of its chunks as they pass in the order of `dump`."""

    def __init__(self) -> None:
        self._digest = blake2b(digest_size=32)

    def add(self, name: str, rows: Iterable[Row]) -> None:
        """The next chunk, as `dump` gives it or with tuples for lists."""
        self._digest.update(name.encode())
        if name == "generations":
            # The one section with lists in its rows.
            rows = [(*row[:-1], list(row[-1])) for row in rows]
        # Plain data has one form in this version of the format, which knows no references.
        self._digest.update(marshal.dumps(list(rows), _MARSHAL_VERSION))

    def digest(self) -> bytes:
        """Give the hash, 32 bytes."""
        return self._digest.digest()


def state_hash(engine: Engine) -> bytes:
    """32 bytes that two engines share if and only if their state is the same."""
    made = StateHash()
    for name, rows in dump(engine):
        made.add(name, rows)
    return made.digest()
