"""What a real Redis is told equals the journal, whatever happens to it; it costs no order."""

import asyncio
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from redis import Redis, RedisError

from clients.client import ExchangeClient
from clients.examples import redis_trades
from clients.examples.redis_trades import RedisTrades
from clients.types import Trade
from exchange.v1.admin_service_pb2 import GetStatusRequest
from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
from exchange.v1.market_data_pb2 import (
    GetOrderBookRequest,
    StreamOrderBookResponse,
    StreamTradesRequest,
    StreamTradesResponse,
)
from exchange.v1.market_data_pb2_grpc import MarketDataStub
from exchange.v1.order_service_pb2 import (
    SessionCommand,
    SessionOutcome,
    StreamOrderEventsRequest,
    StreamOrderEventsResponse,
)
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
from server.followers import redis as redis_follower
from server.followers.journal_reader import Reached
from server.followers.redis import RedisFollower
from tests.followers.redis_site import Site
from tests.journal.site import Site as JournalSite
from tests.journal.site import records_of, settings
from tests.processes.invariants import assert_kept
from tests.processes.load import Load, first_answer, repeat
from tests.running import Running, Starter, until

SECONDS = 30.0
BTC = "BTC-USD"


@pytest.fixture
def address(starter: Starter, redis: Site) -> str:
    redis.flush()
    return starter.server(REDIS_URL=redis.url)[1]


def follow(starter: Starter, address: str, url: str) -> Running:
    places = ("--data-dir", str(starter.data_dir), "--server", address)
    follower = starter.run("follower", *places, REDIS_URL=url)
    follower.wait_serving()
    return follower


def load(address: str, name: str, messages: int = 3) -> None:
    with Load(address, name) as sending:
        sending.wait(messages)


def reached(address: str) -> tuple[int, int]:
    """What is durable, and how far the follower is."""
    with grpc.insecure_channel(address) as channel:
        stub: Any = AdminServiceStub(channel)
        status = stub.GetStatus(GetStatusRequest(), timeout=10)
        followers = {it.name: it.sequence for it in status.followers}
        return status.durable_sequence, followers.get("redis", -1)


def wait_level(address: str) -> int:
    """Until Redis was told everything that is durable: up to where that is."""

    def is_level() -> bool:
        durable, told = reached(address)
        return durable == told

    until(is_level, SECONDS, "a redis follower that is level")
    return reached(address)[0]


class Listener:
    """All messages of all channels, as they come, until Redis ends the connection."""

    def __init__(self, redis: Site) -> None:
        self.messages: dict[str, list[bytes]] = defaultdict(list)
        self._client = Redis.from_url(redis.url, socket_timeout=SECONDS)
        self._subscription = self._client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        self._subscription.psubscribe("exchange*")
        self._subscription.get_message(timeout=SECONDS)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopped:
                found = self._subscription.get_message(timeout=0.05)
                if found is not None:
                    self.messages[found["channel"].decode()].append(found["data"])
        except RedisError:
            pass

    def close(self) -> None:
        self._stopped = True
        self._thread.join(SECONDS)
        self._subscription.close()
        self._client.close()


@contextmanager
def listening(redis: Site) -> Iterator[Listener]:
    listener = Listener(redis)
    try:
        yield listener
    finally:
        listener.close()


def in_step(messages: list[Any]) -> list[Any]:
    """Without repeats; each follows on what was before."""
    sequence = 0
    kept: list[Any] = []
    for message in messages:
        if message.sequence > sequence:
            assert not kept or message.previous_sequence <= sequence, "a gap"
            sequence = message.sequence
            kept.append(message)
    return kept


def streamed(open_stream: Callable[[], Any], field: str, upto: int) -> list[Any]:
    found: list[Any] = []
    for message in open_stream():
        found += getattr(message, field)
        if message.sequence >= upto:
            return found
    raise AssertionError("the stream ended")


