"""Which connections the bridge lets in, how they end, and what is told of that."""

import asyncio

import pytest

from gateway.websocket import bridge as bridges
from gateway.websocket import link as links
from tests.gateway.test_websocket_limits import (
    CLOSE,
    HANDSHAKE,
    PING,
    Served,
    fill,
    frame,
    gone,
    run,
)


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


def test_refused_handshakes_are_told_of_together_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, object]] = []
    monkeypatch.setattr(bridges, "SWEEP_S", 0.01)
    monkeypatch.setattr(bridges, "tell", lambda _, **fields: told.append(fields))

    async def test(here: Served) -> None:
        sweeping = asyncio.create_task(here.bridge.sweep())
        for count in (2, 1):
            here.bridge.counts.refused["path"] += count
            await asyncio.sleep(0.05)
        sweeping.cancel()
        assert told == [{"path": 2}, {"path": 1}]

    run(test)


def test_as_many_as_may_be_there_are_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridges, "CONNECTIONS_MAX", 1)

    async def test(here: Served) -> None:
        await here.connect()
        another = await here.connect(HANDSHAKE[:-1])
        another.writer.write(HANDSHAKE[-1:])
        assert (await another.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 503 ")
        assert here.bridge.counts.refused == {"limit": 1}

    run(test)
