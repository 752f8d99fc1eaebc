"""Every reason for a refusal, with field, value and limit, and that it leaves no trace."""

from __future__ import annotations

from typing import Any

import pytest

from server.core.commands import (
    CancelOrder,
    CancelOrders,
    Command,
    EndSession,
    OpenSession,
    PlaceOrder,
    ReplaceOrder,
    SetInstrument,
    SetLimits,
)
from server.core.dump import state_hash
from server.core.engine import Engine
from server.core.instruments import Instrument, Limits
from server.core.rejects import Reject, RejectReason
from server.core.types import (
    BUY,
    E8,
    FOK,
    GTC,
    INT64_MAX,
    IOC,
    LIMIT,
    MARKET,
    SELL,
    Side,
    Stamp,
    TimeInForce,
)

STRICT = Instrument(
    "SOL-USD",
    tick_e8=50,
    lot_e8=10,
    price_min_e8=100,
    price_max_e8=10_000,
    quantity_min_e8=20,
    quantity_max_e8=1_000,
)
LONG = "a" * 65
ID_PATTERN = "[A-Za-z0-9._:-]{1,64}"


def apply(engine: Engine, command: Command) -> Any:
    """Under the next stamp."""
    return engine.apply(command, Stamp(engine.sequence + 1, engine.time_ns + 1))


def place(**fields: Any) -> PlaceOrder:
    """A good order with these fields changed."""
    good = PlaceOrder("A", "BTC-USD", BUY, LIMIT, E8, 100 * E8)
    return good._replace(**fields)


def strict(**fields: Any) -> PlaceOrder:
    """A good order in the strict instrument with these fields changed."""
    return place(instrument="SOL-USD", quantity_e8=100, price_e8=1_000)._replace(**fields)


@pytest.fixture
def engine() -> Engine:
    """With an open order `open` at 100, an ended one `ended`, a post-only one `maker` at 90, an
    offer at 200, and keys `used` and `cancelled` of client A."""
    engine = Engine()
    for command in (
        SetLimits(Limits(instruments_max=2)),
        SetInstrument(Instrument("BTC-USD")),
        SetInstrument(STRICT),
        place(order_id="open", idempotency_key="used"),
        place(order_id="ended"),
        CancelOrder("A", "ended", "cancelled"),
        place(order_id="maker", price_e8=90 * E8, post_only=True),
        place(client_id="B", side=SELL, price_e8=200 * E8),
        place(client_id="B", instrument="SOL-USD", quantity_e8=100, price_e8=1_000, order_id="sol"),
    ):
        assert type(apply(engine, command)) is list, command
    return engine


