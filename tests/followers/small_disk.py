"""A small real disk for one program of a test: mounted in a namespace that a process holds open."""

import shutil
import subprocess
from pathlib import Path

from tests.processes.small_disk import BALLAST_NAME, fill

_HOLD = 'mount -t tmpfs -o size="$1",mode=700 none "$2" && echo mounted && read -r _'


class SmallDisk:
    """At `place` for what is started through `enter`; for the test it is at `path`. It goes with
    the process that holds it, and that one with the test."""

    def __init__(self, place: Path, byte_count: int) -> None:
        self.place = place
        place.mkdir(mode=0o700, parents=True)
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _HOLD, "sh", str(byte_count), str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"mounted\n", "no disk"
        self.enter = ("nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--")
        self.path = Path(f"/proc/{self._holder.pid}/root{place}")

    def take_over(self, directory: Path) -> None:
        """Have what a directory holds on it, and a link in its place."""
        shutil.copytree(directory, self.path / directory.name)
        shutil.rmtree(directory)
        directory.symlink_to(self.place / directory.name)

    def fill(self) -> None:
        """Nothing more fits on it."""
        fill(self.path)

    def free(self) -> None:
        """There is room again."""
        (self.path / BALLAST_NAME).unlink()

    def close(self) -> None:
        """It is gone with all that it holds."""
        self._holder.communicate()
