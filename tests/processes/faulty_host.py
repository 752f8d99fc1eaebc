"""`exchange` on a host with a fault (FAULT) that begins when the file named by SIGN is there.

killed: the process ends between the write of a record and its sync. slow: each sync takes as many
seconds as the file says. clock: the wall clock is off by as many seconds as the file says.
"""

import os
import signal
import sys
import time
from pathlib import Path

from server.journal.storage import Storage

SIGN = Path(os.environ["SIGN"])
sync = Storage.fdatasync
wall_clock_ns = time.time_ns


def said() -> float:
    """The file's number; 0 while it isn't there."""
    try:
        return float(SIGN.read_text())
    except (FileNotFoundError, ValueError):
        return 0.0


def killed(self: Storage) -> None:
    if SIGN.exists():
        os.kill(os.getpid(), signal.SIGKILL)
    sync(self)


def slow(self: Storage) -> None:
    time.sleep(said())
    sync(self)


def shifted_ns() -> int:
    return wall_clock_ns() + int(said() * 1e9)


if __name__ == "__main__":
    fault = os.environ["FAULT"]
    if fault == "clock":
        # Before anybody takes the clock.
        time.time_ns = shifted_ns
    else:
        Storage.fdatasync = killed if fault == "killed" else slow  # type: ignore[method-assign]
    from server.supervisor.main import main

    sys.exit(main())
