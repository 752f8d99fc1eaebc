"""What waits for one connection, and what becomes of it when its client doesn't read."""

import asyncio
from typing import Any, cast

import pytest

from gateway.websocket import outgoing
from gateway.websocket.frames import Frame
from gateway.websocket.outgoing import STATE_WAIT_S, WAITING_BYTES_MAX
from tests.gateway.test_websocket_channels import run, wired

LARGE = "x" * 1_000


class Book:
    """A channel with a snapshot."""

    name = "depth:BTC-USD"

    def first(self) -> Frame:
        return Frame({"type": "snapshot"})


BOOK, OTHER = cast("Any", Book()), cast("Any", Book())


def numbered(kind: str, number: int) -> Frame:
    content = {"type": kind, "number": number, "text": LARGE}
    return Frame(content, number if kind == "event" else 0)


def test_frames_of_a_moment_go_out_in_one_write() -> None:
    async def test() -> None:
        async with wired() as (wire, outgoing):
            outgoing.send(numbered("reply", 1))
            outgoing.send(numbered("event", 2))
            outgoing.delta(BOOK, numbered("delta", 3))
            outgoing.state(BOOK, numbered("state", 4))
            await wire.until("state")
            assert [frame["number"] for frame in wire.frames()] == [1, 2, 3, 4]
            assert wire.writes == 1
            assert (wire.counts.frames_sent, wire.counts.bytes_sent) == (4, len(wire.written))

    run(test)


def test_a_state_alone_waits_only_a_little() -> None:
    async def test() -> None:
        async with wired() as (wire, outgoing):
            loop = asyncio.get_running_loop()
            began = loop.time()
            outgoing.state(BOOK, numbered("state", 1))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert wire.writes == 0
            await wire.until("state")
            assert loop.time() - began >= STATE_WAIT_S

    run(test)


def test_who_is_behind_is_sent_the_newest_state_of_each_channel() -> None:
    async def test() -> None:
        async with wired() as (wire, outgoing):
            wire.paused = True
            for number in range(1_000):
                outgoing.state(BOOK, numbered("state", number))
            outgoing.state(OTHER, numbered("state", 1_000))
            assert outgoing.waiting_bytes == 0
            wire.paused = False
            wire.on_room()
            assert [frame["number"] for frame in await wire.until("state", 2)] == [999, 1_000]

    run(test)


def test_deltas_past_the_bound_become_a_snapshot() -> None:
    async def test() -> None:
        async with wired() as (wire, outgoing):
            wire.paused = True
            for number in range(1_000):
                outgoing.delta(BOOK, numbered("delta", number))
                assert outgoing.waiting_bytes <= WAITING_BYTES_MAX
            outgoing.send(numbered("event", 1))
            wire.paused = False
            wire.on_room()
            outgoing.delta(BOOK, numbered("delta", 1_000))
            await wire.until("delta")
            assert [frame["type"] for frame in wire.frames()] == ["event", "snapshot", "delta"]

    run(test)


@pytest.mark.parametrize("reads_again", [True, False])
def test_events_past_the_bound_end_the_connection(
    monkeypatch: pytest.MonkeyPatch, reads_again: bool
) -> None:
    monkeypatch.setattr(outgoing, "CLOSE_S", 0.05)

    async def test() -> None:
        async with wired() as (wire, outgoing):
            wire.paused = True
            outgoing.send(numbered("reply", 0))
            for number in range(7, 1_000):
                outgoing.send(numbered("event", number))
                assert outgoing.waiting_bytes <= WAITING_BYTES_MAX + 2 * len(LARGE)
            assert outgoing.cut
            if reads_again:
                wire.paused = False
                wire.on_room()
                said = "slow consumer: connect again and subscribe with from_sequence 7"
                assert wire.reason == said
            await asyncio.wait_for(wire.aborted.wait(), 10)
            assert wire.writes == 0

    run(test)


def test_much_at_once_is_not_a_slow_reader() -> None:
    async def test() -> None:
        async with wired() as (wire, outgoing):
            for number in range(1_000):
                outgoing.send(numbered("event", number))
            events = await wire.until("event", 1_000)
            assert [frame["number"] for frame in events] == list(range(1_000))
            assert not outgoing.cut

    run(test)
