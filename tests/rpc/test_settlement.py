"""What `SettleDay` refuses before it asks any database."""

from datetime import UTC, date, datetime
from functools import partial
from typing import Any
from unittest.mock import Mock

import grpc
import pytest

from exchange.v1.admin_service_pb2 import SettleDayRequest
from server.history.reader import Down, OfAnother
from server.history.settlement import SETTLE_S, Damaged, DayNotKept, Settlements
from server.rpc.calls import Calls
from server.rpc.deadlines import Deadlines
from server.rpc.settlement import OVER_S, SettlementCalls
from tests.rpc.served import BUY, Served, refused

pytestmark = pytest.mark.asyncio

DAY_S = 20_512 * 86_400
"""The beginning of 2026-02-28."""
HOUR_NS = 3_600 * 10**9


@pytest.mark.parametrize(
    "day",
    [
        "",
        "yesterday",
        "2026-2-28",
        "2026-02-29",
        "20260228",
        "10000-01-01",
        "0000-01-01",
        "2026-02-28 ",
    ],
)
async def test_a_day_has_one_form(served: Served, day: str) -> None:
    failure, info = await refused(_settled(served, day))
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (info.reason, info.metadata["value"]) == ("DAY_INVALID", day)
    assert "YYYY-MM-DD" in (failure.details() or "")


@pytest.mark.parametrize("day", ["2999-01-01", "9999-12-30", "9999-12-31"])
async def test_a_day_that_is_far_off_is_not_over(served: Served, day: str) -> None:
    failure, info = await refused(_settled(served, day))
    assert failure.code() is grpc.StatusCode.OUT_OF_RANGE
    assert (info.reason, info.metadata["value"]) == ("DAY_OUT_OF_RANGE", day)
    assert "is not over" in (failure.details() or "")


async def test_a_day_is_over_a_minute_after_its_end(served: Served) -> None:
    over_s = DAY_S + 86_400 + OVER_S
    for now_s, is_over in ((over_s - 1, False), (over_s, True)):
        calls: Any = None
        settling = SettlementCalls(calls, Settlements(""), partial(int, now_s * 10**9))
        refusal = await settling.serve(SettleDayRequest(date="2026-02-28"), calls)
        assert refusal is not None
        assert refusal.reason.name == ("NOT_AVAILABLE" if is_over else "DAY_OUT_OF_RANGE")
        assert is_over or "2026-03-01T00:01:00Z" in str(refusal.limit)


async def test_a_clock_that_is_set_back_opens_no_day_that_was_settled(served: Served) -> None:
    """Not even one after which nothing had come: its trades would never be settled."""
    sequencer = served.exchange.sequencer
    over_ns = int(datetime(2100, 3, 1, tzinfo=UTC).timestamp()) * 10**9
    now_ns = over_ns - HOUR_NS
    sequencer._clock = lambda: now_ns
    await served.place("a", BUY, 10)
    now_ns = over_ns + HOUR_NS
    nowhere = Settlements("postgresql://127.0.0.1:1/nowhere")
    calls = Calls(sequencer, Deadlines(5, 30))
    settling = SettlementCalls(calls, nowhere, lambda: now_ns)
    context: Any = Mock(time_remaining=lambda: None)
    for _ in range(2):
        refusal = await settling.serve(SettleDayRequest(date="2100-02-28"), context)
        assert refusal is not None
        assert refusal.reason.name == "NOT_SERVING", "the day is over, and there are no tables"
    assert sequencer.engine.sequence == sequencer.durable_sequence
    sequence = sequencer.durable_sequence
    now_ns = over_ns - HOUR_NS // 2
    reply = await served.place("a", BUY, 10)
    assert reply.order.created_time_ns >= over_ns
    assert reply.sequence == sequence + 1


async def test_a_day_that_stamps_have_not_left_is_not_over(served: Served) -> None:
    """The clock was set back after it was looked at."""
    sequencer = served.exchange.sequencer
    end_ns = int(datetime(2100, 3, 1, tzinfo=UTC).timestamp()) * 10**9
    sequencer._clock = lambda: end_ns - 1
    calls = Calls(sequencer, Deadlines(5, 30))
    nowhere = Settlements("postgresql://127.0.0.1:1/nowhere")
    settling = SettlementCalls(calls, nowhere, lambda: end_ns + HOUR_NS)
    context: Any = Mock(time_remaining=lambda: None)
    refusal = await settling.serve(SettleDayRequest(date="2100-02-28"), context)
    assert refusal is not None
    assert (refusal.reason.name, refusal.field) == ("DAY_OUT_OF_RANGE", "date")


@pytest.mark.parametrize(
    ("error", "reason", "word"),
    [
        (Damaged("rebuild the tables"), "RECORD_DAMAGED", "rebuild the tables"),
        (DayNotKept(date(2026, 3, 1)), "DAY_OUT_OF_RANGE", "begins with 2026-03-01"),
        (DayNotKept(None), "DAY_OUT_OF_RANGE", "begins with the first trade"),
        (Down("failing"), "NOT_SERVING", "failing"),
        (
            OfAnother("0a"),
            "NOT_AVAILABLE",
            "journal is 0a: give this exchange a database of its own",
        ),
        (TimeoutError(), "DEADLINE_PASSED", f"{SETTLE_S:g} s"),
    ],
)
async def test_what_the_database_says_is_the_refusal(
    served: Served, error: Exception, reason: str, word: str
) -> None:
    settlements: Any = Mock(configured=True, settled=Mock(side_effect=error))
    settling = SettlementCalls(Calls(served.exchange.sequencer, Deadlines(5, 30)), settlements)
    context: Any = Mock(time_remaining=lambda: None)
    refusal = await settling.serve(SettleDayRequest(date="2001-02-28"), context)
    assert refusal is not None
    assert refusal.reason.name == reason
    assert word in f"{refusal.value} {refusal.limit}"


async def test_without_a_database_nothing_is_settled(served: Served) -> None:
    failure, info = await refused(_settled(served, "2001-02-28"))
    assert failure.code() is grpc.StatusCode.UNIMPLEMENTED
    assert info.reason == "NOT_AVAILABLE"
    assert "no PostgreSQL is configured" in (failure.details() or "")


async def _settled(served: Served, day: str) -> Any:
    return await served.admin.SettleDay(SettleDayRequest(date=day)).read()
