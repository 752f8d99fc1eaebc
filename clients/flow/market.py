"""The flow of one instrument: who does what next, drawn from a seed; no clock and no connection.

A fair price drifts: a random walk with a weak pull back to where it began, moved a little by every
take. Makers quote on both sides of it, most of them close by; takers trade at once, with market,
immediate-or-cancel and fill-or-kill orders; makers cancel what has come to lie far from the price
and move orders back to it. Now and then a burst comes: for some seconds there is several times as
much of everything, takers lean to one side, and the price runs with them.

Prices and quantities are multiples of the instrument's tick and lot, and no finer than people would
write them: about 1/140,000 of the price (0.5 for a price of 70,000), about 1/10 of a usual order.

What rests is known from outcomes alone: a trade names the maker's order, so every fill by an order
of the flow is seen. What somebody else fills is not; cancelling that later is refused, which is
counted as a race lost, as it would be for any trader. The same seed and the same outcomes give the
same commands. What rests is bounded by `RESTING_MAX` orders: past it makers cancel before they
quote.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random

from clients.decimals import INT64_MAX, decimal_of_e8, e8_of
from clients.errors import RefusedError
from clients.flow.plan import Mix
from clients.order_wire import Outcome
from clients.requests import CancelOrder, Command, PlaceOrder, ReplaceOrder
from clients.types import (
    Instrument,
    OrderType,
    Placed,
    Replaced,
    SelfTradePrevention,
    Side,
    TimeInForce,
    Trade,
)

RESTING_MAX = 400  # orders of an instrument: some ten a level, as deep as anybody looks
RESTING_MIN = 30  # below it makers only quote: a book of a few orders is soon an empty one
OPENING_ORDERS = 80  # with which a market opens, so that there is a book at once
SPREAD_STEPS = 1.0  # price steps from the fair price to where quotes begin
DEPTH_STEPS = 8.0  # their mean distance from there
DRIFT_STEPS = 1.5  # standard deviation of the fair price's move in a second
IMPACT_STEPS = 0.05  # by which a take moves it
PULL = 0.001  # part of the way back to the first price, in a second
BURST_EVERY_S = 20.0  # mean time between bursts: a minute shows some
BURST_S = 2.0  # how long one lasts
BURST_ACTIVITY = 4.0  # how many times as much is done in it
BURST_DRIFT_STEPS = 4.0  # by which the price runs in a second of it
BURST_LEAN = 0.35  # probability, beyond a half, that a taker goes with it
NOTIONAL = 7_000  # of a usual order, in the quote currency: 0.1 BTC
QUANTITY_SPREAD = 0.8  # sigma of the log-normal quantities: most within a third and three times
PRICE_RANGE = 2  # the fair price stays within a half and twice its first value
CALM_ACTIVITY = (BURST_EVERY_S + BURST_S) / (BURST_EVERY_S + BURST_S * BURST_ACTIVITY)
"""Of the rate, outside of bursts: with them the mean is the rate that was asked for."""
GONE = ("ORDER_CLOSED", "ORDER_UNKNOWN")  # somebody was quicker: a race lost, not a mistake


DEEDS = ("quote", "take", "cancel", "replace")


@dataclass(slots=True)
class Resting:
    """An order of the flow that rests, as far as outcomes tell."""

    client_id: str
    side: Side
    price_e8: int
    remaining_e8: int


class Market:
    """One instrument's price, and the orders that makers and takers have for it."""

    def __init__(
        self,
        instrument: Instrument,
        first_price: Decimal,
        makers: Sequence[str],
        takers: Sequence[str],
        mix: Mix,
        draw: Random,
    ) -> None:
        self.name = instrument.name
        self._makers = makers
        self._takers = takers
        self._weights = mix.weights()
        self._draw = draw
        self._prices = _Grid.of_prices(instrument, e8_of(first_price, "price"))
        self._quantities = _Grid.of_quantities(instrument, self._prices.usual_e8)
        self._fair_e8 = float(self._prices.usual_e8)
        self._burst_left_s = 0.0
        self._lean = 0
        self._asked: set[str] = set()
        self.resting: dict[str, Resting] = {}

    @property
    def fair_price(self) -> Decimal:
        """What the makers quote around."""
        return decimal_of_e8(self._prices.nearest(self._fair_e8))

    @property
    def activity(self) -> float:
        """How much is done now, in parts of the mean."""
        return CALM_ACTIVITY * (BURST_ACTIVITY if self._lean else 1.0)

    def forget(self) -> None:
        """Nothing rests any more: the session that placed it all has ended."""
        self.resting.clear()
        self._asked.clear()

    def move(self, elapsed_s: float) -> None:
        """Let the price drift, and bursts begin and end."""
        if self._lean:
            self._burst_left_s -= elapsed_s
            if self._burst_left_s <= 0:
                self._lean = 0
        elif self._draw.random() < elapsed_s / BURST_EVERY_S:
            self._burst_left_s = BURST_S
            self._lean = self._draw.choice((-1, 1))
        steps = self._draw.gauss(0.0, DRIFT_STEPS) * elapsed_s**0.5
        steps += self._lean * BURST_DRIFT_STEPS * elapsed_s
        self._shift(steps)
        self._fair_e8 += (self._prices.usual_e8 - self._fair_e8) * PULL * elapsed_s

    def opening(self) -> list[Command]:
        """The quotes with which a market opens."""
        return [self._quote() for _ in range(OPENING_ORDERS)]

    def commands(self, count: int) -> list[Command]:
        """Draw the commands that come next."""
        return [self._deed() for _ in range(count)]

    def settle(self, command: Command, outcome: Outcome) -> None:
        """Learn what became of a command."""
        if isinstance(command, CancelOrder | ReplaceOrder):
            self._asked.discard(command.order_id)
            if not isinstance(outcome, RefusedError) or outcome.reason in GONE:
                # A replaced one is back below, with what it is now.
                self.resting.pop(command.order_id, None)
        if isinstance(outcome, Placed | Replaced):
            for trade in outcome.trades:
                self._filled(trade)
            order = outcome.order
            if order.remaining_quantity and order.price is not None:
                self.resting[order.order_id] = Resting(
                    order.client_id,
                    order.side,
                    e8_of(order.price, "price"),
                    e8_of(order.remaining_quantity, "quantity"),
                )

    def _filled(self, trade: Trade) -> None:
        maker = self.resting.get(trade.maker_order_id)
        if maker is not None:
            maker.remaining_e8 -= e8_of(trade.quantity, "quantity")
            if maker.remaining_e8 <= 0:
                del self.resting[trade.maker_order_id]

    # What is done.

    def _deed(self) -> Command:
        deed = self._draw.choices(DEEDS, self._weights)[0]
        free = len(self.resting) - len(self._asked)
        if free < RESTING_MIN:
            deed = "quote"
        elif deed == "quote" and free >= RESTING_MAX:
            deed = "cancel"
        match deed:
            case "take":
                return self._take()
            case "cancel":
                order_id, resting = self._pick()
                return CancelOrder(order_id, resting.client_id)
            case "replace":
                order_id, resting = self._pick()
                price_e8 = self._quote_price_e8(resting.side)
                return ReplaceOrder(
                    order_id, price=decimal_of_e8(price_e8), client_id=resting.client_id
                )
            case _:
                return self._quote()

    def _quote(self) -> PlaceOrder:
        side = self._draw.choice((Side.BUY, Side.SELL))
        return PlaceOrder(
            self._draw.choice(self._makers),
            self.name,
            side,
            self._quantity(1.0),
            price=decimal_of_e8(self._quote_price_e8(side)),
            # Some makers would rather trade than miss their place; none with itself.
            post_only=self._draw.random() < 0.7,
            self_trade_prevention=SelfTradePrevention.CANCEL_NEWEST,
        )

    def _quote_price_e8(self, side: Side) -> int:
        away = SPREAD_STEPS + self._draw.expovariate(1 / DEPTH_STEPS)
        sign = -1 if side is Side.BUY else 1
        return self._prices.nearest(self._fair_e8 + sign * away * self._prices.step_e8)

    def _take(self) -> PlaceOrder:
        buys = self._draw.random() < 0.5 + BURST_LEAN * self._lean
        side, sign = (Side.BUY, 1) if buys else (Side.SELL, -1)
        self._shift(sign * IMPACT_STEPS)
        kind = self._draw.choices(("market", "ioc", "fok"), (60, 30, 10))[0]
        limit_e8 = self._prices.nearest(
            self._fair_e8 + sign * self._draw.uniform(1, DEPTH_STEPS) * self._prices.step_e8
        )
        return PlaceOrder(
            self._draw.choice(self._takers),
            self.name,
            side,
            self._quantity(1.5),
            price=None if kind == "market" else decimal_of_e8(limit_e8),
            type=OrderType.MARKET if kind == "market" else OrderType.LIMIT,
            time_in_force=None if kind == "market" else TimeInForce(kind),
            self_trade_prevention=SelfTradePrevention.CANCEL_NEWEST,
        )

    def _pick(self) -> tuple[str, Resting]:
        # Of three, the one that lies farthest off: makers keep what is near the price.
        free = [order_id for order_id in self.resting if order_id not in self._asked]
        three = [self._draw.choice(free) for _ in range(3)]
        picked = max(three, key=lambda it: abs(self.resting[it].price_e8 - self._fair_e8))
        self._asked.add(picked)
        return picked, self.resting[picked]

    def _quantity(self, scale: float) -> Decimal:
        drawn = self._draw.lognormvariate(0.0, QUANTITY_SPREAD) * scale
        return decimal_of_e8(self._quantities.nearest(self._quantities.usual_e8 * drawn))

    def _shift(self, steps: float) -> None:
        moved = self._fair_e8 + steps * self._prices.step_e8
        first = self._prices.usual_e8
        self._fair_e8 = min(max(moved, first / PRICE_RANGE), first * PRICE_RANGE)


