"""Parts that wait while the exchange needs the cores.

Niceness alone does little on a machine of one's own. Where `sched_autogroup_enabled` is 1, Linux
shares the cores out among sessions first, and only within one by niceness; every part has a session
of its own, so that Ctrl-C reaches only `exchange up`. So a session's niceness is set besides. That
of PostgreSQL is none: it makes a session for each process that it starts, and each of those is as
important to Linux as the server, whatever its niceness. They are looked for once a second.
"""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

LOOK_SECONDS: Final = 1.0

_PROCESSES: Final = Path("/proc")


def give_way(niceness: int) -> None:
    """This process, and what it starts, from now on. The session only if it is its own."""
    os.nice(niceness)
    if os.getsid(0) == os.getpid():
        _set_session(os.getpid(), niceness)


async def children_give_way(niceness: int, process_id: int) -> None:
    """The sessions of what this process starts, until cancelled."""
    known: set[int] = set()
    while True:
        now = _children(process_id)
        for child in now - known:
            _set_session(child, niceness)
        known = now
        await asyncio.sleep(LOOK_SECONDS)


def _children(process_id: int) -> set[int]:
    with contextlib.suppress(OSError):
        listed = _PROCESSES / str(process_id) / "task" / str(process_id) / "children"
        return set(map(int, listed.read_text("ascii").split()))
    return set()


def _set_session(process_id: int, niceness: int) -> None:
    # Not there on other systems; not to be had without sessions of their own.
    with contextlib.suppress(OSError):
        (_PROCESSES / str(process_id) / "autogroup").write_text(str(niceness), "ascii")
