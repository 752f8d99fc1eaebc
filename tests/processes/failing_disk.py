"""`exchange` on a disk that fails once the file named by FAILING_DISK is there.

FAILING_CALL says at which call: fdatasync with EIO, or write with ENOSPC after half of the bytes.
"""

import errno
import os
import sys
from pathlib import Path

from server.journal.storage import Storage
from server.supervisor.main import main

SIGN = Path(os.environ["FAILING_DISK"])
sync, write_sound = Storage.fdatasync, Storage.write
halves = 0


def failed(code: int) -> OSError:
    """Leaves a line for each time a call failed."""
    with SIGN.open("a") as sign:
        sign.write(f"{errno.errorcode[code]}\n")
    return OSError(code, os.strerror(code))


def fdatasync(self: Storage) -> None:
    if SIGN.exists():
        raise failed(errno.EIO)
    sync(self)


def write(self: Storage, data: bytes | memoryview) -> int:
    global halves
    if not SIGN.exists():
        return write_sound(self, data)
    halves += 1
    if halves == 1:
        return write_sound(self, data[: len(data) // 2])
    raise failed(errno.ENOSPC)


if __name__ == "__main__":
    if os.environ["FAILING_CALL"] == "write":
        Storage.write = write  # type: ignore[method-assign]
    else:
        Storage.fdatasync = fdatasync  # type: ignore[method-assign]
    sys.exit(main())
