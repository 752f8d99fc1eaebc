"""The exchange as a pure state machine: `apply(command, stamp)` is all that ever changes it.

A command is judged completely before anything changes. It is answered with

- a list of events: accepted; `sequence` is now the stamp's, and the list may be empty;
- a `Reject`: refused, no trace left, the stamp is free for the next command;
- a `Repeat`: seen before under the same key; no trace either, and the first outcome stands.

Nothing here reads a clock, draws a number, or walks a set: the same commands under the same stamps
give the same events and the same `state.state_hash` on any machine.

Order of the checks: `RejectReason`. One exception keeps retries safe: a repeat is recognised right
after the shape of the request, so that nothing that changed since can turn it into a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from server.core import checks
from server.core.commands import (
    CancelOrder,
    CancelOrders,
    Command,
    EndSession,
    OpenSession,
    PlaceOrder,
    ReplaceOrder,
    SetInstrument,
    SetLimits,
)
from server.core.events import (
    Event,
    InstrumentSet,
    LimitsSet,
    OrderAccepted,
    OrderReplaced,
    SessionEnded,
    SessionOpened,
)
from server.core.exchange import ExchangeState, Session
from server.core.market import Market
from server.core.matching import crosses, end_incoming, end_resting, fillable, match
from server.core.orders import GENERATED_PREFIX, Order, event_of
from server.core.rejects import Reject, RejectReason
from server.core.requests import digest_of
from server.core.types import (
    BUY,
    FILLED,
    FOK,
    GTC,
    IOC,
    LIMIT,
    EndReason,
    Repeat,
    Stamp,
)

RULES_VERSION: Final = 1
"""Version of everything that decides what a command does; a journal names its own."""

Outcome = list[Event] | Reject | Repeat


class Engine(ExchangeState):
    """The state, and the rules that change it."""

    def __init__(self) -> None:
        super().__init__()
        self._handlers: dict[type[Command], Callable[..., Outcome]] = {
            PlaceOrder: self._place,
            ReplaceOrder: self._replace,
            CancelOrder: self._cancel,
            CancelOrders: self._cancel_all,
            OpenSession: self._open_session,
            EndSession: self._end_session,
            SetInstrument: self._set_instrument,
            SetLimits: self._set_limits,
        }

    def apply(self, command: Command, stamp: Stamp) -> Outcome:
        """Judge a command and, if it is accepted, do it."""
        sequence, time_ns = stamp
        assert sequence == self.sequence + 1, f"{sequence} does not follow {self.sequence}"
        assert time_ns >= self.time_ns, f"time {time_ns} is before {self.time_ns}"
        outcome = self._handlers[type(command)](command, sequence, time_ns)
        if type(outcome) is list:
            self.sequence = sequence
            self.time_ns = time_ns
        return outcome

    def _place(self, command: PlaceOrder, sequence: int, time_ns: int) -> Outcome:
        reject = checks.place_shape(command)
        if reject is not None:
            return reject
        (
            client_id, instrument, side, order_type, quantity_e8, price_e8, time_in_force,
            post_only, prevention, order_id, idempotency_key, client_reference, session_id,
        ) = command  # fmt: skip
        digest, first = 0, None
        if idempotency_key:
            digest = digest_of(command)
            first = self.keys.find(client_id, idempotency_key)
            if first is not None and first[1] == digest:
                return Repeat(first[0])
        market = self.markets.get(instrument)
        if market is None:
            return Reject(RejectReason.INSTRUMENT_UNKNOWN, "instrument", instrument)
        # Unary plus makes plain integers of enum members, which print and hash otherwise.
        side = +side
        order_type = +order_type
        time_in_force = +time_in_force or (GTC if order_type == LIMIT else IOC)
        definition = market.definition
        directory = self.directory
        client = directory.clients.get(client_id)
        account = client.accounts.get(instrument) if client is not None else None
        reject = (
            (
                checks.price_reject(definition, price_e8)
                if price_e8 and order_type == LIMIT
                else None
            )
            or checks.quantity_reject(definition, quantity_e8)
            or checks.bounds_reject(
                market.book,
                account,
                side,
                price_e8 if time_in_force == GTC else 0,
                quantity_e8,
                quantity_e8,
                quantity_e8,
            )
            or checks.combination_reject(order_type, price_e8, time_in_force, post_only)
        )
        if reject is not None:
            return reject
        if first is not None:
            return checks.key_conflict(idempotency_key, first[0])
        if not order_id:
            order_id = f"{GENERATED_PREFIX}{sequence}"
        elif directory.find(order_id) is not None:
            return Reject(RejectReason.ORDER_ID_DUPLICATE, "order_id", order_id)
        if session_id and session_id not in self.sessions:
            return Reject(RejectReason.SESSION_UNKNOWN, "session_id", session_id)

        if account is None:
            account = directory.client(client_id).account(market)
        order = Order(
            order_id,
            client_id,
            client_reference,
            instrument,
            side,
            order_type,
            time_in_force,
            bool(post_only),
            +prevention or definition.self_trade_prevention,
            price_e8,
            quantity_e8,
            sequence,
            time_ns,
            session_id,
            account,
        )
        directory.add(order)
        if idempotency_key:
            self.keys.add(client_id, idempotency_key, digest, sequence, time_ns)
        events: list[Event] = [event_of(OrderAccepted, order)]
        if post_only and crosses(market, side, price_e8):
            events.append(end_incoming(order, EndReason.POST_ONLY_WOULD_CROSS))
        elif time_in_force == FOK and not fillable(market, order):
            events.append(end_incoming(order, EndReason.FILL_OR_KILL))
        else:
            return self._enter(market, order, events, sequence, time_ns)
        directory.close(order, sequence, time_ns)
        return events

    def _enter(
        self, market: Market, order: Order, events: list[Event], sequence: int, time_ns: int
    ) -> list[Event]:
        """Match an order that comes in, and let what is left rest or end."""
        ended: list[Order] = []
        match(market, order, sequence, time_ns, events, ended)
        for maker in ended:
            self._close(maker, sequence, time_ns)
        if order.status >= FILLED:
            self._close(order, sequence, time_ns)
        elif order.time_in_force == GTC:
            market.book.add(order)
            account = order.account
            account.open_e8[order.side] += order.remaining_e8
            account.client.open[order.placed_sequence] = order
            order.queued_sequence = sequence
            if order.session_id:
                self.sessions[order.session_id].open[order.placed_sequence] = order
        else:
            market_order = order.order_type != LIMIT
            reason = EndReason.NO_LIQUIDITY if market_order else EndReason.IMMEDIATE_OR_CANCEL
            events.append(end_incoming(order, reason))
            self._close(order, sequence, time_ns)
        self.touched[market.name] = market.book
        return events

    def _close(self, order: Order, sequence: int, time_ns: int) -> None:
        """An order that may have rested has ended."""
        order.account.client.open.pop(order.placed_sequence, None)
        if order.session_id:
            session = self.sessions.get(order.session_id)
            if session is not None:
                session.open.pop(order.placed_sequence, None)
        self.directory.close(order, sequence, time_ns)

    def _cancel_resting(
        self, orders: list[Order], reason: EndReason, sequence: int, time_ns: int
    ) -> list[Event]:
        events: list[Event] = []
        for order in orders:
            market = order.account.market
            events.append(end_resting(market, order, reason))
            self._close(order, sequence, time_ns)
            self.touched[market.name] = market.book
        return events

    def _visible(self, client_id: str, order_id: str) -> Order | None:
        """The order, unless it is another client's: that is not told from an unknown one."""
        order = self.directory.find(order_id)
        if order is None or (client_id and order.client_id != client_id):
            return None
        return order

    def _cancel(self, command: CancelOrder, sequence: int, time_ns: int) -> Outcome:
        reject = checks.change_shape(command)
        if reject is not None:
            return reject
        client_id, order_id, idempotency_key = command
        digest = 0
        if idempotency_key:
            digest = digest_of(command)
            first = self.keys.find(client_id, idempotency_key)
            if first is not None:
                if first[1] == digest:
                    return Repeat(first[0])
                return checks.key_conflict(idempotency_key, first[0])
        order = self._visible(client_id, order_id)
        if order is None or order.closed_sequence:
            return checks.not_open(order_id, order)
        if idempotency_key:
            self.keys.add(client_id, idempotency_key, digest, sequence, time_ns)
        return self._cancel_resting([order], EndReason.CANCEL_REQUESTED, sequence, time_ns)

    def _replace(self, command: ReplaceOrder, sequence: int, time_ns: int) -> Outcome:
        reject = checks.change_shape(command)
        if reject is not None:
            return reject
        client_id, order_id, price_e8, quantity_e8, idempotency_key = command
        digest, first = 0, None
        if idempotency_key:
            digest = digest_of(command)
            first = self.keys.find(client_id, idempotency_key)
            if first is not None and first[1] == digest:
                return Repeat(first[0])
        order = self._visible(client_id, order_id)
        reject = checks.change_numbers(order, price_e8, quantity_e8)
        if reject is not None:
            return reject
        if first is not None:
            return checks.key_conflict(idempotency_key, first[0])
        if order is None or order.closed_sequence:
            return checks.not_open(order_id, order)
        if price_e8 is None:
            price_e8 = order.price_e8
        if quantity_e8 is None:
            quantity_e8 = order.quantity_e8
        market = order.account.market
        gone_e8 = order.filled_e8 + order.cancelled_e8
        moves = price_e8 != order.price_e8 or quantity_e8 > order.quantity_e8
        if (
            order.post_only
            and quantity_e8 > gone_e8
            and moves
            and crosses(market, order.side, price_e8)
        ):
            opposite = market.book.best_ask if order.side == BUY else market.book.best_bid
            return Reject(RejectReason.POST_ONLY_WOULD_CROSS, "price_e8", price_e8, opposite)

        if idempotency_key:
            self.keys.add(client_id, idempotency_key, digest, sequence, time_ns)
        if quantity_e8 <= gone_e8:
            reason = EndReason.REPLACED_BELOW_FILLED
            return self._cancel_resting([order], reason, sequence, time_ns)
        order.updated_ns = time_ns
        self.touched[market.name] = market.book
        if not moves:
            if quantity_e8 < order.quantity_e8:
                order.account.open_e8[order.side] -= order.quantity_e8 - quantity_e8
                market.book.reduce(order, order.quantity_e8 - quantity_e8)
                order.quantity_e8 = quantity_e8
            return [event_of(OrderReplaced, order)]
        order.account.open_e8[order.side] -= order.remaining_e8
        market.book.remove(order)
        order.price_e8 = price_e8
        order.quantity_e8 = quantity_e8
        order.remaining_e8 = quantity_e8 - gone_e8
        return self._enter(market, order, [event_of(OrderReplaced, order)], sequence, time_ns)

    def _cancel_all(self, command: CancelOrders, sequence: int, time_ns: int) -> Outcome:
        reject = checks.cancels_shape(command)
        if reject is not None:
            return reject
        client_id, instrument, side = command
        if instrument and instrument not in self.markets:
            return Reject(RejectReason.INSTRUMENT_UNKNOWN, "instrument", instrument)
        client = self.directory.clients.get(client_id)
        orders = [
            order
            for order in (client.open.values() if client is not None else ())
            if (not instrument or order.instrument == instrument)
            and (not side or order.side == side)
        ]
        return self._cancel_resting(orders, EndReason.CANCEL_REQUESTED, sequence, time_ns)

    def _open_session(self, command: OpenSession, sequence: int, _time_ns: int) -> Outcome:
        reject = checks.client_shape(command.client_id)
        if reject is not None:
            return reject
        self.sessions[sequence] = Session(command.client_id)
        return [SessionOpened(sequence, command.client_id)]

    def _end_session(self, command: EndSession, sequence: int, time_ns: int) -> Outcome:
        session = self.sessions.get(command.session_id)
        if session is None:
            return Reject(RejectReason.SESSION_UNKNOWN, "session_id", command.session_id)
        orders = list(session.open.values())
        events = self._cancel_resting(orders, EndReason.SESSION_ENDED, sequence, time_ns)
        del self.sessions[command.session_id]
        events.append(SessionEnded(command.session_id, session.client_id))
        return events

    def _set_instrument(self, command: SetInstrument, _sequence: int, _time_ns: int) -> Outcome:
        for setting in command:
            reject = checks.instrument_setting(setting) if setting is not None else None
            if reject is not None:
                return reject
        definition = checks.plain(command.definition)
        configured = checks.plain(command.configured) if command.configured is not None else None
        market = self.markets.get(definition.name)
        if market is None:
            if len(self.markets) >= self.limits.instruments_max:
                return Reject(
                    RejectReason.INSTRUMENTS_BOUND_EXCEEDED,
                    "name",
                    definition.name,
                    self.limits.instruments_max,
                )
            self.list_market(definition)
        else:
            reject = checks.redefinition(market, definition)
            if reject is not None:
                return reject
            market.define(definition)
        if configured is not None:
            self.configured_instruments[configured.name] = configured
        return [InstrumentSet(definition)]

    def _set_limits(self, command: SetLimits, _sequence: int, _time_ns: int) -> Outcome:
        limits, configured = command
        for setting in (limits, configured):
            reject = checks.limits_setting(setting) if setting is not None else None
            if reject is not None:
                return reject
        self.take_limits(limits)
        if configured is not None:
            self.configured_limits = configured
        return [LimitsSet(limits)]
