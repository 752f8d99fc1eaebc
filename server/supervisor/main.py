"""The command `exchange`.

Imports are late, so that a command loads only what it needs.
"""

import argparse
import errno
import os
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from clients.terminal import end_output
from server import logs
from server.exits import Exit
from server.settings import Settings
from server.supervisor.configuration import NAMED, ConfigurationWrong, load
from server.supervisor.parent import Parent

DESCRIPTION: Final = """\
An exchange: orders in, trades out, nothing lost.

`exchange up` starts everything on this machine, `doctor` says what is missing for it; `server`,
`follower`, `gateway` and so on run one part alone; `journal`, `export` and `rebuild` work with what
is stored. `place`, `cancel`, `book`, `watch` and so on are for trading by hand, `flow` and `load`
for a busy market."""

UP: Final = """\
Starts and watches the server (gRPC, matching, journal), the follower (snapshots, PostgreSQL, Kafka,
Redis) and the gateway (HTTP, WebSocket), and says `ready` with the addresses once all of them
serve. Stop it with Ctrl-C: what is in flight is answered, a snapshot is written, and nothing is
lost. Nor is anything by kill -9: every order that was acknowledged is in the journal, and the next
start recovers it.

A part that ends is started again; after five times in a minute the exchange ends and names it.

It also runs a PostgreSQL of its own and, with --full, a Redis and a Kafka, which the first start
that needs them installs into the user's cache (190 MB). Orders are taken without them, while they
are being installed and when they fail; /healthz reports their state."""

FOLLOWER: Final = """\
Follows the journal of a running server: writes snapshots for the next start, and keeps
PostgreSQL, Kafka and Redis, where they are named, up to date."""

CONFIGURATION: Final = """\
Each setting comes from its option, else its variable, else the configuration file, else it has its
default. A configuration file is TOML; deploy/realistic.toml shows one.
Exit codes: 0 stopped cleanly, 2 a setting is wrong, 3 the data directory is in use, 4 the journal
is corrupt, 5 a port is taken, 6 the journal could not be written, 7 a follower diverged, 8 a
program is not installed, 9 there is no room on the disk to start (`up` waits for it), 1 anything
else."""

PARTS: Final = {
    "up": ("start the whole exchange on this machine", UP, ("server",)),
    "server": (
        "run the server alone",
        "Takes orders over gRPC, matches them and keeps the journal.",
        ("server",),
    ),
    "follower": (
        "run the follower alone",
        FOLLOWER,
        (),
    ),
    "gateway": (
        "run the gateway alone",
        "Envoy: HTTP JSON, and gRPC passed through, in front of a running server.",
        (),
    ),
    "websocket": (
        "run the WebSocket bridge alone",
        "Holds the connections of WebSocket clients for the gateway, in front of a running server.",
        (),
    ),
    "postgres": (
        "run the embedded PostgreSQL alone",
        "A database in the data directory, whose file postgres.url has its address.",
        (),
    ),
    "redis": (
        "run the embedded Redis alone",
        "Keeps nothing on disk. The file redis.url in the data directory has its address.",
        (),
    ),
    "kafka": (
        "run the embedded Kafka alone",
        "A broker in the data directory, whose file kafka.brokers has its address.",
        (),
    ),
}
"""Each with its summary, its description, and the settings that it does not take. The others take
all, whether they have a use for them or not: `up` hands its own on."""
OWN: Final = (*PARTS, "journal", "export", "rebuild", "doctor")
"""Commands other than those for trading, which take a while to load."""
SETTINGS: Final = tuple(named.name for named in NAMED)
WITHOUT: Final = {"server": "on this machine", "websocket": "a socket without a port"}
"""What holds where a setting is empty, other than that there is none."""
OF_UP: Final = ("full",)
"""Settings that are not handed on."""
UNTOLD: Final = 4
"""Of a trading command that was carried out, but whose answer could not be written."""
UNWRITABLE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Of standard output: the disk below it is full or fails, or the terminal has gone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command: the exit code."""
    _open_streams()
    parent = Parent.follow()
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser(with_trading=not given or given[0] not in OWN)
    options = parser.parse_args(given)
    return _run_part(options, parent) if "part" in options else _run_command(options, parent)


def _open_streams() -> None:
    """Started with a standard stream closed, what goes there is for nobody; a file or a connection
    that took its number would be written to."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mode = os.O_WRONLY if number else os.O_RDONLY
            if (opened := os.open(os.devnull, mode)) != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))


