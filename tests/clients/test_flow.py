"""The generated flow: what is drawn, and what becomes of it on a running exchange."""

import argparse
import asyncio
import json
import signal
from collections import Counter
from decimal import Decimal
from random import Random

import grpc
import pytest

from clients.client import ExchangeClient
from clients.errors import ExchangeError, RefusedError
from clients.flow import options as flow_options
from clients.flow.market import OPENING_ORDERS, RESTING_MAX, Market, Resting
from clients.flow.plan import Mix, Plan
from clients.flow.tally import Tally, Traded
from clients.flow.trading import InstrumentUnknownError, _Flow, trade
from clients.loopback import NotLoopbackError, require_loopback
from clients.requests import CancelOrder, Command, PlaceOrder, ReplaceOrder
from clients.session import COMMANDS_MAX
from clients.types import Instrument, SelfTradePrevention, Side
from tests.running import Running, Starter

MAKERS, TAKERS = ("maker-1", "maker-2"), ("taker-1", "taker-2", "taker-3")


def listed(tick: str, lot: str, **bounds: str) -> Instrument:
    numbers = {"price_min": tick, "price_max": "1000000", "quantity_min": lot, "quantity_max": "9"}
    return Instrument(
        "BTC-USD",
        Decimal(tick),
        Decimal(lot),
        maker_fee=Decimal(0),
        taker_fee=Decimal(0),
        self_trade_prevention=SelfTradePrevention.NONE,
        **{name: Decimal(number) for name, number in (numbers | bounds).items()},
    )


def market(seed: int, instrument: Instrument | None = None, price: str = "70000") -> Market:
    instrument = instrument or listed("0.01", "0.00001")
    return Market(instrument, Decimal(price), MAKERS, TAKERS, Mix(), Random(seed))


def drawn(seed: int) -> list[Command]:
    drawing = market(seed)
    commands = drawing.opening()
    for _ in range(50):
        drawing.move(0.1)
        commands += drawing.commands(10)
    return commands


def test_the_same_seed_draws_the_same_flow() -> None:
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


@pytest.mark.parametrize(
    ("instrument", "price"),
    [
        (listed("0.00000001", "0.00000001"), "70000"),
        (listed("0.3", "0.07"), "70000"),
        (listed("100", "1", price_min="200", quantity_max="3"), "70000"),
        (listed("0.00000001", "0.00000001", quantity_max="90000000000"), "0.00000002"),
        (listed("0.01", "1", price_max="0.05"), "0.03"),
        (listed("0.01", "7"), "0.03"),
    ],
)
def test_every_number_is_one_that_the_instrument_takes(instrument: Instrument, price: str) -> None:
    drawing = market(1, instrument, price)
    placed = 0
    for _ in range(200):
        drawing.move(1.0)
        for command in drawing.commands(5):
            assert isinstance(command, PlaceOrder)  # nothing rests, so makers only quote
            quantity, limit = Decimal(command.quantity), command.price
            assert limit is not None
            assert Decimal(limit) % instrument.tick == 0
            assert instrument.price_min <= Decimal(limit) <= instrument.price_max
            assert quantity % instrument.lot == 0
            assert instrument.quantity_min <= quantity <= instrument.quantity_max
            placed += 1
    assert placed == 1000


def test_the_price_drifts_and_stays_within_reach() -> None:
    drifting = market(3)
    seen = set()
    for _ in range(20_000):
        drifting.move(1.0)
        seen.add(drifting.fair_price)
    assert len(seen) > 100
    assert Decimal(35_000) <= min(seen) <= max(seen) <= Decimal(140_000)
    for steps, bound in ((1e9, 140_000), (-1e9, 35_000)):
        drifting._shift(steps)
        assert drifting.fair_price == bound


def test_the_mean_rate_is_the_one_asked_for() -> None:
    lively = market(5)
    total, steps = 0.0, 200_000
    for _ in range(steps):
        lively.move(0.1)
        total += lively.activity
    assert total / steps == pytest.approx(1.0, rel=0.05)


def rests(drawing: Market, count: int) -> None:
    for number in range(count):
        drawing.resting[f"x-{number}"] = Resting("maker-1", Side.BUY, 70_000 * 10**8, 10**7)


def test_what_rests_is_bounded() -> None:
    full = market(1)
    rests(full, RESTING_MAX + 20)
    assert not any(
        isinstance(command, PlaceOrder) and not command.client_id.startswith("taker")
        for command in full.commands(20)
    )


def test_what_is_drawn_is_sent_also_where_more_is_due_than_a_message_takes() -> None:
    """What was left out would count as about to be cancelled, and rest, for ever."""
    drawing = market(1)
    rests(drawing, 2_000)
    flow = _Flow(Plan(rate=5_000), [drawing], asyncio.Event(), lambda tally: None)
    deeds = [deed for _ in range(3) for _, deed in flow._step(0.5)]
    touched = {deed.order_id for deed in deeds if isinstance(deed, CancelOrder | ReplaceOrder)}
    assert touched == drawing._asked
    assert 2_000 < len(deeds) <= 3 * COMMANDS_MAX


