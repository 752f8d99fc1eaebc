"""Channels of a state: `depth` tells its changes, `orderbook` and `ticker` all of it each time.

Who joins `depth` is sent the best levels, then those further out, `PAGE_LEVELS` a side: each page
is of its own moment, between the changes that everybody is sent, and is made once there is room for
it. Until the last one, whatever he is sent says that it is `partial`.

`orderbook` and `ticker` are conflated for everybody: at most one state each `STATE_S`.
"""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

from clients.client import ExchangeClient
from clients.mirror import CHECKSUM_LEVELS, BookMirror
from clients.types import Side, Ticker
from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from gateway.websocket.channels import Channel, Subscriber
from gateway.websocket.frames import Frame, level_json, number, ticker_json, time_text, update

STATE_S: Final = 0.1
"""The time between two states of a book or ticker: more often than an eye can follow."""
LEVELS: Final = 20
"""The levels a side of `orderbook`: what a place reply holds too."""
PAGE_LEVELS: Final = 500
"""A side, of a deep book: some 50 kB and 2 ms of the loop."""

Ends = tuple[int | None, int | None]
"""The worst price of each side that was sent: None before any, `ALL` once there is none beyond."""
BEST: Final[Ends] = (None, None)
ALL: Final = 0
Levels = list[tuple[int, int]]
"""Price and quantity, in units of 10^-8."""


class DepthChannel(Channel):
    """Publishes `depth`: a snapshot, then each message of the book's stream."""

    kind = "depth"

    def __init__(self, exchange: ExchangeClient, instrument: str) -> None:
        super().__init__(exchange, instrument)
        self.mirror: BookMirror | None = None
        self.changed = asyncio.Event()
        self._checksum = 0
        self._pages: dict[Ends, tuple[Frame, Ends | None]] = {}
        """Of this moment, and where the next begins, by where they begin."""
        self._paging: dict[Subscriber, asyncio.Task[None]] = {}
        """Who is still being sent the levels further out."""
        self._sent: dict[Subscriber, Ends] = {}
        """Up to where each of them has been sent the book."""

    async def run(self) -> None:
        follow = self._exchange.follow_book_messages(
            self._instrument, on_interruption=self.interrupted
        )
        try:
            async with aclosing(follow) as books:
                async for mirror, message in books:
                    self.mirror = mirror
                    self._checksum = message.checksum
                    # A heartbeat goes to nobody: no update may name its sequence as that before.
                    if message.snapshot or message.bids or message.asks:
                        self._publish(message)
                    self.changed.set()
                    self.begun.set()
        finally:
            self._stop_paging(*self._paging)

    def fail(self, failure: BaseException) -> None:
        super().fail(failure)
        self.changed.set()

    def leave(self, subscriber: Subscriber) -> None:
        super().leave(subscriber)
        self._stop_paging(subscriber)

    def first(self, subscriber: Subscriber) -> Frame:
        """Give the best levels; those further out follow."""
        self._stop_paging(subscriber)
        frame, ends = self._page(BEST)
        if ends is not None:
            self._sent[subscriber] = ends
            self._paging[subscriber] = asyncio.create_task(self._send_further(subscriber))
        return frame

    async def _send_further(self, subscriber: Subscriber) -> None:
        ends: Ends | None = self._sent[subscriber]
        while ends is not None:
            self._sent[subscriber] = ends
            await subscriber.room()
            await asyncio.sleep(0)
            frame, ends = self._page(ends)
            if not subscriber.delta(self, frame):
                return
        del self._paging[subscriber], self._sent[subscriber]

    def _stop_paging(self, *subscribers: Subscriber) -> None:
        for subscriber in subscribers:
            if (task := self._paging.pop(subscriber, None)) is not None:
                task.cancel()
            self._sent.pop(subscriber, None)

    def _page(self, ends: Ends) -> tuple[Frame, Ends | None]:
        """Give the levels beyond these, encoded once for everybody who needs them now, and where
        they end; None where no more are to come."""
        found = self._pages.get(ends)
        if found is None:
            assert self.mirror is not None
            bids, asks = (
                [] if end == ALL else self.mirror.levels_e8(side, PAGE_LEVELS + 1, end)
                for side, end in zip((Side.BUY, Side.SELL), ends, strict=True)
            )
            next_ends = _end(bids), _end(asks)
            after = None if next_ends == (ALL, ALL) else next_ends
            kind = "snapshot" if ends == BEST else "delta"
            is_partial = after is not None or self.mirror.partial
            found = self._pages[ends] = (
                self._frame(
                    kind,
                    bids[:PAGE_LEVELS],
                    asks[:PAGE_LEVELS],
                    self.sequence,
                    is_partial=is_partial,
                ),
                after,
            )
        return found

    def _publish(self, message: StreamOrderBookResponse) -> None:
        previous, self.sequence = self.sequence, message.sequence
        self._pages.clear()
        if message.snapshot:
            kind, previous = "snapshot", self.sequence
            self._stop_paging(*self._paging)
        else:
            kind = "delta"
        bids, asks = (
            [(level.price_e8, level.quantity_e8) for level in side]
            for side in (message.bids, message.asks)
        )
        frame = in_between = self._frame(kind, bids, asks, previous, is_partial=message.partial)
        if self._paging and not message.partial:
            in_between = self._frame(kind, bids, asks, previous, is_partial=True)
        for subscriber in tuple(self.subscribers):
            ends = self._sent.get(subscriber)
            if ends is None:
                subscriber.delta(self, frame)
            elif self._reaches(ends):
                subscriber.delta(self, in_between)
            else:
                subscriber.delta(self, self.first(subscriber))

    def _reaches(self, ends: Ends) -> bool:
        """Whether the levels up to there are all that the checksum is of."""
        assert self.mirror is not None
        for side, sign, end in zip((Side.BUY, Side.SELL), (1, -1), ends, strict=True):
            best = self.mirror.levels_e8(side, CHECKSUM_LEVELS)
            if end and best and sign * best[-1][0] < sign * end:
                return False
        return True

    def _frame(
        self, kind: str, bids: Levels, asks: Levels, previous: int, *, is_partial: bool
    ) -> Frame:
        assert self.mirror is not None
        data = {
            "instrument": self._instrument,
            "type": kind,
            "bids": [level_json(*level) for level in bids],
            "asks": [level_json(*level) for level in asks],
            "checksum": self._checksum,
            "partial": is_partial,
        }
        time = self.mirror.time
        return update(self.kind, self._instrument, data, time, self.sequence, previous)


