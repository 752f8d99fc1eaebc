"""Times to wait between attempts at something that fails."""

import random
from typing import Final

FIRST_S: Final = 0.1


class Delays:
    """Each is at most twice the one before, and up to half of it is left to chance, so that those
    who failed together don't come back together."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self.reset()

    def reset(self) -> None:
        """Things went well: begin with the shortest again."""
        self._next_s = min(FIRST_S, self._longest_s)

    def lengthen(self) -> None:
        """Nothing is gained by trying soon: the longest from now on."""
        self._next_s = self._longest_s

    def next_s(self) -> float:
        """Seconds to wait now."""
        drawn_s = random.uniform(self._next_s / 2, self._next_s)
        self._next_s = min(2 * self._next_s, self._longest_s)
        return drawn_s
