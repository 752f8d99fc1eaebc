"""Faults 20 and 32: callers who don't read, and callers who don't wait."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, Final

import grpc
import psutil
import pytest

from exchange.v1.market_data_pb2 import StreamTradesRequest, StreamTradesResponse
from exchange.v1.market_data_pb2_grpc import MarketDataStub
from exchange.v1.order_service_pb2 import (
    GetOrderRequest,
    PlaceOrderRequest,
    PlaceOrderResponse,
    PlaceOrdersRequest,
    SessionOutcome,
    StreamOrderEventsRequest,
)
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
from server.exits import Exit
from tests.processes.invariants import assert_kept
from tests.running import Starter

if TYPE_CHECKING:
    from exchange.v1.market_data_pb2_grpc import MarketDataAsyncStub
    from exchange.v1.order_service_pb2_grpc import OrderServiceAsyncStub

pytestmark = pytest.mark.asyncio

SEED: Final = 4
SECONDS: Final = 30.0
"""For anything that is awaited, on a machine that is busy with other things."""

STUCK: Final = 20
ROUNDS: Final = 4
TRADES: Final = 100
"""In each half of a round: 300 KB of order events for each who doesn't read, past its bound."""

CALLS: Final = 200
LATE_S: Final = 1.0
"""After its deadline a call may take so long to end, for the same reason."""


def limit_order(name: str, client: str, side: int, quantity: int = 1) -> PlaceOrderRequest:
    return PlaceOrderRequest(
        client_id=client,
        instrument="BTC-USD",
        side=side,  # type: ignore[arg-type]
        type=1,  # type: ignore[arg-type]
        quantity_e8=quantity,
        price_e8=100,
        order_id=name,
        idempotency_key=name,
        client_reference="r" * 64,
    )


def channel(address: str) -> grpc.aio.Channel:
    """A connection of its own that takes little before it is read."""
    options = (
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.http2.lookahead_bytes", 1024),
        ("grpc.http2.bdp_probe", 0),
    )
    return grpc.aio.insecure_channel(address, options=options)


class Trader:
    """Trades one order after the other, and takes the time until another reader is told."""

    def __init__(self, line: grpc.aio.Channel) -> None:
        self._orders: OrderServiceAsyncStub = OrderServiceStub(line)
        market: MarketDataAsyncStub = MarketDataStub(line)
        self._trades = market.StreamTrades(StreamTradesRequest())
        self._number = 0
        self._sequence: int | None = None

    async def delays_s(self, count: int) -> list[float]:
        """From sending an order to having read its trade, of so many; each message is asked for
        its gap."""
        found = []
        for _ in range(count):
            self._number += 1
            # Many makers, one taker: what the readers of order events are sent is much.
            makers = [limit_order(f"m{self._number}-{maker}", "m", 2) for maker in range(10)]
            await self._orders.PlaceOrders(PlaceOrdersRequest(orders=makers))
            began = time.monotonic()
            taken = limit_order(f"t{self._number}", "t", 1, 10)
            placing = asyncio.ensure_future(_reply(self._orders.PlaceOrder(taken)))
            await asyncio.wait_for(self._told(f"t{self._number}"), SECONDS)
            found.append(time.monotonic() - began)
            await placing
        return found

    async def _told(self, order_id: str) -> None:
        while True:
            message = await self._trades.read()
            assert isinstance(message, StreamTradesResponse)
            if self._sequence is not None:
                assert message.previous_sequence == self._sequence, "I2: a gap"
            self._sequence = message.sequence
            if any(trade.taker_order_id == order_id for trade in message.trades):
                return


