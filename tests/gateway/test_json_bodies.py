"""Bodies as JSON has them, and each field as it takes values: what is neither is refused, in a
batch for the order alone that holds it."""

import httpx
import pytest

from gateway.websocket.requests import NUMBERS, BadFrame, check_numbers
from tests.gateway.door import error_of

ORDER = b'"client_id":"a","side":"buy","type":"limit","price":1,"quantity":1'


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"{" + ORDER.replace(b'"', b"'") + b"}", "byte 2"),
        (b'{client_id:"a"}', "byte 2"),
        (b"{" + ORDER + b",}", f"byte {len(ORDER) + 3}"),
        (b'{"x":[1,2,],' + ORDER + b"}", "byte 11"),
        (b'{"x":"\\q",' + ORDER + b"}", "byte 7"),
        (b'{"x":"\\v",' + ORDER + b"}", "byte 7"),
        (b'{"x":"\\u12g4",' + ORDER + b"}", "byte 7"),
        (b'{"x":"\\u123",' + ORDER + b"}", "byte 7"),
        (b'{"x":"a\nb",' + ORDER + b"}", "byte 8"),
        (b'{"x":5.,' + ORDER + b"}", "byte 7"),
        (b'{"x":.5,' + ORDER + b"}", "byte 6"),
        (b'{"x":05,' + ORDER + b"}", "byte 7"),
        (b'{"x":+5,' + ORDER + b"}", "byte 6"),
        (b'{"x":1e,' + ORDER + b"}", "byte 7"),
        (b'{"x":0x10,' + ORDER + b"}", "byte 7"),
        (b'{"x":nul,' + ORDER + b"}", "byte 6"),
        (b'{"x":True,' + ORDER + b"}", "byte 6"),
        (b'{"x" 5,' + ORDER + b"}", "byte 6"),
        (b'{"x":"\\n\x01",' + ORDER + b"}", "byte 9"),
        (b"{" + ORDER + b"} {}", f"byte {len(ORDER) + 4}"),
        (b"{" + ORDER + b"}x", f"byte {len(ORDER) + 3}"),
        (b"{" + ORDER, "its end"),
        (b"{" + ORDER + b',"x":"', "its end"),
        (b'{"x":' * 33 + b"1" + b"}" * 33, "nested deeper than 32"),
    ],
)
@pytest.mark.parametrize("path", ["/orders", "/orders/batch", "/api/v1/orders"])
def test_what_is_no_json_is_refused_and_leaves_no_trace(
    http: httpx.Client, body: bytes, place: str, path: str
) -> None:
    before = http.get("/orders").json()
    response = http.post(path, content=body)
    assert response.status_code == 400
    error = error_of(response)
    assert (error["code"], error["details"]) == (3, [])
    assert place in error["message"]
    assert http.get("/orders").json() == before


@pytest.mark.parametrize(
    "more",
    [
        b'"x":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\xc3\xa9\x7f"',
        b'"x":[[],{},[{"a":[null,true,false]}], -0 , 1e5 ,-1.25E-3,0.0,"" ]',
        b' "x" :\t[\r\n1 ] ',
        b'"x":' + b"[" * 31 + b"]" * 31,
        b'"orders":[]',
        b'"":1,"x":{"":{"":[{"" :2}]}},"" : "a"',
        b'"caf\\u00e9":[1],"\\\\u006frders":[1],"\\n\\"":[1]',
    ],
)
def test_all_of_json_is_taken(http: httpx.Client, more: bytes) -> None:
    response = http.post("/orders", content=b" \n{" + ORDER + b"," + more + b"}\n")
    assert response.status_code == 201, response.text


@pytest.mark.parametrize("stranger", [b"null", b"[]", b"[{}]", b"5", b'"a"', b"true"])
@pytest.mark.parametrize("name", [b"orders", b"\\u006frders", b"orde\\u0072\\u0073"])
def test_what_is_no_order_is_not_left_out_of_a_batch(
    http: httpx.Client, name: bytes, stranger: bytes
) -> None:
    body = b'{"' + name + b'":[{' + ORDER + b"}," + stranger + b",{" + ORDER + b"}]}"
    response = http.post("/orders/batch", content=body)
    assert response.status_code == 200
    first, refused, last = response.json()["results"]
    assert first["order"]["status"] == last["order"]["status"] == "open"
    value = stranger.decode().strip('"')
    assert refused["message"] == f'orders[1] "{value}" is not an object: send one that is'


