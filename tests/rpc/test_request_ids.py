"""The id of a gRPC call: its caller's, where that is a good one, otherwise one that is made."""

import asyncio
from typing import Any

import grpc
import pytest

from exchange.v1.market_data_pb2 import ListInstrumentsRequest, StreamOrderBookRequest
from exchange.v1.order_service_pb2 import GetOrderRequest
from tests.rpc.served import BTC, BUY, Served, order

pytestmark = pytest.mark.asyncio

NAME = "x-request-id"


async def name_of(call: Any) -> str:
    """The one id that a call that has ended was answered with."""
    (found,) = [value for key, value in await call.trailing_metadata() if key == NAME]
    return str(found)


async def to_the_end(call: Any) -> None:
    """Read all that comes."""
    while await call.read() is not grpc.aio.EOF:
        pass


@pytest.mark.parametrize("given", ["mine", "Root=1-67891233-abcdef/01:a+b_c.d", "x" * 128])
async def test_a_good_one_comes_back(served: Served, given: str) -> None:
    placing = served.orders.PlaceOrder(order("A", BUY, 9), metadata=((NAME, given),))
    await placing
    assert await name_of(placing) == given
    call = served.orders.GetOrder(GetOrderRequest(order_id="no"), metadata=((NAME, given),))
    assert await call.code() is grpc.StatusCode.NOT_FOUND
    assert await name_of(call) == given


@pytest.mark.parametrize("given", ["", "a b", 'a"', "x" * 129, "a%b"])
async def test_a_bad_one_is_replaced(served: Served, given: str) -> None:
    call = served.market.ListInstruments(ListInstrumentsRequest(), metadata=((NAME, given),))
    await call
    found = await name_of(call)
    assert found
    assert found != given


async def test_each_call_without_one_is_given_its_own(served: Served) -> None:
    calls = [served.market.ListInstruments(ListInstrumentsRequest()) for _ in range(5)]
    assert len({await name_of(call) for call in calls}) == 5


async def test_streams_too(served: Served) -> None:
    call = served.market.StreamOrderBook(
        StreamOrderBookRequest(instrument="NO-SUCH"), metadata=((NAME, "mine"),)
    )
    assert await call.code() is grpc.StatusCode.NOT_FOUND
    assert await name_of(call) == "mine"
    call = served.market.StreamOrderBook(
        StreamOrderBookRequest(instrument=BTC), metadata=((NAME, "mine"),)
    )
    await call.read()
    stopping = asyncio.ensure_future(served.stop())
    with pytest.raises(grpc.aio.AioRpcError):
        await to_the_end(call)
    await stopping
    assert await name_of(call) == "mine"
