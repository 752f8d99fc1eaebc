"""What holds between any two commands, whatever they were. The numbers name them in the output."""

from __future__ import annotations

from collections import defaultdict

from server.core.engine import Engine
from server.core.events import Event, OrderEvent, Traded
from server.core.types import BUY, SELL


def check_events(events: list[Event]) -> None:
    """Of one command's events."""
    for event in events:
        if isinstance(event, OrderEvent):
            total = event.filled_e8 + event.remaining_e8 + event.cancelled_e8
            assert total == event.quantity_e8, f"I3: {event}"
            assert min(event.filled_e8, event.remaining_e8, event.cancelled_e8) >= 0, f"I3: {event}"
        elif isinstance(event, Traded):
            assert event.quantity_e8 > 0, f"I3: {event}"


def check_state(engine: Engine) -> None:
    """Of everything that is held."""
    for market in engine.markets.values():
        book = market.book
        if book.best_bid and book.best_ask:
            assert book.best_bid < book.best_ask, f"I4: {market.name} is crossed"
        for side in (book.bids, book.asks):
            assert side.keys == sorted(side.sign * price for price in side.levels), "I4"
            for price_e8, level in side.levels.items():
                orders = list(level.orders)
                assert orders, f"I4: level {price_e8} is empty"
                assert level.quantity_e8 == sum(order.remaining_e8 for order in orders), "I4"
                assert all(order.remaining_e8 > 0 for order in orders), "I4"
                assert all(order.price_e8 == price_e8 for order in orders), "I4"
    _check_money(engine)
    _check_accounts(engine)


def _check_money(engine: Engine) -> None:
    fees: dict[str, int] = defaultdict(int)
    for market in engine.markets.values():
        accounts = market.accounts
        assert sum(account.net_e8 for account in accounts) == 0, f"I6: {market.name}"
        held = sum(abs(account.net_e8) for account in accounts)
        both = (market.book.bids, market.book.asks)
        held += sum(level.quantity_e8 for side in both for level in side.levels.values())
        assert market.placed_e8 >= held, f"I3: bounds of {market.name}"
        cash = sum(account.realised_e16 - account.cost_e16 for account in accounts)
        assert cash == 0, f"I6: {market.name}"
        for account in accounts:
            assert (account.cost_e16 >= 0) == (account.net_e8 >= 0) or not account.cost_e16, "I6"
        fees[market.fee_account.currency] += sum(account.fees_e8 for account in accounts)
    assert fees == engine.fee_accounts(), "I6: fees"


def _check_accounts(engine: Engine) -> None:
    held: dict[tuple[str, str, int], int] = defaultdict(int)
    for market in engine.markets.values():
        for side in (BUY, SELL):
            for level in market.book.side(side).levels.values():
                for order in level.orders:
                    held[order.client_id, order.instrument, side] += order.remaining_e8
                    assert order in order.account.open, "I7: an open order is its client's"
                    assert engine.order(order.order_id) is order, "I7"
    open_count = 0
    for client in engine.directory.clients.values():
        open_count += len(client.open)
        for name, account in client.accounts.items():
            for side in (BUY, SELL):
                assert account.open_e8[side] == held[client.client_id, name, side], "I7"
    assert open_count == engine.counts().orders_open, "I7"
