"""The statements of a rebuild: copies of the tables, their comparison, and what mends them.

The copies have neither foreign keys nor any index but the primary key and that of open orders,
which the follower's own statements need; the large ones have none, so that they fill quickly.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

SCHEMA: Final = "exchange_rebuild"


class Table(NamedTuple):
    """A table that is a fold of the journal."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    """All columns but those of the key."""
    bound: str = ""
    """Which rows a fold of a journal that begins at sequence `{first}`, and ends at `{last}` in
    the minute `{minute}`, makes as they were; of `had` in the tables and `made` in the copies."""
    unknown: tuple[str, ...] = ()
    """Columns that such a fold can't tell for all of its rows."""

    @property
    def names(self) -> tuple[str, ...]:
        """List all columns, in the order in which rows are written."""
        return *self.key, *self.columns

    def kept(self, first_sequence: int, last_sequence: int, last_minute: int) -> str:
        """The condition for such a journal."""
        bound = self.bound.format(first=first_sequence, last=last_sequence, minute=last_minute)
        return bound or "TRUE"

    def _joined(self) -> str:
        keys = ", ".join(self.key)
        return f"{self.name} AS had FULL JOIN {SCHEMA}.{self.name} AS made USING ({keys})"

    def compared(self, bound: str) -> str:
        """How many rows there are; and of them missing, surplus and differing."""
        unknown = self.unknown if bound else ()
        known = [name for name in self.columns if name not in unknown]
        had = ", ".join(f"had.{name}" for name in known)
        made = ", ".join(f"made.{name}" for name in known)
        key = self.key[0]
        return (
            f"SELECT count(*), count(*) FILTER (WHERE had.{key} IS NULL),"
            f" count(*) FILTER (WHERE made.{key} IS NULL), count(*) FILTER (WHERE"
            f" had.{key} IS NOT NULL AND made.{key} IS NOT NULL"
            f" AND ROW({had}) IS DISTINCT FROM ROW({made}))"
            f" FROM {self._joined()} WHERE {bound or 'TRUE'}"
        )

    def mended(self, bound: str) -> str:
        """Every copy put in its place, where the row is another or none."""
        names = ", ".join(self.names)
        values = ", ".join(f"made.{name}" for name in self.names)
        known = [name for name in self.columns if not bound or name not in self.unknown]
        had = ", ".join(f"had.{name}" for name in known)
        made = ", ".join(f"made.{name}" for name in known)
        same = " AND ".join(f"had.{name} = made.{name}" for name in self.key)
        new = ", ".join(f"{name} = excluded.{name}" for name in known)
        return (
            f"INSERT INTO {self.name} ({names}) SELECT {values}"
            f" FROM {SCHEMA}.{self.name} AS made LEFT JOIN {self.name} AS had ON {same}"
            f" WHERE had.{self.key[0]} IS NULL OR ROW({had}) IS DISTINCT FROM ROW({made})"
            f" ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {new}"
        )

    def rid(self, bound: str) -> str:
        """Write the statement that deletes rows for which there is no copy."""
        keys = ", ".join(self.key)
        same = " AND ".join(f"it.{name} = surplus.{name}" for name in self.key)
        return (
            f"DELETE FROM {self.name} AS it USING (SELECT {keys}"
            f" FROM {self.name} AS had LEFT JOIN {SCHEMA}.{self.name} AS made"
            f" USING ({keys}) WHERE made.{self.columns[0]} IS NULL"
            f" AND ({bound or 'TRUE'})) AS surplus WHERE {same}"
        )


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TABLES: Final = (
    Table(
        "instruments",
        ("instrument",),
        _names(
            "tick lot price_min price_max quantity_min quantity_max maker_fee taker_fee"
            " self_trade_prevention sequence"
        ),
        unknown=("sequence",),
    ),
    Table(
        "orders",
        ("placed_sequence",),
        _names(
            "order_id client_id client_reference instrument side type time_in_force post_only"
            " self_trade_prevention price quantity filled_quantity remaining_quantity"
            " cancelled_quantity status end_reason session_id created_at created_ns updated_ns"
            " updated_sequence"
        ),
        "placed_sequence >= {first} OR made.order_id IS NOT NULL",
        ("updated_sequence",),
    ),
    Table(
        "trades",
        ("sequence", "event_index", "timestamp"),
        _names(
            "time_ns instrument price quantity aggressor_side maker_order_id maker_client_id"
            " maker_placed_sequence maker_fee taker_order_id taker_client_id"
            " taker_placed_sequence taker_fee"
        ),
        "sequence >= {first}",
    ),
    Table(
        "order_events",
        ("sequence", "event_index", "timestamp"),
        _names("time_ns kind placed_sequence event_data"),
        "sequence >= {first}",
    ),
    Table(
        "orderbook_snapshots",
        ("instrument", "sequence"),
        _names("time_ns bids asks"),
        "made.time_ns IS NOT NULL OR sequence > {last}",
    ),
    Table(
        "client_positions",
        ("client_id", "instrument"),
        _names("net_quantity total_cost realised_pnl fees updated_ns"),
    ),
    Table(
        "minute_bars",
        ("instrument", "minute"),
        _names("open high low close volume notional trade_count price_sum"),
        "made.open IS NOT NULL OR minute > {minute}",
    ),
    Table("fees", ("currency",), ("balance",)),
)
"""In an order in which each may refer to those before it."""

_PARTITIONED: Final = ("trades", "order_events")
_OTHERS: Final = "INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING IDENTITY"
"""What fills columns that somebody else has added."""
_OPEN: Final = "status IN ('open', 'partially_filled')"


def copies() -> Iterator[str]:
    """What makes empty copies, those of an earlier run dropped."""
    yield f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"
    yield f"CREATE SCHEMA {SCHEMA}"
    for table in TABLES:
        made, had = f"{SCHEMA}.{table.name}", table.name
        if table.name in _PARTITIONED:
            yield f"CREATE TABLE {made} (LIKE {had} {_OTHERS}) PARTITION BY RANGE (timestamp)"
        else:
            key = ", ".join(table.key)
            yield f"CREATE UNLOGGED TABLE {made} (LIKE {had} {_OTHERS}, PRIMARY KEY ({key}))"
    yield f"CREATE INDEX ON {SCHEMA}.orders (instrument) WHERE {_OPEN}"
    yield f"CREATE TABLE {SCHEMA}.follower_positions (LIKE follower_positions INCLUDING ALL)"
