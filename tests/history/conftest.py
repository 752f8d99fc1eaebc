"""The same real PostgreSQL as the followers' tests have, and one that is full of orders."""

import asyncio

import asyncpg
import pytest

from server.core.commands import CancelOrder, PlaceOrder, SetInstrument, SetLimits
from server.core.instruments import Instrument, Limits
from server.core.market import TRADES_KEPT
from server.core.types import BUY, E8, LIMIT, SELL
from tests.followers.conftest import PostgresServer, database, fetch, postgres
from tests.history.written import NAME, Written

__all__ = ["database", "fetch", "postgres"]

KEPT = 40


@pytest.fixture(scope="module")
def site() -> Written:
    """Two clients' orders, most of them ended and forgotten, and more trades than are kept."""
    site = Written()
    site.commit(SetInstrument(Instrument(NAME)))
    site.commit(SetLimits(Limits(closed_orders_max=KEPT, window_ns=1)))
    for number in range(TRADES_KEPT + 200):
        quantity_e8 = (number % 7 + 1) * E8
        site.commit(
            PlaceOrder("a", NAME, SELL, LIMIT, quantity_e8, 100 * E8, order_id=f"s{number}"),
            PlaceOrder("b", NAME, BUY, LIMIT, quantity_e8, 100 * E8, order_id=f"b{number}"),
        )
        if number % 50 == 0:
            site.commit(
                PlaceOrder("a", NAME, BUY, LIMIT, E8, E8, order_id=f"open{number}"),
                PlaceOrder("a", NAME, BUY, LIMIT, E8, 2 * E8, order_id=f"gone{number}"),
                CancelOrder("a", f"gone{number}"),
            )
    return site


@pytest.fixture(scope="module")
def filled(site: Written, postgres: PostgresServer) -> str:
    """The address of a database with all of it, and a client who has come no more."""
    url = postgres.database()

    async def fill() -> None:
        await site.fill(url)
        connection = await asyncpg.connect(url)
        await connection.execute(
            "UPDATE orders SET client_id = 'early' WHERE client_id = 'a' AND placed_sequence < 800"
        )
        await connection.execute("VACUUM ANALYZE")
        await connection.close()

    asyncio.run(fill())
    return url