def test_channels_hold_what_the_streams_do(starter: Starter, address: str, redis: Site) -> None:
    """Also over a follower that was killed, and after another journal's."""
    load(address, "before")
    with redis.client() as client:
        client.hset("exchange:feed", mapping={"journal": "00", "sequence": str(10**9)})
    follower = follow(starter, address, redis.url)
    wait_level(address)
    with listening(redis) as listener, grpc.insecure_channel(address) as channel:
        began = reached(address)[0]
        market: Any = MarketDataStub(channel)
        orders: Any = OrderServiceStub(channel)
        first = next(iter(market.StreamOrderBook(GetOrderBookRequest(instrument=BTC))))
        load(address, "after", 10)
        wait_level(address)
        follower.kill()
        load(address, "meanwhile", 5)
        follow(starter, address, redis.url)
        load(address, "again", 5)
        upto = wait_level(address)
        until(lambda: last_of(listener, f"exchange:orders:{BTC}") >= upto - 1, SECONDS)

        request = StreamTradesRequest(instrument=BTC, after_sequence=began)
        trades = streamed(lambda: market.StreamTrades(request), "trades", upto)
        told = map(StreamTradesResponse.FromString, listener.messages[f"exchange:trades:{BTC}"])
        assert [trade for message in in_step(list(told)) for trade in message.trades] == trades
        assert len(trades) > 0

        asked = StreamOrderEventsRequest(instrument=BTC, after_sequence=began)
        events = streamed(lambda: orders.StreamOrderEvents(asked), "events", upto)
        heard = listener.messages[f"exchange:orders:{BTC}"]
        responses = in_step(list(map(StreamOrderEventsResponse.FromString, heard)))
        assert [event for message in responses for event in message.events] == events

        deltas = map(
            StreamOrderBookResponse.FromString, listener.messages[f"exchange:orderbook:{BTC}"]
        )
        bids, asks = levels(first.bids), levels(first.asks)
        for delta in in_step([it for it in deltas if it.sequence > first.sequence]):
            bids |= levels(delta.bids)
            asks |= levels(delta.asks)
        real = market.GetOrderBook(GetOrderBookRequest(instrument=BTC, levels=100)).book
        assert there(bids) == levels(real.bids)
        assert there(asks) == levels(real.asks)
        assert real.bids or real.asks


def levels(side: Any) -> dict[int, int]:
    return {level.price_e8: level.quantity_e8 for level in side}


def there(side: dict[int, int]) -> dict[int, int]:
    return {price_e8: quantity_e8 for price_e8, quantity_e8 in side.items() if quantity_e8}


def last_of(listener: Listener, channel: str) -> int:
    found = listener.messages[channel]
    return StreamOrderEventsResponse.FromString(found[-1]).sequence if found else 0


class Reader:
    """The example, in a thread of its own: what it read, and how often it had to ask."""

    def __init__(self, address: str, redis: Site) -> None:
        self.trades: list[Trade] = []
        self.repair_count = 0
        self.outages: list[Exception] = []
        self._address = address
        self._redis = redis
        self._thread = threading.Thread(target=lambda: asyncio.run(self._read()), daemon=True)
        self._stop = threading.Event()

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    async def _read(self) -> None:
        reading = asyncio.create_task(self._trades())
        stopped = asyncio.create_task(asyncio.to_thread(self._stop.wait))
        await asyncio.wait([reading, stopped], return_when=asyncio.FIRST_COMPLETED)
        assert not reading.done(), reading.exception()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    async def _trades(self) -> None:
        async with ExchangeClient(self._address) as exchange:
            feed = RedisTrades(exchange, self._redis.url, BTC, 0, self.outages.append)
            async with aclosing(feed.trades()) as trades:
                async for trade in trades:
                    self.trades.append(trade)
                    self.repair_count = feed.repair_count


def all_trades(address: str) -> list[str]:
    """Ids, in order, as the exchange itself tells them."""
    upto = reached(address)[0]
    with grpc.insecure_channel(address) as channel:
        market: Any = MarketDataStub(channel)
        request = StreamTradesRequest(instrument=BTC, after_sequence=0)
        found = streamed(lambda: market.StreamTrades(request), "trades", upto)
        return [trade.trade_id for trade in found]


def assert_read_all(address: str, reader: Reader) -> None:
    wanted = all_trades(address)
    until(lambda: len(reader.trades) >= len(wanted), SECONDS, "all trades")
    assert [trade.trade_id for trade in reader.trades] == wanted, "each once, in order"


class Loads:
    """Load under faults, and what it was told."""

    def __init__(self, address: str) -> None:
        self.acknowledged: dict[str, SessionOutcome] = {}
        self._address = address
        self._sent: dict[str, SessionCommand] = {}

    @contextmanager
    def sending(self, name: str) -> Iterator[Load]:
        with Load(self._address, name) as load:
            yield load
        self.acknowledged |= load.acknowledged
        self._sent |= load.sent

    def repeat_all(self) -> None:
        """I10: each command that was acknowledged is answered as it was."""
        again = repeat(self._address, [self._sent[key] for key in self.acknowledged])
        for key, outcome in self.acknowledged.items():
            assert first_answer(again[key]) == first_answer(outcome), f"I10: {key}"


