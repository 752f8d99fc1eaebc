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
from server.supervisor.commands import export, journal, rebuild
from server.supervisor.commands.doctor import command as doctor
from server.supervisor.options import OF_UP, SETTINGS, add_settings, handed_on, settings_of
from server.supervisor.parent import Parent
from server.supervisor.parts import PARTS
from server.supervisor.setting_values import ConfigurationWrong

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

A part that ends is started again; after five times in a minute the exchange ends and names it, but
PostgreSQL, Redis and Kafka of its own are tried without end. A part that can't run as things are
(exit codes 2 to 5, 7 and 8) is not tried again: the exchange ends if that is the server, and goes
on without any other, degraded.

It also runs a PostgreSQL of its own and, with --full, a Redis and a Kafka, which the first start
that needs them installs into the user's cache (190 MB). Orders are taken without them, while they
are being installed and when they fail; /healthz reports their state."""

CONFIGURATION: Final = """\
Each setting comes from its option, else its variable, else the configuration file, else it has its
default. A configuration file is TOML; deploy/realistic.toml shows one.
Exit codes: 0 stopped cleanly, 2 a setting is wrong, 3 the data directory is in use, 4 the journal
is corrupt, 5 a port is taken, 6 the journal could not be written, 7 a follower diverged, 8 a
program is not installed, 9 there is no room on the disk to start (`up` waits for it), 1 anything
else."""

OWN: Final = ("up", *(part.name for part in PARTS), "journal", "export", "rebuild", "doctor")
"""The commands other than those for trading, which take a while to load."""
UNTOLD: Final = 4
"""The exit code of a trading command carried out whose answer could not be written."""
UNWRITABLE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""The errors of standard output: the disk below it is full or fails, or the terminal has gone."""
NO_THREAD: Final = "can't start new thread"
"""What Python says where the kernel refuses a thread; it has no exception of its own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command: the exit code."""
    _open_streams()
    try:
        return _run(arguments)
    except RuntimeError as failure:
        if str(failure) != NO_THREAD:
            raise
        logs.last_word(
            "no thread can be started: this user has as many processes and threads as he may have:"
            " end some, or have the limit raised (ulimit -u)"
        )
        return Exit.FAILED


def _run(arguments: Sequence[str] | None) -> int:
    parent = Parent.follow()
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser(with_trading=not given or given[0] not in OWN)
    options = parser.parse_args(given)
    return _run_part(options, parent) if "part" in options else _run_command(options, parent)


def _open_streams() -> None:
    """Open the standard streams that were closed at the start, for nobody: a file or a connection
    that took the number of one would be written to."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mode = os.O_WRONLY if number else os.O_RDONLY
            if (opened := os.open(os.devnull, mode)) != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))


def _run_command(options: argparse.Namespace, parent: Parent) -> int:
    """Run a command that answers on standard output and ends."""
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
    _add_part(commands, "up", "start the whole exchange on this machine", UP, "server")
    for part in PARTS:
        added = _add_part(
            commands, part.name, part.summary, part.description, *part.without, *OF_UP
        )
        added.set_defaults(run=part.run)
    for command in (journal, export, rebuild, doctor):
        command.register(commands)
    if with_trading:
        from clients.commands import register

        register(commands, parser)
    return parser


def _add_part(
    commands: Any, name: str, summary: str, description: str, *without: str
) -> argparse.ArgumentParser:
    """Add a part that takes all settings but these, whether it has a use for them or not: `up`
    hands its own on."""
    added: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=CONFIGURATION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_settings(added, *(each for each in SETTINGS if each not in without))
    added.set_defaults(part=name)
    return added


class Version(argparse.Action):
    """`--version`: asked for seldom, and what knows it takes a tenth of a second to load."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata

        print(f"exchange {metadata.version('exchange-backend')}")
        parser.exit()


def _run_part(options: argparse.Namespace, parent: Parent) -> int:
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
        from server.supervisor.up import up

        # EXCHANGE_GRPC may be set for the trading commands: the parts are this exchange's own.
        return up(replace(settings, server=""), handed_on(options))
    code: int = options.run(settings, parent)
    return code


def _take_files() -> None:
    """Take as many open files as this user may have: systems begin with 1,024 for the sake of
    programs that can't count further, and a thousand callers need more."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):  # Above what the kernel takes by now.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
