"""What `exchange load` does: read or draw, send, print the summary, give the exit code."""

import argparse
import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from clients.actions import DONE, REFUSED, failed, usage_wrong
from clients.errors import ExchangeError
from clients.load.figures import Figures
from clients.load.order_mix import drawn_orders
from clients.load.orders_file import FileWrongError, read_orders
from clients.load.over_http import (
    FilesLimitError,
    http_body,
    send_over_http,
)
from clients.load.over_session import send_over_session
from clients.loopback import NotLoopbackError, require_loopback
from clients.order_wire import place_message
from clients.progress import Progress
from clients.requests import PlaceOrder
from clients.stopping import stop_on_signals

TOTAL = 2_000  # of a load without a file, as documented
PROGRESS_S = 1.0


class UrlWrongError(ValueError):
    """The text is no address that can be used; the message is the sentence to show."""


def run(options: argparse.Namespace) -> int:
    """Sends, and prints what became of it, or one sentence that says why nothing was sent."""
    try:
        via = options.via or ("grpc" if options.file else "http")
        place = _place(options, via)
        if not options.allow_remote:
            require_loopback(place[0])
        # All of a file, before anything waits: Ctrl-C ends it there.
        orders, total = _orders(options)
        encode = http_body if via == "http" else place_message
        encoded: Iterator[Any] = map(encode, orders)
        if options.file:
            encoded = iter(list(encoded))
        figures = asyncio.run(_load(options, via, place, encoded, total))
    except (NotLoopbackError, UrlWrongError, FileWrongError, FilesLimitError) as wrong:
        return usage_wrong(options, wrong)
    except ExchangeError as error:
        return failed(options, error)
    print(json.dumps(figures.plain(), indent=2) if options.json else "\n".join(figures.lines()))
    is_unfinished = figures.not_sent > 0 and not figures.is_stopped
    return REFUSED if figures.errors or is_unfinished else DONE


async def _load(
    options: argparse.Namespace,
    via: str,
    place: tuple[str, int],
    encoded: Iterator[Any],
    total: int,
) -> Figures:
    host, port = place
    stop = stop_on_signals()
    of_file = total if options.file else None
    if via == "http":
        figures = Figures(f"over HTTP, {options.clients:,} clients at once", of_file)
        sending = send_over_http(
            host,
            port,
            encoded,
            figures,
            clients=options.clients,
            seconds=options.seconds,
            stop=stop,
        )
    else:
        figures = Figures(f"through one gRPC session, {options.batch:,} in a message", of_file)
        sending = send_over_session(
            f"{host}:{port}",
            encoded,
            figures,
            batch=options.batch,
            seconds=options.seconds,
            stop=stop,
        )
    progress = asyncio.create_task(_show(figures, total))
    try:
        await sending
        figures.is_stopped = stop.is_set()
    finally:
        progress.cancel()
        with suppress(asyncio.CancelledError):
            await progress
    return figures


def _orders(options: argparse.Namespace) -> tuple[Iterator[PlaceOrder], int]:
    """The orders to send, and how many they are."""
    if not options.file:
        total = options.total or TOTAL
        drawn = drawn_orders(options.seed, options.clients, options.instrument)
        return islice(drawn, total), total
    read = read_orders(options.file)[: options.total]
    return iter(read), len(read)


def _place(options: argparse.Namespace, via: str) -> tuple[str, int]:
    """Read host and port from the options."""
    text = options.url if via == "http" else f"grpc://{options.address}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if via == "http" and (parts.scheme != "http" or parts.path not in ("", "/") or parts.query):
        host = None
    if not host or port == 0 or (via == "grpc" and port is None):
        wanted = "like http://127.0.0.1:3000" if via == "http" else "HOST:PORT"
        given = options.url if via == "http" else options.address
        name = "--url (BASE_URL)" if via == "http" else "--address"
        raise UrlWrongError(f"{name} must be {wanted}; got {given!r}")
    return host, port or 80


async def _show(figures: Figures, total: int) -> None:
    progress = Progress()
    began = time.monotonic()
    try:
        while True:
            progress.show(figures.progress(time.monotonic() - began, total))
            await asyncio.sleep(PROGRESS_S)
    finally:
        progress.end()
