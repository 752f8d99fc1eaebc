"""Whether those who follow the journal are to wait: callers need all that the machine has.

On a machine with few cores a follower costs callers a sixth of what they could send, however low
its priority: cores share caches and execution units. While the server is *saturated* the journal is
therefore not sent on; followers fall behind, which health shows, and catch up afterwards. That is
so while

- the thread that serves callers uses more than `OWN_SHARE` of a core, and
- work that doesn't give way leaves less than `SPARE_CORES` of all cores.

So a machine with cores to spare never holds a follower up, nor does one that others keep busy while
the exchange has little to do. What goes on for longer than `HELD_S` is interrupted for `SENT_S` at
a time, so that no follower stands still.
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import psutil

OWN_SHARE: Final = 0.5
"""Of a core. 5,000 orders/s, ten a message, use 0.2 to 0.35; one that callers wait for, 0.6 to 1,
as it also waits for the disk."""
SPARE_CORES: Final = 0.5
LOOK_S: Final = 0.25
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
    """Judges by what was used between two looks. The thread that serves callers makes them all."""

    def __init__(
        self, look: Callable[[], Used] = used, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._clock = clock
        self._last, self._last_s = look(), clock()
        self._since_s: float | None = None
        """When the server was first found to be saturated; None while it is not."""

    def holds(self) -> bool:
        """Tell whether nothing is to be sent to followers now."""
        now_s = self._clock()
        passed_s = now_s - self._last_s
        if passed_s >= LOOK_S:
            last, self._last, self._last_s = self._last, self._look(), now_s
            own_share = (self._last.own_s - last.own_s) / passed_s
            spare_cores = (self._last.spare_s - last.spare_s) / passed_s
            if own_share <= OWN_SHARE or spare_cores >= SPARE_CORES:
                self._since_s = None
            elif self._since_s is None:
                self._since_s = now_s
        return self._since_s is not None and (now_s - self._since_s) % (HELD_S + SENT_S) < HELD_S
