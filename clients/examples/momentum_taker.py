"""A momentum taker: buys when the last trades went up, sells when they went down.

It looks at the prices of the last few trades of an instrument. If the newest is further above the
oldest than a threshold it takes what is offered until it is long by its quantity, if it is as far
below it goes short. In between it waits. Its orders are immediate-or-cancel with a limit a little
beyond the last price, so that a thin book can't be swept at any price, and each carries a key, so
that one whose answer was lost is repeated without harm.

Its own trades come by on the stream too and are left out: they are no news to it.
"""

import sys
from collections import deque
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal

from clients.bounds import whole
from clients.client import ExchangeClient
from clients.examples.command_line import amount, parser, run, say_interruption
from clients.requests import PlaceOrder
from clients.types import Side, Trade


@dataclass(frozen=True, slots=True)
class Terms:
    """When it trades, and how much."""

    client_id: str
    instrument: str
    quantity: Decimal = Decimal("0.1")
    """It is long or short by this, or flat."""
    window: int = 10
    """Trades that it looks at."""
    threshold: Decimal = Decimal("0.0005")
    """Part of the price by which the newest must differ from the oldest."""
    slippage: Decimal = Decimal("0.002")
    """Part of the price beyond the last one that it pays at most."""
    tick: Decimal = Decimal("0.01")


class MomentumTaker:
    """One taker on one instrument."""

    def __init__(self, exchange: ExchangeClient, terms: Terms) -> None:
        self.exchange = exchange
        self.terms = terms
        self.position = Decimal(0)
        self.order_count = 0
        self._prices: deque[Decimal] = deque(maxlen=terms.window)

    async def run(self) -> None:
        """Trades until it is cancelled."""
        terms = self.terms
        for position in await self.exchange.positions(terms.client_id):
            if position.instrument == terms.instrument:
                self.position = position.net_quantity
        stream = self.exchange.follow_trades(terms.instrument, on_interruption=say_interruption)
        print(f"watching the trades of {terms.instrument}, holding {self.position:f}", flush=True)
        async with aclosing(stream) as messages:
            async for message in messages:
                self._prices.extend(trade.price for trade in message.trades if self._is_news(trade))
                await self._act()

    def _is_news(self, trade: Trade) -> bool:
        return self.terms.client_id not in (trade.maker_client_id, trade.taker_client_id)

    def wished_position(self) -> Decimal:
        """Where the last trades say it should be."""
        terms = self.terms
        if len(self._prices) < terms.window:
            return self.position
        oldest, newest = self._prices[0], self._prices[-1]
        if newest > oldest * (1 + terms.threshold):
            return terms.quantity
        if newest < oldest * (1 - terms.threshold):
            return -terms.quantity
        return self.position

    async def _act(self) -> None:
        terms, missing = self.terms, self.wished_position() - self.position
        if not missing:
            return
        side, sign = (Side.BUY, 1) if missing > 0 else (Side.SELL, -1)
        limit = self._prices[-1] * (1 + sign * terms.slippage)
        placed = await self.exchange.place(
            PlaceOrder(
                terms.client_id,
                terms.instrument,
                side,
                abs(missing),
                price=(limit / terms.tick).to_integral_value() * terms.tick,
                time_in_force="ioc",
            )
        )
        self.order_count += 1
        self.position += sign * placed.order.filled_quantity
        # It looks at what comes after its own trade, not at the same move once more.
        self._prices.clear()
        print(
            f"{side} {placed.order.filled_quantity:f} of {abs(missing):f}, now {self.position:f}",
            flush=True,
        )


def main(arguments: list[str] | None = None) -> int:
    """Run it from a terminal."""
    own = parser(__doc__ or "")
    own.add_argument("--client", default="taker", help="whose orders they are (%(default)s)")
    own.add_argument(
        "--quantity", type=amount, default=Decimal("0.1"), help="long or short (%(default)s)"
    )
    own.add_argument(
        "--window", type=whole(2, 10_000), default=10, help="trades to look at (%(default)s)"
    )
    options = own.parse_args(arguments)
    terms = Terms(
        options.client, options.instrument, quantity=options.quantity, window=options.window
    )
    return run(lambda exchange: MomentumTaker(exchange, terms).run(), options)


if __name__ == "__main__":
    sys.exit(main())
