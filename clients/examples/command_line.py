"""What the examples' command lines share: where the exchange is, for how long, how it ends."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal

from clients.bounds import add_address, number, whole
from clients.client import ExchangeClient
from clients.errors import ExchangeError
from clients.fields import FieldInvalidError
from clients.following import Interruption

DONE, FAILED = 0, 1


def parser(description: str, instrument: str = "BTC-USD") -> argparse.ArgumentParser:
    """The options of every example; the instrument is the default, empty for all of them."""
    own = argparse.ArgumentParser(description=description.partition("\n")[0])
    add_address(own)
    own.add_argument(
        "--instrument", default=instrument, help=f"whose market it is ({instrument or 'all'})"
    )
    own.add_argument(
        "--seconds",
        type=whole(1, 86_400),
        help="end after so many, at most a day; without it Ctrl-C ends the program",
    )
    return own


def amount(text: str) -> Decimal:
    """An option's type: a price or a quantity."""
    value = Decimal(number(text))
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be above 0; got {text!r}")
    return value


def run(work: Callable[[ExchangeClient], Awaitable[None]], options: argparse.Namespace) -> int:
    """Works until it is done, the seconds are over or somebody presses Ctrl-C: the exit code."""

    async def limited() -> None:
        async with ExchangeClient(options.address) as exchange:
            await exchange.connect()
            try:
                async with asyncio.timeout(options.seconds) as time:
                    await work(exchange)
            except TimeoutError:
                if not time.expired():
                    raise

    code = DONE
    try:
        asyncio.run(limited())
    except* (ExchangeError, FieldInvalidError, OSError) as errors:
        print(f"ended: {_first(errors)}", file=sys.stderr)
        code = FAILED
    except* KeyboardInterrupt:
        pass  # how it is meant to end
    return code


def say_interruption(interruption: Interruption) -> None:
    """Print what interrupted a stream, for people who watch."""
    print(f"interrupted: {interruption.error}; again in {interruption.delay_s:.1f} s", flush=True)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
