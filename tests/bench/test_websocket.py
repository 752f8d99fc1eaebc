"""The WebSocket workload runs, in small; how good its figures are is no test's business."""

from pathlib import Path

from bench import websocket
from bench.workloads import Plan


def test_every_trade_comes_to_every_reader(tmp_path: Path) -> None:
    plan = Plan(seconds=0.4, turns=1, seed=7, directory=tmp_path)
    figures = websocket.measure(plan, connections=20)
    assert figures.connections == 20
    assert figures.trades > 0
    assert figures.missed == 0
    assert 0 <= figures.delays_ms[0] <= figures.delays_ms[-1]
    assert len(figures.stuck_ratios) == plan.turns
    assert {"bridge", "Envoy"} == set(figures.memory_kb)
    assert figures.cpu_us.keys() == {"bridge", "Envoy", "server", "readers"}
    assert "20 connections" in str(figures)
    assert list(tmp_path.iterdir()) == []
