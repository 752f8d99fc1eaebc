"""Market data, positions, snapshot, instruments, health, figures and index through Envoy."""

import re
from collections.abc import Callable

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.routes import json_routes
from server.rpc.http.parse import time_of
from tests.gateway import http2
from tests.gateway.door import Market, refusal_of
from tests.running import Everything

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_order_book(market: Market) -> None:
    for price, quantity in ((100, 1), (100, 0.5), (99, 2)):
        market.placed("buy", quantity, price)
    market.placed("sell", 3, 101.5)
    reply = market.get("/market/orderbook")
    assert TIME.fullmatch(reply.pop("timestamp"))
    assert reply.pop("sequence").isdecimal()
    assert reply == {
        "instrument": market.instrument,
        "bids": [
            {"price": 100, "quantity": 1.5, "cumulative": 1.5},
            {"price": 99, "quantity": 2, "cumulative": 3.5},
        ],
        "asks": [{"price": 101.5, "quantity": 3, "cumulative": 3}],
    }


def test_order_book_levels(market: Market) -> None:
    for step in range(30):
        market.placed("sell", 1, 100 + step)
    assert len(market.get("/market/orderbook")["asks"]) == 20
    assert len(market.get("/market/orderbook", levels=1)["asks"]) == 1
    assert len(market.get("/market/orderbook", levels=100)["asks"]) == 30


@pytest.mark.parametrize(
    ("path", "field", "limit"),
    [("/market/orderbook", "levels", 100), ("/market/trades", "limit", 1000)],
)
@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "1e1", "٣", "99999999999999999999"])
def test_number_in_the_query_is_judged_with_its_name(
    http: httpx.Client, path: str, field: str, limit: int, value: str
) -> None:
    for text in (value, str(limit + 1)):
        response = http.get(path, params={field: text})
        assert response.status_code == 400
        refusal = refusal_of(response)
        assert (refusal["field"], refusal["value"]) == (field, text)
        assert str(limit) in response.json()["message"]


def test_trades_newest_first(market: Market) -> None:
    for price in (100, 101, 102):
        market.placed("sell", 1, price, client_id=f"{market.prefix}S")
        market.placed("buy", 1, price)
    reply = market.get("/market/trades")
    assert reply["count"] == 3
    assert [trade["price"] for trade in reply["trades"]] == [102, 101, 100]
    trade = reply["trades"][0]
    assert trade.keys() >= {
        "trade_id", "buy_order_id", "sell_order_id", "price", "quantity", "timestamp",
    }  # fmt: skip
    assert TIME.fullmatch(trade["timestamp"])
    two = market.get("/market/trades", limit=2)
    assert two["trades"] == reply["trades"][:2]
    assert two["count"] == 2
    older = market.get("/market/trades", limit=2, page_token=two["next_page_token"])
    assert older["trades"] == reply["trades"][2:]
    assert older["next_page_token"] == reply["next_page_token"] == ""


def test_fifty_trades_unless_more_are_asked_for(market: Market) -> None:
    for _ in range(51):
        market.placed("sell", 1, 100, client_id=f"{market.prefix}S")
    market.placed("buy", 51, 100)
    assert market.get("/market/trades")["count"] == 50
    assert market.get("/market/trades", limit=1_000)["count"] == 51
    assert market.http.get("/market/trades", params={"limit": "1001"}).status_code == 400


def test_page_tokens_of_trades_are_checked(http: httpx.Client) -> None:
    for token in ("1", "x", "1-9999999999", f"{2**63}-0"):
        response = http.get("/market/trades", params={"page_token": token})
        assert response.status_code == 400, response.text
        assert "page_token" in response.json()["error"]


def test_best_quotes(market: Market) -> None:
    empty = market.get("/market/bbo")
    assert empty.keys() == {"instrument", "timestamp", "sequence"}
    market.placed("buy", 2, 100.00000001)
    bid_only = market.get("/market/bbo")
    assert (bid_only["bid_price"], bid_only["bid_quantity"]) == (100.00000001, 2)
    assert "mid" not in bid_only
    market.placed("sell", 3, 100.00000004)
    both = market.get("/market/bbo")
    assert (both["ask_price"], both["ask_quantity"]) == (100.00000004, 3)
    assert both["spread"] == 0.00000003
    assert both["mid"] == 100.000000025


