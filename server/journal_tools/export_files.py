"""Rows of an export as CSV, NDJSON or Parquet, written as they come.

Exact everywhere: decimals are text without needless zeros in CSV, strings in NDJSON and
`decimal(38, 8)` in Parquet; times have all nine digits, or are `timestamp[ns]`. What is not there
is an empty field, `null`, or null. A document is an object in NDJSON and JSON text elsewhere.

CSV (RFC 4180 but for the line ends, which are LF) has a line with the names first. A Parquet file
is a row group for each `GROUP_ROWS` rows, compressed with zstd; nothing larger is ever held.
"""

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Context, Decimal
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from server.decimals import E8_PLACES, decimal_text
from server.journal_tools.export import DOCUMENT, FLAG, NUMBER, TIME, UNITS, WORD, Column, Row
from server.times import exact_time_text

GROUP_ROWS: Final = 65_536
"""Rows of a group in Parquet: some 10 MB while it is made, and few enough groups to read fast."""

_EXACT: Final = Context(prec=60)
"""More digits than any fee has."""

Present = Callable[[Any], Any]


class RowWriter(Protocol):
    """Where rows go."""

    def write(self, rows: Iterable[Row]) -> None:
        """Write them all."""


def json_text(document: Any) -> str:
    """Write JSON without spaces."""
    return json.dumps(document, separators=(",", ":"))


def _as_it_is(value: Any) -> Any:
    return value


_IN_CSV: Final[dict[str, Present]] = {
    NUMBER: _as_it_is,
    UNITS: decimal_text,
    TIME: exact_time_text,
    WORD: _as_it_is,
    FLAG: lambda flag: "true" if flag else "false",
    DOCUMENT: json_text,
}
_IN_JSON: Final = {**_IN_CSV, FLAG: _as_it_is, DOCUMENT: _as_it_is}
_IN_PARQUET: Final = {
    **_IN_CSV,
    UNITS: lambda units: _EXACT.scaleb(Decimal(units), -E8_PLACES),
    TIME: _as_it_is,
    FLAG: _as_it_is,
}


def _present(columns: Sequence[Column], ways: dict[str, Present], row: Row) -> list[Any]:
    pairs = zip(columns, row, strict=True)
    return [None if value is None else ways[column.kind](value) for column, value in pairs]


class CsvWriter:
    """Comma-separated values."""

    def __init__(self, columns: Sequence[Column], out: TextIO) -> None:
        self._columns = columns
        self._writer = csv.writer(out, lineterminator="\n")
        self._writer.writerow([column.name for column in columns])

    def write(self, rows: Iterable[Row]) -> None:
        """Write a line for each row."""
        self._writer.writerows(_present(self._columns, _IN_CSV, row) for row in rows)


class NdjsonWriter:
    """A JSON object a line."""

    def __init__(self, columns: Sequence[Column], out: TextIO) -> None:
        self._columns = columns
        self._names = [column.name for column in columns]
        self._out = out

    def write(self, rows: Iterable[Row]) -> None:
        """Write a line for each row."""
        for row in rows:
            values = _present(self._columns, _IN_JSON, row)
            self._out.write(json_text(dict(zip(self._names, values, strict=True))) + "\n")


class ParquetWriter:
    """Parquet, through pyarrow; raises `ImportError` where that isn't installed."""

    def __init__(self, columns: Sequence[Column], path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        types = {
            NUMBER: pyarrow.int64(),
            UNITS: pyarrow.decimal128(38, E8_PLACES),
            TIME: pyarrow.timestamp("ns", tz="UTC"),
            WORD: pyarrow.string(),
            FLAG: pyarrow.bool_(),
            DOCUMENT: pyarrow.string(),
        }
        self._arrow = pyarrow
        self._columns = columns
        self._schema = pyarrow.schema([(column.name, types[column.kind]) for column in columns])
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._waiting: list[list[Any]] = []

    def write(self, rows: Iterable[Row]) -> None:
        """Write rows group by group."""
        for row in rows:
            self._waiting.append(_present(self._columns, _IN_PARQUET, row))
            if len(self._waiting) == GROUP_ROWS:
                self._write_group()

    def close(self) -> None:
        """The last group, and the index that makes it a file: for what is whole only."""
        if self._waiting:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        values = zip(*self._waiting, strict=True)
        arrays = [
            self._arrow.array(each, field.type)
            for each, field in zip(values, self._schema, strict=True)
        ]
        self._writer.write_batch(self._arrow.record_batch(arrays, schema=self._schema))
        self._waiting = []
