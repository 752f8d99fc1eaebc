"""Percentiles: by nearest rank, so that each was measured."""

from collections.abc import Sequence

import pytest

from clients.percentiles import percentiles


@pytest.mark.parametrize(
    ("values", "shares", "found"),
    [
        ([3.0, 1.0, 2.0], (0.1, 50.0, 66.6, 66.7, 100.0), [1.0, 2.0, 2.0, 3.0, 3.0]),
        ([5.0], (50.0, 99.9), [5.0, 5.0]),
        ([float(each) for each in range(1, 1_001)], (50.0, 99.0, 99.9), [500.0, 990.0, 999.0]),
        ([], (50.0,), []),
    ],
)
def test_a_part_of_all_does_not_exceed_it(
    values: Sequence[float], shares: Sequence[float], found: Sequence[float]
) -> None:
    assert list(percentiles(values, shares).values()) == found
