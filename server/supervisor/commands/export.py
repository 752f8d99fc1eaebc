"""`exchange export`: trades, orders or events of the journal, as a file that other programs read.

Read like `exchange journal` does: with the directory's lock, or through the server that holds it.
A file gets its name when it is whole; before that it has `.part` behind it.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from clients.files import file_to_write, unfinished_of, whole_file
from server.exits import Exit
from server.logs import error
from server.pace import Pace
from server.settings import Settings
from server.supervisor.journal_access import guarded, has_journal, records_after
from server.supervisor.options import add_settings
from server.supervisor.setting_values import ConfigurationWrong

if TYPE_CHECKING:
    from server.journal.record import Record
    from server.journal_tools.export import Column, Range, Row
    from server.journal_tools.export_files import RowWriter

TABLES: Final = ("trades", "orders", "events")
FORMATS: Final = ("csv", "ndjson", "parquet")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FRACTION: Final = re.compile("[.,]([0-9]+)")
"""The fraction of a second, all of it: `datetime` keeps six digits."""

DESCRIPTION: Final = """\
Writes what the journal holds, in its order, in one pass: `trades`, each of them; `orders`, each
that was placed in the range, as it stood at the end of the range; `events`, everything that
happened. Works beside a running server, and tells on standard error how far it is."""

EPILOG: Final = """\
--from and --to are sequences (both belong to the range) or times (the first belongs to it, the last
does not): 1000, 2026-01-31, 2026-01-31T12:00:00Z. A time without a zone is UTC.
Prices and quantities are exact decimals. Parquet needs pyarrow.

