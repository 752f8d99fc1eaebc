"""Decimals as people write them, to and from integers of 10^-8, exactly or not at all.

Taken: `int`, `Decimal`, and text of ASCII digits with an optional sign and at most 8 decimals.
Refused: exponents, NaN, infinities, blanks, `1_000`, digits of other scripts, and `float`, whose
0.1 is not a tenth. Signs pass: which numbers an order may have is the exchange's to judge.
"""

import re
from decimal import Decimal

from clients.fields import FieldInvalidError

Number = Decimal | str | int

E8 = 10**8
E6 = 10**6
RATE_DECIMALS_MAX = 6  # places of a fee, a part of the notional
DECIMALS_MAX = 8  # places of a price or quantity: the wire's unit is 10^-8
INT64_MAX = 2**63 - 1  # units: the wire's integer
VALUE_MAX = "92233720368.54775807"  # INT64_MAX, written out
TEXT_MAX = 40  # characters: twice what the largest number takes; more is no number

_TEXT = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?", re.ASCII)


class NumberInvalidError(FieldInvalidError):
    """A number that can't be taken exactly."""


def e8_of(value: Number, field: str) -> int:
    """`"70150.5"` is 7015050000000; `field` names it in the error."""
    if isinstance(value, bool) or not isinstance(value, Decimal | str | int):
        raise NumberInvalidError(field, "a string, Decimal or int such as '70150.5'", value)
    if isinstance(value, int):
        units = value * E8
    elif isinstance(value, str):
        units = _e8_of_text(value, field)
    else:
        units = _e8_of_decimal(value, field)
    if abs(units) > INT64_MAX:
        raise NumberInvalidError(field, f"at most {VALUE_MAX}", value)
    return units


def e6_of(value: Number, field: str) -> int:
    """`"0.0001"` is 100: a rate, of which the wire's unit is 10^-6."""
    rate, rest = divmod(e8_of(value, field), E8 // E6)
    if rest:
        raise NumberInvalidError(field, f"a number of at most {RATE_DECIMALS_MAX} decimals", value)
    if not -E6 <= rate <= E6:
        raise NumberInvalidError(field, "from -1 to 1", value)
    return rate


def _e8_of_text(text: str, field: str) -> int:
    match = _TEXT.fullmatch(text) if len(text) <= TEXT_MAX else None
    if match is None:
        raise NumberInvalidError(field, "a decimal such as 70150.5, without exponent", text)
    sign, whole, decimals = match.group(1), match.group(2), match.group(3) or ""
    if len(decimals) > DECIMALS_MAX:
        raise NumberInvalidError(field, f"a number of at most {DECIMALS_MAX} decimals", text)
    return int(sign + whole + decimals.ljust(DECIMALS_MAX, "0"))


def _e8_of_decimal(value: Decimal, field: str) -> int:
    if not value.is_finite():
        raise NumberInvalidError(field, "a finite number", value)
    if not value:
        return 0
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    if value.adjusted() > len(VALUE_MAX):
        # Before it is written out: 1E+999999 has a million digits.
        raise NumberInvalidError(field, f"at most {VALUE_MAX}", value)
    # What arithmetic leaves behind, as in 0.50 x 1.0000000, is zeros and no further decimals.
    while exponent < -DECIMALS_MAX and digits[-1] == 0:
        digits, exponent = digits[:-1], exponent + 1
    if exponent < -DECIMALS_MAX:
        raise NumberInvalidError(field, f"a number of at most {DECIMALS_MAX} decimals", value)
    zeros = "0" * (exponent + DECIMALS_MAX)
    units = int("".join(map(str, digits)) + zeros)
    return -units if sign else units


def text_of_e8(units: int) -> str:
    """7015050000000 is `70150.5`: no exponent, no zeros at the end."""
    whole, rest = divmod(abs(units), E8)
    sign = "-" if units < 0 else ""
    return f"{sign}{whole}.{rest:08d}".rstrip("0").rstrip(".")


def decimal_of_e8(units: int) -> Decimal:
    """7015050000000 is `Decimal("70150.5")`."""
    return Decimal(text_of_e8(units))
