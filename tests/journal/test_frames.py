"""Frames are found wherever reading begins, and only where they belong."""

import pytest

from server.journal import frames
from server.journal.frames import PROBE_BYTES, headers
from server.journal.record import HEADER_BYTES
from server.journal.storage import Storage
from tests.journal.site import Copy, records_of
from tests.journal.test_endings import Next


def positions_from(copy: Copy, start: int) -> list[int]:
    """Of every header that is found."""
    storage = Storage.open(copy.journal, writable=False)
    journal = records_of(copy.site.directory)[0].journal
    found = [header.position for header in headers(storage, journal, start, storage.size())]
    storage.close()
    return found


@pytest.mark.parametrize("probe_bytes", [1, HEADER_BYTES, PROBE_BYTES])
def test_every_header_is_found_from_wherever_looking_begins(
    vouched: Copy, probe_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it lies to what is read at once, the last one too, which is a header alone."""
    monkeypatch.setattr(frames, "PROBE_BYTES", probe_bytes)
    positions = [record.position for record in records_of(vouched.directory)]
    for index, position in enumerate(positions):
        assert positions_from(vouched, position) == positions[index:]
        assert positions_from(vouched, position + 1) == positions[index + 1 :]


def test_a_header_that_belongs_elsewhere_is_passed_over(plain: Copy) -> None:
    """It may stand in another frame's payload."""
    after, end = Next(records_of(plain.directory)[-1]), len(plain.original)
    data = b"x" + after.frame()
    data += after.frame(journal=b"k" * 16, position=end + len(data))
    own = end + len(data)
    plain.put(plain.original + data + after.frame(position=own))
    assert positions_from(plain, end) == [own]
