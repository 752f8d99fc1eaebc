"""The file below the journal: the few system calls that durability rests on."""

import os
from pathlib import Path


class Storage:
    """An open file, appended to by one thread and read by any; tests put one that fails in its
    place."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path, *, writable: bool = True) -> "Storage":
        """Open an existing file; writing begins at its end."""
        storage = cls(path, os.open(path, os.O_RDWR if writable else os.O_RDONLY))
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
        data = os.pread(self._descriptor, size, offset)
        if len(data) == size or not data:
            return data
        parts = [data]
        missing = size - len(data)
        while missing and (data := os.pread(self._descriptor, missing, offset + size - missing)):
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._descriptor).st_size

    def cut(self, size: int) -> None:
        """End the file here, durably."""
        os.ftruncate(self._descriptor, size)
        os.fsync(self._descriptor)
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def close(self) -> None:
        """Close; nothing may use it afterwards."""
        os.close(self._descriptor)


def write_all(storage: Storage, data: bytes) -> None:
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


def publish(temporary: Storage, path: Path) -> None:
    """Give a file written whole its name: after a crash there is all of it or nothing."""
    temporary.fdatasync()
    temporary.path.rename(path)
    temporary.path = path
    sync_directory(path.parent)
