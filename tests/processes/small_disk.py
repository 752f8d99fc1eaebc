"""`exchange` with a disk of its own, of SMALL_DISK_BYTES, mounted at SMALL_DISK for it alone.

The disk goes with the process; SMALL_DISK_OF, if set, is the directory whose files it has at first.
BALLAST, if set, is how much of it something else takes at first; from outside it is reached through
/proc/<pid>/root. DELAY_FIRST_S, if set, is what `up` waits before it starts a part again for
the first time.
"""

import ctypes
import os
import shutil
import sys
from pathlib import Path

NEW_MOUNTS = 0x20000
PRIVATE = 0x4000 | 0x40000

BALLAST_NAME = "ballast"


def mount(directory: Path, size: int) -> None:
    """Needs to be root."""
    libc = ctypes.CDLL(None, use_errno=True)
    directory.mkdir(parents=True, exist_ok=True)
    options = f"size={size},mode=700".encode()
    target = os.fsencode(directory)
    for code in (
        libc.unshare(NEW_MOUNTS),
        libc.mount(b"none", b"/", None, PRIVATE, None),
        libc.mount(b"tmpfs", target, b"tmpfs", 0, options),
    ):
        if code:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def fill(directory: Path, byte_count: int = 1 << 30) -> None:
    """Take so much of it, or all that is left."""
    with (directory / BALLAST_NAME).open("ab", buffering=0) as ballast:
        try:
            while byte_count > 0:
                byte_count -= ballast.write(bytes(4096))
        except OSError:
            return


if __name__ == "__main__":
    disk = Path(os.environ["SMALL_DISK"])
    mount(disk, int(os.environ["SMALL_DISK_BYTES"]))
    if os.environ.get("SMALL_DISK_OF"):
        shutil.copytree(os.environ["SMALL_DISK_OF"], disk, dirs_exist_ok=True)
    if os.environ.get("BALLAST"):
        fill(disk, int(os.environ["BALLAST"]))
    from server.supervisor import supervision
    from server.supervisor.main import main

    if "DELAY_FIRST_S" in os.environ:
        supervision.DELAY_FIRST_S = float(os.environ["DELAY_FIRST_S"])  # type: ignore[misc]
    sys.exit(main())
