"""The record's format: what goes in comes out, and no damage passes."""

import contextlib
from typing import Any

import msgpack
import pytest
from google_crc32c import value
from hypothesis import given
from hypothesis import strategies as st

from server.core.commands import (
    COMMAND_KINDS,
    CancelOrder,
    CancelOrders,
    Command,
    EndSession,
    OpenSession,
    PlaceOrder,
    ReplaceOrder,
    SetInstrument,
    SetLimits,
)
from server.core.events import (
    EVENT_KINDS,
    Event,
    InstrumentSet,
    LimitsSet,
    OrderAccepted,
    SessionEnded,
    SessionOpened,
    Traded,
)
from server.core.instruments import Instrument, Limits
from server.core.types import EndReason
from server.journal import payload as payloads
from server.journal.payload import (
    PayloadInvalid,
    PayloadTooLarge,
    decode_commands,
    decode_events,
    decode_outcome,
    encode_batch,
    encode_events,
    event_bytes,
    pack,
    unpack,
)
from server.journal.record import (
    BATCH,
    HEADER_BYTES,
    IDLE,
    FrameBad,
    Record,
    decode_frame,
    encode,
    step,
)

COMMANDS: list[Command] = [
    PlaceOrder("c", "BTC-USD", 1, 1, 2**63 - 1, 2**63 - 1, 1, True, 5, "o", "k", "r", 7),
    ReplaceOrder("c", "o", None, 0, ""),
    CancelOrder("", "o"),
    CancelOrders("c", "BTC-USD", 2),
    OpenSession("c"),
    EndSession(2**63 - 1),
    SetInstrument(Instrument("BTC-USD", maker_fee_e6=-5), Instrument("BTC-USD")),
    SetInstrument(Instrument("ETH-USD"), None),
    SetLimits(Limits(keys_max=1), None),
    SetLimits(Limits(), Limits()),
]
ORDER = ("o", "c", "", "BTC-USD", 1, 1, 1, False, 1, 5, 9, 4, 5, 0, 2, 3, 10**18, 0, 0, -1)
EVENTS: list[Event] = [
    *(tuple.__new__(cls, ORDER) for cls in EVENT_KINDS if cls.__base__ is OrderAccepted.__base__),
    Traded("BTC-USD", 5, 6, 1, "m", "c", "", 1, 6, 0, 2**70, "t", "d", "r", 2, 6, 1, -(2**80)),
    SessionOpened(3, "c"),
    SessionEnded(3, ""),
    InstrumentSet(Instrument("BTC-USD")),
    LimitsSet(Limits()),
]


def record(payload: bytes = b"payload", **fields: Any) -> Record:
    values: dict[str, Any] = {
        "kind": BATCH,
        "position": 64,
        "durable_position": 64,
        "journal": b"j" * 16,
        "shard": 3,
        "rules_version": 4,
        "epoch": 5,
        "owner": b"o" * 16,
        "first_sequence": 6,
        "command_count": 7,
        "time_ns": 8,
        "chain": b"c" * 16,
        "payload": payload,
    }
    return Record(**{**values, **fields})


def test_every_kind_of_command_and_event_comes_back() -> None:
    assert {type(c) for c in COMMANDS} == set(COMMAND_KINDS)
    assert {type(e) for e in EVENTS} == set(EVENT_KINDS)
    events = [EVENTS[index : index + 2] for index in range(len(COMMANDS))]
    payload = encode_batch(COMMANDS, events)
    assert decode_commands(payload) == COMMANDS
    assert decode_events(payload) == events
    assert [type(c) for c in decode_commands(payload)] == [type(c) for c in COMMANDS]
    assert [[type(e) for e in row] for row in decode_events(payload)] == [
        [type(e) for e in row] for row in events
    ]
    revived = decode_commands(payload)[6]
    assert isinstance(revived, SetInstrument)
    assert isinstance(revived.definition, Instrument)
    assert isinstance(revived.configured, Instrument)
    assert event_bytes(payload) == encode_events(events)
    for index, command in enumerate(COMMANDS):
        assert decode_outcome(payload, index) == (command, events[index])


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1])
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4).map(tuple),
    max_leaves=20,
)


