"""Numbers over HTTP are as the table of `/docs` says."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from google.protobuf.descriptor import FieldDescriptor

from exchange.http.v1 import market_service_pb2, order_service_pb2, system_service_pb2, types_pb2
from gateway.documents.numbers import IN_REPLIES, IN_REQUESTS, NUMBERS
from tests.gateway.door import Market, refusal_of

PRICES, QUANTITIES, MONEY, RATES, COUNTS, DURATIONS, CODES, SEQUENCES = (
    set(each.fields) for each in NUMBERS
)


def named(*kinds: int) -> set[str]:
    """The names of all fields of these kinds in requests and replies."""
    files = (market_service_pb2, order_service_pb2, system_service_pb2, types_pb2)
    messages = [it for file in files for it in file.DESCRIPTOR.message_types_by_name.values()]
    return {field.name for it in messages for field in it.fields if field.type in kinds}


def test_each_figure_is_in_the_table_once() -> None:
    """A new one belongs into `gateway/documents/numbers.py`."""
    listed = [field for each in NUMBERS for field in each.fields]
    assert len(listed) == len(set(listed))
    assert named(FieldDescriptor.TYPE_UINT64) == SEQUENCES
    doubles = named(FieldDescriptor.TYPE_DOUBLE)
    assert doubles - (PRICES | QUANTITIES | MONEY | RATES) == {"orders", "trades", "seconds"}
    whole = named(FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_INT32)
    assert doubles | whole == set(listed) - SEQUENCES
    assert (COUNTS | DURATIONS | CODES) - doubles == whole


def test_the_documents_show_the_table(http: httpx.Client) -> None:
    page = http.get("/docs").text
    assert '<section id="Numbers">' in page
    for said in (IN_REQUESTS, IN_REPLIES):
        assert said.partition("`")[0] in page


def figures(content: Any) -> Iterator[tuple[str, Any]]:
    """Every field of a reply, however deep, with what it holds."""
    if isinstance(content, list):
        for each in content:
            yield from figures(each)
    if isinstance(content, dict):
        for name, value in content.items():
            yield name, value
            yield from figures(value)


def test_figures_of_a_market_are_of_their_kind(market: Market) -> None:
    """Traded is 2 at 100.5 and 3 at 100."""
    buyer = f"{market.prefix}B"
    for price, quantity in ((100.5, 2), (100, 3)):
        market.placed("sell", quantity, price)
        market.placed("buy", quantity, price, client_id=buyer)
    replies = {
        path: market.get(f"/market/{path}")
        for path in ("ticker", "analytics", "statistics", "trades", "orderbook", "bbo")
    }
    (position,) = market.http.get(f"/market/positions/{buyer}").json()["positions"]
    ticker, statistics = replies["ticker"], replies["statistics"]
    assert ticker["volume"] == statistics["volume"] == statistics["volume_24h"] == 5
    assert ticker["notional"] == position["total_cost"] == 501
    assert (ticker["last"], ticker["change"]) == (100, -0.5)
    bars = replies["analytics"]["aggregates"]
    assert sum(each["total_quantity"] for each in bars) == 5
    assert sum(each["total_volume"] for each in bars) == 501
    assert replies["analytics"]["overall_vwap"] == position["avg_price"] == 100.2
    assert sum(each["trade_count"] for each in bars) == ticker["trade_count"] == 2
    assert (statistics["orders"], statistics["trades"]) == (4, 2)
    for name, value in figures([*replies.values(), position]):
        if name in SEQUENCES:
            assert isinstance(value, str), name
            assert value.isdecimal(), name
        elif name in COUNTS and not isinstance(value, list):
            assert isinstance(value, int), name
        elif name in PRICES | QUANTITIES | MONEY | RATES:
            assert isinstance(value, int | float), name


@pytest.mark.parametrize("number", [1234567.12345678, "1234567.12345678"])
def test_fifteen_digits_are_exact_as_number_and_string(market: Market, number: Any) -> None:
    order = market.placed("buy", number, number)["order"]
    assert order["price"] == order["quantity"] == 1234567.12345678


@pytest.mark.parametrize("number", ["12345678.12345678", "0.123456789", 0.123456789])
def test_more_digits_are_refused(market: Market, number: Any) -> None:
    refused = market.post(side="buy", type="limit", quantity=1, price=number)
    assert refused.status_code == 400
    assert refusal_of(refused)["reason"] == "NUMBER_INVALID"


def test_a_sum_of_more_digits_is_rounded_to_fifteen(market: Market) -> None:
    for quantity in ("99999999", "0.12345678"):
        market.placed("buy", quantity, 1)
    assert market.get("/market/orderbook")["bids"][0]["quantity"] == 99999999.1234568
