"""The book stream: a snapshot, then deltas, conflated for whoever is slow.

Nothing is queued for a reader. For each instrument the feed remembers the levels that changed of
late, each with the sequence of its last change and its quantity, in the order of those changes, as
of the last durable record. A reader remembers one number: up to which sequence it knows the levels.
Its next delta is whatever changed after that, so one that keeps up gets every record, one that
doesn't gets each level once with its newest quantity, and both are the same code.

- Memory for a reader is that number, whatever it does. Memory for an instrument is bounded by
  `book_changes_max` levels; the oldest is forgotten, and a reader who needs it (slow beyond that,
  or coming back too late) gets a snapshot again. That is also all that resuming takes.
- A snapshot is taken from the engine between two records and sent once it is durable, `PAGE_LEVELS`
  a side: a book that has more goes on in deltas that add the levels further out, page by page, each
  taken at its own moment together with what changed meanwhile, so that no book, however deep,
  holds up the exchange. Until the last page a message says that it is `partial`: who loses the
  stream before that lacks levels which no delta would tell, and has to start afresh.
- `sequence` of a delta is that of the last record that touched the book; `previous_sequence` is
  that of the reader's message before. A heartbeat says how far everything is published.
- The checksum is made of the ten best levels a side, kept with each record that touched the book;
  the text is hashed when the first reader needs it.

The levels of a delta are encoded once for all readers that know the same, and the pages of a book
once for all that ask for them at one sequence, so that a reader costs a join and a header. Costs
for each record and instrument, with or without readers: about 1 µs for each changed level, and 5 µs
for the ten best.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from google_crc32c import value

from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from server.core.book import KEY_MIN, Book
from server.core.engine import Engine
from server.core.types import BUY, SELL
from server.feed.fan_out import Reader, Readers
from server.sequencer.sequencer import Sequencer

CHECKSUM_LEVELS: Final = 10
PAGE_LEVELS: Final = 2_000
"""A side: about 60 kB, and some 3 ms of the loop."""
PAGES_MAX: Final = 8
"""Shared by those who ask for them at one moment; 0.5 MB each."""
DELTAS_MAX: Final = 64
"""Encoded deltas kept until the next change: readers that keep up share one, others are few."""

Levels = list[tuple[int, int]]
"""(price, quantity), best first."""


class Top(NamedTuple):
    """The best levels of a book."""

    bids: Levels
    asks: Levels


def top_of(book: Book) -> Top:
    """What the checksum covers."""
    return Top(book.depth(BUY, CHECKSUM_LEVELS), book.depth(SELL, CHECKSUM_LEVELS))


def checksum(top: Top) -> int:
    """CRC-32C over `price:quantity,…|price:quantity,…`, bids first, best first."""
    text = "|".join(",".join([f"{price}:{quantity}" for price, quantity in side]) for side in top)
    crc: int = value(text.encode())
    return crc


class Depth:
    """One book as far as it is durable: its recent changes and its best levels."""

    def __init__(self, sequence: int, time_ns: int, top: Top, changes_max: int) -> None:
        self.sequence = sequence
        """Of the last record that touched it; at first where the feed began."""
        self.time_ns = time_ns
        self.floor = sequence
        """Every change after this sequence is remembered."""
        self.readers: set[Reader] = set()
        """Those that a change wakes."""
        self._changes: OrderedDict[int, tuple[int, int]] = OrderedDict()
        self._changes_max = changes_max
        self._top = top
        self._checksum: int | None = None
        self._deltas: dict[int, bytes] = {}

    def change(
        self, sequence: int, time_ns: int, levels: Iterable[tuple[int, int, int]], top: Top
    ) -> None:
        """Take the (side, price, quantity) that a durable record left."""
        self.sequence, self.time_ns, self._top = sequence, time_ns, top
        self._checksum = None
        self._deltas.clear()
        changes = self._changes
        for side, price_e8, quantity_e8 in levels:
            key = price_e8 if side == BUY else -price_e8
            changes[key] = (sequence, quantity_e8)
            changes.move_to_end(key)
        while len(changes) > self._changes_max:
            self.floor = changes.popitem(last=False)[1][0]
        for reader in self.readers:
            reader.wake()

    @property
    def checksum(self) -> int:
        """Give the checksum at `sequence`, good until the next change."""
        if self._checksum is None:
            self._checksum = checksum(self._top)
        return self._checksum

    def after(self, sequence: int) -> Iterator[tuple[int, int]]:
        """(key, quantity) of each level that changed later; a key is a bid's price or minus an
        ask's."""
        for key, (changed, quantity_e8) in reversed(self._changes.items()):
            if changed <= sequence:
                return
            yield key, quantity_e8

    def delta(self, sequence: int) -> bytes:
        """Give the changes after a sequence as an encoded delta."""
        found = self._deltas.get(sequence)
        if found is None:
            if len(self._deltas) >= DELTAS_MAX:
                self._deltas.clear()
            found = self._deltas[sequence] = encoded(dict(self.after(sequence)))
        return found