@given(plain_values)
def test_plain_data_comes_back_with_its_types(data: object) -> None:
    back = unpack(pack(data))
    assert back == data
    assert repr(back) == repr(data)


@given(plain_values)
def test_the_bytes_are_those_of_earlier_releases(data: object) -> None:
    """Which packed with msgpack alone; a replay compares bytes."""

    def beyond_64_bits(number: int) -> msgpack.ExtType:
        size = (number.bit_length() + 8) // 8
        return msgpack.ExtType(1, number.to_bytes(size, "big", signed=True))

    assert pack(data) == msgpack.packb(data, default=beyond_64_bits)


@pytest.mark.parametrize("length", [15, 16, 31, 32, 255, 256, 65_535, 65_536])
def test_so_are_those_of_long_texts_and_rows(length: int) -> None:
    for data in ("a" * length, b"a" * length, (1,) * length, [EndReason.CANCEL_REQUESTED] * length):
        assert pack(data) == msgpack.packb(data)


@pytest.mark.parametrize("data", [object(), [1, object()]])
def test_nothing_but_plain_data_goes_in(data: object) -> None:
    with pytest.raises(TypeError, match="is not plain data"):
        pack(data)
    assert unpack(pack((1, "after"))) == (1, "after")


def test_a_frame_comes_back() -> None:
    for original in (record(), record(b"", kind=IDLE, command_count=0), record(b"x" * 70_000)):
        frame = encode(original)
        assert decode_frame(frame) == original
        assert decode_frame(b"before" + frame + b"after", 6) == original
        ahead = step(frame)
        assert (ahead.position, ahead.end) == (original.position, original.end)
        assert (ahead.first_sequence, ahead.command_count) == (6, original.command_count)
        assert original.end == original.position + len(frame)


def test_the_format_stays_what_it_was() -> None:
    """Journals of older releases must remain readable: a change here needs a new format number."""
    assert encode(record(b"p")).hex() == (
        "f5ff5245434f5244c1fd84e029364741010002000100000040000000000000004000000000000000"
        "6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a030000000400000005000000000000006f6f6f6f6f6f6f6f"
        "6f6f6f6f6f6f6f6f0600000000000000070000000800000000000000636363636363636363636363"
        "6363636370"
    )
    assert encode_batch([CancelOrder("c", "o")], [[SessionOpened(2**64, "c")]]).hex() == (
        "0b00000092c401039193a163a16fa0939101c401079192c70901010000000000000000a163"
    )


@pytest.mark.parametrize("payload", [b"", b"some payload of a record"])
def test_every_flipped_bit_is_detected(payload: bytes) -> None:
    frame = encode(record(payload))
    for bit in range(len(frame) * 8):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameBad):
            decode_frame(bytes(damaged))


def test_every_beginning_of_a_frame_is_incomplete_and_nothing_else_is() -> None:
    frame = encode(record())
    for size in range(len(frame)):
        with pytest.raises(FrameBad) as caught:
            decode_frame(frame[:size])
        assert caught.value.incomplete, size
    for damaged in (b"\0" * 10, b"\0" * 200, b"x" + frame[1:], b"x" + frame[1:50]):
        with pytest.raises(FrameBad) as caught:
            decode_frame(damaged)
        assert not caught.value.incomplete


def test_an_absurd_length_is_refused_before_anything_is_read() -> None:
    frame = bytearray(encode(record(b"")))
    frame[20:24] = (payloads.PAYLOAD_BYTES_MAX + 1).to_bytes(4, "little")
    with pytest.raises(FrameBad, match="the most is"):
        decode_frame(_recheck(frame))


