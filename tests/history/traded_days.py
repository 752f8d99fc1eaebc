"""Some days of random trading, and what a plain fold makes of them."""

import random
from collections import defaultdict
from datetime import UTC, date, datetime
from pathlib import Path

from server.core.commands import PlaceOrder, SetInstrument
from server.core.events import Traded
from server.core.instruments import Instrument
from server.core.types import BUY, E8, LIMIT, SELL
from server.history.settlement import Obligation
from server.journal.record import BATCH, Record, decode_frame
from tests.journal.site import Site

FIRST = date(2026, 2, 27)
EMPTY = 2
DAY_NS = 86_400 * 10**9
NAMES = ("BTC-USD", "ETH-USD", "ETH-BTC")


def nanoseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 10**9


def day_of(time_ns: int) -> date:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).date()


def traded_days(directory: Path, first: date = FIRST) -> Site:
    """Four days of random orders of five clients, up to both edges of each day."""
    site = Site(directory)
    draw = random.Random(7)
    begin_ns = nanoseconds(first)
    fees = ((-100, 250), (0, 1), (333, 777))
    for name, (maker_e6, taker_e6) in zip(NAMES, fees, strict=True):
        listed = Instrument(name, maker_fee_e6=maker_e6, taker_fee_e6=taker_e6)
        site.commit(SetInstrument(listed), time_ns=begin_ns)
    times = [begin_ns + draw.randrange(4 * DAY_NS) for _ in range(150)]
    # The third day stays empty, and every edge of a day is traded on.
    times = [each for each in times if (each - begin_ns) // DAY_NS != EMPTY]
    times += [
        begin_ns + n * DAY_NS + edge for n in (0, 1, 4) for edge in (-1, 0, 1) if n or edge >= 0
    ]
    for number, time_ns in enumerate(sorted(times)):
        orders = []
        price_e8 = draw.randrange(E8, 2 * E8) if number % 9 else 2**50 + number
        name = draw.choice(NAMES)
        for side in (SELL, BUY):
            client = f"client-{draw.randrange(5)}"
            quantity_e8 = draw.randrange(1, 5 * E8)
            orders.append(
                PlaceOrder(
                    client,
                    name,
                    side,
                    LIMIT,
                    quantity_e8,
                    price_e8,
                    order_id=f"o{number}-{side}",
                )
            )
        site.commit(*orders, time_ns=time_ns)
    site.close()
    return site


def records(site: Site) -> list[Record]:
    return [it for it in map(decode_frame, site.log.follow(0)) if it.kind == BATCH]


def folded(site: Site, day: date) -> tuple[list[Obligation], int]:
    """The obligations of a day and its number of trades, the plain way."""
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    trades = 0

    def add(key: tuple[str, str], *amounts: int) -> None:
        sums[key] = [held + amount for held, amount in zip(sums[key], amounts, strict=True)]

    for record in records(site):
        for events in record.events():
            for it in events:
                if not isinstance(it, Traded) or day_of(record.time_ns) != day:
                    continue
                trades += 1
                direction = 1 if it.aggressor_side == BUY else -1
                for client, fee_e8, sign in (
                    (it.taker_client_id, it.taker_fee_e8, direction),
                    (it.maker_client_id, it.maker_fee_e8, -direction),
                ):
                    quantity_e8, fee_e16 = sign * it.quantity_e8, fee_e8 * E8
                    money_e16 = -quantity_e8 * it.price_e8 - fee_e16
                    add((it.instrument, client), quantity_e8, money_e16, fee_e8, 1)
                    currency = it.instrument.partition("-")[2]
                    add((it.instrument, f"fees/{currency}"), 0, fee_e16, -fee_e8, 1)
    return [Obligation(*key, *values) for key, values in sorted(sums.items())], trades
