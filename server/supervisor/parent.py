"""The part's side of being watched: it is gone within a second of the process that started it.

`exchange up` gives each part one end of a socket pair and its own process id, in one variable.
Two things end a part whose parent is gone, however it went: the kernel sends it SIGKILL (Linux; it
survives `exec`, which is how Envoy gets it), and a thread sees the end of the socket (everywhere).
SIGKILL, because the journal makes a hard end safe, and nothing softer is sure to be over in time.
The same socket takes one line the other way: the part serves.

Run by itself, a part has no such variable, follows nobody, and `serving` says nothing.
"""

import ctypes
import os
import signal
import socket
import sys
import threading
from typing import Final

VARIABLE: Final = "EXCHANGE_PARENT"
SERVING: Final = b"serving\n"
_PR_SET_PDEATHSIG: Final = 1


class Parent:
    """Who started this process, if it was `exchange up`."""

    def __init__(self, link: socket.socket | None) -> None:
        self._link = link

    @classmethod
    def follow(cls) -> "Parent":
        """Tie this process to its parent; to be called first, from the main thread."""
        given = os.environ.pop(VARIABLE, "")
        if not given:
            return cls(None)
        descriptor, process_id = map(int, given.split(":"))
        link = socket.socket(fileno=descriptor)
        link.set_inheritable(False)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != process_id:
            os._exit(1)
        threading.Thread(target=_end_with, args=(link,), name="parent", daemon=True).start()
        return cls(link)

    def serving(self) -> None:
        """Tell that this part serves now."""
        if self._link is not None:
            self._link.sendall(SERVING)


def _end_with(link: socket.socket) -> None:
    try:
        while link.recv(64):
            pass
    finally:
        os.kill(os.getpid(), signal.SIGKILL)
