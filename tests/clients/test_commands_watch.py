"""`exchange watch`: the picture at any size, and the view over restarts of a real server."""

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import cast

import psutil
import pytest

from clients.client import ExchangeClient
from clients.order_wire import order_of
from clients.requests import CancelOrder, PlaceOrder
from clients.terminal import Span, text_of, width_of
from clients.types import Book, Order, OrderStatus, Side, Trade, TradesMessage
from clients.watch.screen import aligned, picture
from clients.watch.terminal import Canvas
from clients.watch.view import ORDERS_MAX, Change, Interrupted, OrderRow, Restored, Stream, View
from exchange.v1 import types_pb2
from tests.clients.book_messages import E8, BookServer
from tests.running import EXCHANGE, Running, Starter, until

BTC = "BTC-USD"
START = datetime(2024, 1, 1, tzinfo=UTC)
FRAME = re.compile(r"\x1b\[\?2026h\x1b\[H(.*?)\x1b\[\?2026l", re.DOTALL)
SEQUENCE = re.compile(r"\x1b\[[?0-9;]*[a-zA-Z]")


def a_view(client: str = "alice") -> View:
    view = View(BTC, client, lambda _: None)
    book = BookServer()
    book.change(
        9,
        bids={(100 - n) * E8: (n + 1) * E8 for n in range(40)},
        asks={(102 + n) * E8: E8 // 4 for n in range(40)},
    )
    view.book.take(book.snapshot())
    for number in range(50):
        view.trades.append(a_trade(number))
        view.orders[f"o-{number}"] = OrderRow(
            f"o-{number}", Side.BUY, Decimal(99), Decimal(2), Decimal(1), OrderStatus.OPEN
        )
    return view


def a_trade(number: int) -> Trade:
    return Trade(
        trade_id=f"T{number}-1",
        sequence=number,
        index=1,
        time=datetime(2024, 1, 1, 0, 0, number, 123_000, tzinfo=UTC),
        instrument=BTC,
        price=Decimal("101.5"),
        quantity=Decimal("0.25"),
        aggressor_side=Side.SELL,
        maker_order_id="m",
        maker_client_id="alice" if number == 49 else "bob",
        taker_order_id="t",
        taker_client_id="carol",
        maker_fee=Decimal(0),
        taker_fee=Decimal(0),
    )


def shown(view: View, width: int, height: int) -> list[str]:
    return [text_of(each, coloured=False) for each in picture(view, width, height, "#")]


def test_a_trade_that_is_listed_and_streamed_is_taken_once() -> None:
    told: list[Change] = []
    view = View(BTC, "", told.append)
    for number in (7, 8, 7, 8, 9):
        view._take_trade(a_trade(number))
    assert told == list(view.trades) == [a_trade(7), a_trade(8), a_trade(9)]


class BegunAnew:
    """An exchange that was at sequence 9, and is at sequence 2 of another journal since."""

    async def book(self, instrument: str, _levels: int) -> Book:
        return Book(instrument, (), (), 9, START)

    async def trades(self, _instrument: str, page_size: int) -> AsyncGenerator[Trade, None]:
        assert page_size
        yield a_trade(9)

    async def follow_trades(
        self, _instrument: str, _after: int, on_interruption: object
    ) -> AsyncGenerator[TradesMessage, None]:
        assert on_interruption
        yield TradesMessage(2, 0, (a_trade(2),), restarted=True)
        yield TradesMessage(3, 2, (a_trade(3),), restarted=False)


def test_trades_of_an_exchange_that_began_anew_are_shown() -> None:
    told: list[Change] = []
    view = View(BTC, "", told.append)
    asyncio.run(view._follow_trades(cast("ExchangeClient", BegunAnew())))
    assert list(view.trades) == [a_trade(2), a_trade(3)]
    assert [each for each in told if isinstance(each, Trade)] == [a_trade(9), *view.trades]


class ManyOrders:
    """A client with twice as many working orders as a view holds; newer ones are filled in part."""

    async def orders(self, *, working: bool, **_: object) -> AsyncGenerator[Order, None]:
        assert working
        for number in reversed(range(2 * ORDERS_MAX)):
            order = types_pb2.Order(order_id=f"o-{number}", placed_sequence=number)
            for field in ("side", "type", "time_in_force", "self_trade_prevention"):
                setattr(order, field, 1)
            order.status = int(number >= ORDERS_MAX) + 1  # type: ignore[assignment]
            yield order_of(order)
        raise AssertionError("none of the older ones is asked for")


def test_the_newest_of_very_many_orders_are_shown() -> None:
    view = View(BTC, "alice", lambda _: None)
    asyncio.run(view._list_orders(cast("ExchangeClient", ManyOrders())))
    assert list(view.orders) == [f"o-{number}" for number in range(ORDERS_MAX, 2 * ORDERS_MAX)]


@pytest.mark.parametrize(("spread", "told"), [("2", "2"), ("20", "20"), ("0.05", "0.05")])
def test_the_spread_has_no_more_digits_than_it_needs(spread: str, told: str) -> None:
    view, book = View(BTC, "", lambda _: None), BookServer()
    bid = 100 * E8 + E8 // 2
    book.change(1, bids={bid: E8}, asks={bid + int(Decimal(spread) * E8): E8})
    view.book.take(book.snapshot())
    assert f"  spread {told}  last -" in shown(view, 90, 20)[1]


def test_wide_picture_has_book_trades_and_orders() -> None:
    lines = shown(a_view(), 90, 20)
    assert lines[0] == "BTC-USD" + "live at sequence 9".rjust(83)
    assert lines[1] == "bid 100  ask 102  spread 2  last 101.5"
    assert lines[3].split() == ["price", "quantity", "time", "trade", "quantity", "price"]
    assert lines[4].split() == [
        *("105", "0.25", "#"),
        *("00:00:49.123", "sell", "0.25", "101.5", "own"),
    ]
    assert [line[:15].split() for line in lines[6:11]] == [
        ["103", "0.25"],
        ["102", "0.25"],
        ["---------------"],
        ["100", "1.00"],
        ["99", "2.00"],
    ]
    assert lines[13] == "open orders of alice: 50"
    assert lines[15].split() == ["o-49", "buy", "2", "99", "1", "open"]
    assert lines[19] == "q or Ctrl-C ends"


def test_narrow_picture_has_trades_below_the_book() -> None:
    lines = shown(a_view(client=""), 50, 20)
    assert lines[3].split() == ["price", "quantity"]
    (heading,) = [line for line in lines if line.startswith("time")]
    assert lines.index(heading) > lines.index(next(line for line in lines if "---" in line))
    assert "open orders" not in "\n".join(lines)


@pytest.mark.parametrize("width", [72, 80, 90, 120])
@pytest.mark.parametrize("price", ["101.5", "70044.55", "92233720368.54775807"])
def test_no_number_is_cut_where_trades_stand_beside_the_book(width: int, price: str) -> None:
    view = a_view()
    view.trades.append(replace(a_trade(49), price=Decimal(price)))
    lines = shown(view, width, 20)
    (newest, _) = [line for line in lines if "00:00:49.123" in line]
    places = max(0, -int(Decimal(price).as_tuple().exponent))
    assert newest.split()[-2:] == [f"{Decimal(price):.{places}f}", "own"]
    levels = [line for line in lines if line.split()[:1] == ["100"]]
    assert [line.split()[:2] for line in levels] == [["100", "1.00"]]


@pytest.mark.parametrize("width", [1, 7, 40, 71, 72, 200])
@pytest.mark.parametrize("height", [1, 2, 5, 9, 24, 100])
def test_picture_fills_any_size_and_no_more(width: int, height: int) -> None:
    for view in (a_view(), a_view(client=""), View(BTC, "alice", lambda _: None)):
        lines = picture(view, width, height)
        assert len(lines) == height
        assert max(map(width_of, lines)) <= width


@pytest.mark.parametrize("height", range(1, 20))
def test_no_trades_are_said_only_where_there_are_none(height: int) -> None:
    """Also where there is no room to show one."""
    assert "no trades yet" not in shown(a_view(client=""), 20, height)
    assert "no trades yet" not in shown(a_view(client=""), 90, height)


def test_picture_says_what_is_not_live() -> None:
    view = View(BTC, "", lambda _: None)
    assert "waiting for the book" in shown(view, 80, 10)[0]
    view = a_view()
    view.interruptions[Stream.BOOK] = Interrupted(Stream.BOOK, "the server stopped")
    assert "book interrupted, trying again: the server stopped" in shown(view, 120, 10)[0]
    view.interruptions.clear()
    view.restarts = 2
    assert "live at sequence 9, started afresh 2 times" in shown(view, 120, 10)[0]


def test_no_character_of_a_full_line_is_erased() -> None:
    """After it the cursor is still on the last one."""
    canvas = Canvas(coloured=False, redraw=lambda: None, quit_=lambda: None)
    assert canvas._text((Span("abc"),), 4) == "abc\x1b[K"
    assert canvas._text((Span("abc"),), 3) == "abc"


def test_points_stand_in_a_column() -> None:
    assert aligned([Decimal("1.50"), Decimal("20"), Decimal("0.125")]) == [
        "1.500",
        "20.000",
        "0.125",
    ]
    assert aligned([Decimal("1000")]) == ["1000"]
    assert aligned([]) == []


async def come_true(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def trade(address: str, number: int) -> None:
    """A resting order of alice that is hit, and one that is placed and cancelled."""
    async with ExchangeClient(address) as exchange:
        await exchange.place(PlaceOrder("alice", BTC, "sell", 2, price=100, order_id=f"a-{number}"))
        await exchange.place(PlaceOrder("bob", BTC, "buy", 1, price=100))
        await exchange.cancel(CancelOrder(f"a-{number}"))
        await exchange.place(PlaceOrder("alice", BTC, "buy", 1, price=10, order_id=f"b-{number}"))


async def deepen(address: str) -> None:
    """A change behind the best price, after one that may be at it."""
    async with ExchangeClient(address) as exchange:
        for price in (6, 5):
            await exchange.place(PlaceOrder("carol", BTC, "buy", 1, price=price))


def test_view_holds_what_the_exchange_holds(starter: Starter) -> None:
    """Begun in the middle, interrupted by kill -9 and a restart on the same port."""
    server, address = starter.server()
    port = int(address.rpartition(":")[2])
    told: list[Change] = []

    async def watched() -> None:
        await trade(address, 1)
        view = View(BTC, "alice", told.append)
        async with ExchangeClient(address) as exchange:
            following = asyncio.create_task(view.follow(exchange))
            await come_true(lambda: "b-1" in view.orders and view.book.best_bid is not None)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(starter.server, port)
            await trade(address, 2)
            await come_true(lambda: "b-2" in view.orders and len(view.trades) == 2)
            book = await exchange.book(BTC)
            await come_true(lambda: view.book.sequence >= book.sequence)
            await come_true(lambda: not view.interruptions)
            following.cancel()
            assert (view.book.levels("buy"), view.book.levels("sell")) == (book.bids, book.asks)
            trades = [trade async for trade in exchange.trades(BTC)]
            assert list(view.trades) == trades[::-1]
        assert list(view.orders) == ["b-1", "b-2"]
        assert not view.interruptions

    asyncio.run(watched())
    interrupted = {change.stream for change in told if isinstance(change, Interrupted)}
    restored = {change.stream for change in told if isinstance(change, Restored)}
    assert interrupted == restored == set(Stream)


def watch(starter: Starter, address: str, *options: str) -> Running:
    return starter.run("watch", BTC, "--client", "alice", "--address", address, *options)


def test_without_a_terminal_it_prints_lines(starter: Starter, address: str) -> None:
    plain, as_json = watch(starter, address), watch(starter, address, "--json")
    until(lambda: bool(plain.lines and as_json.lines), 30, "a first line of each")
    asyncio.run(deepen(address))
    asyncio.run(trade(address, 3))
    # The book that it changes is told of before or after it.
    until(lambda: "b-3" in "".join(plain.lines), 30, "the last order, in text")
    until(lambda: "b-3" in "".join(as_json.lines), 30, "the last order, in JSON")
    plain.signal(signal.SIGINT)
    as_json.signal(signal.SIGTERM)
    assert (plain.wait(), as_json.wait()) == (0, 0)
    said = [line.partition(" ")[2] for line in plain.lines]
    assert "trade buy 1 @ 100" in said
    assert "order a-3 filled: sell @ 100, filled 1, remaining 1" in said
    assert "order b-3 accepted: buy @ 10, filled 0, remaining 1" in said
    books = [line for line in said if line.startswith("book  bid ")]
    assert books
    assert all(one != other for one, other in pairwise(books)), "each tells of another best price"
    documents = [json.loads(line) for line in as_json.lines]
    assert {document["kind"] for document in documents} == {"book", "trade", "order"}
    (filled,) = [it for it in documents if it.get("event", {}).get("kind") == "filled"]
    assert filled["event"]["trade"]["price"] == "100"


def test_it_ends_after_its_seconds(starter: Starter, address: str) -> None:
    ended = watch(starter, address, "--lines", "--seconds", "1")
    assert ended.wait() == 0
    # Whichever stream is there first: trades of earlier tests may come before the book.
    assert any(" book  bid " in line for line in ended.lines)


def test_it_ends_with_its_reader_while_nothing_happens(address: str) -> None:
    command = [sys.executable, "-P", "-m", EXCHANGE, "watch", "ETH-USD", "--address", address]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe) as watching:
        try:
            assert watching.stdout is not None
            assert watching.stderr is not None
            assert b" book  bid " in watching.stdout.readline()
            watching.stdout.close()
            assert watching.wait(30) == 0
            assert watching.stderr.read() == b""
        finally:
            watching.kill()


@pytest.mark.parametrize(
    ("instrument", "at", "code", "said"),
    [
        ("NO-SUCH", "", 1, 'exchange watch: instrument "NO-SUCH" is not listed'),
        (BTC, "127.0.0.1:1", 3, "exchange watch: the exchange at 127.0.0.1:1 is not reachable"),
    ],
)
def test_what_can_not_be_watched(
    starter: Starter, address: str, instrument: str, at: str, code: int, said: str
) -> None:
    ended = starter.run("watch", instrument, "--address", at or address)
    assert ended.wait() == code
    assert ended.lines[-1].startswith(said)


def test_with_json_a_refusal_is_one_line_as_all_else(starter: Starter, address: str) -> None:
    ended = starter.run("watch", "NO-SUCH", "--json", "--address", address)
    assert ended.wait() == 1
    (document,) = [json.loads(line) for line in ended.lines if line.startswith("{")]
    assert document["error"]["reason"] == "INSTRUMENT_UNKNOWN"


class Terminal:
    """A terminal in which `exchange watch` runs."""

    def __init__(self, columns: int, lines: int, *command: str) -> None:
        self._own, its = pty.openpty()
        termios.tcsetwinsize(its, (lines, columns))
        self._its = its
        self.before = termios.tcgetattr(its)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", EXCHANGE, *command],
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "PYTHONUTF8": "1", "NO_COLOR": ""},
        )
        self._said = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def said(self) -> str:
        return self._said.decode(errors="replace")

    @property
    def frame(self) -> list[str]:
        """The newest picture."""
        frames = FRAME.findall(self.said)
        return SEQUENCE.sub("", frames[-1]).replace("\r", "").split("\n") if frames else [""]

    @property
    def mode(self) -> list[object]:
        return termios.tcgetattr(self._its)

    def resize(self, columns: int, lines: int) -> None:
        termios.tcsetwinsize(self._its, (lines, columns))
        # What the kernel sends where the terminal is the process's controlling one.
        self.process.send_signal(signal.SIGWINCH)

    def type(self, keys: bytes) -> None:
        os.write(self._own, keys)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        os.close(self._its)
        self._reader.join(30)
        os.close(self._own)

    def _read(self) -> None:
        while True:
            try:
                self._said += os.read(self._own, 65_536)
            except OSError:  # how a terminal ends that nobody has open any more
                return


