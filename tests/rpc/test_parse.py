"""Requests of both doors become the same commands, whose fields stand in one order."""

from typing import Any, Final

import pytest

from exchange.http.v1 import order_service_pb2 as http_pb2
from exchange.v1 import order_service_pb2 as grpc_pb2
from server.core.commands import CancelOrder, CancelOrders, PlaceOrder, ReplaceOrder
from server.rpc import parse
from server.rpc.http import parse as http_parse

NAMED: Final[dict[str, Any]] = {"client_id": "c", "order_id": "o", "idempotency_key": "k"}
ALL: Final[dict[str, Any]] = {"client_id": "c", "instrument": "A-B"}

PLACES: Final = [
    (
        {"side": 2, "type": 1, "quantity_e8": 150_000_000, "price_e8": 250_000_000},
        {"side": "sell", "type": "limit", "quantity": 1.5, "price": 2.5},
        PlaceOrder("c", "ETH-USD", 2, 1, 150_000_000, 250_000_000),
    ),
    (
        {
            "side": 1, "type": 1, "quantity_e8": 3, "price_e8": 4, "time_in_force": 1,
            "post_only": True, "self_trade_prevention": 5, "order_id": "o", "idempotency_key": "k",
        },
        {
            "side": "buy", "type": "limit", "quantity": 3e-8, "price": 4e-8, "time_in_force": "gtc",
            "post_only": True, "self_trade_prevention": "decrement", "order_id": "o",
            "idempotency_key": "k",
        },
        PlaceOrder("c", "ETH-USD", 1, 1, 3, 4, 1, True, 5, "o", "k"),
    ),
    (
        {"side": 1, "type": 2, "quantity_e8": 7, "time_in_force": 3},
        {"side": "buy", "type": "market", "quantity": 7e-8, "time_in_force": "fok"},
        PlaceOrder("c", "ETH-USD", 1, 2, 7, 0, 3),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("over_grpc", "over_http", "command"), PLACES)
def test_an_order_is_the_same_command_at_each_door(
    over_grpc: dict[str, Any], over_http: dict[str, Any], command: PlaceOrder
) -> None:
    whose: dict[str, Any] = {"client_id": "c", "instrument": "ETH-USD"}
    by_grpc = parse.place(grpc_pb2.PlaceOrderRequest(**whose, **over_grpc))
    by_http = http_parse.place(http_pb2.PlaceOrderRequest(**whose, **over_http))
    assert by_grpc._asdict() == by_http._asdict() == command._asdict()


@pytest.mark.parametrize(
    ("by_grpc", "by_http", "command"),
    [
        (
            parse.replace(grpc_pb2.ReplaceOrderRequest(**NAMED, price_e8=5)),
            http_parse.replace(http_pb2.ReplaceOrderRequest(**NAMED, price=5e-8)),
            ReplaceOrder("c", "o", 5, None, "k"),
        ),
        (
            parse.replace(grpc_pb2.ReplaceOrderRequest(**NAMED, quantity_e8=6)),
            http_parse.replace(http_pb2.ReplaceOrderRequest(**NAMED, quantity=6e-8)),
            ReplaceOrder("c", "o", None, 6, "k"),
        ),
        (
            parse.cancel(grpc_pb2.CancelOrderRequest(**NAMED)),
            http_parse.cancel(http_pb2.CancelOrderRequest(**NAMED)),
            CancelOrder("c", "o", "k"),
        ),
        (
            parse.cancel_all(grpc_pb2.CancelOrdersRequest(**ALL, side="SIDE_SELL")),
            http_parse.cancel_all(http_pb2.CancelOrdersRequest(**ALL, side="sell")),
            CancelOrders("c", "A-B", 2),
        ),
    ],
)
def test_a_change_is_the_same_command_at_each_door(
    by_grpc: Any, by_http: Any, command: Any
) -> None:
    assert by_grpc._asdict() == by_http._asdict() == command._asdict()
