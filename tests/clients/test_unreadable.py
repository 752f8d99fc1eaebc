"""Bytes that are no message, as a line that spoils them gives: an answer that did not come."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc
import pytest
import pytest_asyncio

from clients.client import ExchangeClient
from clients.errors import OutcomeUnknownError, UnavailableError
from clients.following import Interruption
from clients.requests import PlaceOrder
from clients.retries import Retries

NO_MESSAGE = b"\xff\xff"
ONCE = Retries(overall_s=5, delay_first_s=60, delay_max_s=60)
QUICK = Retries(delay_first_s=0.001, delay_max_s=0.001)

pytestmark = pytest.mark.asyncio


class Spoiled(grpc.GenericRpcHandler):
    """Answers every call so."""

    def service(self, call: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        if "/Stream" in call.method:
            return grpc.unary_stream_rpc_method_handler(_stream)
        return grpc.unary_unary_rpc_method_handler(_answer)


async def _answer(request: bytes, context: object) -> bytes:
    return NO_MESSAGE


async def _stream(request: bytes, context: object) -> AsyncIterator[bytes]:
    yield NO_MESSAGE


@pytest_asyncio.fixture
async def address() -> AsyncIterator[str]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Spoiled(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def test_it_is_asked_again(address: str) -> None:
    told: list[Interruption] = []

    def interrupted(interruption: Interruption) -> None:
        told.append(interruption)
        if len(told) == 3:
            raise ZeroDivisionError  # enough

    async with ExchangeClient(address, retries=ONCE) as exchange:
        with pytest.raises(OutcomeUnknownError, match="no message of the exchange's"):
            await exchange.place(PlaceOrder("alice", "BTC-USD", "buy", 1, price=2))
        with pytest.raises(UnavailableError, match="no message of the exchange's"):
            await exchange.book("BTC-USD")
    async with ExchangeClient(address, retries=QUICK) as exchange:
        for follow in (exchange.follow_book, exchange.follow_trades):
            told.clear()
            async with aclosing(follow("BTC-USD", on_interruption=interrupted)) as stream:
                with pytest.raises(ZeroDivisionError):
                    await anext(stream)
