"""Numbers, addresses and texts of a command line, within stated bounds."""

import argparse
import os
from collections.abc import Callable

from clients import ADDRESS
from clients.decimals import NumberInvalidError, e6_of, e8_of

DIGITS_MAX = 12  # characters of any number that an option takes
PORT_MAX = 65_535


def whole(low: int, high: int, variable: str = "") -> Callable[[str], int]:
    """An option's type: a whole number from `low` to `high`. The variable of the environment that
    says it where no option does is named in the error, which may be all that the user knows."""
    also = f" ({variable})" if variable else ""

    def parse(text: str) -> int:
        is_whole = text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
        if not (is_whole and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {low:,} to {high:,}; got {text!r}{also}"
            )
        return int(text)

    return parse


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add `--address`, which every command has."""
    parser.add_argument(
        "--address",
        type=host_port,
        default=os.environ.get("EXCHANGE_GRPC") or ADDRESS,
        metavar="HOST:PORT",
        help="where the exchange serves gRPC (EXCHANGE_GRPC; %(default)s)",
    )


def host_port(text: str) -> str:
    """An option's type: where a server is."""
    host, _, port = text.rpartition(":")
    is_port = port.isascii() and port.isdigit() and 1 <= int(port[:DIGITS_MAX]) <= PORT_MAX
    if not (host.strip("[]") and host.isprintable() and " " not in host and is_port):
        raise argparse.ArgumentTypeError(f"must be HOST:PORT such as 127.0.0.1:50051; got {text!a}")
    return text


def number(text: str) -> str:
    """An option's type: a decimal, kept as it was written."""
    return _checked(text, e8_of)


def positive(text: str) -> str:
    """An option's type: a decimal greater than 0, kept as it was written."""
    if e8_of(number(text), "number") <= 0:
        raise argparse.ArgumentTypeError(f"must be greater than 0; got {text!r}")
    return text


def rate(text: str) -> str:
    """An option's type: a part of the notional, likewise."""
    return _checked(text, e6_of)


def refuse_bytes(options: argparse.Namespace) -> None:
    """What was typed and is not text can't be sent; a locale without UTF-8 makes it of umlauts."""
    for name, value in vars(options).items():
        if isinstance(value, str) and any("\udc80" <= char <= "\udcff" for char in value):
            options.refuse_usage(f"{name} must be text as the locale encodes it; got {value!a}")


def _checked(text: str, units_of: Callable[[str, str], int]) -> str:
    try:
        units_of(text, "number")
    except NumberInvalidError as error:
        raise argparse.ArgumentTypeError(f"must be {error.limit}; got {text!r}") from None
    return text
