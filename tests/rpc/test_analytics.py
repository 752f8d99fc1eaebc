"""Trades by interval, as they are asked for and shown."""

import threading
import time
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
from server.rpc.http.parse import time_of
from server.times import exact_time_text
from tests.rpc.served import Served, refused

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


@pytest.mark.asyncio
async def test_a_period_over_http_begins_where_the_one_before_says_that_it_ends(
    served: Served,
) -> None:
    """The trade lies within a millisecond, as does the end that is asked for."""
    await served.place("A", SELL, 100)
    await served.place("B", BUY, 100)
    stub = MarketServiceStub(served.channel)
    for end_time in (exact_time_text(served.engine.time_ns + 1), ""):
        first = await stub.GetAnalytics(HttpGetAnalyticsRequest(end_time=end_time))
        assert [each.trade_count for each in first.aggregates] == [1]
        assert not end_time or first.end_time == end_time
        then = await stub.GetAnalytics(HttpGetAnalyticsRequest(start_time=first.end_time))
        assert not then.aggregates


@pytest.mark.asyncio
async def test_over_http_a_period_ends_with_a_millisecond_by_default(served: Served) -> None:
    stub = MarketServiceStub(served.channel)
    found = await stub.GetAnalytics(HttpGetAnalyticsRequest())
    assert len(found.end_time) == len("2024-01-01T00:00:00.000Z")
    end_ns = time_of("end_time", found.end_time)
    assert isinstance(end_ns, int)
    assert served.engine.time_ns < end_ns < time.time_ns()


@pytest.mark.asyncio
async def test_over_http_a_time_is_refused_to_its_nanosecond(served: Served) -> None:
    stub = MarketServiceStub(served.channel)
    begin, end = "2024-01-01T00:00:00.000000002Z", "2024-01-01T00:00:00.000000001Z"
    request = HttpGetAnalyticsRequest(start_time=begin, end_time=end)
    failure, info = await refused(stub.GetAnalytics(request))
    assert f'start_time "{begin}" is not before the end, {end}' in str(failure.details())
    assert info.metadata["value"] == begin
