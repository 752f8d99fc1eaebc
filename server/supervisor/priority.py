"""Parts that wait while the exchange needs the cores.

Niceness alone does little on a machine of one's own. Where `sched_autogroup_enabled` is 1, Linux
shares the cores out among sessions first, and only within one by niceness; every part has a session
of its own, so that Ctrl-C reaches only `exchange up`. So a session's niceness is set besides. That
of PostgreSQL is none: it makes a session for each process that it starts, and each of those is as
important to Linux as the server, whatever its niceness. So they are looked for all the time.

From who is not root Linux takes one such change in a tenth of a second, whoever made the last one.
"""

import asyncio
import contextlib
import os
import time
from pathlib import Path
from typing import Final

LOOK_SECONDS: Final = 0.25
TRIES: Final = 20
TRY_SECONDS: Final = 0.1

_PROCESSES: Final = Path("/proc")


def give_way(niceness: int) -> None:
    """This process, and what it starts, from now on. The session only if it is its own."""
    os.nice(niceness)
    if os.getsid(0) != os.getpid():
        return
    for _ in range(TRIES):
        if _set_session(os.getpid(), niceness):
            return
        time.sleep(TRY_SECONDS)


async def children_give_way(niceness: int, process_id: int) -> None:
    """The sessions of what this process starts, until cancelled."""
    done: set[int] = set()
    while True:
        children = _children(process_id)
        done &= children
        done |= {child for child in children - done if _set_session(child, niceness)}
        await asyncio.sleep(LOOK_SECONDS)


def _children(process_id: int) -> set[int]:
    with contextlib.suppress(OSError):
        listed = _PROCESSES / str(process_id) / "task" / str(process_id) / "children"
        return set(map(int, listed.read_text("ascii").split()))
    return set()


def _set_session(process_id: int, niceness: int) -> bool:
    """Whether it is done, or can't be: not there on other systems, nor once the process is gone.
    A process has no session of its own before it makes one."""
    try:
        if os.getsid(process_id) != process_id:
            return False
        (_PROCESSES / str(process_id) / "autogroup").write_text(str(niceness), "ascii")
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
