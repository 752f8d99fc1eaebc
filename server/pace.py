"""How often work that takes long says how far it is."""

import time
from typing import Final

INTERVAL_S: Final = 1.0
"""Between two times, and before the first: shorter work says nothing."""


class Pace:
    """Begins with the work, and is asked as often as one likes."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._due_s = self._began_s + INTERVAL_S

    def is_due(self) -> bool:
        """Whether to say it now; then not again before `INTERVAL_S` is over."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return False
        self._due_s = now_s + INTERVAL_S
        return True

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return time.monotonic() - self._began_s
