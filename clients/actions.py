"""What the trading commands do: ask the exchange, print the answer, give the exit code."""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import TypeVar

from clients.client import ExchangeClient
from clients.errors import ExchangeError, OutcomeUnknownError, RefusedError
from clients.files import whole_file
from clients.presentation import (
    Answer,
    book_lines,
    cancelled_lines,
    fills_lines,
    followers_lines,
    instruments_lines,
    json_of,
    order_lines,
    orders_lines,
    own_trade,
    placed_lines,
    positions_lines,
    sequences_behind,
    settlement_csv,
    settlement_lines,
    statistics_lines,
    status_lines,
    ticker_lines,
    trades_lines,
)
from clients.requests import CancelOrder, CancelOrders, PlaceOrder, ReplaceOrder, SetInstrument
from clients.retries import Retries
from clients.terminal import colours_on, line, text_of
from clients.types import WORKING

DONE, REFUSED, USAGE, NO_ANSWER = 0, 1, 2, 3  # 2 is argparse's own
CONNECT_S = 3.0  # a person waits: a machine that drops packets is told apart by then
OVERALL_S = 10.0  # and for an answer: two attempts' worth

V = TypeVar("V")


def run(options: argparse.Namespace) -> int:
    """Runs the command and prints its answer, or one sentence that says why there is none."""
    try:
        answer = asyncio.run(_ask(options))
    except ExchangeError as error:
        return failed(options, error)
    _print(answer, as_json=options.json)
    if answer.ended is None:
        return DONE
    print(f"exchange {options.command}: earlier ones: {answer.ended}", file=sys.stderr)
    return code_of(answer.ended)


def _print(answer: Answer, *, as_json: bool) -> None:
    coloured = colours_on(sys.stdout, os.environ)
    lines = [json_of(answer.value)] if as_json else answer.lines
    for each in lines:
        print(each if isinstance(each, str) else text_of(each, coloured=coloured))
    sys.stdout.flush()


def failed(options: argparse.Namespace, error: ExchangeError, indent: int | None = 2) -> int:
    """Say why there is no answer: the exit code. The indent is that of JSON, as in `json_of`."""
    unknown = isinstance(error, OutcomeUnknownError)
    key = getattr(error.request, "idempotency_key", "") if unknown else ""
    hint = f" (the key is {key})" if key else ""
    details = {
        "reason": error.reason,
        "field": error.field,
        "limit": error.limit,
        "value": error.value,
        "code": error.code.name,
        "message": error.message,
        "idempotency_key": key,
    }
    _tell_why(options, f"{error}{hint}", details, indent)
    return code_of(error)


def code_of(error: ExchangeError) -> int:
    """Give the exit code that the command ends with."""
    return REFUSED if isinstance(error, RefusedError) else NO_ANSWER


def usage_wrong(options: argparse.Namespace, wrong: ValueError) -> int:
    """Say why the command line can't be carried out: the exit code."""
    _tell_why(options, str(wrong), {"message": str(wrong)})
    return USAGE


def _tell_why(
    options: argparse.Namespace, sentence: str, details: dict[str, str], indent: int | None = 2
) -> None:
    print(f"exchange {options.command}: {sentence}", file=sys.stderr)
    if options.json:
        given = {name: value for name, value in details.items() if value}
        print(json_of({"error": given}, indent))


async def _ask(options: argparse.Namespace) -> Answer:
    action: Callable[[ExchangeClient, argparse.Namespace], Awaitable[Answer]] = _ACTIONS[
        options.command
    ]
    retries = Retries(overall_s=OVERALL_S)
    async with ExchangeClient(options.address, retries=retries) as exchange:
        # At once, where otherwise a call would be tried until a server is there.
        await exchange.connect(CONNECT_S)
        return await action(exchange, options)


async def _settle(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    settlement = await exchange.settle(options.date)
    if options.csv is None:
        return Answer(settlement, settlement_lines(settlement))
    text = settlement_csv(settlement)
    if str(options.csv) == "-":
        return Answer(settlement, [line(each) for each in text.splitlines()])
    with whole_file(options.csv) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="")
    said = f"{settlement.date}: {len(settlement.obligations)} obligations in {options.csv}"
    return Answer(settlement, [line(said)])


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


