"""The main job: the agreed order stream through a trading session, killed in the middle or not.

Operations have their client and a key, so that what a kill left open is sent again; the trades that
come of it must be, one by one, those that the engines of `tests/data/flow` agree about.
"""

import csv
import gzip
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import grpc

from exchange.v1.market_data_pb2 import GetOrderBookRequest
from exchange.v1.market_data_pb2_grpc import MarketDataStub
from exchange.v1.order_service_pb2 import (
    CancelOrderRequest,
    ListOrdersRequest,
    PlaceOrderRequest,
    SessionCommand,
    SessionOutcome,
    TradingSessionRequest,
)
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
from tests.running import Starter

FLOW: Final = Path(__file__).parent.parent / "data" / "flow"
INSTRUMENT: Final = "BTC-USD"
COUNT: Final = 100_000
IN_MESSAGE: Final = 500
CLIENTS: Final = 10
HASH_MODULUS: Final = 2**32
AGREED_HASH: Final = 3912354922
AGREED_TRADES: Final = 32_722
AGREED_OPEN: Final = 5_000
AGREED_BEST: Final = (49_984, 50_016)

Trade = tuple[int, int, int, int]
"""Maker, taker, price, quantity."""


class Answered(NamedTuple):
    """What a session gave before it ended."""

    trades: list[Trade]
    operations: int


def operations(first: int, count: int) -> Iterator[SessionCommand]:
    """The stream as commands; whole ticks and lots become units."""
    with gzip.open(FLOW / "orders.csv.gz", "rt", newline="") as file:
        rows = csv.DictReader(file)
        for number, row in enumerate(islice(rows, first, count), first):
            yield _command(number, row)


def _command(number: int, row: dict[str, str]) -> SessionCommand:
    name, operation = row["order_id"], row["operation"]
    client = f"c{int(name) % CLIENTS}"
    key = f"k{number}"
    if operation == "cancel":
        cancel = CancelOrderRequest(client_id=client, order_id=name, idempotency_key=key)
        return SessionCommand(request_id=number, cancel=cancel)
    place = PlaceOrderRequest(
        client_id=client,
        instrument=INSTRUMENT,
        side=1 if row["side"] == "buy" else 2,  # type: ignore[arg-type]
        type=2 if operation == "market" else 1,  # type: ignore[arg-type]
        price_e8=int(row["price"] or 0),
        quantity_e8=int(row["quantity"]),
        time_in_force=2 if operation == "ioc" else 0,  # type: ignore[arg-type]
        order_id=name,
        idempotency_key=key,
    )
    return SessionCommand(request_id=number, place=place)


def messages(first: int) -> Iterator[TradingSessionRequest]:
    rest = operations(first, COUNT)
    while commands := list(islice(rest, IN_MESSAGE)):
        yield TradingSessionRequest(commands=commands)


def agreed() -> list[Trade]:
    with gzip.open(FLOW / "trades_first_100000.csv.gz", "rt", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return [
            (int(maker), int(taker), int(price), int(lots)) for maker, taker, price, lots in rows
        ]


def trades_of(outcome: SessionOutcome) -> list[Trade]:
    assert not outcome.HasField("refused"), outcome
    assert outcome.placed.trade_count == len(outcome.placed.trades)
    return [
        (int(each.maker_order_id), int(each.taker_order_id), each.price_e8, each.quantity_e8)
        for each in outcome.placed.trades
    ]


def run_session(
    address: str, first: int, kill_at: int = COUNT, kill: Callable[[], None] | None = None
) -> Answered:
    """Send everything from an operation on, and collect the answers until the stream ends; `kill`
    is called once so many operations are answered."""
    trades: list[Trade] = []
    done = first
    with grpc.insecure_channel(address) as channel:
        call = OrderServiceStub(channel).TradingSession(messages(first))
        try:
            for message in call:
                for outcome in message.outcomes:
                    assert outcome.request_id == done
                    trades += trades_of(outcome)
                    done += 1
                if kill is not None and done >= kill_at:
                    kill()
        except grpc.RpcError:
            if kill is None:
                raise
    return Answered(trades, done)


def assert_agreed(address: str, trades: list[Trade]) -> None:
    """Trade by trade, and what is left in the book."""
    expected = agreed()
    assert len(trades) == len(expected) == AGREED_TRADES
    for index, (seen, agreed_on) in enumerate(zip(trades, expected, strict=True)):
        assert seen == agreed_on, f"trade {index}"
    digest = 0
    for trade in trades:
        for value in trade:
            digest = (digest * 31 + value) % HASH_MODULUS
    assert digest == AGREED_HASH
    with grpc.insecure_channel(address) as channel:
        request = GetOrderBookRequest(instrument=INSTRUMENT, levels=1)
        book = MarketDataStub(channel).GetOrderBook(request).book
        assert (book.bids[0].price_e8, book.asks[0].price_e8) == AGREED_BEST
        assert _open_orders(channel) == AGREED_OPEN


def _open_orders(channel: grpc.Channel) -> int:
    stub = OrderServiceStub(channel)
    count = 0
    for status in (1, 2):
        request = ListOrdersRequest(status=status, page_size=1_000)  # type: ignore[arg-type]
        while True:
            page = stub.ListOrders(request)
            count += len(page.orders)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
    return count


def test_the_stream_through_a_session(starter: Starter) -> None:
    _, address = starter.server()
    answered = run_session(address, 0)
    assert answered.operations == COUNT
    assert_agreed(address, answered.trades)


def test_the_stream_through_sessions_of_a_server_that_is_killed(starter: Starter) -> None:
    running, address = starter.server()
    first = run_session(address, 0, kill_at=40_000, kill=running.kill)
    assert 40_000 <= first.operations < COUNT
    running, address = starter.server()
    # What was not answered is sent again: what the journal has of it is answered as at first.
    rest = run_session(address, first.operations)
    assert rest.operations == COUNT
    assert_agreed(address, first.trades + rest.trades)
    assert running.line("recovered")
