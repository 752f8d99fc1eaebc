"""What the trading commands do: ask the exchange, print the answer, give the exit code."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from clients.client import ExchangeClient
from clients.errors import ExchangeError, OutcomeUnknownError, RefusedError
from clients.presentation import (
    Answer,
    book_lines,
    cancelled_lines,
    json_of,
    order_lines,
    orders_lines,
    placed_lines,
    trades_lines,
)
from clients.requests import CancelOrder, CancelOrders, PlaceOrder
from clients.retries import Retries
from clients.types import Order, Trade

DONE, REFUSED, NO_ANSWER = 0, 1, 3
CONNECT_S = 3.0  # a person waits: a machine that drops packets is told apart by then
OVERALL_S = 10.0  # and for an answer: two attempts' worth

V = TypeVar("V")


def run(options: argparse.Namespace) -> int:
    """Runs the command and prints its answer, or one sentence that says why there is none."""
    try:
        answer = asyncio.run(_ask(options))
    except ExchangeError as error:
        _failed(options, error)
        return REFUSED if isinstance(error, RefusedError) else NO_ANSWER
    print(json_of(answer.value) if options.json else "\n".join(answer.lines))
    return DONE


async def _ask(options: argparse.Namespace) -> Answer:
    action: Callable[[ExchangeClient, argparse.Namespace], Awaitable[Answer]] = _ACTIONS[
        options.command
    ]
    retries = Retries(overall_s=OVERALL_S)
    async with ExchangeClient(options.address, retries=retries) as exchange:
        # At once, where otherwise a call would be tried until a server is there.
        await exchange.connect(CONNECT_S)
        return await action(exchange, options)


async def _place(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    placed = await exchange.place(
        PlaceOrder(
            options.client,
            options.instrument,
            options.side,
            options.quantity,
            price=options.price,
            type=options.type,
            time_in_force=options.tif,
            post_only=options.post_only,
            self_trade_prevention=options.stp,
            order_id=options.id,
            idempotency_key=options.key,
        )
    )
    return Answer(placed, placed_lines(placed))


async def _cancel(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    if options.all:
        cancel = CancelOrders(options.client, options.instrument, options.side)
        many = await exchange.cancel_all(cancel)
        return Answer(many, cancelled_lines(many))
    one = await exchange.cancel(CancelOrder(options.order, options.client, options.key))
    return Answer(one, order_lines(one.order))


async def _order(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    if options.order:
        order = await exchange.order(options.order)
        return Answer(order, order_lines(order))
    orders: list[Order] = await _first(
        options.limit,
        exchange.orders(
            client_id=options.client,
            instrument=options.instrument,
            side=options.side,
            status=options.status,
            page_size=options.limit,
        ),
    )
    return Answer(orders, orders_lines(orders))


async def _book(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    book = await exchange.book(options.instrument, options.levels)
    return Answer(book, book_lines(book))


async def _trades(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    trades: list[Trade] = await _first(
        options.limit, exchange.trades(options.instrument, page_size=options.limit)
    )
    return Answer(trades, trades_lines(trades))


_ACTIONS = {
    "place": _place,
    "cancel": _cancel,
    "order": _order,
    "book": _book,
    "trades": _trades,
}


async def _first(limit: int, values: AsyncIterator[V]) -> list[V]:
    taken: list[V] = []
    async for value in values:
        taken.append(value)
        if len(taken) == limit:
            break
    return taken


def _failed(options: argparse.Namespace, error: ExchangeError) -> None:
    unknown = isinstance(error, OutcomeUnknownError)
    key = getattr(error.request, "idempotency_key", "") if unknown else ""
    hint = f" (the key is {key})" if key else ""
    print(f"exchange {options.command}: {error}{hint}", file=sys.stderr)
    if options.json:
        told = {
            "reason": error.reason,
            "field": error.field,
            "limit": error.limit,
            "value": error.value,
            "code": error.code.name,
            "message": error.message,
            "idempotency_key": key,
        }
        print(json_of({"error": {name: value for name, value in told.items() if value}}))
