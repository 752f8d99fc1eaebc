"""The ticker stream: the newest state of one market, for whoever is fast enough to see it.

Nothing is queued for a reader. It is woken by each record that touched the book, which every trade
does, and is sent what the market is then; one that is slow finds the newest state when it has read
the last. After each second of quiet it is sent again: that is the heartbeat.
"""

from collections.abc import AsyncGenerator, Callable

from server.core.engine import Engine
from server.feed.depth import Depth
from server.feed.fan_out import Reader, Readers
from server.sequencer.sequencer import Sequencer

Rendered = tuple[int, bytes]
"""A sequence, and the message that is true at it."""


class TickerReader(Reader):
    """One stream of a ticker."""

    stream = "ticker"

    def __init__(
        self,
        readers: Readers,
        peer: str,
        sequencer: Sequencer,
        depth: Depth,
        render: Callable[[Engine], Rendered],
    ) -> None:
        super().__init__(readers, peer)
        self._sequencer = sequencer
        self._depth = depth
        self._render = render
        depth.readers.add(self)

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """The ticker as it is, then whenever it may have changed."""
        while True:
            self.sequence_sent, message = await self._sequencer.at_boundary(self._render)
            yield message
            if self._depth.sequence <= self.sequence_sent:
                await self.news()

    def leave(self) -> None:
        """Be woken no more."""
        self._depth.readers.discard(self)
