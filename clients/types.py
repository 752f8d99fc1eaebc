"""What the exchange tells, as frozen values: decimals exact, times in UTC to the microsecond."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class Side(StrEnum):
    """Which side of the book an order is for."""

    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """Limit: trades at its price or better. Market: trades at whatever rests, and never rests."""

    LIMIT = "limit"
    MARKET = "market"


class TimeInForce(StrEnum):
    """How long what is not filled at once lives."""

    GOOD_TILL_CANCEL = "gtc"
    IMMEDIATE_OR_CANCEL = "ioc"
    FILL_OR_KILL = "fok"


class SelfTradePrevention(StrEnum):
    """What an incoming order does on meeting a resting order of the same client."""

    NONE = "none"
    CANCEL_NEWEST = "cancel_newest"
    CANCEL_OLDEST = "cancel_oldest"
    CANCEL_BOTH = "cancel_both"
    DECREMENT = "decrement"


WORKING = "working"
"""The word by which orders are filtered that are in the book: open or partially filled."""


class OrderStatus(StrEnum):
    """Where an order is in its life; the last three are final."""

    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


class EndReason(StrEnum):
    """Why an order lost quantity, or ended, other than by a trade."""

    CANCEL_REQUESTED = "cancel_requested"
    REPLACED_BELOW_FILLED = "replaced_below_filled"
    SESSION_ENDED = "session_ended"
    IMMEDIATE_OR_CANCEL = "immediate_or_cancel"
    NO_LIQUIDITY = "no_liquidity"
    FILL_OR_KILL = "fill_or_kill"
    POST_ONLY_WOULD_CROSS = "post_only_would_cross"
    SELF_TRADE_PREVENTION = "self_trade_prevention"


class OrderEventKind(StrEnum):
    """What happened to an order."""

    ACCEPTED = "accepted"
    REPLACED = "replaced"
    REDUCED = "reduced"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    FILLED = "filled"


@dataclass(frozen=True, slots=True)
class Order:
    """An order as it stood at a sequence: filled + remaining + cancelled = quantity."""

    order_id: str
    client_id: str
    client_reference: str
    instrument: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    post_only: bool
    self_trade_prevention: SelfTradePrevention
    price: Decimal | None
    """None for a market order."""
    quantity: Decimal
    filled_quantity: Decimal
    remaining_quantity: Decimal
    cancelled_quantity: Decimal
    status: OrderStatus
    end_reason: EndReason | None
    """None while it is open, when it was filled, or for a reason newer than this client."""
    placed_sequence: int
    created_time: datetime
    updated_time: datetime


@dataclass(frozen=True, slots=True)
class Trade:
    """A resting order (maker) and an incoming one (taker) met."""

    trade_id: str
    sequence: int
    index: int
    time: datetime
    instrument: str
    price: Decimal
    quantity: Decimal
    aggressor_side: Side
    maker_order_id: str
    maker_client_id: str
    taker_order_id: str
    taker_client_id: str
    maker_fee: Decimal
    taker_fee: Decimal


@dataclass(frozen=True, slots=True)
class Placed:
    """A place was accepted; the order may have ended by the rules since: see its status."""

    order: Order
    trades: tuple[Trade, ...]
    """At most 1,000; `trade_count` is how many there were."""
    trade_count: int
    sequence: int
    repeated: bool
    """Whether this is the first outcome again, under the same idempotency key."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """A replace was accepted."""

    order: Order
    trades: tuple[Trade, ...]
    trade_count: int
    sequence: int
    repeated: bool


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A cancel was accepted."""

    order: Order
    sequence: int
    repeated: bool


@dataclass(frozen=True, slots=True)
class CancelledAll:
    """A cancel-all was accepted."""

    orders: tuple[Order, ...]
    """At most 1,000; `cancelled_count` is how many there were."""
    cancelled_count: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Level:
    """One price of a book and all that rests there."""

    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Book:
    """The best levels of an instrument, best first."""

    instrument: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    sequence: int
    time: datetime


@dataclass(frozen=True, slots=True)
class Ticker:
    """The market at a glance; what there is none of is None."""

    instrument: str
    last_price: Decimal | None
    bid: Level | None
    ask: Level | None
    open_price: Decimal | None
    high_price: Decimal | None
    low_price: Decimal | None
    volume: Decimal
    notional: Decimal
    change: Decimal
    trade_count: int
    sequence: int
    time: datetime


@dataclass(frozen=True, slots=True)
class Statistics:
    """What goes on in one market; counters begin with the server's start, the day does not."""

    instrument: str
    since_time: datetime
    """When the server was started, and began to count."""
    orders: int
    trades: int
    volume: Decimal
    recent_orders: int
    recent_trades: int
    recent_s: int
    """The recent seconds: 60, or those since the start where these are fewer."""
    day_trades: int
    day_volume: Decimal
    open_orders: int
    bid_levels: int
    ask_levels: int
    bid_depth: Decimal
    ask_depth: Decimal
    spread: Decimal | None
    """None where a side is empty."""
    sequence: int
    time: datetime


