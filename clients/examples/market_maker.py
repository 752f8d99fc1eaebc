"""A market maker: quotes both sides around the last price and leans against its position.

- Quotes stand half a spread to each side of the fair price, which is the last trade's. The more it
  has bought, the lower both stand, so that selling gets likelier than buying more; at the limit the
  side that would add to the position is not quoted.
- Its orders live in a trading session with cancel on disconnect: whatever happens to it or to the
  line, it leaves no quote behind. When the session is lost it opens another, after growing delays,
  and begins by cancelling what may still stand.
- What it holds it knows from its own order events, which miss nothing: the position is right even
  when the answer to a quote was lost.
- It only rests: post-only orders, under ids of its own, so that an event that overtakes the answer
  to its order is recognised.
"""

import asyncio
import secrets
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from clients.client import ExchangeClient
from clients.errors import OutcomeUnknownError, RefusedError, UnavailableError
from clients.examples.command_line import amount, parser, run, say_interruption
from clients.requests import CancelOrder, CancelOrders, Command, PlaceOrder
from clients.retries import Delays
from clients.session import TradingSession
from clients.types import OrderEvent, OrderEventKind, OrderEventsMessage, Side

REFRESH_S = 1.0  # a quote that was refused because the market had moved is tried again by then
GONE = {OrderEventKind.CANCELLED, OrderEventKind.REJECTED}


@dataclass(frozen=True, slots=True)
class Terms:
    """How it quotes."""

    client_id: str
    instrument: str
    start_price: Decimal
    """The fair price until something trades."""
    spread: Decimal = Decimal("0.001")
    """Between its bid and its ask, as part of the price."""
    quantity: Decimal = Decimal("0.1")
    """Of each quote."""
    position_max: Decimal = Decimal(1)
    tick: Decimal = Decimal("0.01")


@dataclass(slots=True)
class Quote:
    """An order of ours that stands, as far as we know."""

    order_id: str
    price: Decimal


class MarketMaker:
    """One market maker on one instrument."""

    def __init__(self, exchange: ExchangeClient, terms: Terms) -> None:
        self.exchange = exchange
        self.terms = terms
        self.fair_price = terms.start_price
        self.position = Decimal(0)
        self.quotes: dict[Side, Quote] = {}
        self.fill_count = 0
        self._run_id = secrets.token_hex(4)
        self._order_count = 0
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Quotes until it is cancelled."""
        terms, exchange = self.terms, self.exchange
        await self._cancel_all()
        own = exchange.follow_order_events(
            client_id=terms.client_id,
            instrument=terms.instrument,
            on_interruption=say_interruption,
        )
        # Once the stream has begun nothing is missed, and nothing of ours rests: this is exact.
        await anext(own)
        for position in await exchange.positions(terms.client_id):
            if position.instrument == terms.instrument:
                self.position = position.net_quantity
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_own_orders(own))
            tasks.create_task(self._watch_price())
            tasks.create_task(self._quote())

    # What it learns.

    async def _watch_own_orders(self, own: AsyncGenerator[OrderEventsMessage, None]) -> None:
        async with aclosing(own):
            async for message in own:
                for event in message.events:
                    self._learn(event)

    def _learn(self, event: OrderEvent) -> None:
        quote = self.quotes.get(event.side)
        ended = event.kind in GONE
        if event.trade is not None:
            self.fill_count += 1
            quantity = event.trade.quantity
            self.position += quantity if event.side is Side.BUY else -quantity
            ended = not event.remaining_quantity
            self._changed.set()
        if ended and quote is not None and quote.order_id == event.order_id:
            del self.quotes[event.side]

    async def _watch_price(self) -> None:
        stream = self.exchange.follow_trades(self.terms.instrument)
        async with aclosing(stream) as messages:
            async for message in messages:
                if message.trades:
                    self.fair_price = message.trades[-1].price
                    self._changed.set()

    # What it does.

    async def _quote(self) -> None:
        delays = Delays(self.exchange.retries)
        client_id = self.terms.client_id
        while True:
            try:
                async with self.exchange.trading_session(
                    client_id=client_id, cancel_on_disconnect=True
                ) as session:
                    await self._cancel_all()
                    delays.reset()
                    await self._keep_quoting(session)
            except (UnavailableError, OutcomeUnknownError) as error:
                delay_s = delays.next_s()
                print(f"session lost: {error}; again in {delay_s:.1f} s", flush=True)
                await asyncio.sleep(delay_s)

    async def _keep_quoting(self, session: TradingSession) -> None:
        while True:
            self._changed.clear()
            commands = list(self._commands())
            if commands:
                for outcome in await session.send(commands):
                    # A quote may have ended before its cancel came.
                    if isinstance(outcome, RefusedError) and outcome.reason != "ORDER_CLOSED":
                        raise outcome
            try:
                async with asyncio.timeout(REFRESH_S):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _commands(self) -> Iterator[Command]:
        """What brings the quotes to where they should be."""
        for side in Side:
            quote, price = self.quotes.get(side), self.quote_price(side)
            if quote is not None and quote.price == price:
                continue
            if quote is not None:
                del self.quotes[side]
                yield CancelOrder(quote.order_id, self.terms.client_id)
            if price is not None:
                yield self._place(side, price)

    def _place(self, side: Side, price: Decimal) -> PlaceOrder:
        terms = self.terms
        self._order_count += 1
        order_id = f"{terms.client_id}-{self._run_id}-{self._order_count}"
        self.quotes[side] = Quote(order_id, price)
        return PlaceOrder(
            terms.client_id,
            terms.instrument,
            side,
            terms.quantity,
            price=price,
            post_only=True,
            order_id=order_id,
        )

    def quote_price(self, side: Side) -> Decimal | None:
        """Where a quote belongs; None for nowhere."""
        terms = self.terms
        held = self.position / terms.position_max
        if abs(held) >= 1 and (held > 0) == (side is Side.BUY):
            return None
        half = self.fair_price * terms.spread / 2
        middle = self.fair_price - half * held
        bid = ((middle - half) / terms.tick).to_integral_value(ROUND_FLOOR) * terms.tick
        ask = ((middle + half) / terms.tick).to_integral_value(ROUND_CEILING) * terms.tick
        return max(bid, terms.tick) if side is Side.BUY else ask

    async def _cancel_all(self) -> None:
        self.quotes.clear()
        await self.exchange.cancel_all(CancelOrders(self.terms.client_id, self.terms.instrument))


def main(arguments: list[str] | None = None) -> int:
    """Run it from a terminal."""
    own = parser(__doc__ or "")
    own.add_argument("--client", default="maker", help="whose orders they are (%(default)s)")
    for option, default, meaning in (
        ("--price", Decimal(70_000), "first fair price"),
        ("--quantity", Decimal("0.1"), "of each quote"),
        ("--position-max", Decimal(1), "long or short"),
    ):
        own.add_argument(option, type=amount, default=default, help=f"{meaning} (%(default)s)")
    options = own.parse_args(arguments)
    terms = Terms(
        options.client,
        options.instrument,
        options.price,
        quantity=options.quantity,
        position_max=options.position_max,
    )

    async def work(exchange: ExchangeClient) -> None:
        maker = MarketMaker(exchange, terms)
        try:
            await maker.run()
        finally:
            print(f"{maker.fill_count} fills, position {maker.position:f}", flush=True)

    return run(work, options)


if __name__ == "__main__":
    sys.exit(main())
