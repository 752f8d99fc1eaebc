"""`exchange journal`: what is in a journal, and whether it is whole."""

import argparse
import sys
from typing import Any, Final

from clients.bounds import whole
from server.settings import Settings
from server.supervisor.journal_access import frames_from_server, guarded
from server.supervisor.options import add_settings
from server.supervisor.setting_values import ConfigurationWrong

EXIT_CODES: Final = (
    "Exit codes: 0 all is well, 1 something is damaged or can't be read, 2 a setting is wrong, "
    "3 the data directory is in use by something that does not answer."
)
SEQUENCE_MAX: Final = 10**12 - 1
"""The largest sequence that a command line takes: a year at 30,000 commands a second."""


def register(commands: Any) -> None:
    """Add `journal verify` and `journal show`."""
    journal = commands.add_parser("journal", help="read a journal: verify or show")
    verbs = journal.add_subparsers(metavar="VERB", required=True)
    verify = verbs.add_parser(
        "verify",
        help="check every record, and every snapshot",
        description="Checks every record from the first on: checksums, order, chain, and that "
        "the commands applied again give the recorded events. Works beside a running server.",
        epilog=EXIT_CODES,
    )
    verify.add_argument(
        "--no-replay", action="store_true", help="leave out applying every command again"
    )
    show = verbs.add_parser(
        "show",
        help="print commands and events",
        description="Prints the commands of a range of sequences with their events. Works beside a "
        "running server.",
        epilog=EXIT_CODES,
    )
    sequence = whole(1, SEQUENCE_MAX)
    show.add_argument("first", nargs="?", type=sequence, default=1, help="first sequence (1)")
    show.add_argument("last", nargs="?", type=sequence, help="last sequence (the newest)")
    show.add_argument("--json", action="store_true", help="one JSON document a line")
    for verb, run in ((verify, _verify), (show, _show)):
        add_settings(verb, "data_dir")
        verb.set_defaults(run=guarded(run))


def _verify(options: argparse.Namespace, settings: Settings) -> int:
    from server.journal.lock import DirectoryLocked
    from server.journal_tools.verify import verify, verify_frames

    directory, replay = settings.data_dir, not options.no_replay
    try:
        return verify(directory, sys.stdout, replay=replay)
    except DirectoryLocked as locked:
        with frames_from_server(locked) as frames:
            return verify_frames(frames, directory, sys.stdout, replay=replay)


def _show(options: argparse.Namespace, settings: Settings) -> int:
    from server.journal.lock import DirectoryLocked
    from server.journal_tools.show import show, show_frames

    first, last = options.first, options.last
    if last is not None and last < first:
        raise ConfigurationWrong(f"sequence {first} lies after {last}: name the earlier one first")
    try:
        return show(settings.data_dir, sys.stdout, first, last, as_json=options.json)
    except DirectoryLocked as locked:
        with frames_from_server(locked, max(first - 1, 0)) as frames:
            return show_frames(frames, sys.stdout, first, last, as_json=options.json)
