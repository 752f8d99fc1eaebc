"""An exchange that serves gRPC inside the test, and what a test asks of it."""

import threading
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from prometheus_client.parser import text_string_to_metric_families

from exchange.v1.account_service_pb2_grpc import AccountServiceStub
from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
from exchange.v1.market_data_pb2_grpc import MarketDataStub
from exchange.v1.order_service_pb2 import PlaceOrderRequest, PlaceOrderResponse
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
from server.app import Exchange
from server.journal.positions import read_positions
from server.journal.recovery import Recovered, recover
from server.settings import GrpcLimits, Settings
from tests.on_loop import until as until

if TYPE_CHECKING:
    from exchange.v1.account_service_pb2_grpc import AccountServiceAsyncStub
    from exchange.v1.admin_service_pb2_grpc import AdminServiceAsyncStub
    from exchange.v1.market_data_pb2_grpc import MarketDataAsyncStub
    from exchange.v1.order_service_pb2_grpc import OrderServiceAsyncStub

BTC: Final = "BTC-USD"
BUY: Final = 1
SELL: Final = 2
LIMIT: Final = 1
MARKET: Final = 2
E8: Final = 10**8

Failure = grpc.aio.AioRpcError


class Served:
    """One run, and a channel to it."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.engine = exchange.sequencer.engine
        self.address = f"127.0.0.1:{exchange.port}"
        self.channel = self.connect()
        self._running = True
        self.orders: OrderServiceAsyncStub = OrderServiceStub(self.channel)
        self.market: MarketDataAsyncStub = MarketDataStub(self.channel)
        self.accounts: AccountServiceAsyncStub = AccountServiceStub(self.channel)
        self.admin: AdminServiceAsyncStub = AdminServiceStub(self.channel)

    async def stop(self) -> None:
        """Stop the server, if it still runs."""
        if self._running:
            self._running = False
            await self.exchange.stop()

    def connect(self) -> grpc.aio.Channel:
        """A connection of its own."""
        options = (("grpc.use_local_subchannel_pool", 1),)
        return grpc.aio.insecure_channel(self.address, options=options)

    async def place(self, client: str, side: int, price: int, **fields: Any) -> PlaceOrderResponse:
        """A limit order, by default of 10 units."""
        return await self.orders.PlaceOrder(order(client, side, price, **fields))


def order(client: str, side: int, price: int, **fields: Any) -> PlaceOrderRequest:
    """A limit order, by default of 10 units."""
    given = {"instrument": BTC, "type": LIMIT, "quantity_e8": 10, **fields}
    return PlaceOrderRequest(client_id=client, side=side, price_e8=price, **given)  # type: ignore[arg-type]


class HeldJournal:
    """Lets no sync of commands in a served exchange's journal return until the block ends.

    That of an idle record goes on, which comes whenever it was quiet: it would be taken for the one
    that the commands of the test are in.
    """

    def __init__(self, served: Served) -> None:
        self._sequencer = served.exchange.sequencer
        self._storage = served.exchange._log.segments
        self._sync = self._storage.fdatasync
        self._let_go = threading.Event()
        self.entered = threading.Event()

    def __enter__(self) -> Self:
        self._storage.fdatasync = self._wait  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        self._storage.fdatasync = self._sync  # type: ignore[method-assign]
        self._let_go.set()

    def _wait(self) -> None:
        if self._sequencer._writing is not None:
            self.entered.set()
            self._let_go.wait()
        self._sync()


@asynccontextmanager
async def serving(directory: Path, **changes: Any) -> AsyncIterator[Served]:
    """A server on a data directory until the block ends; `changes` are settings, `grpc` limits
    given as a dictionary."""
    limits = replace(GrpcLimits(), **changes.pop("grpc", {}))
    settings = Settings(data_dir=directory, grpc_port=0, grpc=limits, **changes)
    failures: list[str] = []
    recovered, positions = _recovered(settings), read_positions(directory)
    exchange = Exchange(settings, recovered, positions, dict, on_failure=failures.append)
    await exchange.start()
    served = Served(exchange)
    try:
        yield served
    finally:
        await served.channel.close()
        await served.stop()
    assert not failures


def _recovered(settings: Settings) -> Recovered:
    settings.data_dir.mkdir(exist_ok=True)
    return recover(settings.data_dir, segment_bytes=settings.journal.segment_bytes)


async def value(served: Served, name: str, **labels: str) -> float:
    """Of one sample of the figures, 0 where there is none."""
    text = (await served.exchange._metrics.text()).decode()
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
    return sum(each.value for each in samples if (each.name, each.labels) == (name, labels))


async def refused(call: Awaitable[Any]) -> tuple[Failure, ErrorInfo]:
    """How a call failed, with its details."""
    try:
        reply = await call
    except Failure as failure:
        return failure, info_of(failure)
    raise AssertionError(f"not refused: {reply}")


async def failure_of(stream: Any) -> Failure:
    """How a stream failed in the end, whatever it sent before."""
    try:
        while await stream.read() is not grpc.aio.EOF:
            pass
    except Failure as failure:
        return failure
    raise AssertionError("it ended well")


def info_of(failure: Failure) -> ErrorInfo:
    """The details of a refusal; empty where there are none."""
    info = ErrorInfo()
    for key, value in failure.trailing_metadata():
        if key == "grpc-status-details-bin":
            assert isinstance(value, bytes)
            status = Status.FromString(value)
            assert status.code == failure.code().value[0]
            assert status.message == failure.details()
            assert status.details[0].Unpack(info)
    return info
