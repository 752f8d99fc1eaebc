"""One connection's protocol, bounded where `websockets` alone leaves it open.

- Every frame of a client is counted, control frames and fragments too: a ping is answered by the
  library before anybody sees it, and a message of ever more empty fragments never ends. Who sends
  more than `FRAMES_PER_SECOND_CLOSE` is closed with 1008.
- Pongs are written whether or not there is room. Who has more than `UNREAD_BYTES_MAX` of anything
  unread and still pings is cut off.
- The library's own ping waits for room in the transport before its time-out begins. So a client
  whose transport has been full for `STALLED_S` without taking a byte is cut off here; it may
  be gone without a word, or only subscribed to what is conflated for ever.

Whoever writes past the library looks at `paused`, and is told by `on_room` when that ends.
"""

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from websockets.asyncio.server import Server, ServerConnection
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import Event
from websockets.server import ServerProtocol

from gateway.websocket.figures import Counts, tell

FRAMES_PER_SECOND_MAX: Final = 100
"""Frames of one client, more than a person or a page sends; who has more to say opens a gRPC
session. Messages over it are refused, and ten times as many frames of any kind end the
connection."""
FRAMES_PER_SECOND_CLOSE: Final = 10 * FRAMES_PER_SECOND_MAX
UNREAD_BYTES_MAX: Final = 512 * 1024
"""Bytes unread in a transport: more than is written at once to a client not told to be quicker."""
STALLED_S: Final = 40.0
"""The time that a client may take until it has missed a ping."""
CLOSE_S: Final = 5.0
"""The time for a client to take what its transport holds, and the reason."""
GOING_AWAY: Final = 1001
POLICY: Final = 1008
CODES: Final = {403: 7, 404: 5, 405: 12, 500: 13, 503: 14}
"""gRPC's codes of the statuses that a handshake is refused with; 3 for any other."""


class Link(ServerConnection):
    """A connection that knows what its client may do."""

    def __init__(
        self, counts: Counts, protocol: ServerProtocol, server: Server, **options: Any
    ) -> None:
        super().__init__(protocol, server, **options)
        # The library says what it refuses by itself with this too, and would say it as plain text.
        protocol.reject = refusal  # type: ignore[assignment]
        self.counts = counts
        self.about: dict[str, str] = {}
        """The fields of every line about the connection."""
        self.on_room: Callable[[], None] = nothing
        """The function that is called when more may be written."""
        self._second = 0.0
        self._frames = 0
        self._stalled: asyncio.TimerHandle | None = None
        self._told = False
        """Whether the connection was ended from here."""

    def process_event(self, event: Event) -> None:
        """Take one frame, or the handshake."""
        if isinstance(event, Frame):
            self.counts.frames_received += 1
            now = self.loop.time()
            if now - self._second >= 1:
                self._second, self._frames = now, 0
            self._frames += 1
            if self._frames > FRAMES_PER_SECOND_CLOSE:
                if self._frames == FRAMES_PER_SECOND_CLOSE + 1:
                    self.end(POLICY, f"at most {FRAMES_PER_SECOND_MAX} frames a second are taken")
                return
            unread = self.transport.get_write_buffer_size()
            if event.opcode is Opcode.PING and unread > UNREAD_BYTES_MAX:
                self.cut_off(f"it pings, and has {unread} bytes unread")
        super().process_event(event)

    def pause_writing(self) -> None:
        """Watch a transport that is full until the client takes what is in it."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Go on once the client took most of what was in the transport."""
        super().resume_writing()
        self._unwatch()
        self.on_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection has ended."""
        self._unwatch()
        super().connection_lost(exc)
        closed = self.protocol.close_sent
        # The library closes by itself what is no frame, or answers no ping; and at a stop all of
        # them, which are not told of one by one.
        if (
            closed is not None
            and closed.code != GOING_AWAY
            and not self.protocol.close_rcvd_then_sent
            and not self._told
        ):
            self._tell(closed.code, closed.reason)
        broken = self.protocol.parser_exc
        if broken is not None:
            # Its frames hold this connection, which would wait for the collector then.
            broken.__traceback__ = None
        self.protocol.parser.close()

    def end(self, code: int, reason: str) -> None:
        """Close at once with a reason, and cut off who doesn't take it."""
        self._tell(code, reason)
        self.protocol.fail(code, reason)
        self.send_data()
        self.loop.call_later(CLOSE_S, self.transport.abort)

    def cut_off(self, reason: str) -> None:
        """End the connection without a word."""
        self._told = True
        self.counts.ended["1006"] += 1
        tell("connection cut off", **self.about, code=1006, reason=reason)
        self.transport.abort()

    def _tell(self, code: int, reason: str) -> None:
        self._told = True
        self.counts.ended[str(code)] += 1
        tell("connection closed", **self.about, code=code, reason=reason)

    def _watch(self, unread: int) -> None:
        self._stalled = self.loop.call_later(STALLED_S, self._look, unread)

    def _unwatch(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _look(self, before: int) -> None:
        unread = self.transport.get_write_buffer_size()
        if unread < before:
            self._watch(unread)
        else:
            self.cut_off(f"it took nothing for {STALLED_S:.0f} s")


def nothing() -> None:
    """Do nothing: nobody waits for room."""


def refusal(status: HTTPStatus, sentence: str) -> Response:
    """Answer a handshake that fails, in the one shape of all errors."""
    said = sentence.strip()
    told = {"error": said, "code": CODES.get(status, 3), "message": said, "details": []}
    body = json.dumps(told).encode()
    headers = Headers({"Content-Type": "application/json", "Connection": "close"})
    headers["Content-Length"] = str(len(body))
    return Response(status, status.phrase, headers, body)
