"""A file of orders, read as a whole and checked before the first one is sent.

Three shapes, told apart by how the file begins:

- `[`: a JSON array of orders, as order generators write them.
- `{`: newline-delimited JSON, an order a line; blank lines are passed over.
- anything else: CSV with a header line that names its columns; an empty cell is a field not given,
  blank lines are passed over.

An order has the fields of `POST /orders`: `client_id`, `side` (`buy`, `sell`), `type` (`limit`,
`market`) and `quantity`, a limit order also `price`; optionally `instrument` (`BTC-USD`),
`time_in_force` (`gtc`, `ioc`, `fok`), `post_only` (`true`, `false`), `self_trade_prevention`,
`order_id` and `idempotency_key`, in any order of columns. Numbers are decimals of at most 8 places,
with or without quotes, never through a float; those of JSON without quotes may have an exponent
(`1e-08`), as encoders write it. A field of any other name, or one that comes twice, is refused: it
would be lost without a word. What the exchange alone can judge, such as ticks, is left to it.

All orders are in memory while they are sent, so that reading them takes no time from sending;
hence `ORDERS_MAX`.
"""

import csv
import json
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from clients.decimals import TEXT_MAX, NumberInvalidError, e8_of, text_of_e8
from clients.fields import shown
from clients.requests import PlaceOrder
from clients.types import OrderType, SelfTradePrevention, Side, TimeInForce

ORDERS_MAX = 1_000_000  # orders of a file: about 500 MB in memory
ARRAY_BYTES_MAX = 256 * 1024 * 1024  # of a JSON array, which can only be read as a whole
DEFAULT_INSTRUMENT = "BTC-USD"

REQUIRED = ("client_id", "side", "type", "quantity")
WORDS: dict[str, type[Side | OrderType | TimeInForce | SelfTradePrevention]] = {
    "side": Side,
    "type": OrderType,
    "time_in_force": TimeInForce,
    "self_trade_prevention": SelfTradePrevention,
}
NUMBERS = ("price", "quantity")
TEXTS = ("client_id", "instrument", "order_id", "idempotency_key")
FIELDS = (*TEXTS, *WORDS, *NUMBERS, "post_only")

Fields = dict[str, Any]


class _Number(str):
    """A number of JSON, as it is written; one of a text's fields is told apart by it."""

    __slots__ = ()
    __repr__ = str.__str__


class FileWrongError(ValueError):
    """A file can't be sent; the message says where and why."""


