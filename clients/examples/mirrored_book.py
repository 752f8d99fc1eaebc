"""A mirrored book: kept from deltas, and compared with the exchange's own again and again.

The copy and the answer to a call must be of the same sequence to be compared. A call says at which
sequence its book is true, and the copy changes in steps, from one sequence to a later one; so the
answer is held until the copy has got there. If a step ends at that very sequence the two have to be
equal, and if it passes over, nothing can be said of this one.
"""

import asyncio
import sys
from collections import deque
from contextlib import aclosing

from clients.client import ExchangeClient
from clients.examples.command_line import parser, run, say_interruption
from clients.mirror import BookMirror
from clients.types import Book

LEVELS = 100  # a side, of a comparison
PAUSE_S = 0.1  # between two comparisons
HELD_MAX = 100  # answers that wait for the copy: ten seconds' worth, then the oldest are let go


class BookDiffersError(AssertionError):
    """The copy is not the exchange's book at the same sequence."""


class MirroredBook:
    """Follows one book and compares it."""

    def __init__(self, exchange: ExchangeClient, instrument: str) -> None:
        self.exchange = exchange
        self.instrument = instrument
        self.mirror = BookMirror(instrument)
        self.equal_count = 0
        """Comparisons, which found no difference."""
        self._held: deque[Book] = deque(maxlen=HELD_MAX)

    async def run(self) -> None:
        """Follows and compares until it is cancelled; raises `BookDiffersError`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._ask())

    async def _follow(self) -> None:
        stream = self.exchange.follow_book(self.instrument, on_interruption=say_interruption)
        async with aclosing(stream) as books:
            async for self.mirror in books:
                if self.mirror.restarted:
                    print(f"started afresh: {self.mirror.restarted}", flush=True)
                self._compare()

    async def _ask(self) -> None:
        while True:
            self._held.append(await self.exchange.book(self.instrument, LEVELS))
            self._compare()
            await asyncio.sleep(PAUSE_S)

    def _compare(self) -> None:
        """Judge what the copy has reached."""
        sequence = self.mirror.sequence
        while self._held and self._held[0].sequence <= sequence:
            book = self._held.popleft()
            if book.sequence == sequence:
                own = self.mirror.book(LEVELS)
                if (own.bids, own.asks) != (book.bids, book.asks):
                    raise BookDiffersError(f"at sequence {sequence}: {own} is not {book}")
                self.equal_count += 1


def main(arguments: list[str] | None = None) -> int:
    """Run it from a terminal."""
    options = parser(__doc__ or "").parse_args(arguments)

    async def work(exchange: ExchangeClient) -> None:
        mirrored = MirroredBook(exchange, options.instrument)
        try:
            await mirrored.run()
        finally:
            mirror = mirrored.mirror
            bid, ask = (
                f"{level.price:f}" if level else "-" for level in (mirror.best_bid, mirror.best_ask)
            )
            print(
                f"{options.instrument} at sequence {mirror.sequence}: bid {bid}, ask {ask}, "
                f"{mirrored.equal_count} times equal to the exchange's, "
                f"{mirror.restart_count} times started afresh",
                flush=True,
            )

    return run(work, options)


if __name__ == "__main__":
    sys.exit(main())
