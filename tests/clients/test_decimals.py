"""Numbers are taken exactly, or refused with field, limit and value."""

from decimal import Context, Decimal, Inexact, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.decimals import INT64_MAX, NumberInvalidError, decimal_of_e8, e8_of, text_of_e8
from clients.market_wire import rate_of_e6


@pytest.mark.parametrize(
    ("value", "units"),
    [
        ("70150.5", 7_015_050_000_000),
        ("0.00000001", 1),
        ("007", 700_000_000),
        ("-0.25", -25_000_000),
        ("-0", 0),
        ("92233720368.54775807", INT64_MAX),
        (70_000, 7_000_000_000_000),
        (Decimal("1E+2"), 10_000_000_000),
        (Decimal("0.50") * Decimal("1.0000000000"), 50_000_000),
        (Decimal("0E-30"), 0),
        (Decimal("-1.5"), -150_000_000),
    ],
)
def test_exact_numbers_are_taken(value: Decimal | str | int, units: int) -> None:
    assert e8_of(value, "price") == units


@pytest.mark.parametrize(
    "value",
    [
        "", ".5", "5.", "+5", " 5", "5 ", "5\n", "1e5", "1E+999999", "NaN", "sNaN", "Infinity",
        "-", "--5", "1_000", "1,5", "0x10", "\u0661", "1.\uff12", "0.123456789", "1.000000000",
        "92233720368.54775808", "-92233720368.54775808", "9" * 10_000, "0" * 41,
        Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1E+999999"),
        Decimal("1E-9"), Decimal("1E-999999"), Decimal("92233720368.54775808"),
        10**11, 0.5, True, None, b"5",
    ],
)  # fmt: skip
def test_other_numbers_are_refused(value: Decimal | str | int) -> None:
    with pytest.raises(NumberInvalidError, match=r"^price must be .*; got ") as caught:
        e8_of(value, "price")
    assert caught.value.field == "price"
    assert caught.value.value is value
    assert len(str(caught.value)) < 200


@given(st.integers(-INT64_MAX, INT64_MAX))
def test_there_and_back(units: int) -> None:
    text = text_of_e8(units)
    assert e8_of(text, "price") == units
    assert e8_of(decimal_of_e8(units), "price") == units
    assert "E" not in text
    assert not text.endswith(".")
    assert text == "0" or "." not in text or text[-1] != "0"


def test_nothing_is_rounded_to_what_the_caller_computes_with() -> None:
    with localcontext(Context(prec=3, traps=[Inexact])):
        assert e8_of(Decimal("70150.12345678"), "price") == 7_015_012_345_678
        assert str(decimal_of_e8(7_015_012_345_678)) == "70150.12345678"
        assert str(rate_of_e6(-123_456)) == "-0.123456"
