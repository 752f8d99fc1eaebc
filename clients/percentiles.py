"""Percentiles of measured values, by nearest rank, so that each was measured."""

from collections.abc import Mapping, Sequence

SHARES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9)


def percentiles(values: Sequence[float], shares: Sequence[float] = SHARES) -> Mapping[str, float]:
    """What these shares of the values don't exceed, as `p50` to `p99.9`; none of no values."""
    ordered = sorted(values)
    return {f"p{share:g}": ordered[_rank(share, len(ordered)) - 1] for share in shares if ordered}


def _rank(share: float, count: int) -> int:
    """The first value, counted from 1, that so large a part of all doesn't exceed."""
    per_mille = round(share * 10)  # exact: 99.9 % of 1,000 is 999, not a bit more
    return max(-(-count * per_mille // 1_000), 1)
