"""Channels: one upstream stream for each, shared by all connections that subscribe.

A channel opens its stream with its first subscriber and closes it with the last. The stream is one
that goes on by itself after every interruption (`clients.following`), so a server that restarts in
the middle shows as a pause. Each event becomes one frame (`frames.Frame`), encoded once, which is
handed to every subscriber's queue in the same turn of the loop.

Resuming: a subscriber who names a sequence is first sent the past from a stream of his own. He
joins the channel in the turn in which his stream has reached what the channel has published
(`sequence`, which counts events of a command that is not yet complete), so nothing is missed; what
the channel still has of sequences that he was sent is left out, so nothing comes twice. The past is
sent no faster than he reads it: each of its frames waits for room in his queue.

A stream that ends with an error that trying again doesn't cure ends its channel: `failure` says
why, its subscribers are told by an `error` frame, and the next who subscribes opens it anew.

`orderbook` and `ticker` are conflated for everybody: at most one state each `STATE_S`.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from clients.client import ExchangeClient
from clients.errors import ExchangeError
from clients.following import Interruption
from clients.mirror import BookMirror
from clients.types import Order, OrderEvent, OrderEventsMessage, Side, Ticker, TradesMessage
from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from gateway.websocket.frames import (
    Frame,
    level_json,
    notice,
    number,
    order_json,
    ticker_json,
    time_text,
    trade_json,
    update,
)

STATE_S: Final = 0.1
"""Ten states of a book or ticker a second: more than an eye can follow."""
LEVELS: Final = 20
"""A side, of `orderbook`: what a place reply holds too."""
PUBLISHED_AT_ONCE: Final = 100
"""Events of one command or message, before they are written: a fraction of what may wait."""
ORDERS_KNOWN_MAX: Final = 50_000
"""Open orders of an instrument whose unchanging part is remembered, about 30 MB; others are read
from the server when they trade."""


CHANGING: Final = ("quantity", "cancelled_quantity", "reject_reason")
"""Fields of an order that a fill doesn't tell, and that events after it may change."""


class Subscriber(Protocol):
    """A connection as a channel sees it; only `room` waits."""

    pasts: dict[str, int]
    """By channel whose past it is being sent, the first sequence that it was not sent yet."""

    def send(self, frame: Frame) -> None:
        """One that must not be missed."""

    async def room(self) -> None:
        """Until what waits for it leaves room for more of the past."""

    def state(self, channel: "Channel", frame: Frame) -> None:
        """One that makes earlier ones of the channel void."""

    def delta(self, channel: "Channel", frame: Frame) -> None:
        """One that may be replaced by a snapshot."""


class Channel:
    """One kind of update of one instrument."""

    kind: str

    def __init__(self, exchange: ExchangeClient, instrument: str) -> None:
        self.name = f"{self.kind}:{instrument}"
        self.interested: set[Subscriber] = set()
        """Everybody who wants it, also who is not yet sent its updates."""
        self.subscribers: set[Subscriber] = set()
        """Who is sent its updates."""
        self.sequence = 0
        """Of the newest update."""
        self.begun = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None
        """What its stream ended with."""
        self._interruption: BaseException | None = None
        self._exchange = exchange
        self._instrument = instrument

    async def run(self) -> None:
        """Publish until cancelled."""
        raise NotImplementedError

    def first(self) -> Frame | None:
        """What a new subscriber is sent first."""
        return None

    @property
    def interruption(self) -> BaseException | None:
        """What its stream was last interrupted by; it is opened again meanwhile."""
        return self._interruption

    def interrupted(self, interruption: Interruption) -> None:
        """Its stream was, and is gone on with."""
        self._interruption = interruption.error

    def leave(self, subscriber: Subscriber) -> None:
        """Somebody does not want it any more."""
        self.interested.discard(subscriber)
        self.subscribers.discard(subscriber)

    def fail(self, failure: BaseException) -> None:
        """Its stream has ended; whoever waits for it to begin waits no longer."""
        self.failure = failure
        self.begun.set()


Memory = dict[str, Order]
"""Orders as one stream has told of them."""