UNREADABLE = (
    ('"client_id":5', "client_id", "5", "a string"),
    ('"client_id":["a"]', "client_id", '["a"]', "a string"),
    ('"client_id":{"a\\\\":[1]}', "client_id", '{"a\\\\":[1]}', "a string"),
    ('"side":true', "side", "true", "a string"),
    ('"price":1e400', "price", "1e400", "a finite number"),
    ('"price":"-1e999"', "price", "-1e999", "a finite number"),
    ('"price":"abc"', "price", "abc", "a finite number"),
    ('"price":"0x10"', "price", "0x10", "a finite number"),
    ('"price":"1_000"', "price", "1_000", "a finite number"),
    ('"price":" 1 "', "price", " 1 ", "a finite number"),
    ('"price":"1.2.3"', "price", "1.2.3", "a finite number"),
    ('"price":"1e"', "price", "1e", "a finite number"),
    ('"price":"."', "price", ".", "a finite number"),
    ('"price":""', "price", "", "a finite number"),
    ('"price":true', "price", "true", "a finite number"),
    ('"price":"\u0661"', "price", "??", "a finite number"),
    ('"quantity":[1]', "quantity", "[1]", "a finite number"),
    ('"price":"' + "9" * 200 + 'x"', "price", "9" * 80 + "…", "a finite number"),
    ('"post_only":1', "post_only", "1", "true or false"),
    ('"post_only":"yes"', "post_only", "yes", "true or false"),
    ('"postOnly":"t"', "postOnly", "t", "true or false"),
    ('"pr\\u0069ce":false', "price", "false", "a finite number"),
    # What the gateway says to the server nobody else may say.
    ('"unreadable":{}', "unreadable", "{}", "a field for callers"),
    ('"unreadable":{"field":"a"}', "unreadable", '{"field":"a"}', "a field for callers"),
)


@pytest.mark.parametrize(("wrong", "field", "value", "limit"), UNREADABLE)
@pytest.mark.parametrize("path", ["/orders", "/api/v1/orders"])
def test_a_value_of_another_kind_is_refused_and_leaves_no_trace(
    http: httpx.Client, wrong: str, field: str, value: str, limit: str, path: str
) -> None:
    before = http.get("/orders").json()
    response = http.post(path, content=b"{" + ORDER + b"," + wrong.encode() + b"}")
    assert response.status_code == 400
    error = error_of(response)
    assert (error["code"], error["details"]) == (3, [])
    assert error["message"] == f'{field} "{value}" is not {limit}: send one that is'
    assert http.get("/orders").json() == before


@pytest.mark.parametrize(("wrong", "field", "value", "limit"), UNREADABLE)
def test_a_value_of_another_kind_refuses_only_its_own_order_of_a_batch(
    http: httpx.Client, wrong: str, field: str, value: str, limit: str
) -> None:
    good, bad = b"{" + ORDER + b"}", b"{" + ORDER + b"," + wrong.encode() + b"}"
    body = b'{"orders" : [' + b" , ".join((good, bad, bad, good)) + b" ]}"
    response = http.post("/orders/batch", content=body)
    assert response.status_code == 200, response.text
    first, *refused, last = response.json()["results"]
    assert first["order"]["status"] == last["order"]["status"] == "open"
    for result in refused:
        assert result["message"] == f'{field} "{value}" is not {limit}: send one that is'
        (detail,) = result["details"]
        assert detail["reason"] == "VALUE_INVALID"
        told = (field, value[:80], limit)
        assert tuple(detail["metadata"][of] for of in ("field", "value", "limit")) == told


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        ("/orders", '{"client_id":5,"side":true}', 'client_id "5" is not a string'),
        ("/orders/batch", '{"orders":{}}', 'orders "{}" is not a list'),
        ("/orders/batch", '{"orders":5}', 'orders "5" is not a list'),
        ("/orders/any/cancel", '{"client_id":5}', 'client_id "5" is not a string'),
        ("/orders/any/cancel", '{"idempotencyKey":[]}', 'idempotencyKey "[]" is not a string'),
        ("/market/orderbook/snapshot", '{"instrument":5}', 'instrument "5" is not a string'),
    ],
)
def test_each_body_is_held_to_what_its_fields_take(
    http: httpx.Client, path: str, body: str, why: str
) -> None:
    response = http.post(path, content=body)
    assert response.status_code == 400
    assert error_of(response)["message"] == f"{why}: send one that is"


@pytest.mark.parametrize(
    "more",
    [
        '"price":"2"',
        '"price":"+2.5e1"',
        '"price":"2."',
        '"price":".5"',
        '"price":"\\u0035"',
        '"post_only":"true"',
        '"post_only":"false"',
        '"post_only":false',
        '"order_id":null,"post_only":null',
        '"levels":[1],"depth":{"quantity":"a"}',
    ],
)
def test_what_fields_take_and_what_no_field_is_goes_through(http: httpx.Client, more: str) -> None:
    order = ORDER if "price" not in more else ORDER.replace(b'"price":1,', b"")
    response = http.post("/orders", content=b"{" + order + b"," + more.encode() + b"}")
    assert response.status_code == 201, response.text


