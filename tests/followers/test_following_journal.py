"""One follower beside a journal that is damaged, or not there."""

import asyncio
from typing import Any

import grpc

from exchange.v1.admin_service_pb2 import StreamJournalResponse
from server.followers.following import Following
from server.followers.journal_reader import Progress, Reached
from server.journal.record import Record
from tests.followers.test_following import Tables, followed, keep_quiet, messages_of


def test_what_lies_before_damage_is_taken_and_the_damage_said_once() -> None:
    """It is the journal's, and for a person: to ask again changes nothing."""
    count = 5
    told = "journal at sequence 6 can't be reported: journal is corrupt at offset 2057"
    messages = messages_of(count)
    said: list[str] = []

    class Slow(Tables):
        async def take(self, records: list[Record], _progress: Progress) -> None:
            await asyncio.sleep(0.02)
            self.sequence = records[-1].last_sequence

    tables = Slow(0)

    async def tell(_request: bytes, context: Any) -> None:
        for message in messages[tables.sequence :]:
            await context.write(message)
        await context.abort(grpc.StatusCode.DATA_LOSS, told)

    async def run() -> Following:
        async with followed(tables, tell, said.append, lambda _: None, 0.01) as following:
            while tables.opened < 4:  # noqa: ASYNC110 - the follower opens it
                await asyncio.sleep(0.01)
        return following

    following = asyncio.run(run())
    assert (tables.sequence, following.reached.sequence) == (count, count)
    assert following.problem == f"FollowerStopped: {told}"
    assert [line for line in said if told in line] == said[-1:]


def test_what_was_durable_when_the_journal_was_served_is_told_before_any_of_it() -> None:
    """Once each time that the part is opened, and not with what becomes durable then."""
    messages = messages_of(1)

    class Taking(Tables):
        async def take(self, records: list[Record], _progress: Progress) -> None:
            taken.append((records[-1].last_sequence, list(self.begun)))
            if len(taken) == 1:
                raise ConnectionResetError("gone")

    taken: list[tuple[int, list[int]]] = []

    async def tell(_request: bytes, context: Any) -> None:
        nothing_yet = StreamJournalResponse(durable_sequence=len(taken))
        await context.write(nothing_yet.SerializeToString())
        await context.write(messages[0])
        await asyncio.Event().wait()

    async def run() -> None:
        async with followed(Taking(0), tell, lambda _: None, lambda _: None, 0.01):
            while len(taken) < 2:  # noqa: ASYNC110 - the follower takes it
                await asyncio.sleep(0.01)

    asyncio.run(run())
    assert taken == [(1, [0]), (1, [0, 1])]


def test_a_journal_that_is_not_there_is_the_problem_while_it_is_not() -> None:
    """Not that the part was not there before it was opened."""
    comes = asyncio.Event()
    problems: list[str] = []

    class Late(Tables):
        following: Following

        async def open(self) -> Reached:
            opened = await super().open()
            problems.append(self.following.problem)
            if self.opened == 1:
                raise ConnectionRefusedError("nobody listens")
            return opened

    async def tell(request: bytes, context: Any) -> None:
        problems.append(tables.following.problem)
        if not comes.is_set():
            await context.abort(grpc.StatusCode.UNKNOWN, "not now")
        await keep_quiet(request, context)

    async def run() -> None:
        async with followed(tables, tell, lambda _: None, lambda _: None) as tables.following:
            while len(problems) < 4:  # noqa: ASYNC110 - the follower asks
                await asyncio.sleep(0.01)
            comes.set()
            while tables.following.problem:  # noqa: ASYNC110 - it is told
                await asyncio.sleep(0.01)

    tables = Late(77)
    asyncio.run(run())
    first, opening, asking, again, *_ = (it.partition(" from ")[0] for it in problems)
    assert (first, opening) == ("not connected yet", "ConnectionRefusedError: nobody listens")
    assert asking == again == "no journal"
    assert problems[3].endswith(" (UNKNOWN: not now)")
