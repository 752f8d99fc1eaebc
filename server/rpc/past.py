"""Orders, trades and analytics of any age: memory first, then history.

Memory holds every open order and those that ended after `orders_after_sequence`; history is asked
for the others, which ended at that sequence or before. So each order is in exactly one of them,
however far history is behind, as long as it has come through that sequence. Without history what is
forgotten is unknown; with it, but out of reach, a call that needs it is refused as UNAVAILABLE. A
page that memory fills doesn't need it, and one of a client's own trades ends with those that memory
has; the page after that is refused. Where history has lost its beginning, lists go as far back as
it is whole, and the page after that is refused; so is an order that isn't found.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

from server.core.engine import Engine
from server.core.market import TRADES_KEPT, RecentTrade
from server.core.rejects import RejectReason
from server.core.types import OrderStatus
from server.history import analytics
from server.history.analytics import Analytics, Held, NoAnswer, Query, Why
from server.history.reader import Down, History, NotWhole, PastOrder
from server.rpc.calls import Calls
from server.rpc.context import Context
from server.rpc.errors import EdgeReason, EdgeReject
from server.rpc.parse import OrdersQuery, TradesQuery

_REASONS: Final = {
    Why.TIME_INVALID: EdgeReason.NUMBER_INVALID,
    Why.TOO_MANY: EdgeReason.TOO_MANY,
    Why.NOT_KEPT: EdgeReason.NOT_AVAILABLE,
}

T = TypeVar("T")


class Found(NamedTuple):
    """One order, and the sequence at which this is true."""

    order: PastOrder
    sequence: int


class OrdersPage(NamedTuple):
    """A page of orders, newest first."""

    orders: list[PastOrder]
    next_page_token: str
    sequence: int


class TradesPage(NamedTuple):
    """A page of trades, newest first."""

    trades: list[RecentTrade]
    next_page_token: str
    sequence: int


class Past:
    """The reads of calls that look back."""

    def __init__(self, calls: Calls, history: History) -> None:
        self._calls = calls
        self._history = history

    async def order(self, order_id: str, context: Context) -> Found | None:
        """Find the newest order of this id."""

        def view(engine: Engine) -> tuple[PastOrder | None, int, int]:
            held = engine.order(order_id)
            order = PastOrder(engine.order_event(held), held.updated_ns) if held else None
            return order, engine.sequence, engine.orders_after_sequence

        order, sequence, forgotten = await self._calls.read(view, context)
        if order is None and forgotten and self._history.configured:
            wanted = ("order_id", order_id)
            order = await self._asked(
                lambda: self._history.order(order_id, forgotten), context, wanted
            )
        return None if order is None else Found(order, sequence)

    async def orders(self, query: OrdersQuery, context: Context) -> OrdersPage:
        """Read a page of orders; one more than asked for tells whether there is another."""
        wanted = query._replace(limit=query.limit + 1)

        def view(engine: Engine) -> tuple[list[PastOrder], int, int] | None:
            if query.instrument and query.instrument not in engine.markets:
                return None
            orders = [
                PastOrder(engine.order_event(each), each.updated_ns)
                for each in engine.orders(**wanted._asdict())
            ]
            return orders, engine.sequence, engine.orders_after_sequence

        held = await self._calls.read(view, context)
        if held is None:
            unknown = EdgeReject(RejectReason.INSTRUMENT_UNKNOWN, "instrument", query.instrument)
            await self._calls.refuse(context, unknown)
        orders, sequence, forgotten = held
        more = len(orders) > query.limit
        if self._history.configured and _needs_history(orders, query, forgotten):
            orders += await self._asked(
                lambda: self._history.orders(**wanted._asdict(), through_sequence=forgotten),
                context,
            )
            orders.sort(key=lambda order: order.event.placed_sequence, reverse=True)
            token = str(query.before_sequence or "")
            more = await self._goes_on(orders, query.limit, token, context)
        page = orders[: query.limit]
        token = str(page[-1].event.placed_sequence) if more else ""
        return OrdersPage(page, token, sequence)

    async def trades(self, query: TradesQuery, context: Context) -> TradesPage | None:
        """Read a page of trades; None where the instrument is not listed."""
        instrument, limit, before, client_id = query

        def view(engine: Engine) -> tuple[list[RecentTrade], int, tuple[int, int] | None] | None:
            market = engine.markets.get(instrument)
            if market is None:
                return None
            found = market.newest_trades(limit + 1, before, client_id)
            return found, engine.sequence, _forgotten_before(engine, query)

        held = await self._calls.read(view, context)
        if held is None:
            return None
        trades, sequence, forgotten = held
        missing = limit + 1 - len(trades)
        more = len(trades) > limit
        if forgotten is not None and self._history.configured and missing > 0:
            # Where all of this page is here, the next call finds out whether another follows.
            more = True
            if missing > 1:
                earlier = min(before or forgotten, forgotten)
                more = await self._add_earlier(trades, query, earlier, context)
        page = trades[:limit]
        token = "{}-{}".format(*page[-1][:2]) if more else ""
        return TradesPage(page, token, sequence)

    async def _add_earlier(
        self,
        found: list[RecentTrade],
        query: TradesQuery,
        earlier: tuple[int, int],
        context: Context,
    ) -> bool:
        """Add what history has from before this (sequence, index) to what memory held of a page;
        tell whether another page follows."""
        limit = query.limit + 1 - len(found)
        asked = (query.instrument, earlier, limit, query.client_id)
        try:
            found += await self._calls.within(lambda: self._history.trades(*asked), context)
        except Down as down:
            # Few of the trades in memory may be this client's, so that no limit fits them: the page
            # ends with them, and the next one is refused.
            if query.client_id and found:
                return True
            await self._refuse(down, ("", ""), context)
        token = "{}-{}".format(*query.before) if query.before else ""
        return await self._goes_on(found, query.limit, token, context)

    async def _goes_on(
        self, found: Sequence[Any], limit: int, token: str, context: Context
    ) -> bool:
        """Tell whether another page follows that of this token, which history was asked for: also
        where it has lost what is next, and then that one is refused."""
        if self._history.whole_after_ns < 0:
            return len(found) > limit
        if not found:
            lost = NotWhole(self._history.whole_after_ns)
            await self._refuse(lost, ("page_token", token), context)
        return True

    async def analytics(self, query: Query, context: Context) -> Analytics | EdgeReject | None:
        """Read trades by interval; None where the instrument is not listed."""

        def view(engine: Engine) -> Held | NoAnswer | None:
            if query.instrument not in engine.markets:
                return None
            return analytics.held(engine, query, time.time_ns())

        known = await self._calls.read(view, context)
        if known is None:
            return None
        if isinstance(known, NoAnswer):
            return _refusal_of(known)
        if self._history.configured and not known.suffices:
            found = await self._asked(
                lambda: analytics.with_history(self._history, query, known), context
            )
        else:
            found = analytics.from_memory(query, known)
        return _refusal_of(found) if isinstance(found, NoAnswer) else found

    async def _asked(
        self,
        question: Callable[[], Awaitable[T]],
        context: Context,
        wanted: tuple[str, str] = ("", ""),
    ) -> T:
        try:
            return await self._calls.within(question, context)
        except Down as down:
            await self._refuse(down, wanted, context)

    async def _refuse(self, down: Down, wanted: tuple[str, str], context: Context) -> NoReturn:
        """Refuse to look back: what the tables lost stays lost; `wanted` is the field that asks."""
        if isinstance(down, NotWhole):
            refused = EdgeReject(EdgeReason.NOT_AVAILABLE, *wanted, f"PostgreSQL is {down}")
        else:
            refused = EdgeReject(EdgeReason.NOT_SERVING, "history in PostgreSQL", str(down))
        await self._calls.refuse(context, refused)


def _needs_history(orders: list[PastOrder], query: OrdersQuery, forgotten: int) -> bool:
    """Tell whether an order that ended at `forgotten` or before could belong on this page. Those
    were placed by then too, and none of them is open."""
    open_only = query.working or query.status in (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED)
    if not forgotten or open_only:
        return False
    if len(orders) <= query.limit:
        return True
    return orders[query.limit - 1].event.placed_sequence <= forgotten


def _forgotten_before(engine: Engine, query: TradesQuery) -> tuple[int, int] | None:
    """Tell before which (sequence, index) memory no longer holds trades; None where it holds all
    that could be asked for."""
    trades = engine.markets[query.instrument].trades
    if len(trades) < TRADES_KEPT:
        return None
    if query.client_id and not engine.has_traded(query.client_id, query.instrument):
        return None
    return trades[0][:2]


def _refusal_of(none: NoAnswer) -> EdgeReject:
    return EdgeReject(_REASONS[none.why], none.field, none.value, none.limit)