R = RejectReason
TABLE: list[tuple[Command, Reject]] = [
    (place(client_id=""), Reject(R.FIELD_REQUIRED, "client_id", "")),
    (place(instrument=""), Reject(R.FIELD_REQUIRED, "instrument", "")),
    (CancelOrder("A", ""), Reject(R.FIELD_REQUIRED, "order_id", "")),
    (ReplaceOrder("A", "", 1, 1), Reject(R.FIELD_REQUIRED, "order_id", "")),
    (
        CancelOrder("", "open", "k"),
        Reject(R.FIELD_REQUIRED, "client_id", "", "a key belongs to a client"),
    ),
    (CancelOrders(""), Reject(R.FIELD_REQUIRED, "client_id", "")),
    (place(client_id="a b"), Reject(R.ID_INVALID, "client_id", "a b", ID_PATTERN)),
    (place(client_id=LONG), Reject(R.ID_INVALID, "client_id", LONG, ID_PATTERN)),
    (place(order_id="a\n"), Reject(R.ID_INVALID, "order_id", "a\n", ID_PATTERN)),
    (place(order_id="ä"), Reject(R.ID_INVALID, "order_id", "ä", ID_PATTERN)),
    (place(order_id=LONG), Reject(R.ID_INVALID, "order_id", LONG, ID_PATTERN)),
    (place(order_id="\u0661"), Reject(R.ID_INVALID, "order_id", "\u0661", ID_PATTERN)),
    (place(idempotency_key="a/b"), Reject(R.ID_INVALID, "idempotency_key", "a/b", ID_PATTERN)),
    (place(client_reference="\0"), Reject(R.ID_INVALID, "client_reference", "\0", ID_PATTERN)),
    (CancelOrder("A", "a/b"), Reject(R.ID_INVALID, "order_id", "a/b", ID_PATTERN)),
    (CancelOrder("/", "open"), Reject(R.ID_INVALID, "client_id", "/", ID_PATTERN)),
    (CancelOrders("/"), Reject(R.ID_INVALID, "client_id", "/", ID_PATTERN)),
    (OpenSession("/"), Reject(R.ID_INVALID, "client_id", "/", ID_PATTERN)),
    (place(order_id="x-1"), Reject(R.ID_RESERVED, "order_id", "x-1", "x-")),
    (place(order_id="X-a"), Reject(R.ID_RESERVED, "order_id", "X-a", "x-")),
    (place(side=0), Reject(R.SIDE_INVALID, "side", 0)),
    (place(side=3), Reject(R.SIDE_INVALID, "side", 3)),
    (CancelOrders("A", "", 3), Reject(R.SIDE_INVALID, "side", 3)),
    (place(order_type=0), Reject(R.TYPE_INVALID, "order_type", 0)),
    (place(order_type=-1), Reject(R.TYPE_INVALID, "order_type", -1)),
    (place(time_in_force=4), Reject(R.TIME_IN_FORCE_INVALID, "time_in_force", 4)),
    (
        place(self_trade_prevention=6),
        Reject(R.SELF_TRADE_PREVENTION_INVALID, "self_trade_prevention", 6),
    ),
    (
        ReplaceOrder("A", "open"),
        Reject(R.NOTHING_TO_REPLACE, "quantity_e8", "", "price_e8, quantity_e8 or both"),
    ),
    (place(instrument="XRP-USD"), Reject(R.INSTRUMENT_UNKNOWN, "instrument", "XRP-USD")),
    (place(instrument="\ud800"), Reject(R.INSTRUMENT_UNKNOWN, "instrument", "\ud800")),
    (CancelOrders("A", "XRP-USD"), Reject(R.INSTRUMENT_UNKNOWN, "instrument", "XRP-USD")),
    (place(price_e8=-1), Reject(R.PRICE_NOT_POSITIVE, "price_e8", -1, 0)),
    (strict(price_e8=50), Reject(R.PRICE_BELOW_MINIMUM, "price_e8", 50, 100)),
    (strict(price_e8=10_050), Reject(R.PRICE_ABOVE_MAXIMUM, "price_e8", 10_050, 10_000)),
    (
        place(price_e8=INT64_MAX + 1),
        Reject(R.PRICE_ABOVE_MAXIMUM, "price_e8", INT64_MAX + 1, INT64_MAX),
    ),
    (strict(price_e8=1_010), Reject(R.PRICE_OFF_TICK, "price_e8", 1_010, 50)),
    (place(quantity_e8=0), Reject(R.QUANTITY_NOT_POSITIVE, "quantity_e8", 0, 0)),
    (place(quantity_e8=-E8), Reject(R.QUANTITY_NOT_POSITIVE, "quantity_e8", -E8, 0)),
    (strict(quantity_e8=10), Reject(R.QUANTITY_BELOW_MINIMUM, "quantity_e8", 10, 20)),
    (strict(quantity_e8=1_010), Reject(R.QUANTITY_ABOVE_MAXIMUM, "quantity_e8", 1_010, 1_000)),
    (strict(quantity_e8=25), Reject(R.QUANTITY_OFF_LOT, "quantity_e8", 25, 10)),
    (
        place(client_id="C", quantity_e8=INT64_MAX - E8 + 1),
        Reject(R.LEVEL_BOUND_EXCEEDED, "quantity_e8", INT64_MAX - E8 + 1, INT64_MAX - E8),
    ),
    (
        place(quantity_e8=INT64_MAX - 2 * E8 + 1, price_e8=99 * E8),
        Reject(
            R.POSITION_BOUND_EXCEEDED,
            "quantity_e8",
            INT64_MAX - 2 * E8 + 1,
            INT64_MAX - 2 * E8,
        ),
    ),
    (place(price_e8=0), Reject(R.PRICE_REQUIRED, "price_e8", 0, "limit orders")),
    (
        place(order_type=MARKET, price_e8=1),
        Reject(R.PRICE_NOT_ALLOWED, "price_e8", 1, "limit orders"),
    ),
    (
        place(order_type=MARKET, price_e8=0, time_in_force=GTC),
        Reject(R.TIME_IN_FORCE_NOT_ALLOWED, "time_in_force", GTC, "limit orders"),
    ),
    (
        place(time_in_force=IOC, post_only=True),
        Reject(R.POST_ONLY_NOT_ALLOWED, "post_only", 1, "limit orders, good-till-cancel"),
    ),
    (
        place(time_in_force=FOK, post_only=True),
        Reject(R.POST_ONLY_NOT_ALLOWED, "post_only", 1, "limit orders, good-till-cancel"),
    ),
    (
        place(order_id="new", idempotency_key="used"),
        Reject(R.KEY_CONFLICT, "idempotency_key", "used", 4),
    ),
    (
        ReplaceOrder("A", "open", 101 * E8, None, "used"),
        Reject(R.KEY_CONFLICT, "idempotency_key", "used", 4),
    ),
    (
        CancelOrder("A", "open", "cancelled"),
        Reject(R.KEY_CONFLICT, "idempotency_key", "cancelled", 6),
    ),
    (place(order_id="open"), Reject(R.ORDER_ID_DUPLICATE, "order_id", "open")),
    (place(client_id="B", order_id="ended"), Reject(R.ORDER_ID_DUPLICATE, "order_id", "ended")),
    (CancelOrder("A", "none"), Reject(R.ORDER_UNKNOWN, "order_id", "none")),
    (CancelOrder("B", "open"), Reject(R.ORDER_UNKNOWN, "order_id", "open")),
    (ReplaceOrder("B", "open", None, 5), Reject(R.ORDER_UNKNOWN, "order_id", "open")),
    (CancelOrder("B", "ended"), Reject(R.ORDER_UNKNOWN, "order_id", "ended")),
    (CancelOrder("A", "ended"), Reject(R.ORDER_CLOSED, "order_id", "ended", "cancelled")),
    (ReplaceOrder("", "ended", None, 5), Reject(R.ORDER_CLOSED, "order_id", "ended", "cancelled")),
    (
        ReplaceOrder("A", "maker", 200 * E8),
        Reject(R.POST_ONLY_WOULD_CROSS, "price_e8", 200 * E8, 200 * E8),
    ),
    (place(session_id=4), Reject(R.SESSION_UNKNOWN, "session_id", 4)),
    (EndSession(4), Reject(R.SESSION_UNKNOWN, "session_id", 4)),
    (
        SetInstrument(STRICT._replace(tick_e8=25)),
        Reject(R.INSTRUMENT_IN_USE, "tick_e8", 25, "50 while orders rest"),
    ),
    (
        SetInstrument(STRICT._replace(lot_e8=5)),
        Reject(R.INSTRUMENT_IN_USE, "lot_e8", 5, "10 while orders rest"),
    ),
    (
        SetInstrument(Instrument("ETH-USD")),
        Reject(R.INSTRUMENTS_BOUND_EXCEEDED, "name", "ETH-USD", 2),
    ),
    # Where several checks fail, the first of the enum is told.
    (place(client_id="", side=9), Reject(R.FIELD_REQUIRED, "client_id", "")),
    (place(side=9, quantity_e8=0), Reject(R.SIDE_INVALID, "side", 9)),
    (place(price_e8=-1, quantity_e8=0), Reject(R.PRICE_NOT_POSITIVE, "price_e8", -1, 0)),
    (place(price_e8=0, quantity_e8=0), Reject(R.QUANTITY_NOT_POSITIVE, "quantity_e8", 0, 0)),
    (
        place(order_type=MARKET, post_only=True, order_id="open"),
        Reject(R.PRICE_NOT_ALLOWED, "price_e8", 100 * E8, "limit orders"),
    ),
    (
        place(order_id="open", idempotency_key="used", quantity_e8=2 * E8),
        Reject(R.KEY_CONFLICT, "idempotency_key", "used", 4),
    ),
    (
        ReplaceOrder("A", "none", -1, None, "used"),
        Reject(R.PRICE_NOT_POSITIVE, "price_e8", -1, 0),
    ),
    (ReplaceOrder("", "sol", 1_010), Reject(R.PRICE_OFF_TICK, "price_e8", 1_010, 50)),
    (ReplaceOrder("", "sol", None, 25), Reject(R.QUANTITY_OFF_LOT, "quantity_e8", 25, 10)),
    (
        ReplaceOrder("A", "open", None, INT64_MAX - E8 + 1),
        Reject(R.POSITION_BOUND_EXCEEDED, "quantity_e8", INT64_MAX - E8 + 1, INT64_MAX - E8),
    ),
]


