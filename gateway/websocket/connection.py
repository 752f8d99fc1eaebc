"""One connection: what it subscribed to, what waits for it, and who writes it.

Everything that waits is written by one task, all frames of a moment in one write, and the next only
when the transport has room again. So whatever a client doesn't read waits here, and is counted:

- events (trades, orders, replies) in a queue of at most `WAITING_BYTES_MAX`. A client for whom more
  waits is closed with 1013 and a reason that names where to resume. The past that he asked for
  waits for `room`, half of the bound, so that it leaves the other half to what happens meanwhile.
- states (`orderbook`, `ticker`): the newest of each channel, so a slow client gets fewer.
- deltas (`depth`): past the same bound they are dropped, and a snapshot follows once there is room.

A client who is being closed and doesn't read is gone after `CLOSE_SECONDS`; nobody waits for it.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.protocol import State

from gateway.websocket.channels import Channel
from gateway.websocket.frames import Frame

WAITING_BYTES_MAX: Final = 256 * 1024
"""For one client, beside the 64 KiB of its transport: about 1,000 trades."""
PAST_BYTES_MAX: Final = WAITING_BYTES_MAX // 2
"""Above this no more of the past is taken."""
CLOSE_SECONDS: Final = 5.0
"""For a client to take what its transport holds, and the reason."""
TRY_AGAIN_LATER: Final = 1013
REASON_BYTES_MAX: Final = 123
"""Of a close frame: the protocol's."""


class Outgoing:
    """The frames for one connection: a `Subscriber`."""

    def __init__(self, connection: ServerConnection) -> None:
        self.cut = ""
        """Why it is closed; empty while it is not."""
        self._connection = connection
        self._events: deque[Frame] = deque()
        self._bytes = 0
        self._states: dict[Channel, Frame] = {}
        self._deltas: dict[Channel, list[Frame]] = {}
        self._stale: set[Channel] = set()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._window_bits = next(
            (
                extension.local_max_window_bits
                for extension in connection.protocol.extensions
                if isinstance(extension, PerMessageDeflate)
            ),
            0,
        )

    def send(self, frame: Frame) -> None:
        """A reply."""
        self._queue(frame, "the last sequence that you were sent")

    async def room(self) -> None:
        """Until less than `PAST_BYTES_MAX` wait; never for one who is cut."""
        while self.cut or self._bytes > PAST_BYTES_MAX:
            self._room.clear()
            await self._room.wait()

    def event(self, channel: Channel, frame: Frame) -> None:
        """One that must not be missed."""
        self._queue(frame, f"the last sequence that you were sent of {channel.name}")

    def state(self, channel: Channel, frame: Frame) -> None:
        """One that makes the one before void."""
        self._states[channel] = frame
        self._news.set()

    def delta(self, channel: Channel, frame: Frame) -> None:
        """One that a snapshot may stand for."""
        if channel in self._stale:
            return
        waiting = self._deltas.setdefault(channel, [])
        if self._bytes + len(frame.plain) > WAITING_BYTES_MAX:
            self._bytes -= sum(len(each.plain) for each in waiting)
            del self._deltas[channel]
            self._stale.add(channel)
        else:
            waiting.append(frame)
            self._bytes += len(frame.plain)
        self._news.set()

    def forget(self, channel: Channel) -> None:
        """Let go of what waits of a channel that is not wanted any more, events apart."""
        self._states.pop(channel, None)
        self._stale.discard(channel)
        self._bytes -= sum(len(each.plain) for each in self._deltas.pop(channel, ()))

    async def write(self) -> None:
        """Write whatever comes until the connection ends or is cut."""
        connection = self._connection
        while not self.cut:
            await self._news.wait()
            self._news.clear()
            frames = self._taken()
            if frames and connection.protocol.state is State.OPEN:
                bits = self._window_bits
                connection.transport.write(b"".join([it.bytes_for(bits) for it in frames]))
            await connection.drain()
        with suppress(ConnectionClosed):
            await connection.close(TRY_AGAIN_LATER, self.cut[:REASON_BYTES_MAX])

    def _queue(self, frame: Frame, resume: str) -> None:
        if self._bytes > WAITING_BYTES_MAX and not self.cut:
            self.cut = f"too slow a reader: connect again, from_sequence {resume}"
            self._events.clear()
            # Its writer may wait for room that never comes.
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._connection.transport.abort)
        if not self.cut:
            self._events.append(frame)
            self._bytes += len(frame.plain)
        self._news.set()

    def _taken(self) -> list[Frame]:
        frames = list(self._events)
        self._events.clear()
        frames += [frame for waiting in self._deltas.values() for frame in waiting]
        self._deltas.clear()
        frames += self._states.values()
        self._states.clear()
        for channel in self._stale:
            if (snapshot := channel.first()) is not None:
                frames.append(snapshot)
        self._stale.clear()
        self._bytes = 0
        self._room.set()
        return frames
