"""The followers' figures come, in small; how good they are is no test's business."""

from pathlib import Path

import pytest

from bench import followers
from bench.workloads import Plan
from server.supervisor.embedded import postgres as embedded_postgres
from server.supervisor.embedded.postgres import PostgresMissing


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    try:
        embedded_postgres.programs()
    except PostgresMissing as missing:
        pytest.skip(str(missing))
    return Plan(seconds=0.3, turns=1, seed=7, directory=tmp_path, turn_commands_max=1_000)


def test_writer(plan: Plan) -> None:
    line = followers.writer(plan, 3_000)
    assert "commands into PostgreSQL at" in line


def test_fixed_rate_beside_a_server_alone(plan: Plan) -> None:
    line = followers.fixed_rate(plan, 10, full=False)
    assert "orders/s, 10 a message, with snapshots, PostgreSQL: p99" in line


def test_postgres_away(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "AWAY_PARTS", 1)
    line = followers.away(plan)
    assert "- **PostgreSQL away**: killed " in line
    assert ", stopped " in line


def test_history(plan: Plan) -> None:
    page, own, day = followers.history(plan, 5_000)
    assert "a page of 1,000 over 5,000 trades: median" in page
    assert "a page of 1,000 of one client's over 5,000 trades: median" in own
    assert "a day of one-minute analytics" in day