def test_the_reader_tells_each_outage_once(
    starter: Starter, redis: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is tried again, or has trades from elsewhere meanwhile."""
    monkeypatch.setattr(redis_trades, "QUIET_S", 0.05)
    _server, address = starter.server()
    with Reader(address, redis) as reader, redis.client() as client:

        def is_heard() -> bool:
            with suppress(RedisError):
                return bool(client.pubsub_numsub(f"exchange:trades:{BTC}")[0][1])
            return False

        for count in (1, 2):
            redis.kill()
            for number in range(3):
                load(address, f"away-{count}-{number}")
                assert_read_all(address, reader)
            redis.start()
            until(is_heard, SECONDS, "a subscription")
            load(address, f"back-{count}")
            assert_read_all(address, reader)
            assert len(reader.outages) == count, reader.outages


def test_outages_under_load_lose_no_trade_and_hold_up_no_order(
    starter: Starter, redis: Site
) -> None:
    """Fault 17 [I1 I2 I8 I10]: killed, paused, out of memory, emptied; the follower killed."""
    redis.flush()
    server, address = starter.server(REDIS_URL=redis.url)
    follower = follow(starter, address, redis.url)
    loads = Loads(address)
    with Reader(address, redis) as reader:
        load(address, "first")
        with loads.sending("killed") as sending:
            sending.wait(3)
            redis.kill()
            sending.wait(6)
        redis.start()
        with redis.paused(), loads.sending("paused") as sending:
            sending.wait(5)
        with redis.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "1")
            with loads.sending("full") as sending:
                sending.wait(5)
            client.config_set("maxmemory", "0")
        with loads.sending("flushed") as sending:
            for messages in (2, 4, 6):
                sending.wait(messages)
                redis.flush()
        with loads.sending("follower") as sending:
            sending.wait(2)
            follower.kill()
            sending.wait(4)
        assert_read_all(address, reader)
        assert reader.repair_count > 0
        follower = follow(starter, address, redis.url)
        wait_level(address)
        load(address, "last")
        assert_read_all(address, reader)
    redis.flush()
    loads.repeat_all()
    follower.signal(signal.SIGTERM)
    assert follower.wait() == 0
    assert server.terminate() == 0
    assert_kept(starter.data_dir, loads.acknowledged)


@pytest.mark.asyncio
async def test_each_call_of_a_batch_is_told_of(
    redis: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the last, with which all of it is there."""
    monkeypatch.setattr(redis_follower, "BATCH_COMMANDS_MAX", 1)
    redis.flush()
    site = JournalSite(tmp_path / "data")
    for _ in range(3):
        site.commit(*settings())
    site.close()
    records = records_of(tmp_path / "data")
    told: list[Reached] = []
    follower = RedisFollower(redis.url, tmp_path)
    await follower.open()
    await follower.take(records, told.append)
    await follower.close()
    assert told == [Reached(it.last_sequence, it.time_ns) for it in records[:-1]]


@pytest.mark.parametrize(
    ("database", "channel"), [(0, f"exchange:trades:{BTC}"), (3, f"exchange@3:trades:{BTC}")]
)
def test_example_prints_trades(
    starter: Starter, address: str, redis: Site, database: int, channel: str
) -> None:
    url = redis.database(database)
    follow(starter, address, url)
    places = ("--address", address, "--seconds", "60")
    module = "clients.examples.redis_trades"
    shown = starter.run(*places, module=module, REDIS_URL=url)
    with listening(redis) as listener:
        until(lambda: channel in subscribed(redis), SECONDS, "a subscriber")
        load(address, "shown")
        until(lambda: bool(listener.messages[channel]), SECONDS)
    trade = all_trades(address)[0]
    shown.wait_line(f"{trade.removeprefix('T').partition('-')[0]} ")


def subscribed(redis: Site) -> list[str]:
    with redis.client() as client:
        return [name.decode() for name in client.pubsub_channels("exchange*")]


def test_absent_at_start_it_says_so_once_and_follows_when_it_is_there(
    starter: Starter, address: str, redis: Site
) -> None:
    redis.kill()
    follower = follow(starter, address, redis.url)
    load(address, "absent")
    follower.wait_line("redis is down")
    redis.start()
    wait_level(address)
    assert sum(line.startswith("redis is down") for line in follower.lines) == 1
    with listening(redis) as listener:
        load(address, "there")
        until(lambda: bool(listener.messages[f"exchange:trades:{BTC}"]), SECONDS)
