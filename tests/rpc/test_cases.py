"""The shared cases over gRPC, and what their journal gives when it is replayed."""

import shutil
from pathlib import Path

import pytest

from server.core.dump import state_hash
from server.journal.recovery import recover
from tests.cases.parser import Case, cases
from tests.cases.runner import Runner
from tests.rpc.door import RpcDoor
from tests.rpc.served import serving

CASES = [
    case for case in cases(Path(__file__).parent.parent / "cases") if case.needs <= RpcDoor.verbs
]


@pytest.mark.asyncio
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_rpc_and_replay(case: Case, tmp_path: Path) -> None:
    async with serving(tmp_path / "data", instruments=()) as served:
        await Runner(RpcDoor(served), case).run()
        engine = served.engine
    _assert_replays(tmp_path, engine.sequence, state_hash(engine))


def _assert_replays(directory: Path, sequence: int, expected: bytes) -> None:
    """The journal alone gives the state, and so does the snapshot that the stop left."""
    alone = directory / "alone"
    alone.mkdir()
    shutil.copyfile(directory / "data" / "journal", alone / "journal")
    replayed = recover(alone)
    assert replayed.report.command_count == sequence
    assert state_hash(replayed.engine) == expected, "I8"
    replayed.log.close()
    after_stop = recover(directory / "data")
    assert after_stop.report.command_count == 0
    assert state_hash(after_stop.engine) == expected, "I8"
    after_stop.log.close()


def test_all_cases_are_for_this_door() -> None:
    assert len(CASES) > 60
