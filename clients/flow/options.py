"""The options of `exchange flow`; gRPC is loaded when it runs."""

import argparse
import re

from clients.bounds import add_address, whole
from clients.flow.plan import Mix

RATE_MAX = 5_000  # commands a second: what one Python client of typed commands does with ease
CLIENTS_MAX = 900  # beginning, each is sent a cancel-all, in one message of at most 1,000 commands
SECONDS_MAX = 86_400  # a day: a flow that was forgotten fills no disk for ever
SEED_MAX = 10**9
NAME = re.compile(r"[A-Za-z0-9._:-]{1,48}")  # 64 characters of an id, without `-maker-900`

DESCRIPTION = """\
Trades against a running exchange as many clients would: makers quote around a drifting price,
takers trade at once, orders are cancelled and moved, and now and then there is a burst. Look at it
with `exchange book BTC-USD` or `exchange trades BTC-USD` from another terminal. The same seed draws
the same flow only as long as the same answers come at the same moments. It ends by itself, or with
Ctrl-C; then its orders leave the book, unless --keep."""

EPILOG = """\
Exit codes: 0 the flow went on to its end or was stopped, 1 the exchange refused it, 2 the command
line is wrong, 3 the exchange can't be reached."""


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `flow`; its `run` takes the parsed options."""
    parser = subparsers.add_parser(
        "flow",
        help="trade as many clients would, for a busy market",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_address(parser)
    parser.add_argument(
        "--rate",
        type=whole(1, RATE_MAX),
        default=200,
        metavar="N",
        help=f"commands a second in the mean, at most {RATE_MAX:,} (%(default)s)",
    )
    parser.add_argument(
        "--clients",
        type=whole(2, CLIENTS_MAX),
        default=40,
        metavar="N",
        help=f"a third of them makers, at most {CLIENTS_MAX} (%(default)s)",
    )
    parser.add_argument(
        "--instruments",
        type=_names,
        default=(),
        metavar="NAMES",
        help="separated by commas, e.g. BTC-USD,ETH-USD (all that are listed)",
    )
    parser.add_argument(
        "--mix",
        type=_mix,
        default=Mix(),
        metavar="PARTS",
        help="how often to do what (quote=50,take=14,cancel=24,replace=12)",
    )
    parser.add_argument(
        "--seconds",
        type=whole(1, SECONDS_MAX),
        default=600,
        metavar="N",
        help=f"how long, at most {SECONDS_MAX:,} (%(default)s)",
    )
    parser.add_argument(
        "--seed", type=whole(0, SEED_MAX), default=1, metavar="N", help="(%(default)s)"
    )
    parser.add_argument(
        "--name",
        type=_name,
        default="flow",
        help="what its client ids begin with; two flows at once need two names (%(default)s)",
    )
    parser.add_argument("--keep", action="store_true", help="leave its orders in the book")
    parser.add_argument(
        "--allow-remote", action="store_true", help="trade on another machine's exchange too"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.set_defaults(run=_run, command="flow")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(names):
        raise argparse.ArgumentTypeError(f"must be names separated by commas; got {text!r}")
    return names


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"must match {NAME.pattern}; got {text!r}")
    return text


def _mix(text: str) -> Mix:
    parts: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.partition("=")
        is_whole = weight.isascii() and weight.isdigit() and len(weight) <= 4
        if name not in Mix.__dataclass_fields__ or not is_whole or name in parts:
            raise argparse.ArgumentTypeError(
                "must be like quote=50,take=14,cancel=24,replace=12, each once, of at most 4"
                f" digits; got {part!r}"
            )
        parts[name] = int(weight)
    mix = Mix(**(dict.fromkeys(Mix.__dataclass_fields__, 0.0) | parts))
    if mix.quote == 0:
        raise argparse.ArgumentTypeError(
            f"quote must be above 0, since nothing else happens in an empty book; got {text!r}"
        )
    return mix


def _run(options: argparse.Namespace, *_: object) -> int:
    from clients.flow import command

    return command.run(options)
