"""Streams that are gone on with: nothing missing, nothing twice, and no interruption unsaid."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Generic, TypeVar

import grpc
import pytest

from clients.errors import ExchangeError, RefusedError, UnavailableError
from clients.following import (
    PROOF_MAX,
    BookMessagesPosition,
    BookPosition,
    Interruption,
    followed,
    order_events_position,
    trades_position,
)
from clients.mirror import OutOfStepError
from clients.retries import Delays, Retries
from clients.types import OrderEventsMessage, Side, Trade, TradesMessage
from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from tests.clients.book_messages import BookServer

pytestmark = pytest.mark.asyncio

QUICK = Retries(delay_first_s=0.0001, delay_max_s=0.001, silence_s=5.0)
M = TypeVar("M")
GONE = UnavailableError("the server is gone", code=grpc.StatusCode.UNAVAILABLE)
SLOW = RefusedError(
    "too slow", code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason="SLOW_READER", retry_safe=True
)
AHEAD = RefusedError("never", code=grpc.StatusCode.INVALID_ARGUMENT, reason="CURSOR_INVALID")
DROPPED = RefusedError("not kept", code=grpc.StatusCode.OUT_OF_RANGE, reason="NOT_KEPT", limit="8")
UNLISTED = RefusedError("not listed", code=grpc.StatusCode.NOT_FOUND, reason="INSTRUMENT_UNKNOWN")


class Scripted(Generic[M]):
    """Streams that say what a test wrote down, each in turn; the last one then stays quiet."""

    def __init__(self, *streams: Sequence[M | ExchangeError]) -> None:
        self.asked: list[int | None] = []
        self.told: list[Interruption] = []
        self.open = 0
        self._streams = list(streams)

    async def __call__(self, after: int | None) -> AsyncGenerator[M, None]:
        self.asked.append(after)
        self.open += 1
        try:
            for said in self._streams.pop(0):
                if isinstance(said, ExchangeError):
                    raise said
                yield said
            if not self._streams:
                await asyncio.Event().wait()
        finally:
            self.open -= 1


def trade(sequence: int, index: int = 0) -> Trade:
    return Trade(
        trade_id=f"T{sequence}-{index}",
        sequence=sequence,
        index=index,
        time=datetime.fromtimestamp(sequence, UTC),
        instrument="BTC-USD",
        price=Decimal(1),
        quantity=Decimal(1),
        aggressor_side=Side.BUY,
        maker_order_id="m",
        maker_client_id="maker",
        taker_order_id="t",
        taker_client_id="taker",
        maker_fee=Decimal(0),
        taker_fee=Decimal(0),
    )


def trades(previous: int, sequence: int, *which: Trade, restarted: bool = False) -> TradesMessage:
    return TradesMessage(sequence, previous, which, restarted)


def follow_trades(
    streams: Callable[[int | None], AsyncGenerator[TradesMessage, None]],
    told: list[Interruption],
    after: int | None = None,
    retries: Retries = QUICK,
) -> AsyncGenerator[TradesMessage, None]:
    return followed(streams, trades_position(after), retries, told.append)


async def read(stream: AsyncGenerator[M, None], count: int) -> list[M]:
    async with asyncio.timeout(10), aclosing(stream):
        return [await anext(stream) for _ in range(count)]


async def test_goes_on_after_the_last_sequence() -> None:
    streams = Scripted[TradesMessage](
        [trades(4, 4), trades(4, 6, trade(5), trade(6)), GONE],
        [],  # ended without a word
        [trades(6, 6), trades(6, 7), SLOW],
        [trades(7, 7), trades(7, 8, trade(8))],
    )
    got = await read(follow_trades(streams, streams.told), 6)
    assert [each.sequence for message in got for each in message.trades] == [5, 6, 8]
    assert not any(message.restarted for message in got)
    assert streams.asked == [None, 6, 6, 7]
    assert [str(each.error) for each in streams.told] == [
        "the server is gone",
        "the exchange ended the stream without saying why",
        "too slow",
    ]
    assert streams.open == 0


async def test_wished_start_is_kept_until_the_first_message() -> None:
    streams = Scripted[TradesMessage]([GONE], [trades(3, 3)])
    await read(follow_trades(streams, streams.told, after=3), 1)
    assert streams.asked == [3, 3]


async def test_final_refusal_is_raised() -> None:
    for refusal in (UNLISTED, AHEAD):
        streams = Scripted[TradesMessage]([GONE], [refusal])
        with pytest.raises(RefusedError) as caught:
            await read(follow_trades(streams, streams.told, after=3), 1)
        assert caught.value is refusal
        assert len(streams.told) == 1


async def test_restart_by_the_exchange_is_surfaced() -> None:
    streams = Scripted[TradesMessage](
        [trades(1, 1), GONE], [trades(9, 9, restarted=True), trades(9, 10)]
    )
    got = await read(follow_trades(streams, streams.told), 3)
    assert [message.restarted for message in got] == [False, True, False]


async def test_sequence_that_the_exchange_lost_is_a_restart() -> None:
    """It was restored from an older copy: it knows nothing of our sequence."""
    streams = Scripted[TradesMessage]([trades(9, 9), GONE], [AHEAD], [trades(5, 5), trades(5, 6)])
    got = await read(follow_trades(streams, streams.told), 3)
    assert streams.asked == [None, 9, None]
    assert [(message.sequence, message.restarted) for message in got] == [
        (9, False),
        (5, True),
        (6, False),
    ]


@pytest.mark.parametrize("before", [[trades(2, 3), GONE], [GONE]], ids=["read", "wished"])
async def test_what_was_dropped_is_a_restart(before: list[TradesMessage | ExchangeError]) -> None:
    """It begins with the first sequence that is kept."""
    streams = Scripted[TradesMessage](before, [DROPPED], [trades(7, 7), trades(7, 9)])
    got = await read(follow_trades(streams, streams.told, after=2), len(before) + 1)
    assert streams.asked[-1] == 7
    assert [(message.sequence, message.restarted) for message in got[-2:]] == [
        (7, True),
        (9, False),
    ]


async def test_what_was_dropped_proves_nothing() -> None:
    streams = Scripted[TradesMessage](
        [trades(4, 4), trades(4, 8, trade(5)), GONE], [DROPPED], [trades(8, 8), trades(8, 9)]
    )
    got = await read(follow_proven_trades(streams), 4)
    assert streams.asked == [None, 4, 8]
    assert [message.restarted for message in got] == [False] * 4


async def test_what_could_not_be_proven_is_asked_again_before_it_goes_on() -> None:
    """A refusal of the question is no answer to it."""
    streams = Scripted[TradesMessage](
        [trades(4, 4), trades(4, 8, trade(5)), GONE],
        [SLOW],
        [trades(4, 4), trades(4, 8, trade(5, 1))],
        [trades(20, 20)],
    )
    got = await read(follow_proven_trades(streams), 3)
    assert streams.asked == [None, 4, 4, None]
    assert [message.restarted for message in got] == [False, False, True]


def follow_proven_trades(
    streams: Scripted[TradesMessage],
) -> AsyncGenerator[TradesMessage, None]:
    position = trades_position(None)
    return followed(position.proven(streams), position, QUICK, streams.told.append)


@pytest.mark.parametrize(
    "again", [(), (trade(5, 1),), (replace(trade(5), time=datetime.fromtimestamp(7, UTC)),)]
)
@pytest.mark.parametrize("reached", [5, 20])
async def test_another_history_that_reaches_as_far_is_a_restart(
    again: tuple[Trade, ...], reached: int
) -> None:
    """The exchange began anew, or was restored, and has since got further than the reader was."""
    streams = Scripted[TradesMessage](
        [trades(4, 4), trades(4, 8, trade(5)), GONE],
        [trades(4, 4), trades(4, reached, *again)],
        [trades(20, 20)],
    )
    got = await read(follow_proven_trades(streams), 3)
    assert streams.asked == [None, 4, None]
    assert [(message.sequence, message.restarted) for message in got] == [
        (4, False),
        (8, False),
        (20, True),
    ]
    assert "another history" in str(streams.told[1].error)


@pytest.mark.parametrize(("lost", "begins"), [(AHEAD, None), (DROPPED, 7)])
async def test_what_was_read_before_a_restart_proves_nothing(
    lost: RefusedError, begins: int | None
) -> None:
    streams = Scripted[TradesMessage](
        [trades(4, 4), trades(4, 8, trade(5)), GONE],
        [trades(4, 4), trades(4, 6, trade(5))],
        [lost],
        [trades(7, 7), GONE],
        [trades(7, 7)],
    )
    got = await read(follow_proven_trades(streams), 4)
    assert streams.asked == [None, 4, 8, begins, 7]
    assert [message.restarted for message in got] == [False, False, True, False]


async def test_what_was_read_is_found_again_or_too_far_back() -> None:
    far = PROOF_MAX + 10
    streams = Scripted[TradesMessage](
        [trades(4, 4), trades(4, 8, trade(5)), GONE],
        [trades(4, 4), trades(4, 6, trade(5))],
        [trades(8, 8), GONE],
        [trades(4, 7, restarted=True)],  # what lay before it has been dropped
        [trades(8, 8), trades(8, far), GONE],
        [trades(far, far)],
    )
    got = await read(follow_proven_trades(streams), 6)
    assert streams.asked == [None, 4, 8, 4, 8, far]
    assert [each.sequence for message in got for each in message.trades] == [5]
    assert not any(message.restarted for message in got)
    assert streams.open == 0


async def test_gap_is_seen_and_filled() -> None:
    streams = Scripted[TradesMessage](
        [trades(1, 1), trades(2, 3, trade(3))],
        [trades(1, 1), trades(1, 3, trade(2), trade(3))],
    )
    got = await read(follow_trades(streams, streams.told), 3)
    assert [each.sequence for message in got for each in message.trades] == [2, 3]
    assert streams.asked == [None, 1]
    assert isinstance(streams.told[0].error, OutOfStepError)


async def test_silence_is_an_interruption() -> None:
    opened = 0

    async def silent(after: int | None) -> AsyncGenerator[TradesMessage, None]:
        nonlocal opened
        opened += 1
        yield trades(opened, opened, restarted=opened > 1)
        await asyncio.Event().wait()

    told: list[Interruption] = []
    retries = replace(QUICK, silence_s=0.01)
    await read(follow_trades(silent, told, retries=retries), 3)
    assert "said nothing for 0.01 s" in str(told[0].error)


async def test_delay_grows_until_a_stream_works_for_a_while() -> None:
    retries = Retries(delay_first_s=0.001, delay_max_s=0.004)
    delays = Delays(retries)
    drawn = [delays.next_s() for _ in range(5)]
    for delay_s, most_s in zip(drawn, (0.001, 0.002, 0.004, 0.004, 0.004), strict=True):
        assert most_s / 2 <= delay_s <= most_s

    working = asyncio.Event()

    async def streams(after: int | None) -> AsyncGenerator[TradesMessage, None]:
        if len(told) == 4:
            yield trades(1, 1)
            await asyncio.sleep(0.01)
        if len(told) == 5:
            working.set()
            await asyncio.Event().wait()
        raise GONE

    told: list[Interruption] = []
    stream = follow_trades(streams, told, retries=retries)
    async with asyncio.timeout(10):
        reading = asyncio.create_task(read(stream, 9))
        await working.wait()
    reading.cancel()
    assert told[3].delay_s >= 0.002
    assert told[4].delay_s <= 0.001


class LongCommands:
    """Order events of commands with many events, in messages cut anywhere, on streams cut
    anywhere; as the protocol says, a message inside a command counts up to the one before."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        counts = [self._draw.choice((0, 1, 2, 9)) for _ in range(40)]
        self.all = [
            (sequence, index) for sequence, count in enumerate(counts, 1) for index in range(count)
        ]
        self.last = len(counts)

    async def __call__(self, after: int | None) -> AsyncGenerator[OrderEventsMessage, None]:
        draw, complete = self._draw, after or 0
        yield OrderEventsMessage(complete, complete, (), restarted=False)
        left = [each for each in self.all if each[0] > complete]
        while left:
            if draw.random() < 0.2:
                raise GONE
            taken = left[: draw.randint(1, 4)]
            del left[: len(taken)]
            # Complete up to the command before the next one that is still to come.
            up_to = left[0][0] - 1 if left else self.last
            if draw.random() < 0.3:
                up_to = draw.randint(complete, up_to)  # it need not say all that it could
            events = tuple(trade(*each) for each in taken)
            yield OrderEventsMessage(up_to, complete, events, restarted=False)  # type: ignore[arg-type]
            complete = up_to
        await asyncio.Event().wait()


