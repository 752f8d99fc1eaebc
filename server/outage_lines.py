"""Lines about a part that comes and goes, no more of them than anybody reads.

Each outage is worth a line, and its end another. A part that flaps makes many, so of each part at
most `LINES_MAX` are let through within `WINDOW_S`; the last of them says that no more are.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

LINES_MAX: Final = 10
"""Five outages, with their ends."""
WINDOW_S: Final = 60.0


_USED_AFTER_ITS_END: Final = ("InterfaceError", "InternalClientError")
"""What PostgreSQL's client raises, by many texts about itself, where a connection is used that the
server has closed; errors of other kinds have names of their own."""


def reason(error: Exception) -> str:
    """An error as a part of a line: PostgreSQL's have details and hints in lines of their own."""
    if type(error).__name__ in _USED_AFTER_ITS_END:
        return "the server closed the connection"
    text = str(error).strip()
    if isinstance(error, TimeoutError) and not text:
        text = "no answer in time"
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


class OutageLines:
    """Bounds the lines about outages of one part."""

    def __init__(
        self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._clock = clock
        self._said_s: deque[float] = deque()

    def __call__(self, sentence: str) -> None:
        """Say it, or not."""
        now_s = self._clock()
        while self._said_s and now_s - self._said_s[0] > WINDOW_S:
            self._said_s.popleft()
        if len(self._said_s) < LINES_MAX:
            self._said_s.append(now_s)
            if len(self._said_s) == LINES_MAX:
                sentence += f"; it comes and goes, no more is said of it for {WINDOW_S:.0f} s"
            self._say(sentence)
