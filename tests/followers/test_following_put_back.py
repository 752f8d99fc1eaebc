"""A follower whose server is put back from a copy while it follows: what is said, and what not."""

import asyncio
from typing import Any

import grpc
import pytest

from exchange.v1.admin_service_pb2 import StreamJournalRequest, StreamJournalResponse
from server.followers.journal_reader import Progress, Reached
from server.journal.record import Record
from tests.followers.test_following import (
    BEGINS,
    GONE,
    OTHER,
    Tables,
    followed,
    keep_quiet,
    messages_of,
)


class Growing(Tables):
    """Takes up to a sequence, and hangs at what comes after it."""

    def __init__(self, last: int) -> None:
        super().__init__(0)
        self.last = last
        self.has_last = asyncio.Event()

    async def take(self, records: list[Record], progress: Progress) -> int | None:
        for record in records:
            if self.has_last.is_set():
                await asyncio.Event().wait()
            self.sequence = record.last_sequence
            progress(Reached(self.sequence))
            if self.sequence == self.last:
                self.has_last.set()
        return None

    async def follow_once(self, context: Any) -> None:
        """Serve it five records until it has its last; the next time it is nothing."""
        if self.has_last.is_set():
            return
        for message in messages_of(5):
            await context.write(message)
        await self.has_last.wait()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "a copy is put back")


class Ahead(Tables):
    """Holds the last of 77 sequences, and needs the journal after the fifth."""

    held = Reached(77)

    async def open(self) -> Reached:
        self.opened += 1
        return Reached(5)


async def aheads_problem(code: grpc.StatusCode, details: str) -> tuple[str, set[tuple[str, int]]]:
    """Of one whose last is answered so, once it has been compared; and what was asked, by name."""
    asked: set[tuple[str, int]] = set()

    async def serve(request: bytes, context: Any) -> None:
        wanted = StreamJournalRequest.FromString(request)
        asked.add((wanted.follower, wanted.after_sequence))
        if wanted.after_sequence == 77:
            await context.abort(code, details)
        await context.write(StreamJournalResponse(durable_sequence=5).SerializeToString())
        await asyncio.Event().wait()

    said = asyncio.Event()
    async with followed(Ahead(77), serve, lambda _: said.set(), lambda _: None) as following:
        await said.wait()
        return following.problem, asked


@pytest.mark.parametrize(
    ("details", "why"),
    [("", "is at sequence 77, which"), (OTHER, "at sequence 77 it holds something else")],
)
def test_who_holds_what_the_journal_does_not_is_sent_nothing(details: str, why: str) -> None:
    """Although where it would go on from is a position of the journal."""
    problem, asked = asyncio.run(aheads_problem(grpc.StatusCode.INVALID_ARGUMENT, details))
    assert why in problem
    assert asked == {("", 77)}, "the journal is kept as before"


@pytest.mark.parametrize(
    ("code", "details"),
    [(grpc.StatusCode.OUT_OF_RANGE, GONE), (grpc.StatusCode.DATA_LOSS, "it is damaged")],
)
def test_what_the_journal_can_not_tell_any_more_is_not_compared(
    code: grpc.StatusCode, details: str
) -> None:
    problem, asked = asyncio.run(aheads_problem(code, details))
    assert problem == ""
    assert asked == {("", 77), ("postgres", 5)}


@pytest.mark.parametrize(
    ("code", "details", "why", "reached"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "", "is at sequence 5, which", 0),
        (grpc.StatusCode.INVALID_ARGUMENT, OTHER, "at sequence 5 it holds something else", 0),
        (grpc.StatusCode.OUT_OF_RANGE, GONE, BEGINS, 5),
    ],
)
def test_where_it_is_when_the_journal_is_put_back_is_said(
    code: grpc.StatusCode, details: str, why: str, reached: int
) -> None:
    """Not where it was when it was opened."""
    tables = Growing(5)

    async def run() -> str:
        said: list[str] = []
        is_down = asyncio.Event()

        def hear(line: str) -> None:
            said.append(line)
            if "is down" in line:
                is_down.set()

        async def serve(_request: bytes, context: Any) -> None:
            await tables.follow_once(context)
            await context.abort(code, details)

        async with followed(tables, serve, hear, lambda _: None) as following:
            await is_down.wait()
            assert following.reached.sequence == reached
        return said[-1]

    assert why in asyncio.run(run())


def test_what_was_read_and_not_taken_of_a_journal_that_was_put_back_is_no_matter() -> None:
    """The part has only what the copy has too."""
    tables = Growing(2)
    said: list[str] = []
    asked: list[int] = []

    async def run() -> None:
        goes_on = asyncio.Event()

        async def serve(request: bytes, context: Any) -> None:
            asked.append(StreamJournalRequest.FromString(request).after_sequence)
            await tables.follow_once(context)
            if asked[-1] > 2:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "")
            goes_on.set()
            await keep_quiet(request, context)

        async with followed(tables, serve, said.append, lambda _: None):
            await goes_on.wait()

    asyncio.run(run())
    assert asked == [0, 5, 2]
    assert not any("is down" in line for line in said)
