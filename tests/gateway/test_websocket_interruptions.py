"""Server, bridge and Envoy die one after the other while orders come in; their clients go on.

The clients are what a documented client would be that resumes: they connect again and subscribe
from the sequence that they were sent last, inclusive, leaving out what they know. In the end each
has every trade and every event of an order exactly once, and a book that is the exchange's.
"""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from google_crc32c import value as crc32c
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from tests.running import Everything, Starter, until

INSTRUMENT = "BTC-USD"
PATIENCE_S = 60.0


class Follower:
    """Trades, orders and depth of one instrument through everything that happens."""

    def __init__(self, http: str) -> None:
        self.trades: dict[str, dict[str, Any]] = {}
        self.orders: list[tuple[str, str, str, float]] = []
        self.repeated = 0
        self.missed: list[str] = []
        self.connections = 0
        self.frames = self.subscribed = 0
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.checksum = 0
        self.depth_sequence = ""
        self._last: dict[str, str] = {}
        self._seen: set[tuple[str, str]] = set()
        self._address = http.replace("http", "ws") + "/stream"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            # A gateway that is just starting may refuse, or take a connection and lose it.
            with suppress(OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                self._follow()
            self._stop.wait(0.02)

    def _follow(self) -> None:
        with connect(self._address, open_timeout=2) as connection:
            self.connections += 1
            self.subscribed = 0
            for channel in ("trades", "orders", "depth"):
                frame = {"type": "subscribe", "channels": [channel], "instrument": INSTRUMENT}
                if channel in self._last:
                    frame["from_sequence"] = self._last[channel]
                connection.send(json.dumps(frame))
            while not self._stop.is_set():
                with suppress(TimeoutError):
                    frame = json.loads(connection.recv(0.05))
                    self.frames += 1
                    self.subscribed += frame["type"] == "subscribed"
                    if frame["type"] == "error":
                        return
                    if frame["type"] == "resumed":
                        self._last[frame["channel"].split(":")[0]] = frame["sequence"]
                    elif "data" in frame:
                        getattr(self, f"_{frame['type']}")(frame)

    def _linked(self, frame: dict[str, Any], key: str) -> bool:
        """Whether it is new; notes where something before it is missing."""
        kind = frame["type"]
        last = self._last.get(kind)
        if last is not None and int(frame["previous_sequence"]) > int(last):
            self.missed.append(f"{kind} {last} to {frame['previous_sequence']}")
        known = (kind, key) in self._seen
        self.repeated += known
        self._seen.add((kind, key))
        self._last[kind] = max(last or "0", frame["sequence"], key=int)
        return not known

    def _trades(self, frame: dict[str, Any]) -> None:
        trade = frame["data"]
        if self._linked(frame, trade["trade_id"]):
            self.trades[trade["trade_id"]] = trade

    def _orders(self, frame: dict[str, Any]) -> None:
        order = frame["data"]
        state = order["order_id"], order["status"], frame["sequence"], order["filled_quantity"]
        if self._linked(frame, repr(state)):
            self.orders.append(state)

    def _depth(self, frame: dict[str, Any]) -> None:
        data = frame["data"]
        if data["type"] == "snapshot":
            self.bids, self.asks = {}, {}
        elif frame["previous_sequence"] != self.depth_sequence:
            self.missed.append(f"depth {self.depth_sequence} to {frame['previous_sequence']}")
        for side, levels in ((self.bids, data["bids"]), (self.asks, data["asks"])):
            for level in levels:
                side[level["price"]] = level["quantity"]
                if not level["quantity"]:
                    del side[level["price"]]
        self.depth_sequence = frame["sequence"]
        self.checksum = data["checksum"]

    def filled(self) -> float:
        """Of all orders together, by the newest event of each."""
        return sum({name: quantity for name, _, _, quantity in list(self.orders)}.values())

    def book_checksum(self) -> int:
        """Of its own copy."""
        sides = (sorted(self.bids.items(), reverse=True)[:10], sorted(self.asks.items())[:10])
        text = "|".join(
            ",".join(f"{round(price * 1e8)}:{round(size * 1e8)}" for price, size in side)
            for side in sides
        )
        return int(crc32c(text.encode()))


class Trader:
    """Orders all the time, each with a key until its outcome is known."""

    def __init__(self, http: str) -> None:
        self.trades: set[str] = set()
        self.ended: set[str] = set()
        self._http = httpx.Client(base_url=http, timeout=10)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._http.close()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            name = f"way-{number}"
            self._place(name, side="sell", quantity=2, price=100 + number % 7)
            if number % 3 == 0:
                self._sure("DELETE", f"/orders/{name}")
            self._place(f"{name}-b", side="buy", quantity=1, price=100 + number % 5)
            self._stop.wait(0.01)

    def _place(self, name: str, **order: Any) -> None:
        order |= {"client_id": name, "instrument": INSTRUMENT, "type": "limit", "order_id": name}
        reply = self._sure("POST", "/orders", order | {"idempotency_key": name})
        self.trades |= {trade["trade_id"] for trade in reply["trades"]}

    def _sure(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Asked until there is an answer."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with suppress(httpx.HTTPError):
                reply = self._http.request(method, path, json=body)
                if reply.status_code < 500:
                    content: dict[str, Any] = reply.json()
                    return content
            assert time.monotonic() < deadline
            self._stop.wait(0.02)


@pytest.fixture
def everything(starter: Starter) -> Everything:
    return starter.up()


def part(everything: Everything, name: str) -> psutil.Process:
    """The process of a part of the exchange."""
    for process_id, line in everything.running.command_lines().items():
        if name in (Path(line[0]).name, *line[4:6]):
            return psutil.Process(process_id)
    raise AssertionError(f"there is no {name}")


def test_no_event_is_missed_or_doubled_whoever_dies(
    everything: Everything, figures: Callable[[str], None]
) -> None:
    follower = Follower(everything.http)
    # What one channel has before another begins, that one never has.
    until(lambda: follower.subscribed == 3, PATIENCE_S, "three channels")
    trader = Trader(everything.http)
    try:
        until(lambda: len(follower.trades) > 3, PATIENCE_S)
        # A gateway that is just starting may have refused a subscription, and lost it.
        connections = follower.connections
        for name in ("server", "websocket", "envoy"):
            before = len(follower.trades)
            part(everything, name).kill()
            began = time.monotonic()
            until(lambda before=before: len(follower.trades) > before + 3, PATIENCE_S)  # type: ignore[misc]
            took = time.monotonic() - began
            assert name != "server" or follower.connections == connections, (
                "its restart is but a pause"
            )
            figures(f"WebSocket: trades again {took:.1f} s after {name} was killed (aim: 5 s)")
    finally:
        trader.close()
    try:
        until(lambda: set(follower.trades) >= trader.trades, PATIENCE_S, "every trade")
        book = httpx.get(f"{everything.http}/market/orderbook", params={"levels": 100}).json()
        until(lambda: follower.depth_sequence == book["sequence"], PATIENCE_S, "the book")
        fills = 2 * sum(trade["quantity"] for trade in follower.trades.values())
        until(lambda: follower.filled() >= fills, PATIENCE_S, "both fills of each trade")
    finally:
        follower.close()
    assert follower.missed == []
    assert set(follower.trades) == trader.trades
    assert follower.book_checksum() == follower.checksum
    assert {level["price"]: level["quantity"] for level in book["asks"]} == follower.asks
    # A filled quantity only grows, and an order that has ended does not change.
    filled: dict[str, float] = {}
    ended: set[str] = set()
    for name, status, _, quantity in follower.orders:
        assert name not in ended
        assert quantity >= filled.get(name, 0)
        filled[name] = quantity
        if status in ("filled", "cancelled"):
            ended.add(name)
    assert sum(filled.values()) == follower.filled() == fills
