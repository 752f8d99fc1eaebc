"""The engine as a door for the shared cases, with a journal of what it accepted."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from server.core.commands import (
    CancelOrder,
    CancelOrders,
    Command,
    PlaceOrder,
    ReplaceOrder,
    SetInstrument,
)
from server.core.engine import Engine
from server.core.events import Event, OrderAccepted, OrderEvent, OrderReplaced, Traded
from server.core.instruments import Instrument
from server.core.rejects import Reject
from server.core.types import BUY, E8, SELL, EndReason, OrderStatus, Repeat, Stamp
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

UNIT: Final = Decimal(E8)
FIRST_NS: Final = 1_700_000_000_000_000_000
STEP_NS: Final = 1_000_000


def units(text: str) -> int:
    """A decimal in 10^-8, exactly."""
    scaled = Decimal(text) * UNIT
    assert scaled == int(scaled), f"{text} has more than 8 decimals"
    return int(scaled)


class EngineDoor:
    """Calls `apply` and reads the state directly."""

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

    def __init__(self) -> None:
        self.engine = Engine()
        self.journal: list[tuple[Command, Stamp, list[Event]]] = []

    def apply(self, command: Command) -> list[Event] | Refused:
        """The events, those of the first outcome for a repeat, or the refusal."""
        stamp = Stamp(self.engine.sequence + 1, FIRST_NS + self.engine.sequence * STEP_NS)
        outcome = self.engine.apply(command, stamp)
        match outcome:
            case Reject():
                field = outcome.field.removesuffix("_e8")
                return Refused(outcome.reason.name.lower(), field)
            case Repeat():
                return self.journal[outcome.sequence - 1][2]
        self.journal.append((command, stamp, outcome))
        return outcome

    async def list_instrument(self, terms: Terms) -> None:
        """List it."""
        definition = Instrument(
            terms.name,
            maker_fee_e6=int(Decimal(terms.maker_fee) * 10**6),
            taker_fee_e6=int(Decimal(terms.taker_fee) * 10**6),
            self_trade_prevention=MODES[terms.self_trade_prevention],
        )
        given: dict[str, Any] = {
            f"{field}_e8": units(text)
            for field in ("tick", "lot", "price_min", "price_max", "quantity_min", "quantity_max")
            if (text := getattr(terms, field)) is not None
        }
        definition = definition._replace(**given)
        assert not isinstance(self.apply(SetInstrument(definition)), Refused)

    async def place(self, order: Place) -> Standing | Refused:
        """Place it."""
        command = PlaceOrder(
            order.client,
            order.instrument,
            SIDES[order.side],
            2 if order.price is None else 1,
            units(order.quantity),
            0 if order.price is None else units(order.price),
            TIMES[order.time_in_force],
            order.post_only,
            MODES[order.self_trade_prevention],
            order.order_id,
            order.key,
            order.reference,
        )
        return self._outcome(command)

    async def replace(self, change: Replace) -> Standing | Refused:
        """Replace it."""
        return self._outcome(
            ReplaceOrder(
                change.client,
                change.order_id,
                None if change.price is None else units(change.price),
                None if change.quantity is None else units(change.quantity),
                change.key,
            )
        )

    async def cancel(self, cancel: Cancel) -> Standing | Refused:
        """Cancel it."""
        return self._outcome(CancelOrder(cancel.client, cancel.order_id, cancel.key))

    async def cancel_all(self, cancel: CancelAll) -> Cancelled | Refused:
        """Cancel them."""
        events = self.apply(CancelOrders(cancel.client, cancel.instrument, SIDES[cancel.side]))
        return events if isinstance(events, Refused) else Cancelled(len(events))

    async def order(self, order_id: str) -> Standing | None:
        """Read it."""
        order = self.engine.order(order_id)
        return None if order is None else _standing(self.engine.order_event(order), ())

    async def book(self, instrument: str) -> Ladder:
        """Read all of it."""
        book = self.engine.book(instrument)
        bids, asks = (
            tuple(
                (Decimal(price) / UNIT, Decimal(quantity) / UNIT)
                for price, quantity in book.depth(side, book.level_count(side))
            )
            for side in (BUY, SELL)
        )
        return Ladder(bids, asks)

    async def position(self, client: str, instrument: str) -> Numbers:
        """Read it."""
        for each in self.engine.positions(client):
            if each.instrument == instrument:
                return {
                    "net": each.net_e8 / UNIT,
                    "cost": Decimal(each.cost_e16) / UNIT / UNIT,
                    "realised": Decimal(each.realised_e16) / UNIT / UNIT,
                    "unrealised": Decimal(each.unrealised_e16) / UNIT / UNIT,
                    "fees": each.fees_e8 / UNIT,
                }
        return dict.fromkeys(("net", "cost", "realised", "unrealised", "fees"), Decimal(0))

    def _outcome(self, command: Command) -> Standing | Refused:
        events = self.apply(command)
        if isinstance(events, Refused):
            return events
        first = events[0]
        assert isinstance(first, OrderEvent)
        trades = tuple(_trade(first, event) for event in events if isinstance(event, Traded))
        last: OrderEvent = first
        for event in events:
            if isinstance(event, OrderEvent) and event.placed_sequence == first.placed_sequence:
                last = event
            elif isinstance(event, Traded):
                last = _after(last, event)
        if not isinstance(first, OrderAccepted | OrderReplaced):
            assert not trades, "only an order that comes in trades"
        return _standing(last, trades)


def _after(last: OrderEvent, trade: Traded) -> OrderEvent:
    return last._replace(
        filled_e8=trade.taker_filled_e8,
        remaining_e8=trade.taker_remaining_e8,
        status=OrderStatus.PARTIALLY_FILLED if trade.taker_remaining_e8 else OrderStatus.FILLED,
    )


def _trade(order: OrderEvent, trade: Traded) -> Trade:
    assert trade.taker_order_id == order.order_id
    return Trade(trade.quantity_e8 / UNIT, trade.price_e8 / UNIT, trade.maker_order_id)


def _standing(event: OrderEvent, trades: tuple[Trade, ...]) -> Standing:
    assert event.filled_e8 + event.remaining_e8 + event.cancelled_e8 == event.quantity_e8, event
    return Standing(
        filled=event.filled_e8 / UNIT,
        remaining=event.remaining_e8 / UNIT,
        cancelled=event.cancelled_e8 / UNIT,
        rejected=event.status == OrderStatus.REJECTED,
        reason=EndReason(event.reason).name.lower() if event.reason else "",
        trades=trades,
    )
