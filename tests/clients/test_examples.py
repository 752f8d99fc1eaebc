"""The examples do what they say: alone, together, on a line that is cut, and from a terminal."""

import asyncio
import random
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet
import pytest

from clients.client import ExchangeClient
from clients.examples import (
    kafka_book,
    kafka_console,
    market_maker,
    momentum_taker,
    redis_trades,
    trade_recorder,
)
from clients.examples.market_maker import MarketMaker
from clients.examples.mirrored_book import BookDiffersError, MirroredBook
from clients.examples.momentum_taker import MomentumTaker
from clients.examples.trade_recorder import TradeRecorder, files
from clients.requests import PlaceOrder
from clients.retries import Retries
from clients.types import Book, Level, Side, Trade, TradesMessage
from tests.clients.cut_line import cut_line
from tests.clients.test_following import trade, trades
from tests.on_loop import until
from tests.running import Starter, free_port

BTC = "BTC-USD"
PRICE = Decimal(70_000)
PATIENT = Retries(overall_s=60.0, delay_max_s=0.2)


@asynccontextmanager
async def at_work(*programs: Any) -> AsyncIterator[None]:
    """Examples run meanwhile; one that ends by itself has failed."""
    tasks = [asyncio.create_task(program.run()) for program in programs]
    try:
        yield
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def noise(exchange: ExchangeClient, side: str, count: int) -> None:
    """Somebody who takes what is offered, so many times; he waits where nothing is."""
    async with asyncio.timeout(30):
        while count:
            placed = await exchange.place(PlaceOrder("noise", BTC, side, "0.05", type="market"))
            count -= len(placed.trades) > 0
            await asyncio.sleep(0.002 if placed.trades else 0.02)


async def all_trades(exchange: ExchangeClient) -> list[Trade]:
    last = (await exchange.status()).durable_sequence
    found: list[Trade] = []
    async with aclosing(exchange.stream_trades(after_sequence=0)) as messages:
        async for message in messages:
            found += message.trades
            if message.sequence >= last:
                return found
    raise AssertionError("the stream ended")


async def net_quantity(exchange: ExchangeClient, client_id: str) -> Decimal:
    held = {each.instrument: each.net_quantity for each in await exchange.positions(client_id)}
    return held.get(BTC, Decimal(0))


async def no_orders(exchange: ExchangeClient, client_id: str) -> None:
    """Wait until nothing of a client rests any more."""
    async with asyncio.timeout(30):
        while [  # noqa: ASYNC110 - what the exchange brings about
            each async for each in exchange.orders(client_id=client_id, status="open")
        ]:
            await asyncio.sleep(0.01)


def recorded(directory: Path) -> list[dict[str, Any]]:
    return [
        row
        for path in sorted(directory.glob("*.parquet"))
        for row in pyarrow.parquet.read_table(path).to_pylist()
    ]


@pytest.mark.asyncio
async def test_all_together_on_a_line_that_is_cut(starter: Starter, tmp_path: Path) -> None:
    _, address = starter.server()
    draw = random.Random(3)
    async with (
        cut_line(address) as line,
        ExchangeClient(address) as direct,
        ExchangeClient(line.address, retries=PATIENT) as exchange,
    ):
        maker = MarketMaker(exchange, market_maker.Terms("maker", BTC, PRICE))
        taker = MomentumTaker(exchange, momentum_taker.Terms("taker", BTC, window=4))
        recorder = TradeRecorder(exchange, tmp_path / "trades", rows_max=20)
        mirrored = MirroredBook(exchange, BTC)
        async with at_work(maker, taker, recorder, mirrored):
            await until(lambda: mirrored.mirror.depth("buy") == 1)
            for side in ("buy", "sell", "sell", "buy"):
                await noise(direct, side, 12)
                await until(lambda: line.is_open)
                await asyncio.sleep(draw.random() * 0.05)
                line.cut()
            await noise(direct, "buy", 12)
            seen = mirrored.equal_count
            await until(lambda: mirrored.equal_count > seen)
        # It leaves no quote behind, as soon as the exchange has seen that it is gone.
        await no_orders(direct, "maker")
        everything = await all_trades(direct)
        assert maker.fill_count >= 60
        assert taker.order_count > 0
        assert abs(taker.position) <= taker.terms.quantity
        assert await net_quantity(direct, "taker") == taker.position
        assert abs(await net_quantity(direct, "maker")) <= maker.terms.position_max + 1
        # What came after the recorder's end it gets when it is started again.
        again = TradeRecorder(exchange, tmp_path / "trades")
        async with at_work(again):
            await until(lambda: again._complete >= everything[-1].sequence)
    rows = recorded(tmp_path / "trades")
    assert [row["trade_id"] for row in rows] == [each.trade_id for each in everything]
    assert rows[0]["price"] == everything[0].price
    assert rows[0]["time"] == everything[0].time
    assert rows[0]["taker_fee"] == everything[0].taker_fee
    covered = files(tmp_path / "trades")
    assert len(covered) > 1
    assert covered[0][0] == 0
    assert [end for _, end in covered[:-1]] == [begin for begin, _ in covered[1:]]


