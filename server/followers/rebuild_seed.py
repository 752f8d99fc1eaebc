"""Puts an engine's state into the copies of a rebuild whose journal begins later than at 1."""

from typing import Any

from server.core.engine import Engine
from server.followers.postgres import copy, write_instruments
from server.followers.rebuild_sql import SCHEMA
from server.followers.rows import Batch, Standing


async def seed(connection: Any, engine: Engine, first_sequence: int, home: str) -> None:
    """Inside a transaction: what a fold from `first_sequence` can't know. `home` is the schema of
    the tables that are copied."""
    await connection.execute(f"SET LOCAL search_path = {SCHEMA}, {home}")
    await connection.execute("TRUNCATE client_positions, fees, orderbook_snapshots")
    batch = Batch()
    for order in engine.orders(limit=1 << 62):
        if order.placed_sequence < first_sequence:
            changed = order.closed_sequence or order.placed_sequence
            standing = Standing(engine.order_event(order), order.updated_ns, changed)
            batch.placed[order.placed_sequence] = standing
    await copy(connection, "orders", batch.placed_lines())
    known = {row[0] for row in await connection.fetch("SELECT instrument FROM instruments")}
    missing = [each for name, each in engine.instruments.items() if name not in known]
    await write_instruments(connection, [(each, engine.sequence) for each in missing])
    positions, currencies = [], set()
    for client in engine.directory.clients:
        for held in engine.positions(client):
            positions.append(
                f"{client}\t{held.instrument}\t{held.net_e8}e-8\t{held.cost_e16}e-16"
                f"\t{held.realised_e16}e-16\t{held.fees_e8}e-8\t{held.updated_ns}\n"
            )
            currencies.add(held.instrument.partition("-")[2])
    await copy(connection, "client_positions", "".join(positions))
    balances = engine.fee_accounts()
    await copy(connection, "fees", "".join(f"{each}\t{balances[each]}e-8\n" for each in currencies))