@pytest.mark.parametrize("seed", range(20))
async def test_cut_anywhere_nothing_is_missing_or_twice(seed: int) -> None:
    streams = LongCommands(seed)
    got: list[tuple[int, int]] = []
    position = order_events_position(0)
    stream = followed(position.proven(streams), position, QUICK)
    async with asyncio.timeout(10), aclosing(stream):
        async for message in stream:
            got += [(each.sequence, each.index) for each in message.events]
            if len(got) >= len(streams.all):
                break
    assert got == streams.all


async def test_a_stream_that_starts_afresh_repeats_nothing() -> None:
    """What came ahead of a message's sequence would be left out of the next stream otherwise."""
    streams = Scripted[TradesMessage](
        [trades(0, 0), trades(0, 4, trade(4), trade(5, 0)), GONE],
        [trades(9, 9, restarted=True), trades(9, 10, trade(10))],
    )
    messages = await read(follow_trades(streams, [], 0), 4)
    assert [each.trades for each in messages[1:]] == [
        (trade(4), trade(5, 0)),
        (),
        (trade(10),),
    ]
    assert streams.asked == [0, 4]


async def test_book_is_resumed() -> None:
    server = BookServer()
    first, second = server.snapshot(), server.change(1, bids={5: 1})
    streams = Scripted[StreamOrderBookResponse]([first, GONE], [second])
    position = BookPosition("BTC-USD")
    books = await read(followed(streams, position, QUICK), 2)
    assert streams.asked == [None, 0]
    assert books[1].restart_count == 0
    assert server.book() == (books[1].levels("buy"), books[1].levels("sell"))


