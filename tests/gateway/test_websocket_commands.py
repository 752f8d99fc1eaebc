"""Orders, cancels and replaces over the WebSocket: what goes on to the exchange, and as whose."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from clients.errors import RefusedError, UnavailableError
from gateway.websocket.errors import ended
from gateway.websocket.frames import Frame
from gateway.websocket.open_channels import Channels
from gateway.websocket.requests import parsed
from gateway.websocket.session import OrderConnection, Session
from tests.gateway.test_websocket_limits import HANDSHAKE, TEXT, Served, frame, run, until_error


class Refusing:
    """A way to an exchange that refuses every command, and keeps what was passed with it."""

    address = ""

    def __init__(self, error: Exception | None = None) -> None:
        self.channel = self
        self.error = error or UnavailableError("refused", code=grpc.StatusCode.UNAVAILABLE)
        self.passed: dict[str, tuple[tuple[str, str], ...]] = {}

    def unary_unary(self, path: str, **_: object) -> Callable[..., Coroutine[Any, Any, None]]:
        async def call(_: object, timeout: float, metadata: tuple[tuple[str, str], ...]) -> None:
            assert timeout
            self.passed[path.rpartition("/")[2]] = metadata
            raise self.error

        return call

    unary_stream = stream_stream = unary_unary

    def command(self, *_: object) -> None:
        raise AssertionError("would be repeated for seconds, while other frames wait")


@pytest.mark.parametrize(
    ("forwarded", "caller"),
    [
        (b"10.0.0.2", (("x-forwarded-for", "10.0.0.2"),)),
        (b"192.0.2.9, 2001:db8::1", (("x-forwarded-for", "2001:db8::1"),)),
        (b"", ()),
        (b"\xff", ()),
    ],
)
def test_commands_are_those_of_the_address_that_the_gateway_saw(
    forwarded: bytes, caller: tuple[tuple[str, str], ...]
) -> None:
    """Else all clients would draw on one budget, that of the bridge."""
    connection = Refusing()

    async def test(here: Served) -> None:
        header = b"Host: here\r\nX-Forwarded-For: " + forwarded
        client = await here.connect(HANDSHAKE.replace(b"Host: here", header))
        for kind in ("order", "cancel", "cancel_all", "replace"):
            wish = {"type": kind, "order_id": "o", "client_id": "c", "request_id": "mine"}
            client.writer.write(frame(TEXT, json.dumps(wish).encode()))
            assert (await until_error(client))["error"] == "refused"

    run(test, connection)
    named = (*caller, ("x-request-id", "mine"))
    methods = ("PlaceOrder", "CancelOrder", "CancelOrders", "ReplaceOrder")
    assert connection.passed == dict.fromkeys(methods, named)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"type":"order","type":"limit"}', "limit"),
        ('{"type":"order","type":"limit","order_type":"market"}', "market"),
        ('{"order_type":"market","type":"order","type":"limit"}', "market"),
        ('{"type":"limit"}', "limit"),
        ('{"type":"market","order_type":"limit"}', "limit"),
    ],
)
def test_the_type_of_an_order_is_said_without_a_doubt_or_by_the_last_type(
    text: str, kind: str
) -> None:
    frame = parsed(text)
    assert (frame["type"], frame["order_type"]) == ("order", kind)


def test_a_command_without_an_answer_may_have_been_carried_out() -> None:
    """Whatever became of it, a client hears of it under the name that he gave, or its beginning."""
    nothing = grpc.aio.Metadata()
    lost = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, "Socket closed")
    sent: list[Frame] = []
    outgoing, none = cast("Any", SimpleNamespace(send=sent.append)), cast("Any", None)
    session = Session(outgoing, Channels(none), OrderConnection(cast("Any", Refusing(lost))), "")
    wish = {"type": "cancel", "order_id": "o", "request_id": "n" * 200}
    asyncio.run(session.take(json.dumps(wish)))
    (told,) = (json.loads(each.plain[each.plain.index(b"{") :]) for each in sent)
    assert (told["code"], told["request_id"]) == (14, "n" * 100)
    assert "it may have been applied" in told["error"]


def test_a_start_that_is_refused_is_told_in_words_of_frames() -> None:
    refused = RefusedError(
        "after_sequence 9 is ahead, the last is 5: send that",
        code=grpc.StatusCode.INVALID_ARGUMENT,
        reason="CURSOR_INVALID",
        field="after_sequence",
        limit="5",
        value="9",
    )
    told = ended("trades:BTC-USD", refused)
    assert told["error"] == "from_sequence 10 is ahead, the last is 5: send that"
    (detail,) = told["details"]
    assert (detail["metadata"]["field"], detail["metadata"]["value"]) == ("from_sequence", "10")


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"subscribe","channels":["trades"],"instrument":%s}',
        '{"type":"cancel","order_id":%s}',
        '{"type":%s}',
    ],
)
def test_a_frame_is_answered_however_deep_it_is_nested(text: str) -> None:
    """Also where what reads it still goes as deep, and what shows it in the answer can't."""
    sent: list[Frame] = []
    outgoing, nothing = cast("Any", SimpleNamespace(send=sent.append)), cast("Any", None)
    session = Session(outgoing, Channels(nothing), OrderConnection(cast("Any", Refusing())), "")

    async def test() -> None:
        for depth in range(1_000):
            await session.take(text % ("[" * depth + "1" + "]" * depth))

    asyncio.run(test())
    assert len(sent) == 1_000
