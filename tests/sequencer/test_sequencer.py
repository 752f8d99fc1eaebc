"""Commands become outcomes: in one order, in records, and nothing is shown too early."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from server.core.commands import CancelOrder, OpenSession
from server.core.engine import Engine
from server.core.rejects import Reject, RejectReason
from server.core.types import Repeat
from server.journal.log import Unknown
from server.journal.record import BATCH, IDLE, Record
from server.journal.refusals import JournalCorrupt
from server.sequencer.errors import NotServing
from server.sequencer.sequencer import GATHER_TURNS
from server.sequencer.stand_in import StandIn
from server.sequencer.ticket import Applied
from server.settings import SequencerLimits
from tests.on_loop import until
from tests.sequencer.desk import Desk, gathered, place, still_waiting

pytestmark = pytest.mark.asyncio


async def test_one_turn_of_the_loop_is_one_record() -> None:
    desk = Desk()
    tickets = [desk.sequencer.submit([place()]) for _ in range(3)]
    await asyncio.gather(*(ticket.released() for ticket in tickets))
    assert [len(batch) for batch in desk.journal.batches] == [3]
    assert [ticket.outcomes[0].sequence for ticket in tickets] == [2, 3, 4]  # type: ignore[union-attr]
    await desk.close()


async def test_commands_of_neighbouring_turns_share_a_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.sequencer.sequencer.GATHER_S", 3_600.0)
    desk = Desk()
    tickets = []
    for _ in range(5):
        tickets.append(desk.sequencer.submit([place()]))
        for _ in range(GATHER_TURNS - 1):
            await asyncio.sleep(0)
    await asyncio.gather(*(ticket.released() for ticket in tickets))
    assert [len(batch) for batch in desk.journal.batches] == [5]
    await desk.close()


async def test_a_command_that_is_alone_waits_for_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.sequencer.sequencer.GATHER_S", 3_600.0)
    desk = Desk()
    ticket = desk.sequencer.submit([place()])
    for _ in range(GATHER_TURNS + 1):
        await asyncio.sleep(0)
    await desk.appending()
    await ticket.released()
    await desk.close()


@pytest.mark.parametrize(
    ("bound", "value", "most"), [("GATHERED_COMMANDS", 3, 3), ("GATHER_S", 0.0, 1)]
)
async def test_callers_who_never_pause_hold_no_record_open(
    bound: str, value: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.sequencer.sequencer.GATHER_S", 3_600.0)
    monkeypatch.setattr(f"server.sequencer.sequencer.{bound}", value)
    desk = Desk()
    while not desk.journal.records:
        ticket = desk.sequencer.submit([place()])
        await asyncio.sleep(0)
    assert len(desk.journal.batches[0]) == most
    await ticket.released()
    await desk.close()


async def test_nothing_is_released_before_it_is_durable() -> None:
    desk = Desk()
    desk.journal.held = True
    ticket = desk.sequencer.submit([place()])
    waiting = asyncio.create_task(ticket.released())
    reading = asyncio.create_task(desk.sequencer.read(lambda engine: engine.sequence))
    await desk.appending()
    assert desk.sequencer.durable_sequence == 1
    assert await still_waiting(waiting, reading)
    desk.journal.let_go.release()
    await waiting
    assert await reading == 2
    assert desk.sequencer.durable_sequence == 2
    await desk.close()


async def test_who_holds_a_durable_record_holds_none_of_its_commands() -> None:
    """[I13] As an answer does that nobody reads."""
    desk = Desk()
    ticket = desk.sequencer.submit([place()])
    await ticket.released()
    assert ticket.record is not None
    assert not ticket.record.commands
    assert not ticket.record.events
    await desk.close()


async def test_the_next_record_grows_while_one_is_written() -> None:
    desk = Desk()
    desk.journal.held = True
    first = desk.sequencer.submit([place()])
    await desk.appending()
    later = [desk.sequencer.submit([place(), place()]) for _ in range(4)]
    desk.journal.held = False
    desk.journal.let_go.release()
    await asyncio.gather(first.released(), *(ticket.released() for ticket in later))
    assert [len(batch) for batch in desk.journal.batches] == [1, 8]
    await desk.close()


async def test_only_one_record_at_a_time_is_with_the_journal() -> None:
    desk = Desk()
    desk.journal.held = True
    tickets = [desk.sequencer.submit([place()])]
    await desk.appending()
    for _ in range(2):
        tickets.append(desk.sequencer.submit([place()]))
        await gathered()
    desk.journal.let_go.release()
    await desk.appending()
    assert desk.sequencer.durable_sequence == 2
    desk.journal.let_go.release()
    await asyncio.gather(*(ticket.released() for ticket in tickets))
    assert [len(batch) for batch in desk.journal.batches] == [1, 2]
    assert not desk.failures
    await desk.close()


async def test_a_refusal_takes_no_sequence_and_waits_for_what_it_was_judged_by() -> None:
    desk = Desk()
    desk.journal.held = True
    desk.sequencer.submit([place(order_id="a")])
    await desk.appending()
    refused = desk.sequencer.submit([place(order_id="a")])
    assert isinstance(refused.outcomes[0], Reject)
    assert refused.outcomes[0].reason == RejectReason.ORDER_ID_DUPLICATE
    assert desk.sequencer.engine.sequence == 2
    waiting = asyncio.create_task(refused.released())
    assert await still_waiting(waiting)
    desk.journal.let_go.release()
    await waiting
    assert desk.sequencer.refused[RejectReason.ORDER_ID_DUPLICATE] == 1
    assert desk.sequencer.orders_refused[1, 1] == 1
    await desk.close()


async def test_numbers_that_clients_make_up_are_counted_as_one() -> None:
    desk = Desk()
    desk.sequencer.submit([place()._replace(side=10 + each) for each in range(5)])
    desk.sequencer.submit([place()._replace(order_type=-each) for each in range(5)])
    assert desk.sequencer.orders_refused == {(1, 0): 5, (0, 1): 5}
    await desk.close()


async def test_a_stand_in_is_counted_as_what_it_stands_for() -> None:
    desk = Desk()
    price = StandIn(-1)
    price.reason = RejectReason.FIELD_REQUIRED
    ticket = desk.sequencer.submit([place()._replace(price_e8=price)])
    assert ticket.outcomes[0].reason == RejectReason.PRICE_NOT_POSITIVE  # type: ignore[union-attr]
    assert desk.sequencer.refused == {RejectReason.FIELD_REQUIRED: 1}
    await desk.close()


async def test_a_refusal_alone_is_released_at_once_and_not_journaled() -> None:
    desk = Desk()
    ticket = desk.sequencer.submit([CancelOrder("A", "nothing")])
    await ticket.released()
    assert desk.journal.batches == []
    await desk.close()


async def test_copies_under_one_key_get_the_first_outcome() -> None:
    desk = Desk()
    tickets = [desk.sequencer.submit([place(idempotency_key="k")]) for _ in range(20)]
    outcomes = [ticket.outcomes[0] for ticket in tickets]
    assert isinstance(outcomes[0], Applied)
    assert outcomes[1:] == [Repeat(2)] * 19
    (first,) = await desk.sequencer.first_outcomes([Repeat(2)])
    assert isinstance(first, Applied)
    assert first.sequence == 2
    assert first.events == outcomes[0].events
    await desk.close()


async def test_first_outcomes_of_many_take_one_look_at_each_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    first: dict[int, Any] = {}
    for record in range(3):
        commands = [place(idempotency_key=f"k{record}-{each}") for each in range(4)]
        ticket = desk.sequencer.submit(commands)
        await ticket.released()
        first |= {it.sequence: it.events for it in ticket.outcomes if isinstance(it, Applied)}
    looks: list[int] = []
    read = desk.journal.read

    def look(sequence: int) -> Record:
        looks.append(sequence)
        return read(sequence)

    monkeypatch.setattr(desk.journal, "read", look)
    wanted = [13, 2, 5, 5, 4, 6, 3]
    found = await desk.sequencer.first_outcomes([Repeat(each) for each in wanted])
    assert [each.sequence for each in found] == wanted
    events = [each.events for each in found if isinstance(each, Applied)]
    assert events == [first[each] for each in wanted]
    assert looks == [2, 6, 13]
    assert await desk.sequencer.first_outcomes([]) == []
    await desk.close()


async def test_first_outcomes_that_are_damaged_take_no_other_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    for key in "abc":
        await desk.sequencer.submit([place(idempotency_key=key)]).released()
    damage = JournalCorrupt(Path("journal"), 7, 3, "the checksum is wrong")
    read = desk.journal.read

    def look(sequence: int) -> Record:
        if sequence == 3:
            raise damage
        return read(sequence)

    monkeypatch.setattr(desk.journal, "read", look)
    first, *lost, last = await desk.sequencer.first_outcomes(
        [Repeat(2), Repeat(3), Repeat(3), Repeat(4)]
    )
    assert isinstance(first, Applied)
    assert isinstance(last, Applied)
    assert (first.sequence, last.sequence) == (2, 4)
    assert lost == [damage, damage]
    assert damage.__traceback__ is None, "it would hold what holds it"
    await desk.close()


async def test_first_outcomes_wait_for_the_newest_of_them() -> None:
    desk = Desk()
    desk.journal.held = True
    desk.sequencer.submit([place(idempotency_key="a")])
    await desk.appending()
    desk.sequencer.submit([place(idempotency_key="b")])
    desk.journal.let_go.release()
    await desk.appending()
    finding = asyncio.create_task(desk.sequencer.first_outcomes([Repeat(2), Repeat(3)]))
    assert await still_waiting(finding)
    desk.journal.let_go.release()
    assert [found.sequence for found in await finding] == [2, 3]
    await desk.close()


async def test_views_show_the_book_after_the_record_once() -> None:
    desk = Desk()
    calls = []

    def depth(engine: Engine) -> Any:
        calls.append(1)
        return engine.book("BTC-USD").depth(1, 5)

    first = desk.sequencer.submit([place(price=100)])
    first.view("book", depth)
    second = desk.sequencer.submit([place(price=101)])
    second.view("book", depth)
    await asyncio.gather(first.released(), second.released())
    assert first.views["book"] == second.views["book"] == [(101, 10), (100, 10)]
    assert len(calls) == 1
    await desk.close()


async def test_a_view_for_a_repeat_is_the_book_after_the_newest_record() -> None:
    desk = Desk()
    desk.journal.held = True
    desk.sequencer.submit([place(price=100, idempotency_key="k")])
    await desk.appending()
    repeat = desk.sequencer.submit([place(price=100, idempotency_key="k")])
    repeat.view("book", lambda engine: engine.book("BTC-USD").depth(1, 5))
    desk.journal.let_go.release()
    await repeat.released()
    assert repeat.views["book"] == [(100, 10)]
    await desk.close()


async def test_at_boundary_sees_whole_records_only() -> None:
    desk = Desk()
    desk.journal.held = True
    desk.sequencer.submit([place()])
    await desk.appending()
    desk.sequencer.submit([place()])
    boundary = asyncio.create_task(desk.sequencer.at_boundary(lambda engine: engine.sequence))
    await asyncio.sleep(0)
    desk.sequencer.submit([place()])
    desk.journal.held = False
    desk.journal.let_go.release()
    seen = await boundary
    assert seen == 4
    ends = [first + count - 1 for kind, first, count, _ in desk.journal.records if kind == BATCH]
    assert seen in ends
    await desk.close()


async def test_a_read_is_of_its_moment_and_waits_for_all_that_it_shows() -> None:
    desk = Desk()
    desk.journal.held = True
    desk.sequencer.submit([place()])
    await desk.appending()
    reads = [
        asyncio.create_task(read(lambda engine: engine.sequence))
        for read in (desk.sequencer.read, desk.sequencer.at_boundary)
    ]
    assert await still_waiting(*reads)
    desk.sequencer.submit([place()])
    desk.journal.let_go.release()
    assert await asyncio.gather(*reads) == [2, 2]
    await desk.close()


async def test_each_record_is_told_of_as_it_closes_then_as_it_is_durable() -> None:
    desk = Desk()
    told: list[tuple[str, int]] = []
    desk.sequencer.on_closing.append(lambda engine: told.append(("closing", engine.sequence)))
    desk.sequencer.on_durable.append(lambda record: told.append(("durable", record.last_sequence)))
    desk.journal.held = True
    tickets = [desk.sequencer.submit([place(), place()])]
    for _ in range(3):
        await desk.appending()
        # The next one is complete, but may not close before this one is durable.
        tickets.append(desk.sequencer.submit([place(), place()]))
        await gathered()
        desk.journal.let_go.release()
    desk.journal.let_go.release()
    await asyncio.gather(*(ticket.released() for ticket in tickets))
    assert told == [(what, last) for last in (3, 5, 7, 9) for what in ("closing", "durable")]
    await desk.close()


async def test_what_was_refused_has_no_part_in_the_time_that_orders_take() -> None:
    desk = Desk()
    submits: list[int] = []

    desk.sequencer.on_durable.append(lambda record: submits.append(len(record.submitted_ns)))
    tickets = [desk.sequencer.submit(each) for each in ([place()], [place(price=-1)], [])]
    await asyncio.gather(*(ticket.released() for ticket in tickets))
    assert submits == [1]
    await desk.close()


async def test_quiet_that_ends_with_a_command_appends_no_idle_record_before_it() -> None:
    desk = Desk(limits=SequencerLimits(quiet_ms=20))
    await desk.sequencer.submit([place()]).released()
    loop = asyncio.get_running_loop()
    # Both timers become due while the loop is held, so they run in the same turn, one by one.
    submitted = loop.create_future()
    loop.call_later(0.001, lambda: submitted.set_result(desk.sequencer.submit([place()])))
    time.sleep(0.03)  # noqa: ASYNC251 - the loop is meant to be held
    await (await submitted).released()
    assert [kind for kind, *_ in desk.journal.records][:2] == [BATCH, BATCH]
    await desk.close()


async def test_quiet_appends_one_idle_record() -> None:
    desk = Desk()
    await desk.sequencer.submit([place()]).released()
    await until(lambda: any(kind == IDLE for kind, *_ in desk.journal.records))
    assert [kind for kind, *_ in desk.journal.records] == [BATCH, IDLE]
    await desk.sequencer.submit([place()]).released()
    await desk.close()
    assert [kind for kind, *_ in desk.journal.records] == [BATCH, IDLE, BATCH, IDLE]


async def test_commands_that_come_while_an_empty_record_is_written_are_the_next_one() -> None:
    desk = Desk(limits=SequencerLimits(quiet_ms=1))
    desk.journal.held = True
    desk.journal.let_go.release()
    await desk.sequencer.submit([place()]).released()
    await desk.appending()
    await desk.appending()
    assert desk.journal.records[-1][0] == IDLE
    tickets = []
    for _ in range(2):
        tickets.append(desk.sequencer.submit([place()]))
        await gathered()
    desk.journal.let_go.release(2)
    await asyncio.gather(*(ticket.released() for ticket in tickets))
    assert [kind for kind, *_ in desk.journal.records][:3] == [BATCH, IDLE, BATCH]
    assert [len(batch) for batch in desk.journal.batches] == [1, 2]
    assert not desk.failures
    await desk.close()


async def test_time_never_goes_backwards() -> None:
    desk = Desk()
    times = []
    for clock in (2_000, 1_500, 3_000):
        desk.time_ns = clock
        outcome = desk.sequencer.submit([place()]).outcomes[0]
        assert isinstance(outcome, Applied)
        times.append(outcome.time_ns)
        await asyncio.sleep(0)
        await desk.sequencer.read(lambda engine: None)
    assert times == [2_000, 2_000, 3_000]
    await desk.close()


async def test_a_failed_append_releases_nothing() -> None:
    desk = Desk()
    desk.journal.answer = Unknown("fdatasync: EIO")
    ticket = desk.sequencer.submit([place()])
    waiting = asyncio.create_task(ticket.released())
    await until(lambda: bool(desk.failures))
    assert desk.failures == ["appending to the journal failed: fdatasync: EIO"]
    assert await still_waiting(waiting)
    assert desk.sequencer.durable_sequence == 1
    waiting.cancel()


async def test_after_a_failure_of_the_engine_nothing_more_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "apply", fail)
        with pytest.raises(ZeroDivisionError):
            desk.sequencer.submit([place()])
    assert desk.failures == ["the engine failed on PlaceOrder: ZeroDivisionError()"]
    with pytest.raises(NotServing):
        desk.sequencer.submit([place()])
    await desk.close()
    assert desk.journal.batches == []


async def test_stop_finishes_what_was_taken_and_refuses_the_rest() -> None:
    desk = Desk()
    ticket = desk.sequencer.submit([OpenSession("A")])
    await desk.sequencer.stop()
    await ticket.released()
    assert [kind for kind, *_ in desk.journal.records] == [BATCH, IDLE]
    with pytest.raises(NotServing, match="starting or stopping"):
        desk.sequencer.submit([place()])


async def test_giving_up_a_ticket_disturbs_no_other() -> None:
    desk = Desk()
    desk.journal.held = True
    first, second = (desk.sequencer.submit([place()]) for _ in range(2))
    waiting = asyncio.create_task(first.released())
    other = asyncio.create_task(second.released())
    await desk.appending()
    waiting.cancel()
    desk.journal.let_go.release()
    await other
    assert waiting.cancelled()
    await desk.close()
