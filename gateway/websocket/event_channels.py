"""Channels that must not miss an update: `trades` and `orders`, in order, with their past.

Resuming: a subscriber who names a sequence is first sent the past from a stream of his own. He
joins the channel in the turn in which his stream has reached what the channel has published
(`sequence`, which counts events of a command that is not yet complete), so nothing is missed; what
the channel still has of sequences that he was sent is left out, so nothing comes twice. The past is
sent no faster than he reads it: each of its frames waits for room in his queue.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final

from clients.client import ExchangeClient
from clients.errors import ExchangeError
from clients.types import Order, OrderEvent, OrderEventsMessage, Trade, TradesMessage
from gateway.websocket.channels import Channel, Subscriber
from gateway.websocket.frames import (
    Frame,
    notice,
    number,
    order_json,
    time_text,
    trade_json,
    update,
)

PUBLISHED_AT_ONCE: Final = 100
"""Events of one command or message, before others have their turn, and what there is of them is
written: some milliseconds, and a fraction of what may wait."""
ORDERS_KNOWN_MAX: Final = 50_000
"""Open orders of an instrument whose unchanging part is remembered, about 30 MB; others are read
from the server when they trade."""
CHANGING: Final = ("quantity", "cancelled_quantity", "reject_reason", "end_reason")
"""Fields of an order that a fill doesn't tell, and that events after it may change."""

Memory = OrderedDict[str, Order]
"""Orders as one stream has told of them."""


class EventChannel(Channel):
    """Publishes trades or orders: everything, in order."""

    def __init__(self, exchange: ExchangeClient, instrument: str) -> None:
        super().__init__(exchange, instrument)
        self._known: Memory = Memory()
        self._complete = 0
        """The sequence up to which everything has been published."""
        self._ahead: dict[Subscriber, int] = {}
        """The sequence up to which each subscriber who joined ahead has been sent everything."""

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
                for count, (sequence, frame) in enumerate(frames, 1):
                    self.sequence = sequence
                    self._publish(frame, sequence)
                    if count % PUBLISHED_AT_ONCE == 0:
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
        known = Memory()
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

    async def _frames(self, message: Any, previous: int, known: Memory) -> list[tuple[int, Frame]]:
        frames = []
        for count, event in enumerate(self._events(message), 1):
            data = await self._shown(event, known)
            frame = update(self.kind, self._instrument, data, event.time, event.sequence, previous)
            previous = event.sequence
            frames.append((previous, frame))
            if count % PUBLISHED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return frames

    def _events(self, message: Any, /) -> Sequence[Trade | OrderEvent]:
        raise NotImplementedError

    async def _shown(self, event: Any, known: Memory, /) -> dict[str, Any]:
        raise NotImplementedError


class TradesChannel(EventChannel):
    """Publishes `trades`."""

    kind = "trades"

    def _follow(self, after_sequence: int | None) -> AsyncGenerator[TradesMessage, None]:
        return self._exchange.follow_trades(
            self._instrument, after_sequence, on_interruption=self.interrupted
        )

    def _events(self, message: TradesMessage, /) -> Sequence[Trade]:
        return message.trades

    async def _shown(self, trade: Trade, _: Memory, /) -> dict[str, Any]:
        return trade_json(trade)


class OrdersChannel(EventChannel):
    """Publishes `orders`: the order as it stands after each event of it."""

    kind = "orders"

    def _follow(self, after_sequence: int | None) -> AsyncGenerator[OrderEventsMessage, None]:
        return self._exchange.follow_order_events(
            instrument=self._instrument,
            after_sequence=after_sequence,
            on_interruption=self.interrupted,
        )

    def _events(self, message: OrderEventsMessage, /) -> Sequence[OrderEvent]:
        return message.events

    async def _shown(self, event: OrderEvent, known: Memory, /) -> dict[str, Any]:
        """Show the order of an event. A fill tells what it changed; the rest is what was known
        before it. An order that had to be read may have gone on since: what could be of later is
        left out then, unless it follows from what the order is now."""
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
    """Tell whether the order may have changed since the fill. Time alone doesn't tell: commands
    that share a record have one, and while the clock is behind it stands still."""
    left = order.quantity - order.cancelled_quantity
    return order.updated_time > fill.time or left != fill.filled_quantity + fill.remaining_quantity


def remember(known: Memory, order: Order, *, ended: bool) -> None:
    """Keep an order while it is open, in place of the one that was told of the longest ago."""
    known.pop(order.order_id, None)
    if not ended:
        known[order.order_id] = order
        if len(known) > ORDERS_KNOWN_MAX:
            known.popitem(last=False)
