"""Positions, realised profit and fees, in exact integers.

An account is one client in one instrument. Its cost has the sign of its net quantity. A fill of
`change` (positive for a purchase) at `price` either

- opens: cost += change * price; or
- closes: the share of cost that is closed (half-even to 10^-16; all of it when nothing is left)
  leaves cost, and realised += -change * price - that share; or
- crosses zero: closes all that is held, and opens the rest at the same price.

In each case realised - cost changes by exactly -change * price, so that over all clients of an
instrument net quantities, and realised - cost, sum to zero. Fees are kept apart: what accounts paid
is, to the unit, what the fee account of the quote currency holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from server.core.directory import Client
    from server.core.market import Market

FEE_DIVISOR: Final = 10**14
"""From notional (10^-16) x rate (10^-6) to a fee in 10^-8 of the quote currency."""


def divide_half_even(numerator: int, denominator: int) -> int:
    """The quotient rounded to the nearest integer, ties to the even one; denominator > 0."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient


class FeeAccount:
    """What the exchange took in fees in one currency, rebates deducted."""

    __slots__ = ("balance_e8", "currency")

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self.balance_e8 = 0


class Position(NamedTuple):
    """A client's position in one instrument, as shown."""

    instrument: str
    net_e8: int
    cost_e16: int
    """Sign of the net quantity."""
    realised_e16: int
    unrealised_e16: int
    """At the instrument's last trade."""
    fees_e8: int
    """Paid; negative where rebates are more."""
    updated_ns: int
    """Time of the last fill."""

    @property
    def average_price_e8(self) -> int:
        """What one unit cost: positive, half-even to 10^-8, 0 without a position."""
        return divide_half_even(abs(self.cost_e16), abs(self.net_e8)) if self.net_e8 else 0


class Account:
    """One client in one instrument."""

    __slots__ = (
        "client",
        "client_id",
        "cost_e16",
        "fees_e8",
        "market",
        "net_e8",
        "open",
        "open_e8",
        "placed",
        "realised_e16",
        "traded",
        "updated_ns",
    )

    def __init__(self, client: Client, market: Market) -> None:
        self.client = client
        self.client_id = client.client_id
        self.market = market
        # The client's own, at hand.
        self.placed = client.placed
        self.open = client.open
        self.net_e8 = 0
        self.cost_e16 = 0
        self.realised_e16 = 0
        self.fees_e8 = 0
        self.updated_ns = 0
        # An account without any fill is not state and is not shown.
        self.traded = False
        # Remaining quantity of resting orders, by side; the first entry is unused.
        self.open_e8 = [0, 0, 0]

    def fill(self, change_e8: int, amount_e16: int, fee_e8: int, time_ns: int) -> None:
        """Book one side of a trade; change and amount (change x price) are negative for a sale."""
        net_e8 = self.net_e8
        self.net_e8 = net_e8 + change_e8
        self.fees_e8 += fee_e8
        self.updated_ns = time_ns
        if net_e8 * change_e8 > 0:
            self.cost_e16 += amount_e16
        else:
            self._turn(net_e8, change_e8, amount_e16)

    def _turn(self, net_e8: int, change_e8: int, amount_e16: int) -> None:
        """A fill from nothing, or against what was held."""
        after_e8 = self.net_e8
        if net_e8 == 0:
            if not self.traded:
                self.start_trading()
            self.cost_e16 = amount_e16
        elif after_e8 == 0:
            self.realised_e16 -= amount_e16 + self.cost_e16
            self.cost_e16 = 0
        elif (after_e8 > 0) == (net_e8 > 0):
            share_e16 = divide_half_even(self.cost_e16 * abs(change_e8), abs(net_e8))
            self.realised_e16 -= amount_e16 + share_e16
            self.cost_e16 -= share_e16
        else:
            price_e8 = amount_e16 // change_e8
            self.realised_e16 += net_e8 * price_e8 - self.cost_e16
            self.cost_e16 = after_e8 * price_e8

    def start_trading(self) -> None:
        """Make the account and its client part of the state, from the first fill on."""
        self.traded = self.client.traded = True
        self.market.accounts.append(self)

    def row(self) -> tuple[str | int, ...]:
        """Give the account as plain data; what is open follows from the orders."""
        return (
            self.client_id,
            self.market.name,
            self.net_e8,
            self.cost_e16,
            self.realised_e16,
            self.fees_e8,
            self.updated_ns,
        )

    def position(self) -> Position:
        """The account as shown."""
        market = self.market
        return Position(
            market.name,
            self.net_e8,
            self.cost_e16,
            self.realised_e16,
            self.net_e8 * market.last_price_e8 - self.cost_e16,
            self.fees_e8,
            self.updated_ns,
        )
