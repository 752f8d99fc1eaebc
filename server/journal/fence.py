"""Which record may follow which: one pure function for recovery, standby and every reader.

The fence is what a reader knows after a record: whose epoch it is, the last sequence, the time
and the chain. The next record of the same shard is admitted

- as an epoch, if its epoch is higher than the current one;
- as a batch or idle record, if epoch and owner are the current ones;

and in each case if its first sequence follows the last (no gaps), its time is not before the
last, and its chain is the digest of the chain so far and of the record itself. Whoever writes with
an epoch that another has overtaken is therefore ignored by everyone, without asking anyone.
"""

from hashlib import blake2b
from struct import Struct
from typing import Final, NamedTuple

from server.journal.record import BATCH, EPOCH, KIND_NAMES, Record

_IDENTITY: Final = Struct("<HIIQ16sQIQ")


class Fence(NamedTuple):
    """What a reader knows after a record; before the first, `new_fence`."""

    shard: int
    epoch: int
    owner: bytes
    last_sequence: int
    time_ns: int
    chain: bytes


class Refused(NamedTuple):
    """The record may not follow, because of this."""

    reason: str


def new_fence(shard: int, journal: bytes) -> Fence:
    """Make the fence before the first record: the chain begins with the journal's identity."""
    return Fence(shard, 0, bytes(16), 0, 0, journal)


def chain_after(chain: bytes, record: Record) -> bytes:
    """The chain once `record` follows: all that it says, but not where it lies."""
    identity = _IDENTITY.pack(
        record.kind,
        record.shard,
        record.rules_version,
        record.epoch,
        record.owner,
        record.first_sequence,
        record.command_count,
        record.time_ns,
    )
    digest = blake2b(chain + identity, digest_size=16)
    digest.update(record.payload)
    return digest.digest()


def passed(record: Record) -> Fence:
    """The fence after a record that was admitted, or made to follow."""
    return Fence(
        record.shard,
        record.epoch,
        record.owner,
        record.last_sequence,
        record.time_ns,
        record.chain,
    )


def admit(fence: Fence, record: Record) -> Fence | Refused:
    """The fence after `record`, or why it may not follow."""
    reason = _misfit(fence, record)
    if reason is None and chain_after(fence.chain, record) != record.chain:
        reason = (
            f"the chain of the record of sequence {record.first_sequence} is"
            f" {record.chain.hex()}: it doesn't continue {fence.chain.hex()}"
        )
    return passed(record) if reason is None else Refused(reason)


def _misfit(fence: Fence, record: Record) -> str | None:
    kind = KIND_NAMES[record.kind]
    if record.shard != fence.shard:
        return f"{kind} record of shard {record.shard} in shard {fence.shard}"
    if record.kind == EPOCH:
        if record.epoch <= fence.epoch:
            return f"epoch {record.epoch} claimed after epoch {fence.epoch}"
    elif (record.epoch, record.owner) != (fence.epoch, fence.owner):
        return (
            f"{kind} record of epoch {record.epoch}, owner {record.owner.hex()};"
            f" the journal is held by epoch {fence.epoch}, owner {fence.owner.hex()}"
        )
    if record.first_sequence != fence.last_sequence + 1:
        return f"{kind} record of sequence {record.first_sequence} after {fence.last_sequence}"
    if (record.kind == BATCH) != (record.command_count > 0) or (
        record.command_count == 0 and record.payload
    ):
        return f"{kind} record with {record.command_count} commands and {len(record.payload)} bytes"
    if record.time_ns < fence.time_ns:
        return f"{kind} record of time {record.time_ns} after {fence.time_ns}"
    return None
