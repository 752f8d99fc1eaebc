"""How much one statement of the PostgreSQL follower has to do, and for how long it may."""

import json
import re
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from server.core.commands import PlaceOrder, SetInstrument
from server.core.instruments import Instrument
from server.core.market import MINUTE_NS
from server.core.types import BUY, E8, LIMIT, SELL
from server.followers import postgres
from tests.followers.test_postgres import Fetch, assert_events, assert_fold, records, write
from tests.journal.site import Site, every_command, settings, trade


def test_a_snapshot_of_every_book_reads_the_orders_once(
    tmp_path: Path, database: str, fetch: Fetch
) -> None:
    """However many books there are: once for each would be work without a bound."""
    site = Site(tmp_path / "books")
    for name, sides in (("NONE-USD", ()), ("BUY-USD", (BUY,)), ("TWO-USD", (BUY, SELL))):
        site.commit(SetInstrument(Instrument(name)))
        for side, price in ((side, side * E8 + rise) for side in sides for rise in (0, 2, 1)):
            site.commit(PlaceOrder("a", name, side, LIMIT, E8, price))
            site.commit(PlaceOrder("a", name, side, LIMIT, E8, price))
    site.commit(*settings(), time_ns=site.engine.time_ns + MINUTE_NS)
    site.close()
    write(database, [records(site)])
    bids = [[f"1.0000000{last}", "2.00000000"] for last in (2, 1, 0)]
    asks = [[f"2.0000000{last}", "2.00000000"] for last in (0, 1, 2)]
    rows = fetch("SELECT instrument, bids, asks FROM orderbook_snapshots ORDER BY sequence, 1")
    assert [(row[0], *map(json.loads, row[1:])) for row in rows[-3:]] == [
        ("BUY-USD", bids, []),
        ("NONE-USD", [], []),
        ("TWO-USD", bids, asks),
    ]
    query = postgres._BOOKS.replace("$1", "1").replace("$2", "1")
    plan = "\n".join(row[0] for row in fetch(f"EXPLAIN {query}"))
    assert "SubPlan" not in plan, plan
    assert len(re.findall(r"Scan .*on orders\b", plan)) == 1, plan


def test_the_books_of_a_minute_may_take_longer_than_other_statements(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No smaller batch has less of them: given up once, they would be each time."""
    site = Site(tmp_path / "minutes")
    for minute in range(2):
        site.commit(*settings(), time_ns=MINUTE_NS * (30_000_000 + minute))
    site.close()
    executed, limits_s = asyncpg.Connection.execute, []

    async def execute(connection: Any, query: str, *asked: Any, **options: Any) -> str:
        if query == postgres._BOOKS:
            limits_s.append(options["timeout"])
        said: str = await executed(connection, query, *asked, **options)
        return said

    monkeypatch.setattr(asyncpg.Connection, "execute", execute)
    write(database, [records(site)])
    assert limits_s == [postgres.BOOKS_S]
    assert limits_s[0] > 10 * postgres.COMMAND_S


def test_a_statement_is_bounded_however_many_orders_a_command_ends(
    tmp_path: Path, database: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that takes too long would be given up, and the same again each time."""
    site = Site(tmp_path / "site")
    every_command(site)
    trade(site, 150)
    site.close()
    monkeypatch.setattr(postgres, "ROWS_MAX", 2)
    sizes: dict[str, list[int]] = {}

    def noted(name: str) -> None:
        ask = getattr(asyncpg.Connection, name)

        async def asked(connection: Any, query: str, *given: Any, **options: Any) -> Any:
            if given and isinstance(given[0], list | tuple):
                table = re.findall(r"(?:UPDATE|INTO|FROM) ([a-z_]+)", query)[0]
                sizes.setdefault(f"{name} {table}", []).append(len(given[0]))
            return await ask(connection, query, *given, **options)

        monkeypatch.setattr(asyncpg.Connection, name, asked)

    for name in ("execute", "fetch"):
        noted(name)
    half = len(records(site)) // 2
    write(database, [records(site)[:half], records(site)[half:]])
    bounded = ("execute orders", "execute client_positions", "fetch client_positions")
    assert {name: max(sizes[name]) for name in bounded} == dict.fromkeys(bounded, 2)
    assert_fold(fetch, site.engine)
    assert_events(fetch, records(site))
