"""A WebSocket client of tests: frames as objects, waited for by what they are."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect

SECONDS = 20.0
"""For a frame, on a machine that is busy with other things."""


class Client:
    """One connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.seen: list[dict[str, Any]] = []

    def send(self, frame: dict[str, Any] | str) -> None:
        """An object, or text as it is."""
        self.connection.send(frame if isinstance(frame, str) else json.dumps(frame))

    def next(self) -> dict[str, Any]:
        """The next frame, whatever it is."""
        frame: dict[str, Any] = json.loads(self.connection.recv(SECONDS))
        assert frame["timestamp"].endswith("Z")
        self.seen.append(frame)
        return frame

    def until(self, kind: str, wanted: Callable[[Any], bool] = lambda _: True) -> dict[str, Any]:
        """The next frame of a type for which more holds; others before it are passed over."""
        while True:
            frame = self.next()
            if frame["type"] == kind and wanted(frame):
                return frame

    def ask(self, frame: dict[str, Any] | str, kind: str) -> dict[str, Any]:
        """Send, and wait for the answer; an error is none."""
        self.send(frame)
        return self.until(kind, lambda _: True)

    def subscribe(self, instrument: str, *channels: str, **more: Any) -> dict[str, Any]:
        """Subscribe to channels of one instrument."""
        frame = {"type": "subscribe", "channels": channels, "instrument": instrument, **more}
        return self.ask(frame, "subscribed")


@contextmanager
def client_of(http: str, **options: Any) -> Iterator[Client]:
    """A client who has been greeted."""
    # Envoy leaves it to the client to end the connection, for a second.
    options.setdefault("close_timeout", 0.02)
    with connect(http.replace("http", "ws") + "/stream", **options) as connection:
        client = Client(connection)
        assert client.next()["type"] == "connected"
        yield client
