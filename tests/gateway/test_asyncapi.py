"""The WebSocket's document (YAML in its JSON form) against the real thing, by its examples."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from exchange.http.v1.order_service_pb2 import PlaceOrderRequest
from tests.gateway.door import Market
from tests.gateway.websocket_client import client_of
from tests.running import Everything

FILE = Path(__file__).parents[2] / "gateway" / "asyncapi.yaml"
DOCUMENT: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
MESSAGES: dict[str, dict[str, Any]] = DOCUMENT["components"]["messages"]
TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
}


def check(frame: dict[str, Any]) -> None:
    """A frame has what its message requires, nothing that it doesn't name, each of its type."""
    payload = MESSAGES[frame["type"]]["payload"]
    properties = payload["properties"]
    assert frame.keys() >= set(payload["required"]), frame
    assert frame.keys() <= properties.keys(), frame
    for name, value in frame.items():
        given = properties[name].get("type", [])
        kinds = [given] if isinstance(given, str) else given
        assert not kinds or any(isinstance(value, TYPES[kind]) for kind in kinds), (name, frame)


@pytest.mark.parametrize("name", MESSAGES)
def test_examples_are_as_their_messages_say(name: str) -> None:
    for example in MESSAGES[name]["examples"]:
        assert example["payload"]["type"] == name
        check(example["payload"])


def test_an_order_has_the_fields_of_the_http_interface() -> None:
    fields = {field.name for field in PlaceOrderRequest.DESCRIPTOR.fields}
    own, internal = {"order_type", "request_id"}, {"unreadable"}
    assert MESSAGES["order"]["payload"]["properties"].keys() == fields - internal | own


def test_requests_are_answered_as_said(exchange: Everything, market: Market) -> None:
    """In the order of the document, on a market and with an order of the test's own."""
    own = {"instrument": market.instrument, "order_id": f"{market.prefix}ws"}
    with client_of(exchange.http) as client:
        for operation in DOCUMENT["operations"].values():
            if operation["action"] != "receive":
                continue
            (request,) = (it["$ref"].rpartition("/")[2] for it in operation["messages"])
            answer = operation["reply"]["messages"][0]["$ref"].rpartition("/")[2]
            for example in MESSAGES[request]["examples"]:
                sent = example["payload"]
                sent = sent | {key: value for key, value in own.items() if key in sent}
                reply = client.ask(sent | {"request_id": request}, answer)
                assert reply["request_id"] == request
        market.placed("sell", 1, 50)
        market.placed("buy", 1, 50)
        client.send("{")
        client.until("error")
        client.until("ticker", lambda it: it["data"].get("last") == 50)
        for frame in client.seen:
            check(frame)
        told = {frame["type"] for frame in client.seen}
    assert MESSAGES.keys() - told == {
        *(name for name, it in DOCUMENT["operations"].items() if it["action"] == "receive"),
        "restarted",
        "trades",
    }, "after it unsubscribed from trades, all but these were seen"


def test_it_is_served(http: httpx.Client) -> None:
    assert http.get("/asyncapi.yaml").text == FILE.read_text(encoding="utf-8")
