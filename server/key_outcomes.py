"""Outcomes of recent idempotency keys, as a front end may find them outside the engine.

    name    exchange:key:<journal>:<client> <key>
    value   sequence (8) | time (8) | digest (8), little-endian, then the command and its events as
            the payload of a record (`server/journal/payload.py`)

`digest` is that of what was asked (`server/core/requests.py`). An entry is made from the journal
alone, so its outcome is durable; it is for the hour in which the key is guaranteed to be
remembered, and nobody misses one that is gone. Whoever finds one may answer from it only if

- the digest is that of his own command, and so is what the entry's command gives; and
- its sequence lies within the window: after the last one that the engine has forgotten, up to the
  last durable one.

Otherwise, and where there is none, the engine decides. The journal's identity keeps an entry of
another exchange, or of one that was begun anew, from being taken for this one's.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

from server.core.commands import CancelOrder, Command, PlaceOrder, ReplaceOrder
from server.core.events import Event
from server.core.requests import digest_of
from server.journal.payload import PayloadInvalid, decode_outcome, encode_batch
from server.journal.record import Record

LIFE_NS: Final = 3_600 * 10**9
"""An hour."""
VALUE_BYTES_MAX: Final = 16 * 1024
"""An outcome that takes more, by its many trades, is left to the engine."""

Keyed = PlaceOrder | ReplaceOrder | CancelOrder
_HEAD: Final = Struct("<QQQ")


Entry = tuple[str, bytes]
"""A name and what is to be kept under it."""


class Outcome(NamedTuple):
    """What the first command under a key led to."""

    sequence: int
    time_ns: int
    events: list[Event]


def name_of(journal: bytes, command: Keyed) -> str:
    """Name the place in Redis where the outcome of a command's key is."""
    return f"exchange:key:{journal.hex()}:{command.client_id} {command.idempotency_key}"


def key_of(command: Command) -> Keyed | None:
    """The command, if it has a key."""
    if isinstance(command, PlaceOrder | ReplaceOrder | CancelOrder) and command.idempotency_key:
        return command
    return None


def entries(record: Record, events_of: Sequence[list[Event]]) -> Iterator[Entry]:
    """One for each command of a record that has a key, with the events of all its commands."""
    for sequence, (command, events) in enumerate(
        zip(record.commands(), events_of, strict=True), record.first_sequence
    ):
        keyed = key_of(command)
        if keyed is None:
            continue
        head = _HEAD.pack(sequence, record.time_ns, digest_of(keyed))
        value = head + encode_batch([keyed], [events])
        if len(value) <= VALUE_BYTES_MAX:
            yield name_of(record.journal, keyed), value


def outcome_of(value: bytes, command: Keyed, window: range) -> Outcome | None:
    """What the entry says about a repeat of `command`; None where it may not be used."""
    if len(value) < _HEAD.size:
        return None
    sequence, time_ns, digest = _HEAD.unpack_from(value)
    if sequence not in window or digest != digest_of(command):
        return None
    try:
        first, events = decode_outcome(value[_HEAD.size :], 0)
    except (PayloadInvalid, LookupError):
        return None
    same = isinstance(first, Keyed) and digest_of(first) == digest
    if not same or type(first) is not type(command) or not events:
        return None
    return Outcome(sequence, time_ns, events)
