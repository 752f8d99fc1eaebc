"""Files of orders: the three shapes, and what is refused with its place."""

import json
import os
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pytest

from clients.load import orders_file
from clients.load.orders_file import FileWrongError, read_orders
from clients.load.over_http import http_body
from clients.order_wire import place_message
from clients.requests import PlaceOrder

FULL = {
    "order_id": "order-1",
    "client_id": "client-7",
    "instrument": "ETH-USD",
    "side": "buy",
    "type": "limit",
    "price": 70123.45,
    "quantity": 0.12345678,
    "idempotency_key": "idempotency-1",
}
FULL_ORDER = PlaceOrder(
    "client-7",
    "ETH-USD",
    "buy",
    "0.12345678",
    price="70123.45",
    type="limit",
    order_id="order-1",
    idempotency_key="idempotency-1",
)
BARE = {"client_id": "a", "side": "sell", "type": "market", "quantity": 1}
BARE_ORDER = PlaceOrder("a", "BTC-USD", "sell", "1", type="market")
HEADER = "order_id,client_id,instrument,side,type,price,quantity,idempotency_key"


def read(tmp_path: Path, text: str) -> list[PlaceOrder]:
    path = tmp_path / "orders"
    path.write_text(text, encoding="utf-8")
    return read_orders(path)


CSV = f"""{HEADER}
order-1,client-7,ETH-USD,buy,limit,70123.45,0.12345678,idempotency-1
,a,,sell,market,,1,
"""
CSV_IN_OTHER_ORDER = """\
side, client_id,quantity,type,price,instrument,order_id,idempotency_key
buy,client-7,0.12345678,limit,70123.45,ETH-USD,order-1,idempotency-1

sell,a,1,market,,BTC-USD,,"""


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([FULL, BARE]),
        json.dumps([FULL, BARE], indent=2),
        f"{json.dumps(FULL)}\n\n{json.dumps(BARE)}",
        f"\ufeff{json.dumps(FULL)}\r\n{json.dumps(BARE)}\r\n",
        CSV,
        CSV_IN_OTHER_ORDER,
        f"\n\r\n{CSV}\n",
    ],
    ids=["array", "pretty", "lines", "lines of Windows", "CSV", "other order", "blank lines"],
)
def test_shapes(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, text) == [FULL_ORDER, BARE_ORDER]


def test_every_field_reaches_both_doors(tmp_path: Path) -> None:
    more = {"time_in_force": "gtc", "post_only": True, "self_trade_prevention": "cancel_both"}
    (order,) = read(tmp_path, json.dumps(FULL | more))
    message = place_message(order)
    assert (message.price_e8, message.quantity_e8) == (7_012_345_000_000, 12_345_678)
    assert message.post_only
    body = json.loads(http_body(order), parse_float=Decimal)
    assert body == FULL | more | {"price": Decimal("70123.45"), "quantity": Decimal("0.12345678")}


def test_numbers_stay_as_they_are_written(tmp_path: Path) -> None:
    (order,) = read(tmp_path, json.dumps(BARE | {"quantity": "92233720368.54775807"}))
    assert b'"quantity":92233720368.54775807' in http_body(order)


@pytest.mark.parametrize(
    ("written", "quantity"),
    [
        ("1e-08", "0.00000001"),
        ("1e-05", "0.00001"),
        ("7e1", "70"),
        ("7E+1", "70"),
        ("1.25e-2", "0.0125"),
        ("9.223372036854775807e10", "92233720368.54775807"),
        ("0.0", "0"),
        ("-1e0", "-1"),
    ],
)
def test_numbers_of_json_are_taken_as_any_encoder_writes_them(
    written: str, quantity: str, tmp_path: Path
) -> None:
    (order,) = read(tmp_path, json.dumps(BARE).replace('"quantity": 1', f'"quantity": {written}'))
    assert order.quantity == quantity
    assert f'"quantity":{quantity}'.encode() in http_body(order)