def test_makers_quote_off_the_price_and_takers_cross_it() -> None:
    drawing = market(1)
    rests(drawing, 100)
    seen = Counter[str]()
    for _ in range(300):
        (command,) = drawing.commands(1)
        if isinstance(command, PlaceOrder) and command.price is not None:
            above = Decimal(command.price) - drawing.fair_price
            crosses = above > 0 if command.side == Side.BUY else above < 0
            assert crosses is command.client_id.startswith("taker")
            seen[f"{command.client_id.partition('-')[0]} {command.side}"] += 1
    assert len(seen) == 4


def test_no_order_is_cancelled_or_moved_twice_at_once() -> None:
    busy = market(1)
    rests(busy, 100)
    changes = [
        command.order_id
        for command in busy.commands(300)
        if isinstance(command, CancelOrder | ReplaceOrder)
    ]
    assert len(changes) > 50
    assert len(set(changes)) == len(changes)


def test_an_order_that_has_ended_is_forgotten_and_one_that_could_not_move_is_not() -> None:
    drawing = market(1)
    rests(drawing, 2)
    for order_id, reason in (("x-0", "ORDER_CLOSED"), ("x-1", "POST_ONLY_WOULD_CROSS")):
        refused = RefusedError("no", code=grpc.StatusCode.ABORTED, reason=reason)
        drawing.settle(ReplaceOrder(order_id, price="1"), refused)
    assert list(drawing.resting) == ["x-1"]


def test_what_was_answered_may_be_changed_again() -> None:
    drawing = market(1)
    rests(drawing, 2)
    drawing._asked.update(("x-0", "x-1"))
    refused = RefusedError("no", code=grpc.StatusCode.ABORTED, reason="POST_ONLY_WOULD_CROSS")
    drawing.settle(ReplaceOrder("x-0", price="1"), refused)
    assert drawing._asked == {"x-1"}


def parsed(line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser("exchange")
    flow_options.register(parser.add_subparsers(required=True))
    return parser.parse_args(["flow", *line.split()])


def test_options() -> None:
    options = parsed("--mix quote=3,take=1 --instruments BTC-USD,ETH-USD,BTC-USD --rate 10")
    assert options.mix == Mix(3, 1, 0, 0)
    assert options.instruments == ("BTC-USD", "ETH-USD")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--rate 0", "must be a whole number from 1 to 5,000; got '0'"),
        ("--clients 1", "must be a whole number from 2 to 900; got '1'"),
        ("--seconds 86401", "must be a whole number from 1 to 86,400; got '86401'"),
        ("--mix take=1", "quote must be above 0"),
        ("--mix quote=1,buy=2", "got 'buy=2'"),
        ("--mix quote=50,quote=1", "each once, of at most 4 digits; got 'quote=1'"),
        ("--name a/b", "got 'a/b'"),
        ("--instruments BTC-USD,,", "got 'BTC-USD,,'"),
    ],
)
def test_wrong_options_are_refused(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parsed(line)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "localhost", "[::1]", "::1"])
def test_loopback_is_taken(host: str) -> None:
    require_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "exchange.example", "0.0.0.0", "", "127.0.0.1.nip"])
def test_other_machines_are_refused(host: str) -> None:
    with pytest.raises(NotLoopbackError, match="--allow-remote"):
        require_loopback(host)


def test_the_times_of_answers_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.flow.tally.ANSWERS_MAX", 2)
    tally = Tally()
    for answer_ms in (1.0, 2.0, 3.0):
        tally.count([], answer_ms)
    assert tally.answers_ms == [1.0, 2.0]


def test_an_instrument_without_a_trade_is_told_too() -> None:
    tally = Tally(instruments={"SOL-USD": Traded()})
    assert tally.lines()[-1] == "SOL-USD: 0 trades, quantity 0, notional 0.00, last none"


def test_tiny_numbers_are_told_without_an_exponent() -> None:
    least = Decimal("0.00000001")
    tally = Tally(instruments={"SHIB-USD": Traded(1, least, least * least, least)})
    assert "quantity 0.00000001, notional 0.00, last 0.00000001" in tally.lines()[-1]
    assert tally.progress().endswith("SHIB-USD 0.00000001")
    assert tally.plain()["instruments"]["SHIB-USD"] == {
        "trades": 1,
        "quantity": "0.00000001",
        "notional": "0.0000000000000001",
        "last_price": "0.00000001",
    }


# On a running exchange.


async def flow(address: str, plan: Plan, stop: asyncio.Event | None = None) -> Tally:
    return await trade(address, plan, stop or asyncio.Event(), lambda _: None)


async def book_sizes(address: str, name: str = "BTC-USD") -> tuple[int, int]:
    async with ExchangeClient(address) as exchange:
        book = await exchange.book(name, 1000)
        return len(book.bids), len(book.asks)


