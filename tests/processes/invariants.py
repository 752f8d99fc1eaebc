"""What must hold of a data directory after every fault, by the names of the invariants."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from exchange.v1.order_service_pb2 import SessionOutcome
from server.core.commands import CancelOrder, CancelOrders, PlaceOrder, ReplaceOrder
from server.core.dump import state_hash
from server.journal.record import Record, decode_frame
from server.journal.recovery import recover
from tests.core.invariants import check_state
from tests.processes.load import sequence_of
from tests.processes.told import Told


def assert_kept(directory: Path, acknowledged: Mapping[str, SessionOutcome]) -> int:
    """I1 to I8 and I10 of the directory of a stopped server: the number of its commands."""
    copy = directory.with_name(f"{directory.name}-copy")
    shutil.copytree(directory, copy)
    shutil.rmtree(copy / "snapshots", ignore_errors=True)
    replayed = recover(copy)
    sequences: dict[str, list[int]] = {}
    told = Told()
    expected, time_ns = 1, 0
    for record in map(decode_frame, replayed.log.follow(0)):
        assert record.first_sequence == expected, f"I2: {record.first_sequence}, not {expected}"
        assert record.time_ns >= time_ns, f"I2: {record.first_sequence} is of an earlier time"
        expected, time_ns = expected + record.command_count, record.time_ns
        for events in record.events():
            told.take(events)
            told.assert_uncrossed()
        for key, sequence in keys_of(record):
            sequences.setdefault(key, []).append(sequence)
    for key, outcome in acknowledged.items():
        assert sequences.get(key) == [sequence_of(outcome)], f"I1: {key}: {sequences.get(key)}"
    several = {key: found for key, found in sequences.items() if len(found) > 1}
    assert not several, f"I10: keys that were accepted twice: {several}"
    told.assert_same(replayed.engine)
    check_state(replayed.engine)
    from_snapshot = recover(directory)
    assert state_hash(replayed.engine) == state_hash(from_snapshot.engine), "I8: another state"
    for recovered in (replayed, from_snapshot):
        recovered.log.close()
    assert_same_elsewhere(copy, state_hash(replayed.engine).hex())
    shutil.rmtree(copy)
    return expected - 1


def assert_same_elsewhere(directory: Path, expected: str) -> None:
    """I8: another process, with another order of its hashes, replays to the same state."""
    source = (
        "import sys, pathlib\n"
        "from server.core.dump import state_hash\n"
        "from server.journal.recovery import recover\n"
        "print(state_hash(recover(pathlib.Path(sys.argv[1])).engine).hex())\n"
    )
    found = subprocess.run(
        [sys.executable, "-P", "-c", source, str(directory)],
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == expected, "I8: another state under another PYTHONHASHSEED"


def keys_of(record: Record) -> Iterator[tuple[str, int]]:
    """What the load knows a record's commands by, with their sequences."""
    for sequence, command in enumerate(record.commands(), record.first_sequence):
        key = ""
        if isinstance(command, PlaceOrder | ReplaceOrder | CancelOrder):
            key = command.idempotency_key
        elif isinstance(command, CancelOrders):
            key = command.client_id
        if key:
            yield key, sequence