@pytest.mark.parametrize("path", ["/market/orderbook", "/market/trades", "/market/bbo"])
def test_unknown_instrument_is_not_found(http: httpx.Client, path: str) -> None:
    response = http.get(path, params={"instrument": "NO-SUCH"})
    assert response.status_code == 404
    assert refusal_of(response)["reason"] == "INSTRUMENT_UNKNOWN"
    assert http.get(path).json()["instrument"] == "BTC-USD"


@pytest.mark.parametrize("path", ["/orders", "/api/v1/orders", "/market/ticker"])
def test_what_there_is_of_an_unknown_instrument_is_no_empty_answer(
    http: httpx.Client, path: str
) -> None:
    response = http.get(path, params={"instrument": "NO-SUCH"})
    assert response.status_code == 404
    refusal = refusal_of(response)
    assert (refusal["field"], refusal["value"]) == ("instrument", "NO-SUCH")


def test_positions(market: Market, list_instrument: Callable[..., None]) -> None:
    list_instrument(market.instrument, taker_fee_e6=1000)
    buyer, seller = f"{market.prefix}B", f"{market.prefix}S"
    market.placed("sell", 1.5, 70500, client_id=seller)
    market.placed("buy", 1.5, 70500, client_id=buyer)
    market.placed("buy", 0.5, 71000, client_id=seller)
    (last,) = market.placed("sell", 0.5, 71000, client_id=buyer)["trades"]
    reply = market.http.get(f"/market/positions/{buyer}").json()
    (position,) = reply["positions"]
    assert position.pop("last_updated") == last["timestamp"]
    assert reply["client_id"] == buyer
    assert position == {
        "instrument": market.instrument,
        "net_quantity": 1,
        "total_cost": 70500,
        "avg_price": 70500,
        "realised_pnl": 250,
        "unrealised_pnl": 500,
        "fees": 141.25,
    }
    (other,) = market.http.get(f"/market/positions/{seller}").json()["positions"]
    assert (other["net_quantity"], other["total_cost"]) == (-1, -70500)
    assert other["avg_price"] == 70500


def test_unknown_client_has_no_positions(http: httpx.Client) -> None:
    reply = http.get("/market/positions/nobody-at-all").json()
    assert (reply["client_id"], reply["positions"]) == ("nobody-at-all", [])


def test_snapshot(market: Market, exchange: Everything) -> None:
    market.placed("buy", 1, 100)
    for how in (
        {"params": {"instrument": market.instrument}},
        {"json": {"instrument": market.instrument}},
    ):
        response = market.http.post("/market/orderbook/snapshot", **how)  # type: ignore[arg-type]
        assert response.status_code == 200
        reply = response.json()
        assert reply["instrument"] == market.instrument
        assert reply["snapshot"] == {
            "bids": [{"price": 100, "quantity": 1, "cumulative": 1}],
            "asks": [],
        }
        assert TIME.fullmatch(reply["timestamp"])
        assert int(reply["snapshot_sequence"]) >= int(reply["sequence"])
    unknown = market.http.post("/market/orderbook/snapshot", params={"instrument": "NO-SUCH"})
    assert unknown.status_code == 404


def test_instruments(market: Market, list_instrument: Callable[..., None]) -> None:
    list_instrument(
        market.instrument,
        tick_e8=50_000_000,
        lot_e8=1_000,
        price_max_e8=100_000_000_000_000,
        quantity_max_e8=100_000_000_000,
        maker_fee_e6=-50,
        taker_fee_e6=200,
        self_trade_prevention=3,
    )
    listed = {
        each["instrument"]: each for each in market.http.get("/instruments").json()["instruments"]
    }
    assert listed.keys() >= {"BTC-USD", "ETH-USD", "SOL-USD"}
    assert listed[market.instrument] == {
        "instrument": market.instrument,
        "tick_size": 0.5,
        "lot_size": 0.00001,
        "min_price": 0.00000001,
        "max_price": 1_000_000,
        "min_quantity": 0.00000001,
        "max_quantity": 1_000,
        "maker_fee_rate": -0.00005,
        "taker_fee_rate": 0.0002,
        "self_trade_prevention": "cancel_oldest",
    }
    response = market.post(side="buy", type="limit", price=100.25, quantity=1)
    assert response.status_code == 400
    refusal = refusal_of(response)
    assert (refusal["reason"], refusal["value"], refusal["limit"]) == (
        "PRICE_OFF_TICK", "100.25", "0.5",
    )  # fmt: skip
    assert "100.25" in response.json()["message"]


