"""Numbers and times of the JSON interface, and the book that is written by hand."""

from datetime import UTC, datetime
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.http.v1 import order_service_pb2
from exchange.v1 import market_data_pb2
from gateway.websocket import frames
from server.core.commands import PlaceOrder, SetInstrument
from server.core.engine import Engine
from server.core.instruments import Instrument
from server.core.types import INT64_MAX, Stamp
from server.event_messages import delimited
from server.rpc.http import present
from server.rpc.http.doubles import E16, double_from, double_of, double_up_to, e8_of
from server.rpc.http.encoded_depth import encoded_depth
from server.rpc.http.refused_number import RefusedNumber
from server.times import time_text

DIGITS_15 = 10**15


@pytest.mark.parametrize("ms", [0, 5, 50, 999])
def test_times_have_three_decimals(ms: int) -> None:
    text = f"2024-02-29T23:59:59.{ms:03d}Z"
    time = datetime(2024, 2, 29, 23, 59, 59, ms * 1_000 + 999, tzinfo=UTC)
    assert time_text(1_709_251_199_000_999_999 + ms * 10**6) == text
    assert frames.time_text(time) == text


@pytest.mark.parametrize(
    ("number", "units"),
    [
        (70150.5, 7_015_050_000_000),
        (7e4, 7_000_000_000_000),
        (0.1, 10_000_000),
        (1e-8, 1),
        (-0.0, 0),
        (-1.25, -125_000_000),
        (9999999.99999999, 999_999_999_999_999),
        (10000000.0, 1_000_000_000_000_000),
        (123456789.123456, 12_345_678_912_345_600),
        (92233720368.5477, 9_223_372_036_854_770_000),
        (50000000000.0, 5_000_000_000_000_000_000),
    ],
)
def test_taken_exactly(number: float, units: int) -> None:
    taken = e8_of("price", number)
    assert taken == units
    assert type(taken) is int


@pytest.mark.parametrize(
    "number",
    [
        float("nan"), float("inf"), float("-inf"), 0.30000000000000004, 1e-9, 5e-324, 0.1 + 0.7,
        10000000.00000001, 1234567.123456789, 92233720368.54775, 92233720368.548, 1e11, 1e22, 1e308,
        -1e11, 123456789.1234567,
    ],
)  # fmt: skip
def test_refused(number: float) -> None:
    taken = e8_of("price", number)
    assert isinstance(taken, RefusedNumber)
    assert taken == -1, "what the engine refuses in any case"
    assert taken.refusal.value == repr(number)


@given(st.integers(-DIGITS_15 + 1, DIGITS_15 - 1))
def test_fifteen_digits_come_and_go_exactly(units: int) -> None:
    assert e8_of("price", float(Decimal(units) / 10**8)) == units
    assert Decimal(repr(double_of(units))) == Decimal(units) / 10**8


@given(st.floats())
def test_a_number_is_its_shortest_form_or_refused(number: float) -> None:
    taken = e8_of("price", number)
    if isinstance(taken, RefusedNumber):
        return
    shortest = Decimal(repr(number))
    assert Decimal(taken) == shortest * 10**8
    assert len(shortest.normalize().as_tuple().digits) <= 15


@given(st.integers(1, 2**80), st.sampled_from([10**8, E16]))
def test_long_sums_print_rounded_to_fifteen_digits(units: int, scale: int) -> None:
    printed = Decimal(repr(double_of(units, scale)))
    exact = Decimal(units) / scale
    assert len(printed.normalize().as_tuple().digits) <= 15
    # Half of the fifteenth digit, which is worth most where the first is 1.
    assert abs(printed - exact) <= 5 * exact / DIGITS_15


@given(st.integers(1, INT64_MAX))
def test_limits_print_rounded_to_the_side_on_which_orders_are_taken(units: int) -> None:
    most, least = Decimal(repr(double_up_to(units))), Decimal(repr(double_from(units)))
    exact = Decimal(units) / 10**8
    assert most <= exact <= least
    assert exact - most < exact / 10**14
    assert least - exact < exact / 10**14
    for printed in (most, least):
        assert len(printed.normalize().as_tuple().digits) <= 15
    if units < DIGITS_15:
        assert most == least == exact


def test_book_written_by_hand_is_that_of_the_generated_code() -> None:
    engine = Engine()
    engine.apply(SetInstrument(Instrument("BTC-USD")), Stamp(1, 1))
    random = Random(1)
    for orders in range(0, 120, 5):
        while engine.sequence <= orders:
            side = random.choice((1, 2))
            price_e8 = random.choice((10**8, 7 * 10**12, 10**18)) + side * random.randrange(
                1, 10**6
            )
            quantity_e8 = random.choice((1, 10**8, 10**16 + 3))
            command = PlaceOrder(f"c{engine.sequence}", "BTC-USD", side, 1, quantity_e8, price_e8)
            assert isinstance(engine.apply(command, Stamp(engine.sequence + 1, 1)), list)
        reply = order_service_pb2.PlaceOrderResponse()
        reply.orderbook.SetInParent()
        present.depth(reply.orderbook, engine, "BTC-USD", 20)
        assert encoded_depth(engine.book("BTC-USD"), 20) == reply.SerializeToString()


@pytest.mark.parametrize("length", [2, 3, 100, 127, 128, 129, 130, 16_383, 16_384, 100_000])
def test_delimited(length: int) -> None:
    inner = market_data_pb2.OrderBook(instrument="i" * length)
    outer = market_data_pb2.GetOrderBookResponse(book=inner)
    assert delimited(1, inner.SerializeToString()) == outer.SerializeToString()
