"""What is kept of who follows the journal."""

import asyncio
import threading
from pathlib import Path

import pytest

from server.journal.positions import read_positions, write_positions
from server.maintenance import followers
from server.maintenance.followers import FollowerRegistry

pytestmark = pytest.mark.asyncio


async def test_who_registers_is_not_lost_to_a_file_that_is_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of him that one knows nothing, and it takes its time."""
    held = threading.Event()

    def write(directory: Path, positions: dict[str, int]) -> None:
        if "new" not in positions:
            held.wait(10)
        write_positions(directory, positions)

    monkeypatch.setattr(followers, "write_positions", write)
    registry = FollowerRegistry(0, tmp_path, {"old": 1})
    keeping = asyncio.create_task(registry.keep())
    await asyncio.sleep(0)
    registering = asyncio.create_task(registry.register("new", 5))
    await asyncio.sleep(0.05)
    held.set()
    await asyncio.gather(keeping, registering)
    assert read_positions(tmp_path) == {"old": 1, "new": 5}