@pytest.mark.asyncio
async def test_maker_knows_its_position_exactly(starter: Starter) -> None:
    """Also after a restart of its own, with what it held before."""
    _, address = starter.server()
    async with ExchangeClient(address, retries=PATIENT) as exchange:
        for _ in range(2):
            maker = MarketMaker(exchange, market_maker.Terms("maker", BTC, PRICE))
            async with at_work(maker):
                await until(lambda maker=maker: len(maker.quotes) == 2)  # type: ignore[misc]
                await noise(exchange, "buy", 10)
                held = await net_quantity(exchange, "maker")
                await until(lambda maker=maker, held=held: maker.position == held)  # type: ignore[misc]
                resting = [each async for each in exchange.orders(client_id="maker", status="open")]
                assert len({each.side for each in resting}) == len(resting) <= 2
            assert held < 0


def test_maker_leans_against_its_position() -> None:
    terms = market_maker.Terms("maker", BTC, Decimal(1_000), spread=Decimal("0.01"))
    maker = MarketMaker(ExchangeClient(), terms)
    prices = []
    for position in ("0", "0.5", "1", "-1"):
        maker.position = Decimal(position)
        prices.append((maker.quote_price(Side.BUY), maker.quote_price(Side.SELL)))
    assert prices == [
        (Decimal(995), Decimal(1005)),
        (Decimal("992.5"), Decimal("1002.5")),
        (None, Decimal(1000)),
        (Decimal(1000), None),
    ]


def test_taker_follows_the_last_trades() -> None:
    terms = momentum_taker.Terms("taker", BTC, window=3, threshold=Decimal("0.01"))
    taker = MomentumTaker(ExchangeClient(), terms)
    for prices, wished in (
        ((100,), "0"),
        ((100, 101), "0"),
        ((100, 101, 102), "0.1"),
        ((102, 101, 100), "-0.1"),
        ((100, 101, 101), "0"),
    ):
        taker._prices.clear()
        taker._prices.extend(map(Decimal, prices))
        assert taker.wished_position() == Decimal(wished)


class ScriptedTrades(ExchangeClient):
    """Tells trades from a script."""

    def __init__(self, *messages: TradesMessage) -> None:
        super().__init__()
        self.script = messages
        self.asked: int | None = None

    async def follow_trades(
        self, instrument: str = "", after_sequence: int | None = None, **_: object
    ) -> AsyncGenerator[TradesMessage, None]:
        self.asked = after_sequence
        for message in self.script:
            yield message


@pytest.mark.asyncio
async def test_recorder_never_splits_a_command(tmp_path: Path) -> None:
    exchange = ScriptedTrades(
        trades(0, 4, trade(3), trade(5, 0)), trades(4, 4, trade(5, 1)), trades(4, 5, trade(5, 2))
    )
    await TradeRecorder(exchange, tmp_path, rows_max=1).run()
    assert files(tmp_path) == [(0, 4), (4, 5)]
    assert [(row["sequence"], row["index"]) for row in recorded(tmp_path)] == [
        (3, 0),
        (5, 0),
        (5, 1),
        (5, 2),
    ]
    exchange = ScriptedTrades()
    await TradeRecorder(exchange, tmp_path).run()
    assert exchange.asked == 5