class EventChannel(Channel):
    """Trades or orders: everything, in order."""

    def __init__(self, exchange: ExchangeClient, instrument: str) -> None:
        super().__init__(exchange, instrument)
        self._known: Memory = {}
        self._complete = 0
        """Up to which sequence everything has been published."""
        self._ahead: dict[Subscriber, int] = {}
        """Up to where subscribers who joined ahead of the channel have been sent everything."""

    async def run(self) -> None:
        async with aclosing(self._follow(None)) as messages:
            async for message in messages:
                began = not self.begun.is_set()
                if began:
                    self.sequence = message.sequence
                    self.begun.set()
                elif message.restarted:
                    frame = notice("restarted", self.name, message.sequence, self.sequence)
                    self.sequence = message.sequence
                    # Of before: orders may have changed unseen, or sequences have begun anew.
                    self._known.clear()
                    self._ahead.clear()
                    self._publish(frame, self.sequence)
                frames = await self._frames(message, self.sequence, self._known)
                for number, (sequence, frame) in enumerate(frames, 1):
                    self.sequence = sequence
                    self._publish(frame, sequence)
                    if number % PUBLISHED_AT_ONCE == 0:
                        # Written, before a queue that nobody is slow to read has no room.
                        await asyncio.sleep(0)
                self._complete = message.sequence

    async def catch_up(self, subscriber: Subscriber, after_sequence: int) -> None:
        """Send the past to one subscriber, then let him join."""
        try:
            await self._catch_up(subscriber, after_sequence)
        finally:
            subscriber.pasts.pop(self.name, None)

    async def _catch_up(self, subscriber: Subscriber, after_sequence: int) -> None:
        last, restarted = after_sequence, False
        subscriber.pasts[self.name] = last + 1
        known: Memory = {}
        async with aclosing(self._follow(after_sequence)) as messages:
            async for message in messages:
                if message.restarted and not restarted:
                    restarted = True
                    frame = notice("restarted", self.name, message.sequence, last)
                    subscriber.send(frame)
                    last = message.sequence
                for sequence, frame in await self._frames(message, last, known):
                    last = sequence
                    await subscriber.room()
                    # There may be more of the same command to come, in this message or another.
                    subscriber.pasts[self.name] = last
                    subscriber.send(frame)
                if last <= message.sequence:
                    subscriber.pasts[self.name] = message.sequence + 1
                newest = max(self.sequence, last)
                if newest <= message.sequence:
                    if self.failure is not None:
                        raise self.failure
                    # Nothing is awaited from here on: the channel publishes nothing in between.
                    subscriber.send(notice("resumed", self.name, newest, last))
                    self.subscribers.add(subscriber)
                    if last > self._complete:
                        self._ahead[subscriber] = last
                    return

    def leave(self, subscriber: Subscriber) -> None:
        super().leave(subscriber)
        self._ahead.pop(subscriber, None)

    def _publish(self, frame: Frame, sequence: int) -> None:
        for subscriber in tuple(self.subscribers):
            if sequence > self._ahead.get(subscriber, -1):
                self._ahead.pop(subscriber, None)
                subscriber.send(frame)

    def _follow(self, after_sequence: int | None) -> AsyncGenerator[Any, None]:
        raise NotImplementedError

    async def _frames(
        self, message: Any, previous: int, known: Memory, /
    ) -> list[tuple[int, Frame]]:
        raise NotImplementedError


class TradesChannel(EventChannel):
    """`trades`."""

    kind = "trades"

    def _follow(self, after_sequence: int | None) -> AsyncGenerator[TradesMessage, None]:
        return self._exchange.follow_trades(
            self._instrument, after_sequence, on_interruption=self.interrupted
        )

    async def _frames(
        self, message: TradesMessage, previous: int, _: Memory, /
    ) -> list[tuple[int, Frame]]:
        frames = []
        for trade in message.trades:
            data = trade_json(trade)
            frame = update(self.kind, self._instrument, data, trade.time, trade.sequence, previous)
            previous = trade.sequence
            frames.append((previous, frame))
        return frames