@dataclass(slots=True)
class Page:
    """Some levels of a book between two records."""

    sequence: int
    time_ns: int
    checksum: int
    levels: dict[int, int]
    """Quantities by key."""
    last: tuple[int, int] | None
    """The keys where the next page goes on; None when there is none."""
    _encoded: bytes = b""

    def encoded(self) -> bytes:
        """The levels, encoded once for all who are given this page."""
        if not self._encoded:
            self._encoded = encoded(self.levels)
        return self._encoded


@lru_cache(maxsize=PAGES_MAX)
def page_at(engine: Engine, _sequence: int, instrument: str, after: tuple[int, int] | None) -> Page:
    """The same page for all who ask at one sequence, as many do at once who lost a server."""
    return page_of(engine, instrument, after)


def page_of(engine: Engine, instrument: str, after: tuple[int, int] | None) -> Page:
    """The next levels outwards on both sides."""
    book = engine.book(instrument)
    levels: dict[int, int] = {}
    last = []
    more = False
    for side, key in zip((book.bids, book.asks), after or (None, None), strict=True):
        end = len(side.keys) if key is None else bisect_left(side.keys, key)
        start = max(end - PAGE_LEVELS, 0)
        keys = side.keys[start:end]
        for own in reversed(keys):
            levels[own] = side.levels[abs(own)].quantity_e8
        # On a side with nothing (more), whatever comes later comes as a change.
        last.append(keys[0] if keys else KEY_MIN if key is None else key)
        more = more or start > 0
    top = checksum(top_of(book))
    next_page = (last[0], last[1]) if more else None
    return Page(engine.sequence, engine.time_ns, top, levels, next_page)


class BookReader(Reader):
    """One stream of a book."""

    stream = "book"

    def __init__(
        self,
        readers: Readers,
        peer: str,
        sequencer: Sequencer,
        instrument: str,
        depth: Depth,
        after_sequence: int | None,
    ) -> None:
        super().__init__(readers, peer)
        self._sequencer = sequencer
        self._instrument = instrument
        self._depth = depth
        self._after = after_sequence
        self._known = 0
        self._page: tuple[int, int] | None = None
        depth.readers.add(self)

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """A snapshot, unless the stream can be resumed; then what changes."""
        depth = self._depth
        if self._after is None or self._after < depth.floor:
            yield await self._snapshot()
        else:
            self._known = self.sequence_sent = self._after
            yield self._told()
        while True:
            if depth.sequence <= self._known and self._page is None:
                await self.news()
            if self._known < depth.floor:
                yield await self._snapshot()
            elif self._page is not None:
                yield await self._further()
            else:
                yield self._told()

    def leave(self) -> None:
        """Be woken no more."""
        self._depth.readers.discard(self)

    def _told(self) -> bytes:
        """What changed since the last message, or a heartbeat."""
        depth, readers = self._depth, self._readers
        if depth.sequence <= self._known:
            return self._message(readers.sequence, readers.time_ns, depth.checksum, b"")
        body = depth.delta(self._known)
        self._known = depth.sequence
        return self._message(depth.sequence, depth.time_ns, depth.checksum, body)

    async def _snapshot(self) -> bytes:
        page = await self._next_page(None)
        self._known = self.sequence_sent = page.sequence
        body = StreamOrderBookResponse(snapshot=True).SerializeToString() + page.encoded()
        return self._message(page.sequence, page.time_ns, page.checksum, body)

    async def _further(self) -> bytes:
        """The next levels outwards, and what changed since the last message."""
        page = await self._next_page(self._page)
        depth = self._depth
        if self._known < depth.floor:
            return await self._snapshot()
        changes = dict(depth.after(self._known))
        body = encoded(page.levels | changes) if changes else page.encoded()
        if depth.sequence > page.sequence:
            self._known = depth.sequence
            return self._message(depth.sequence, depth.time_ns, depth.checksum, body)
        self._known = page.sequence
        return self._message(page.sequence, page.time_ns, page.checksum, body)

    async def _next_page(self, after: tuple[int, int] | None) -> Page:
        name = self._instrument
        page = await self._sequencer.at_boundary(
            lambda engine: page_at(engine, engine.sequence, name, after)
        )
        self._page = page.last
        return page

    def _message(self, sequence: int, time_ns: int, top: int, body: bytes) -> bytes:
        """Complete a message; it counts as sent from here on, since a book can start afresh."""
        header = StreamOrderBookResponse(
            sequence=sequence,
            previous_sequence=self.sequence_sent,
            time_ns=time_ns,
            checksum=top,
            partial=self._page is not None,
        )
        self.sequence_sent = sequence
        return body + header.SerializeToString()


def encoded(levels: dict[int, int]) -> bytes:
    """Levels as part of a message, in the order given."""
    message = StreamOrderBookResponse()
    bid, ask = message.bids.add, message.asks.add
    for key, quantity_e8 in levels.items():
        if key > 0:
            bid(price_e8=key, quantity_e8=quantity_e8)
        else:
            ask(price_e8=-key, quantity_e8=quantity_e8)
    return message.SerializeToString()