@pytest.mark.asyncio
async def test_recorder_says_what_it_could_not_get(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exchange = ScriptedTrades(
        trades(0, 4, trade(3), trade(5)), trades(9, 9, restarted=True), trades(9, 10, trade(10))
    )
    await TradeRecorder(exchange, tmp_path).run()
    assert files(tmp_path) == [(0, 4), (9, 10)]
    assert "there is a gap up to 9" in capsys.readouterr().out


def test_recorder_without_pyarrow_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trade_recorder, "find_spec", lambda name: None)
    assert trade_recorder.main([str(tmp_path)]) == 1
    assert f"{sys.executable} -m pip install pyarrow" in capsys.readouterr().err


@pytest.mark.asyncio
async def test_mirror_that_differs_is_seen() -> None:
    mirrored = MirroredBook(ExchangeClient(), BTC)
    mirrored.mirror.sequence = 0
    level = Level(Decimal(1), Decimal(1))
    mirrored._held.append(Book(BTC, (level,), (), 0, mirrored.mirror.time))
    with pytest.raises(BookDiffersError, match="at sequence 0"):
        mirrored._compare()


@pytest.mark.parametrize(
    ("main", "defaults"),
    [
        (market_maker.main, ["(BTC-USD)", "(70000)", "each quote (0.1)", "long or short (1)"]),
        (momentum_taker.main, ["long or short (0.1)"]),
        (trade_recorder.main, ["(all)"]),
    ],
)
def test_helps_name_the_defaults(
    main: Callable[[list[str]], int], defaults: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for default in defaults:
        assert default in text


@pytest.mark.parametrize(
    ("main", "wrong"),
    [
        (momentum_taker.main, ("--quantity", "abc")),
        (momentum_taker.main, ("--window", "0")),
        (market_maker.main, ("--price", "NaN")),
        (market_maker.main, ("--position-max", "0")),
        (market_maker.main, ("--address", "nowhere")),
        (market_maker.main, ("--seconds", "-1")),
        (redis_trades.main, ("--redis-url", "nowhere")),
    ],
)
def test_wrong_options_are_told_in_a_sentence(
    main: Callable[[list[str]], int], wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(wrong))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"argument {wrong[0]}: must be" in said
    assert f"got {wrong[1]!r}" in said


def test_from_a_terminal(
    starter: Starter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each runs for its seconds and ends well; without an exchange it says so."""
    _, address = starter.server()
    places = ("--address", address, "--seconds", "1")
    names = ("market_maker", "momentum_taker", "mirrored_book", "trade_recorder")
    running = [
        starter.run(
            *places,
            *([str(tmp_path / "trades")] if name == "trade_recorder" else []),
            module=f"clients.examples.{name}",
        )
        for name in names
    ]
    assert [each.wait() for each in running] == [0, 0, 0, 0], [each.lines for each in running]
    assert running[0].line("0 fills, position 0")
    assert re.search(
        r": bid [\d-]\S*, ask [\d-]\S*, ", running[2].line("BTC-USD at sequence") or ""
    )
    no_redis = starter.run(
        *(
            "--address",
            address,
            "--seconds",
            "2",
            "--redis-url",
            f"redis://127.0.0.1:{free_port()}",
        ),
        module="clients.examples.redis_trades",
    )
    assert no_redis.wait() == 0
    (told,) = no_redis.lines
    assert told.startswith("no Redis (Error 111 connecting to ")
    nowhere = starter.run(
        "--address", f"127.0.0.1:{free_port()}", module="clients.examples.market_maker"
    )
    assert nowhere.wait() == 1
    assert nowhere.line("ended: the exchange at")
    dear = ("--address", address, "--price", "92233720368")
    too_dear = starter.run(*dear, module="clients.examples.market_maker")
    assert too_dear.wait() == 1
    assert too_dear.line("ended: commands[1].price must be at most 92233720368.54775807")
    (tmp_path / "file").touch()
    assert trade_recorder.main(["--address", address, str(tmp_path / "file" / "trades")]) == 1
    assert "ended: [Errno 20] Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize("example", [kafka_console, kafka_book])
def test_brokers_that_are_not_there_are_told(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In one sentence: the library has nothing to add."""
    monkeypatch.setattr(kafka_console, "ANSWER_S", 0.2)
    monkeypatch.setattr(sys, "argv", ["example", "--brokers", f"127.0.0.1:{free_port()}"])
    with pytest.raises(SystemExit, match=r"topic exchange-\S+ can't be read: "):
        example.main()
    assert capfd.readouterr() == ("", "")
