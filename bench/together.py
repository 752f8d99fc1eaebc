"""Many in one call, beside one at a time in the same run: batches of orders, and books."""

from pathlib import Path
from typing import Final

from bench import orders
from bench.comparison import Comparison
from bench.figures import Turn, write_messages
from bench.processes import drive
from bench.workloads import (
    ENDLESS,
    IN_FLIGHT,
    MIXED_ORDERS,
    PLACE,
    Lane,
    Plan,
    bench,
    exchange,
    gateway,
    post,
    take_turns,
)
from exchange.v1.market_data_pb2 import GetOrderBookRequest, GetOrderBooksRequest

BATCH: Final = 10
BOOKS: Final = 100
LEVELS: Final = 20
DEPTH_ORDERS: Final = 2_000
"""Placed before books are read: on both sides far more than the levels that are asked for."""
SERVICE: Final = "/exchange.v1.MarketData/"


def batch(plan: Plan) -> Comparison:
    """`POST /orders/batch` beside `POST /orders`."""
    with bench(plan) as directory, exchange(directory) as (server, port):
        mixed = orders.mixed_orders(plan.seed, MIXED_ORDERS)
        single, batches = directory / "single", directory / "batches"
        write_messages(single, [orders.http_request(order) for order in mixed])
        starts = range(0, MIXED_ORDERS, BATCH)
        write_messages(batches, [orders.batch_request(mixed[i : i + BATCH]) for i in starts])
        with gateway(port, directory) as (envoy, http_port):
            parts = {"server": server, "Envoy": envoy}
            ours = Lane(lambda s: post(http_port, batches, s, BATCH), parts)
            theirs = Lane(lambda s: post(http_port, single, s), parts)
            ours.drive(plan.warm_seconds)
            take_turns(plan, ours, theirs)
    return Comparison(
        workload=f"http batch {BATCH}",
        what=f"POST /orders/batch of {BATCH} through Envoy, {IN_FLIGHT} connections; {orders.MIX}",
        baseline_what="POST /orders with the same orders one by one, on the same exchange",
        exchange=ours.side,
        baseline=theirs.side,
        ratio_goal=5.0,
    )


def books(plan: Plan) -> Comparison:
    """`GetOrderBooks` beside `GetOrderBook`."""
    book = GetOrderBookRequest(instrument=orders.INSTRUMENT, levels=LEVELS)
    with bench(plan) as directory, exchange(directory) as (server, port):
        placed, single, many = directory / "placed", directory / "single", directory / "many"
        mixed = orders.mixed_orders(plan.seed, DEPTH_ORDERS)
        write_messages(placed, [orders.grpc_message(order) for order in mixed])
        write_messages(single, [book.SerializeToString()])
        write_messages(many, [GetOrderBooksRequest(requests=[book] * BOOKS).SerializeToString()])
        _call(port, "", placed, 60, count=DEPTH_ORDERS)
        ours = Lane(lambda s: _call(port, "GetOrderBooks", many, s, BOOKS), {"server": server})
        theirs = Lane(lambda s: _call(port, "GetOrderBook", single, s), {"server": server})
        ours.drive(plan.warm_seconds)
        take_turns(plan, ours, theirs)
    return Comparison(
        workload=f"books {BOOKS}",
        what=f"GetOrderBooks, {BOOKS} books of {LEVELS} levels a call, counted as orders; "
        f"{IN_FLIGHT} calls in flight",
        baseline_what="GetOrderBook, one such book a call",
        exchange=ours.side,
        baseline=theirs.side,
        rate_goal=15_000,
    )


def _call(
    port: int, method: str, requests: Path, seconds: float, size: int = 1, count: int = ENDLESS
) -> Turn:
    return drive(
        "unary",
        port=port,
        requests=requests,
        path=SERVICE + method if method else PLACE,
        count=count,
        seconds=seconds,
        in_flight=IN_FLIGHT,
        size=size,
    )
