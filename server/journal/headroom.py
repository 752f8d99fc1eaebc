"""Room for what is to come: the file of the next segment, reserved before it is needed.

A thread of its own makes an empty file with the room of a whole segment, `journal.next-<number>`,
whenever there is none. The journal's thread takes it when it begins the next segment, gives it its
name, and never waits for it. Such files that a crash left behind are removed by the next start.

Where room can't be had the journal is *full*, and that is told at once: at that moment most of a
segment is still reserved, which is for cancels and whatever else must go on; a server that can't
reserve the segment which it finds doesn't start. It is tried again each `RETRY_S`, and told
when it succeeds, so that freed room is found without anybody's doing. What was reserved only in
part is given back. Where no file can be opened, because callers have every descriptor, it is tried
again too, but nothing is told: the segment grows meanwhile. Known limit: a file system that can't
reserve gives no headroom; a full disk then ends the process at the write that fails.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from server.journal.segments import FILE_NAME
from server.journal.storage import NO_DESCRIPTOR, Storage, create

RETRY_S: Final = 0.5
"""Time between two attempts on a full disk."""


class Headroom:
    """Keeps the next segment's file ready; `take` is for the journal's thread."""

    def __init__(
        self, directory: Path, segment_bytes: int, on_change: Callable[[str], None]
    ) -> None:
        """`on_change` is told why there is no room, and with an empty text that there is again;
        it is called in a thread of this."""
        self.why_full = ""
        """Why no room can be had; empty while it can."""
        self._directory = directory
        self._count = 0
        self._segment_bytes = segment_bytes
        self._on_change = on_change
        self._ready: Storage | None = None
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="headroom", daemon=True)

    def start(self) -> None:
        """Reserve the room of the next segment, and go on so."""
        self._attempt()
        self._thread.start()

    def take(self) -> Storage | None:
        """The file of the next segment, if it is ready; another one is made then."""
        with self._lock:
            ready, self._ready = self._ready, None
        self._wanted.set()
        return ready

    def stop(self) -> None:
        """Reserve nothing more, and give back what nobody took; the journal's thread may still be
        at work, and takes nothing from now on."""
        self._stopped = True
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join()
        left_over = self.take()
        if left_over is not None:
            left_over.close()
            left_over.path.unlink(missing_ok=True)

    def _run(self) -> None:
        while True:
            self._wanted.wait(RETRY_S if self._ready is None else None)
            self._wanted.clear()
            if self._stopped:
                return
            self._attempt()

    def _attempt(self) -> None:
        try:
            self._reserve()
            why = ""
        except OSError as error:
            why = error.strerror or str(error)
            if error.errno in NO_DESCRIPTOR:
                why = self.why_full
        if why != self.why_full:
            self.why_full = why
            self._on_change(why)

    def _reserve(self) -> None:
        if self._ready is not None:
            return
        self._count += 1
        room = create(self._directory / f"{FILE_NAME}.next-{self._count}")
        try:
            room.reserve(self._segment_bytes)
        except OSError:
            room.close()
            room.path.unlink(missing_ok=True)
            raise
        with self._lock:
            self._ready = room


def drop_left_over(directory: Path) -> None:
    """Remove what a crash left of this."""
    for path in directory.glob(f"{FILE_NAME}.next-*"):
        path.unlink()
