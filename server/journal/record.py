"""The record: one commit, one frame, one checksum.

A journal is a sequence of frames with nothing between them. Integers are little-endian.

    offset  size
         0     8  magic
         8     4  header check     CRC32C of bytes 12..124: the length below can be believed
        12     4  checksum         CRC32C of bytes 16..124 and the payload: the frame is whole
        16     2  format           of the record, 1
        18     2  kind             1 epoch, 2 batch, 3 idle
        20     4  payload length
        24     8  position         where this frame begins in its file
        32     8  durable position everything before it was known durable when this was written
        40    16  journal          random identity of the journal
        56     4  shard
        60     4  rules version    of the engine that made the events
        64     8  epoch            rises with each start of a writer
        72    16  owner            random, one for each start of a writer
        88     8  first sequence   of the commands in it; without commands, of the next one
        96     4  command count    their sequences have no gaps
       100     8  time             of all its commands, ns since 1970 UTC
       108    16  chain            digest of the record before this one and of this one
       124        payload          of a batch, see `payload.py`; otherwise empty

- *Epoch*: a writer claims the journal. *Batch*: the commands of one commit and their events.
  *Idle*: nothing happened for a while; it vouches for the record before it.
- The checksum decides whether a frame counts; there is no smaller unit, so a commit is there
  whole or not at all. The header check adds no second opinion: it tells only a frame that was
  never written to its end from one that was damaged, and lets a reader step over payloads.
- The journal's identity and the position keep a block that was copied, moved or left over from
  being taken for a record of this place (`tail.py` needs that where no chain can be followed).
- `chain` is what makes history one value: blake2b (128 bits) over the chain before and over what
  the record says, wherever it lies (`fence.py`). A new journal begins with its identity.

A frame's magic can't occur in a payload by an id or a reference (they are ASCII), and what looks
like a frame counts only with header check, position and journal right.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

from google_crc32c import extend, value

from server.core.commands import Command
from server.core.events import Event
from server.journal import payload as payloads
from server.journal.payload import PAYLOAD_BYTES_MAX

MAGIC: Final = b"\xf5\xffRECORD"
FORMAT: Final = 1

EPOCH: Final = 1
BATCH: Final = 2
IDLE: Final = 3
KIND_NAMES: Final = {EPOCH: "epoch", BATCH: "batch", IDLE: "idle"}

_HEADER: Final = Struct("<8sIIHHIQQ16sIIQ16sQIQ16s")
_BODY: Final = Struct("<HHIQQ16sIIQ16sQIQ16s")
_CHECKS: Final = Struct("<8sII")
_NUMBER: Final = Struct("<I")
HEADER_BYTES: Final = _HEADER.size


class FrameBad(ValueError):
    """The bytes here are no whole frame.

    `incomplete`: they may be the beginning of one whose rest was never written, because the
    file ends inside the header, or inside the payload that an intact header announces.
    """

    def __init__(self, reason: str, *, incomplete: bool = False) -> None:
        super().__init__(reason)
        self.incomplete = incomplete


class Step(NamedTuple):
    """What a reader needs of a header to pass on to the next frame."""

    position: int
    end: int
    first_sequence: int
    command_count: int
    journal: bytes


class Record(NamedTuple):
    """One frame's content; the fields are those of the table above."""

    kind: int
    position: int
    durable_position: int
    journal: bytes
    shard: int
    rules_version: int
    epoch: int
    owner: bytes
    first_sequence: int
    command_count: int
    time_ns: int
    chain: bytes
    payload: bytes = b""

    @property
    def last_sequence(self) -> int:
        """Gives the last sequence of the commands up to and including this record."""
        return self.first_sequence + self.command_count - 1

    @property
    def end(self) -> int:
        """Where the next frame begins."""
        return self.position + HEADER_BYTES + len(self.payload)

    def commands(self) -> list[Command]:
        """The commands, of `first_sequence` and on; raises `PayloadInvalid`."""
        commands = payloads.decode_commands(self.payload) if self.kind == BATCH else []
        self._expect(len(commands))
        return commands

    def events(self) -> Sequence[list[Event]]:
        """The events of each command; raises `PayloadInvalid`."""
        events = payloads.decode_events(self.payload) if self.kind == BATCH else []
        self._expect(len(events))
        return events

    def outcome(self, sequence: int) -> tuple[Command, list[Event]]:
        """The command of this sequence and its events, without decoding the others."""
        assert self.first_sequence <= sequence <= self.last_sequence
        return payloads.decode_outcome(self.payload, sequence - self.first_sequence)

    def _expect(self, found: int) -> None:
        if found != self.command_count:
            raise payloads.PayloadInvalid(
                f"the record of sequence {self.first_sequence} announces"
                f" {self.command_count} commands and holds {found}"
            )


def encode(record: Record) -> bytes:
    """The record as a frame."""
    payload = record.payload
    assert len(payload) <= PAYLOAD_BYTES_MAX
    body = _BODY.pack(FORMAT, record.kind, len(payload), *record[1:12])
    checksum = extend(value(body), payload)
    check = value(_NUMBER.pack(checksum) + body)
    return b"".join((_CHECKS.pack(MAGIC, check, checksum), body, payload))


def decode_frame(buffer: bytes, offset: int = 0) -> Record:
    """The frame that begins at `offset`; raises `FrameBad`, or `PayloadInvalid` where a whole
    frame is of a format or kind that this release doesn't know."""
    fields = _header(buffer, offset)
    checksum, record_format, kind, length = fields[2:6]
    end = offset + HEADER_BYTES + length
    if len(buffer) < end:
        raise FrameBad(f"the frame ends {end - len(buffer)} bytes too early", incomplete=True)
    if value(buffer[offset + _CHECKS.size : end]) != checksum:
        raise FrameBad(f"the checksum of the frame's {end - offset} bytes is wrong")
    if record_format != FORMAT:
        raise payloads.PayloadInvalid(
            f"record format {record_format}, this release reads {FORMAT}; use the one that wrote it"
        )
    if kind not in KIND_NAMES:
        raise payloads.PayloadInvalid(f"record kind {kind} is none of {sorted(KIND_NAMES)}")
    return Record._make((kind, *fields[6:], buffer[offset + HEADER_BYTES : end]))


def step(buffer: bytes, offset: int = 0) -> Step:
    """The header at `offset`, its payload neither read nor judged; raises `FrameBad`."""
    fields = _header(buffer, offset)
    position, journal, first_sequence, commands = fields[6], fields[8], fields[13], fields[14]
    return Step(position, position + HEADER_BYTES + fields[5], first_sequence, commands, journal)


def _header(buffer: bytes, offset: int) -> tuple[Any, ...]:
    if len(buffer) - offset < HEADER_BYTES:
        begun = MAGIC.startswith(buffer[offset : offset + len(MAGIC)])
        raise FrameBad(f"{len(buffer) - offset} bytes are no whole header", incomplete=begun)
    fields = _HEADER.unpack_from(buffer, offset)
    if fields[0] != MAGIC:
        raise FrameBad(f"no frame begins with the bytes {fields[0].hex()}")
    if value(buffer[offset + 12 : offset + HEADER_BYTES]) != fields[1]:
        raise FrameBad("the header's check is wrong")
    if fields[5] > PAYLOAD_BYTES_MAX:
        raise FrameBad(f"a payload of {fields[5]} bytes, the most is {PAYLOAD_BYTES_MAX}")
    return fields
