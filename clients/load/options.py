"""The options of `exchange load`; gRPC is loaded when it runs."""

import argparse
import os
from pathlib import Path

from clients import ADDRESS
from clients.bounds import refuse_bytes, whole

CLIENTS_MAX = 10_000  # connections: the most that one address has room for beside others
TOTAL_MAX = 5_000_000  # orders of one load: their times are kept
SECONDS = 60  # of a load without a file, as documented
SECONDS_MAX = 3_600
SEED_MAX = 10**9
BATCH_MAX = 1_000  # orders in a message: the exchange's limit
URL = "http://127.0.0.1:3000"

DESCRIPTION = """\
Sends many orders and reports how they were answered. Without FILE they are drawn from a seed, 70 %
limit and 30 % market orders around one price, and sent by many clients at once over HTTP. FILE
holds orders as CSV with a header, newline-delimited JSON, or a JSON array, with the fields of
POST /orders; they go through one gRPC trading session, in their order, or over HTTP.

  exchange load --clients 1000 --total 100000
  exchange load orders.csv
  exchange load orders.ndjson --via http --clients 50
  BASE_URL=http://127.0.0.1:3000 CONCURRENT_REQUESTS=1000 TOTAL_REQUESTS=50000 \\
      DURATION_SECONDS=30 exchange load"""

EPILOG = """\
An order that the rules end (a market order that finds nothing) is accepted; an error is an order
that was refused or not answered. Exit codes: 0 every order was accepted, 1 some were not, or FILE
was not sent to its end (the time was over, the session lost), 2 the command line or the file is
wrong and nothing was sent, 3 the exchange can't be reached. Ctrl-C leaves the code to what was
sent."""


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `load`; its `run` takes the parsed options."""
    parser = subparsers.add_parser(
        "load",
        help="send many orders, from a file or random, and measure",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    environment = os.environ.get
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, help="orders to send")
    parser.add_argument(
        "--via", choices=["http", "grpc"], help="how to send (http; grpc where FILE is given)"
    )
    parser.add_argument(
        "--url",
        default=environment("BASE_URL") or URL,
        help="where the exchange serves HTTP (BASE_URL; %(default)s)",
    )
    parser.add_argument(
        "--address",
        default=environment("EXCHANGE_GRPC") or ADDRESS,
        metavar="HOST:PORT",
        help="where the exchange serves gRPC (EXCHANGE_GRPC; %(default)s)",
    )
    parser.add_argument(
        "--clients",
        type=whole(1, CLIENTS_MAX, "CONCURRENT_REQUESTS"),
        default=environment("CONCURRENT_REQUESTS") or "100",
        metavar="N",
        help="HTTP connections, each with one order in flight, at most"
        f" {CLIENTS_MAX:,} (CONCURRENT_REQUESTS; %(default)s)",
    )
    parser.add_argument(
        "--total",
        type=whole(1, TOTAL_MAX, "TOTAL_REQUESTS"),
        default=environment("TOTAL_REQUESTS") or None,
        metavar="N",
        help=f"orders to send, at most {TOTAL_MAX:,} (TOTAL_REQUESTS; 2000, or all of FILE)",
    )
    parser.add_argument(
        "--seconds",
        type=whole(1, SECONDS_MAX, "DURATION_SECONDS"),
        default=environment("DURATION_SECONDS") or None,
        metavar="N",
        help=f"seconds to take, at most {SECONDS_MAX:,} (DURATION_SECONDS; {SECONDS}, or"
        f" {SECONDS_MAX} with FILE)",
    )
    parser.add_argument(
        "--batch",
        type=whole(1, BATCH_MAX),
        default=100,
        metavar="N",
        help=f"gRPC: orders in a message, at most {BATCH_MAX:,} (%(default)s)",
    )
    parser.add_argument(
        "--instrument", default="BTC-USD", help="of drawn orders, at 69900 to 70100 (%(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=whole(0, SEED_MAX),
        default=1,
        metavar="N",
        help="of drawn orders (%(default)s)",
    )
    parser.add_argument(
        "--allow-remote", action="store_true", help="send to another machine's exchange too"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.set_defaults(run=_run, command="load", refuse_usage=parser.error)


def _run(options: argparse.Namespace, *_: object) -> int:
    from clients.load import command

    refuse_bytes(options)
    options.seconds = options.seconds or (SECONDS_MAX if options.file else SECONDS)
    return command.run(options)
