"""Followed streams on a real server: cut, killed and restarted under load, they miss nothing."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from clients.client import ExchangeClient
from clients.connection import OPTIONS
from clients.following import Interruption
from clients.mirror import BookMirror
from clients.requests import CancelOrder, CancelOrders, Command, PlaceOrder, ReplaceOrder
from clients.retries import Retries
from clients.types import Book, OrderEvent, OrderEventsMessage, TradesMessage
from tests.clients.cut_line import cut_line
from tests.on_loop import until
from tests.running import Everything, Starter, free_port

pytestmark = pytest.mark.asyncio

BTC = "BTC-USD"
CUTS = 10
LEVELS = 1_000
PATIENT = Retries(overall_s=60.0, delay_max_s=0.2)

Name = tuple[int, int, str]
M = TypeVar("M", OrderEventsMessage, TradesMessage)


class Crowd:
    """Clients that place, replace and cancel near the same prices."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._count = 0

    def commands(self, count: int) -> list[Command]:
        return [self._command() for _ in range(count)]

    def _command(self) -> Command:
        draw, kind = self._draw, self._draw.random()
        if self._count and kind < 0.2:
            return CancelOrder(f"o{draw.randrange(self._count)}")
        if self._count and kind < 0.3:
            order_id = f"o{draw.randrange(self._count)}"
            return ReplaceOrder(order_id, price=draw.randint(80, 120), quantity=draw.randint(1, 9))
        self._count += 1
        side = draw.choice(("buy", "sell"))
        price = draw.randint(60, 103) if side == "buy" else draw.randint(97, 140)
        return PlaceOrder(
            f"c{draw.randrange(4)}",
            BTC,
            side,
            draw.randint(1, 20),
            price=price,
            order_id=f"o{self._count - 1}",
        )


class Reading:
    """What three followed streams have given so far."""

    def __init__(self) -> None:
        self.book = BookMirror(BTC)
        self.events: list[Name] = []
        self.trades: list[Name] = []
        self.sequences = {"events": 0, "trades": 0}
        self.restarted = False
        self.restarts: list[str] = []
        self.interruptions: list[Interruption] = []

    async def read_book(self, exchange: ExchangeClient) -> None:
        stream = exchange.follow_book(BTC, on_interruption=self.interruptions.append)
        async with aclosing(stream) as books:
            async for self.book in books:
                if self.book.restarted:
                    self.restarts.append(self.book.restarted)

    async def read_events(self, exchange: ExchangeClient) -> None:
        stream = exchange.follow_order_events(
            after_sequence=0, on_interruption=self.interruptions.append
        )
        async with aclosing(stream) as messages:
            async for message in messages:
                self.events += map(event_name, message.events)
                self._note("events", message)

    async def read_trades(self, exchange: ExchangeClient) -> None:
        stream = exchange.follow_trades(BTC, 0, on_interruption=self.interruptions.append)
        async with aclosing(stream) as messages:
            async for message in messages:
                self.trades += [
                    (trade.sequence, trade.index, trade.trade_id) for trade in message.trades
                ]
                self._note("trades", message)

    def _note(self, name: str, message: OrderEventsMessage | TradesMessage) -> None:
        self.sequences[name] = message.sequence
        self.restarted = self.restarted or message.restarted

    def reached(self, sequence: int) -> bool:
        return min(self.book.sequence, *self.sequences.values()) >= sequence


def event_name(event: OrderEvent) -> Name:
    return event.sequence, event.index, event.order_id


@asynccontextmanager
async def reading(exchange: ExchangeClient) -> AsyncIterator[Reading]:
    """Reads all three until it is left."""
    own = Reading()
    tasks = [
        asyncio.create_task(read(exchange))
        for read in (own.read_book, own.read_events, own.read_trades)
    ]
    try:
        yield own
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended


async def everything(exchange: ExchangeClient) -> tuple[list[Name], list[Name]]:
    """Order events and trades from the first on, read at one go from the journal."""
    last = (await exchange.status()).durable_sequence
    events: list[Name] = []
    async with aclosing(exchange.stream_order_events(after_sequence=0)) as messages:
        async for message in messages:
            events += map(event_name, message.events)
            if message.sequence >= last:
                break
    trades: list[Name] = []
    async with aclosing(exchange.stream_trades(BTC, 0)) as told:
        async for some in told:
            trades += [(trade.sequence, trade.index, trade.trade_id) for trade in some.trades]
            if some.sequence >= last:
                break
    return events, trades


async def assert_book(exchange: ExchangeClient, own: Reading) -> Book:
    """The copy is the server's book, which nobody changes meanwhile."""
    book = await exchange.book(BTC, LEVELS)
    await until(lambda: own.book.sequence >= book.sequence)
    copy = own.book.book(None)
    assert (copy.bids, copy.asks) == (book.bids, book.asks)
    return book


async def assert_all_there(exchange: ExchangeClient, own: Reading) -> Book:
    """The copy is the server's book, and the streams gave everything once and in order."""
    sequence = (await exchange.status()).durable_sequence
    await until(lambda: own.reached(sequence))
    book = await assert_book(exchange, own)
    events, trades = await everything(exchange)
    assert own.events == events
    assert own.trades == trades
    assert not own.restarted
    return book


