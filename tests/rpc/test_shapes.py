"""What is no message at all, and numbers of enumerations that don't exist."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import StatusCode

from exchange.v1 import (
    account_service_pb2,
    admin_service_pb2,
    market_data_pb2,
    order_service_pb2,
)
from exchange.v1.order_service_pb2 import (
    PlaceOrderRequest,
    PlaceOrderResponse,
    PlaceOrdersRequest,
)
from tests.rpc.served import BUY, Served, order, refused

PLACE = "/exchange.v1.OrderService/PlaceOrder"
NO_SUCH_NUMBER = 77


def _raw(served: Served) -> Callable[[bytes], Any]:
    """`PlaceOrder` with bytes in place of messages."""
    return served.channel.unary_unary(PLACE)  # type: ignore[return-value]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "body",
    [
        b"\xff" * 40,
        b"\x0a\x05AB",  # a text that ends too early
        b"\x0a\x02\xff\xfe",  # a text that is no UTF-8
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a length past any
        b"\x0b",  # a group without its end
    ],
    ids=["noise", "short", "not-text", "length", "group"],
)
async def test_what_is_no_message_is_refused(served: Served, body: bytes) -> None:
    before = served.engine.sequence
    failure, info = await refused(_raw(served)(body))
    assert failure.code() == StatusCode.INVALID_ARGUMENT
    assert info.reason == "MESSAGE_INVALID"
    assert served.engine.sequence == before
    await served.place("A", BUY, 100)


@pytest.mark.asyncio
async def test_what_is_no_message_ends_a_session(served: Served) -> None:
    before = served.engine.sequence
    open_session: Any = served.channel.stream_stream("/exchange.v1.OrderService/TradingSession")
    opening = order_service_pb2.TradingSessionRequest(open={"cancel_on_disconnect": True})
    call = open_session(iter([opening.SerializeToString(), b"\xff" * 40]))
    assert await call.read()
    failure, info = await refused(call.read())
    assert failure.code() == StatusCode.INVALID_ARGUMENT
    assert info.reason == "MESSAGE_INVALID"
    assert served.engine.sequence == before + 2, "the session was opened and ended"
    assert not served.engine.open_sessions()


@pytest.mark.asyncio
async def test_unknown_fields_change_nothing(served: Served) -> None:
    body = order("A", BUY, 100).SerializeToString() + b"\xfa\x3f\x03new"
    reply = await _raw(served)(body)
    assert PlaceOrderResponse.FromString(reply).order.remaining_quantity_e8 == 10


def enum_fields(method: MethodDescriptor) -> Iterator[tuple[str, ...]]:
    """Paths to every field of an enumeration in a request, however deep."""

    def walk(message: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for field in message.fields:
            if field.type == FieldDescriptor.TYPE_ENUM:
                yield (*path, field.name)
            elif field.type == FieldDescriptor.TYPE_MESSAGE:
                yield from walk(field.message_type, (*path, field.name))

    return walk(method.input_type, ())


ENUM_FIELDS = [
    (method, path)
    for file in (order_service_pb2, market_data_pb2, account_service_pb2, admin_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    for path in enum_fields(method)
]
FILLED: dict[str, Message] = {
    "PlaceOrderRequest": order("A", BUY, 100),
    "CancelOrdersRequest": order_service_pb2.CancelOrdersRequest(client_id="A"),
    "Instrument": market_data_pb2.Instrument(name="NEW-USD"),
}
"""Of each message with an enumeration one that is right but for it."""


def with_unknown_number(message: Message, path: tuple[str, ...]) -> None:
    """Fill the message, down to a number of the enumeration that doesn't exist."""
    filled = FILLED.get(message.DESCRIPTOR.name)
    if filled is not None:
        message.CopyFrom(filled)
    name, *rest = path
    if not rest:
        setattr(message, name, NO_SUCH_NUMBER)
        return
    inner = getattr(message, name)
    if message.DESCRIPTOR.fields_by_name[name].is_repeated:
        inner = inner.add()
    with_unknown_number(inner, tuple(rest))


def test_enum_fields_are_found() -> None:
    names = {path[-1] for _, path in ENUM_FIELDS}
    assert names == {"side", "type", "time_in_force", "self_trade_prevention", "status"}
    assert len(ENUM_FIELDS) >= 17


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "path"),
    ENUM_FIELDS,
    ids=[f"{method.name}-{'.'.join(path)}" for method, path in ENUM_FIELDS],
)
async def test_an_unknown_number_of_an_enumeration_is_refused(
    served: Served, method: MethodDescriptor, path: tuple[str, ...]
) -> None:
    before = served.engine.sequence
    request = GetMessageClass(method.input_type)()
    with_unknown_number(request, path)
    name = f"/{method.containing_service.full_name}/{method.name}"
    reply_class = GetMessageClass(method.output_type)
    serialize = type(request).SerializeToString
    failure: grpc.aio.AioRpcError | None = None
    reply: Any
    if method.client_streaming:
        stream = served.channel.stream_stream(name, serialize, reply_class.FromString)(
            iter([request])
        )
        reply = await stream.read()
    else:
        call = served.channel.unary_unary(name, serialize, reply_class.FromString)
        try:
            reply = await call(request)
        except grpc.aio.AioRpcError as error:
            failure = error
        else:
            failure = None
    told = reply.outcomes[0].refused.message if failure is None else failure.details()
    assert failure is None or failure.code() == StatusCode.INVALID_ARGUMENT
    assert str(told).startswith(f"{path[-1]} {NO_SUCH_NUMBER} ")
    assert served.engine.sequence == before


def test_a_request_of_any_kind_is_small_enough() -> None:
    """1,000 orders with the longest ids fit into the largest message."""
    longest = "i" * 64
    one = PlaceOrderRequest(
        client_id=longest,
        instrument="A" * 16 + "-" + "B" * 16,
        side=2,  # type: ignore[arg-type]
        type=2,  # type: ignore[arg-type]
        price_e8=2**63 - 1,
        quantity_e8=2**63 - 1,
        time_in_force=3,  # type: ignore[arg-type]
        post_only=True,
        self_trade_prevention=5,  # type: ignore[arg-type]
        order_id=longest,
        idempotency_key=longest,
        client_reference=longest,
    )
    assert len(PlaceOrdersRequest(orders=[one] * 1_000).SerializeToString()) < 1 << 20
