"""The shared cases through Envoy: placed, cancelled and read as JSON."""

import asyncio
import re
from pathlib import Path

import grpc
import httpx
import pytest

from tests.cases.parser import Case, cases
from tests.cases.runner import Runner
from tests.gateway.door import HttpDoor

# More digits than a double keeps can't be said in JSON.
TOO_LONG = re.compile(r"\d{10,}\.\d{6,}")
CASES = [
    case
    for case in cases(Path(__file__).parent.parent / "cases")
    if case.needs <= HttpDoor.verbs and not any(TOO_LONG.search(step.text) for step in case.steps)
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_http(case: Case, http: httpx.Client, channel: grpc.Channel) -> None:
    prefix = f"h{CASES.index(case)}."
    asyncio.run(Runner(HttpDoor(http, channel), case, prefix).run())


def test_most_cases_are_for_this_door() -> None:
    assert len(CASES) > 60