def changed(field: str, value: Any) -> Instrument:
    """The strict instrument with one field changed."""
    return STRICT._replace(**{field: value})


SETTINGS: list[tuple[Command, str]] = [
    *(
        (SetInstrument(Instrument(name)), "name")
        for name in ("", "BTC", "btc-usd", "BTC-USD-X", "BTC-", "A" * 17 + "-B", "BTC-USD\n")
    ),
    *(
        (SetInstrument(changed(field, value)), field)
        for field, value in (
            ("tick_e8", 0),
            ("tick_e8", INT64_MAX + 1),
            ("lot_e8", -1),
            ("price_min_e8", 0),
            ("price_max_e8", 99),
            ("price_max_e8", INT64_MAX + 1),
            ("quantity_min_e8", 0),
            ("quantity_max_e8", 19),
            ("maker_fee_e6", -1_000_001),
            ("taker_fee_e6", 1_000_001),
            ("self_trade_prevention", 0),
            ("self_trade_prevention", 6),
        )
    ),
    (SetInstrument(STRICT, STRICT._replace(lot_e8=0)), "lot_e8"),
    *((SetLimits(Limits(**{field: 0})), field) for field in Limits._fields),
    (SetLimits(Limits(keys_max=10**9 + 1)), "keys_max"),
    (SetLimits(Limits(), Limits(window_ns=-1)), "window_ns"),
]