async def test_readers_who_do_not_read_harm_nobody(
    starter: Starter, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    """[I2 I13] Fault 20: others are told of every trade, memory and descriptors come back. Their
    p99 is told, not judged: who had to wait for a reader that doesn't read would wait for ever."""
    config = tmp_path / "exchange.toml"
    # What ended is forgotten, so that memory grows by nothing that is meant to be there.
    config.write_text(
        "[feed]\nsubscriber_bytes_max = 65536\n[engine]\nclosed_orders_max = 100\nkeys_max = 100\n",
        encoding="utf-8",
    )
    server, address = starter.server(None, "--config", str(config))
    process = psutil.Process(server.pid)
    quiet, beside = [], []
    async with channel(address) as line:
        trader = Trader(line)
        await trader.delays_s(TRADES)
        before = process.memory_info().rss, process.num_fds()
        for _ in range(ROUNDS):
            quiet += await trader.delays_s(TRADES)
            async with channel(address) as stuck:
                orders: OrderServiceAsyncStub = OrderServiceStub(stuck)
                calls = [orders.StreamOrderEvents(StreamOrderEventsRequest()) for _ in range(STUCK)]
                for call in calls:
                    await asyncio.wait_for(call.read(), SECONDS)
                beside += await trader.delays_s(TRADES)
                ended = await asyncio.wait_for(_to_the_end(calls[0]), SECONDS)
                assert ended is grpc.StatusCode.RESOURCE_EXHAUSTED
    after = process.memory_info().rss, process.num_fds()
    p99_quiet, p99_beside = (quantiles(delays, n=100)[98] for delays in (quiet, beside))
    ratio = p99_beside / p99_quiet
    figures(
        f"fault 20: p99 of another reader {1e3 * p99_quiet:.1f} ms, beside {STUCK} who don't read "
        f"{1e3 * p99_beside:.1f} ms, ratio {ratio:.2f} (aim 1.2); memory "
        f"{before[0] / 2**20:.0f} to {after[0] / 2**20:.0f} MiB, descriptors {before[1]} to "
        f"{after[1]}"
    )
    assert after[0] < 1.2 * before[0], f"I13: {before} became {after}"
    assert after[1] <= before[1] + 2, f"I13: {before} became {after}"


class Outcomes:
    """What callers were told of orders that they had sent, under keys of their own."""

    def __init__(self, orders: "OrderServiceAsyncStub") -> None:
        self._orders = orders
        self.told: dict[str, PlaceOrderResponse] = {}
        self.unknown: set[str] = set()
        self.late_s = 0.0
        """By how much a call that had ended was late, at most."""

    async def place(self, name: str, timeout_s: float) -> None:
        """With a deadline, which may pass."""
        began = time.monotonic()
        self.unknown.add(name)
        try:
            reply = await self._orders.PlaceOrder(_sent(name), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
        else:
            self.told[name] = reply
            self.unknown.discard(name)
        self.late_s = max(self.late_s, time.monotonic() - began - timeout_s)

    async def cancelled(self, name: str, after_s: float) -> None:
        """By its caller, after a while."""
        self.unknown.add(name)
        call = self._orders.PlaceOrder(_sent(name), timeout=SECONDS)
        task = asyncio.ensure_future(_reply(call))
        done, _ = await asyncio.wait({task}, timeout=after_s)
        if done:
            self.told[name] = task.result()
            self.unknown.discard(name)
            return
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            # The reply may have come just now.
            self.told[name] = await task
            self.unknown.discard(name)

    async def resolve(self) -> int:
        """[I10] Each order by its id, and then once more under its key: how many had happened."""
        happened = 0
        for name in sorted(self.unknown | self.told.keys()):
            there = await self._there(name)
            again = await self._orders.PlaceOrder(_sent(name), timeout=SECONDS)
            assert again.repeated == there, f"I10: {name}"
            if name in self.told:
                assert there, f"I1: {name} was acknowledged and is not there"
                again.repeated = False
                assert again == self.told[name], f"I10: {name} has another outcome"
            else:
                happened += there
                self.told[name] = again
        return happened

    async def _there(self, name: str) -> bool:
        try:
            reply = await self._orders.GetOrder(GetOrderRequest(order_id=name), timeout=SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return False
        assert reply.order.quantity_e8 == reply.order.remaining_quantity_e8 == 1, "half a state"
        return True


async def test_callers_who_do_not_wait(starter: Starter, figures: Callable[[str], None]) -> None:
    """[I1 I2 I8 I10 I11] Fault 32: deadlines from none to twice the latency, cancels at random."""
    chance = random.Random(SEED)
    server, address = starter.server()
    async with channel(address) as line:
        orders: OrderServiceAsyncStub = OrderServiceStub(line)
        latency_s = await _latency_s(orders)
        outcomes = Outcomes(orders)
        for number in range(0, CALLS, 2):
            share = 2 * number / CALLS
            await asyncio.gather(
                outcomes.place(f"deadline-{number}", share * latency_s),
                outcomes.cancelled(f"cancel-{number}", chance.uniform(0, 2) * latency_s),
            )
        unknown, late_s = len(outcomes.unknown), outcomes.late_s
        answered = len(outcomes.told)
        happened = await outcomes.resolve()
    figures(
        f"fault 32: latency {1e3 * latency_s:.1f} ms; of {CALLS} calls {answered} answered, "
        f"{unknown} unknown, {happened} of those had happened; at most {1e3 * late_s:.0f} ms late"
    )
    assert answered
    assert unknown
    assert late_s < LATE_S, "I11"
    assert server.terminate() == Exit.CLEAN
    kept = {name: SessionOutcome(placed=reply) for name, reply in outcomes.told.items()}
    assert_kept(starter.data_dir, kept)


def _sent(name: str) -> PlaceOrderRequest:
    return limit_order(name, "A", 1)


async def _latency_s(orders: "OrderServiceAsyncStub") -> float:
    found = []
    for number in range(50):
        began = time.monotonic()
        await orders.PlaceOrder(_sent(f"warm-{number}"), timeout=SECONDS)
        found.append(time.monotonic() - began)
    return median(found)


async def _reply(call: Any) -> PlaceOrderResponse:
    reply = await call
    assert isinstance(reply, PlaceOrderResponse)
    return reply


async def _to_the_end(call: Any) -> grpc.StatusCode:
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