@pytest.fixture
def terminal(address: str) -> Iterator[Terminal]:
    terminal = Terminal(100, 24, "watch", BTC, "--client", "alice", "--address", address)
    yield terminal
    terminal.close()


def test_on_a_terminal_it_draws_resizes_and_gives_it_back(terminal: Terminal, address: str) -> None:
    until(lambda: "live at sequence" in terminal.frame[0], 30, "a picture")
    asyncio.run(trade(address, 4))
    until(lambda: any(line.startswith("b-4 ") for line in terminal.frame), 30, "the order")
    assert len(terminal.frame) == 24
    terminal.resize(60, 12)
    until(lambda: len(terminal.frame) == 12, 30, "the smaller picture")
    assert max(map(len, terminal.frame)) <= 60
    assert terminal.mode != terminal.before
    assert "\x1b[32m" in terminal.said
    terminal.type(b"q")
    assert terminal.process.wait(30) == 0
    until(lambda: terminal.said.endswith("\x1b[?1049l"), 30, "the first screen")
    assert terminal.mode == terminal.before


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(terminal: Terminal) -> None:
    until(lambda: "live at sequence" in terminal.frame[0], 30, "a picture")
    process = psutil.Process(terminal.process.pid)
    # What the terminal sends where it is the process's controlling one.
    terminal.process.send_signal(signal.SIGTSTP)
    until(lambda: process.status() == psutil.STATUS_STOPPED, 30, "a stop")
    until(lambda: terminal.said.endswith("\x1b[?1049l"), 30, "the first screen")
    assert terminal.mode == terminal.before
    terminal.process.send_signal(signal.SIGCONT)
    until(lambda: "live at" in "".join(terminal.said.split("\x1b[?1049h")[2:]), 30, "a picture")
    assert terminal.mode != terminal.before


def test_interrupt_ends_it_well(terminal: Terminal) -> None:
    until(lambda: "live at sequence" in terminal.frame[0], 30, "a picture")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(30) == 0
    assert terminal.mode == terminal.before
