"""`exchange place`, `book`, `watch` and so on: trading from a terminal.

This module holds only what the options mean; `clients.actions`, and with it gRPC, is loaded when
one of them runs. `EPILOG` lists the exit codes.
"""

import argparse

from clients.bounds import add_address, number, positive, rate, refuse_bytes, whole
from clients.completion import SHELLS, script
from clients.files import STANDARD_OUTPUT, file_to_write
from clients.flow import options as flow_options
from clients.load import options as load_options
from clients.types import WORKING, OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce

EPILOG = (
    "Exit codes: 0 done (what became of an order, its status says), 1 the exchange refused, 2 the "
    "command line is wrong, 3 there was no answer, 4 there was one and it could not be written, "
    "130 after Ctrl-C; watch, flow and, once it sends, load end by it as by themselves, with 0."
)

Parsers = argparse._SubParsersAction  # its public name does not exist


def register(
    subparsers: "Parsers[argparse.ArgumentParser]", program: argparse.ArgumentParser
) -> None:
    """Adds the trading commands to the program's others; each sets `run`, which takes the parsed
    options."""
    _add_place(subparsers)
    _add_replace(subparsers)
    _add_cancel(subparsers)
    _add_cancel_all(subparsers)
    _add_order(subparsers)
    _add_orders(subparsers)
    _add_book(subparsers)
    _add_trades(subparsers)
    _add_figures(subparsers)
    _add_positions(subparsers)
    _add(subparsers, "instruments", "show what can be traded", "exchange instruments")
    _add(subparsers, "status", "show how the exchange is", "exchange status")
    _add_followers(subparsers)
    _add_set_instrument(subparsers)
    _add_fees(subparsers)
    _add_log_level(subparsers)
    _add_watch(subparsers)
    _add_settle(subparsers)
    flow_options.register(subparsers)
    load_options.register(subparsers)
    _add_completion(subparsers, program)


def _add(
    subparsers: "Parsers[argparse.ArgumentParser]", name: str, summary: str, example: str
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}, for example: {example}",
        epilog=EPILOG,
    )
    add_address(parser)
    parser.add_argument(
        "--json", action="store_true", help="print JSON, prices and quantities as strings"
    )
    parser.set_defaults(run=_run, command=name, refuse_usage=parser.error)
    return parser


