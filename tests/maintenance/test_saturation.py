"""Followers wait while callers need all the cores, and no longer."""

import threading
import time

import pytest

from server.maintenance.saturation import HELD_S, LOOK_S, SENT_S, Saturation, Used, used


class Machine:
    """Commands, cores and a clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.sequence = 7
        self.used = Used(0.0, 0.0)
        self.saturation = Saturation(lambda: self.sequence, lambda: self.used, lambda: self.now_s)

    def holds_after(
        self,
        own_share: float,
        spare_cores: float,
        seconds: float = LOOK_S,
        commands_a_s: int = 50_000,
    ) -> bool:
        self.now_s += seconds
        self.sequence += round(commands_a_s * seconds)
        own_s, spare_s = self.used
        self.used = Used(own_s + own_share * seconds, spare_s + spare_cores * seconds)
        return self.saturation.holds()


@pytest.mark.parametrize(
    ("commands_a_s", "own_share", "spare_cores", "holds"),
    [
        (50_000, 0.9, 0.9, True),
        # Followers keep up, others keep the machine busy, or there are cores to spare.
        (8_000, 0.9, 0.9, False),
        (50_000, 0.2, 0.0, False),
        (50_000, 0.9, 2.9, False),
        (10_008, 0.51, 1.49, True),
        (10_000, 0.51, 1.49, False),
        (10_008, 0.49, 1.49, False),
        (10_008, 0.51, 1.51, False),
    ],
)
def test_all_are_needed(
    commands_a_s: int, own_share: float, spare_cores: float, holds: bool
) -> None:
    machine = Machine()
    assert machine.holds_after(own_share, spare_cores, commands_a_s=commands_a_s) is holds


def test_it_is_judged_anew_only_after_a_while() -> None:
    machine = Machine()
    assert not machine.holds_after(1.0, 0.0, LOOK_S / 2)
    assert machine.holds_after(1.0, 0.0, LOOK_S / 2)
    assert machine.holds_after(0.0, 2.0, LOOK_S / 2)
    assert not machine.holds_after(0.0, 2.0, LOOK_S / 2)


def test_no_follower_stands_still_for_good() -> None:
    """Held for `HELD_S`, sent to for `SENT_S`, and so on; a pause begins it anew."""
    machine = Machine()
    steps = round((HELD_S + SENT_S) / LOOK_S)
    told = [machine.holds_after(1.0, 0.0) for _ in range(3 * steps)]
    held = round(HELD_S / LOOK_S)
    assert [sum(told[begin : begin + steps]) for begin in (0, steps, 2 * steps)] == [held] * 3
    assert all(told[: held - 1])
    assert not machine.holds_after(0.0, 2.0)
    assert all(machine.holds_after(1.0, 0.0) for _ in range(held - 1))


def test_the_kernel_is_asked_for_this_thread_and_all_cores() -> None:
    before = used()
    until_s = time.thread_time() + 0.02
    while time.thread_time() < until_s:
        pass
    busy = used()
    assert busy.own_s - before.own_s >= 0.02
    other: list[Used] = []
    thread = threading.Thread(target=lambda: other.append(used()))
    thread.start()
    thread.join()
    assert other[0].own_s < busy.own_s