async def test_cut_lines_under_load(starter: Starter) -> None:
    _, address = starter.server()
    draw, crowd = random.Random(7), Crowd(7)
    async with (
        cut_line(address) as line,
        ExchangeClient(address) as direct,
        ExchangeClient(line.address, retries=PATIENT) as exchange,
        reading(exchange) as own,
        direct.trading_session() as session,
    ):
        for number in range(CUTS):
            for _ in range(draw.randint(1, 6)):
                await session.send(crowd.commands(draw.randint(1, 60)))
            if number % 3 == 0:
                await assert_book(direct, own)
            await until(lambda: line.is_open)
            # Anywhere: before the streams are opened again, while they catch up, or after.
            await asyncio.sleep(draw.random() * 0.05)
            line.cut()
        book = await assert_all_there(direct, own)
        assert len(book.bids) > 10
        assert line.connections >= CUTS
        assert len(own.interruptions) >= CUTS  # of three streams
        # The exchange remembers more changes than any of these cuts lasted.
        assert own.book.restart_count == 0


async def test_server_killed_and_restarted(starter: Starter) -> None:
    """A restarted server has no changes from before: a book that missed some starts afresh and says
    so; the rest goes on from the journal."""
    port = free_port()
    running, address = starter.server(port)
    crowd = Crowd(8)
    async with ExchangeClient(address, retries=PATIENT) as exchange, reading(exchange) as own:
        async with exchange.trading_session() as session:
            for _ in range(5):
                await session.send(crowd.commands(50))
        await until(lambda: own.reached(1))
        running.kill()
        # Something happens that the streams can't see.
        running, elsewhere = await asyncio.to_thread(starter.server)
        async with ExchangeClient(elsewhere) as other:
            await other.place(PlaceOrder("alice", BTC, "buy", 1, price=1))
        running.kill()
        await asyncio.to_thread(starter.server, port)
        await exchange.place(PlaceOrder("alice", BTC, "buy", 1, price=1))
        await assert_all_there(exchange, own)
        assert own.book.restart_count == 1
        assert any("no longer has the changes after" in why for why in own.restarts)
        assert own.interruptions


async def test_slow_reader_is_cut_and_misses_nothing(
    starter: Starter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The line by itself holds some 5 MB, if it is let.
    little = (("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0))
    monkeypatch.setattr("clients.connection.OPTIONS", (*OPTIONS, *little))
    settings = tmp_path / "small.toml"
    settings.write_text("[feed]\nsubscriber_bytes_max = 65536\n")
    _, address = starter.server(None, "--config", str(settings))
    crowd = Crowd(9)
    async with (
        ExchangeClient(address) as direct,
        ExchangeClient(address, retries=PATIENT) as exchange,
        direct.trading_session() as session,
    ):
        interruptions: list[Interruption] = []
        events: list[Name] = []
        stream = exchange.follow_order_events(on_interruption=interruptions.append)
        async with asyncio.timeout(60), aclosing(stream):
            await anext(stream)
            # It looks at nothing, until far more waits than the exchange and the line hold.
            for _ in range(4):
                await session.send(crowd.commands(1_000))
            last = (await direct.status()).durable_sequence
            async for message in stream:
                events += map(event_name, message.events)
                assert not message.restarted
                if message.sequence >= last:
                    break
        assert events == (await everything(direct))[0]
        reasons = {each.error.reason for each in interruptions if hasattr(each.error, "reason")}
        assert "SLOW_READER" in reasons


async def test_deep_book_cut_while_it_is_sent(starter: Starter) -> None:
    _, address = starter.server()
    levels = 5_000
    async with (
        cut_line(address) as line,
        ExchangeClient(address) as direct,
        ExchangeClient(line.address, retries=PATIENT) as exchange,
    ):
        async with direct.trading_session() as session:
            orders = [
                PlaceOrder("deep", BTC, side, 1, price=10_000 + sign * (each + 1))
                for each in range(levels)
                for side, sign in (("buy", -1), ("sell", 1))
            ]
            await session.send(orders, timeout_s=30)
        cuts = 0
        # A page of 2,000 levels a side, 56 kB, and not the next.
        line.carried_bytes = [80 * 1024] * 3
        async with asyncio.timeout(30), aclosing(exchange.follow_book(BTC)) as books:
            async for book in books:
                if book.partial and cuts < 3:
                    cuts += 1
                    line.cut()
                elif not book.partial:
                    break
        assert (book.depth("buy"), book.depth("sell")) == (levels, levels)
        assert [level.price for level in book.levels("buy")] == list(range(9_999, 4_999, -1))
        assert cuts == 3
        await direct.cancel_all(CancelOrders("deep"))


async def test_parts_killed_behind_the_gateway(starter: Starter) -> None:
    """First the gateway, then the server; each is started again, and the streams go on."""
    everything_up = starter.up()
    crowd = Crowd(10)
    address = f"127.0.0.1:{everything_up.http_port}"
    async with ExchangeClient(address, retries=PATIENT) as exchange, reading(exchange) as own:
        for part in ("envoy", "server"):
            async with exchange.trading_session() as session:
                await session.send(crowd.commands(100))
            sequence = (await exchange.status()).durable_sequence
            await until(lambda sequence=sequence: own.reached(sequence))  # type: ignore[misc]
            seen = len(own.interruptions)
            part_of(everything_up, part).kill()
            await until(lambda seen=seen: len(own.interruptions) > seen)  # type: ignore[misc]
            await exchange.place(PlaceOrder("alice", BTC, "buy", 1, price=1))
        await assert_all_there(exchange, own)


def part_of(everything_up: Everything, name: str) -> psutil.Process:
    """The gateway's Envoy, or the process that was started as a part of this name."""
    for process_id, line in everything_up.running.command_lines().items():
        if name in line or Path(line[0]).name == name:
            return psutil.Process(process_id)
    raise AssertionError(f"no process is a {name}")
