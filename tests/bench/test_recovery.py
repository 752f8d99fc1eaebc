"""The figures of starts and memory are made, in small; how good they are is no test's business."""

from pathlib import Path

from bench.recovery import measured


def test_every_figure_is_told(tmp_path: Path) -> None:
    replay, snapshot, memory = measured(tmp_path, 2_000)
    assert "2,000 commands re-applied, every event compared: " in replay
    assert "2,000 open orders loaded from a snapshot" in snapshot
    assert "bytes an open order (goal < 600 bytes: " in memory
    assert not list(tmp_path.iterdir())