@pytest.mark.parametrize(
    ("offset", "size", "number", "message"),
    [(16, 2, 2, "record format 2, this release reads 1"), (18, 2, 9, "record kind 9")],
)
def test_an_intact_frame_of_another_release_is_not_taken_for_damage(
    offset: int, size: int, number: int, message: str
) -> None:
    frame = bytearray(encode(record()))
    frame[offset : offset + size] = number.to_bytes(size, "little")
    with pytest.raises(PayloadInvalid, match=message):
        decode_frame(_recheck(frame))


def _recheck(frame: bytearray) -> bytes:
    """The frame with checksums that fit its content."""
    frame[12:16] = value(bytes(frame[16:])).to_bytes(4, "little")
    frame[8:12] = value(bytes(frame[12:HEADER_BYTES])).to_bytes(4, "little")
    return bytes(frame)


def test_rows_of_an_older_release_take_the_defaults() -> None:
    head = msgpack.packb((bytes([1]), [("c", "BTC-USD", 1, 1, 5)]))
    payload = len(head).to_bytes(4, "little") + head + encode_events([[]])
    assert decode_commands(payload) == [PlaceOrder("c", "BTC-USD", 1, 1, 5)]


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        ((bytes([99]), [()]), "kind 99"),
        ((bytes([1]), [("c",)]), "PlaceOrder with 1 of its 13 fields"),
        ((bytes([3]), [("c", "o", "", "", "")]), "CancelOrder with 5 of its 3 fields"),
        ((bytes([1, 1]), [()]), "2 kinds for 1 commands"),
        ((bytes([3]), [("c", "o", msgpack.ExtType(2, b"7"))]), "extension type 2 is unknown"),
        ((bytes([1]),), "a document of 2 parts"),
        ("text", "a document of 2 parts"),
    ],
)
def test_what_this_release_does_not_know_is_said(commands: object, message: str) -> None:
    head = msgpack.packb(commands)
    payload = len(head).to_bytes(4, "little") + head + encode_events([[]])
    with pytest.raises(PayloadInvalid, match=message):
        decode_commands(payload)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (([1, 1], bytes([7]), [(3, "c")]), "1 kinds for 1 events, 2 announced"),
        (([1], bytes([7, 7]), [(3, "c")]), "2 kinds for 1 events, 1 announced"),
        (([2], bytes([7, 7]), [(3, "c")]), "2 kinds for 1 events, 2 announced"),
        (([1], bytes([99]), [(3, "c")]), "kind 99"),
        (([], b""), "a document of 3 parts"),
    ],
)
def test_so_is_what_it_does_not_know_of_events(events: object, message: str) -> None:
    payload = encode_batch([OpenSession("c")], [[]])
    payload = payload[: -len(event_bytes(payload))] + msgpack.packb(events)
    with pytest.raises(PayloadInvalid, match=message):
        decode_events(payload)


@given(plain_values | st.lists(plain_values, min_size=2, max_size=3), st.binary(max_size=9))
def test_any_payload_is_read_or_refused(data: object, rest: bytes) -> None:
    head = pack(data)
    payload = len(head).to_bytes(4, "little") + head + (head if rest else b"") + rest
    for decode in (decode_commands, decode_events, event_bytes, lambda d: decode_outcome(d, 0)):
        with contextlib.suppress(PayloadInvalid):
            decode(payload)


def test_a_record_that_announces_other_commands_is_refused() -> None:
    payload = encode_batch([OpenSession("c")], [[SessionOpened(1, "c")]])
    wrong = record(payload, command_count=2)
    with pytest.raises(PayloadInvalid, match="announces 2 commands and holds 1"):
        wrong.commands()
    with pytest.raises(PayloadInvalid, match="announces 2 commands and holds 1"):
        wrong.events()


def test_a_batch_beyond_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    commands, events = [OpenSession("c")], [[SessionOpened(1, "c")]]
    size = len(encode_batch(commands, events))
    monkeypatch.setattr(payloads, "PAYLOAD_BYTES_MAX", size)
    encode_batch(commands, events)
    monkeypatch.setattr(payloads, "PAYLOAD_BYTES_MAX", size - 1)
    with pytest.raises(PayloadTooLarge, match=f"1 commands with their events take {size} bytes"):
        encode_batch(commands, events)