Exit codes: 0 all is written, 1 something is damaged, or can't be read or written, 2 the command
line or a setting is wrong, 3 the data directory is in use by something that does not answer, 8
pyarrow is not installed."""


def register(commands: Any) -> None:
    """Add `export`."""
    export = commands.add_parser(
        "export",
        help="write trades, orders or events as CSV, NDJSON or Parquet",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    export.add_argument("table", choices=TABLES, help="what to write")
    export.add_argument("--from", dest="first", type=bound, metavar="FROM", help="(the beginning)")
    export.add_argument("--to", dest="last", type=bound, metavar="TO", help="(now)")
    export.add_argument("--format", choices=FORMATS, help="(by the ending of FILE, else csv)")
    export.add_argument(
        "--output", type=file_to_write, metavar="FILE", help="where to write (-, standard output)"
    )
    add_settings(export, "data_dir")
    export.set_defaults(run=guarded(_export))


class Moment(NamedTuple):
    """A time, in ns since 1970 UTC, and as it was written."""

    time_ns: int
    text: str

    def __str__(self) -> str:
        return self.text


def bound(text: str) -> int | Moment:
    """Read one end of a range: a sequence or a time."""
    if text.isascii() and text.isdigit():
        return int(text)
    fraction = FRACTION.search(text)
    digits = fraction[1] if fraction else ""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or len(digits) > 9:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a sequence (1000) nor a time (2026-01-31T12:00:00Z, of a second "
            "at most nine decimals)"
        )
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH
    return Moment((since.days * 86_400 + since.seconds) * 10**9 + int(digits.ljust(9, "0")), text)


def _check_order(first: int | Moment | None, last: int | Moment | None) -> None:
    """Refuse a range that ends before it begins; of two kinds, only the journal knows."""
    is_number = isinstance(first, int) and isinstance(last, int) and first > last
    is_time = isinstance(first, Moment) and isinstance(last, Moment) and first > last
    if is_number or is_time:
        raise ConfigurationWrong(f"--from {first} lies after --to {last}: exchange them")


def _range(first: int | Moment | None, last: int | Moment | None) -> "Range":
    from server.journal_tools.export import Range

    chosen = Range()
    if isinstance(first, Moment):
        chosen = chosen._replace(from_ns=first.time_ns)
    elif first is not None:
        chosen = chosen._replace(first_sequence=first)
    if isinstance(last, Moment):
        chosen = chosen._replace(until_ns=last.time_ns)
    elif last is not None:
        chosen = chosen._replace(last_sequence=last)
    return chosen


def _format(options: argparse.Namespace) -> str:
    if options.format is not None:
        return str(options.format)
    ending = "" if options.output is None else options.output.suffix[1:]
    return ending if ending in FORMATS else "csv"


def _export(options: argparse.Namespace, settings: Settings) -> int:
    from server.journal.lock import DirectoryLocked
    from server.journal_tools.export import DAMAGE

    if str(options.output) == "-":
        options.output = None
    if not has_journal(settings.data_dir):
        return Exit.FAILED
    if _format(options) == "parquet" and options.output is None:
        error("a Parquet file can't be written to standard output: name one with --output")
        return Exit.CONFIGURATION
    _check_order(options.first, options.last)
    try:
        _write(options, settings)
    except ImportError as missing:
        install = f"{sys.executable} -m pip install pyarrow"
        error(f"Parquet needs pyarrow ({missing}): {install}, or choose another --format")
        return Exit.PART_MISSING
    except DirectoryLocked:
        raise
    except DAMAGE as bad:
        place = f" to {unfinished_of(options.output)}" if options.output is not None else ""
        stood = ", with orders as they stood then" if options.table == "orders" else ""
        error(f"what was written{place} ends before the damage{stood}: {bad}")
        return Exit.FAILED
    return Exit.CLEAN


def _write(options: argparse.Namespace, settings: Settings) -> None:
    from server.journal_tools import export

    chosen = _range(options.first, options.last)
    table = export.TABLES[options.table]
    progress = _Progress(settings.data_dir, chosen)
    with (
        records_after(settings.data_dir, chosen.first_sequence - 1) as records,
        _output(options, table.columns) as writer,
    ):
        rows = table.rows(chosen.happened(progress.watched(_begun(records, chosen))))
        writer.write(progress.counted(rows))
    progress.print_rows()


@contextmanager
def _output(options: argparse.Namespace, columns: Sequence["Column"]) -> Iterator["RowWriter"]:
    """Open what writes the rows; it ends, and gets its name, only if all went well."""
    from server.journal_tools.export_files import CsvWriter, NdjsonWriter, ParquetWriter

    path = options.output
    text = CsvWriter if _format(options) == "csv" else NdjsonWriter
    if path is None:
        yield text(columns, sys.stdout)
        return
    with whole_file(path) as unfinished:
        if _format(options) == "parquet":
            writer = ParquetWriter(columns, unfinished)
            yield writer
            writer.close()
        else:
            with unfinished.open("w", encoding="utf-8", newline="") as out:
                yield text(columns, out)


def _begun(records: "Iterator[Record]", chosen: "Range") -> "Iterator[Record]":
    """Pass all records on; what is no longer kept of the range is told, since no row shows it."""
    for record in records:
        is_cut = record.first_sequence > max(chosen.first_sequence, 1)
        if is_cut and record.time_ns > chosen.from_ns:
            _print_note(
                f"the journal begins at sequence {record.first_sequence}: what was before is not "
                "in it; put archived files beside it to have that too"
            )
        yield record
        break
    yield from records


def _print_note(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


class _Progress:
    """Prints once a second, on standard error, how far the export is."""

    def __init__(self, directory: Path, chosen: "Range") -> None:
        self._directory = directory
        self._chosen = chosen
        self._pace = Pace()
        self._rows = 0
        self._sequence = 0

    def watched(self, records: "Iterable[Record]") -> "Iterator[Record]":
        for record in records:
            if record.time_ns < self._chosen.until_ns:
                self._sequence = min(record.last_sequence, self._chosen.last_sequence)
            if self._pace.is_due():
                self.print_rows(f", {self._percent(record.end)} % of the journal")
            yield record

    def _percent(self, position: int) -> int:
        """Tell how much of the journal that is kept now was read, in percent."""
        from server.journal.segments import read_header, segment_paths
        from server.journal.storage import Storage

        paths = segment_paths(self._directory)
        with closing(Storage.open(paths[0], writable=False)) as first:
            read = position - read_header(first).start
        return 100 * read // sum(path.stat().st_size for path in paths)

    def counted(self, rows: "Iterable[Row]") -> "Iterator[Row]":
        for row in rows:
            self._rows += 1
            yield row

    def print_rows(self, place: str = "") -> None:
        seconds = self._pace.seconds
        _print_note(f"{self._rows} rows up to sequence {self._sequence}{place}, {seconds:.1f} s")