async def _replace(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    replaced = await exchange.replace(
        ReplaceOrder(
            options.order,
            price=options.price,
            quantity=options.quantity,
            client_id=options.client,
            idempotency_key=options.key,
        )
    )
    return Answer(replaced, placed_lines(replaced))


async def _cancel(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    cancelled = await exchange.cancel(CancelOrder(options.order, options.client, options.key))
    return Answer(cancelled, order_lines(cancelled.order))


async def _cancel_all(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    cancel = CancelOrders(options.client, options.instrument, options.side)
    cancelled = await exchange.cancel_all(cancel)
    return Answer(cancelled, cancelled_lines(cancelled))


async def _order(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    order = await exchange.order(options.order)
    return Answer(order, order_lines(order))


async def _orders(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    working = options.status == WORKING
    orders, ended = await _first(
        options.limit,
        exchange.orders(
            client_id=options.client,
            instrument=options.instrument,
            side=options.side,
            status=None if working else options.status,
            working=working,
            page_size=options.limit,
        ),
    )
    return Answer(orders, orders_lines(orders), ended)


async def _book(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    book = await exchange.book(options.instrument, options.levels)
    return Answer(book, book_lines(book))


async def _trades(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    client, limit = options.client, options.limit
    trades, ended = await _first(
        limit, exchange.trades(options.instrument, page_size=limit, client_id=client)
    )
    if not client:
        return Answer(trades, trades_lines(trades), ended)
    own = [own_trade(trade, client) for trade in trades]
    return Answer(own, fills_lines(trades, client), ended)


async def _ticker(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    ticker = await exchange.ticker(options.instrument)
    return Answer(ticker, ticker_lines(ticker))


async def _statistics(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    statistics = await exchange.statistics(options.instrument)
    return Answer(statistics, statistics_lines(statistics))


async def _positions(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    positions = await exchange.positions(options.client)
    return Answer(positions, positions_lines(positions))


async def _instruments(exchange: ExchangeClient, _: argparse.Namespace) -> Answer:
    instruments = await exchange.instruments()
    return Answer(instruments, instruments_lines(instruments))


async def _status(exchange: ExchangeClient, _: argparse.Namespace) -> Answer:
    status = await exchange.status()
    return Answer(status, status_lines(status))


async def _followers(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    if options.remove is not None:
        sequence = await exchange.remove_follower(options.remove)
        at = f"at sequence {sequence}" if sequence else "not known, or had read nothing"
        return Answer(
            {"removed": options.remove, "sequence": sequence},
            [line(f"{options.remove} is forgotten; it was {at}")],
        )
    status = await exchange.status()
    told = [
        {**asdict(each), "behind_sequences": sequences_behind(status, each)}
        for each in status.followers
    ]
    return Answer(told, followers_lines(status))


async def _set_instrument(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    instrument = await exchange.set_instrument(
        SetInstrument(
            options.instrument,
            tick=options.tick,
            lot=options.lot,
            price_min=options.price_min,
            price_max=options.price_max,
            quantity_min=options.quantity_min,
            quantity_max=options.quantity_max,
            maker_fee=options.maker,
            taker_fee=options.taker,
            self_trade_prevention=options.stp,
        )
    )
    return Answer(instrument, instruments_lines([instrument]))


async def _fees(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    instrument = await exchange.set_fees(options.instrument, options.maker, options.taker)
    return Answer(instrument, instruments_lines([instrument]))


async def _log_level(exchange: ExchangeClient, options: argparse.Namespace) -> Answer:
    previous = await exchange.set_log_level(options.level)
    said = {"level": options.level, "previous_level": previous}
    return Answer(said, [line(f"{options.level}, was {previous}")])


_ACTIONS = {
    "settle": _settle,
    "place": _place,
    "replace": _replace,
    "cancel": _cancel,
    "cancel-all": _cancel_all,
    "order": _order,
    "orders": _orders,
    "book": _book,
    "trades": _trades,
    "ticker": _ticker,
    "statistics": _statistics,
    "positions": _positions,
    "instruments": _instruments,
    "status": _status,
    "followers": _followers,
    "set-instrument": _set_instrument,
    "fees": _fees,
    "log-level": _log_level,
}


async def _first(limit: int, values: AsyncIterator[V]) -> tuple[list[V], ExchangeError | None]:
    """What can be had, and why there is no more where there are fewer."""
    taken: list[V] = []
    try:
        async for value in values:
            taken.append(value)
            if len(taken) == limit:
                break
    except ExchangeError as error:
        if not taken:
            raise
        return taken, error
    return taken, None
