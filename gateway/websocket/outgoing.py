"""One connection: what waits for it, and when it is written.

All connections have one writer. It goes from one to the next, `WRITES_AT_ONCE` in a turn of the
loop, so that what the exchange sends is taken in between: with a thousand writes in a row it
would have to wait for several such rows. All frames that wait for a connection go out in one write;
the busier the process, the more of them there are. While a transport is full nothing is written to
it. So whatever a client doesn't read waits here, and is counted:

- events (trades, orders, replies) in a queue of at most `WAITING_BYTES_MAX`. A client for whom more
  waits is closed with 1013 and the first sequence that he was not sent, to resume from. The past
  that he asked for waits for `room`, half of the bound, so that it leaves the other half to what
  happens meanwhile.
- states (`orderbook`, `ticker`): the newest of each channel, so a slow client gets fewer. One is
  not urgent: it goes with the next event of its connection, or after `STATE_WAIT_S`. A write
  costs far more than what is in it, the gateway's reading and writing again included.
- deltas (`depth`): past the same bound they are dropped, and a snapshot follows once there is room.

A client who is being closed and doesn't read is gone after `link.CLOSE_S`.
"""

import asyncio
from collections import deque
from typing import Final

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.protocol import State

from gateway.websocket.channels import Channel
from gateway.websocket.frames import Frame
from gateway.websocket.link import CLOSE_S, Link

WAITING_BYTES_MAX: Final = 256 * 1024
"""Bytes for one client, beside the 64 KiB of its transport: about 1,000 trades."""
PAST_BYTES_MAX: Final = WAITING_BYTES_MAX // 2
"""The waiting bytes above which no more of the past is taken."""
STATE_WAIT_S: Final = 0.05
"""The time that a state may wait: half of what lies between two states of a channel."""
WRITES_AT_ONCE: Final = 50
"""Writes before the loop looks at what has come in: about a millisecond."""
TRY_AGAIN_LATER: Final = 1013
REASON_BYTES_MAX: Final = 123
"""The protocol's bound of a close frame's reason."""


class Writer:
    """Connections for which something waits, in the order in which they are written."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: deque[Outgoing] = deque()
        self._due_later: set[Outgoing] = set()

    def now(self, outgoing: "Outgoing") -> None:
        """Write what waits for a connection in this turn of the loop, or one of the next."""
        if not self._due:
            self._loop.call_soon(self._write)
        self._due.append(outgoing)

    def later(self, outgoing: "Outgoing") -> None:
        """Write what waits for a connection after `STATE_WAIT_S` at the latest."""
        if not self._due_later:
            self._loop.call_later(STATE_WAIT_S, self._hurry)
        self._due_later.add(outgoing)

    def _hurry(self) -> None:
        late, self._due_later = self._due_later, set()
        for outgoing in late:
            outgoing.hurry()

    def _write(self) -> None:
        for _ in range(min(len(self._due), WRITES_AT_ONCE)):
            self._due.popleft().write()
        if self._due:
            self._loop.call_soon(self._write)


class Outgoing:
    """The frames for one connection: a `Subscriber`."""

    def __init__(self, link: Link, writer: Writer) -> None:
        self.cut = ""
        """Why the connection is closed; empty while it is not."""
        self.waiting_bytes = 0
        """The bytes that its waiting events and deltas take."""
        self.pasts: dict[str, int] = {}
        self.link = link
        self._loop = asyncio.get_running_loop()
        self._events: deque[Frame] = deque()
        self._writer = writer
        self._states: dict[Channel, Frame] = {}
        self._deltas: dict[Channel, list[Frame]] = {}
        self._stale: set[Channel] = set()
        self._due = False
        """Whether the connection's turn to be written will come."""
        self._room = asyncio.Event()
        self._window_bits = next(
            (
                extension.local_max_window_bits
                for extension in link.protocol.extensions
                if isinstance(extension, PerMessageDeflate)
            ),
            0,
        )
        link.on_room = self.write

    def send(self, frame: Frame) -> None:
        """Queue a frame that must not be missed."""
        if self.waiting_bytes > WAITING_BYTES_MAX and not self.link.paused:
            # Much at once is not yet a slow reader.
            self.write()
        if self.waiting_bytes > WAITING_BYTES_MAX and not self.cut:
            waiting = [it.sequence for it in (*self._events, frame) if it.sequence]
            unsent = [*waiting, *self.pasts.values()]
            resume = f" and subscribe with from_sequence {min(unsent)}" if unsent else ""
            self.cut = f"slow consumer: connect again{resume}"
            self._events.clear()
            # The room to say so may never come.
            self._loop.call_later(CLOSE_S, self.link.transport.abort)
        if not self.cut:
            self._events.append(frame)
            self.waiting_bytes += len(frame.plain)
        self.hurry()

    async def room(self) -> None:
        """Wait until less than `PAST_BYTES_MAX` wait; for one who is cut, that is never."""
        while self.cut or self.waiting_bytes > PAST_BYTES_MAX:
            self._room.clear()
            await self._room.wait()

    def state(self, channel: Channel, frame: Frame) -> None:
        """Queue a frame that makes the one before void."""
        if not self._states:
            self._writer.later(self)
        self._states[channel] = frame

    def delta(self, channel: Channel, frame: Frame) -> bool:
        """Queue a frame that a snapshot may stand for; False where one has to."""
        if channel in self._stale:
            return False
        waiting = self._deltas.setdefault(channel, [])
        if self.waiting_bytes + len(frame.plain) > WAITING_BYTES_MAX:
            self.waiting_bytes -= sum(len(each.plain) for each in waiting)
            del self._deltas[channel]
            self._stale.add(channel)
        else:
            waiting.append(frame)
            self.waiting_bytes += len(frame.plain)
        self.hurry()
        return channel not in self._stale

    def forget(self, channel: Channel) -> None:
        """Let go of what waits of a channel that is not wanted any more, events apart."""
        self._states.pop(channel, None)
        self._stale.discard(channel)
        self.waiting_bytes -= sum(len(each.plain) for each in self._deltas.pop(channel, ()))

    def hurry(self) -> None:
        """Write soon what waits."""
        if not self._due and not self.link.paused:
            self._due = True
            self._writer.now(self)

    def write(self) -> None:
        """Write what waits, if there is room."""
        self._due = False
        link = self.link
        if link.protocol.state is not State.OPEN or link.paused:
            return
        if self.cut:
            link.end(TRY_AGAIN_LATER, self.cut[:REASON_BYTES_MAX])
        elif frames := self._taken():
            bits = self._window_bits
            data = b"".join([frame.bytes_for(bits) for frame in frames])
            link.counts.frames_sent += len(frames)
            link.counts.bytes_sent += len(data)
            link.transport.write(data)

    def _taken(self) -> list[Frame]:
        frames = list(self._events)
        self._events.clear()
        frames += [frame for waiting in self._deltas.values() for frame in waiting]
        self._deltas.clear()
        frames += self._states.values()
        self._states.clear()
        for channel in self._stale:
            if (snapshot := channel.first(self)) is not None:
                frames.append(snapshot)
        self._stale.clear()
        self.waiting_bytes = 0
        self._room.set()
        return frames
