"""Streams of JSON lines through Envoy."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from gateway.route_table import json_route
from gateway.routes import json_routes
from tests.gateway.door import Market, decimal, refusal_of
from tests.gateway.websocket_client import client_of

Line = dict[str, Any]
MANY = 6_000
"""Trades of one command: far more than a line holds."""
LINE_BYTES_MAX = 64 * 1024
"""What readers of lines take unless they are told otherwise."""


@contextmanager
def lines(market: Market, path: str, **query: Any) -> Iterator[Iterator[Line]]:
    """The lines of a stream, one message each."""
    params = {"instrument": market.instrument, **query}
    with market.http.stream("GET", path, params=params) as response:
        assert response.status_code == 200, response.read()
        yield (shown(line) for line in response.iter_lines())


def shown(line: str) -> Line:
    assert len(line) < LINE_BYTES_MAX
    message: Line = json.loads(line)
    return message


def trade(market: Market, price: float) -> Line:
    """One trade, as the reply to its order shows it."""
    market.placed("sell", 1, price, client_id=f"{market.prefix}S")
    (made,) = market.placed("buy", 1, price)["trades"]
    shown: Line = made
    return shown


def resting(market: Market, count: int) -> int:
    """Many small sell orders; the sequence of the last."""
    sell = {
        "client_id": f"{market.prefix}S",
        "instrument": market.instrument,
        "side": "sell",
        "type": "limit",
        "price": 100,
        "quantity": 1,
    }
    reply: dict[str, Any] = {}
    for _ in range(count // 1_000):
        reply = market.http.post("/orders/batch", json={"orders": [sell] * 1_000}).json()
    return int(reply["results"][-1]["sequence"])


def whole(stream: Iterator[Line], count: int) -> list[Line]:
    """The next lines that have trades, until there are as many."""
    told: list[Line] = []
    while sum(len(line["trades"]) for line in told) < count:
        line = next(stream)
        if line["trades"]:
            told.append(line)
    return told


def test_trades_as_they_happen(market: Market) -> None:
    trade(market, 99)
    with lines(market, "/market/trades/stream") as stream:
        first = next(stream)
        assert first["trades"] == []
        assert first["sequence"] == first["previous_sequence"]
        before = first["sequence"]
        for price in (100, 101.5):
            made = trade(market, price)
            line = next(each for each in stream if each["trades"])
            assert line["trades"] == [made]
            assert int(line["sequence"]) >= int(made["sequence"]) > int(before)
            before = line["sequence"]
        # Nothing happens: a heartbeat.
        assert next(stream)["trades"] == []


def test_lines_follow_one_another(market: Market) -> None:
    with lines(market, "/market/trades/stream") as stream:
        sequence = next(stream)["sequence"]
        for step in range(5):
            trade(market, 100 + step)
            line = next(stream)
            assert line["previous_sequence"] == sequence
            sequence = line["sequence"]


def test_trades_from_a_sequence_on(market: Market) -> None:
    made = [trade(market, 100 + step) for step in range(4)]
    start = made[1]["sequence"]
    with lines(market, "/market/trades/stream", from_sequence=start) as stream:
        first = next(stream)
        assert not first["restarted"]
        assert first["sequence"] == str(int(start) - 1)
        found: list[Line] = []
        while len(found) < 3:
            found += next(stream)["trades"]
    assert found == made[1:]
    # What comes next is where a reader with everything goes on.
    after = str(int(made[-1]["sequence"]) + 1)
    with lines(market, "/market/trades/stream", from_sequence=after) as stream:
        assert next(stream)["trades"] == []


def test_a_command_with_more_trades_than_a_line(market: Market) -> None:
    """Only its last line counts it; who resumes before that drops what he has, by `trade_id`."""
    before = resting(market, MANY)
    with lines(market, "/market/trades/stream") as stream:
        next(stream)
        market.placed("buy", MANY)
        told = whole(stream, MANY)
    assert len(told) > 1
    assert {line["sequence"] for line in told[:-1]} == {str(before)}
    assert {line["previous_sequence"] for line in told} == {str(before)}
    assert {made["sequence"] for line in told for made in line["trades"]} == {str(before + 1)}
    assert told[-1]["sequence"] == str(before + 1)
    assert [made["trade_id"] for line in told for made in line["trades"]] == [
        f"T{before + 1}-{index}" for index in range(1, MANY + 1)
    ]

    known = {made["trade_id"] for made in told[0]["trades"]}
    after = str(int(told[0]["sequence"]) + 1)
    with lines(market, "/market/trades/stream", from_sequence=after) as stream:
        again = [made for line in whole(stream, MANY) for made in line["trades"]]
    assert [made for made in again if made["trade_id"] not in known] == [
        made for line in told[1:] for made in line["trades"]
    ]


def test_a_websocket_cut_within_a_command_is_resumed_with_all_of_it(market: Market) -> None:
    before = resting(market, MANY)
    with client_of(str(market.http.base_url)) as client:
        market.placed("buy", MANY)
        client.subscribe(market.instrument, "trades", from_sequence=before)
        first = [client.until("trades") for _ in range(MANY // 2)]
    assert {frame["sequence"] for frame in first} == {str(before + 1)}
    assert {frame["previous_sequence"] for frame in first[1:]} == {str(before + 1)}
    with client_of(str(market.http.base_url)) as client:
        client.subscribe(market.instrument, "trades", from_sequence=first[-1]["sequence"])
        again = [client.until("trades")["data"] for _ in range(MANY)]
        assert client.next()["type"] == "resumed"
    known = {frame["data"]["trade_id"] for frame in first}
    missing = [made["trade_id"] for made in again if made["trade_id"] not in known]
    assert missing == [f"T{before + 1}-{index}" for index in range(MANY // 2 + 1, MANY + 1)]


def test_a_book_as_it_changes(market: Market) -> None:
    market.placed("buy", 1, 100)
    market.placed("sell", 2, 101.5, order_id=f"{market.prefix}ask")
    with lines(market, "/market/orderbook/stream") as stream:
        snapshot = next(stream)
        assert snapshot["type"] == "snapshot"
        assert snapshot["instrument"] == market.instrument
        assert snapshot["bids"] == [{"price": 100, "quantity": 1}]
        assert snapshot["asks"] == [{"price": 101.5, "quantity": 2}]
        assert not snapshot["partial"]
        market.placed("buy", 0.5, 100)
        delta = next(each for each in stream if each["type"] != "heartbeat")
        assert delta["type"] == "delta"
        assert (delta["bids"], delta["asks"]) == ([{"price": 100, "quantity": 1.5}], [])
        market.http.delete(f"/orders/{market.prefix}ask")
        gone = next(each for each in stream if each["type"] != "heartbeat")
        assert gone["asks"] == [{"price": 101.5, "quantity": 0}]
        assert gone["checksum"] != delta["checksum"]
        heartbeat = next(stream)
        assert heartbeat["type"] == "heartbeat"
        assert heartbeat["previous_sequence"] == gone["sequence"]


def test_a_mirror_of_the_lines_is_the_book(market: Market) -> None:
    mirror: dict[str, dict[float, float]] = {"bids": {}, "asks": {}}
    with lines(market, "/market/orderbook/stream") as stream:
        for step in range(12):
            side = ("buy", "sell")[step % 2]
            market.placed(side, 1 + step / 8, 100 + step % 5, client_id=f"{market.prefix}{step}")
        sequence = int(market.get("/market/orderbook")["sequence"])
        for line in stream:
            for side, levels in mirror.items():
                levels.update({each["price"]: each["quantity"] for each in line[side]})
            if int(line["sequence"]) >= sequence:
                break
    book = market.get("/market/orderbook")
    for side, levels in mirror.items():
        assert {price: size for price, size in levels.items() if size} == {
            each["price"]: each["quantity"] for each in book[side]
        }
        assert decimal(book[side][0]["cumulative"] if book[side] else 0.0) >= 0


@pytest.mark.parametrize(
    ("path", "query", "status", "field"),
    [
        ("/market/trades/stream", {"instrument": "NO-SUCH"}, 404, "instrument"),
        ("/market/orderbook/stream", {"instrument": "NO-SUCH"}, 404, "instrument"),
        ("/market/trades/stream", {"from_sequence": "-1"}, 400, "from_sequence"),
        ("/market/trades/stream", {"from_sequence": "soon"}, 400, "from_sequence"),
        ("/market/trades/stream", {"from_sequence": "9" * 18}, 400, "from_sequence"),
    ],
)
def test_streams_that_are_refused(
    http: httpx.Client, path: str, query: dict[str, str], status: int, field: str
) -> None:
    response = http.get(path, params=query)
    assert response.status_code == status
    refusal = refusal_of(response)
    assert (refusal["field"], refusal["value"]) == (field, next(iter(query.values())))


def test_streams_may_last() -> None:
    """No time ends a stream; each other call has one."""
    streams = {route.template for route in json_routes() if route.streams}
    assert streams == {"/market/trades/stream", "/market/orderbook/stream"}
    for route in json_routes():
        chosen = json_route(route)["route"]
        assert (chosen.get("idle_timeout") == "0s") is route.streams
        assert (chosen.get("timeout") == "0s") is route.streams
        assert ("max_stream_duration" in chosen) is not route.streams
