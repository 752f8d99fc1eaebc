"""What `exchange export` makes of a journal: rows, ranges, and the three kinds of file."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from server.core.commands import CancelOrder, PlaceOrder
from server.core.events import OrderEvent, Traded
from server.core.types import E8
from server.decimals import decimal_text
from server.journal.record import Record, decode_frame
from server.journal_tools.directory import Ending, directory_frames
from server.journal_tools.export import TABLES, Column, Range
from server.journal_tools.export_files import (
    CsvWriter,
    NdjsonWriter,
    ParquetWriter,
)
from server.times import exact_time_text
from tests.journal.site import INSTRUMENT, START_NS, Copy, Site, records_of, settings


def rows(site: Site, table: str, within: Range = Range()) -> list[dict[str, Any]]:  # noqa: B008
    columns, make = TABLES[table]
    names = [column.name for column in columns]
    happened = within.happened(records_of(site.directory))
    return [dict(zip(names, row, strict=True)) for row in make(happened)]


def test_trades_are_those_of_the_journal(plain_site: Site) -> None:
    expected = [
        (sequence, index, event)
        for sequence, events in events_of(plain_site)
        for index, event in enumerate(events)
        if isinstance(event, Traded)
    ]
    found = rows(plain_site, "trades")
    assert len(found) == len(expected) > 5
    for row, (sequence, index, event) in zip(found, expected, strict=True):
        assert row["trade_id"] == f"T{sequence}-{index}"
        assert (row["sequence"], row["index"]) == (sequence, index)
        assert (row["price"], row["quantity"]) == (event.price_e8, event.quantity_e8)
        assert row["aggressor_side"] == {1: "buy", 2: "sell"}[event.aggressor_side]
        bought_first = (event.taker_order_id, event.maker_order_id)[:: 3 - 2 * event.aggressor_side]
        assert (row["buy_order_id"], row["sell_order_id"]) == bought_first
        assert (row["maker_client_id"], row["taker_client_id"]) == (
            event.maker_client_id,
            event.taker_client_id,
        )
        assert (row["maker_fee"], row["taker_fee"]) == (event.maker_fee_e8, event.taker_fee_e8)


def test_orders_stand_as_the_engine_has_them(plain_site: Site) -> None:
    """Every order of the journal is one row, equal to what the engine remembers of it."""
    found = rows(plain_site, "orders")
    placed = [row["placed_sequence"] for row in found]
    assert len(set(placed)) == len(placed)
    engine = plain_site.engine
    for row in found:
        order = engine.order(row["order_id"])
        assert order is not None
        event = engine.order_event(order)
        assert row["placed_sequence"] == event.placed_sequence
        assert row["status"] == [None, "open", "partially_filled", "filled", "cancelled",
                                 "rejected"][event.status]  # fmt: skip
        quantities = ("quantity", "filled_quantity", "remaining_quantity", "cancelled_quantity")
        assert tuple(row[name] for name in quantities) == event[10:14]
        assert row["filled_quantity"] + row["remaining_quantity"] + row[
            "cancelled_quantity"
        ] == row["quantity"]  # fmt: skip
        assert (row["end_reason"] is None) == (event.status < 4)
        assert row["price"] == (event.price_e8 if event.order_type == 1 else None)
        assert row["updated_at"] == order.updated_ns
    assert len(found) == engine.counts().orders_open + engine.counts().orders_closed
    statuses = {row["status"] for row in found}
    assert statuses >= {"partially_filled", "filled", "cancelled"}


def test_orders_are_those_placed_in_the_range(tmp_path: Path) -> None:
    """What was placed before is left out, and nothing behind the end is known."""
    site = Site(tmp_path / "data")
    site.commit(*settings())
    before = site.engine.sequence
    site.commit(PlaceOrder("a", INSTRUMENT, 1, 1, E8, E8, order_id="early"))
    site.commit(PlaceOrder("b", INSTRUMENT, 1, 1, 2 * E8, E8, order_id="late"))
    site.commit(PlaceOrder("c", INSTRUMENT, 2, 1, E8 + E8 // 2, E8, order_id="taker"))
    site.commit(CancelOrder("", "late"))
    site.close()
    within = rows(site, "orders", Range(before + 2, before + 3))
    assert [(row["order_id"], row["status"], row["filled_quantity"]) for row in within] == [
        ("taker", "filled", E8 + E8 // 2),
        ("late", "partially_filled", E8 // 2),
    ]
    everything = rows(site, "orders")
    assert [(row["order_id"], row["status"], row["end_reason"]) for row in everything] == [
        ("taker", "filled", None),
        ("early", "filled", None),
        ("late", "cancelled", "cancel_requested"),
    ]


def test_events_are_all_that_happened(plain_site: Site) -> None:
    expected = [
        (sequence, index, event)
        for sequence, events in events_of(plain_site)
        for index, event in enumerate(events)
    ]
    found = rows(plain_site, "events")
    assert [(row["sequence"], row["index"], row["kind"]) for row in found] == [
        (sequence, index, type(event).__name__) for sequence, index, event in expected
    ]
    for row, (_, _, event) in zip(found, expected, strict=True):
        assert list(row["event"]) == list(event._fields)
        if isinstance(event, OrderEvent):
            assert (row["order_id"], row["client_id"]) == (event.order_id, event.client_id)


@pytest.mark.parametrize(("first", "last"), [(1, 1), (3, 7), (5, 5), (7, 10_000), (9_000, 9_001)])
def test_a_range_of_sequences_has_both_ends(plain_site: Site, first: int, last: int) -> None:
    everything = rows(plain_site, "events")
    within = rows(plain_site, "events", Range(first, last))
    assert within == [row for row in everything if first <= row["sequence"] <= last]


def test_a_range_of_times_has_its_beginning_only(plain_site: Site) -> None:
    everything = rows(plain_site, "events")
    moments = sorted({row["timestamp"] for row in everything})
    first, last = moments[2], moments[6]
    within = rows(plain_site, "events", Range(from_ns=first, until_ns=last))
    assert within == [row for row in everything if first <= row["timestamp"] < last]
    assert within


def test_reading_begins_where_it_is_needed(plain: Copy) -> None:
    """Records that end before the range are not read, and none within it are missing."""
    every = records_of(plain.directory)
    for after in range(plain.site.engine.sequence + 2):
        frames = directory_frames(plain.directory, Ending(), after)
        found = [decode_frame(frame) for frame in frames]
        assert all(each.last_sequence >= after for each in found)
        assert [each for each in found if each.command_count] == [
            each for each in every if each.command_count and each.last_sequence > after
        ]


def test_a_torn_end_ends_the_frames(plain: Copy) -> None:
    plain.put(plain.original[:-1])
    last = plain.site.engine.sequence
    ending = Ending()
    assert list(directory_frames(plain.directory, ending, last - 1)) == []
    assert ending.cut is not None


def test_the_three_files_say_the_same(plain_site: Site, tmp_path: Path) -> None:
    for name, (columns, make) in TABLES.items():
        everything = list(make(Range().happened(records_of(plain_site.directory))))
        text, lines, path = io.StringIO(), io.StringIO(), tmp_path / f"{name}.parquet"
        CsvWriter(columns, text).write(everything)
        NdjsonWriter(columns, lines).write(everything)
        writer = ParquetWriter(columns, path)
        writer.write(everything)
        writer.close()
        from_csv = list(csv.DictReader(io.StringIO(text.getvalue())))
        from_json = [json.loads(line) for line in lines.getvalue().splitlines()]
        from_parquet = pyarrow.parquet.read_table(path)
        assert len(from_csv) == len(from_json) == from_parquet.num_rows == len(everything) > 0
        for column in columns:
            expected = [as_text(column, row[column.name]) for row in from_json]
            assert [row[column.name] for row in from_csv] == expected
            stored = from_parquet.column(column.name)
            if column.kind == "time":
                stored = stored.cast(pyarrow.int64())
                expected = [str(nanoseconds(row[column.name])) for row in from_json]
            elif column.kind == "units":
                stored = [None if each is None else each.normalize() for each in stored.to_pylist()]
                expected = [
                    "" if row[column.name] is None else str(Decimal(row[column.name]).normalize())
                    for row in from_json
                ]
            plain_values = stored if isinstance(stored, list) else stored.to_pylist()
            assert [as_text(column, each) for each in plain_values] == expected


def test_a_flag_is_true_or_false_in_each_file(tmp_path: Path) -> None:
    site = Site(tmp_path / "data")
    site.commit(*settings())
    site.commit(PlaceOrder("a", INSTRUMENT, 1, 1, E8, E8, post_only=True))
    site.commit(PlaceOrder("a", INSTRUMENT, 1, 1, E8, E8))
    site.close()
    columns, make = TABLES["orders"]
    placed = list(make(Range().happened(records_of(site.directory))))
    text, lines, path = io.StringIO(), io.StringIO(), tmp_path / "orders.parquet"
    CsvWriter(columns, text).write(placed)
    NdjsonWriter(columns, lines).write(placed)
    writer = ParquetWriter(columns, path)
    writer.write(placed)
    writer.close()
    from_csv = csv.DictReader(io.StringIO(text.getvalue()))
    assert [row["post_only"] for row in from_csv] == ["true", "false"]
    from_json = map(json.loads, lines.getvalue().splitlines())
    assert [row["post_only"] for row in from_json] == [True, False]
    from_parquet = pyarrow.parquet.read_table(path)
    assert from_parquet.column("post_only").to_pylist() == [True, False]


def test_money_beyond_64_bits_is_exact(tmp_path: Path) -> None:
    columns = (Column("fee", "units"),)
    units = -(10**37 + 1)
    text = decimal_text(units)
    assert text == "-100000000000000000000000000000.00000001"
    writer = ParquetWriter(columns, tmp_path / "fees.parquet")
    writer.write([(units,)])
    writer.close()
    stored = pyarrow.parquet.read_table(tmp_path / "fees.parquet")
    assert stored.column("fee").to_pylist() == [Decimal(text)]


def test_groups_of_parquet_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.journal_tools.export_files.GROUP_ROWS", 3)
    writer = ParquetWriter((Column("number", "number"),), tmp_path / "n.parquet")
    writer.write((number,) for number in range(7))
    writer.close()
    file = pyarrow.parquet.ParquetFile(tmp_path / "n.parquet")
    assert [file.metadata.row_group(at).num_rows for at in range(3)] == [3, 3, 1]


def test_parquet_without_pyarrow_is_an_import_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError):
        ParquetWriter((Column("number", "number"),), tmp_path / "n.parquet")
    assert not list(tmp_path.iterdir())


def test_decimals_and_times_are_exact() -> None:
    assert [decimal_text(units) for units in (0, 1, -1, 150_000_000, 70_000 * E8)] == [
        "0",
        "0.00000001",
        "-0.00000001",
        "1.5",
        "70000",
    ]
    assert exact_time_text(START_NS + 7) == "2023-11-14T22:13:20.000000007Z"


def events_of(site: Site) -> Iterator[tuple[int, list[Any]]]:
    record: Record
    for record in records_of(site.directory):
        yield from enumerate(record.events(), record.first_sequence)


def as_text(column: Column, value: Any) -> str:
    if value is None:
        return ""
    if column.kind == "document" and not isinstance(value, str):
        return json.dumps(value, separators=(",", ":"))
    if column.kind == "flag":
        return "true" if value else "false"
    return str(value)


def nanoseconds(text: str) -> int:
    whole, _, part = text.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000 + int(part)
