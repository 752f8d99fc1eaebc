"""How tests talk to the gateway: a market of their own, the shape of errors, the shared cases."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import grpc
import httpx

from exchange.v1 import admin_service_pb2, market_data_pb2
from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
from tests.cases.parser import (
    MODES,
    Cancel,
    CancelAll,
    Cancelled,
    Ladder,
    Numbers,
    Place,
    Refused,
    Replace,
    Standing,
    Terms,
    Trade,
)

E8: Final = 10**8
MODE_WORDS: Final = {
    "": "",
    "none": "none",
    "newest": "cancel_newest",
    "oldest": "cancel_oldest",
    "both": "cancel_both",
    "decrement": "decrement",
}
LEVELS_MAX: Final = 100


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The body of an error, which has the one shape of all errors."""
    body: dict[str, Any] = response.json()
    assert response.headers["content-type"] == "application/json"
    assert body.keys() == {"error", "code", "message", "details"}, body
    assert body["error"] == body["message"]
    assert body["error"]
    return body


def refusal_of(response: httpx.Response) -> dict[str, str]:
    """What the server says of a refusal: reason, field, limit, value, retry_safe."""
    (detail,) = error_of(response)["details"]
    assert detail["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert detail["domain"] == "exchange"
    return {"reason": detail["reason"], **detail["metadata"]}


@dataclass
class Market:
    """An instrument of the test's own, and a beginning for its clients and ids."""

    http: httpx.Client
    instrument: str
    prefix: str

    def post(self, **fields: Any) -> httpx.Response:
        """`POST /orders` for the instrument."""
        order = {"client_id": f"{self.prefix}A", "instrument": self.instrument, **fields}
        return self.http.post("/orders", json=order)

    def placed(self, side: str, quantity: Any, price: Any = None, **fields: Any) -> dict[str, Any]:
        """The reply to an order that is accepted."""
        if price is not None:
            fields["price"] = price
        fields = {"type": "market" if price is None else "limit", **fields}
        response = self.post(side=side, quantity=quantity, **fields)
        assert response.status_code == 201, response.text
        reply: dict[str, Any] = response.json()
        return reply

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """A reply about the instrument."""
        response = self.http.get(path, params={"instrument": self.instrument, **query})
        assert response.status_code == 200, response.text
        reply: dict[str, Any] = response.json()
        return reply

    def get_order(self, order_id: str) -> dict[str, Any]:
        """An order that there is."""
        response = self.http.get(f"/orders/{order_id}")
        assert response.status_code == 200, response.text
        order: dict[str, Any] = response.json()["order"]
        return order


class HttpDoor:
    """The shared cases over HTTP; instruments are listed over gRPC on the same port."""

    verbs = frozenset(
        {"place", "replace", "cancel", "cancel-all", "order", "position", "book", "stp"}
    )

    def __init__(self, http: httpx.Client, channel: grpc.Channel) -> None:
        self._http = http
        self._admin = AdminServiceStub(channel)

    async def list_instrument(self, terms: Terms) -> None:
        """List it."""
        given = {
            f"{field}_e8": units(text)
            for field in ("tick", "lot", "price_min", "price_max", "quantity_min", "quantity_max")
            if (text := getattr(terms, field)) is not None
        }
        instrument = market_data_pb2.Instrument(
            name=terms.name,
            maker_fee_e6=int(Decimal(terms.maker_fee) * 10**6),
            taker_fee_e6=int(Decimal(terms.taker_fee) * 10**6),
            self_trade_prevention=MODES[terms.self_trade_prevention],  # type: ignore[arg-type]
            **given,
        )
        self._admin.SetInstrument(admin_service_pb2.SetInstrumentRequest(instrument=instrument))

    async def place(self, order: Place) -> Standing | Refused:
        """Place it. A price of 0 means none, as in the cases; given as 0 it is another refusal."""
        request: dict[str, Any] = {
            "client_id": order.client,
            "instrument": order.instrument,
            "side": order.side,
            "type": "market" if order.price is None else "limit",
            "quantity": float(order.quantity),
            "time_in_force": order.time_in_force,
            "post_only": order.post_only,
            "self_trade_prevention": MODE_WORDS[order.self_trade_prevention],
            "order_id": order.order_id,
            "idempotency_key": order.key,
        }
        if order.price is not None and Decimal(order.price):
            # As text: both forms are taken.
            request["price"] = order.price
        response = self._http.post("/orders", json=request)
        if response.status_code != 201:
            return refused(response)
        reply = response.json()
        resting = "sell_order_id" if order.side == "buy" else "buy_order_id"
        return standing(reply["order"], trades_of(reply, resting))

    async def replace(self, change: Replace) -> Standing | Refused:
        """Replace it."""
        body = {"client_id": change.client, "idempotency_key": change.key}
        body |= {
            name: text
            for name in ("price", "quantity")
            if (text := getattr(change, name)) is not None
        }
        response = self._http.post(f"/orders/{change.order_id}/replace", json=body)
        if response.status_code != 200:
            return refused(response)
        reply = response.json()
        resting = "sell_order_id" if reply["order"]["side"] == "buy" else "buy_order_id"
        return standing(reply["order"], trades_of(reply, resting))

    async def cancel(self, cancel: Cancel) -> Standing | Refused:
        """Cancel it."""
        body = {"client_id": cancel.client, "idempotency_key": cancel.key}
        response = self._http.post(f"/orders/{cancel.order_id}/cancel", json=body)
        if response.status_code != 200:
            return refused(response)
        return standing(response.json()["order"], ())

    async def cancel_all(self, cancel: CancelAll) -> Cancelled | Refused:
        """Cancel them."""
        body = {"client_id": cancel.client, "instrument": cancel.instrument, "side": cancel.side}
        response = self._http.post("/orders/cancel", json=body)
        if response.status_code != 200:
            return refused(response)
        return Cancelled(response.json()["cancelled_count"])

    async def order(self, order_id: str) -> Standing | None:
        """Read it."""
        response = self._http.get(f"/orders/{order_id}")
        if response.status_code == 404:
            return None
        return standing(response.json()["order"], ())

    async def book(self, instrument: str) -> Ladder:
        """Read all of it."""
        query = {"instrument": instrument, "levels": str(LEVELS_MAX)}
        reply = self._http.get("/market/orderbook", params=query).json()
        bids, asks = (
            tuple((decimal(level["price"]), decimal(level["quantity"])) for level in reply[side])
            for side in ("bids", "asks")
        )
        return Ladder(bids, asks)

    async def position(self, client: str, instrument: str) -> Numbers:
        """Read it."""
        words = {
            "net": "net_quantity",
            "cost": "total_cost",
            "realised": "realised_pnl",
            "unrealised": "unrealised_pnl",
            "fees": "fees",
        }
        for each in self._http.get(f"/market/positions/{client}").json()["positions"]:
            if each["instrument"] == instrument:
                return {word: decimal(each[field]) for word, field in words.items()}
        return dict.fromkeys(words, Decimal(0))


def decimal(number: float) -> Decimal:
    """What a JSON number says."""
    return Decimal(repr(number))


def units(text: str) -> int:
    return int(Decimal(text) * E8)


def trades_of(reply: dict[str, Any], resting: str) -> tuple[Trade, ...]:
    assert reply["trade_count"] == len(reply["trades"])
    return tuple(
        Trade(decimal(trade["quantity"]), decimal(trade["price"]), trade[resting])
        for trade in reply["trades"]
    )


def standing(order: dict[str, Any], trades: tuple[Trade, ...]) -> Standing:
    assert decimal(order["quantity"]) == sum(
        decimal(order[f"{part}_quantity"]) for part in ("filled", "remaining", "cancelled")
    ), "I3"
    return Standing(
        decimal(order["filled_quantity"]),
        decimal(order["remaining_quantity"]),
        decimal(order["cancelled_quantity"]),
        order["status"] == "rejected",
        order.get("end_reason", ""),
        trades,
    )


def refused(response: httpx.Response) -> Refused:
    refusal = refusal_of(response)
    return Refused(refusal["reason"].lower(), refusal["field"])
