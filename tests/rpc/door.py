"""gRPC as a door for the shared cases."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from exchange.v1.account_service_pb2 import ListPositionsRequest
from exchange.v1.admin_service_pb2 import SetInstrumentRequest
from exchange.v1.market_data_pb2 import GetOrderBookRequest, Instrument
from exchange.v1.order_service_pb2 import (
    CancelOrderRequest,
    CancelOrdersRequest,
    GetOrderRequest,
    PlaceOrderRequest,
    ReplaceOrderRequest,
)
from exchange.v1.types_pb2 import ORDER_STATUS_REJECTED, EndReason, Level, Order
from exchange.v1.types_pb2 import Trade as TradeMessage
from tests.cases.parser import (
    MODES,
    SIDES,
    TIMES,
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
from tests.rpc.served import E8, Failure, Served, info_of

LEVELS_MAX: Final = 1_000


class RpcDoor:
    """Calls, one at a time."""

    verbs = frozenset(
        {
            "place",
            "replace",
            "cancel",
            "cancel-all",
            "order",
            "position",
            "book",
            "stp",
            "reference",
        }
    )

    def __init__(self, served: Served) -> None:
        self._served = served

    async def list_instrument(self, terms: Terms) -> None:
        """List it."""
        given: dict[str, Any] = {
            f"{field}_e8": units(text)
            for field in ("tick", "lot", "price_min", "price_max", "quantity_min", "quantity_max")
            if (text := getattr(terms, field)) is not None
        }
        instrument = Instrument(
            name=terms.name,
            maker_fee_e6=int(Decimal(terms.maker_fee) * 10**6),
            taker_fee_e6=int(Decimal(terms.taker_fee) * 10**6),
            self_trade_prevention=MODES[terms.self_trade_prevention],  # type: ignore[arg-type]
            **given,
        )
        reply = await self._served.admin.SetInstrument(SetInstrumentRequest(instrument=instrument))
        assert reply.instrument.name == terms.name

    async def place(self, order: Place) -> Standing | Refused:
        """Place it."""
        request = PlaceOrderRequest(
            client_id=order.client,
            instrument=order.instrument,
            side=SIDES[order.side],  # type: ignore[arg-type]
            type=2 if order.price is None else 1,  # type: ignore[arg-type]
            quantity_e8=units(order.quantity),
            price_e8=0 if order.price is None else units(order.price),
            time_in_force=TIMES[order.time_in_force],  # type: ignore[arg-type]
            post_only=order.post_only,
            self_trade_prevention=MODES[order.self_trade_prevention],  # type: ignore[arg-type]
            order_id=order.order_id,
            idempotency_key=order.key,
            client_reference=order.reference,
        )
        try:
            reply = await self._served.orders.PlaceOrder(request)
        except Failure as failure:
            return refused(failure)
        assert reply.order.client_reference == order.reference
        return standing(reply.order, reply.trades)

    async def replace(self, change: Replace) -> Standing | Refused:
        """Replace it."""
        request = ReplaceOrderRequest(
            client_id=change.client, order_id=change.order_id, idempotency_key=change.key
        )
        if change.price is not None:
            request.price_e8 = units(change.price)
        if change.quantity is not None:
            request.quantity_e8 = units(change.quantity)
        try:
            reply = await self._served.orders.ReplaceOrder(request)
        except Failure as failure:
            return refused(failure)
        return standing(reply.order, reply.trades)

    async def cancel(self, cancel: Cancel) -> Standing | Refused:
        """Cancel it."""
        request = CancelOrderRequest(
            client_id=cancel.client, order_id=cancel.order_id, idempotency_key=cancel.key
        )
        try:
            return standing((await self._served.orders.CancelOrder(request)).order, ())
        except Failure as failure:
            return refused(failure)

    async def cancel_all(self, cancel: CancelAll) -> Cancelled | Refused:
        """Cancel them."""
        request = CancelOrdersRequest(
            client_id=cancel.client,
            instrument=cancel.instrument,
            side=SIDES[cancel.side],  # type: ignore[arg-type]
        )
        try:
            return Cancelled((await self._served.orders.CancelOrders(request)).cancelled_count)
        except Failure as failure:
            return refused(failure)

    async def order(self, order_id: str) -> Standing | None:
        """Read it."""
        try:
            reply = await self._served.orders.GetOrder(GetOrderRequest(order_id=order_id))
        except Failure as failure:
            if refused(failure).reason == "order_unknown":
                return None
            raise
        return standing(reply.order, ())

    async def book(self, instrument: str) -> Ladder:
        """Read all of it."""
        request = GetOrderBookRequest(instrument=instrument, levels=LEVELS_MAX)
        book = (await self._served.market.GetOrderBook(request)).book
        return Ladder(ladder(book.bids), ladder(book.asks))

    async def position(self, client: str, instrument: str) -> Numbers:
        """Read it."""
        request = ListPositionsRequest(client_id=client)
        for each in (await self._served.accounts.ListPositions(request)).positions:
            if each.instrument == instrument:
                return {
                    "net": decimal(each.net_quantity_e8),
                    "cost": Decimal(each.total_cost),
                    "realised": Decimal(each.realised_pnl),
                    "unrealised": Decimal(each.unrealised_pnl),
                    "fees": Decimal(each.fees),
                }
        return dict.fromkeys(("net", "cost", "realised", "unrealised", "fees"), Decimal(0))


def units(text: str) -> int:
    scaled = Decimal(text) * E8
    assert scaled == int(scaled), f"{text} has more than 8 decimals"
    return int(scaled)


def decimal(amount_e8: int) -> Decimal:
    return Decimal(amount_e8) / E8


def ladder(levels: Sequence[Level]) -> tuple[tuple[Decimal, Decimal], ...]:
    return tuple((decimal(each.price_e8), decimal(each.quantity_e8)) for each in levels)


def standing(order: Order, trades: Sequence[TradeMessage]) -> Standing:
    filled_e8, remaining_e8 = order.filled_quantity_e8, order.remaining_quantity_e8
    cancelled_e8 = order.cancelled_quantity_e8
    assert filled_e8 + remaining_e8 + cancelled_e8 == order.quantity_e8, f"I3 {order}"
    reason = EndReason.Name(order.end_reason).removeprefix("END_REASON_").lower()
    assert all(trade.taker_order_id == order.order_id for trade in trades)
    return Standing(
        decimal(filled_e8),
        decimal(remaining_e8),
        decimal(cancelled_e8),
        rejected=order.status == ORDER_STATUS_REJECTED,
        reason=reason if order.end_reason else "",
        trades=tuple(
            Trade(decimal(each.quantity_e8), decimal(each.price_e8), each.maker_order_id)
            for each in trades
        ),
    )


def refused(failure: Failure) -> Refused:
    info = info_of(failure)
    return Refused(info.reason.lower(), info.metadata["field"].removesuffix("_e8"))
