"""What waits for one connection, and what becomes of it when its client doesn't read."""

import asyncio
from typing import Any, cast

import pytest
from websockets.protocol import State

from gateway.websocket import outgoing
from gateway.websocket.frames import TEXT, Frame, framed
from gateway.websocket.outgoing import (
    PAST_BYTES_MAX,
    STATE_WAIT_S,
    WAITING_BYTES_MAX,
    WRITES_AT_ONCE,
    Outgoing,
    Writer,
)
from tests.gateway.test_websocket_channels import Wire, run, wired

LARGE = "x" * 1_000


class Book:
    """A channel with a snapshot."""

    name = "depth:BTC-USD"

    def first(self, _: Outgoing) -> Frame:
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


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\0\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\0\0\0\0\0\x01\0\0"),
    ],
)
def test_a_frame_says_how_long_it_is(size: int, head: bytes) -> None:
    assert framed(TEXT, bytes(size)) == head + bytes(size)


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
            assert not outgoing._events, "nobody will be sent them"
            if reads_again:
                wire.paused = False
                wire.on_room()
                said = "slow consumer: connect again and subscribe with from_sequence 7"
                assert wire.reason == said
            await asyncio.wait_for(wire.aborted.wait(), 10)
            assert wire.writes == 0

    run(test)


def test_the_event_that_is_too_much_is_one_to_resume_from() -> None:
    async def test() -> None:
        async with wired() as (wire, outgoing):
            wire.paused = True
            while outgoing.waiting_bytes <= WAITING_BYTES_MAX:
                outgoing.send(numbered("reply", 0))
            outgoing.send(numbered("event", 77))
            wire.paused = False
            wire.on_room()
            said = "slow consumer: connect again and subscribe with from_sequence 77"
            assert wire.reason == said

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


def test_however_many_wait_all_are_written_some_in_each_turn() -> None:
    async def test() -> None:
        writer, wires = Writer(), [Wire() for _ in range(2 * WRITES_AT_ONCE + 1)]
        for wire in wires:
            Outgoing(cast("Any", wire), writer).send(numbered("event", 1))
        written = []
        for _ in range(4):
            await asyncio.sleep(0)
            written.append(sum(wire.writes for wire in wires))
        assert written == [WRITES_AT_ONCE, 2 * WRITES_AT_ONCE, len(wires), len(wires)]

    run(test)


def test_each_state_is_sent_in_its_time() -> None:
    async def test() -> None:
        async with wired() as (wire, outgoing):
            for count in (1, 2, 3):
                outgoing.state(BOOK, numbered("state", count))
                states = await wire.until("state", count)
                assert states[-1]["number"] == count

    run(test)


def test_the_past_waits_for_room_and_for_ever_where_the_client_is_cut() -> None:
    async def test() -> None:
        async with wired() as (wire, outgoing):
            wire.paused = True
            while outgoing.waiting_bytes <= PAST_BYTES_MAX:
                await asyncio.wait_for(outgoing.room(), 10)
                outgoing.send(numbered("event", 1))
            waiting = asyncio.create_task(outgoing.room())
            await asyncio.sleep(0)
            assert not waiting.done()
            wire.paused = False
            wire.on_room()
            await asyncio.wait_for(waiting, 10)
            wire.paused = True
            while not outgoing.cut:
                outgoing.send(numbered("event", 1))
            wire.paused = False
            wire.on_room()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(outgoing.room(), 0.01)

    run(test)


def test_what_waits_of_a_channel_that_is_left_is_not_sent() -> None:
    async def test() -> None:
        async with wired() as (wire, outgoing):
            wire.paused = True
            for channel in (BOOK, OTHER):
                outgoing.delta(channel, numbered("delta", 1))
                outgoing.state(channel, numbered("state", 2))
            one = outgoing.waiting_bytes // 2
            outgoing.forget(BOOK)
            assert outgoing.waiting_bytes == one
            while outgoing.waiting_bytes:
                outgoing.delta(OTHER, numbered("delta", 3))
            outgoing.forget(OTHER)
            outgoing.delta(BOOK, numbered("delta", 4))
            wire.paused = False
            wire.on_room()
            assert [(it["type"], it["number"]) for it in wire.frames()] == [("delta", 4)]

    run(test)


def test_nothing_is_written_behind_the_frame_that_closes() -> None:
    async def test() -> None:
        async with wired() as (wire, outgoing):
            wire.protocol.state = State.CLOSING
            outgoing.send(numbered("event", 1))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert wire.writes == 0

    run(test)