async def test_messages_of_a_book_are_resumed_and_refused_as_the_book_is() -> None:
    server = BookServer()
    first, second = server.snapshot(), server.change(1, bids={5: 1})
    streams = Scripted[StreamOrderBookResponse]([first, GONE], [second, UNLISTED])
    follow = followed(streams, BookMessagesPosition("BTC-USD"), QUICK, streams.told.append)
    async with asyncio.timeout(10), aclosing(follow):
        messages = [(await anext(follow))[1] for _ in range(2)]
        with pytest.raises(RefusedError) as caught:
            await anext(follow)
    assert (messages, streams.asked) == ([first, second], [None, 0])
    assert caught.value is UNLISTED


async def test_book_says_why_it_started_afresh() -> None:
    server = BookServer()
    first = server.snapshot()
    wrong = server.change(1, bids={5: 1})
    wrong.checksum ^= 1
    streams = Scripted[StreamOrderBookResponse](
        [first, wrong],
        [GONE],
        [server.snapshot(), GONE],
        [AHEAD],
        [server.snapshot(), GONE],
        [server.snapshot()],
    )
    books = followed(streams, BookPosition("BTC-USD"), QUICK, streams.told.append)
    async with asyncio.timeout(10), aclosing(books):
        why = [(await anext(books)).restarted for _ in range(4)]
    assert streams.asked == [None, None, None, 1, None, 1]
    assert why[0] == ""
    assert why[1].startswith("the book of BTC-USD at sequence 1 has checksum")
    assert why[2] == "never"
    assert why[3] == "the exchange no longer has the changes after sequence 1"


async def test_book_that_begins_with_a_wrong_checksum_is_asked_for_again() -> None:
    server = BookServer()
    wrong = server.snapshot()
    wrong.checksum ^= 1
    streams = Scripted[StreamOrderBookResponse]([wrong], [server.snapshot()])
    (book,) = await read(followed(streams, BookPosition("BTC-USD"), QUICK), 1)
    assert (book.sequence, book.restart_count) == (0, 0)


async def test_deep_book_cut_between_its_pages_starts_afresh() -> None:
    server = BookServer()
    server.change(1, bids=dict.fromkeys(range(1, 101), 1))
    streams = Scripted[StreamOrderBookResponse](
        [server.snapshot(levels=60), GONE],
        [server.snapshot(levels=60), server.change(2, further=(0, 60))],
    )
    books = await read(followed(streams, BookPosition("BTC-USD"), QUICK), 3)
    assert streams.asked == [None, None]
    assert books[2].restart_count == 1
    assert not books[2].partial
    assert books[2].depth("buy") == 100
