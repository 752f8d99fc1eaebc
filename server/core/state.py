"""All state of the exchange, and what can be read of it. Only the engine, and loading, change it.

Orders are shown as they are held: a reader copies what it keeps, for instance with `order_event`.
"""

from __future__ import annotations

from typing import NamedTuple

from server.core.accounts import FeeAccount, Position
from server.core.book import Book
from server.core.directory import Directory
from server.core.events import OrderEvent
from server.core.instruments import Instrument, Limits
from server.core.market import Market, Ticker
from server.core.orders import Order, event_of
from server.core.requests import Keys


class Counts(NamedTuple):
    """How much the engine holds."""

    orders_open: int
    orders_closed: int
    """Ended and remembered."""
    keys: int
    sessions: int


class Session:
    """A cancel-on-disconnect session and the resting orders placed in it."""

    __slots__ = ("client_id", "open")

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.open: dict[Order, None] = {}
        """Its open orders, in the order of their placing."""


class ExchangeState:
    """What commands have made, empty at first."""

    def __init__(self) -> None:
        self.sequence = 0
        """The sequence of the last accepted command."""
        self.time_ns = 0
        """The time of that command's stamp."""
        self.limits = Limits()
        self.configured_limits: Limits | None = None
        """The limits that the configuration file last said; None before it said any."""
        self.configured_instruments: dict[str, Instrument] = {}
        """The same for each instrument."""
        self.markets: dict[str, Market] = {}
        """All markets by name, in listing order."""
        self.fees: dict[str, FeeAccount] = {}
        self.sessions: dict[int, Session] = {}
        self.directory = Directory(self.limits.closed_orders_max, self.limits.window_ns)
        self.keys = Keys(self.limits.keys_max, self.limits.window_ns)
        self.touched: dict[str, Book] = {}
        """Books with changes not yet taken. Bookkeeping for the feed, not state."""

    def list_market(self, definition: Instrument) -> Market:
        """List an instrument, with the fee account of its quote currency."""
        fee_account = self.fee_account(definition.name.partition("-")[2])
        market = self.markets[definition.name] = Market(definition, fee_account)
        return market

    def fee_account(self, currency: str) -> FeeAccount:
        """The fee account of a currency, made when first asked for."""
        account = self.fees.get(currency)
        if account is None:
            account = self.fees[currency] = FeeAccount(currency)
        return account

    def take_limits(self, limits: Limits) -> None:
        """Work with these bounds from now on."""
        self.limits = limits
        self.directory.generations.limit(limits.closed_orders_max, limits.window_ns)
        self.keys.generations.limit(limits.keys_max, limits.window_ns)

    def order(self, order_id: str) -> Order | None:
        """The open or remembered order of this id."""
        return self.directory.find(order_id)

    def orders(
        self,
        client_id: str = "",
        instrument: str = "",
        side: int = 0,
        status: int = 0,
        before_sequence: int = 0,
        limit: int = 100,
        working: bool = False,
    ) -> list[Order]:
        """Open and remembered orders, newest first by placing sequence; a filter left out is none,
        and `working` lets only those through that are in the book.

        The next page is that before the last one's `placed_sequence`.
        """
        return self.directory.page(
            client_id, instrument, side, status, before_sequence, limit, working
        )

    def order_event(self, order: Order) -> OrderEvent:
        """The order as it stands, in the layout of events."""
        return event_of(OrderEvent, order, order.status, order.reason)

    @property
    def instruments(self) -> dict[str, Instrument]:
        """Definitions by name, in listing order."""
        return {name: market.definition for name, market in self.markets.items()}

    def book(self, instrument: str) -> Book:
        """The book of a listed instrument."""
        return self.markets[instrument].book

    def ticker(self, instrument: str, time_ns: int = 0) -> Ticker:
        """Last price and the 24 hours up to a time, by default that of the last command."""
        return self.markets[instrument].ticker(time_ns or self.time_ns)

    def positions(self, client_id: str) -> list[Position]:
        """What a client holds in each instrument that it traded, in listing order."""
        client = self.directory.clients.get(client_id)
        if client is None or not client.traded:
            return []
        accounts = (client.accounts.get(name) for name in self.markets)
        return [each.position() for each in accounts if each is not None and each.traded]

    def has_traded(self, client_id: str, instrument: str) -> bool:
        """Tell whether the client ever traded in the instrument."""
        client = self.directory.clients.get(client_id)
        account = client.accounts.get(instrument) if client is not None else None
        return account is not None and account.traded

    def fee_accounts(self) -> dict[str, int]:
        """What was taken in fees, 10^-8, by currency."""
        return {currency: account.balance_e8 for currency, account in self.fees.items()}

    def open_sessions(self) -> list[int]:
        """Ids of the sessions that have not ended, oldest first."""
        return list(self.sessions)

    @property
    def orders_after_sequence(self) -> int:
        """Orders that ended after this one are remembered, all that ended before are forgotten."""
        return self.directory.generations.forgotten_sequence

    @property
    def keys_after_sequence(self) -> int:
        """Keys of commands after this one are remembered, all others are forgotten."""
        return self.keys.generations.forgotten_sequence

    def counts(self) -> Counts:
        """How much is held."""
        return Counts(
            self.directory.open_count,
            self.directory.generations.kept,
            self.keys.generations.kept,
            len(self.sessions),
        )

    def take_touched(self) -> dict[str, list[tuple[int, int, int]]]:
        """(side, price, quantity now) of each level that changed since the last call."""
        changes = {name: book.take_touched() for name, book in self.touched.items()}
        self.touched.clear()
        return changes
