"""How connections of the bridge end, and what is counted of that."""

import pytest

from gateway.websocket import link as links
from tests.gateway.test_websocket_limits import CLOSE, PING, Served, fill, frame, gone, run


def test_who_is_closed_and_does_not_go_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is one ending."""
    monkeypatch.setattr(links, "CLOSE_S", 0.05)

    async def test(here: Served) -> None:
        flooding = await here.connect()
        flooding.writer.write(frame(PING) * (2 * links.FRAMES_PER_SECOND_CLOSE))
        assert (await flooding.closed())[0] == links.POLICY
        await gone(here, 0)
        assert here.bridge.counts.ended == {"1008": 1}

    run(test)


def test_who_says_goodbye_himself_is_not_counted() -> None:
    async def test(here: Served) -> None:
        leaving = await here.connect()
        leaving.writer.write(frame(CLOSE, (1_000).to_bytes(2)))
        assert (await leaving.closed())[0] == 1_000
        leaving.writer.transport.abort()
        await gone(here, 0)
        assert here.bridge.counts.ended == {}

    run(test)


def test_who_went_is_not_watched_any_more() -> None:
    """He takes nothing, which would be told of as an ending later."""

    async def test(here: Served) -> None:
        going = await here.connect()
        (outgoing,) = here.bridge.outgoing
        fill(here)
        assert outgoing.link._stalled is not None
        going.writer.transport.abort()
        await gone(here, 0)
        assert outgoing.link._stalled is None

    run(test)
