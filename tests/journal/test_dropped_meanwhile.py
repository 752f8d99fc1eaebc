"""Readers of a journal whose first segments go at that moment."""

from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import grpc
import pytest

from exchange.v1.admin_service_pb2 import GetStatusResponse
from server.journal.lock import DirectoryLocked
from server.journal.log import NotKept
from server.journal.record import decode_frame
from server.journal.recovery import recover
from server.journal.segments import Segments
from server.supervisor.journal_access import frames_from_server
from tests.journal.site import trade
from tests.journal.test_segments import rolling


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A journal of some segments."""
    site = rolling(tmp_path / "data")
    trade(site, 60)
    site.close()
    assert len(site.log.segments.all) > 5
    return site.directory


@pytest.mark.parametrize("step", ["from_sequence", "read"])
def test_what_is_dropped_while_it_is_looked_for_is_said_to_be_gone(
    directory: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """[I2] Neither a gap nor a missing file, and what is kept is found all the same."""
    log = recover(directory).log
    sound = getattr(Segments, step)

    def forgetting(segments: Segments, *given: int) -> Any:
        monkeypatch.undo()
        segments.forget(segments.all[0])
        return sound(segments, *given)

    def one_goes_meanwhile() -> tuple[int, int]:
        """The first sequences of that one, and of the one after it."""
        monkeypatch.setattr(Segments, step, forgetting)
        gone, kept = log.segments.all[:2]
        return gone.first_sequence, kept.first_sequence

    gone, kept = one_goes_meanwhile()
    with pytest.raises(NotKept) as told:
        log.follow(gone - 1)
    assert (told.value.sequence, told.value.first_sequence) == (gone, kept)
    gone, kept = one_goes_meanwhile()
    with pytest.raises(KeyError):
        log.read(gone)
    _, kept = one_goes_meanwhile()
    assert decode_frame(next(iter(log.follow(kept - 1)))).first_sequence == kept
    _, kept = one_goes_meanwhile()
    assert log.read(kept).first_sequence == kept
    log.close()


def test_what_is_dropped_while_it_is_read_is_taken_for_no_other_place(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments = Segments.open(directory)
    whole = segments.all
    expected = segments.read(segments.start, 200)

    def first_goes_after_a_look() -> None:
        looks = chain([whole], repeat(whole[1:]))
        monkeypatch.setattr(Segments, "_all", property(lambda _: next(looks)), raising=False)

    first_goes_after_a_look()
    assert segments.read(whole[0].start, 200) == expected
    first_goes_after_a_look()
    assert segments.from_sequence(1) == whole[0]
    segments.close()


def test_whoever_reads_beside_a_server_that_drops_it_meanwhile_is_told_to_run_it_again(
    directory: Path,
) -> None:
    def status(_request: bytes, _context: Any) -> bytes:
        reply = GetStatusResponse(durable_sequence=999, journal_first_sequence=1)
        return reply.SerializeToString()

    def refuse(_request: bytes, context: Any) -> None:
        begins = "sequence 7 lies before the journal that is kept, which begins with sequence 9"
        context.abort(grpc.StatusCode.OUT_OF_RANGE, f"{begins}: start from there, or afresh")

    methods: dict[str, Any] = {
        "GetStatus": grpc.unary_unary_rpc_method_handler(status),
        "StreamJournal": grpc.unary_stream_rpc_method_handler(refuse),
    }
    handler = grpc.method_handlers_generic_handler("exchange.v1.AdminService", methods)
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((handler,))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        locked = DirectoryLocked(directory, None, address)
        with (
            pytest.raises(OSError, match="begins with sequence 9; run it again"),
            frames_from_server(locked) as frames,
        ):
            next(frames)
    finally:
        server.stop(None)
