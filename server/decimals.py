"""Fixed-point integers as decimal text, for sentences and for money on the wire."""

from typing import Final

E8_PLACES: Final = 8
"""Decimals of a price, a quantity and a fee."""

E16_PLACES: Final = 16
"""Decimals of money: a price times a quantity."""


def decimal_text(units: int, places: int = E8_PLACES) -> str:
    """`units` of 10^-places without needless zeros: 150000000 is `1.5`."""
    whole, part = divmod(abs(units), 10**places)
    sign = "-" if units < 0 else ""
    return f"{sign}{whole}.{part:0{places}d}".rstrip("0").rstrip(".")
