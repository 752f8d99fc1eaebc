"""The exchange as a pure state machine: `apply(command, stamp)` is all that ever changes it.

A command is judged completely before anything changes. It is answered with

- a list of events: accepted; `sequence` is now the stamp's, and the list may be empty;
- a `Reject`: refused, no trace left, the stamp is free for the next command;
- a `Repeat`: seen before under the same key; no trace either, and the first outcome stands.

Nothing here reads a clock, draws a number, or walks a set: the same commands under the same stamps
give the same events and the same `dump.state_hash` on any machine.

Order of the checks: `RejectReason`. One exception keeps retries safe: a repeat is recognised right
after the shape of the request, so that nothing that changed since can turn it into a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from server.core import checks, judge
from server.core.book import KEY_MIN
from server.core.checks import is_id, is_own_id
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
from server.core.market import Market
from server.core.matching import crosses, end_incoming, end_resting, fillable, match
from server.core.orders import GENERATED_PREFIX, LIMIT_TIMES, MARKET_TIMES, Order, event_of
from server.core.rejects import Reject, RejectReason
from server.core.requests import digest_of
from server.core.state import ExchangeState, Session
from server.core.types import (
    BUY,
    FOK,
    GTC,
    INT64_MAX,
    LIMIT,
    MARKET,
    OPEN,
    SELL,
    EndReason,
    Repeat,
)

RULES_VERSION: Final = 2
"""Version of everything that decides what a command does; a journal names its own."""

Outcome = list[Event] | Reject | Repeat

_CANCEL_REQUESTED: Final = int(EndReason.CANCEL_REQUESTED)
_BELOW_FILLED: Final = int(EndReason.REPLACED_BELOW_FILLED)
_SESSION_ENDED: Final = int(EndReason.SESSION_ENDED)
_IMMEDIATE_OR_CANCEL: Final = int(EndReason.IMMEDIATE_OR_CANCEL)
_NO_LIQUIDITY: Final = int(EndReason.NO_LIQUIDITY)
_FILL_OR_KILL: Final = int(EndReason.FILL_OR_KILL)
_WOULD_CROSS: Final = int(EndReason.POST_ONLY_WOULD_CROSS)
_new: Final = tuple.__new__


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

    def apply(self, command: Command, stamp: tuple[int, int]) -> Outcome:
        """Judge a command and, if it is accepted, do it. The stamp is a `Stamp`, or the same two
        numbers as a plain pair, which is made and taken apart in half the time."""
        sequence, time_ns = stamp
        assert sequence == self.sequence + 1, f"{sequence} does not follow {self.sequence}"
        assert time_ns >= self.time_ns, f"time {time_ns} is before {self.time_ns}"
        outcome = self._handlers[type(command)](command, sequence, time_ns)
        if type(outcome) is list:
            self.sequence = sequence
            self.time_ns = time_ns
            keys = self.keys.generations
            if time_ns >= keys.seal_ns and (keys.count or keys.sealed):
                keys.seal(sequence, time_ns)
        return outcome

    def _place(self, command: PlaceOrder, sequence: int, time_ns: int) -> Outcome:
        (
            client_id, instrument, side, order_type, quantity_e8, price_e8, time_in_force,
            post_only, prevention, order_id, idempotency_key, client_reference, session_id,
        ) = command  # fmt: skip
        directory = self.directory
        account = directory.accounts.get((client_id, instrument))
        # What passes here passes each check of `judge.place`, at a fraction of the cost.
        if (
            account is None
            or (side != BUY and side != SELL)
            or (
                applied := (LIMIT_TIMES if order_type == LIMIT else MARKET_TIMES).get(time_in_force)
            )
            is None
            or (market := account.market).quantity_min_e8 > quantity_e8
            or quantity_e8 > market.quantity_max_e8
            or quantity_e8 % market.lot_e8
            or (
                market.price_min_e8 > price_e8
                or price_e8 > market.price_max_e8
                or price_e8 % market.tick_e8
                if order_type == LIMIT
                else price_e8 or order_type != MARKET
            )
            or market.placed_e8 + quantity_e8 > INT64_MAX
            or (order_id and (order_id in directory.orders or not is_own_id(order_id)))
            or (client_reference and not is_id(client_reference))
            or post_only
            or prevention
            or idempotency_key
            or session_id
        ):
            digest = digest_of(command) if idempotency_key else 0
            answer = judge.place(self, command, digest)
            if answer is not None:
                return answer
            market = self.markets[instrument]
            account = directory.account(directory.client(client_id), market)
            applied = (LIMIT_TIMES if order_type == LIMIT else MARKET_TIMES)[time_in_force]
            directory.make_way(order_id)
            if idempotency_key:
                self.keys.add(client_id, idempotency_key, digest, sequence, time_ns)

        # The names and the price already known are kept, not the copies that came with the command;
        # unary plus makes plain integers of members of enums, which print and hash otherwise.
        level = (market.book.bids if side == BUY else market.book.asks).levels.get(price_e8)
        if level is not None:
            price_e8 = level.price_e8
        accepted = _new(OrderAccepted, (
            order_id or f"{GENERATED_PREFIX}{sequence}", account.client_id, client_reference,
            market.name, +side, +order_type, applied, bool(post_only),
            +prevention or market.self_trade_prevention,
            price_e8, quantity_e8, 0, quantity_e8, 0, OPEN,
            sequence, time_ns, session_id, 0, 0,
        ))  # fmt: skip
        order = Order(accepted, account, price_e8, quantity_e8, time_ns)
        directory.orders[accepted.order_id] = order
        account.placed.append(order)
        market.placed_e8 += quantity_e8
        events: list[Event] = [accepted]
        if not market.book.touched:
            self.touched[market.name] = market.book
        reason = self._ends_at_once(market, order) if post_only or applied == FOK else 0
        if reason:
            events.append(end_incoming(order, reason))
            directory.close(order, sequence, time_ns)
        else:
            self._enter(market, order, events, sequence, time_ns)
        return events

    def _ends_at_once(self, market: Market, order: Order) -> int:
        """Why a post-only or fill-or-kill order ends before it changed anything; 0: it doesn't."""
        if order.accepted.post_only:
            return _WOULD_CROSS if crosses(market, order.side, order.price_e8) else 0
        return 0 if fillable(market, order) else _FILL_OR_KILL

    def _enter(
        self, market: Market, order: Order, events: list[Event], sequence: int, time_ns: int
    ) -> None:
        """Match an order that comes in, and let what is left rest or end."""
        book, price_e8, accepted = market.book, order.price_e8, order.accepted
        side = accepted.side
        if side == BUY:
            own, opposite, lowest_key = book.bids, book.asks, -price_e8
        else:
            own, opposite, lowest_key = book.asks, book.bids, price_e8
        if not price_e8:
            lowest_key = KEY_MIN
        keys = opposite.keys
        if keys and keys[-1] >= lowest_key:
            for maker in match(market, order, opposite, lowest_key, sequence, time_ns, events):
                self._close(maker, sequence, time_ns)
        remaining_e8 = order.remaining_e8
        if remaining_e8:
            if accepted.time_in_force == GTC:
                book.add(own, order)
                account = order.account
                account.open_e8[side] += remaining_e8
                account.open[order] = None
                if self.sessions and accepted.session_id:
                    self.sessions[accepted.session_id].open[order] = None
                return
            reason = _IMMEDIATE_OR_CANCEL if price_e8 else _NO_LIQUIDITY
            events.append(end_incoming(order, reason))
        self._close(order, sequence, time_ns)

    def _close(self, order: Order, sequence: int, time_ns: int) -> None:
        """An order has ended, and may have rested."""
        self.directory.close(order, sequence, time_ns)
        if self.sessions:
            session = self.sessions.get(order.session_id)
            if session is not None:
                session.open.pop(order, None)

    def _cancel(self, command: CancelOrder, sequence: int, time_ns: int) -> Outcome:
        client_id, order_id, idempotency_key = command
        order = self.directory.orders.get(order_id)
        if (
            order is None
            or order.level is None
            or idempotency_key
            or (client_id and client_id != order.accepted.client_id)
        ):
            digest = digest_of(command) if idempotency_key else 0
            answer = judge.cancel(self, command, digest)
            if answer is not None:
                return answer
            order = self.directory.orders[order_id]
            self.keys.add(client_id, idempotency_key, digest, sequence, time_ns)
        market = order.account.market
        if not market.book.touched:
            self.touched[market.name] = market.book
        event = end_resting(market, order, _CANCEL_REQUESTED)
        self._close(order, sequence, time_ns)
        return [event]

    def _cancel_resting(
        self, orders: list[Order], reason: int, sequence: int, time_ns: int
    ) -> list[Event]:
        events: list[Event] = []
        for order in orders:
            market = order.account.market
            self.touched[market.name] = market.book
            events.append(end_resting(market, order, reason))
            self._close(order, sequence, time_ns)
        return events

    def _replace(self, command: ReplaceOrder, sequence: int, time_ns: int) -> Outcome:
        client_id, order_id, price_e8, quantity_e8, idempotency_key = command
        digest = digest_of(command) if idempotency_key else 0
        answer = judge.replace(self, command, digest)
        if answer is not None:
            return answer
        if idempotency_key:
            self.keys.add(client_id, idempotency_key, digest, sequence, time_ns)
        order = self.directory.orders[order_id]
        if price_e8 is None:
            price_e8 = order.price_e8
        if quantity_e8 is None:
            quantity_e8 = order.quantity_e8
        remaining_e8 = quantity_e8 - order.quantity_e8 + order.remaining_e8
        if remaining_e8 <= 0:
            return self._cancel_resting([order], _BELOW_FILLED, sequence, time_ns)
        order.updated_ns = time_ns
        market, account = order.account.market, order.account
        self.touched[market.name] = market.book
        if price_e8 == order.price_e8 and quantity_e8 <= order.quantity_e8:
            change_e8 = order.quantity_e8 - quantity_e8
            if change_e8:
                account.open_e8[order.side] -= change_e8
                market.book.reduce(order, change_e8)
                order.quantity_e8 = quantity_e8
            return [event_of(OrderReplaced, order, order.status)]
        account.open_e8[order.side] -= order.remaining_e8
        market.book.remove(order)
        market.placed_e8 += max(0, quantity_e8 - order.quantity_e8)
        order.price_e8 = price_e8
        order.quantity_e8 = quantity_e8
        order.remaining_e8 = remaining_e8
        events: list[Event] = [event_of(OrderReplaced, order, order.status)]
        self._enter(market, order, events, sequence, time_ns)
        # It kept its place among the client's open orders, in case it rests again.
        if order.level is None:
            del account.open[order]
        return events

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
            for order in (client.open if client is not None else ())
            if (not instrument or order.instrument == instrument)
            and (not side or order.side == side)
        ]
        return self._cancel_resting(orders, _CANCEL_REQUESTED, sequence, time_ns)

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
        orders = list(session.open)
        events = self._cancel_resting(orders, _SESSION_ENDED, sequence, time_ns)
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
