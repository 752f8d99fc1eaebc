"""Forged endings: what may stand behind the last whole record, and what becomes of it.

Each row puts bytes behind an intact journal: `torn` and `possible` are cut at exactly that place
and kept aside, `refused` changes nothing.
"""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google_crc32c import value

from server.core.commands import OpenSession
from server.core.events import SessionOpened
from server.journal.fence import Fence, chain_after, passed
from server.journal.payload import PAYLOAD_BYTES_MAX, encode_batch
from server.journal.record import BATCH, EPOCH, HEADER_BYTES, IDLE, MAGIC, Record, encode
from server.journal.recovery import recover
from server.journal.refusals import JournalRefused
from server.journal.storage import Storage
from tests.journal.site import Copy, Site, assert_recovered, records_of, settings, trade

TORN, POSSIBLE = "torn", "possible"


class Next:
    """Makes records that would follow the last one, with whatever is wrong asked for."""

    def __init__(self, last: Record) -> None:
        self.fence: Fence = passed(last)
        self.last = last

    def record(self, *, chain: bytes = b"", **fields: Any) -> Record:
        sequence = self.fence.last_sequence + 1
        payload = encode_batch([OpenSession("c")], [[SessionOpened(sequence, "c")]])
        changed = self.last._replace(
            kind=BATCH,
            position=self.last.end,
            durable_position=self.last.end,
            first_sequence=sequence,
            command_count=1,
            payload=payload,
        )._replace(**fields)
        return changed._replace(chain=chain or chain_after(self.fence.chain, changed))

    def frame(self, **fields: Any) -> bytes:
        return encode(self.record(**fields))

    def second(self, *, durable: bool) -> bytes:
        """The frame after the next one; does it know that the next one is durable?"""
        first = self.record()
        then = Next(first).record()
        return encode(then._replace(durable_position=then.position if durable else first.position))

    def third(self) -> bytes:
        """The frame after that, which knows that both are."""
        return Next(Next(self.record()).record()).frame()


def rechecked(frame: bytes, offset: int, size: int, number: int) -> bytes:
    """The frame with one field changed and checksums that fit."""
    data = bytearray(frame)
    data[offset : offset + size] = number.to_bytes(size, "little")
    data[12:16] = value(bytes(data[16:])).to_bytes(4, "little")
    data[8:12] = value(bytes(data[12:HEADER_BYTES])).to_bytes(4, "little")
    return bytes(data)


def with_bytes(frame: bytes, offset: int, data: bytes) -> bytes:
    return frame[:offset] + data + frame[offset + len(data) :]


def damaged(frame: bytes) -> bytes:
    """A page of its payload was never written."""
    return with_bytes(frame, HEADER_BYTES, bytes(8))


