"""What clients learn of their trades: the taker's side and both fees, wherever a trade is told."""

import json
from collections.abc import Callable
from typing import Any

from tests.gateway.door import Market, refusal_of
from tests.gateway.websocket_client import client_of


def test_a_trade_is_told_alike_everywhere_with_side_and_fees(
    market: Market, list_instrument: Callable[..., None]
) -> None:
    list_instrument(market.instrument, maker_fee_e6=-100, taker_fee_e6=250)
    first = market.placed("buy", 0.5, 70000.02, client_id=f"{market.prefix}M")["sequence"]
    sell = {"client_id": f"{market.prefix}T", "instrument": market.instrument, "side": "sell"}
    with client_of(str(market.http.base_url)) as client:
        client.subscribe(market.instrument, "trades")
        (trade,) = market.placed("sell", 0.25)["trades"]
        assert (trade["side"], trade["maker_fee"], trade["taker_fee"]) == (
            "sell",
            -1.7500005,
            4.37500125,
        )
        assert client.until("trades")["data"] == trade
        order = {"type": "order", "order_type": "market", "quantity": 0.1, **sell}
        (accepted,) = client.ask(order, "order_accepted")["trades"]
    assert market.get("/market/trades")["trades"] == [accepted, trade]
    where = {"instrument": market.instrument, "from_sequence": first}
    told: list[dict[str, Any]] = []
    with market.http.stream("GET", "/market/trades/stream", params=where) as response:
        lines = response.iter_lines()
        while len(told) < 2:
            told += json.loads(next(lines))["trades"]
    assert told == [trade, accepted]


def test_a_client_lists_its_own_trades_and_what_it_was_in_each(
    market: Market, list_instrument: Callable[..., None]
) -> None:
    list_instrument(market.instrument, maker_fee_e6=-100, taker_fee_e6=250)
    one, two = f"{market.prefix}one", f"{market.prefix}two"
    for maker, taker in ((one, two), (two, one), (two, f"{market.prefix}three"), (one, one)):
        allowed = {"self_trade_prevention": "none"}
        market.placed("sell", 1, 100, client_id=maker)
        market.placed("buy", 1, 100, client_id=taker, **allowed)
    everything = market.get("/market/trades")["trades"]
    assert {"role"} & set().union(*everything) == set()
    own = market.get("/market/trades", client_id=one)
    assert own["count"] == 3
    assert [trade.pop("role") for trade in own["trades"]] == ["both", "taker", "maker"]
    assert own["trades"] == [everything[0], *everything[2:]]
    newest = market.get("/market/trades", client_id=two, limit=2)
    assert [trade["role"] for trade in newest["trades"]] == ["maker", "maker"]
    where = {"client_id": two, "page_token": newest["next_page_token"]}
    rest = market.get("/api/v1/trades", **where)
    assert [trade["role"] for trade in rest["trades"]] == ["taker"]
    assert own["next_page_token"] == rest["next_page_token"] == ""


def test_who_never_traded_has_no_trades_and_what_is_wrong_is_refused(market: Market) -> None:
    market.placed("sell", 1, 100)
    for client in ("nobody-at-all", "not a client's id", f"{market.prefix}A"):
        assert market.get("/market/trades", client_id=client)["trades"] == []
    default = market.http.get("/market/trades", params={"client_id": "nobody-at-all"}).json()
    assert (default["instrument"], default["trades"]) == ("BTC-USD", [])
    for status, field, value in (
        (404, "instrument", "NO-SUCH"),
        (400, "page_token", "1"),
        (400, "limit", "1001"),
    ):
        wrong = {"client_id": f"{market.prefix}A", field: value}
        response = market.http.get("/market/trades", params=wrong)
        assert response.status_code == status
        assert refusal_of(response)["field"] == field
