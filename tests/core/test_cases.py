"""The shared cases, on the engine alone and once more through a replay."""

import asyncio
from pathlib import Path

import pytest

from server.core.dump import dump, load, state_hash
from server.core.engine import Engine
from tests.cases.parser import Case, CaseError, cases, parse
from tests.cases.runner import Runner
from tests.core.engine_door import EngineDoor

CASES = cases(Path(__file__).parent.parent / "cases")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_engine(case: Case) -> None:
    door = EngineDoor()
    asyncio.run(Runner(door, case).run())

    again = Engine()
    for command, stamp, events in door.journal:
        assert again.apply(command, stamp) == events
    assert state_hash(again) == state_hash(door.engine), "I8"
    assert state_hash(load(dump(again))) == state_hash(again), "I8"


def test_titles_name_the_cases() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert all(case.steps for case in CASES)


def test_prefix_keeps_cases_apart() -> None:
    door = EngineDoor()
    for number, case in enumerate(CASES):
        if not any("!" in step.text for step in case.steps):
            asyncio.run(Runner(door, case, f"{number}.").run())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("place A buy 10 at 101 -> open 10", "'at' in place of @ or market"),
        ("place A buy 10 @ 101 now -> open 10", "'now' is not understood here"),
        ("place A buy 10 @ 101", "what must come of it is missing"),
        ("trade A B 10 -> open 10", "there is no 'trade'"),
        ("place A buy 10 @ 101 -> opened 10", "is not how an order stands"),
        ("book\n  offer 1 1", "'offer' in place of ask or bid"),
    ],
)
def test_complaints_name_the_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "bad.book"
    path.write_text(f"case Bad\n{text}\n", encoding="utf-8")
    with pytest.raises(CaseError, match=complaint):
        parse(path)


def test_wrong_outcome_fails(tmp_path: Path) -> None:
    path = tmp_path / "wrong.book"
    path.write_text("case Wrong\nplace A buy 10 @ 101 -> open 9\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"wrong\.book:2"):
        asyncio.run(Runner(EngineDoor(), parse(path)[0]).run())