@pytest.mark.parametrize(
    ("command", "expected"),
    TABLE,
    ids=lambda part: part.reason.name if type(part) is Reject else "",
)
def test_refusal(engine: Engine, command: Command, expected: Reject) -> None:
    before = state_hash(engine), engine.counts()
    outcome = apply(engine, command)
    assert outcome == expected
    assert outcome.reason is expected.reason
    assert (state_hash(engine), engine.counts()) == before


@pytest.mark.parametrize(("command", "field"), SETTINGS)
def test_bad_setting_names_the_field(engine: Engine, command: Command, field: str) -> None:
    before = state_hash(engine)
    outcome = apply(engine, command)
    assert (outcome.reason, outcome.field) == (RejectReason.SETTING_INVALID, field)
    assert outcome.limit
    assert state_hash(engine) == before


def test_every_reason_is_reached() -> None:
    reached = {expected.reason for _, expected in TABLE} | {RejectReason.SETTING_INVALID}
    assert reached == set(RejectReason)


@pytest.mark.parametrize(
    "command",
    [
        place(order_id="a" * 64),
        place(order_id="x"),
        place(order_id="x.1", idempotency_key="A.b:c_d-1", client_reference="-"),
        place(price_e8=INT64_MAX, side=SELL),
        place(price_e8=1, quantity_e8=1),
        strict(price_e8=100, quantity_e8=20),
        strict(price_e8=10_000, quantity_e8=1_000, side=SELL),
        place(client_id="C", quantity_e8=INT64_MAX - E8),
        place(quantity_e8=INT64_MAX - 2 * E8, price_e8=99 * E8),
        place(client_id="C", quantity_e8=INT64_MAX, time_in_force=IOC, price_e8=1),
        ReplaceOrder("A", "open", None, INT64_MAX - E8),
        ReplaceOrder("A", "maker", 200 * E8 - 1),
        ReplaceOrder("A", "maker", 100 * E8, INT64_MAX - E8)._replace(quantity_e8=None),
        SetInstrument(STRICT._replace(price_max_e8=20_000)),
        SetInstrument(STRICT._replace(maker_fee_e6=-1_000_000, taker_fee_e6=1_000_000)),
        SetLimits(Limits(1, 1, 1, 1)),
    ],
)
def test_the_bound_itself_is_accepted(engine: Engine, command: Command) -> None:
    assert type(apply(engine, command)) is list


def test_numbers_of_enums_are_kept_as_plain_integers(engine: Engine) -> None:
    again = Engine()
    for each in (engine, again):
        each.__init__()  # type: ignore[misc]
        apply(each, SetInstrument(Instrument("BTC-USD")))
    apply(engine, place(side=Side.BUY, time_in_force=TimeInForce.GOOD_TILL_CANCEL))
    apply(again, place(side=1, time_in_force=1))
    assert state_hash(engine) == state_hash(again)


