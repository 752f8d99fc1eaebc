"""One whole exchange behind a real Envoy for all tests here; each has a market of its own."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import grpc
import httpx
import pytest

from exchange.v1 import admin_service_pb2, market_data_pb2
from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
from tests.gateway.door import Market
from tests.running import Everything, Starter

NUMBERS = count(1)


@pytest.fixture(scope="session")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    with Starter(tmp_path_factory.mktemp("gateway") / "data") as starter:
        yield starter.up()


@pytest.fixture(scope="session")
def http(exchange: Everything) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=exchange.http, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def channel(exchange: Everything) -> Iterator[grpc.Channel]:
    """gRPC through the gateway's port."""
    with grpc.insecure_channel(f"127.0.0.1:{exchange.http_port}") as channel:
        yield channel


@pytest.fixture
def market(http: httpx.Client, list_instrument: Callable[..., None]) -> Market:
    """An instrument, and names of clients, that no other test uses."""
    number = next(NUMBERS)
    list_instrument(f"GW{number}-USD")
    return Market(http, f"GW{number}-USD", f"gw{number}.")


@pytest.fixture(scope="session")
def list_instrument(channel: grpc.Channel) -> Callable[..., None]:
    admin = AdminServiceStub(channel)

    def list_it(name: str, **terms: Any) -> None:
        instrument = market_data_pb2.Instrument(name=name, **terms)
        admin.SetInstrument(admin_service_pb2.SetInstrumentRequest(instrument=instrument))

    return list_it
