"""The figures of starts and memory are made, in small; how good they are is no test's business."""

from pathlib import Path

from bench.recovery import measured


def test_every_figure_is_told(tmp_path: Path) -> None:
    replay, snapshot, hold, memory = measured(tmp_path, 2_000)
    assert "2,000 commands re-applied, every event compared: " in replay
    assert "2,000 open orders loaded from a snapshot" in snapshot
    assert "2,000 open orders written in " in hold
    assert "(goal < 20 ms: " in hold
    assert "bytes an open order (goal < 600 bytes: " in memory
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
