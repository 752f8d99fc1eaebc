"""The WebSocket contract through real Envoy: the documented frames, and those beyond them."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from google_crc32c import value as crc32c
from websockets.exceptions import ConnectionClosed, InvalidStatus

from clients.types import EndReason
from gateway.websocket.frames import RULE_REASONS
from gateway.websocket.requests import parsed, sequence_of
from server.core.words import END_REASONS
from server.rpc.http import words
from tests.gateway.door import Market
from tests.gateway.websocket_client import SECONDS, Client, client_of
from tests.running import Everything

REFUSALS = json.loads(
    (Path(__file__).parents[1] / "cases" / "websocket_refusals.json").read_text(encoding="utf-8")
)


@pytest.fixture
def client(exchange: Everything) -> Iterator[Client]:
    with client_of(exchange.http) as client:
        yield client


@pytest.fixture(scope="module")
def patient(exchange: Everything) -> Iterator[Client]:
    """One for all refusals: each shows that it is still served."""
    with client_of(exchange.http) as client:
        yield client


@pytest.mark.parametrize(
    ("frame", "code", "said"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_refusals_leave_the_connection_open(
    patient: Client, frame: str, code: int, said: str
) -> None:
    patient.send(frame)
    error = patient.until("error")
    assert said in error["error"], error
    assert error["code"] == code
    assert patient.ask({"type": "ping", "request_id": "7"}, "pong")["request_id"] == "7"


def test_a_refused_replace_is_told_in_the_words_of_json(client: Client, market: Market) -> None:
    order_id = market.placed("buy", 2, 100)["order"]["order_id"]
    client.send({"type": "replace", "order_id": order_id, "price": -1.5})
    (detail,) = client.until("error")["details"]
    assert detail["metadata"] == {
        "field": "price", "limit": "0", "value": "-1.5", "retry_safe": "false",
    }  # fmt: skip
    client.send({"type": "replace", "order_id": order_id})
    (detail,) = client.until("error")["details"]
    assert detail["metadata"]["limit"] == "price, quantity or both"


@pytest.mark.parametrize(
    "text",
    ["1e2", ".5", "5.", "+5", "5e-1", "-5", "0", "1e12", "1e-9", f"1e{'9' * 30}", "nan", " 1"],
)
def test_a_number_in_quotes_is_taken_alike_wherever_it_is(
    client: Client, market: Market, text: str
) -> None:
    order = {"type": "limit", "client_id": market.prefix, "instrument": market.instrument}
    order |= {"side": "buy", "price": "1", "quantity": "1"}
    order_id = client.ask(order, "order_accepted")["order"]["order_id"]
    client.send(order | {"price": text})
    placed = client.next()
    client.send({"type": "replace", "order_id": order_id, "price": text})
    replaced = client.next()
    if placed["type"] == "order_accepted":
        assert replaced["type"] == "order_replaced", replaced
        assert replaced["order"]["price"] == placed["order"]["price"]
        return
    assert (replaced["type"], replaced["code"]) == ("error", placed["code"])
    for of_order, of_replace in zip(placed["details"], replaced["details"], strict=True):
        assert of_replace["reason"] == of_order["reason"]
        assert of_replace["metadata"].keys() == of_order["metadata"].keys()
        assert of_replace["metadata"]["field"] == "price"
        assert of_replace["metadata"]["value"] in replaced["error"]


def test_a_number_out_of_range_is_told_with_field_limit_and_value(
    client: Client, market: Market
) -> None:
    order_id = market.placed("buy", 2, 100)["order"]["order_id"]
    client.send({"type": "replace", "order_id": order_id, "quantity": 1e12})
    error = client.until("error")
    between = "a number between -92233720368.54775807 and 92233720368.54775807"
    assert error["error"].startswith(f'quantity "1000000000000.0" is not {between}')
    assert error["details"] == [
        {
            "reason": "NUMBER_INVALID",
            "domain": "exchange",
            "metadata": {
                "field": "quantity",
                "limit": between,
                "value": "1000000000000.0",
                "retry_safe": "false",
            },
        }
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[(name, wrong) for name in ("client_id", "side", "orderId") for wrong in (5, True, ["a"])],
        ("time_in_force", {}),
        ("instrument", 1.5),
        ("post_only", 1),
        ("post_only", "yes"),
    ],
)
def test_a_value_of_another_kind_is_refused_over_each_door_alike(
    client: Client, market: Market, field: str, value: object
) -> None:
    order = {"side": "buy", "type": "limit", "price": 1, "quantity": 1} | {field: value}
    refused = market.post(**order).json()["message"]
    client.send({"client_id": market.prefix, "instrument": market.instrument} | order)
    error = client.until("error")
    assert (error["error"], error["code"]) == (refused, 3)
    assert refused.endswith(": send one that is")
    assert market.get("/market/orderbook")["bids"] == []


@pytest.mark.parametrize("written", ["1" * 5_000, "-" + "1" * 5_000, "1e400"])
@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("order", "price"),
        ("replace", "quantity"),
        ("cancel", "order_id"),
        ("ping", "request_id"),
        ("subscribe", "channels"),
        ("subscribe", "from_sequence"),
    ],
)
def test_a_number_of_any_length_is_named_with_its_field(
    client: Client, kind: str, field: str, written: str
) -> None:
    more = '"channels":["trades"],' if field == "from_sequence" else ""
    client.send(f'{{"type":"{kind}",{more}"{field}":{written}}}')
    error = client.until("error")
    assert error["error"].replace('"', "").startswith(f"{field} {written[:100]}")
    assert " is not " in error["error"]


@pytest.mark.parametrize("post_only", [True, "true", False, "false", None])
def test_a_truth_is_taken_over_each_door_alike(
    client: Client, market: Market, post_only: object
) -> None:
    order = {"side": "buy", "type": "limit", "price": 1, "quantity": 1, "post_only": post_only}
    over_http = market.post(**order).json()["order"]
    named = {"client_id": market.prefix, "instrument": market.instrument}
    placed = client.ask(named | order, "order_accepted")["order"]
    assert placed["post_only"] == over_http["post_only"] == (post_only in (True, "true"))


@pytest.mark.parametrize("name", [5, 1.5, True, ["1"], {}], ids=str)
@pytest.mark.parametrize(
    "kind",
    ["subscribe", "unsubscribe", "order", "limit", "cancel", "cancel_all", "replace", "ping"],
)
def test_a_request_id_that_is_not_text_is_refused_before_anything_happens(
    client: Client, market: Market, kind: str, name: object
) -> None:
    """Its answer could not be told from others."""
    order_id = market.placed("buy", 2, 100)["order"]["order_id"]
    before = market.get("/market/bbo")["sequence"]
    order = {"client_id": market.prefix, "side": "buy", "order_type": "limit", "price": 1}
    asked = {"order_id": order_id, "channels": ["trades"], "instrument": market.instrument}
    client.send(order | asked | {"type": kind, "quantity": 1, "request_id": name})
    error = client.next()
    assert (error["type"], error["code"]) == ("error", 3)
    assert f"request_id {json.dumps(name)} is not text" in error["error"]
    assert market.get("/market/bbo")["sequence"] == before
    nameless = client.ask({"type": "ping", "request_id": None}, "pong")
    assert "request_id" not in nameless


@pytest.mark.parametrize("name", [None, ""])
def test_an_instrument_that_is_not_given_is_the_default_one(client: Client, name: object) -> None:
    subscribed = client.ask(
        {"type": "subscribe", "channels": ["trades"], "instrument": name}, "subscribed"
    )
    assert subscribed["instrument"] == "BTC-USD"


def test_channels_of_a_market(client: Client, market: Market) -> None:
    """Book, depth, trades, orders and ticker, as orders come, trade and end."""
    channels = ("trades", "orders", "orderbook", "depth", "ticker")
    subscribed = client.subscribe(market.instrument, *channels)
    assert subscribed["channels"] == list(channels)
    assert subscribed["instrument"] == market.instrument
    whole = client.until("depth")["data"]
    assert (whole["type"], whole["bids"], whole["asks"]) == ("snapshot", [], [])

    resting = market.placed("sell", 2, 100)["order"]
    delta = client.until("depth")
    assert delta["data"]["type"] == "delta"
    assert delta["data"]["asks"] == [{"price": 100, "quantity": 2}]
    assert delta["data"]["checksum"] == crc32c(b"|10000000000:200000000")

    taken = market.placed("buy", 0.5, 100, client_id=f"{market.prefix}B")
    trade = client.until("trades")
    assert trade["channel"] == f"trades:{market.instrument}"
    assert trade["data"] == taken["trades"][0]
    assert trade["sequence"] == taken["sequence"]
    assert int(trade["previous_sequence"]) <= int(trade["sequence"])

    book = client.until("orderbook", lambda it: it["sequence"] == taken["sequence"])["data"]
    assert book["asks"] == [{"price": 100, "quantity": 1.5, "cumulative": 1.5}]
    market.http.delete(f"/orders/{resting['order_id']}")

    def is_ended(frame: dict[str, Any]) -> bool:
        return bool(frame["data"]["status"] == "cancelled")

    last = client.until("orders", is_ended)["data"]
    assert last == market.get_order(resting["order_id"])
    states = [
        frame["data"]["status"]
        for frame in client.seen
        if frame["type"] == "orders" and frame["data"]["order_id"] == resting["order_id"]
    ]
    assert states == ["open", "partially_filled", "cancelled"]
    filled = next(
        frame["data"]
        for frame in client.seen
        if frame["type"] == "orders" and frame["data"]["status"] == "filled"
    )
    assert filled == market.get_order(taken["order"]["order_id"])
    client.until("ticker", lambda it: it["data"].get("last") == 100 and "ask" not in it["data"])


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"type": "market", "side": "sell", "quantity": 1}, "rejected", "no_liquidity"),
        ({"type": "market", "side": "buy", "quantity": 3}, "cancelled", "no_liquidity"),
        ({"price": 100, "time_in_force": "fok"}, "rejected", "fill_or_kill"),
        ({"price": 100, "time_in_force": "ioc"}, "cancelled", "immediate_or_cancel"),
        ({"price": 100, "post_only": True}, "rejected", "post_only_would_cross"),
        ({"price": 99}, "open", None),
    ],
)
def test_an_order_reads_over_each_door_alike(
    client: Client, market: Market, fields: dict[str, Any], status: str, reason: str | None
) -> None:
    market.placed("sell", 2, 100, client_id=f"{market.prefix}S")
    client.subscribe(market.instrument, "orders")
    order = {"type": "limit", "side": "buy", "quantity": 3} | fields
    order |= {"client_id": market.prefix, "instrument": market.instrument}
    accepted = client.ask(order, "order_accepted")["order"]
    assert (accepted["status"], accepted.get("reject_reason")) == (status, reason)
    order_id = accepted["order_id"]
    assert written(market.get_order(order_id)) == written(accepted)
    # Before or after the answer.
    updates = [frame["data"] for frame in client.seen if frame["type"] == "orders"]
    if accepted not in updates:
        updates = [client.until("orders", lambda it: it["data"] == accepted)["data"]]
    assert written(accepted) in map(written, updates)


def written(content: object) -> str:
    """What was read, as JSON again: 10 and 10.0 are told apart."""
    return json.dumps(content, sort_keys=True)


def test_a_cancelled_order_says_why_over_each_door_alike(client: Client, market: Market) -> None:
    client.subscribe(market.instrument, "orders")
    order_id = market.placed("buy", 1, 100)["order"]["order_id"]
    cancelled = client.ask({"type": "cancel", "order_id": order_id}, "order_cancelled")["order"]
    assert cancelled["end_reason"] == "cancel_requested"
    assert "reject_reason" not in cancelled
    assert market.get_order(order_id) == cancelled
    told = [frame["data"] for frame in client.seen if frame["type"] == "orders"]
    assert cancelled in told or client.until("orders", lambda it: it["data"] == cancelled)


def test_each_door_takes_the_same_ends_for_those_of_a_rule() -> None:
    assert set(words.RULE_REASONS.values()) == RULE_REASONS
    assert {str(reason) for reason in EndReason} == set(END_REASONS.values())


def test_a_replaced_order_reads_over_each_door_alike(client: Client, market: Market) -> None:
    market.placed("sell", 1, 100, client_id=f"{market.prefix}S")
    order_id = market.placed("buy", 3, 99)["order"]["order_id"]
    frame = {"type": "replace", "order_id": order_id, "price": "100", "quantity": 2.5}
    replaced = client.ask(frame, "order_replaced")
    assert replaced["order"] == market.get_order(order_id)
    assert replaced["order"]["filled_quantity"] == replaced["trade_count"] == 1
    assert replaced["trades"] == market.get("/market/trades")["trades"]
    bids = market.get("/market/orderbook")["bids"]
    assert replaced["orderbook"] == {"bids": bids, "asks": []}


def test_a_ticker_reads_over_each_door_alike(client: Client, market: Market) -> None:
    seller = f"{market.prefix}S"
    for price in (100, 103, 98, 102):
        market.placed("sell", 0.6, price, client_id=seller)
        market.placed("buy", 0.6, price)
    market.placed("sell", 1.5, 105, client_id=seller)
    market.placed("buy", 3, 97)
    client.subscribe(market.instrument, "ticker")
    shown = market.get("/market/ticker")
    told = client.until("ticker", lambda it: it["sequence"] == shown["sequence"])
    assert told["data"] | {name: told[name] for name in ("timestamp", "sequence")} == shown
    numbers = [value for value in shown.values() if isinstance(value, int | float)]
    assert len(numbers) == len(set(numbers)) == 12, "none is taken for another"


def test_from_sequence_gives_what_was_missed_once(client: Client, market: Market) -> None:
    market.placed("sell", 100, 50)
    past = [market.placed("buy", 1, 50, client_id=market.prefix) for _ in range(5)]
    client.subscribe(market.instrument, "trades", from_sequence=past[0]["sequence"])
    client.until("resumed")
    live = [market.placed("buy", 1, 50, client_id=market.prefix) for _ in range(5)]
    expected = [reply["trades"][0] for reply in past + live]
    client.until("trades", lambda it: it["data"] == expected[-1])
    updates = [frame for frame in client.seen if frame["type"] == "trades"]
    assert [frame["data"] for frame in updates] == expected
    last = updates[0]
    for frame in updates[1:]:
        assert int(frame["previous_sequence"]) <= int(last["sequence"])
        last = frame


def test_a_past_that_can_not_be_had_is_told_by_the_name_of_the_request(
    client: Client, market: Market
) -> None:
    named = {"from_sequence": 10**18, "request_id": "mine"}
    assert client.subscribe(market.instrument, "trades", **named)["request_id"] == "mine"
    error = client.until("error")
    assert (error["request_id"], error["channel"]) == ("mine", f"trades:{market.instrument}")


def test_the_first_of_two_types_is_the_frame_s_and_the_last_the_order_s() -> None:
    frame = parsed('{"type":"cancel","type":"limit","order_id":"o"}')
    assert (frame["type"], frame["order_type"]) == ("cancel", "limit")
    for text in ('{"type":"order","type":"market"}', '{"type":"market"}'):
        frame = parsed(text)
        assert (frame["type"], frame["order_type"]) == ("order", "market")


@pytest.mark.parametrize(("first", "after"), [(0, 0), (1, 0), ("2", 1), (None, None)])
def test_from_sequence_is_the_first_that_is_wanted(first: object, after: int | None) -> None:
    assert sequence_of({"from_sequence": first}) == after


def test_several_instruments_and_compression(exchange: Everything, market: Market) -> None:
    for compression in ("deflate", None):
        with client_of(exchange.http, compression=compression) as client:
            names = [market.instrument, "BTC-USD"]
            frame = {"type": "subscribe", "channels": ["orderbook"], "instruments": names}
            assert client.ask(frame, "subscribed")["instruments"] == names
            books = {client.until("orderbook")["channel"] for _ in names}
            assert books == {f"orderbook:{name}" for name in names}
            assert bool(client.connection.protocol.extensions) == (compression is not None)


def test_oversize_frame_closes_only_its_connection(exchange: Everything, client: Client) -> None:
    with client_of(exchange.http) as large:
        large.send("x" * 20_000)
        with pytest.raises(ConnectionClosed):
            large.connection.recv(SECONDS)
        assert large.connection.protocol.close_rcvd is not None
        assert large.connection.protocol.close_rcvd.code == 1009
    assert client.ask({"type": "ping"}, "pong")


def test_too_many_frames_are_refused(exchange: Everything) -> None:
    with client_of(exchange.http, max_queue=None) as flood:
        for _ in range(1_000):
            flood.send({"type": "ping"})
        assert "100 a second" in flood.until("error")["error"]


def test_handshakes_that_are_refused(exchange: Everything, http: httpx.Client) -> None:
    assert http.get("/stream").status_code == 426
    with (
        pytest.raises(InvalidStatus) as refused,
        client_of(exchange.http, origin="http://elsewhere.example"),
    ):
        pass
    assert refused.value.response.status_code == 403
    with client_of(exchange.http, origin=exchange.http) as own:
        assert own.ask({"type": "ping"}, "pong")


def test_more_than_a_hundred_frames_a_second_are_refused_until_it_is_over(
    client: Client,
) -> None:
    for _ in range(250):
        client.send({"type": "ping"})
    answers = [client.next() for _ in range(250)]
    refusals = [answer["error"] for answer in answers if answer["type"] == "error"]
    assert "frames came faster than 100 a second" in refusals[0]
    for _ in range(100):
        client.send({"type": "ping"})
        if client.next()["type"] == "pong":
            return
        time.sleep(0.04)
    raise AssertionError("refused for ever")