@pytest.mark.asyncio
async def test_a_living_book(starter: Starter) -> None:
    """For as long as all has happened in: a busy machine gets less done in a second."""
    _, address = starter.server()
    names, enough = {"BTC-USD", "ETH-USD", "SOL-USD"}, asyncio.Event()

    def look(tally: Tally) -> None:
        traded = {name for name, each in tally.instruments.items() if each.trades}
        many = tally.commands > 3 * OPENING_ORDERS + 500
        if many and traded == names and tally.cancelled and tally.replaced:
            enough.set()

    tally = await trade(address, Plan(rate=1000, seconds=60, keep=True), enough, look)
    assert enough.is_set()
    # Refused is only what the market itself refuses: a move that would trade at once.
    assert set(tally.refused) <= {"POST_ONLY_WOULD_CROSS"}
    for name in ("BTC-USD", "ETH-USD", "SOL-USD"):
        bids, asks = await book_sizes(address, name)
        assert bids >= 3
        assert asks >= 3
    # The next flow begins by cancelling what was kept, and leaves nothing unless told to.
    await flow(address, Plan(rate=100, seconds=0.3, instruments=("BTC-USD",)))
    assert await book_sizes(address) == (0, 0)
    assert await book_sizes(address, "ETH-USD") == (0, 0)
    # Where others quote it begins in the middle between them.
    async with ExchangeClient(address) as exchange:
        for side, price in (("buy", "200"), ("sell", "210")):
            await exchange.place(PlaceOrder("other", "SOL-USD", side, "1", price))
        await flow(address, Plan(rate=100, seconds=0.1, keep=True, instruments=("SOL-USD",)))
        book = await exchange.book("SOL-USD")
    assert 200 < book.bids[0].price < book.asks[0].price < 210


@pytest.mark.asyncio
async def test_an_unknown_instrument_is_named(starter: Starter) -> None:
    _, address = starter.server()
    with pytest.raises(InstrumentUnknownError, match=r"'DOGE-USD' is not listed.*BTC-USD"):
        await flow(address, Plan(instruments=("DOGE-USD",)))


@pytest.mark.asyncio
async def test_it_goes_on_after_a_killed_server(starter: Starter) -> None:
    server, address = starter.server()
    port = int(address.rpartition(":")[2])
    stop = asyncio.Event()
    seen: list[int] = []
    shown = asyncio.Event()

    def show(tally: Tally) -> None:
        seen.append(tally.commands)
        shown.set()

    async def grown(commands: int) -> None:
        async with asyncio.timeout(30):
            while not seen or seen[-1] <= commands:
                shown.clear()
                await shown.wait()

    running = asyncio.create_task(trade(address, Plan(rate=200, seconds=60), stop, show))
    try:
        await grown(0)
        server.kill()
        before = seen[-1]
        await asyncio.to_thread(starter.server, port)
        await grown(before + 3 * OPENING_ORDERS)
    finally:
        stop.set()
    tally = await running
    assert tally.reconnects == 1, "not how often it was tried"
    assert await book_sizes(address) == (0, 0)


@pytest.mark.asyncio
async def test_it_gives_up_where_no_server_comes_back(
    starter: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clients.flow.trading.GIVE_UP_S", 0.2)
    server, address = starter.server()
    shown = asyncio.Event()
    running = asyncio.create_task(
        trade(address, Plan(seconds=60), asyncio.Event(), lambda _: shown.set())
    )
    async with asyncio.timeout(30):
        await shown.wait()
        server.kill()
        with pytest.raises(ExchangeError):
            await running


def exchange_flow(starter: Starter, address: str, *options: str) -> Running:
    return starter.run("flow", "--address", address, *options)


def test_ctrl_c_ends_it_with_its_summary(starter: Starter) -> None:
    _, address = starter.server()
    running = exchange_flow(starter, address, "--json", "--rate", "100")
    running.wait_line("   0 s")  # progress; in a pipe the first line comes at once
    running.signal(signal.SIGINT)
    assert running.wait() == 0
    summary = json.loads("\n".join(running.lines[1:]))
    assert summary["commands"] >= 3 * OPENING_ORDERS
    assert set(summary["answered_ms"]) == {"p50", "p75", "p90", "p95", "p99", "p99.9"}


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("10.0.0.1:1", 2, "exchange flow: '10.0.0.1' is not a loopback address"),
        ("127.0.0.1:1", 3, "exchange flow: the exchange at 127.0.0.1:1 is not reachable"),
    ],
)
def test_exit_codes_of_what_cannot_begin(
    starter: Starter, address: str, code: int, said: str
) -> None:
    running = exchange_flow(starter, address, "--json")
    assert running.wait() == code
    assert running.lines[0].startswith(said)
    message = json.loads("".join(running.lines[1:]))["error"]["message"]
    assert running.lines[0].endswith(message)
