"""The journal's stream: whole, in order, never before it is durable."""

import asyncio
from typing import Any

import pytest
from grpc import StatusCode

from exchange.v1.admin_service_pb2 import (
    CreateSnapshotRequest,
    GetStatusRequest,
    ReportFollowerRequest,
    StreamJournalRequest,
    StreamJournalResponse,
)
from exchange.v1.order_service_pb2 import PlaceOrdersRequest
from server import logs
from server.journal.record import BATCH, decode_frame
from server.maintenance import followers
from server.rpc.journal_stream import GATHER_S
from tests.rpc.served import (
    BUY,
    HeldJournal,
    Served,
    order,
    refused,
    until,
)

pytestmark = pytest.mark.asyncio


def sequences(message: StreamJournalResponse) -> list[int]:
    """Of the commands in a message."""
    found: list[int] = []
    offset = 0
    while offset < len(message.frames):
        record = decode_frame(message.frames, offset)
        offset += record.end - record.position
        if record.kind == BATCH:
            found += range(record.first_sequence, record.last_sequence + 1)
    assert offset == len(message.frames)
    return found


async def journal(served: Served, **query: Any) -> list[int]:
    """All sequences that a stream up to now gives."""
    call = served.admin.StreamJournal(StreamJournalRequest(until_now=True, **query))
    return [sequence async for message in call for sequence in sequences(message)]


async def test_the_journal_from_any_sequence(served: Served) -> None:
    for _ in range(5):
        await served.place("A", BUY, 100)
    last = served.engine.sequence
    for after in range(last + 1):
        assert await journal(served, after_sequence=after) == list(range(after + 1, last + 1))
    failure, info = await refused(
        served.admin.StreamJournal(StreamJournalRequest(after_sequence=last + 1)).read()
    )
    assert failure.code() == StatusCode.INVALID_ARGUMENT
    assert info.reason == "CURSOR_INVALID"


async def test_who_took_in_another_history_is_refused(served: Served) -> None:
    """Put back from a copy, a journal gives its sequences once more, at other times."""
    for _ in range(3):
        await served.place("A", BUY, 100)
    last, time_ns = served.engine.sequence, served.engine.time_ns
    assert await journal(served, after_sequence=last, after_time_ns=time_ns) == []
    request = StreamJournalRequest(after_sequence=last, after_time_ns=time_ns - 1)
    failure, info = await refused(served.admin.StreamJournal(request).read())
    assert failure.code() == StatusCode.INVALID_ARGUMENT
    assert (info.reason, info.metadata["field"]) == ("CURSOR_INVALID", "after_time_ns")


async def test_who_took_in_another_journal_is_refused_for_that(served: Served) -> None:
    """Whatever else is not as it is here; nothing is registered for him."""
    await served.place("A", BUY, 100)
    last = served.engine.sequence
    own = served.exchange._log.mark.journal.hex()
    assert await journal(served, after_sequence=last, journal=own) == []
    assert await journal(served, after_sequence=last, journal=own.upper()) == []
    for after, time_ns in ((last, 1), (last + 1, 0)):
        request = StreamJournalRequest(
            follower="tape", after_sequence=after, after_time_ns=time_ns, journal="0a"
        )
        failure, info = await refused(served.admin.StreamJournal(request).read())
        assert failure.code() == StatusCode.INVALID_ARGUMENT
        assert (info.reason, info.metadata["field"]) == ("CURSOR_INVALID", "journal")
    assert "tape" not in served.exchange.followers.positions