def _run_command(options: argparse.Namespace, parent: Parent) -> int:
    """One that answers on standard output and ends."""
    try:
        code: int = options.run(options, parent)
        sys.stdout.flush()
    except BrokenPipeError:
        end_output()  # Whoever read it has seen enough.
        return Exit.CLEAN
    except OSError as failure:
        if failure.errno not in UNWRITABLE:
            raise
        end_output()
        logs.last_word(f"what there is to say can't be written: {failure.strerror}")
        return UNTOLD if "command" in options else Exit.FAILED
    return code


def _parser(*, with_trading: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "exchange", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action=Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (summary, description, without) in PARTS.items():
        part = commands.add_parser(
            name,
            help=summary,
            description=description,
            epilog=CONFIGURATION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        unused = {*without, *(() if name == "up" else OF_UP)}
        _add_settings(part, *(each for each in SETTINGS if each not in unused))
        part.set_defaults(part=name)
    from server.supervisor.commands import export, journal, rebuild
    from server.supervisor.commands.doctor import command as doctor

    journal.register(commands, _add_settings, settings_of)
    export.register(commands, _add_settings, settings_of)
    rebuild.register(commands, _add_settings, settings_of)
    doctor.register(commands, _add_settings, settings_of)
    if with_trading:
        from clients.commands import register

        register(commands, parser)
    return parser


class Version(argparse.Action):
    """`--version`: asked for seldom, and what knows it takes a tenth of a second to load."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata

        print(f"exchange {metadata.version('exchange-backend')}")
        parser.exit()


def _add_settings(parser: argparse.ArgumentParser, *names: str) -> None:
    """Options for these settings, all of them where none is named."""
    defaults = Settings()
    parser.add_argument(
        "--config", metavar="FILE", help="configuration file (EXCHANGE_CONFIG; none)"
    )
    for named in NAMED:
        if named.name not in (names or SETTINGS):
            continue
        default: Any = getattr(defaults, named.name)
        meaning = f"{named.meaning} ({named.variable}"
        if default is False:
            parser.add_argument(
                named.option, action="store_true", default=None, help=f"{meaning}=true; off)"
            )
        else:
            shown = default or WITHOUT.get(named.name, "none")
            option = parser.add_argument(
                named.option, metavar=named.placeholder, help=f"{meaning}; {shown})"
            )
            # For completion: as `choices` they would be refused before a file or variable is read.
            words = Settings.__dataclass_fields__[named.name].metadata.get("words", ())
            vars(option)["words"] = words


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that the options, the environment and the file give together."""
    return load(vars(options), os.environ)


def _run_part(options: argparse.Namespace, parent: Parent) -> int:
    from server.supervisor import run, up

    # What a process held when it crashed, passwords too, is not left in a file.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    # Before it is known whether the settings are good, since they may have to be complained of.
    asked_for = options.log_format or os.environ.get("LOG_FORMAT")
    logs.begin(options.part, only_json=asked_for == "json")
    try:
        settings = settings_of(options)
    except ConfigurationWrong as wrong:
        logs.error(str(wrong))
        return Exit.CONFIGURATION
    only_json = settings.log_format == "json"
    logs.begin(options.part, only_json=only_json)
    _take_files()
    if options.part != "gateway":  # Envoy takes this process over.
        logs.set_up(settings.log_level)
    if options.part == "up":
        # EXCHANGE_GRPC may be set for the trading commands: the parts are this exchange's own.
        return up.up(replace(settings, server=""), _handed_on(options))
    return run.PARTS[options.part](settings, parent)


def _take_files() -> None:
    """As many open files as this user may have: systems begin with 1,024 for the sake of programs
    that can't count further, and a thousand callers need more."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):  # Above what the kernel takes by now.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _handed_on(options: argparse.Namespace) -> list[str]:
    """The options again, for the parts."""
    from server.supervisor.embedded.choose import VARIABLES

    handed_on = ["--config", options.config] if options.config else []
    for named in NAMED:
        value = getattr(options, named.name, None)
        if named.name in (*VARIABLES, *OF_UP):
            continue  # Addresses may hold a password, and go by the environment.
        if value is True:
            handed_on.append(named.option)
        elif value is not None:
            handed_on += [named.option, value]
    return handed_on
