"""A whole terminal as a canvas: pictures in, keys out, and everything as it was afterwards.

Pictures go to the terminal's second screen, so that what was there before is there again at the
end. Each is written in one piece over the one before, and nothing is cleared first, so it does not
flicker. Suspending (Ctrl-Z) gives the terminal back until the program goes on.
"""

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Self

from clients.terminal import Line, text_of, width_of

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # second screen, no cursor, no wrapping of long lines
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
FRAME = "\x1b[?2026h\x1b[H", "\x1b[?2026l"  # shown as one, where the terminal knows how
LINE_END = "\x1b[K"
KEY_BYTES_MAX = 64  # of one look: more than a person types meanwhile


class Canvas:
    """The terminal between `with` and its end; needs a running event loop."""

    def __init__(self, coloured: bool, redraw: Callable[[], None], quit_: Callable[[], None]):
        self._coloured = coloured
        self._redraw = redraw
        self._quit = quit_
        self._keys: int | None = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._before: list[object] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, now."""
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        return columns or 80, lines or 24  # a terminal that was never told says 0

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these lines in place of the ones before."""
        columns, _ = self.size
        text = "\r\n".join(self._text(line, columns) for line in lines)
        self._write(f"{FRAME[0]}{text}{FRAME[1]}")

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._take()
        if self._keys is not None:
            loop.add_reader(self._keys, self._read_keys)
        loop.add_signal_handler(signal.SIGWINCH, self._redraw)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        if self._keys is not None:
            loop.remove_reader(self._keys)
        loop.remove_signal_handler(signal.SIGWINCH)
        loop.remove_signal_handler(signal.SIGTSTP)
        # Where the terminal has gone away there is nothing to give back.
        with suppress(OSError, termios.error):
            self._give_back()

    def _text(self, line: Line, columns: int) -> str:
        # After a full line the cursor is still on its last character, which would be erased.
        end = LINE_END if width_of(line) < columns else ""
        return text_of(line, coloured=self._coloured) + end

    def _take(self) -> None:
        if self._keys is not None:
            self._before = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys)
        self._write(ENTER)

    def _give_back(self) -> None:
        self._write(LEAVE)
        if self._keys is not None and self._before is not None:
            termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)  # type: ignore[arg-type]

    def _suspend(self) -> None:
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)  # until somebody lets it go on
        self._take()
        self._redraw()

    def _read_keys(self) -> None:
        assert self._keys is not None
        try:
            keys = os.read(self._keys, KEY_BYTES_MAX)
        except OSError:
            keys = b""
        if not keys or b"q" in keys or b"Q" in keys:
            self._quit()

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
