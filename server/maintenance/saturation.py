"""Whether those who follow the journal are to wait, since callers need the whole machine.

On a machine with few cores a follower costs callers a sixth of what they could send, however low
its priority: cores share caches and execution units. While the server is *saturated* the journal is
therefore not sent on. Followers fall behind, which health shows, and catch up afterwards. That is
so while

- more commands come than followers could keep up with, beside callers: `COMMANDS_A_S`;
- the thread that serves callers uses more than `OWN_SHARE` of a core;
- what doesn't give way leaves less than `SPARE_CORES` of all cores.

So no follower waits that could be up to date, nor on a machine that has cores for it as well, nor
on one that others keep busy. If it lasts longer than `HELD_S`, the journal is sent for `SENT_S`,
and so on: no follower stands still.
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import psutil

COMMANDS_A_S: Final = 10_000
OWN_SHARE: Final = 0.5
"""Of a core. Callers who send all they can take 0.7 to 0.9: the thread waits for the disk too."""
SPARE_CORES: Final = 1.5
"""One core for followers and one half for what becomes of their work. Of two cores, callers who
send all they can leave 0.8."""
LOOK_S: Final = 0.125
"""Between two looks. The kernel counts in hundredths of a second."""
HELD_S: Final = 10.0
SENT_S: Final = 1.0


class Used(NamedTuple):
    """Says what was used up to a moment, in seconds."""

    own_s: float
    """CPU time of the calling thread."""
    spare_s: float
    """Time of all cores in which they were idle, or with a process of low priority."""


def used() -> Used:
    """Ask the kernel."""
    times = psutil.cpu_times()
    # Not every system knows the last two.
    spare_s = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "nice", 0.0)
    return Used(time.thread_time(), spare_s)


class Saturation:
    """Judges by what happened between two looks. The thread that serves callers makes them all."""

    def __init__(
        self,
        sequence: Callable[[], int],
        look: Callable[[], Used] = used,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sequence` gives that of the last command."""
        self._sequence = sequence
        self._look = look
        self._clock = clock
        self._last, self._last_sequence, self._last_s = look(), sequence(), clock()
        self._since_s: float | None = None
        """When the server was first found to be saturated; None while it is not."""

    def holds(self) -> bool:
        """Tell whether nothing is to be sent to followers now."""
        now_s = self._clock()
        if now_s - self._last_s >= LOOK_S:
            if not self._is_saturated(now_s):
                self._since_s = None
            elif self._since_s is None:
                self._since_s = now_s
        return self._since_s is not None and (now_s - self._since_s) % (HELD_S + SENT_S) < HELD_S

    def _is_saturated(self, now_s: float) -> bool:
        passed_s, self._last_s = now_s - self._last_s, now_s
        commands, self._last_sequence = self._sequence() - self._last_sequence, self._sequence()
        last, self._last = self._last, self._look()
        return (
            commands > COMMANDS_A_S * passed_s
            and self._last.own_s - last.own_s > OWN_SHARE * passed_s
            and self._last.spare_s - last.spare_s < SPARE_CORES * passed_s
        )
