"""The file below the journal: the few system calls that durability rests on."""

import ctypes
import errno
import os
import stat
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol

DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors that go away by themselves once somebody frees room."""

NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE})
"""Errors that go away once others, callers most of all, leave."""

UNREADABLE: Final = frozenset({errno.EIO, errno.EBADMSG, errno.EUCLEAN})
"""Errors of a disk, or of a file system, that can't give back what was written."""

_KEEP_SIZE: Final = 1
"""FALLOC_FL_KEEP_SIZE: `os.posix_fallocate` would move the end of the file."""
_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})


class Readable(Protocol):
    """What readers of frames need: a file, or the segments that read like one."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end."""

    def size(self) -> int:
        """Tell where it ends."""

    def place(self, offset: int) -> tuple[Path, int]:
        """File and offset, for people."""


class Writable(Protocol):
    """What is written to, at its end."""

    path: Path

    def write(self, data: bytes | memoryview) -> int:
        """Write at the end; may take only the first part and says how much."""


class Storage:
    """An open file, appended to by one thread and read by any; tests put one that fails in its
    place."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path, *, writable: bool = True) -> "Storage":
        """Open an existing file, without waiting for what another kind of thing might bring;
        writing begins at its end."""
        how = os.O_RDWR if writable else os.O_RDONLY
        storage = cls(path, os.open(path, how | os.O_NONBLOCK))
        if not stat.S_ISREG(os.fstat(storage._descriptor).st_mode):
            storage.close()
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        os.lseek(storage._descriptor, 0, os.SEEK_END)
        return storage

    def write(self, data: bytes | memoryview) -> int:
        """Write at the end; may take only the first part and says how much."""
        return os.write(self._descriptor, data)

    def fdatasync(self) -> None:
        """Make everything written durable, or raise; never call it again after it raised."""
        os.fdatasync(self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only where the file ends."""
        at = offset
        try:
            data = os.pread(self._descriptor, size, at)
            if len(data) == size or not data:
                return data
            parts = [data]
            at += len(data)
            while at < offset + size and (
                data := os.pread(self._descriptor, offset + size - at, at)
            ):
                parts.append(data)
                at += len(data)
        except OSError as error:
            reason = f"{error.strerror} at offset {at}"
            raise OSError(error.errno, reason, str(self.path)) from error
        return b"".join(parts)

    def place(self, offset: int) -> tuple[Path, int]:
        """File and offset, for people."""
        return self.path, offset

    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._descriptor).st_size

    def cut(self, size: int) -> None:
        """End the file here, durably."""
        os.ftruncate(self._descriptor, size)
        os.fsync(self._descriptor)
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def reserve(self, size: int) -> None:
        """Have room on the disk for so many bytes, without making the file any longer. Raises
        `OSError` where there is none; a file system that can't reserve is taken as it is."""
        fallocate = ctypes.CDLL(None, use_errno=True).fallocate
        fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        while fallocate(self._descriptor, _KEEP_SIZE, 0, size):
            code = ctypes.get_errno()
            if code in _UNSUPPORTED:
                return
            if code != errno.EINTR:
                raise OSError(code, os.strerror(code), str(self.path))

    def give_back(self) -> None:
        """Give back the room behind the end of the file."""
        os.ftruncate(self._descriptor, self.size())

    def close(self) -> None:
        """Close; nothing may use it afterwards."""
        os.close(self._descriptor)


def write_all(storage: Writable, data: bytes) -> None:
    """Write everything, however many calls it takes; raises `OSError`."""
    written = storage.write(data)
    if written == len(data):
        return
    rest = memoryview(data)[written:]
    while rest:
        written = storage.write(rest)
        if written == 0:
            raise OSError(f"{storage.path} takes no more bytes")
        rest = rest[written:]


def create(path: Path) -> Storage:
    """A new file that only its owner can read; raises `FileExistsError`."""
    return Storage(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def sync_directory(directory: Path) -> None:
    """Make names created, renamed or removed in it durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes) -> None:
    """Put it in the place of the one before: after a crash there is all of either. Raises
    `OSError`."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    with closing(create(temporary)) as storage:
        write_all(storage, data)
        publish(storage, path)


def publish(temporary: Storage, path: Path, directory: int | None = None) -> None:
    """Give a file written whole its name: after a crash there is all of it or nothing. With an open
    `directory` it takes no descriptor, of which none may be left."""
    temporary.fdatasync()
    temporary.path.rename(path)
    temporary.path = path
    if directory is None:
        sync_directory(path.parent)
    else:
        os.fsync(directory)
