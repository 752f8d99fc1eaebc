"""What clients learn of their trades: the taker's side and both fees, wherever a trade is told."""

import json
from collections.abc import Callable
from typing import Any

from tests.gateway.door import Market
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