class OrdersChannel(EventChannel):
    """`orders`: the order as it stands after each event of it."""

    kind = "orders"

    def _follow(self, after_sequence: int | None) -> AsyncGenerator[OrderEventsMessage, None]:
        return self._exchange.follow_order_events(
            instrument=self._instrument,
            after_sequence=after_sequence,
            on_interruption=self.interrupted,
        )

    async def _frames(
        self, message: OrderEventsMessage, previous: int, known: Memory, /
    ) -> list[tuple[int, Frame]]:
        frames = []
        for event in message.events:
            data = await self._order(event, known)
            frame = update(self.kind, self._instrument, data, event.time, event.sequence, previous)
            previous = event.sequence
            frames.append((previous, frame))
        return frames

    async def _order(self, event: OrderEvent, known: Memory) -> dict[str, Any]:
        """A fill tells what it changed; the rest is what was known before it. An order that had
        to be read may have gone on since: what could be of later is left out then, unless it
        follows from what the order is now."""
        order = event.order or known.get(event.order_id)
        if order is None:
            # Goes on without a subscriber who leaves: gRPC frees no call that was cancelled, 2 kB.
            order = await asyncio.shield(self._read(event))
        content: dict[str, Any] = {}
        if order is not None:
            content = order_json(order)
            if event.order is None and is_of_later(order, event):
                for field in CHANGING:
                    content.pop(field, None)
                if not order.cancelled_quantity:
                    # It never falls, so nothing had been cancelled at this fill either.
                    whole = event.filled_quantity + event.remaining_quantity
                    content |= {"quantity": number(whole), "cancelled_quantity": 0}
            ended = str(event.status) not in ("open", "partially_filled")
            remember(known, order, ended=ended)
        if event.price is not None:
            content["price"] = number(event.price)
        return content | {
            "order_id": event.order_id,
            "client_id": event.client_id,
            "instrument": event.instrument,
            "side": str(event.side),
            "filled_quantity": number(event.filled_quantity),
            "remaining_quantity": number(event.remaining_quantity),
            "status": str(event.status),
            "updated_at": time_text(event.time),
        }

    async def _read(self, event: OrderEvent) -> Order | None:
        try:
            order = await self._exchange.order(event.order_id)
        except ExchangeError:
            # Forgotten, or not to be asked: the event itself still says what happened.
            return None
        # Its id may have come again.
        return order if order.placed_sequence <= event.sequence else None


def is_of_later(order: Order, fill: OrderEvent) -> bool:
    """Whether it may have changed since. Time alone doesn't tell: commands that share a record
    have one, and while the clock is behind it stands still."""
    left = order.quantity - order.cancelled_quantity
    return order.updated_time > fill.time or left != fill.filled_quantity + fill.remaining_quantity


def remember(known: Memory, order: Order, *, ended: bool) -> None:
    """Keep it while it is open, in place of the one that was told of the longest ago."""
    known.pop(order.order_id, None)
    if not ended:
        known[order.order_id] = order
        if len(known) > ORDERS_KNOWN_MAX:
            del known[next(iter(known))]


class DepthChannel(Channel):
    """`depth`: a snapshot, then each message of the book's stream."""

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
        """The whole book, encoded once for everybody who needs it at this sequence."""
        assert self.mirror is not None
        if self._snapshot is None:
            content = StreamOrderBookResponse(checksum=self._checksum, partial=self.mirror.partial)
            bids, asks = (
                [level_json_of(level) for level in self.mirror.levels(side)]
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
    """One whose every update is the whole state."""

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
    """`orderbook`: the best levels, made of the depth channel's copy."""

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
            sequence = mirror.sequence or 0
            data = {
                "instrument": self._instrument,
                "bids": bids,
                "asks": asks,
                "timestamp": time_text(mirror.time),
                "sequence": str(sequence),
            }
            if self._newest is None or sequence != self.sequence:
                self._publish(data, mirror.time, sequence)
            await asyncio.sleep(STATE_S)
            await self.depth.changed.wait()


class TickerChannel(StateChannel):
    """`ticker`: everything is read as it comes, for what is not read grows old on the way."""

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
                    if newest is not None and ticker.sequence == newest.sequence:
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
    """Levels with all that rests at them and better ones."""
    shown, total = [], 0
    for level in levels:
        total += level.quantity
        shown.append(level_json_of(level) | {"cumulative": number(total)})
    return shown
