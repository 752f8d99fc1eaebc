"""Channels of a state: `depth` tells its changes, `orderbook` and `ticker` all of it each time.

`orderbook` and `ticker` are conflated for everybody: at most one state each `STATE_S`.
"""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

from clients.client import ExchangeClient
from clients.mirror import BookMirror
from clients.types import Side, Ticker
from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from gateway.websocket.channels import Channel
from gateway.websocket.frames import Frame, level_json, number, ticker_json, time_text, update

STATE_S: Final = 0.1
"""The time between two states of a book or ticker: more often than an eye can follow."""
LEVELS: Final = 20
"""The levels a side of `orderbook`: what a place reply holds too."""


class DepthChannel(Channel):
    """Publishes `depth`: a snapshot, then each message of the book's stream."""

    kind = "depth"

    def __init__(self, exchange: ExchangeClient, instrument: str) -> None:
        super().__init__(exchange, instrument)
        self.mirror: BookMirror | None = None
        self.changed = asyncio.Event()
        self._checksum = 0
        self._snapshot: Frame | None = None

    async def run(self) -> None:
        follow = self._exchange.follow_book_messages(
            self._instrument, on_interruption=self.interrupted
        )
        async with aclosing(follow) as books:
            async for mirror, message in books:
                self.mirror = mirror
                self._checksum = message.checksum
                # A heartbeat goes to nobody, so no update may name its sequence as the one before.
                if message.snapshot or message.bids or message.asks:
                    previous, self.sequence = self.sequence, message.sequence
                    self._snapshot = None
                    if message.snapshot:
                        self._publish(self._message("snapshot", message, self.sequence))
                    else:
                        self._publish(self._message("delta", message, previous))
                self.changed.set()
                self.begun.set()

    def fail(self, failure: BaseException) -> None:
        super().fail(failure)
        self.changed.set()

    def first(self) -> Frame:
        """Give the whole book, encoded once for everybody who needs it at this sequence."""
        assert self.mirror is not None
        if self._snapshot is None:
            content = StreamOrderBookResponse(checksum=self._checksum, partial=self.mirror.partial)
            bids, asks = (
                [level_json(*level) for level in self.mirror.levels_e8(side)]
                for side in (Side.BUY, Side.SELL)
            )
            self._snapshot = self._frame("snapshot", content, bids, asks, self.sequence)
        return self._snapshot

    def _publish(self, frame: Frame) -> None:
        for subscriber in tuple(self.subscribers):
            subscriber.delta(self, frame)

    def _message(self, kind: str, message: StreamOrderBookResponse, previous: int) -> Frame:
        bids, asks = (
            [level_json(level.price_e8, level.quantity_e8) for level in levels]
            for levels in (message.bids, message.asks)
        )
        return self._frame(kind, message, bids, asks, previous)

    def _frame(
        self,
        kind: str,
        message: StreamOrderBookResponse,
        bids: list[dict[str, Any]],
        asks: list[dict[str, Any]],
        previous: int,
    ) -> Frame:
        assert self.mirror is not None
        data = {
            "instrument": self._instrument,
            "type": kind,
            "bids": bids,
            "asks": asks,
            "checksum": message.checksum,
            "partial": message.partial,
        }
        time = self.mirror.time
        return update(self.kind, self._instrument, data, time, self.sequence, previous)


class StateChannel(Channel):
    """A channel whose every update is the whole state."""

    _newest: Frame | None = None

    def first(self) -> Frame | None:
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


def level_json_of(level: Any) -> dict[str, Any]:
    return {"price": number(level.price), "quantity": number(level.quantity)}


def cumulated(levels: Any) -> list[dict[str, Any]]:
    """Show levels with all that rests at them and better ones."""
    shown, total = [], 0
    for level in levels:
        total += level.quantity
        shown.append(level_json_of(level) | {"cumulative": number(total)})
    return shown