def read_orders(path: Path) -> list[PlaceOrder]:
    """All orders of a file, in its order."""
    orders: list[PlaceOrder] = []
    place = str(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if not file.seekable():
                raise ValueError("this is a pipe, which is read once; write it to a file")
            for where, read in _shape(file)(path, file):
                place = where
                orders.append(order_of(read()))
                if len(orders) > ORDERS_MAX:
                    raise ValueError(f"more than {ORDERS_MAX:,} orders; split the file")
    except OSError as error:
        raise FileWrongError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise FileWrongError(f"{path} is not UTF-8: {error.reason}") from None
    except (ValueError, csv.Error) as error:
        raise FileWrongError(f"{place}: {error}") from None
    if not orders:
        raise FileWrongError(f"{path} holds no orders")
    return orders


def order_of(fields: Fields) -> PlaceOrder:
    """One order; raises ValueError that names the field, the limit and the value."""
    given = {name: value for name, value in fields.items() if value not in ("", None)}
    for name in given:
        if name not in FIELDS:
            raise ValueError(f"{shown(name)} is not a field of an order, only {', '.join(FIELDS)}")
    for name in REQUIRED:
        if name not in given:
            raise ValueError(f"{name} is needed in every order")
    for name in TEXTS:
        if not _is_text(given.setdefault(name, "")):
            raise ValueError(f"{name} must be text; got {shown(given[name])}")
    for name, words in WORDS.items():
        if name in given and given[name] not in list(words):
            allowed = ", ".join(words)
            raise ValueError(f"{name} must be one of {allowed}; got {shown(given[name])}")
    for name in NUMBERS:
        if name in given:
            given[name] = text_of_e8(_units_of(given[name], name))
    given["instrument"] = given["instrument"] or DEFAULT_INSTRUMENT
    return PlaceOrder(**(given | {"post_only": _truth(given.get("post_only", False))}))


def _is_text(value: object) -> bool:
    if not isinstance(value, str) or isinstance(value, _Number):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can name half a character
        return False
    return True


def _units_of(value: Any, field: str) -> int:
    if not isinstance(value, _Number) or len(value) > TEXT_MAX:
        return e8_of(value, field)
    try:
        return e8_of(Decimal(value), field)
    except NumberInvalidError as error:
        raise NumberInvalidError(field, error.limit, value) from None
    except InvalidOperation:
        limit = "a decimal whose exponent has at most 18 digits"
        raise NumberInvalidError(field, limit, value) from None


def _truth(value: object) -> bool:
    truth = {True: True, False: False, "true": True, "false": False}
    if not isinstance(value, bool | str) or value not in truth:
        raise ValueError(f"post_only must be true or false; got {shown(value)}")
    return truth[value]


# The shapes: each yields where an order stands, and what reads its fields.

Placed = Iterator[tuple[str, Callable[[], Fields]]]


def _shape(file: TextIO) -> Callable[[Path, TextIO], Placed]:
    begin = " "
    while begin.isspace():
        begin = file.read(1)
    file.seek(0)
    return {"[": _array, "{": _lines}.get(begin, _csv)


def _array(path: Path, file: TextIO) -> Placed:
    size = path.stat().st_size
    if size > ARRAY_BYTES_MAX:
        raise ValueError(
            f"a JSON array may have {ARRAY_BYTES_MAX:,} bytes, got {size:,}: write an order a line"
        )
    for number, entry in enumerate(_json(file.read()), start=1):
        yield f"{path}: order {number}", partial(_object, entry)


def _lines(path: Path, file: TextIO) -> Placed:
    for number, line in enumerate(file, start=1):
        if line.strip():
            yield f"{path}:{number}", partial(_line, line)


def _csv(path: Path, file: TextIO) -> Placed:
    rows = csv.reader(file, strict=True)
    header = [name.strip() for name in next(filter(None, rows), [])]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise ValueError(f"the header may name a column once; got {shown(', '.join(twice))} twice")
    if missing := [name for name in REQUIRED if name not in header]:
        got = shown(",".join(header))
        raise ValueError(f"the header must name {', '.join(missing)} too; got {got}")
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield f"{path}:{rows.line_num}", partial(_refuse, error)
            return
        if row is None:
            return
        if row:
            yield f"{path}:{rows.line_num}", partial(_cells, header, row)


def _refuse(error: csv.Error) -> Fields:
    raise error


def _cells(header: list[str], row: list[str]) -> Fields:
    if len(row) != len(header):
        raise ValueError(f"the header names {len(header)} columns; got {len(row)}")
    return dict(zip(header, map(str.strip, row), strict=True))


def _line(text: str) -> Fields:
    return _object(_json(text))


def _json(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a number of JSON")

    try:
        # Numbers as they are written: a float would change them.
        return json.loads(
            text,
            parse_float=_Number,
            parse_int=_Number,
            parse_constant=refuse,
            object_pairs_hook=_fields,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("nested deeper than any order") from None


def _fields(pairs: list[tuple[str, Any]]) -> Fields:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        twice = sorted({name for name, _ in pairs if [it for it, _ in pairs].count(name) > 1})
        raise ValueError(f"an order may have a field once; got {shown(', '.join(twice))} twice")
    return fields


def _object(entry: object) -> Fields:
    if not isinstance(entry, dict):
        raise ValueError(f"an order must be an object; got {shown(entry)}")
    return entry
