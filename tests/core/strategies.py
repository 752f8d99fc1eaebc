"""Streams of commands, few enough prices and clients that everything happens."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

from server.core.commands import CancelOrder, CancelOrders, Command, PlaceOrder, ReplaceOrder
from server.core.types import E8, LIMIT, MARKET

CLIENTS = ("A", "B", "C")
INSTRUMENTS = ("BTC-USD", "ETH-USD")
LIMIT_KINDS = ((0, False), (1, False), (1, True), (2, False), (3, False))
MARKET_KINDS = (0, 2, 3)


class Draw:
    """Where choices come from: Hypothesis, which makes them small, or a seed, for long streams."""

    def below(self, count: int) -> int:
        """A number from 0 up."""
        raise NotImplementedError


class Seeded(Draw):
    """From a seed."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def below(self, count: int) -> int:
        return self._random.randrange(count)


class Drawn(Draw):
    """From Hypothesis."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def below(self, count: int) -> int:
        return self._draw(st.integers(0, count - 1))


def command(draw: Draw, number: int) -> Command:
    """One command; an order placed is called after its number, others name some earlier one."""
    client = CLIENTS[draw.below(len(CLIENTS))]
    instrument = INSTRUMENTS[draw.below(4) // 3]
    kind = draw.below(20)
    order_id = f"o{draw.below(number)}" if number else "o0"
    if kind < 3:
        return CancelOrder(client if kind else "", order_id)
    if kind < 7:
        price = (95 + draw.below(10)) * E8 if draw.below(2) else None
        quantity = (1 + draw.below(12)) * E8 if price is None or draw.below(2) else None
        return ReplaceOrder("", order_id, price, quantity)
    if kind == 7:
        narrowed = INSTRUMENTS[draw.below(2)] if draw.below(2) else ""
        return CancelOrders(client, narrowed, draw.below(3))
    side, quantity, mode = 1 + draw.below(2), (1 + draw.below(9)) * E8, draw.below(6)
    if kind == 8:
        time_in_force = MARKET_KINDS[draw.below(len(MARKET_KINDS))]
        return PlaceOrder(
            client,
            instrument,
            side,
            MARKET,
            quantity,
            0,
            time_in_force,
            False,
            mode,
            f"o{number}",
        )
    time_in_force, post_only = LIMIT_KINDS[draw.below(len(LIMIT_KINDS)) if draw.below(2) else 0]
    price_e8 = (95 + draw.below(10)) * E8
    return PlaceOrder(
        client,
        instrument,
        side,
        LIMIT,
        quantity,
        price_e8,
        time_in_force,
        post_only,
        mode,
        f"o{number}",
    )


@st.composite
def streams(draw: st.DrawFn, longest: int = 40) -> list[Command]:
    """Some commands."""
    source = Drawn(draw)
    return [command(source, number) for number in range(draw(st.integers(1, longest)))]


def seeded_stream(seed: int, count: int) -> list[Command]:
    """Many."""
    source = Seeded(seed)
    return [command(source, number) for number in range(count)]