ENDINGS: dict[str, tuple[Callable[[Next], bytes], str]] = {
    "one byte of a frame": (lambda n: n.frame()[:1], TORN),
    "half a header": (lambda n: n.frame()[:60], TORN),
    "a header alone": (lambda n: n.frame()[:HEADER_BYTES], TORN),
    "all but the last byte": (lambda n: n.frame()[:-1], TORN),
    "a length beyond the file": (
        lambda n: rechecked(n.frame(), 20, 4, PAYLOAD_BYTES_MAX),
        TORN,
    ),
    "a byte that begins no frame": (lambda n: b"x", POSSIBLE),
    "one zero": (lambda n: b"\0", POSSIBLE),
    "a page of zeros": (lambda n: bytes(4096), POSSIBLE),
    "text": (lambda n: b"hello, journal " * 40, POSSIBLE),
    "the magic again and again": (lambda n: MAGIC * 100, POSSIBLE),
    "a header of zeros before its payload": (
        lambda n: bytes(HEADER_BYTES) + n.record().payload,
        POSSIBLE,
    ),
    "a wrong magic": (lambda n: with_bytes(n.frame(), 0, b"\xf5\xffRECORE"), POSSIBLE),
    "a wrong header check": (lambda n: with_bytes(n.frame(), 8, bytes(4)), POSSIBLE),
    "a wrong checksum": (
        lambda n: with_bytes(n.frame(), len(n.frame()) - 1, b"\xaa"),
        POSSIBLE,
    ),
    "a length over the bound": (
        lambda n: rechecked(n.frame(), 20, 4, PAYLOAD_BYTES_MAX + 1),
        POSSIBLE,
    ),
    "a length too short by one": (
        lambda n: rechecked(n.frame(), 20, 4, len(n.record().payload) - 1)[:-1] + b"\0\0",
        POSSIBLE,
    ),
    "a page of the last frame lost, intact frames behind that know nothing of it": (
        lambda n: damaged(n.frame()) + n.second(durable=False),
        POSSIBLE,
    ),
    "the same, and the frame behind knows it was durable": (
        lambda n: damaged(n.frame()) + n.second(durable=True),
        "was durable",
    ),
    "the same, and the frame behind is damaged as well": (
        lambda n: damaged(n.frame()) + n.second(durable=True)[:-1],
        POSSIBLE,
    ),
    "the same, and a page of the frame behind is lost as well": (
        lambda n: damaged(n.frame()) + damaged(n.second(durable=True)),
        POSSIBLE,
    ),
    "the same, and an intact frame behind both knows": (
        lambda n: damaged(n.frame()) + damaged(n.second(durable=False)) + n.third(),
        "was durable",
    ),
    "a hole, and a frame behind of another journal that knows": (
        lambda n: bytes(400) + n.frame(journal=b"k" * 16, position=n.last.end + 400),
        POSSIBLE,
    ),
    "a hole, and a frame behind that was moved there": (
        lambda n: bytes(400) + n.frame(durable_position=2**40),
        POSSIBLE,
    ),
    "a hole, and a frame behind of a newer format": (
        lambda n: bytes(400) + rechecked(n.frame(position=n.last.end + 400), 16, 2, 9),
        "record format 9",
    ),
    "the last frame again": (lambda n: encode(n.last), "belongs to offset"),
    "a frame of another journal": (lambda n: n.frame(journal=b"k" * 16), "of the journal"),
    "a frame of another place": (lambda n: n.frame(position=64), "belongs to offset 64"),
    "a sequence left out": (
        lambda n: n.frame(first_sequence=n.fence.last_sequence + 2),
        "batch record of sequence",
    ),
    "a sequence twice": (
        lambda n: n.frame(first_sequence=n.fence.last_sequence),
        "batch record of sequence",
    ),
    "another chain": (lambda n: n.frame(chain=b"c" * 16), "doesn't continue"),
    "an epoch that nobody claimed": (lambda n: n.frame(epoch=2), "batch record of epoch 2"),
    "another owner": (lambda n: n.frame(owner=bytes(16)), "batch record of epoch 1, owner 0000"),
    "an epoch claimed again": (
        lambda n: n.frame(kind=EPOCH, command_count=0, payload=b""),
        "epoch 1 claimed after epoch 1",
    ),
    "an idle record with commands": (lambda n: n.frame(kind=IDLE), "idle record with 1 commands"),
    "time that goes back": (lambda n: n.frame(time_ns=1), "batch record of time 1 after"),
    "another shard": (lambda n: n.frame(shard=1), "batch record of shard 1"),
    "a newer format": (lambda n: rechecked(n.frame(), 16, 2, 2), "record format 2"),
    "an unknown kind": (lambda n: rechecked(n.frame(), 18, 2, 7), "record kind 7"),
    "a payload that is none": (lambda n: n.frame(payload=b"\1\0\0\0\x90"), "can't be read"),
    "more commands announced than there are": (
        lambda n: n.frame(command_count=2),
        "announces 2 commands and holds 1",
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("site", ["plain", "vouched"])
def test_forged_ending(name: str, site: str, request: pytest.FixtureRequest) -> None:
    copy: Copy = request.getfixturevalue(site)
    forge, verdict = ENDINGS[name]
    ending = forge(Next(records_of(copy.directory)[-1]))
    copy.put(copy.original + ending)
    if verdict in (TORN, POSSIBLE):
        recovered = recover(copy.directory)
        assert_recovered(recovered, copy.site, copy.site.engine.sequence)
        recovered.log.close()
        cut = recovered.report.cut
        assert cut is not None
        assert cut.possibly_acknowledged == (verdict == POSSIBLE)
        assert (cut.offset, cut.byte_count) == (len(copy.original), len(ending))
        assert cut.kept_at is not None
        assert cut.kept_at.read_bytes() == ending
        assert copy.journal.read_bytes() == copy.original
        return
    with pytest.raises(JournalRefused) as caught:
        recover(copy.directory)
    assert verdict in str(caught.value)
    assert str(copy.journal) in str(caught.value)
    assert copy.journal.read_bytes() == copy.original + ending
    assert not list(copy.directory.glob("journal.cut-*"))


def test_what_is_appended_after_a_cut_follows_the_last_whole_record(tmp_path: Path) -> None:
    """[I1 I2 I8] Without a hole where the cut tail was."""
    site = Site(tmp_path / "data")
    site.commit(*settings())
    trade(site, 3)
    site.close()
    with (site.directory / "journal").open("ab") as journal:
        journal.write(MAGIC[:5])
    site.start()
    trade(site, 3, seed=9)
    site.close()
    recovered = recover(site.directory)
    assert recovered.report.cut is None
    assert_recovered(recovered, site, site.engine.sequence)
    recovered.log.close()


def test_a_tail_that_finds_no_room_elsewhere_is_not_cut(
    plain: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And half a copy doesn't stay, which would only take the room of others."""
    plain.put(plain.original[:-1])
    write = Storage.write

    def fill_the_disk(storage: Storage, data: bytes | memoryview) -> int:
        if len(data) > 5:
            return write(storage, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "write", fill_the_disk)
        with pytest.raises(OSError, match="No space left"):
            recover(plain.directory)
    assert sorted(path.name for path in plain.directory.iterdir()) == ["journal"]
    assert plain.journal.read_bytes() == plain.original[:-1]
