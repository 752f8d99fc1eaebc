"""`SettleDay`: a day's obligations, settled in PostgreSQL when they are first asked for.

A day is over a minute after its end in UTC. Everything that carries a stamp of it is durable then:
a record keeps the time of its opening, so what was open is waited for. Where nothing has a stamp
after the day yet, a command that changes nothing gets one, since stamps never go back: no clock
that is set back opens the day again.
"""

import asyncio
import re
import time
from collections.abc import Callable
from datetime import date
from typing import Final

from exchange.v1 import admin_service_pb2 as messages
from server import logs
from server.core.commands import SetLimits
from server.decimals import E16_PLACES, decimal_text
from server.history.reader import Down, OfAnother
from server.history.settlement import SETTLE_S, Damaged, DayNotKept, Obligation, Settlements
from server.rpc.calls import Calls
from server.rpc.context import Context
from server.rpc.errors import EdgeReason, EdgeReject
from server.rpc.request_ids import request_id
from server.times import second_text

EPOCH: Final = date(1970, 1, 1)
DAY_NS: Final = 86_400 * 10**9
OVER_S: Final = 60
"""The time after the end of a day at which it is over."""
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")


class SettlementCalls:
    """Judges the day, has it settled, and sends what came of it."""

    def __init__(
        self, calls: Calls, settlements: Settlements, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._calls = calls
        self._settlements = settlements
        self._clock = clock

    async def serve(
        self, request: messages.SettleDayRequest, context: Context
    ) -> EdgeReject | None:
        """Send all obligations; gives what the call is to be refused with."""
        day = self._day(request.date)
        if isinstance(day, EdgeReject):
            return day
        if not self._settlements.configured:
            no_database = "no PostgreSQL is configured, which keeps the trades"
            return EdgeReject(EdgeReason.NOT_AVAILABLE, "settlement of", request.date, no_database)
        # The first waits for the record that is open, the second sees what joined it meanwhile.
        await self._calls.read(lambda engine: engine.sequence, context)
        last_sequence, time_ns = await self._calls.read(
            lambda engine: (engine.sequence, engine.time_ns), context
        )
        if time_ns < _end_ns(day):
            as_they_are = SetLimits(self._calls.sequencer.engine.limits)
            time_ns = (await self._calls.commit(as_they_are, context)).applied.time_ns
            if time_ns < _end_ns(day):
                return _not_over(day)
        try:
            async with asyncio.timeout(SETTLE_S):
                await self._send(day, last_sequence, context)
        except TimeoutError:
            return EdgeReject(EdgeReason.DEADLINE_PASSED, "deadline", "", f"{SETTLE_S:g} s")
        except OfAnother as other:
            of_its_own = f"PostgreSQL is {other}: give this exchange a database of its own"
            return EdgeReject(EdgeReason.NOT_AVAILABLE, "settlement of", request.date, of_its_own)
        except Down as down:
            return EdgeReject(EdgeReason.NOT_SERVING, "record in PostgreSQL", str(down))
        except DayNotKept as gone:
            kept = f"in what is kept, which begins with {gone.first or 'the first trade'}"
            return EdgeReject(EdgeReason.DAY_OUT_OF_RANGE, "date", request.date, kept)
        except Damaged as damaged:
            return EdgeReject(
                EdgeReason.RECORD_DAMAGED, "settlement of", request.date, str(damaged)
            )
        return None

    def _day(self, text: str) -> date | EdgeReject:
        try:
            if not _DATE.fullmatch(text):
                raise ValueError(text)
            day = date.fromisoformat(text)
        except ValueError:
            return EdgeReject(EdgeReason.DAY_INVALID, "date", text, "a day, YYYY-MM-DD")
        return _not_over(day) if self._clock() < _over_ns(day) else day

    async def _send(self, day: date, last_sequence: int, context: Context) -> None:
        async with self._settlements.settled(day, last_sequence) as (done, pages):
            logs.info(
                "day settled",
                day=str(day),
                trades=done.trades,
                digest=done.digest,
                request_id=request_id(context),
            )
            head = messages.SettleDayResponse(
                date=str(day),
                through_sequence=done.through_sequence,
                trade_count=done.trades,
                digest=done.digest,
            )
            await context.write(head)
            async for page in pages:
                await context.write(
                    messages.SettleDayResponse(obligations=[_shown(each) for each in page])
                )


def _end_ns(day: date) -> int:
    return ((day - EPOCH).days + 1) * DAY_NS


def _over_ns(day: date) -> int:
    return _end_ns(day) + OVER_S * 10**9


def _not_over(day: date) -> EdgeReject:
    # The day after the last one that has a date can't be named.
    when = "a minute after its end" if day == date.max else f"at {second_text(_over_ns(day))}"
    return EdgeReject(EdgeReason.DAY_OUT_OF_RANGE, "date", str(day), f"over, which it is {when}")


def _shown(obligation: Obligation) -> messages.Obligation:
    return messages.Obligation(
        instrument=obligation.instrument,
        account=obligation.account,
        quantity=decimal_text(obligation.quantity_e8),
        money=decimal_text(obligation.money_e16, E16_PLACES),
        fees=decimal_text(obligation.fees_e8),
        fill_count=obligation.fills,
    )
