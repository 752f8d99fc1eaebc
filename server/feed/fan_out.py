"""Readers of streams: how many, what waits for them, and what becomes of a slow one.

A reader is one stream of one call. Its sender takes messages from it one at a time and gives each
to the transport, which returns once it has room. So whatever a reader doesn't read waits here, and
here it is counted: bytes for each reader, and for each connection the sum over its readers.

- What waits is shared: a piece is encoded once for all readers with the same filter, and all queues
  hold the same bytes. The count takes each queue for itself, so it is an upper bound.
- A reader is judged *before* a record's pieces are added to its queue. A record that is larger than
  the bound (one order may fill forty thousand) makes nobody slow: until all is taken, as much more
  may wait. Memory is the bound and, where there was such a one, it and the record after it.
- Past its own bound a reader is cut; past the connection's bound, the one of its readers for which
  most waits: behind a gateway one connection carries the streams of many people.
- Its place is free only once its call is over, so that calls which nobody reads are bounded too.
- Cut means: what waits is dropped at once, and its sender is interrupted, also in the middle of a
  write, since a transport that has no room may never return. Nobody else notices anything. The
  sender then says where to resume, though not to somebody who reads nothing; every message carries
  its sequence, so that a lost goodbye harms nobody.
- A book reader has no queue (`depth.py`) and is never cut.

Costs: a piece for a reader is an append to a deque and two additions.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from operator import attrgetter
from typing import NamedTuple

from server.settings import FeedLimits


class Piece(NamedTuple):
    """Encoded entries, and the sequence up to which a stream is complete once they are sent."""

    sequence: int
    data: bytes


class StreamEnded(Exception):
    """The server ends a stream; a reader that has everything up to `sequence` resumes after it."""

    def __init__(self, sequence: int) -> None:
        super().__init__(f"resume after sequence {sequence}")
        self.sequence = sequence


class ReaderSlow(StreamEnded):
    """More waited for the reader, or for its connection, than may."""

    def __init__(self, sequence: int, bytes_max: int) -> None:
        super().__init__(sequence)
        self.bytes_max = bytes_max


class ServerStopping(StreamEnded):
    """The server is being stopped."""


class TooManyReaders(Exception):
    """As many streams are open as may."""

    def __init__(self, readers_max: int) -> None:
        super().__init__(f"{readers_max} streams are open, which is the limit")
        self.readers_max = readers_max


class Connection:
    """The readers that share one connection."""

    __slots__ = ("bytes_extra", "bytes_waiting", "readers")

    def __init__(self) -> None:
        self.readers: set[Reader] = set()
        self.bytes_waiting = 0
        self.bytes_extra = 0
        """What its readers may have waiting beyond its bound."""


class Readers:
    """Everybody who reads a stream."""

    def __init__(self, limits: FeedLimits, sequence: int, time_ns: int) -> None:
        self.limits = limits
        self.sequence = sequence
        """Everything up to here has been published."""
        self.time_ns = time_ns
        """The time of that sequence."""
        self.open: set[Reader] = set()
        self.cut_count = 0
        """Readers that were cut since the start."""
        self.stopping = False
        self._connections: dict[str, Connection] = {}

    def admit(self, reader: "Reader", peer: str) -> Connection:
        """Take a reader in; raises `TooManyReaders` or `ServerStopping`."""
        if self.stopping:
            raise ServerStopping(self.sequence)
        if len(self.open) >= self.limits.subscribers_max:
            raise TooManyReaders(self.limits.subscribers_max)
        self.open.add(reader)
        connection = self._connections.setdefault(peer, Connection())
        connection.readers.add(reader)
        return connection

    def dismiss(self, reader: "Reader", peer: str) -> None:
        """Forget a reader, and its connection with the last one."""
        self.open.remove(reader)
        readers = self._connections[peer].readers
        readers.remove(reader)
        if not readers:
            del self._connections[peer]

    def stop(self) -> None:
        """Take nobody in any more, and end every stream once what waits for it is sent."""
        self.stopping = True
        for reader in self.open:
            reader.wake()

    @property
    def bytes_waiting(self) -> int:
        """Counts the bytes that wait for all readers."""
        return sum(connection.bytes_waiting for connection in self._connections.values())


class Reader:
    """One stream. Made by the task that sends it, which is the one that a cut interrupts."""

    stream: str
    """What it is of, for figures: a word, the same for all of its kind."""

    def __init__(self, readers: Readers, peer: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.sequence_sent = 0
        """Of the last message that the transport took: from here it can be resumed."""
        self.ended: ReaderSlow | None = None
        """Set when it is cut."""
        self.bytes_waiting = 0
        self._readers = readers
        self._peer = peer
        self._task = task
        self._signal: asyncio.Future[None] | None = None
        self._connection = readers.admit(self, peer)

    def messages(self) -> AsyncGenerator[bytes, None]:
        """What to send, without an end; raises `ServerStopping`."""
        raise NotImplementedError

    def close(self) -> None:
        """The stream is over: free its place and what it holds."""
        self.leave()
        self._readers.dismiss(self, self._peer)

    def leave(self) -> None:
        """Be told of nothing more, and let go of whatever waits."""

    def wake(self) -> None:
        """There may be something new."""
        signal = self._signal
        if signal is not None and not signal.done():
            signal.set_result(None)

    async def news(self) -> None:
        """Wait until something may be new, or it is time for a heartbeat."""
        if self._readers.stopping:
            raise ServerStopping(self.sequence_sent)
        loop = asyncio.get_running_loop()
        self._signal = loop.create_future()
        timer = loop.call_later(self._readers.limits.heartbeat_ms / 1000, self.wake)
        try:
            await self._signal
        finally:
            timer.cancel()
            self._signal = None


class QueueReader(Reader):
    """A stream that must not miss anything: it is sent all, or cut."""

    def __init__(self, readers: Readers, peer: str) -> None:
        super().__init__(readers, peer)
        self.waiting: deque[Piece] = deque()
        self._bytes_extra = 0
        """What may wait beyond the bound, for a record that was larger than it."""

    def put(self, pieces: Sequence[Piece]) -> None:
        """Queue the pieces of one record, or cut whoever is too slow."""
        limits = self._readers.limits
        connection = self._connection
        if self.bytes_waiting > limits.subscriber_bytes_max + self._bytes_extra:
            self.cut(limits.subscriber_bytes_max)
            return
        if connection.bytes_waiting > limits.connection_bytes_max + connection.bytes_extra:
            slowest = max(connection.readers, key=attrgetter("bytes_waiting"))
            assert isinstance(slowest, QueueReader), "for others nothing waits"
            slowest.cut(limits.connection_bytes_max)
            if slowest is self:
                return
        size = sum(len(piece.data) for piece in pieces)
        self.waiting.extend(pieces)
        self.bytes_waiting += size
        connection.bytes_waiting += size
        if size > limits.subscriber_bytes_max and not self._bytes_extra:
            self._allow(size)
        self.wake()

    def take(self, bytes_max: int) -> list[Piece]:
        """The oldest pieces, at least one and at most about so many bytes."""
        pieces = [self.waiting.popleft()]
        size = len(pieces[0].data)
        while self.waiting and size + len(self.waiting[0].data) <= bytes_max:
            piece = self.waiting.popleft()
            pieces.append(piece)
            size += len(piece.data)
        self.bytes_waiting -= size
        self._connection.bytes_waiting -= size
        if self._bytes_extra and not self.waiting:
            self._allow(0)
        return pieces

    def cut(self, bytes_max: int) -> None:
        """Drop what waits, take no more, and interrupt the sender."""
        self.ended = ReaderSlow(self.sequence_sent, bytes_max)
        self._readers.cut_count += 1
        self.leave()
        self._task.cancel()

    def leave(self) -> None:
        """Drop what waits; who puts pieces here is to override it and stop."""
        self.waiting.clear()
        self._connection.bytes_waiting -= self.bytes_waiting
        self.bytes_waiting = 0
        self._allow(0)

    def _allow(self, bytes_extra: int) -> None:
        self._connection.bytes_extra += bytes_extra - self._bytes_extra
        self._bytes_extra = bytes_extra
