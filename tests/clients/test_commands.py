"""The trading commands: what people and scripts see, and the exit codes."""

import argparse
import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

import grpc
import pytest

from clients import actions, commands
from clients.errors import UnavailableError
from clients.presentation import Answer
from clients.terminal import line
from exchange.v1 import types_pb2
from tests.clients.fake_exchange import FakeExchange, a_trade
from tests.clients.faults import refuse

pytestmark = pytest.mark.asyncio


class Printed(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(line: str, address: str) -> int:
    parser = argparse.ArgumentParser("exchange")
    commands.register(parser.add_subparsers(required=True), parser)
    try:
        options = parser.parse_args([*line.split(), "--address", address])
        code: int = options.run(options, None)
    except SystemExit as ended:
        return int(ended.code or 0)
    return code


@pytest.fixture
def type_in(fake: FakeExchange, capsys: pytest.CaptureFixture[str]) -> Any:
    async def typed(line: str, address: str = "") -> Printed:
        # The command has an event loop of its own, so it runs in a thread beside the fake's.
        code = await asyncio.to_thread(run, line, address or fake.address)
        return Printed(code, *capsys.readouterr())

    return typed


async def test_place(fake: FakeExchange, type_in: Any) -> None:
    printed = await type_in("place alice buy 0.25 BTC-USD --price 70150.5 --id o-1")
    assert printed == Printed(
        0,
        "o-1  alice buy 0.25 BTC-USD @ 70150.5 gtc\nopen: filled 0, remaining 0.25, cancelled 0\n",
        "",
    )


async def test_place_says_all_options(fake: FakeExchange, type_in: Any) -> None:
    await type_in(
        "place alice sell 1 BTC-USD --price 2 --type limit --tif ioc --post-only "
        "--stp cancel_oldest --id o-1 --key k-1"
    )
    (sent,) = fake.orders.requests
    assert (sent.client_id, sent.instrument, sent.order_id) == ("alice", "BTC-USD", "o-1")
    assert (sent.price_e8, sent.quantity_e8, sent.post_only) == (200_000_000, 100_000_000, True)
    assert sent.side == types_pb2.SIDE_SELL
    assert sent.time_in_force == types_pb2.TIME_IN_FORCE_IMMEDIATE_OR_CANCEL
    assert sent.self_trade_prevention == types_pb2.SELF_TRADE_PREVENTION_CANCEL_OLDEST
    assert sent.idempotency_key == "k-1"


async def test_place_shows_trades(fake: FakeExchange, type_in: Any) -> None:
    fake.orders.trades = [a_trade()]
    printed = await type_in("place alice buy 1 BTC-USD --type market")
    lines = printed.out.splitlines()
    assert " BTC-USD market gtc" in lines[0]
    assert lines[3].split() == ["time", "side", "quantity", "price", "maker", "taker"]
    assert lines[4].split() == ["2024-01-01T00:00:00.123Z", "buy", "0.0000005", "70150.5", "b", "a"]


async def test_repeat_says_so(fake: FakeExchange, type_in: Any) -> None:
    line = "place alice buy 1 BTC-USD --price 1 --key k-1"
    first, again = await type_in(line), await type_in(line)
    assert again.out == first.out + "as first answered: this key was used before\n"
    assert len(fake.orders.orders) == 1


async def test_json_is_exact(type_in: Any) -> None:
    printed = await type_in("place alice buy 0.1 BTC-USD --price 92233720368.54775807 --json")
    order = printed.json["order"]
    assert order["price"] == "92233720368.54775807"
    assert order["created_time"] == "2024-01-01T00:00:00.123Z"
    assert (order["side"], order["end_reason"]) == ("buy", None)
    assert printed.json["sequence"] == 1


async def test_cancel(fake: FakeExchange, type_in: Any) -> None:
    printed = await type_in("cancel o-1 --client alice")
    assert "cancelled (cancel requested): " in printed.out
    (sent,) = fake.orders.requests
    assert (sent.order_id, sent.client_id) == ("o-1", "alice")
    printed = await type_in("cancel-all alice --side buy")
    assert printed.code == 0
    assert printed.out.startswith("1 cancelled\n")
    sent = fake.orders.requests[1]
    assert (sent.client_id, sent.side) == ("alice", types_pb2.SIDE_BUY)


async def test_replace(fake: FakeExchange, type_in: Any) -> None:
    printed = await type_in("replace o-1 --price 2.5 --client alice --key k-1")
    assert printed.code == 0
    assert printed.out.startswith("o-1  alice buy ")
    (sent,) = fake.orders.requests
    assert (sent.order_id, sent.client_id, sent.idempotency_key) == ("o-1", "alice", "k-1")
    assert sent.price_e8 == 250_000_000
    assert not sent.HasField("quantity_e8")


async def test_order(type_in: Any) -> None:
    assert (await type_in("order o-1")).out.startswith("o-1  alice buy 0.000001 BTC-USD")


async def test_orders(type_in: Any) -> None:
    assert (await type_in("orders")).out == "no orders\n"
    for number in range(3):
        await type_in(f"place alice buy {number + 8} BTC-USD --price 1 --id o-{number}")
    printed = await type_in("orders --client alice --limit 2")
    assert printed.out.splitlines() == [
        "order  client  side  quantity  instrument  price  filled  status",
        "o-2    alice   buy         10  BTC-USD         1       0  open",
        "o-1    alice   buy          9  BTC-USD         1       0  open",
    ]


async def test_book(type_in: Any) -> None:
    assert (await type_in("book BTC-USD")).out.splitlines() == [
        "BTC-USD at sequence 9",
        "     price    quantity",
        "ask    102           2",
        "ask    101  0.00000001",
        "bid     99        1.25",
    ]


async def test_ticker(type_in: Any) -> None:
    printed = await type_in("ticker BTC-USD")
    assert printed.out.splitlines()[:4] == [
        "BTC-USD over 24 hours at sequence 0",
        "last      -",
        "bid       -",
        "ask       0.000001, quantity 0",
    ]
    assert (await type_in("ticker BTC-USD --json")).json["ask"]["price"] == "0.000001"


async def test_trades(type_in: Any) -> None:
    assert len((await type_in("trades BTC-USD --limit 3")).out.splitlines()) == 4
    assert len((await type_in("trades BTC-USD --json")).json) == 5


async def test_trades_of_a_client(fake: FakeExchange, type_in: Any) -> None:
    """Each of its fills, of which a trade with itself has two."""
    assert (await type_in("trades BTC-USD --client alice")).out.splitlines() == ["no trades"]
    (taken, made, both, *_) = fake.market.trades
    taken.taker_client_id = made.maker_client_id = "alice"
    both.taker_client_id = both.maker_client_id = "alice"
    shown = (await type_in("trades BTC-USD --client alice --limit 3")).out.splitlines()
    assert [row.split()[1:] for row in shown] == [
        ["order", "side", "quantity", "price", "role", "fee"],
        ["a", "buy", "0.0000005", "70150.5", "taker", "0.5"],
        ["b", "sell", "0.0000005", "70150.5", "maker", "-0.0000000001"],
        ["a", "buy", "0.0000005", "70150.5", "taker", "0.5"],
        ["b", "sell", "0.0000005", "70150.5", "maker", "-0.0000000001"],
    ]
    told = (await type_in("trades BTC-USD --client alice --json")).json
    assert [trade["role"] for trade in told] == ["taker", "maker", "both"]
    assert (told[0]["taker_fee"], told[1]["maker_fee"]) == ("0.5", "-0.0000000001")
    everything = (await type_in("trades BTC-USD --limit 3 --json")).json
    assert [
        trade | {"role": own["role"]} for trade, own in zip(everything, told, strict=True)
    ] == told


async def test_refusal(fake: FakeExchange, type_in: Any) -> None:
    refusal = refuse(grpc.StatusCode.INVALID_ARGUMENT, "PRICE_OFF_TICK", "price 150 is off tick")
    fake.orders.faults = [refusal, refusal]
    printed = await type_in("place alice buy 1 BTC-USD --price 150")
    assert printed == Printed(1, "", "exchange place: price 150 is off tick\n")
    printed = await type_in("place alice buy 1 BTC-USD --price 150 --json")
    assert printed.code == 1
    assert printed.json["error"] == {
        "reason": "PRICE_OFF_TICK",
        "field": "price",
        "limit": "100",
        "value": "150",
        "code": "INVALID_ARGUMENT",
        "message": "price 150 is off tick",
    }


async def test_nobody_there(type_in: Any) -> None:
    printed = await type_in("book BTC-USD", "127.0.0.1:1")
    assert printed.code == 3
    assert printed.err == (
        "exchange book: the exchange at 127.0.0.1:1 is not reachable: no connection could be made; "
        "check that it runs there\n"
    )


async def test_unknown_outcome_names_the_key(
    fake: FakeExchange, type_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "OVERALL_S", 0.2)
    fake.orders.losses = [refuse(grpc.StatusCode.UNAVAILABLE, message="Socket closed")] * 100
    printed = await type_in("place alice buy 1 BTC-USD --price 1 --key k-1")
    assert printed.code == 3
    assert "it may have been applied" in printed.err
    assert "(the key is k-1)" in printed.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("place alice buy 1e5 BTC-USD --price 1", "QUANTITY: must be a decimal"),
        ("place alice buy 1 BTC-USD --price 0.123456789", "--price: must be a number of at most 8"),
        ("place alice hold 1 BTC-USD --price 1", "invalid choice: 'hold'"),
        ("cancel", "required: ORDER"),
        ("cancel-all", "required: CLIENT"),
        ("cancel o-1 --key k", "a key belongs to a client"),
        ("replace o-1", "say what is to change: --price, --quantity, or both"),
        ("replace o-1 --price 2 --key k", "a key belongs to a client"),
        ("settle --date 2026-11-20 --json --csv -", "both write to standard output"),
        ("cancel-all alice --side up", "invalid choice: 'up'"),
        ("trades BTC-USD --limit 1001", "a whole number from 1 to 1,000; got '1001'"),
        ("book BTC-USD --levels -1", "a whole number from 1 to 1,000; got '-1'"),
        ("status --address exchange", "must be HOST:PORT such as 127.0.0.1:50051; got 'exchange'"),
        ("status --address 127.0.0.1:65536", "must be HOST:PORT"),
        ("status --address :50051", "must be HOST:PORT"),
        ("status --address 127.0.0.1:-1", "must be HOST:PORT"),
    ],
)
async def test_wrong_command_lines(fake: FakeExchange, type_in: Any, line: str, said: str) -> None:
    printed = await type_in(line)
    assert printed.code == 2
    assert said in printed.err
    assert fake.orders.requests == []


async def test_what_was_found_is_shown_before_why_there_is_no_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = UnavailableError("it was lost", code=grpc.StatusCode.UNAVAILABLE)

    async def values() -> AsyncGenerator[str, None]:
        yield "newest"
        raise lost

    async def ask(_: argparse.Namespace) -> Answer:
        found, ended = await actions._first(2, values())
        return Answer(found, [line(each) for each in found], ended)

    monkeypatch.setattr(actions, "_ask", ask)
    options = argparse.Namespace(command="orders", json=False)
    assert await asyncio.to_thread(actions.run, options) == actions.NO_ANSWER
    assert capsys.readouterr() == ("newest\n", "exchange orders: earlier ones: it was lost\n")
