"""Which record may follow which."""

from collections.abc import Callable

import pytest

from server.journal.fence import Fence, Refused, admit, chain_after, new_fence, passed
from server.journal.record import BATCH, EPOCH, IDLE, Record

JOURNAL = b"j" * 16
OWNER, OTHER = b"o" * 16, b"p" * 16


def record(kind: int, epoch: int, owner: bytes, first_sequence: int, count: int) -> Record:
    payload = b"payload" if kind == BATCH else b""
    return Record(kind, 0, 0, JOURNAL, 0, 1, epoch, owner, first_sequence, count, 9, b"", payload)


def chained(fence: Fence, found: Record) -> Record:
    return found._replace(chain=chain_after(fence.chain, found))


def after(*records: Record) -> Fence:
    fence = new_fence(0, JOURNAL)
    for found in records:
        outcome = admit(fence, chained(fence, found))
        assert isinstance(outcome, Fence), outcome
        fence = outcome
    return fence


FENCE = after(record(EPOCH, 2, OWNER, 1, 0), record(BATCH, 2, OWNER, 1, 5))


@pytest.mark.parametrize(
    "found",
    [
        record(BATCH, 2, OWNER, 6, 1),
        record(IDLE, 2, OWNER, 6, 0),
        record(EPOCH, 3, OTHER, 6, 0),
        record(EPOCH, 300, OWNER, 6, 0),
    ],
)
def test_what_may_follow(found: Record) -> None:
    found = chained(FENCE, found)
    assert admit(FENCE, found) == passed(found)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (record(BATCH, 2, OWNER, 7, 1), "batch record of sequence 7 after 5"),
        (record(BATCH, 2, OWNER, 5, 1), "batch record of sequence 5 after 5"),
        (record(IDLE, 2, OWNER, 7, 0), "idle record of sequence 7 after 5"),
        (record(EPOCH, 3, OTHER, 7, 0), "epoch record of sequence 7 after 5"),
        (record(BATCH, 1, OWNER, 6, 1), "batch record of epoch 1"),
        (record(BATCH, 3, OWNER, 6, 1), "batch record of epoch 3"),
        (record(BATCH, 2, OTHER, 6, 1), "batch record of epoch 2, owner 7070"),
        (record(IDLE, 2, OTHER, 6, 0), "idle record of epoch 2, owner 7070"),
        (record(EPOCH, 2, OTHER, 6, 0), "epoch 2 claimed after epoch 2"),
        (record(EPOCH, 1, OWNER, 6, 0), "epoch 1 claimed after epoch 2"),
        (record(BATCH, 2, OWNER, 6, 0), "batch record with 0 commands"),
        (record(IDLE, 2, OWNER, 6, 1), "idle record with 1 commands"),
        (record(EPOCH, 3, OWNER, 6, 1), "epoch record with 1 commands"),
        (record(IDLE, 2, OWNER, 6, 0)._replace(payload=b"x"), "idle record with 0 commands and 1"),
        (record(BATCH, 2, OWNER, 6, 1)._replace(shard=1), "batch record of shard 1 in shard 0"),
        (record(BATCH, 2, OWNER, 6, 1)._replace(time_ns=8), "batch record of time 8 after 9"),
    ],
)
def test_what_may_not_follow(found: Record, message: str) -> None:
    outcome = admit(FENCE, chained(FENCE, found))
    assert isinstance(outcome, Refused)
    assert message in outcome.reason


def test_the_overtaken_writer_is_refused_and_the_new_one_is_not() -> None:
    old, new = record(BATCH, 2, OWNER, 6, 1), record(BATCH, 3, OTHER, 6, 1)
    fence = after(
        record(EPOCH, 2, OWNER, 1, 0), record(BATCH, 2, OWNER, 1, 5), record(EPOCH, 3, OTHER, 6, 0)
    )
    assert isinstance(admit(fence, chained(fence, old)), Refused)
    assert isinstance(admit(fence, chained(fence, new)), Fence)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r._replace(payload=b"paxload"),
        lambda r: r._replace(time_ns=10),
        lambda r: r._replace(rules_version=r.rules_version + 1),
        lambda r: r._replace(chain=bytes(16)),
    ],
)
def test_the_chain_holds_all_that_a_record_says(change: Callable[[Record], Record]) -> None:
    outcome = admit(FENCE, change(chained(FENCE, record(BATCH, 2, OWNER, 6, 1))))
    assert isinstance(outcome, Refused)
    assert "doesn't continue" in outcome.reason


def test_the_chain_does_not_depend_on_where_a_record_lies() -> None:
    found = record(BATCH, 2, OWNER, 6, 1)
    moved = found._replace(position=99, durable_position=99)
    assert chain_after(FENCE.chain, found) == chain_after(FENCE.chain, moved)


def test_journals_begin_different_chains() -> None:
    found = record(EPOCH, 1, OWNER, 1, 0)
    other = new_fence(0, b"k" * 16)
    assert isinstance(admit(other, chained(new_fence(0, JOURNAL), found)), Refused)
