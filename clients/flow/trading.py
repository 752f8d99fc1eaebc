"""Trades a flow against a running exchange, at a rate, until time is up or somebody stops it.

All clients share one trading session; each command names its client. A step is a few hundredths of
a second: what is due by the rate and by how lively each market is goes out as one message, and its
outcomes are settled before the next, so that one message is unanswered at a time and a slow
exchange gets less, not more. What was missed is not made up for.

When the session is lost, a new one is opened with growing delay; what rested in the old one was
cancelled by the exchange, unless the orders are to be kept, in which case the new session begins
by cancelling all of these clients, as every flow does.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from random import Random

from clients.client import ExchangeClient
from clients.errors import ExchangeError, RefusedError
from clients.flow.market import Market
from clients.flow.plan import Plan
from clients.flow.tally import Tally
from clients.requests import CancelOrders, Command
from clients.retries import Delays, Retries
from clients.session import COMMANDS_MAX, TradingSession
from clients.types import Instrument

STEP_S = 0.04  # a living book changes some twenty times a second
STEP_MAX_S = 0.5  # what a step makes up for at most, after a slow answer
PROGRESS_S = 1.0
CONNECT_S = 3.0  # a person waits
AGAIN = Retries(delay_first_s=0.1, delay_max_s=2.0)  # delays before a new session
GIVE_UP_S = 30.0  # without a session: longer than any restart takes

FIRST_PRICES = {"BTC": Decimal(70_000), "ETH": Decimal(3_500), "SOL": Decimal(150)}
OTHER_FIRST_PRICE = Decimal(100)
"""Where a market begins that has neither a book nor a last trade."""


class InstrumentUnknownError(ValueError):
    """The exchange doesn't list it; the message is the sentence to show."""


async def trade(
    address: str, plan: Plan, stop: asyncio.Event, show: Callable[[Tally], None]
) -> Tally:
    """Trades until `stop` is set or the plan's time is up; `show` is called once a second."""
    async with ExchangeClient(address) as exchange:
        await exchange.connect(CONNECT_S)
        flow = _Flow(plan, await _markets(exchange, plan), stop, show)
        delays, lost_at = Delays(AGAIN), 0.0
        lost: ExchangeError | None = None
        while flow.goes_on():
            answered = flow.tally.commands
            try:
                await flow.trade_session(exchange)
                lost = None
            except RefusedError:
                raise  # to open a session again would be refused again
            except ExchangeError as error:
                lost, now = error, time.monotonic()
                if flow.tally.commands > answered:
                    delays.reset()
                    lost_at = now
                elif now - (lost_at := lost_at or now) > GIVE_UP_S:
                    break
                await flow.pause(delays.next_s())
        if lost is not None and not stop.is_set():
            raise lost
    return flow.tally


async def _markets(exchange: ExchangeClient, plan: Plan) -> list[Market]:
    listed = {instrument.name: instrument for instrument in await exchange.instruments()}
    for name in plan.instruments:
        if name not in listed:
            raise InstrumentUnknownError(
                f"instrument {name!r} is not listed; the exchange has {', '.join(listed)}"
            )
    return [
        Market(
            listed[name],
            await _first_price(exchange, listed[name]),
            plan.makers(),
            plan.takers(),
            plan.mix,
            # A string seeds alike on every machine; each instrument draws for itself.
            Random(f"{plan.seed} {name}"),
        )
        for name in plan.instruments or listed
    ]


async def _first_price(exchange: ExchangeClient, instrument: Instrument) -> Decimal:
    book = await exchange.book(instrument.name, 1)
    if book.bids and book.asks:
        price = (book.bids[0].price + book.asks[0].price) / 2
    else:
        last_price = (await exchange.ticker(instrument.name)).last_price
        base = instrument.name.partition("-")[0]
        price = last_price or FIRST_PRICES.get(base, OTHER_FIRST_PRICE)
    return min(max(price, instrument.price_min), instrument.price_max).quantize(Decimal("1e-8"))


class _Flow:
    """The flow under way: its markets, its pace, its figures."""

    def __init__(
        self,
        plan: Plan,
        markets: list[Market],
        stop: asyncio.Event,
        show: Callable[[Tally], None],
    ) -> None:
        self._plan = plan
        self._markets = markets
        self._stop = stop
        self._show = show
        self._draw = Random(f"{plan.seed} pace")
        self._shown = 0.0
        self._owed = dict.fromkeys((market.name for market in markets), 0.0)
        self.tally = Tally()
        self._was_open = False

    def goes_on(self) -> bool:
        return not self._stop.is_set() and self.tally.seconds < self._plan.seconds

    async def pause(self, seconds: float) -> None:
        """Wait, but not for long once it is to stop."""
        left_s = self._plan.seconds - self.tally.seconds
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), min(seconds, max(left_s, 0)))

    async def trade_session(self, exchange: ExchangeClient) -> None:
        """Everything until the end, or until the session is lost."""
        for market in self._markets:
            market.forget()
        async with exchange.trading_session(cancel_on_disconnect=not self._plan.keep) as session:
            self.tally.reconnects += self._was_open
            self._was_open = True
            clients = [*self._plan.makers(), *self._plan.takers()]
            await session.send([CancelOrders(client) for client in clients])
            for market in self._markets:
                await self._send(session, [(market, deed) for deed in market.opening()])
            stepped = time.monotonic()
            while self.goes_on():
                await self.pause(STEP_S)
                now = time.monotonic()
                await self._send(session, self._step(min(now - stepped, STEP_MAX_S)))
                stepped = now
                if now - self._shown >= PROGRESS_S:
                    self._show(self.tally)
                    self._shown = now

    def _step(self, elapsed_s: float) -> list[tuple[Market, Command]]:
        """Draw what is due now, of each market in turn."""
        deeds: list[tuple[Market, Command]] = []
        # What is drawn is sent: an order that is to be cancelled is not touched again until then.
        most = max(COMMANDS_MAX // len(self._markets), 1)
        for market in self._markets:
            market.move(elapsed_s)
            share = self._plan.rate / len(self._markets) * market.activity * elapsed_s
            # Uneven, as people are: none to twice as many.
            self._owed[market.name] += share * self._draw.uniform(0, 2)
            count = int(self._owed[market.name])
            self._owed[market.name] -= count
            deeds += [(market, deed) for deed in market.commands(min(count, most))]
        return deeds

    async def _send(self, session: TradingSession, deeds: list[tuple[Market, Command]]) -> None:
        if not deeds:
            return
        sent = time.monotonic()
        outcomes = await session.send([deed for _, deed in deeds])
        self.tally.count(outcomes, (time.monotonic() - sent) * 1e3)
        for (market, deed), outcome in zip(deeds, outcomes, strict=True):
            market.settle(deed, outcome)