@dataclass(frozen=True, slots=True)
class TradeAggregate:
    """The trades of one interval; prices are None where there was none."""

    start_time: datetime
    """Aligned to the interval from the epoch."""
    trade_count: int
    quantity: Decimal
    notional: Decimal
    open_price: Decimal | None
    high_price: Decimal | None
    low_price: Decimal | None
    close_price: Decimal | None
    average_price: Decimal | None
    """Mean of the prices of its trades."""
    vwap: Decimal | None
    """Notional divided by quantity."""


@dataclass(frozen=True, slots=True)
class Analytics:
    """The trades of an instrument by interval, oldest first."""

    aggregates: tuple[TradeAggregate, ...]
    vwap: Decimal | None
    """All notional divided by all quantity; None where nothing traded."""
    start_time: datetime
    end_time: datetime
    """The time covered, of which the end is no part."""
    sequence: int


@dataclass(frozen=True, slots=True)
class FeeAccount:
    """What the exchange has earned in fees of one currency; negative: paid in rebates."""

    currency: str
    balance: Decimal


@dataclass(frozen=True, slots=True)
class Part:
    """PostgreSQL, Kafka or Redis beside the exchange, as last reported."""

    name: str
    state: str
    """`healthy`, `degraded`, `down` or `disabled`."""
    events_behind: int
    """Durable commands that have not reached it."""
    behind_s: float
    problem: str
    """Why it is down; empty otherwise."""


@dataclass(frozen=True, slots=True)
class Position:
    """What a client holds of an instrument; negative is short."""

    instrument: str
    net_quantity: Decimal
    total_cost: Decimal
    average_price: Decimal
    realised_pnl: Decimal
    unrealised_pnl: Decimal
    fees: Decimal
    updated_time: datetime


@dataclass(frozen=True, slots=True)
class Instrument:
    """What can be traded, and within which numbers; fees are parts of the notional."""

    name: str
    tick: Decimal
    lot: Decimal
    price_min: Decimal
    price_max: Decimal
    quantity_min: Decimal
    quantity_max: Decimal
    maker_fee: Decimal
    taker_fee: Decimal
    self_trade_prevention: SelfTradePrevention


@dataclass(frozen=True, slots=True)
class Follower:
    """How far a follower of the server is; the journal after its `sequence` is kept for it."""

    name: str
    sequence: int
    reported_time: datetime | None
    """Since the start of the server."""
    connected: bool


@dataclass(frozen=True, slots=True)
class Status:
    """How the server is."""

    version: str
    rules_version: int
    durable_sequence: int
    applied_sequence: int
    epoch: int
    uptime_s: float
    open_orders: int
    keys: int
    keys_guaranteed: int
    window_s: float
    """Seconds for which a key is remembered, unless `keys_guaranteed` newer ones come first."""
    closed_orders: int
    followers: tuple[Follower, ...]
    degraded: tuple[str, ...]
    recovery: str
    open_sessions: int
    snapshot_sequence: int
    journal_first_sequence: int


@dataclass(frozen=True, slots=True)
class Obligation:
    """What an account is to receive for a day's trades in an instrument; negative: to give."""

    instrument: str
    account: str  # a client id, or `fees/` and the quote currency
    quantity: Decimal
    money: Decimal  # fees deducted
    fees: Decimal  # paid
    fill_count: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """A day that was settled: by instrument, quantity, money and fees each sum to zero."""

    date: str  # in UTC, YYYY-MM-DD
    through_sequence: int
    trade_count: int
    digest: str
    obligations: tuple[Obligation, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot was written."""

    sequence: int
    state_hash: str
    file: str


@dataclass(frozen=True, slots=True)
class BookMessage:
    """A message of a book stream: the whole book, a delta (quantity 0: level gone), a heartbeat.

    A reader whose last sequence is not `previous_sequence` has missed something, unless this is a
    snapshot. `checksum` covers the ten best levels a side after it (see the protocol).
    """

    sequence: int
    previous_sequence: int
    time: datetime
    snapshot: bool
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    checksum: int
    partial: bool
    """A deep book's levels further out are still to come: a stream lost now can't be resumed."""


@dataclass(frozen=True, slots=True)
class TradesMessage:
    """Trades up to `sequence`, from which the stream can be resumed; without any, a heartbeat."""

    sequence: int
    previous_sequence: int
    trades: tuple[Trade, ...]
    restarted: bool
    """The wished start lies too far back: what came before this message was left out."""


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """Something happened to an order."""

    sequence: int
    index: int
    time: datetime
    kind: OrderEventKind
    order_id: str
    client_id: str
    client_reference: str
    instrument: str
    side: Side
    price: Decimal | None
    filled_quantity: Decimal
    remaining_quantity: Decimal
    status: OrderStatus
    change: Decimal
    """Taken off without a trade: reduced, cancelled and rejected only."""
    reason: EndReason | None
    """Why that was taken off; None for other events, or for a reason newer than this client."""
    order: Order | None
    """All of it; None for `filled`, which tells no more than the fields above."""
    trade: Trade | None
    """`filled` only."""


@dataclass(frozen=True, slots=True)
class OrderEventsMessage:
    """Events up to `sequence`, from which the stream can be resumed; without any, a heartbeat."""

    sequence: int
    previous_sequence: int
    events: tuple[OrderEvent, ...]
    restarted: bool
    """The wished start lies too far back: what came before this message was left out."""
