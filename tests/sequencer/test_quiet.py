"""The empty record after quiet, on the loop that the server runs on: its timers come first."""

import time

import uvloop

from server.journal.record import IDLE
from server.settings import SequencerLimits
from tests.sequencer.desk import Desk, place


def test_no_empty_record_between_a_command_and_its_record() -> None:
    async def commands_when_quiet_is_over() -> Desk:
        desk = Desk(limits=SequencerLimits(quiet_ms=1))
        await desk.sequencer.submit([place()]).released()
        # The loop is held until the timer is due, so that both are in its next turn.
        time.sleep(0.005)  # noqa: ASYNC251 - holding the loop is the point
        await desk.sequencer.submit([place()]).released()
        await desk.close()
        return desk

    desk = uvloop.run(commands_when_quiet_is_over())
    following = 2
    for kind, first_sequence, count, _ in desk.journal.records:
        assert first_sequence == following, desk.journal.records
        assert (kind == IDLE) == (count == 0)
        following += count
    assert not desk.failures