@pytest.mark.parametrize(
    ("written", "limit"),
    [
        ("1e999999999", "at most 92233720368.54775807"),
        ("1e-999999999", "a number of at most 8 decimals"),
        ("9.223372036854775808e10", "at most 92233720368.54775807"),
        (f"1e{'9' * 30}", "a decimal whose exponent has at most 18 digits"),
        (f"1e{'9' * 100_000}", "a decimal such as 70150.5"),
        (f"1.{'0' * 100_000}", "a decimal such as 70150.5"),
    ],
)
def test_absurd_numbers_of_json_cost_no_memory(written: str, limit: str, tmp_path: Path) -> None:
    text = json.dumps(BARE).replace('"quantity": 1', f'"quantity": {written}')
    path = tmp_path / "orders"
    path.write_text(text, encoding="utf-8")
    tracemalloc.start()
    try:
        with pytest.raises(FileWrongError) as wrong:
            read_orders(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    shown = written if len(written) <= 60 else f"{written[:60]}…"
    assert f"quantity must be {limit}" in str(wrong.value)
    assert str(wrong.value).endswith(f"; got {shown}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the header must name client_id, side, type, quantity too; got ''"),
        ("[]", "holds no orders"),
        (HEADER, "holds no orders"),
        ("a,b\n", "the header must name client_id, side, type, quantity too; got 'a,b'"),
        (f"{HEADER}\nx,y\n", ":2: the header names 8 columns; got 2"),
        (
            f"{HEADER}\n,a,,sell,market,,1,\n,a,,up,market,,1,\n",
            ":3: side must be one of buy, sell",
        ),
        ('{"client_id":"a"}', ":1: side is needed in every order"),
        (json.dumps(BARE) + "\n{", ":2: not JSON: Expecting property name"),
        (json.dumps([BARE, 7]), ": order 2: an order must be an object; got 7"),
        (json.dumps(BARE | {"amount": 3}), "'amount' is not a field of an order, only client_id,"),
        (json.dumps(BARE | {"client_id": ["a"]}), "client_id must be text; got ['a']"),
        (json.dumps(BARE | {"client_id": 7}), ":1: client_id must be text; got 7"),
        (json.dumps(BARE | {"order_id": "\ud800"}), r":1: order_id must be text; got '\ud800'"),
        (json.dumps(BARE | {"side": ["buy"]}), "side must be one of buy, sell; got ['buy']"),
        (json.dumps(BARE | {"post_only": "yes"}), "post_only must be true or false; got 'yes'"),
        (json.dumps(BARE | {"post_only": {}}), "post_only must be true or false; got {}"),
        (json.dumps(BARE | {"quantity": 1e-9}), "a number of at most 8 decimals; got 1e-09"),
        (
            json.dumps(BARE | {"quantity": "1e-8"}),
            "must be a decimal such as 70150.5, without expo",
        ),
        (f"{HEADER}\n,a,,sell,market,,7e1,\n", "a decimal such as 70150.5, without exponent"),
        (json.dumps(BARE | {"quantity": "0.123456789"}), "a number of at most 8 decimals"),
        (json.dumps(BARE | {"quantity": True}), "quantity must be a string, Decimal or int"),
        ('{"client_id":"a","quantity":NaN}', "NaN is not a number of JSON"),
        (json.dumps(BARE | {"side": "x" * 99}), "x…"),
        (f'{HEADER}\n,a,,sell,market,,1,\n,"a"b,,sell,market,,1,\n', ":3: ',' expected after"),
        (f'{HEADER}\n,a,,sell,market,,1,\n,"a,,sell,market,,1,\n', ":3: unexpected end of data"),
        ("client_id,side,type,quantity,side\n", "may name a column once; got 'side' twice"),
        (
            '{"client_id":"a","client_id":"b"}',
            ":1: an order may have a field once; got 'client_id'",
        ),
        ("[" * 100_000, "nested deeper than any order"),
        (json.dumps(BARE) + '\n{"client_id":' + "[" * 100_000, ":2: nested deeper than any order"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(FileWrongError) as wrong:
        read(tmp_path, text)
    assert said in str(wrong.value)
    assert str(tmp_path) in str(wrong.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileWrongError, match=r"can't be read: No such file"):
        read_orders(tmp_path / "missing")
    (tmp_path / "latin").write_bytes(f"{HEADER}\n".encode() + b"\xe9")
    with pytest.raises(FileWrongError, match="is not UTF-8"):
        read_orders(tmp_path / "latin")
    out, into = os.pipe()
    with (
        os.fdopen(out),
        os.fdopen(into, "w"),
        pytest.raises(
            FileWrongError, match=rf"^/proc/self/fd/{out}: this is a pipe, which is read once"
        ),
    ):
        read_orders(Path(f"/proc/self/fd/{out}"))


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders_file, "ORDERS_MAX", 2)
    two = json.dumps([BARE, BARE])
    assert len(read(tmp_path, two)) == 2
    with pytest.raises(FileWrongError, match="more than 2 orders; split the file"):
        read(tmp_path, json.dumps([BARE] * 3))
    monkeypatch.setattr(orders_file, "ARRAY_BYTES_MAX", len(two))
    assert len(read(tmp_path, two)) == 2
    with pytest.raises(FileWrongError, match="write an order a line"):
        read(tmp_path, two + " ")
