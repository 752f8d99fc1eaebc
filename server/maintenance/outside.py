"""How the outside parts are, answered at once from what the follower process last said.

Each is

    disabled   neither configured here nor told about;
    down       its follower says so, or nothing was heard of it for `SILENCE_S`;
    degraded   further behind than `BEHIND_S`;
    healthy    otherwise.

How far a part is behind is this side's to say, since it knows what is durable: the commands that
are durable and not there, and the time since everything that is there was the newest. For the
latter the durable sequence is noted every `TICK_S`; so it is right to about that and the time
between two reports. Of a part that is further behind than the last `NOTES_MAX` notes, one note of
when it was not behind is kept, and what lies between is taken to have come evenly.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from server.maintenance.health_state import HealthState

SILENCE_S: Final = 2.0
"""The time without a report after which whoever sends them is gone, or has no time for it."""
BEHIND_S: Final = 1.0
"""The time that a part may be behind before it is degraded."""
TICK_S: Final = 0.25
NOTES_MAX: Final = 400
"""Notes of the durable sequence: at least 100 s."""
PROBLEM_CHARS_MAX: Final = 200
"""The length of a reported problem; a longer one is cut, as a sentence for people may be."""
NAMES: Final = ("postgres", "kafka", "redis")


class PartHealth(NamedTuple):
    """Says how one part is, and how far behind."""

    state: HealthState
    events_behind: int = 0
    """Commands that are durable and not there."""
    seconds_behind: float = 0.0
    problem: str = ""
    """Why the part is down."""

    @property
    def serves(self) -> bool | None:
        """Tell whether the part is there; None where there is to be none."""
        return None if self.state == HealthState.DISABLED else self.state != HealthState.DOWN

    def sentence(self, name: str) -> str:
        """Give a sentence for people; empty where there is nothing to say."""
        if self.state in (HealthState.HEALTHY, HealthState.DISABLED):
            return ""
        behind = f", {self.events_behind} events and {self.seconds_behind:.1f} s behind"
        why = f" ({self.problem})" if self.problem else ""
        return f"{name} is {self.state}{why}{behind if self.events_behind else ''}"


class Heard(NamedTuple):
    """Says what was last heard of a part."""

    sequence: int
    takes_journal: bool
    problem: str
    at_s: float


class OutsideParts:
    """Remembers what was last said of each, and judges it."""

    def __init__(
        self,
        configured: Iterable[str],
        durable_sequence: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configured = frozenset(configured)
        self._durable_sequence = durable_sequence
        self._clock = clock
        self._heard: dict[str, Heard] = {}
        self._notes: list[tuple[float, int]] = [(clock(), durable_sequence())]

    def hear(self, name: str, sequence: int, problem: str, *, takes_journal: bool) -> None:
        """Note what the follower process said of a part."""
        if name in NAMES:
            self._heard[name] = Heard(sequence, takes_journal, problem, self._clock())

    def note(self) -> None:
        """Remember what is durable now."""
        sequence = self._durable_sequence()
        notes = self._notes
        if len(notes) > 1 and notes[-1][1] == notes[-2][1] == sequence:
            notes.pop()
        notes.append((self._clock(), sequence))
        needed = min((it.sequence for it in self._heard.values() if it.takes_journal), default=0)
        while len(notes) > 1 and notes[1][1] <= needed:
            del notes[0]
        if len(notes) > NOTES_MAX:
            del notes[1]

    def health(self) -> dict[str, PartHealth]:
        """Tell how each part is, by name."""
        return {name: self._one(name) for name in NAMES}

    def sentences(self) -> list[str]:
        """Give a sentence for each part that is not as it should be."""
        return list(filter(None, (health.sentence(name) for name, health in self.health().items())))

    async def watch(self, tell: Callable[[str, bool | None], None]) -> None:
        """Note, and tell for each part whether it serves, until cancelled; None: it is disabled."""
        told: dict[str, bool | None] = {}
        while True:
            self.note()
            for name, health in self.health().items():
                serves = health.serves
                if told.get(name) != serves:
                    told[name] = serves
                    tell(name, serves)
            await asyncio.sleep(TICK_S)

    def _one(self, name: str) -> PartHealth:
        heard = self._heard.get(name)
        now_s = self._clock()
        if heard is None:
            if name not in self._configured:
                return PartHealth(HealthState.DISABLED)
            untold = "the follower process has not told about it"
            return PartHealth(HealthState.DOWN, problem=untold)
        events = self._durable_sequence() - heard.sequence if heard.takes_journal else 0
        seconds = now_s - self._newest_s(heard.sequence) if events > 0 else 0.0
        problem = heard.problem
        if now_s - heard.at_s > SILENCE_S:
            if name not in self._configured:
                return PartHealth(HealthState.DISABLED)
            problem = f"the follower process has said nothing for {now_s - heard.at_s:.0f} s"
        if problem:
            return PartHealth(HealthState.DOWN, max(0, events), seconds, problem)
        state = HealthState.DEGRADED if seconds > BEHIND_S else HealthState.HEALTHY
        return PartHealth(state, max(0, events), seconds)

    def _newest_s(self, sequence: int) -> float:
        """Tell when this sequence was the newest, as far as that is remembered."""
        later_s, later = self._clock(), self._durable_sequence()
        for at_s, durable in reversed(self._notes):
            if durable <= sequence:
                part = (sequence - durable) / max(1, later - durable)
                return at_s + part * (later_s - at_s)
            later_s, later = at_s, durable
        return later_s