class StateChannel(Channel):
    """A channel whose every update is the whole state."""

    _newest: Frame | None = None

    def first(self, _: Subscriber) -> Frame | None:
        return self._newest

    def _publish(self, data: dict[str, Any], time: datetime, sequence: int) -> None:
        previous, self.sequence = self.sequence or sequence, sequence
        frame = update(self.kind, self._instrument, data, time, sequence, previous)
        self._newest = frame
        for subscriber in tuple(self.subscribers):
            subscriber.state(self, frame)
        self.begun.set()


class OrderbookChannel(StateChannel):
    """Publishes `orderbook`: the best levels, made of the depth channel's copy."""

    kind = "orderbook"

    def __init__(self, exchange: ExchangeClient, instrument: str, depth: DepthChannel) -> None:
        super().__init__(exchange, instrument)
        self.depth = depth

    @property
    def interruption(self) -> BaseException | None:
        return self.depth.interruption

    async def run(self) -> None:
        await self.depth.begun.wait()
        while True:
            self.depth.changed.clear()
            if self.depth.failure is not None:
                raise self.depth.failure
            mirror = self.depth.mirror
            assert mirror is not None
            bids, asks = (cumulated(mirror.levels(side, LEVELS)) for side in (Side.BUY, Side.SELL))
            data = {
                "instrument": self._instrument,
                "bids": bids,
                "asks": asks,
                "timestamp": time_text(mirror.time),
                "sequence": str(mirror.sequence),
            }
            if self._newest is None or mirror.sequence != self.sequence:
                self._publish(data, mirror.time, mirror.sequence)
            await asyncio.sleep(STATE_S)
            await self.depth.changed.wait()


class TickerChannel(StateChannel):
    """Publishes `ticker`: all is read as it comes, for what is not read grows old on the way."""

    kind = "ticker"

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        newest: Ticker | None = None
        next_time = 0.0
        timer: asyncio.TimerHandle | None = None

        def publish() -> None:
            nonlocal next_time, timer
            assert newest is not None
            next_time, timer = loop.time() + STATE_S, None
            self._publish(ticker_json(newest), newest.time.astimezone(UTC), newest.sequence)

        follow = self._exchange.follow_ticker(self._instrument, on_interruption=self.interrupted)
        try:
            async with aclosing(follow) as tickers:
                async for ticker in tickers:
                    # Each second of quiet repeats it; its day moves on without any command too.
                    if ticker == newest:
                        continue
                    newest = ticker
                    if timer is None and loop.time() >= next_time:
                        publish()
                    elif timer is None:
                        timer = loop.call_at(next_time, publish)
        finally:
            if timer is not None:
                timer.cancel()


def _end(levels: Levels) -> int:
    return levels[PAGE_LEVELS - 1][0] if len(levels) > PAGE_LEVELS else ALL


def level_json_of(level: Any) -> dict[str, Any]:
    return {"price": number(level.price), "quantity": number(level.quantity)}


def cumulated(levels: Any) -> list[dict[str, Any]]:
    """Show levels with all that rests at them and better ones."""
    shown, total = [], 0
    for level in levels:
        total += level.quantity
        shown.append(level_json_of(level) | {"cumulative": number(total)})
    return shown
