"""The drawn orders of a load test without a file: 70 % limit, 30 % market, around one price."""

from collections.abc import Iterator
from random import Random

from clients.decimals import Number
from clients.requests import PlaceOrder
from clients.types import OrderType, Side

LIMIT_PART = 0.7
PRICE_HALVES = (139_800, 140_200)  # 69,900 to 70,100 in steps of 0.5: both sides meet in it
HUNDREDTHS = (1, 100)  # quantities of 0.01 to 1.00


def drawn_orders(seed: int, clients: int, instrument: str) -> Iterator[PlaceOrder]:
    """Draw orders without end; the same seed draws the same orders."""
    draw = Random(f"{seed} load")
    while True:
        limit = draw.random() < LIMIT_PART
        price: Number | None = None
        if limit:
            whole, half = divmod(draw.randint(*PRICE_HALVES), 2)
            price = f"{whole}.{5 * half}"
        yield PlaceOrder(
            f"load-{draw.randint(1, clients)}",
            instrument,
            draw.choice((Side.BUY, Side.SELL)),
            f"0.{draw.randint(*HUNDREDTHS):02d}".replace("0.100", "1"),
            price=price,
            type=OrderType.LIMIT if limit else OrderType.MARKET,
        )