def test_orders_at_the_limits_of_an_instrument_are_taken_as_they_are_printed(
    market: Market, list_instrument: Callable[..., None]
) -> None:
    """Also those of more digits than a double keeps."""
    bounds = {"price_min_e8": 10**18 + 49, "quantity_min_e8": 10**15 + 4}
    list_instrument(market.instrument, tick_e8=1, lot_e8=1, **bounds)
    listed = market.http.get("/instruments").json()["instruments"]
    (terms,) = [each for each in listed if each["instrument"] == market.instrument]
    assert (terms["min_price"], terms["max_price"]) == (10000000000.0001, 92233720368.5477)
    assert (terms["min_quantity"], terms["max_quantity"]) == (10000000.0000001, 92233720368.5477)
    market.placed("buy", terms["min_quantity"], terms["min_price"])
    market.placed("sell", terms["min_quantity"], terms["max_price"])


def test_health(http: httpx.Client) -> None:
    response = http.get("/healthz")
    assert response.status_code == 200
    reply = response.json()
    assert TIME.fullmatch(reply["timestamp"])
    assert (reply["status"], reply["degraded"]) == ("healthy", [])
    assert reply["checks"] == {
        "journal": "healthy",
        "snapshots": "healthy",
        "postgres": "disabled",
        "redis": "disabled",
        "kafka": "disabled",
    }


def test_index_names_every_route(http: httpx.Client) -> None:
    reply = http.get("/").json()
    assert reply["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", reply["version"])
    assert reply["endpoints"] == [f"{route.method} {route.template}" for route in json_routes()]


@pytest.mark.parametrize(
    "template", [route.template for route in json_routes() if "HEAD" in route.methods]
)
def test_head_is_get_without_a_body(exchange: Everything, market: Market, template: str) -> None:
    order_id = market.placed("buy", 1, 100)["order"]["order_id"]
    path = template.format(order_id=order_id, client_id=f"{market.prefix}A")
    read, head = market.http.get(path), market.http.head(path)
    assert head.status_code == read.status_code == 200
    assert head.headers.keys() == read.headers.keys()
    assert head.headers["content-type"] == read.headers["content-type"]
    assert int(head.headers["content-length"]) > 0
    assert head.content == b""
    assert http2.asked(exchange.http_port, b"HEAD", path.encode()) == b""
    assert http2.asked(exchange.http_port, b"GET", path.encode())


@pytest.mark.parametrize("path", ["/orders/none", "/orders?page_size=x", "/orders?none=1"])
def test_head_is_refused_as_get_is(exchange: Everything, http: httpx.Client, path: str) -> None:
    read, head = http.get(path), http.head(path)
    assert (head.status_code, head.content) == (read.status_code, b"")
    assert head.headers["content-length"] == read.headers["content-length"]
    assert http2.asked(exchange.http_port, b"HEAD", path.encode()) == b""


