"""`exchange rebuild postgres`: the tables made once more from the journal, compared, and mended.

The journal is read like `exchange journal` does: with the directory's lock, or through the server
that holds it.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIG_DFL, SIGHUP, SIGTERM, getsignal, signal
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from server.exits import Exit
from server.logs import error
from server.pace import Pace
from server.settings import Settings
from server.supervisor.journal_access import guarded, has_journal, kept_after, records_after
from server.supervisor.options import add_settings

if TYPE_CHECKING:
    from server.core.engine import Engine
    from server.followers.rebuild import Result
    from server.journal.record import Record

KINDS: Final = ("postgres",)
FOLLOWER: Final = "rebuild"
"""The name of the follower for which a server keeps the journal meanwhile."""

DESCRIPTION: Final = """\
Builds the tables of PostgreSQL again from the journal, beside those that are there, compares every
row, and corrects those that differ, are missing or should not be there. Works beside a running
exchange: orders are taken all along, reads see the tables as they were until all is right, and the
follower waits while rows are compared. An empty database gets everything. Where the journal no
longer begins at its first command, what is kept of it is compared."""

EPILOG: Final = """\
Exit codes: 0 every row is as the journal says, or now is; 1 some are not (--check), or it can't be
done; 2 a setting is wrong, or no database is named; 3 the data directory is in use by something
that does not answer."""


def register(commands: Any) -> None:
    """Add `rebuild`."""
    rebuild = commands.add_parser(
        "rebuild",
        help="rebuild PostgreSQL's tables from the journal, and verify them",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rebuild.add_argument("tables", choices=KINDS, help="what to rebuild")
    choice = rebuild.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="compare only, change nothing")
    choice.add_argument(
        "--rewind",
        action="store_true",
        help="also take tables back that are past the journal's end, once it was put back from a"
        " copy: what they hold of after that is deleted",
    )
    own = {"postgres_url": "the exchange's own, by postgres.url in the data directory"}
    add_settings(rebuild, "data_dir", "postgres_url", without=own)
    rebuild.set_defaults(run=guarded(_rebuild))


def _rebuild(options: argparse.Namespace, settings: Settings) -> int:
    import asyncpg

    from server.followers.rebuild import Rebuild, RebuildRefused, Source
    from server.journal.refusals import TailDamaged

    directory = settings.data_dir
    url = settings.postgres_url or _embedded_url(directory)
    if not url:
        error("no PostgreSQL is named: set --postgres-url, or --data-dir of an exchange with one")
        return Exit.CONFIGURATION
    if not has_journal(directory):
        return Exit.FAILED

    damaged_tail = ""

    def records(after_sequence: int) -> "Iterator[Record]":
        nonlocal damaged_tail
        try:
            yield from _records(directory, after_sequence)
        except TailDamaged as damage:
            damaged_tail = str(damage)

    try:
        first = next(records(0), None)
        if first is None:
            print("the journal holds no command yet: there is nothing to rebuild")
            return _judged(Exit.CLEAN, damaged_tail)
        source = Source(
            first,
            records,
            lambda: _snapshot(directory),
            lambda: kept_after(directory, first.first_sequence - 1, FOLLOWER),
        )
        progress = _Progress()
        rewind = options.rewind
        rebuild = Rebuild(url, settings.history, source, progress.copied, rewind=rewind)
        with _ended_by_signals():
            result = asyncio.run(rebuild.run(mend=not options.check))
    except RebuildRefused as refused:
        error(str(refused))
        return Exit.FAILED
    except (
        OSError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    ) as failure:
        said = str(failure) or type(failure).__name__
        if not isinstance(failure, asyncpg.PostgresError):
            said += "; is it running (exchange postgres starts the embedded one)?"
        error(f"PostgreSQL: {said}")
        return Exit.FAILED
    return _judged(_print_result(result, check=options.check), damaged_tail)


def _judged(code: int, damaged_tail: str) -> int:
    """Give the exit code; a damaged tail, where there is one, is told, and is a failure."""
    if not damaged_tail:
        return code
    error(f"the journal that was read ends before damage: {damaged_tail}")
    return Exit.FAILED


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """End by signals as by Ctrl-C, giving back what is held; ignored ones stay so (nohup)."""

    def end(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    ending = [it for it in (SIGTERM, SIGHUP) if getsignal(it) == SIG_DFL]
    for each in ending:
        signal(each, end)
    try:
        yield
    finally:
        for each in ending:
            signal(each, SIG_DFL)


def _print_result(result: "Result", *, check: bool) -> int:
    from server.followers.rebuild import REMEDY, ahead

    for proof in result.found:
        print(
            f"{proof.table:20} {proof.rows:>10} rows, {proof.missing} missing,"
            f" {proof.surplus} too many, {proof.differing} different"
        )
    wrong = sum(proof.wrong for proof in result.found)
    through = f"sequences {result.first_sequence} to {result.sequence}"
    if check and result.ahead_sequence:
        print(f"{ahead(result.ahead_sequence, result.sequence)}: {REMEDY}")
        return Exit.FAILED
    if result.ahead_sequence:
        print(f"rewound from sequence {result.ahead_sequence} to {result.sequence}")
    if not wrong:
        print(f"every row is as the journal says, {through}")
        return Exit.CLEAN
    if check:
        print(f"{wrong} rows are not as the journal says, {through}; rebuild without --check")
        return Exit.FAILED
    print(f"{wrong} rows put right; every row now is as the journal says, {through}")
    return Exit.CLEAN


def _embedded_url(directory: Path) -> str:
    from server.supervisor.embedded.postgres import URL_FILE_NAME, leave_others_out

    file = directory / URL_FILE_NAME
    if not file.exists():
        return ""
    leave_others_out()
    return file.read_text("ascii").strip()


def _snapshot(directory: Path) -> "tuple[int, Engine] | None":
    from server.journal.snapshots import newest_good

    found = newest_good(directory)
    if found.header is None or found.engine is None:
        return None
    return found.header.mark.fence.last_sequence, found.engine


def _records(directory: Path, after_sequence: int) -> "Iterator[Record]":
    """Read the records with commands after a sequence, up to what is durable now; raises
    `RebuildRefused`, and behind the last good one `TailDamaged`."""
    from server.followers.rebuild import RebuildRefused
    from server.journal.lock import DirectoryLocked
    from server.journal.record import BATCH
    from server.journal.refusals import JournalRefused, TailDamaged

    try:
        with records_after(directory, after_sequence) as records:
            for record in records:
                if record.kind == BATCH and record.last_sequence > after_sequence:
                    yield record
    except (DirectoryLocked, TailDamaged):
        raise
    except (OSError, JournalRefused) as failure:
        raise RebuildRefused(f"the journal can't be read: {failure}") from failure


class _Progress:
    """Prints once a second, on standard error, how far the copies are."""

    def __init__(self) -> None:
        self._pace = Pace()

    def copied(self, sequence: int) -> None:
        """Note that the copies hold everything up to here."""
        if self._pace.is_due():
            print(
                f"rows made up to sequence {sequence}, {self._pace.seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )
