"""Texts that can't be right, in every text field of every request: refused with what is wrong, or
unknown to a read; never a fault, and never in the journal."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import StatusCode

import exchange.http.v1
import exchange.v1
from tests.rpc.served import BTC, Failure, Served, info_of

Path = tuple[FieldDescriptor, ...]
TEXTS = ("x" * 10_240, "a\u0007b", "\u0661")
NOT_UTF8 = b"\xff\xfe"
TOLD_CHARS_MAX = 400
"""Of a sentence that names the field, the limit and some of the value."""
TYPED = {StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND}
ORDER = {"client_id": "A", "instrument": BTC, "order_id": "o-1", "date": "2026-01-01"}
NUMBERS = {"side": 1, "type": 1, "price_e8": 100, "quantity_e8": 10}
WORDS = {"side": "buy", "type": "limit", "price": 1.0, "quantity": 1.0}
"""What a request needs beside the text to be right."""


def methods() -> Iterator[MethodDescriptor]:
    for package in (exchange.v1, exchange.http.v1):
        for module in iter_modules(package.__path__):
            if module.name.endswith("service_pb2"):
                file = import_module(f"{package.__name__}.{module.name}").DESCRIPTOR
                for service in file.services_by_name.values():
                    yield from service.methods


def text_fields(message: Any, path: Path = ()) -> Iterator[Path]:
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield (*path, field)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            yield from text_fields(field.message_type, (*path, field))


def fill(message: Message, path: Path, text: str) -> None:
    """Fill the message with what is right, down to the text."""
    kinds = {field.name: field for field in message.DESCRIPTOR.fields}
    is_number = "price_e8" in kinds or "quantity_e8" in kinds or "status" in kinds
    for name, value in (ORDER | (NUMBERS if is_number else WORDS)).items():
        if name in kinds and (
            isinstance(value, str) == (kinds[name].type == kinds[name].TYPE_STRING)
        ):
            setattr(message, name, value)
    field, *rest = path
    if not rest and not field.is_repeated:
        setattr(message, field.name, text)
        return
    inner = getattr(message, field.name)
    if not rest:
        inner.append(text)
        return
    fill(inner.add() if field.is_repeated else inner, tuple(rest), text)


def with_bytes(path: Path, value: bytes) -> bytes:
    """A message with bytes where a text should be."""
    for field in reversed(path):
        assert len(value) < 128
        value = bytes((field.number << 3 | 2, len(value))) + value
    return value


async def answer(served: Served, method: MethodDescriptor, body: bytes) -> Failure | None:
    """How it was refused, if it was."""
    name = f"/{method.containing_service.full_name}/{method.name}"
    channel: Any = served.channel
    try:
        if method.client_streaming:
            await channel.stream_stream(name)(iter([body])).read()
        elif method.server_streaming:
            await channel.unary_stream(name)(body).read()
        else:
            await channel.unary_unary(name)(body)
    except Failure as failure:
        return failure
    return None


FIELDS = [(method, path) for method in methods() for path in text_fields(method.input_type)]


def test_text_fields_are_found() -> None:
    names = {path[-1].name for _, path in FIELDS}
    assert names >= {"client_id", "order_id", "instrument", "idempotency_key", "page_token", "side"}
    assert len(FIELDS) >= 80


@pytest.mark.asyncio
async def test_a_text_that_cant_be_right_leaves_no_trace(served: Served) -> None:
    before = served.engine.sequence
    for method, path in FIELDS:
        place = f"{method.full_name} {'.'.join(field.name for field in path)}"
        for text in TEXTS:
            request = GetMessageClass(method.input_type)()
            fill(request, path, text)
            refused = await answer(served, method, request.SerializeToString())
            if refused is not None:
                assert refused.code() in TYPED, place
                assert info_of(refused).reason, place
                assert len(refused.details() or "") < TOLD_CHARS_MAX, place
            assert served.engine.sequence == before, place
        refused = await answer(served, method, with_bytes(path, NOT_UTF8))
        assert refused is not None, place
        assert info_of(refused).reason == "MESSAGE_INVALID", place
        assert served.engine.sequence == before, place
