"""Commands for which there is no room: too many wait already, or the journal's disk is full."""

import pytest

from server.core.commands import CancelOrder, CancelOrders, Command, EndSession, OpenSession
from server.sequencer.errors import JournalFull, Overloaded
from server.settings import SequencerLimits
from tests.sequencer.desk import Desk, place

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("submits", [[3], [1, 2]])
async def test_the_bound_of_waiting_commands(submits: list[int]) -> None:
    desk = Desk(limits=SequencerLimits(commands_waiting_max=3))
    desk.journal.held = True
    desk.sequencer.submit([place()])
    await desk.appending()
    for count in submits:
        desk.sequencer.submit([place()] * count)
    with pytest.raises(Overloaded, match="3 commands wait for the journal, the limit is 3"):
        desk.sequencer.submit([place()] * 2)
    assert desk.sequencer.engine.sequence == 5
    assert desk.sequencer.turned_away == {Overloaded: 2}
    await desk.close()


async def test_a_batch_beyond_the_bound_is_taken_where_nothing_waits() -> None:
    """Else it could never be."""
    desk = Desk(limits=SequencerLimits(commands_waiting_max=3))
    await desk.sequencer.submit([place()] * 4).released()
    assert [len(batch) for batch in desk.journal.batches] == [4]
    await desk.close()


@pytest.mark.parametrize("always", [CancelOrder("A", "a"), CancelOrders("A"), EndSession(3)])
async def test_a_full_disk_takes_cancels_and_ends_of_sessions_alone(always: Command) -> None:
    desk = Desk()
    await desk.sequencer.submit([place(order_id="a"), OpenSession("A")]).released()
    desk.sequencer.journal_full = "no room"
    with pytest.raises(JournalFull, match="the journal's disk has no room: no room"):
        desk.sequencer.submit([always, place()])
    assert desk.sequencer.engine.sequence == 3
    assert desk.sequencer.turned_away == {JournalFull: 2}
    assert desk.sequencer.orders_refused == {(1, 1): 1}
    await desk.sequencer.submit([always]).released()
    assert desk.journal.batches[-1] == [always]
    await desk.close()
