"""Percentiles of measured values, by nearest rank, so that each was measured."""

from collections.abc import Mapping, Sequence

SHARES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9)


def percentiles(values: Sequence[float]) -> Mapping[str, float]:
    """What these shares of the values don't exceed, as `p50` to `p99.9`; none of no values."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        f"p{share:g}": ordered[min(last, int(len(ordered) * share / 100))]
        for share in SHARES
        if ordered
    }
