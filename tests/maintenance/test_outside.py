"""How the outside parts are, by what is said of them and by what is durable."""

import asyncio
from collections.abc import Callable

import pytest

from server.maintenance import outside
from server.maintenance.health_state import HealthState
from server.maintenance.outside import BEHIND_S, SILENCE_S, OutsideParts, PartHealth
from server.metrics.outside import OutsidePartFigures


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.durable = 0
        self.parts = OutsideParts(["postgres", "kafka"], lambda: self.durable, lambda: self.now_s)

    def pass_s(self, seconds: float, events: int = 0) -> None:
        self.now_s += seconds
        self.durable += events
        self.parts.note()

    def hear(self, name: str, sequence: int, problem: str = "") -> None:
        self.parts.hear(name, sequence, problem, takes_journal=name != "redis")


def test_silence_is_down_and_what_nobody_named_is_disabled() -> None:
    clock = Clock()
    assert clock.parts.health()["redis"] == PartHealth(HealthState.DISABLED)
    assert clock.parts.health()["postgres"].state == "down"
    clock.hear("postgres", 0)
    clock.hear("redis", 0)
    states = {name: health.state for name, health in clock.parts.health().items()}
    assert states == {"postgres": "healthy", "kafka": "down", "redis": "healthy"}
    clock.pass_s(SILENCE_S + 0.1)
    assert clock.parts.health()["postgres"].state == "down"
    assert "said nothing for 2 s" in clock.parts.sentences()[0]


def test_who_watches_is_told_of_a_part_that_is_disabled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outside, "TICK_S", 0.0)
    clock = Clock()
    told: list[tuple[str, bool | None]] = []

    async def watch() -> None:
        watching = asyncio.create_task(
            clock.parts.watch(lambda name, serves: told.append((name, serves)))
        )
        changes: tuple[Callable[[], None], ...] = (
            lambda: None,
            lambda: clock.hear("redis", 0),
            lambda: clock.hear("redis", 0, "gone"),
            lambda: clock.pass_s(SILENCE_S + 0.1),
        )
        for change in changes:
            change()
            for _ in range(3):
                await asyncio.sleep(0)
        watching.cancel()

    asyncio.run(watch())
    assert [serves for name, serves in told if name == "redis"] == [True, False, None]


def test_behind_is_told_in_events_and_seconds() -> None:
    clock = Clock()
    clock.pass_s(600)
    clock.pass_s(0.2, events=10)
    clock.hear("kafka", 0)
    # It was idle for long, and that is not being behind.
    behind = clock.parts.health()["kafka"]
    assert (behind.state, behind.events_behind) == ("healthy", 10)
    assert behind.seconds_behind == pytest.approx(0.2)
    for _ in range(10):
        clock.pass_s(0.2, events=10)
    clock.hear("kafka", 20)
    behind = clock.parts.health()["kafka"]
    assert (behind.state, behind.events_behind) == ("degraded", 90)
    assert BEHIND_S < behind.seconds_behind < 2
    assert clock.parts.sentences()[-1] == "kafka is degraded, 90 events and 1.8 s behind"
    clock.hear("kafka", 110, "gone")
    assert clock.parts.health()["kafka"] == PartHealth(HealthState.DOWN, 0, 0.0, "gone")
    clock.hear("kafka", 110)
    assert clock.parts.health()["kafka"] == PartHealth(HealthState.HEALTHY)


def test_figures_show_what_is_not_disabled() -> None:
    clock = Clock()
    clock.hear("postgres", 0)
    clock.pass_s(1.5, events=30)
    found = {
        (sample.name, sample.labels["part"]): sample.value
        for metric in OutsidePartFigures(clock.parts.health).collect()
        for sample in metric.samples
    }
    assert found == {
        ("outside_part_up", "postgres"): 1,
        ("outside_part_up", "kafka"): 0,
        ("outside_part_behind_commands", "postgres"): 30,
        ("outside_part_behind_commands", "kafka"): 0,
        ("outside_part_behind_seconds", "postgres"): pytest.approx(1.5),
        ("outside_part_behind_seconds", "kafka"): 0,
    }


def test_far_behind_is_remembered_in_bounded_room() -> None:
    clock = Clock()
    for _ in range(20_000):
        clock.pass_s(0.25, events=1)
    clock.hear("kafka", 10_000)
    assert len(clock.parts._notes) < 1_000
    assert abs(clock.parts.health()["kafka"].seconds_behind - 2_500) < 50
