"""An exchange inside the test: real engine, journal, sequencer, feed and gRPC server."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from google_crc32c import value

from exchange.v1 import market_data_pb2, order_service_pb2
from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from exchange.v1.market_data_pb2_grpc import MarketDataStub
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
from server.core.commands import CancelOrder, Command, PlaceOrder, ReplaceOrder, SetInstrument
from server.core.instruments import Instrument
from server.core.types import BUY, GTC, IOC, LIMIT, SELL
from server.feed.feed import Feed, Formats
from server.history.reader import History
from server.journal.recovery import recover
from server.metrics.load import CallErrors
from server.rpc import market_data
from server.rpc.calls import Calls
from server.rpc.deadlines import Deadlines
from server.rpc.event_formats import TRADES, OrderEventFormat
from server.rpc.http.streams import JSON_TRADES
from server.rpc.intake import Intake
from server.rpc.order_service import ENCODED, OrderService
from server.rpc.registration import Services
from server.rpc.server import make_server
from server.rpc.trading_session import TradingSessions
from server.sequencer.sequencer import Sequencer
from server.sequencer.ticket import Outcome
from server.settings import FeedLimits, GrpcLimits

if TYPE_CHECKING:
    from exchange.v1.market_data_pb2_grpc import MarketDataAsyncStub
    from exchange.v1.order_service_pb2_grpc import OrderServiceAsyncStub

BTC = "BTC-USD"
ETH = "ETH-USD"

T = TypeVar("T")

Failure = grpc.aio.AioRpcError


class Market:
    """One run of the exchange on a data directory; `failures` are those that would end it."""

    def __init__(self, directory: Path, limits: FeedLimits) -> None:
        recovered = recover(directory)
        self.log = recovered.log
        assert isinstance(self.log.claim(os.urandom(16)), int)
        self.engine = recovered.engine
        self.failures: list[str] = []
        self.sequencer = Sequencer(self.engine, self.log, on_failure=self.failures.append)
        self.feed = Feed(
            self.sequencer,
            self.log,
            Formats(TRADES, OrderEventFormat(), JSON_TRADES),
            limits,
        )
        grpc_limits = GrpcLimits()
        self.server = make_server(grpc_limits)
        calls = Calls(self.sequencer, Deadlines(5, 30))
        services = market_data_pb2.DESCRIPTOR.services_by_name
        servicer = market_data.MarketData(calls, History(""), self.feed)
        registered = Services(self.server, CallErrors(), {}, Intake(grpc_limits.calls_max))
        registered.add(services["MarketData"], servicer, market_data.ENCODED)
        services = order_service_pb2.DESCRIPTOR.services_by_name
        sessions = TradingSessions(self.sequencer, 1_000, {})
        orders = OrderService(calls, History(""), sessions, self.feed)
        registered.add(services["OrderService"], orders, ENCODED)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self._channels: list[grpc.aio.Channel] = []

    async def start(self) -> None:
        self.sequencer.start()
        await self.server.start()
        if not self.engine.markets:
            await self.commit(SetInstrument(Instrument(BTC)), SetInstrument(Instrument(ETH)))

    async def stop(self) -> None:
        await self.sequencer.stop()
        self.feed.stop()
        await self.server.stop(0.1)
        for channel in self._channels:
            await channel.close()
        self.log.close()
        assert self.failures == []

    def channel(self, **options: Any) -> grpc.aio.Channel:
        """A connection of its own."""
        own = {"grpc.enable_http_proxy": 0, "grpc.use_local_subchannel_pool": 1, **options}
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", list(own.items()))
        self._channels.append(channel)
        return channel

    def data(self, **options: Any) -> "MarketDataAsyncStub":
        return MarketDataStub(self.channel(**options))

    def orders(self, **options: Any) -> "OrderServiceAsyncStub":
        return OrderServiceStub(self.channel(**options))

    async def commit(self, *commands: Command) -> list[Outcome]:
        ticket = self.sequencer.submit(commands)
        await ticket.released()
        return ticket.outcomes

    async def trade(self, instrument: str = BTC, quantity_e8: int = 10) -> int:
        """Two orders that trade; the sequence of the trade."""
        await self.commit(
            PlaceOrder("maker", instrument, SELL, LIMIT, quantity_e8, 100),
            PlaceOrder("taker", instrument, BUY, LIMIT, quantity_e8, 100, IOC),
        )
        return self.sequencer.durable_sequence


@asynccontextmanager
async def running(directory: Path, **limits: int) -> AsyncIterator[Market]:
    market = Market(directory, FeedLimits(**limits))
    await market.start()
    try:
        yield market
    finally:
        await market.stop()


class Crowd:
    """Clients that place, replace and cancel at random, mostly near the same prices."""

    def __init__(self, seed: int, instruments: Iterable[str] = (BTC, ETH)) -> None:
        self._random = random.Random(seed)
        self._instruments = list(instruments)
        self._count = 0

    def commands(self, count: int) -> list[Command]:
        return [self._command() for _ in range(count)]

    def _command(self) -> Command:
        draw = self._random
        kind = draw.random()
        if self._count and kind < 0.25:
            return CancelOrder("", f"o{draw.randrange(self._count)}")
        if self._count and kind < 0.35:
            order_id = f"o{draw.randrange(self._count)}"
            return ReplaceOrder("", order_id, draw.randint(80, 120), draw.randint(1, 50))
        self._count += 1
        side = draw.choice((BUY, SELL))
        price = draw.randint(70, 108) if side == BUY else draw.randint(92, 130)
        return PlaceOrder(
            f"c{draw.randrange(4)}",
            draw.choice(self._instruments),
            side,
            LIMIT,
            draw.randint(1, 50),
            price,
            draw.choice((GTC, GTC, GTC, IOC)),
            order_id=f"o{self._count - 1}",
        )


class Mirror:
    """A client's copy of a book, made of the messages of its stream; each is checked on arrival."""

    def __init__(self) -> None:
        self.sequence: int | None = None
        self.partial = False
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.snapshots = 0
        self.deltas = 0
        self.heartbeats = 0

    def take(self, message: StreamOrderBookResponse) -> None:
        if message.snapshot:
            self.snapshots += 1
            assert message.previous_sequence == message.sequence
            self.bids.clear()
            self.asks.clear()
        else:
            assert message.previous_sequence == self.sequence
            assert message.sequence >= message.previous_sequence
            if message.bids or message.asks:
                self.deltas += 1
            else:
                self.heartbeats += 1
        for side, levels in ((self.bids, message.bids), (self.asks, message.asks)):
            for level in levels:
                if level.quantity_e8:
                    side[level.price_e8] = level.quantity_e8
                else:
                    assert not message.snapshot
                    side.pop(level.price_e8, None)
        self.sequence = message.sequence
        self.partial = message.partial
        assert message.checksum == self.checksum()

    def depth(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        return sorted(self.bids.items(), reverse=True), sorted(self.asks.items())

    def checksum(self) -> int:
        sides = [",".join(f"{price}:{size}" for price, size in side[:10]) for side in self.depth()]
        crc: int = value("|".join(sides).encode())
        return crc


async def seconds(awaitable: Any, limit: float = 20.0) -> Any:
    """Wait, but not for ever."""
    async with asyncio.timeout(limit):
        return await awaitable


def depth_of(market: Market, name: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    book = market.engine.book(name)
    return book.depth(BUY, 10**9), book.depth(SELL, 10**9)