async def test_a_follower_that_comes_and_goes_is_not_told_of_each_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its part fails each time, which it says itself."""
    told: list[str] = []
    monkeypatch.setattr(logs, "info", lambda message, **_: told.append(message))
    for _ in range(3):
        call = served.admin.StreamJournal(StreamJournalRequest(follower="tape"))
        await call.read()
        call.cancel()
        await until(lambda: not served.exchange.followers.connected)
    assert told == []
    monkeypatch.setattr(followers, "TOLD_AFTER_S", 0.01)
    call = served.admin.StreamJournal(StreamJournalRequest(follower="tape"))
    await call.read()
    await until(lambda: told == ["follower connected"])
    call.cancel()
    await until(lambda: told[1:] == ["follower gone"])
    with served.exchange.followers.following("tape"):
        pass
    await asyncio.sleep(0.03)
    assert told[2:] == []


async def test_the_journal_as_it_comes_and_never_before_it_is_durable(served: Served) -> None:
    call = served.admin.StreamJournal(StreamJournalRequest(follower="tape"))
    taken: list[int] = []

    async def take() -> None:
        async for message in call:
            new = sequences(message)
            taken.extend(new)
            assert not new or new[-1] <= message.durable_sequence

    taking = asyncio.ensure_future(take())
    await until(lambda: len(taken) == served.engine.sequence)
    with HeldJournal(served) as held:
        placing = asyncio.ensure_future(served.place("A", BUY, 100))
        await asyncio.to_thread(held.entered.wait)
        # Enough for a message to come that were on its way.
        await asyncio.wait({taking}, timeout=0.1)
        assert len(taken) == served.engine.sequence - 1
    await placing
    await until(lambda: len(taken) == served.engine.sequence)
    assert taken == list(range(1, served.engine.sequence + 1))
    (status,) = (await served.admin.GetStatus(GetStatusRequest())).followers
    assert (status.name, status.sequence, status.connected) == ("tape", 0, True)
    assert status.reported_time_ns == 0, "it follows, and has not reported yet"
    await served.admin.ReportFollower(ReportFollowerRequest(follower="tape", sequence=taken[-1]))
    (status,) = (await served.admin.GetStatus(GetStatusRequest())).followers
    assert (status.name, status.sequence, status.connected) == ("tape", taken[-1], True)
    assert status.reported_time_ns > 0
    call.cancel()
    await until(lambda: not served.exchange.followers.connected["tape"])
    await asyncio.wait({taking})


async def test_a_long_journal_comes_in_messages_of_bounded_size(served: Served) -> None:
    many = PlaceOrdersRequest(
        orders=[order("A", BUY, 100, client_reference="r" * 60) for _ in range(1_000)]
    )
    for _ in range(12):
        await served.orders.PlaceOrders(many)
    call = served.admin.StreamJournal(StreamJournalRequest(until_now=True))
    sizes, taken = [], []
    async for message in call:
        sizes.append(len(message.frames))
        taken += sequences(message)
    assert taken == list(range(1, served.engine.sequence + 1))
    assert len(sizes) > 2
    assert max(sizes) <= 1 << 20


async def test_followers_wait_while_the_server_is_saturated(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an operator reads is sent all the same, and so is what a snapshot needs that somebody
    waits for."""
    saturated = True
    streams = served.exchange._journal_streams
    monkeypatch.setattr(streams._saturation, "holds", lambda: saturated)
    calls = {
        name: served.admin.StreamJournal(StreamJournalRequest(follower=name))
        for name in ("tape", "snapshots", "")
    }
    for call in calls.values():
        await call.read()
    await served.place("A", BUY, 100)
    last = served.engine.sequence
    assert await journal(served) == list(range(1, last + 1))

    async def sent(name: str) -> list[int]:
        message = await calls[name].read()
        assert isinstance(message, StreamJournalResponse)
        return sequences(message)

    assert await sent("") == [last]
    held = {name: asyncio.create_task(sent(name)) for name in ("tape", "snapshots")}
    done, _ = await asyncio.wait(held.values(), timeout=3 * GATHER_S)
    assert not done
    wanted = served.admin.CreateSnapshot(CreateSnapshotRequest())
    assert await held["snapshots"] == [last]
    assert not held["tape"].done()
    saturated = False
    assert await held["tape"] == [last]
    wanted.cancel()
    for call in calls.values():
        call.cancel()
