"""Trades by interval, as they are asked for and shown."""

import threading
from typing import Any

import pytest

from exchange.http.v1.market_service_pb2 import GetAnalyticsRequest as HttpGetAnalyticsRequest
from exchange.http.v1.market_service_pb2_grpc import MarketServiceStub
from exchange.v1.market_data_pb2 import GetAnalyticsRequest
from exchange.v1.market_data_pb2_grpc import MarketDataStub
from server.core.types import BUY, SELL
from server.history.analytics import Query
from server.rpc import market_view, parse
from server.rpc.http import present
from tests.rpc.served import Served

NAME = "BTC-USD"


def test_what_is_not_given_takes_its_default() -> None:
    request = GetAnalyticsRequest(instrument=NAME)
    assert parse.analytics_query(request) == Query(NAME, None, None, 1, with_empty=False)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("module", "stub", "request_of"),
    [
        (market_view, MarketDataStub, GetAnalyticsRequest),
        (present, MarketServiceStub, HttpGetAnalyticsRequest),
    ],
    ids=["grpc", "http"],
)
async def test_many_intervals_are_presented_beside_the_loop(
    served: Served, monkeypatch: pytest.MonkeyPatch, module: Any, stub: Any, request_of: Any
) -> None:
    """Those of a week of minutes would hold it for 0.15 s."""
    made: list[threading.Thread] = []
    show = module.analytics

    def shown(*arguments: Any) -> Any:
        made.append(threading.current_thread())
        return show(*arguments)

    monkeypatch.setattr(module, "analytics", shown)
    await served.place("A", SELL, 100)
    await served.place("B", BUY, 100)
    reply = await stub(served.channel).GetAnalytics(request_of(instrument=NAME))
    assert [each.trade_count for each in reply.aggregates] == [1]
    assert made[0] is not threading.current_thread()