def _add_place(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    example = "exchange place alice buy 0.25 BTC-USD --price 70150.5"
    parser = _add(subparsers, "place", "place an order", example)
    parser.add_argument("client", metavar="CLIENT", help="whose order it is")
    parser.add_argument("side", choices=list(map(str, Side)))
    parser.add_argument("quantity", metavar="QUANTITY", type=number, help="e.g. 0.25")
    parser.add_argument("instrument", metavar="INSTRUMENT", help="e.g. BTC-USD")
    parser.add_argument("--price", type=number, help="limit price; a market order has none")
    parser.add_argument(
        "--type",
        choices=list(map(str, OrderType)),
        default="limit",
        help="type of the order (%(default)s)",
    )
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


def _add_replace(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    example = "exchange replace order-1 --price 70150"
    parser = _add(subparsers, "replace", "change the price or quantity of an order", example)
    _add_order_id(parser)
    parser.add_argument("--price", type=number, help="new price (as it is)")
    parser.add_argument("--quantity", type=number, help="new total, fills included (as it is)")
    parser.add_argument("--client", default="", help="whose order it is; refused if not theirs")
    _add_key(parser, needs="; needs --client")
    parser.set_defaults(run=_run_replace)


def _add_cancel(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    parser = _add(subparsers, "cancel", "cancel an order", "exchange cancel order-1")
    _add_order_id(parser)
    parser.add_argument("--client", default="", help="whose order it is; refused if not theirs")
    _add_key(parser, needs="; needs --client")
    parser.set_defaults(run=_run_keyed)


def _add_cancel_all(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    example = "exchange cancel-all alice --side buy"
    parser = _add(subparsers, "cancel-all", "cancel every open order of a client", example)
    parser.add_argument("client", metavar="CLIENT", help="whose orders")
    parser.add_argument("--instrument", default="", help="only of this instrument")
    parser.add_argument("--side", choices=list(map(str, Side)), help="only this side")


def _add_order(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    _add_order_id(_add(subparsers, "order", "show an order", "exchange order order-1"))


def _add_orders(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    example = "exchange orders --client alice --status working"
    parser = _add(subparsers, "orders", "list orders, newest first", example)
    parser.add_argument("--client", default="", help="only this client's")
    parser.add_argument("--instrument", default="", help="only of this instrument")
    parser.add_argument("--side", choices=list(map(str, Side)), help="only this side")
    parser.add_argument(
        "--status",
        choices=[*map(str, OrderStatus), WORKING],
        help=f"only these; {WORKING} are those in the book, open or partially filled",
    )
    _add_limit(parser)


def _add_book(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    parser = _add(subparsers, "book", "show the order book", "exchange book BTC-USD")
    _add_instrument(parser)
    parser.add_argument(
        "--levels",
        type=whole(1, 1000),
        default=10,
        help="levels a side, at most 1000 (%(default)s)",
    )


def _add_trades(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    example = "exchange trades BTC-USD --client alice"
    parser = _add(subparsers, "trades", "show the newest trades", example)
    _add_instrument(parser)
    parser.add_argument("--client", default="", help="only this client's, with role and fee")
    _add_limit(parser)


def _add_figures(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    for name, summary in (
        ("ticker", "show last price, best bid and ask, and the last 24 hours"),
        ("statistics", "show orders, trades, depth and rates of one market"),
    ):
        _add_instrument(_add(subparsers, name, summary, f"exchange {name} BTC-USD"))


def _add_positions(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    example = "exchange positions alice"
    parser = _add(subparsers, "positions", "show what a client holds", example)
    parser.add_argument("client", metavar="CLIENT", help="whose positions")


def _add_watch(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    example = "exchange watch BTC-USD --client alice"
    parser = _add(
        subparsers, "watch", "watch book, trades and own orders until q or Ctrl-C", example
    )
    _add_instrument(parser)
    parser.add_argument("--client", default="", help="show this client's orders too")
    parser.add_argument(
        "--lines",
        action="store_true",
        help="print a line for each change; without a terminal, and with --json, it always does",
    )
    parser.add_argument(
        "--seconds", type=whole(1, 86_400), help="end after so long, at most a day (never)"
    )
    parser.set_defaults(run=_run_watch)


def _add_completion(
    subparsers: "Parsers[argparse.ArgumentParser]", program: argparse.ArgumentParser
) -> None:
    parser = subparsers.add_parser(
        "completion",
        help="print what a shell needs to complete this command",
        description="Prints what a shell has to read, so that TAB completes commands and options.",
        epilog="For this shell only: source <(exchange completion bash), the same with zsh, or "
        "exchange completion fish | source. For every new one put that line into ~/.bashrc, "
        "~/.zshrc after compinit, or ~/.config/fish/config.fish.",
    )
    parser.add_argument("shell", choices=SHELLS)

    def run(options: argparse.Namespace, *_: object) -> int:
        print(script(options.shell, program), end="")
        return 0

    parser.set_defaults(run=run)


def _add_order_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("order", metavar="ORDER", help="order id")


def _add_instrument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instrument", metavar="INSTRUMENT", help="e.g. BTC-USD")


def _add_key(parser: argparse.ArgumentParser, needs: str = "") -> None:
    parser.add_argument(
        "--key",
        default="",
        help=f"idempotency key: the same command again gives the first outcome again{needs}",
    )


def _add_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit", type=whole(1, 1000), default=20, help="how many, at most 1000 (%(default)s)"
    )


def _add_followers(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    example = "exchange followers --remove old-reports"
    summary = "show who follows the journal and how far behind, or forget one of them"
    parser = _add(subparsers, "followers", summary, example)
    parser.add_argument(
        "--remove",
        metavar="NAME",
        help="forget a follower that is gone for good: the journal is no longer kept for it",
    )


def _add_set_instrument(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    example = "exchange set-instrument BTC-EUR --tick 0.01 --lot 0.0001"
    parser = _add(
        subparsers, "set-instrument", "list an instrument while running, or change one", example
    )
    parser.add_argument("instrument", metavar="INSTRUMENT", help="e.g. BTC-EUR")
    for option, meaning in (
        ("--tick", "of prices; it stays while orders rest"),
        ("--lot", "of quantities; it stays while orders rest"),
        ("--price-min", "lowest price"),
        ("--price-max", "highest price"),
        ("--quantity-min", "of an order"),
        ("--quantity-max", "of an order"),
    ):
        parser.add_argument(option, type=positive, help=f"{meaning} (as it is)")
    _add_fee_options(parser)
    parser.add_argument(
        "--stp",
        choices=list(map(str, SelfTradePrevention)),
        help="self-trade prevention of orders that name none (as it is)",
    )


def _add_fees(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    example = "exchange fees BTC-USD --maker -0.0001 --taker 0.0005"
    parser = _add(subparsers, "fees", "change the fees of an instrument while running", example)
    _add_instrument(parser)
    _add_fee_options(parser)
    parser.set_defaults(run=_run_fees)


def _add_fee_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--maker", type=rate, help="of the resting side, part of the notional (as it is)"
    )
    parser.add_argument("--taker", type=rate, help="of the incoming side (as it is)")


def _add_log_level(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    example = "exchange log-level debug"
    parser = _add(subparsers, "log-level", "change how much the server tells", example)
    parser.add_argument("level", choices=("debug", "info", "warning", "error"))


def _add_settle(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    example = "exchange settle --date 2026-11-20 --csv 2026-11-20.csv"
    parser = _add(
        subparsers, "settle", "net a day's trades into one obligation for each account", example
    )
    parser.add_argument(
        "--date", required=True, metavar="YYYY-MM-DD", help="a day in UTC that is over"
    )
    parser.add_argument(
        "--csv", type=file_to_write, metavar="FILE", help="write CSV there; - is standard output"
    )
    parser.set_defaults(run=_run_settle)


def _run_fees(options: argparse.Namespace, *_: object) -> int:
    if options.maker is None and options.taker is None:
        options.refuse_usage("say what is to change: --maker, --taker, or both")
    return _run(options)


def _run_replace(options: argparse.Namespace, *_: object) -> int:
    if options.price is None and options.quantity is None:
        options.refuse_usage("say what is to change: --price, --quantity, or both")
    return _run_keyed(options)


def _run_keyed(options: argparse.Namespace, *_: object) -> int:
    if options.key and not options.client:
        options.refuse_usage("a key belongs to a client: give --client with --key")
    return _run(options)


def _run_settle(options: argparse.Namespace, *_: object) -> int:
    if options.json and str(options.csv) == STANDARD_OUTPUT:
        options.refuse_usage("--json and --csv - both write to standard output: give a file's name")
    return _run(options)


def _run_watch(options: argparse.Namespace, *_: object) -> int:
    from clients.watch import command

    refuse_bytes(options)
    return command.run(options)


def _run(options: argparse.Namespace, *_: object) -> int:
    from clients import actions

    refuse_bytes(options)
    return actions.run(options)
