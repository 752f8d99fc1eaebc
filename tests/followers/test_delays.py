"""How long is waited between attempts (`server/delays.py`)."""

import pytest

from server.delays import FIRST_S, Delays


@pytest.mark.parametrize("longest_s", [FIRST_S / 2, 0.5, 5.0, 600.0])
def test_delays_double_up_to_the_longest(longest_s: float) -> None:
    delays = Delays(longest_s)
    wanted_s = min(FIRST_S, longest_s)
    for _ in range(2_000):
        assert wanted_s / 2 <= delays.next_s() <= wanted_s
        wanted_s = min(2 * wanted_s, longest_s)
    delays.reset()
    assert delays.next_s() <= FIRST_S


def test_where_trying_soon_gains_nothing_the_longest_comes_at_once() -> None:
    delays = Delays(5.0)
    delays.lengthen()
    assert 2.5 <= delays.next_s() <= 5.0


def test_those_who_failed_together_come_back_one_after_the_other() -> None:
    assert len({Delays(5.0).next_s() for _ in range(100)}) > 90
