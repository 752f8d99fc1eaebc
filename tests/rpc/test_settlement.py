"""What `SettleDay` refuses before it asks any database."""

from functools import partial
from typing import Any

import grpc
import pytest

from exchange.v1.admin_service_pb2 import SettleDayRequest
from server.history.settlement import Settlements
from server.rpc.settlement import OVER_S, SettlementCalls
from tests.rpc.served import Served, refused

pytestmark = pytest.mark.asyncio

DAY_S = 20_512 * 86_400
"""The beginning of 2026-02-28."""


@pytest.mark.parametrize(
    "date", ["", "yesterday", "2026-2-28", "2026-02-29", "20260228", "9999-12-31", "2026-02-28 "]
)
async def test_a_day_has_one_form(served: Served, date: str) -> None:
    failure, info = await refused(_settled(served, date))
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (info.reason, info.metadata["value"]) == ("DAY_INVALID", date)
    assert "YYYY-MM-DD" in (failure.details() or "")


async def test_a_day_is_over_a_minute_after_its_end(served: Served) -> None:
    over_s = DAY_S + 86_400 + OVER_S
    for now_s, is_over in ((over_s - 1, False), (over_s, True)):
        calls: Any = None
        settling = SettlementCalls(calls, Settlements(""), partial(int, now_s * 10**9))
        refusal = await settling.serve(SettleDayRequest(date="2026-02-28"), calls)
        assert refusal is not None
        assert refusal.reason.name == ("NOT_AVAILABLE" if is_over else "DAY_OUT_OF_RANGE")
        assert is_over or "2026-03-01T00:01:00Z" in str(refusal.limit)


async def test_without_a_database_nothing_is_settled(served: Served) -> None:
    failure, info = await refused(_settled(served, "2026-02-28"))
    assert failure.code() is grpc.StatusCode.UNIMPLEMENTED
    assert info.reason == "NOT_AVAILABLE"
    assert "no PostgreSQL is configured" in (failure.details() or "")


async def _settled(served: Served, date: str) -> Any:
    return await served.admin.SettleDay(SettleDayRequest(date=date)).read()
