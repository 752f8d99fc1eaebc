"""The WebSocket contract as data, through real Envoy: `tests/cases/websocket.json`.

A case is a list of steps. `send` sends a frame, an object or text as it is. `expect` waits for the
next frame of that type and compares what is given: objects may have more, lists not; `*` is
anything, and `=name` keeps a value that `$name` stands for from then on. `never` names types of
which no frame has come. Who does it is the connection `by`, else the first; `$market` and `$client`
are the case's own.
"""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.door import Market
from tests.gateway.websocket_client import Client, client_of
from tests.running import Everything

CASES = json.loads(
    (Path(__file__).parents[1] / "cases" / "websocket.json").read_text(encoding="utf-8")
)


class Told:
    """What a connection was told, each frame of it expected at most once."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._expected: set[int] = set()

    def next(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """The next frame of a type, and of a sequence where that is given; types among each other
        have no order, and of books some are left out."""
        sequence = wanted.get("sequence", "*")
        while True:
            for number, frame in enumerate(self.client.seen):
                if number in self._expected or frame["type"] != wanted["type"]:
                    continue
                if not sequence.isdigit() or frame.get("sequence") == sequence:
                    self._expected.add(number)
                    return frame
            self.client.next()


def filled(value: Any, known: dict[str, str]) -> Any:
    """With the names that are known replaced."""
    if isinstance(value, dict):
        return {key: filled(each, known) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, known) for each in value]
    if isinstance(value, str):
        for name in sorted(known, key=len, reverse=True):
            value = value.replace(f"${name}", known[name])
    return value


def compare(wanted: Any, got: Any, known: dict[str, str], where: str) -> None:
    """Raises where something is not as wanted; keeps what is to be kept."""
    if isinstance(wanted, dict):
        assert isinstance(got, dict), where
        for key, each in wanted.items():
            assert key in got, f"{where}.{key} is missing in {got}"
            compare(each, got[key], known, f"{where}.{key}")
    elif isinstance(wanted, list):
        assert isinstance(got, list), where
        assert len(got) == len(wanted), f"{where}: {got}"
        for number, (each, of_got) in enumerate(zip(wanted, got, strict=True)):
            compare(each, of_got, known, f"{where}[{number}]")
    elif isinstance(wanted, str) and wanted.startswith("="):
        known[wanted[1:]] = got
    elif wanted != "*":
        assert got == wanted, f"{where}: {got!r} instead of {wanted!r}"


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_case(exchange: Everything, market: Market, case: dict[str, Any]) -> None:
    known = {"market": market.instrument, "client": f"{market.prefix}c"}
    with ExitStack() as open_ones:
        clients = {
            name: Told(open_ones.enter_context(client_of(exchange.http)))
            for name in {step.get("by", "") for step in case["steps"]}
        }
        for number, step in enumerate(case["steps"]):
            told = clients[step.get("by", "")]
            if "send" in step:
                told.client.send(filled(step["send"], known))
            elif "expect" in step:
                wanted = filled(step["expect"], known)
                compare(wanted, told.next(wanted), known, f"step {number}")
            else:
                assert not [it for it in told.client.seen if it["type"] in step["never"]]