def figures(http: httpx.Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    response = http.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_what_the_gateway_refuses_is_in_no_figure_and_that_is_said(http: httpx.Client) -> None:
    def refusals() -> dict[str, float]:
        families = text_string_to_metric_families(http.get("/metrics").text)
        return {
            family.documentation: sum(sample.value for sample in family.samples)
            for family in families
            if family.name in ("orders_rejected", "call_errors")
        }

    before = refusals()
    assert http.post("/orders", content='{"side": ').status_code == 400
    assert http.get("/nowhere").status_code == 404
    assert refusals() == before
    assert len(before) == 2
    for text in before:
        assert text.endswith(
            "What the gateway itself refuses (bad JSON, an unknown route) is not counted."
        )


def test_metrics(market: Market) -> None:
    before = figures(market.http)
    market.placed("sell", 0.5, 100, client_id=f"{market.prefix}S")
    market.placed("sell", 0.5, 101, client_id=f"{market.prefix}S")
    market.placed("buy", 0.75, 100)
    market.placed("buy", 1, order_id=f"{market.prefix}m")
    market.placed("buy", 1)
    market.post(side="buy", type="limit", price=-1, quantity=1)
    market.post(side="up", type="limit", price=1, quantity=1)
    market.post(side="sell", type="limit", price="NaN", quantity=1)
    market.post(side="sell", type="limit", price=1)
    after = figures(market.http)

    def grown(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after[key] - before.get(key, 0)

    assert grown("orders_received_total", type="limit", side="sell") == 4
    assert grown("orders_received_total", type="limit", side="buy") == 2
    assert grown("orders_received_total", type="market", side="buy") == 2
    assert grown("orders_received_total", type="limit", side="unknown") == 1
    assert grown("orders_matched_total", instrument=market.instrument) == 2
    assert grown("orders_rejected_total", reason="no_liquidity") == 1
    assert grown("orders_rejected_total", reason="price_not_positive") == 1
    assert grown("orders_rejected_total", reason="side_invalid") == 1
    assert grown("orders_rejected_total", reason="number_invalid") == 1
    assert grown("orders_rejected_total", reason="field_required") == 1
    assert grown("trades_total") == 2
    assert grown("trade_volume_total", instrument=market.instrument) == 1
    assert grown("order_latency_seconds_count") == 5
    assert grown("order_latency_seconds_bucket", le="+Inf") == 5
    assert grown("order_latency_seconds_sum") > 0
    assert grown("current_orderbook_depth", instrument=market.instrument, side="buy") == 1
    assert grown("current_orderbook_depth", instrument=market.instrument, side="sell") == 0


def test_ticker(market: Market) -> None:
    empty = market.get("/market/ticker")
    assert TIME.fullmatch(empty.pop("timestamp"))
    assert empty.pop("sequence").isdecimal()
    nothing = {"instrument": market.instrument, "volume": 0, "notional": 0, "trade_count": 0}
    assert empty == nothing
    market.placed("sell", 1, 100, client_id=f"{market.prefix}S")
    market.placed("sell", 1, 98.5, client_id=f"{market.prefix}S")
    market.placed("buy", 1.5, 100)
    market.placed("buy", 2, 90)
    ticker = market.get("/market/ticker")
    assert {field: ticker[field] for field in ticker if field not in ("timestamp", "sequence")} == {
        "instrument": market.instrument,
        "last": 100,
        "bid": 90,
        "bid_quantity": 2,
        "ask": 100,
        "ask_quantity": 0.5,
        "open": 98.5,
        "high": 100,
        "low": 98.5,
        "change": 1.5,
        "volume": 1.5,
        "notional": 148.5,
        "trade_count": 2,
    }


def test_analytics(market: Market) -> None:
    market.placed("sell", 1, 100, client_id=f"{market.prefix}S")
    market.placed("sell", 1, 102, client_id=f"{market.prefix}S")
    market.placed("buy", 1.5, 102)
    day = market.get("/market/analytics", interval=1440)
    assert day["sequence"].isdecimal()
    assert TIME.fullmatch(day["start_time"])
    assert TIME.fullmatch(day["end_time"])
    assert (day["interval_minutes"], day["overall_vwap"]) == (1440, 100.66666667)
    (found,) = day["aggregates"]
    assert found.pop("time_bucket").endswith("T00:00:00.000Z")
    assert found == {
        "trade_count": 2,
        "total_quantity": 1.5,
        "avg_price": 101,
        "min_price": 100,
        "max_price": 102,
        "total_volume": 151,
        "vwap": 100.66666667,
        "open": 100,
        "close": 102,
    }
    minute = market.get("/market/analytics")
    assert minute["interval_minutes"] == 1
    assert [each["total_volume"] for each in minute["aggregates"]] == [151]
    ever = market.get("/market/analytics", interval=1440, start_time="1970-01-01T00:00:00Z")
    assert ever["start_time"] == "1970-01-01T00:00:00.000Z"
    assert [each["total_volume"] for each in ever["aggregates"]] == [151]
    # After the newest command, and before now.
    since = market.get("/market/analytics", start_time=minute["end_time"])
    assert since["aggregates"] == []
    window = {
        "start_time": "2001-01-01T00:00:00Z",
        "end_time": "2001-01-01T03:00+01:00",
        "interval": 60,
    }
    past = market.get("/market/analytics", **window)
    assert (past["aggregates"], past["overall_vwap"]) == ([], 0)
    filled = market.get("/market/analytics", **window, include_empty="true")
    assert [each["time_bucket"] for each in filled["aggregates"]] == [
        "2001-01-01T00:00:00.000Z",
        "2001-01-01T01:00:00.000Z",
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2001-01-01T01:30:00.250Z", "00.250"),
        ("2001-01-01T01:30:00.25", "00.250"),
        ("2001-01-01T01:30:00.250000999Z", "00.250000999"),
        ("2001-01-01T03:30:00.250%2B02:00", "00.250"),
        ("2001-01-01T03:30:00.250+02:00", "00.250"),
        ("2000-12-31T20:30:00.250-0500", "00.250"),
    ],
)
def test_times_as_languages_print_them(http: httpx.Client, text: str, seconds: str) -> None:
    response = http.get(f"/market/analytics?start_time={text}&end_time=2001-01-02")
    assert response.status_code == 200, response.text
    assert response.json()["start_time"] == f"2001-01-01T01:30:{seconds}Z"


def test_a_time_is_taken_to_its_nanosecond() -> None:
    assert time_of("start_time", "1970-01-01T00:00:01.000000999Z") == 1_000_000_999
    assert time_of("start_time", "1970-01-01T00:00:01.5") == 1_500_000_000
    assert time_of("start_time", "1970-01-01") == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("interval=0", "interval"),
        ("start_time=2024-01-01T00:00:00.1234567890Z", "start_time"),
        ("interval=1441", "interval"),
        ("interval=1.5", "interval"),
        ("start_time=yesterday", "start_time"),
        ("end_time=1969-12-31T23:59:59Z", "end_time"),
        ("end_time=2024-13-01T00:00:00Z", "end_time"),
        ("end_time=9999-12-31T23:59:59-05:00", "end_time"),
        ("start_time=9999-12-31T23:59:59-05:00", "start_time"),
        ("start_time=2024-01-02T00:00:00Z&end_time=2024-01-02T00:00:00Z", "start_time"),
        ("start_time=2001-01-01T00:00:00Z&include_empty=true", "intervals"),
    ],
)
def test_analytics_refused(market: Market, query: str, field: str) -> None:
    reply = market.http.get(f"/market/analytics?{query}")
    assert reply.status_code == 400
    assert field in reply.json()["error"]


