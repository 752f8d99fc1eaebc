"""`exchange place|cancel|order|book|trades`: trading from a terminal.

This module holds only what the options mean; `clients.actions`, and with it gRPC, is loaded when
one of them runs. Exit codes: 0 done, 1 refused, 2 the command line is wrong, 3 no answer.
"""

import argparse
import os

from clients import ADDRESS
from clients.decimals import NumberInvalidError, e8_of
from clients.flow import options as flow_options
from clients.types import OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce

EPILOG = (
    "Exit codes: 0 the exchange did it (read the status for what became of the order), 1 it "
    "refused, 2 the command line is wrong, 3 there was no answer."
)

Parsers = argparse._SubParsersAction  # its public name does not exist


def register(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    """Adds the trading commands; each sets `run`, which takes the parsed options."""
    _add_place(subparsers)
    _add_cancel(subparsers)
    _add_order(subparsers)
    _add_book(subparsers)
    _add_trades(subparsers)
    flow_options.register(subparsers)


def _add(
    subparsers: "Parsers[argparse.ArgumentParser]", name: str, summary: str, example: str
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}, for example: {example}",
        epilog=EPILOG,
    )
    parser.add_argument(
        "--address",
        default=os.environ.get("EXCHANGE_GRPC") or ADDRESS,
        metavar="HOST:PORT",
        help="where the exchange serves gRPC (EXCHANGE_GRPC; %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, numbers as strings")
    parser.set_defaults(run=_run, command=name)
    return parser


def _add_place(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    example = "exchange place alice buy 0.25 BTC-USD --price 70150.5"
    parser = _add(subparsers, "place", "place an order", example)
    parser.add_argument("client", metavar="CLIENT", help="whose order it is")
    parser.add_argument("side", choices=list(map(str, Side)))
    parser.add_argument("quantity", metavar="QUANTITY", type=_number, help="e.g. 0.25")
    parser.add_argument("instrument", metavar="INSTRUMENT", help="e.g. BTC-USD")
    parser.add_argument("--price", type=_number, help="limit price; a market order has none")
    parser.add_argument("--type", choices=list(map(str, OrderType)), default="limit")
    parser.add_argument(
        "--tif",
        choices=list(map(str, TimeInForce)),
        help="time in force (gtc for limit orders, ioc for market orders)",
    )
    parser.add_argument("--post-only", action="store_true", help="only rest, never trade at once")
    parser.add_argument(
        "--stp",
        choices=list(map(str, SelfTradePrevention)),
        help="self-trade prevention (as the instrument says)",
    )
    parser.add_argument("--id", default="", help="order id (one is generated)")
    _add_key(parser)


def _add_cancel(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    example = "exchange cancel order-1, or exchange cancel --all --client alice"
    parser = _add(subparsers, "cancel", "cancel an order, or all of a client", example)
    parser.add_argument("order", metavar="ORDER", nargs="?", help="order id")
    parser.add_argument("--all", action="store_true", help="every open order of --client")
    parser.add_argument("--client", default="", help="whose order it is")
    parser.add_argument("--instrument", default="", help="with --all: only of this instrument")
    parser.add_argument("--side", choices=list(map(str, Side)), help="with --all: only this side")
    _add_key(parser)
    parser.set_defaults(run=_run_cancel, refuse_usage=parser.error)


def _add_order(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    example = "exchange order order-1, or exchange order --client alice --status open"
    parser = _add(subparsers, "order", "show an order, or list the newest", example)
    parser.add_argument("order", metavar="ORDER", nargs="?", help="order id")
    parser.add_argument("--client", default="", help="list: only this client's")
    parser.add_argument("--instrument", default="", help="list: only of this instrument")
    parser.add_argument("--side", choices=list(map(str, Side)), help="list: only this side")
    parser.add_argument("--status", choices=list(map(str, OrderStatus)), help="list: only these")
    _add_limit(parser, "list: at most so many")


def _add_book(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    parser = _add(subparsers, "book", "show the order book", "exchange book BTC-USD")
    parser.add_argument("instrument", metavar="INSTRUMENT", help="e.g. BTC-USD")
    parser.add_argument(
        "--levels", type=_count, default=10, help="levels a side, at most 1000 (%(default)s)"
    )


def _add_trades(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    parser = _add(subparsers, "trades", "show the newest trades", "exchange trades BTC-USD")
    parser.add_argument("instrument", metavar="INSTRUMENT", help="e.g. BTC-USD")
    _add_limit(parser, "at most so many")


def _add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key",
        default="",
        help="idempotency key: the same command again gives the first outcome again",
    )


def _add_limit(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument("--limit", type=_count, default=20, help=f"{meaning} (%(default)s)")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 1000):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 1000; got {text!r}")
    return int(text)


def _number(text: str) -> str:
    try:
        e8_of(text, "number")
    except NumberInvalidError as error:
        raise argparse.ArgumentTypeError(f"must be {error.limit}; got {text!r}") from None
    return text


def _run_cancel(options: argparse.Namespace, *_: object) -> int:
    if options.all == bool(options.order):
        options.refuse_usage("name one order, or say --all --client CLIENT")
    if options.all and not options.client:
        options.refuse_usage("--all needs --client CLIENT, whose orders to cancel")
    if options.all and options.key:
        options.refuse_usage("--key goes with one order, not with --all")
    if options.key and not options.client:
        options.refuse_usage("a key belongs to a client: give --client with --key")
    if not options.all and (options.instrument or options.side):
        options.refuse_usage("--instrument and --side go with --all")
    return _run(options)


def _run(options: argparse.Namespace, *_: object) -> int:
    from clients import actions

    return actions.run(options)
