"""Parts that wait while the exchange needs the cores.

Two things are said of each: its niceness, how little it gets while others want a core too; and its
slice, how long it may have a core before it is another's turn. Linux (since 6.12) lets who wakes
take a core at once from one whose slice is longer. Each record wakes the server twice; where all
slices are the same, it often waits for a follower's to end.

Where `sched_autogroup_enabled` is 1, Linux shares the cores out among sessions first, and only
within one by either. So all parts stay in the session of `exchange up`. PostgreSQL makes a session
for each process that it starts, each of them as important to Linux as all the rest together; so
those are looked for all the time, and get a niceness of their own.

From who is not root Linux takes one such change in a tenth of a second, whoever made the last one.
"""

import asyncio
import contextlib
import ctypes
import os
import platform
from pathlib import Path
from struct import Struct
from typing import Final

LOOK_S: Final = 0.25
SESSION_NICENESS_MAX: Final = 10
"""The bound of a session's niceness. A process waits for the exchange alone, a session for
everybody: at 19, on a machine where others were busy for good, a first start took over 90 s."""
SLICE_NS: Final = 100_000_000
"""The longest slice that Linux takes."""

_PROCESSES: Final = Path("/proc")
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
"""The number of the system call, which C's library has no function for before 2.41."""
_ATTRIBUTES: Final = Struct("<IIQiIQQQ")
"""The attributes: size, policy, flags, niceness, priority, runtime (of an ordinary process: its
slice), deadline, period."""
_KEEP_POLICY: Final = 8
"""The flag that keeps what somebody chose for the whole exchange."""


def give_way(niceness: int) -> None:
    """Give way with this process, and what it starts, from now on."""
    os.nice(niceness)
    number = _SCHED_SETATTR.get(platform.machine())
    if niceness and platform.system() == "Linux" and number is not None:
        given = _ATTRIBUTES.pack(
            _ATTRIBUTES.size, 0, _KEEP_POLICY, os.getpriority(os.PRIO_PROCESS, 0), 0, SLICE_NS, 0, 0
        )
        # Where it is refused, by a container's filter, say, niceness is what there is.
        ctypes.CDLL(None).syscall(number, 0, given, 0)


async def children_give_way(niceness: int, process_id: int) -> None:
    """Make the sessions of what this process starts give way, until cancelled."""
    niceness = min(niceness, SESSION_NICENESS_MAX)
    done: set[int] = set()
    while True:
        children = _children(process_id)
        done &= children
        done |= {child for child in children - done if _set_session(child, niceness)}
        await asyncio.sleep(LOOK_S)


def _children(process_id: int) -> set[int]:
    with contextlib.suppress(OSError):
        listed = _PROCESSES / str(process_id) / "task" / str(process_id) / "children"
        return set(map(int, listed.read_text("ascii").split()))
    return set()


def _set_session(process_id: int, niceness: int) -> bool:
    """Set a session's niceness; tell whether that is done, or can't be: not there on other systems,
    nor once the process is gone. A process has no session of its own before it makes one."""
    try:
        if os.getsid(process_id) != process_id:
            return False
        (_PROCESSES / str(process_id) / "autogroup").write_text(str(niceness), "ascii")
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
