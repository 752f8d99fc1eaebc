"""How far a long run is: one line that is overwritten on a terminal, now and then one elsewhere."""

import os
import sys
import time

COLUMNS = 80  # of a terminal that was never told how wide it is
LINES_EVERY_S = 10.0  # between lines in a file or a pipe, where each stays


class Progress:
    """Writes to standard error, so that what is printed stays the answer."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._next = 0.0
        self._open = False

    def show(self, line: str) -> None:
        """The newest state."""
        if self._terminal:
            # Return, the line, and erase what an older, longer one has left behind it. One that
            # went on in the next row would stay: return leads to the beginning of a row only.
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or COLUMNS
            print(f"\r{line[: columns - 1]}\x1b[K", end="", file=sys.stderr, flush=True)
            self._open = True
        elif (now := time.monotonic()) >= self._next:
            print(line, file=sys.stderr, flush=True)
            self._next = now + LINES_EVERY_S

    def end(self) -> None:
        """Nothing more will be shown."""
        if self._open:
            print(file=sys.stderr)
            self._open = False
