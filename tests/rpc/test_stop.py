"""What a stop says to those who still call."""

import asyncio
from pathlib import Path

import pytest
from grpc import StatusCode

from server.rpc import intake
from tests.rpc.served import BUY, Failure, Served, info_of, serving, until

pytestmark = pytest.mark.asyncio


async def test_calls_that_come_at_a_stop_are_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For a loop that is busy with the test's own callers.
    monkeypatch.setattr(intake, "IDLE_S", 0.5)
    async with serving(tmp_path / "data") as served:
        calling = [asyncio.ensure_future(_until_refused(served)) for _ in range(20)]
        await until(lambda: served.engine.sequence > 100)
        await asyncio.gather(served.stop(), *calling)
        failures = [each.result() for each in calling]
    assert {each.code() for each in failures} == {StatusCode.UNAVAILABLE}
    assert {info_of(each).reason for each in failures} == {"NOT_SERVING"}


async def test_who_never_ceases_to_call_does_not_hold_up_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "REFUSING_S_MAX", 0.2)
    async with serving(tmp_path / "data") as served:
        stopping = asyncio.ensure_future(served.stop())
        while not stopping.done():
            await _until_refused(served)


async def _until_refused(served: Served) -> Failure:
    while True:
        try:
            await served.place("A", BUY, 100)
        except Failure as failure:
            return failure
