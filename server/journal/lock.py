"""One process for each data directory: an exclusive `flock` on `lock` in it.

The kernel releases it when the process ends, however it ends, so the file stays and its content
(JSON: pid, and the gRPC address once known) means something only while the lock is held.
"""

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Self

from server.journal.refusals import JournalRefused

LOCK_NAME: Final = "lock"
_CONTENT_BYTES_MAX: Final = 4096
_UNWRITABLE: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class DirectoryLocked(JournalRefused):
    """Another process has the data directory; `pid` and `address` are its own, where known."""

    def __init__(self, directory: Path, pid: int | None, address: str | None) -> None:
        self.pid = pid
        self.address = address
        owner = "another process" if pid is None else f"pid {pid}"
        at = "" if address is None else f" (gRPC at {address})"
        super().__init__(
            f"data directory {directory} is locked by {owner}{at}; stop that one, or choose another"
            " directory with --data-dir"
        )


class DirectoryLock:
    """Held from construction until `release`; the directory is made if it isn't there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / LOCK_NAME
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _take(directory, self._descriptor, fcntl.LOCK_EX)
            self._state({"pid": os.getpid()})
        except (OSError, DirectoryLocked):
            os.close(self._descriptor)  # Nobody else would release it.
            raise

    def announce(self, address: str) -> None:
        """Tell whoever is refused where this process serves gRPC."""
        self._state({"pid": os.getpid(), "grpc": address})

    def release(self) -> None:
        """Let others have the directory."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _state(self, content: dict[str, int | str]) -> None:
        text = json.dumps(content).encode()
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))


@contextmanager
def reading(directory: Path) -> Iterator[None]:
    """While the directory is only read, which no owner may change meanwhile; raises
    `DirectoryLocked`. No lock file is made, without which nobody ever had the directory, and one
    that can't be written, on a mount or in a copy, will do."""
    path = directory / LOCK_NAME
    with ExitStack() as stack:
        if path.exists():
            try:
                stack.enter_context(DirectoryLock(directory))
            except OSError as failure:
                if failure.errno not in _UNWRITABLE:
                    raise
                descriptor = os.open(path, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                _take(directory, descriptor, fcntl.LOCK_SH)
        yield


def _take(directory: Path, descriptor: int, lock: int) -> None:
    try:
        fcntl.flock(descriptor, lock | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DirectoryLocked(directory, *_owner(descriptor)) from None


def _owner(descriptor: int) -> tuple[int | None, str | None]:
    """Who says it holds the lock; it may not have written that yet."""
    try:
        content = json.loads(os.pread(descriptor, _CONTENT_BYTES_MAX, 0))
    except ValueError:
        return None, None
    return content.get("pid"), content.get("grpc")