def test_what_a_replace_added_counts_for_the_bounds_of_later_orders(engine: Engine) -> None:
    """Those of known clients and plain terms are judged in short."""
    assert type(apply(engine, ReplaceOrder("A", "open", None, INT64_MAX - E8))) is list
    assert type(apply(engine, place(client_id="B", price_e8=98 * E8))) is list
    fits = INT64_MAX - (INT64_MAX - E8)
    refused = apply(engine, place(client_id="B", quantity_e8=fits + 1))
    assert refused == Reject(R.LEVEL_BOUND_EXCEEDED, "quantity_e8", fits + 1, fits)
    refused = apply(engine, place(price_e8=97 * E8, quantity_e8=E8))
    assert refused == Reject(R.POSITION_BOUND_EXCEEDED, "quantity_e8", E8, 0)


def test_what_a_replace_moves_to_another_level_counts_for_its_bound(engine: Engine) -> None:
    """Whole, less what of it is filled."""
    quantity_e8 = INT64_MAX - E8
    [accepted] = apply(engine, place(client_id="C", quantity_e8=quantity_e8, price_e8=101 * E8))
    move = ReplaceOrder("C", accepted.order_id, 90 * E8)
    assert type(apply(engine, place(client_id="B", price_e8=90 * E8, quantity_e8=10))) is list
    refused = apply(engine, move)
    assert refused == Reject(R.LEVEL_BOUND_EXCEEDED, "quantity_e8", quantity_e8, quantity_e8 - 10)
    fill = place(client_id="D", side=SELL, price_e8=101 * E8, quantity_e8=10)
    assert type(apply(engine, fill)) is list
    refused = apply(engine, move._replace(quantity_e8=quantity_e8 + 1))
    assert refused == Reject(R.LEVEL_BOUND_EXCEEDED, "quantity_e8", quantity_e8 + 1, quantity_e8)
    assert type(apply(engine, move)) is list


def test_what_ended_without_a_trade_no_longer_counts_for_the_bounds(engine: Engine) -> None:
    market = engine.markets["BTC-USD"]
    placed_e8 = market.placed_e8
    huge = place(client_id="C", quantity_e8=INT64_MAX - E8, price_e8=1)
    for terms in (IOC, FOK):
        assert type(apply(engine, huge._replace(time_in_force=terms))) is list
        assert market.placed_e8 == placed_e8
    [accepted] = apply(engine, huge)
    assert market.placed_e8 == placed_e8 + INT64_MAX - E8
    assert type(apply(engine, CancelOrder("C", accepted.order_id))) is list
    assert market.placed_e8 == placed_e8


@pytest.mark.parametrize(
    ("price_e8", "quantity_e8", "refused"),
    [
        # It comes in again, with the price or the quantity that it had.
        (1_050, None, (R.QUANTITY_ABOVE_MAXIMUM, "quantity_e8", 100, 60)),
        (None, 110, (R.PRICE_BELOW_MINIMUM, "price_e8", 1_000, 1_050)),
        (1_050, 60, None),
        # It stays where it is.
        (None, 90, None),
        (1_000, 90, None),
        (None, 50, (R.QUANTITY_BELOW_MINIMUM, "quantity_e8", 50, 60)),
        (None, 75, (R.QUANTITY_OFF_LOT, "quantity_e8", 75, 10)),
        # It ends: as much is filled.
        (None, 40, None),
        (None, 20, None),
        (2_000, 30, None),
        (1_040, 30, (R.PRICE_BELOW_MINIMUM, "price_e8", 1_040, 1_050)),
        (None, 0, (R.QUANTITY_NOT_POSITIVE, "quantity_e8", 0, 0)),
        (None, 35, (R.QUANTITY_OFF_LOT, "quantity_e8", 35, 10)),
    ],
)
def test_a_replace_after_the_limits_have_changed(
    engine: Engine,
    price_e8: int | None,
    quantity_e8: int | None,
    refused: tuple[R, str, int, int] | None,
) -> None:
    apply(engine, CancelOrder("B", "sol"))
    [accepted] = apply(engine, strict())
    apply(engine, strict(client_id="B", side=SELL, quantity_e8=40))
    limits = STRICT._replace(price_min_e8=1_050, quantity_min_e8=60, quantity_max_e8=60)
    assert type(apply(engine, SetInstrument(limits))) is list
    outcome = apply(engine, ReplaceOrder("A", accepted.order_id, price_e8, quantity_e8))
    assert outcome == Reject(*refused) if refused else type(outcome) is list
