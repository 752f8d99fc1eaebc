"""The channels that are open, each shared by all connections that subscribe."""

import asyncio
from collections import Counter
from functools import partial
from typing import Final

from clients.client import ExchangeClient
from gateway.websocket.channels import Channel
from gateway.websocket.errors import ended
from gateway.websocket.event_channels import OrdersChannel, TradesChannel
from gateway.websocket.figures import LOG, tell
from gateway.websocket.frames import Frame, now_text
from gateway.websocket.outgoing import Outgoing
from gateway.websocket.requests import SHOWN_MAX, BadFrame
from gateway.websocket.state_channels import DepthChannel, OrderbookChannel, TickerChannel

NOT_FOUND: Final = 5
PLAIN: Final = {"trades": TradesChannel, "orders": OrdersChannel, "ticker": TickerChannel}
DEPTH: Final = "depth"


class Channels:
    """The open channels, by name."""

    def __init__(self, exchange: ExchangeClient) -> None:
        self._exchange = exchange
        self._open: dict[str, Channel] = {}
        self._listed: set[str] = set()

    async def check(self, instrument: str) -> None:
        """Raise `BadFrame` unless the instrument is listed."""
        if instrument not in self._listed:
            self._listed = {each.name for each in await self._exchange.instruments()}
        if instrument not in self._listed:
            raise BadFrame(
                f'instrument "{instrument[:SHOWN_MAX]}" is not listed: GET /instruments shows what '
                "is",
                NOT_FOUND,
            )

    def get(self, kind: str, instrument: str) -> Channel:
        """Give the channel; its stream is opened if it was not."""
        name = f"{kind}:{instrument}"
        channel = self._open.get(name)
        if channel is None:
            if kind == OrderbookChannel.kind:
                depth = self.get(DEPTH, instrument)
                assert isinstance(depth, DepthChannel)
                channel = OrderbookChannel(self._exchange, instrument, depth)
            elif kind == DEPTH:
                channel = DepthChannel(self._exchange, instrument)
            else:
                channel = PLAIN[kind](self._exchange, instrument)
            self._open[name] = channel
            tell("channel opened", channel=name)
            channel.task = asyncio.create_task(channel.run())
            channel.task.add_done_callback(partial(self._ended, channel))
        return channel

    def leave(self, channel: Channel, outgoing: Outgoing) -> None:
        """Remove a subscriber; the channel that nobody wants is closed later."""
        channel.leave(outgoing)
        outgoing.forget(channel)

    def open(self) -> Counter[str]:
        """Count the streams that are open, by kind."""
        return Counter(channel.kind for channel in self._open.values())

    def subscriptions(self) -> Counter[str]:
        """Count the subscriptions of all connections, by kind."""
        counts = Counter[str]()
        for channel in self._open.values():
            counts[channel.kind] += len(channel.interested)
        return counts

    def close_unused(self) -> None:
        """Close the streams that nobody wants any more."""
        needed = {
            it.depth
            for it in self._open.values()
            if isinstance(it, OrderbookChannel) and it.interested
        }
        for name, channel in list(self._open.items()):
            if not channel.interested and channel not in needed:
                del self._open[name]
                tell("channel closed", channel=name, reason="nobody wants it any more")
                assert channel.task is not None
                channel.task.cancel()

    async def close(self) -> None:
        """Close all streams, before the client that they are read through is closed."""
        tasks = [channel.task for channel in self._open.values() if channel.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, channel: Channel, task: asyncio.Task[None]) -> None:
        """Tell who is sent its updates; who waits for it, or catches up, is told by his session."""
        channel.task = None
        if task.cancelled():
            return
        failure = task.exception() or EOFError("its stream ended")
        fields = {"channel": channel.name}
        LOG.error("channel failed: %r", failure, exc_info=failure, extra={"fields": fields})
        if self._open.get(channel.name) is channel:
            del self._open[channel.name]
        channel.fail(failure)
        for subscriber in channel.subscribers:
            subscriber.send(Frame(ended(channel.name, failure) | {"timestamp": now_text()}))
