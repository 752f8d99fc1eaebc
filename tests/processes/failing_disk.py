"""`exchange` on a disk whose syncs fail once the file named by FAILING_DISK is there."""

import errno
import os
import sys
from pathlib import Path

from server.journal.storage import Storage
from server.supervisor.main import main

SIGN = Path(os.environ["FAILING_DISK"])
sound = Storage.fdatasync


def fdatasync(self: Storage) -> None:
    """Leaves a line for each time it is called after it began to fail."""
    if SIGN.exists():
        with SIGN.open("a") as sign:
            sign.write("EIO\n")
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    sound(self)


if __name__ == "__main__":
    Storage.fdatasync = fdatasync  # type: ignore[method-assign]
    sys.exit(main())