def test_analytics_names_the_times_as_they_were_sent(market: Market) -> None:
    query = "start_time=2024-01-02T00:00:00Z&end_time=2024-01-01T00:00:00Z"
    refused = market.http.get(f"/market/analytics?{query}").json()
    assert refused["error"] == (
        'start_time "2024-01-02T00:00:00.000Z" is not before the end, 2024-01-01T00:00:00.000Z:'
        " send one that is"
    )
    assert refused["details"][0]["metadata"]["field"] == "start_time"
    refused = market.http.get("/market/analytics?end_time=1970-01-01T00:00:00Z").json()
    assert refused["error"] == (
        'end_time "1970-01-01T00:00:00.000Z" is not after 1970-01-01T00:00:00Z: send one that is'
    )
    assert refused["details"][0]["metadata"]["field"] == "end_time"


def test_statistics(market: Market) -> None:
    market.placed("sell", 1, 100, client_id=f"{market.prefix}S")
    market.placed("sell", 1, 101, client_id=f"{market.prefix}S")
    market.placed("buy", 1.5, 101)
    market.placed("buy", 2, 90)
    found = market.get("/market/statistics")
    since, time = found.pop("since"), found.pop("timestamp")
    assert TIME.fullmatch(since)
    assert TIME.fullmatch(time)
    assert "2026" <= since < time
    assert found.pop("sequence").isdecimal()
    assert 4 / 60.1 < found.pop("orders_per_second") <= 4
    assert 2 / 60.1 < found.pop("trades_per_second") <= 2
    assert found == {
        "instrument": market.instrument,
        "open_orders": 2,
        "orders": 4,
        "trades": 2,
        "volume": 1.5,
        "trades_24h": 2,
        "volume_24h": 1.5,
        "bid_levels": 1,
        "ask_levels": 1,
        "bid_depth": 2,
        "ask_depth": 0.5,
        "spread": 11,
    }
