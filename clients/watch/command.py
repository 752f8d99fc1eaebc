"""What `exchange watch` does: follow one market and show it until somebody has seen enough."""

import argparse
import asyncio
import os
import stat
import sys
from collections.abc import Awaitable, Callable

from clients.actions import CONNECT_S, DONE, failed
from clients.client import ExchangeClient
from clients.errors import ExchangeError
from clients.retries import Retries
from clients.stopping import stop_on_signals
from clients.terminal import colours_on
from clients.watch.lines import LinePrinter
from clients.watch.screen import picture
from clients.watch.terminal import Canvas
from clients.watch.view import View

FRAME_S = 0.1  # between two pictures: faster than anybody reads, and a few percent of a CPU
FOREVER_S = 1e9  # a view outlasts any outage; only the first connection has to be there

Show = Callable[[ExchangeClient, argparse.Namespace, asyncio.Event], Awaitable[None]]


def run(options: argparse.Namespace) -> int:
    """Watches until q, Ctrl-C or its time is over: the exit code."""
    try:
        asyncio.run(_watch(options))
    except ExchangeError as error:
        return failed(options, error, indent=None)
    return DONE


async def _watch(options: argparse.Namespace) -> None:
    stop = stop_on_signals(on_hangup=True)
    in_lines = options.json or options.lines or not _is_canvas()
    show: Show = _show_lines if in_lines else _show_pictures
    async with ExchangeClient(options.address, retries=Retries(overall_s=FOREVER_S)) as exchange:
        await exchange.connect(CONNECT_S)
        showing = asyncio.ensure_future(show(exchange, options, stop))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait(
                [showing, stopping], timeout=options.seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            showing.cancel()
            stopping.cancel()
            outcome = await asyncio.gather(showing, return_exceptions=True)
        if isinstance(outcome[0], Exception):
            raise outcome[0]


def _is_canvas() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


async def _show_lines(
    exchange: ExchangeClient, options: argparse.Namespace, stop: asyncio.Event
) -> None:
    printer = LinePrinter(as_json=options.json)
    _stop_with_reader(stop)
    await View(options.instrument, options.client, printer.tell).follow(exchange)


def _stop_with_reader(stop: asyncio.Event) -> None:
    """A pipe whose reader has gone ends it at once; a quiet market has nothing to fail on."""
    loop, output = asyncio.get_running_loop(), sys.stdout.fileno()

    def gone() -> None:
        loop.remove_reader(output)
        stop.set()

    if stat.S_ISFIFO(os.fstat(output).st_mode):
        # Nothing is ever read from this end: what comes is the error that nobody is at the other.
        loop.add_reader(output, gone)


async def _show_pictures(
    exchange: ExchangeClient, options: argparse.Namespace, stop: asyncio.Event
) -> None:
    changed = asyncio.Event()
    view = View(options.instrument, options.client, lambda _: changed.set())
    bar = "█" if sys.stdout.encoding.lower().startswith("utf") else "#"
    coloured = colours_on(sys.stdout, os.environ)
    with Canvas(coloured, redraw=changed.set, quit_=stop.set) as canvas:

        async def draw() -> None:
            while True:
                changed.clear()
                canvas.draw(picture(view, *canvas.size, bar))
                await changed.wait()
                await asyncio.sleep(FRAME_S)

        drawing = asyncio.create_task(draw())
        following = asyncio.create_task(view.follow(exchange))
        try:
            await asyncio.wait([drawing, following], return_when=asyncio.FIRST_COMPLETED)
        finally:
            drawing.cancel()
            following.cancel()
            outcomes = await asyncio.gather(drawing, following, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