@pytest.mark.parametrize("text", ["1" * 1_000_000 + "x", "1.e" * 300_000, "e" * 1_000_000])
def test_a_long_number_that_is_none_holds_nobody_up(http: httpx.Client, text: str) -> None:
    """A pattern that goes back and forth would take hours."""
    response = http.post("/orders", json={"client_id": "a", "price": text}, timeout=20)
    assert response.status_code == 400
    assert "is not a finite number" in error_of(response)["message"]


def test_nor_does_one_over_the_websocket() -> None:
    for field in NUMBERS:
        with pytest.raises(BadFrame, match="is not a finite number"):
            check_numbers({field: "1" * 1_000_000 + "x"})


def test_orders_that_cant_be_read_may_fill_a_batch(http: httpx.Client) -> None:
    """What takes their place is longer than they are."""
    good = b"{" + ORDER + b"}"
    body = b'{"orders":[' + good + b",0" * 999 + b"]}"
    response = http.post("/orders/batch", content=body)
    assert response.status_code == 200, response.text
    first, *rest = response.json()["results"]
    assert first["order"]["status"] == "open"
    fields = [each["message"].partition(" ")[0] for each in rest]
    assert fields == [f"orders[{number}]" for number in range(1, 1_000)]


@pytest.mark.parametrize("count", [1_001, 500_000])
def test_more_than_a_batch_holds_is_refused_whole(http: httpx.Client, count: int) -> None:
    before = http.get("/orders").json()
    body = b'{"orders":[{' + ORDER + b"}" + b",0" * (count - 1) + b"]}"
    response = http.post("/orders/batch", content=body)
    assert response.status_code == 400
    assert error_of(response)["message"] == f"orders is {count}, the limit is 1000: send fewer"
    assert http.get("/orders").json() == before


@pytest.mark.parametrize(
    "wrong",
    [
        b"\xff",
        b"\xc0\x80",
        b"\xe0\x9f\xbf",
        b"\xe0\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xf1\xc0\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\xf4\x80\x80\xc0",
        b"\x9d",
        b"\xc3",
    ],
)
def test_what_is_replaced_has_to_be_utf8_too(http: httpx.Client, wrong: bytes) -> None:
    before = http.get("/orders").json()
    bad = b'{"price":[],"x":"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80' + wrong + b'"}'
    response = http.post("/orders/batch", content=b'{"orders":[{' + ORDER + b"}," + bad + b"]}")
    assert response.status_code == 400
    assert "is no JSON, by what stands at byte" in error_of(response)["message"]
    assert http.get("/orders").json() == before


def test_any_letter_may_stand_beside_what_is_replaced(http: httpx.Client) -> None:
    """The first and the last of each kind of UTF-8."""
    kinds = ("\x80\u07ff", "\u0800\u0fff\u1000\ud7ff\ue000\uffff", "\U00010000\U0003ffff")
    letters = "".join(kinds) + "\U00040000\U000fffff\U00100000\U0010ffff"
    bad = '{"price":[],"x":"' + letters + '"}'
    body = b'{"orders":[{' + ORDER + b"}," + bad.encode() + b',{"x":"' + letters.encode() + b'"}]}'
    response = http.post("/orders/batch", content=body)
    assert response.status_code == 200, response.text
    placed, refused, _ = response.json()["results"]
    assert placed["order"]["status"] == "open"
    assert refused["message"].startswith("price ")


def test_a_field_without_a_name_is_ignored_in_each_order_of_a_batch(http: httpx.Client) -> None:
    good = b'{"":1,' + ORDER + b',"x":{"":[]}}'
    bad = b'{"":1,"price":[],"":{"":2}}'
    body = b'{"":1,"orders":[' + b",".join((good, bad, b"{" + ORDER + b"}", bad, good)) + b"]}"
    response = http.post("/orders/batch", content=body)
    assert response.status_code == 200, response.text
    results = response.json()["results"]
    assert [(it.get("message") or it["order"]["status"]).partition(" ")[0] for it in results] == [
        "open",
        "price",
        "open",
        "price",
        "open",
    ]


def test_elements_of_two_lists_are_counted_on(http: httpx.Client) -> None:
    body = b'{"orders":[{' + ORDER + b'}],"orders":[5]}'
    _, refused = http.post("/orders/batch", content=body).json()["results"]
    assert refused["message"].startswith("orders[1] ")
