"""The part's side of being watched: it is gone within a second of the process that started it.

`exchange up` gives each part one end of a socket pair and its own process id, in one variable.
Two things end a part whose parent is gone, however it went: the kernel sends it SIGKILL (Linux; it
survives `exec`, which is how Envoy gets it), and a thread sees the end of the socket (everywhere).
SIGKILL, because the journal makes a hard end safe, and nothing softer is sure to be over in time.
The same socket takes lines: from the part one, that it serves; to the server those that name the
process of each part, whenever that changes, so that it can show what they use.

Run by itself, a part has no such variable, follows nobody, and `serving` says nothing.

Run as a module it becomes a program that is not to outlive who started it: `tied`. Python could
have its child do that between fork and exec, but a copy of a process with threads may do nothing
there safely, and gRPC's handlers of a fork do much.
"""

import ctypes
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Final

VARIABLE: Final = "EXCHANGE_PARENT"
SERVING: Final = b"serving\n"
NOT_RUNNING: Final = 0
"""The value in place of a process id for a part that is to run, and doesn't at this moment."""
LINE_BYTES_MAX: Final = 4_096
"""The length of a line that is sent to a part: a few names and process ids."""
_PR_SET_PDEATHSIG: Final = 1
_PRCTL: Final = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class Parent:
    """The process that started this one, if it was `exchange up`."""

    def __init__(self, link: socket.socket | None) -> None:
        self._link = link
        self.process_ids: dict[str, int] = {}
        """The process ids of the parts, by name, as last received; `NOT_RUNNING` for none."""

    @classmethod
    def follow(cls) -> "Parent":
        """Tie this process to its parent; to be called first, from the main thread."""
        given = os.environ.pop(VARIABLE, "")
        if not given:
            return cls(None)
        try:
            descriptor, process_id = map(int, given.split(":"))
            link = socket.socket(fileno=descriptor)
        except (ValueError, OverflowError, OSError):
            sys.exit(f"exchange: {VARIABLE} is {given!r}; `exchange up` alone sets it: unset it")
        link.set_inheritable(False)
        die_with_parent()
        if os.getppid() != process_id:
            os._exit(1)
        parent = cls(link)
        threading.Thread(target=parent._hear, name="parent", daemon=True).start()
        return parent

    def serving(self) -> None:
        """Send word that this part serves now."""
        if self._link is not None:
            self._link.sendall(SERVING)

    def _hear(self) -> None:
        assert self._link is not None
        waiting = b""
        try:
            while chunk := self._link.recv(LINE_BYTES_MAX):
                *lines, waiting = (waiting + chunk).split(b"\n")
                for line in lines:
                    self.process_ids = named_processes(line)
                assert len(waiting) <= LINE_BYTES_MAX, waiting
        finally:
            os.kill(os.getpid(), signal.SIGKILL)


def die_with_parent() -> None:
    """Have the kernel send SIGKILL once the parent is gone. It survives `exec`."""
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def processes_line(process_ids: Mapping[str, int]) -> bytes:
    """Write a line that names the process of each part, or says that there is none."""
    return b" ".join(b"%s=%d" % (name.encode(), it) for name, it in process_ids.items()) + b"\n"


def named_processes(line: bytes) -> dict[str, int]:
    """Read what `processes_line` wrote."""
    pairs = (pair.split("=") for pair in line.decode().split())
    return {name: int(process_id) for name, process_id in pairs}


def tied(program: Sequence[str]) -> list[str]:
    """Make the program one that is started by this process and ends with it."""
    return [sys.executable, "-P", "-m", "server.supervisor.parent", str(os.getpid()), *program]


def main(arguments: list[str]) -> None:
    """Become a program that ends with the process of this id, which started this one."""
    process_id, *program = arguments
    die_with_parent()
    if os.getppid() != int(process_id):
        sys.exit(1)
    os.execvp(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