@dataclass(frozen=True, slots=True)
class _Grid:
    """The values that are used of a field: multiples of a step between two bounds."""

    step_e8: int
    low_e8: int
    high_e8: int
    usual_e8: int

    @classmethod
    def of_prices(cls, instrument: Instrument, price_e8: int) -> "_Grid":
        least, greatest = instrument.price_min, instrument.price_max
        return cls._of(
            instrument.tick, least, greatest, price_e8, lambda it: _first_digit(it, 4) // 2
        )

    @classmethod
    def of_quantities(cls, instrument: Instrument, price_e8: int) -> "_Grid":
        least, greatest = instrument.quantity_min, instrument.quantity_max
        # A millionth of what the wire can say, so that no position ever comes near its bound.
        usual_e8 = min(NOTIONAL * 10**16 // price_e8, INT64_MAX // 10**6)
        return cls._of(instrument.lot, least, greatest, usual_e8, lambda it: _first_digit(it, 1))

    @classmethod
    def _of(
        cls,
        unit: Decimal,
        least: Decimal,
        greatest: Decimal,
        usual_e8: int,
        readable: Callable[[int], int],
    ) -> "_Grid":
        unit_e8, least_e8, greatest_e8 = (e8_of(it, "bound") for it in (unit, least, greatest))
        usual_e8 = min(max(usual_e8, least_e8), greatest_e8)
        wanted_e8 = -(-max(readable(usual_e8), 1) // unit_e8) * unit_e8
        grid = cls(wanted_e8, *_multiples(wanted_e8, least_e8, greatest_e8), usual_e8)
        if grid.low_e8 > grid.high_e8:
            # Between narrow bounds there may be no multiple but of the unit itself.
            grid = cls(unit_e8, *_multiples(unit_e8, least_e8, greatest_e8), usual_e8)
        return replace(grid, usual_e8=grid.nearest(usual_e8))

    def nearest(self, value_e8: float) -> int:
        return min(max(round(value_e8 / self.step_e8) * self.step_e8, self.low_e8), self.high_e8)


def _multiples(step_e8: int, least_e8: int, greatest_e8: int) -> tuple[int, int]:
    """The lowest and the highest between two bounds."""
    return max(-(-least_e8 // step_e8), 1) * step_e8, greatest_e8 // step_e8 * step_e8


def _first_digit(value_e8: int, places: int) -> int:
    """The power of ten of a number's first digit, so many places lower, at least 1."""
    return int(10 ** max(len(str(value_e8)) - 1 - places, 0))
