"""The id of a request: its caller's, where that is a good one, otherwise one that is made."""

import re

import grpc
import httpx
import pytest

from exchange.v1.order_service_pb2 import GetOrderRequest
from exchange.v1.order_service_pb2_grpc import OrderServiceStub

NAME = "x-request-id"
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BAD = {
    "empty": b"",
    "quoted": b'a"b',
    "spaced": b"a b",
    "long": b"x" * 129,
    "percent": b"a%b",
    "beyond-ascii": b"\xc3\xa9",
}


@pytest.mark.parametrize(
    "path", ["/instruments", "/orders/none", "/no-such-route", "/orders", "/docs", "/stream"]
)
@pytest.mark.parametrize("name", ["mine", "Root=1-67891233-abcdef/01:a+b_c.d", "-x-", "x" * 128])
def test_a_good_one_comes_back(http: httpx.Client, path: str, name: str) -> None:
    assert http.get(path, headers={NAME: name}).headers[NAME] == name


@pytest.mark.parametrize("path", ["/instruments", "/orders/none", "/no-such-route"])
@pytest.mark.parametrize("name", BAD.values(), ids=BAD)
def test_a_bad_one_is_replaced(http: httpx.Client, path: str, name: bytes) -> None:
    assert UUID.fullmatch(http.get(path, headers={NAME.encode(): name}).headers[NAME])


def test_each_request_without_one_is_given_its_own(http: httpx.Client) -> None:
    given = [http.get("/healthz").headers[NAME] for _ in range(5)]
    assert len(set(given)) == 5
    assert all(map(UUID.fullmatch, given))


def test_nobody_else_names_a_request(http: httpx.Client) -> None:
    """The header that the gateway sets aside is its own."""
    assert UUID.fullmatch(http.get("/healthz", headers={"x-given-request-id": "a"}).headers[NAME])


@pytest.mark.parametrize("name", ["mine", "a b", ""])
def test_grpc_through_the_gateway(channel: grpc.Channel, name: str) -> None:
    metadata = ((NAME, name),) if name else ()
    request = GetOrderRequest(order_id="none")
    call = OrderServiceStub(channel).GetOrder.future(request, metadata=metadata)
    assert call.code() is grpc.StatusCode.NOT_FOUND
    told = {
        value for key, value in (*call.initial_metadata(), *call.trailing_metadata()) if key == NAME
    }
    assert len(told) == 1, "gateway and server say the same"
    (found,) = told
    assert found == name if name == "mine" else UUID.fullmatch(str(found))
