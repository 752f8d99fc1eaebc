"""Doubles of the JSON interface to and from integers of 10^-8.

A JSON number reaches us as the nearest double. Every decimal of up to 15 significant digits has a
double of its own, whose shortest decimal form is that decimal; so a double stands for its shortest
form, and one that needs more than 15 digits or 8 decimals is refused instead of rounded. On the way
out a number of up to 15 digits is exact, a longer one is rounded to 15 digits, half to even.
"""

from math import isfinite
from typing import Final

from server.core.types import E8, INT64_MAX
from server.decimals import decimal_text
from server.rpc.errors import EdgeReason, EdgeReject
from server.rpc.http.refused_number import RefusedNumber

DIGITS_MAX: Final = 15
"""Significant digits that every double keeps."""

EXACT: Final = 10**DIGITS_MAX
E16: Final = 10**16
LARGEST: Final = INT64_MAX / E8
"""The largest number, as near as a double comes; the exact bound is looked at once more."""

FINITE: Final = "a finite number"
FINE_ENOUGH: Final = f"a number of at most {DIGITS_MAX} significant digits and 8 decimals"
SMALL_ENOUGH: Final = f"a number between -{decimal_text(INT64_MAX)} and {decimal_text(INT64_MAX)}"


def e8_of(field: str, number: float) -> int:
    """Give the integer that a number of a request stands for, or a `RefusedNumber`."""
    if not isfinite(number):
        return unusable(field, number, FINITE)
    if abs(number) > LARGEST:
        return unusable(field, number, SMALL_ENOUGH)
    units = round(number * E8)
    # Up to 15 digits the product is less than half a unit off, and the division rounds correctly:
    # they meet exactly when `number` is the double of a decimal with 8 decimals.
    if -EXACT < units < EXACT:
        return units if units / E8 == number else unusable(field, number, FINE_ENOUGH)
    exact = units_of_shortest(number)
    if exact is None:
        return unusable(field, number, FINE_ENOUGH)
    return exact if abs(exact) <= INT64_MAX else unusable(field, number, SMALL_ENOUGH)


def units_of_shortest(number: float) -> int | None:
    """Read a number of 10 million and more the slow way: by the digits of the shortest form."""
    whole, _, decimals = repr(number).partition(".")
    decimals = decimals.rstrip("0")
    digits = (whole + decimals).lstrip("-").strip("0")
    if len(digits) > DIGITS_MAX:
        return None
    # Which leaves at most seven decimals.
    return int(whole + decimals.ljust(8, "0"))


def unusable(field: str, number: float, limit: str) -> RefusedNumber:
    return RefusedNumber(-1, EdgeReject(EdgeReason.NUMBER_INVALID, field, repr(number), limit))


def double_of(units: int, scale: int = E8) -> float:
    """Give the double that prints as `units` / `scale`; `scale` is a power of ten up to 10^22."""
    if not -EXACT < units < EXACT:
        units = round(units, DIGITS_MAX - len(str(abs(units))))
    return units / scale


def double_up_to(units: int) -> float:
    """Give the largest of 15 digits that is at most `units` of 10^-8."""
    step = _last_digit(units)
    return units // step * step / E8


def double_from(units: int) -> float:
    """Give the smallest of 15 digits that is at least `units` of 10^-8."""
    step = _last_digit(units)
    return -(-units // step) * step / E8


def _last_digit(units: int) -> int:
    """Give what 1 is worth in the last digit that a double keeps."""
    return int(10 ** max(len(str(abs(units))) - DIGITS_MAX, 0))
