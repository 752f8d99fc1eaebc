"""Channels: one upstream stream for each, shared by all connections that subscribe.

A channel opens its stream with its first subscriber and closes it with the last. The stream is one
that goes on by itself after every interruption (`clients.following`), so a server that restarts in
the middle shows as a pause. Each event becomes one frame (`frames.Frame`), encoded once, which is
handed to every subscriber's queue in the same turn of the loop.

A stream that ends with an error that trying again doesn't cure ends its channel: `failure` says
why, its subscribers are told by an `error` frame, and the next who subscribes opens it anew.
"""

import asyncio
from typing import Protocol

from clients.client import ExchangeClient
from clients.following import Interruption
from gateway.websocket.frames import Frame


class Subscriber(Protocol):
    """A connection as a channel sees it; only `room` waits."""

    pasts: dict[str, int]
    """The first sequence that it was not sent yet, by channel whose past it is being sent."""

    def send(self, frame: Frame) -> None:
        """Send a frame that must not be missed."""

    async def room(self) -> None:
        """Wait until what waits for it leaves room for more of the past."""

    def state(self, channel: "Channel", frame: Frame) -> None:
        """Send a frame that makes earlier ones of the channel void."""

    def delta(self, channel: "Channel", frame: Frame) -> bool:
        """Send a frame. False where there is no room: the channel's `first` comes in its place."""


class Channel:
    """Publishes one kind of update of one instrument."""

    kind: str

    def __init__(self, exchange: ExchangeClient, instrument: str) -> None:
        self.name = f"{self.kind}:{instrument}"
        self.interested: set[Subscriber] = set()
        """Everybody who wants the channel, also who is not yet sent its updates."""
        self.subscribers: set[Subscriber] = set()
        """Everybody who is sent its updates."""
        self.sequence = 0
        """The sequence of the newest update."""
        self.begun = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None
        """The error that its stream ended with."""
        self._interruption: BaseException | None = None
        self._exchange = exchange
        self._instrument = instrument

    async def run(self) -> None:
        """Publish until cancelled."""
        raise NotImplementedError

    def first(self, _: Subscriber) -> Frame | None:
        """Give the frame that a subscriber is to be sent first, or again."""
        return None

    @property
    def interruption(self) -> BaseException | None:
        """Give the error that last interrupted its stream; it is opened again meanwhile."""
        return self._interruption

    def interrupted(self, interruption: Interruption) -> None:
        """Note that its stream was interrupted, and is gone on with."""
        self._interruption = interruption.error

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a subscriber that does not want it any more."""
        self.interested.discard(subscriber)
        self.subscribers.discard(subscriber)

    def fail(self, failure: BaseException) -> None:
        """Note that its stream has ended; whoever waits for it to begin waits no longer."""
        self.failure = failure
        self.begun.set()
