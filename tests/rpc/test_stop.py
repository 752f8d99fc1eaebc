"""What a stop says to those who still call."""

import asyncio
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from grpc import StatusCode
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from exchange.v1.order_service_pb2 import TradingSessionOpen, TradingSessionRequest
from server import app
from server.rpc import intake
from server.sequencer.sequencer import Sequencer
from server.sequencer.start_up import end_sessions
from server.settings import SequencerLimits
from tests.rpc.served import BUY, Failure, HeldJournal, Served, info_of, serving, until

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


async def test_health_answers_while_other_calls_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "IDLE_S", 0.5)
    async with serving(tmp_path / "data") as served:
        health: Any = HealthStub(served.channel)
        assert (await health.Check(HealthCheckRequest())).status == HealthCheckResponse.SERVING
        stopping = asyncio.ensure_future(served.stop())
        await until(lambda: served.exchange._intake.closed)
        answer = await health.Check(HealthCheckRequest())
        assert answer.status == HealthCheckResponse.NOT_SERVING
        await stopping


async def test_who_never_ceases_to_call_does_not_hold_up_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "REFUSING_S_MAX", 0.2)
    async with serving(tmp_path / "data") as served:
        stopping = asyncio.ensure_future(served.stop())
        while not stopping.done():
            await _until_refused(served)


async def test_sessions_end_with_a_stop_though_the_journal_has_no_room_for_more_to_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that stands still for a moment: it is waited for, and the stop is a clean one."""
    monkeypatch.setattr(app, "DRAIN_S", 0.05)
    ending = asyncio.Event()
    limits = SequencerLimits(commands_waiting_max=1)
    async with serving(tmp_path / "data", sequencer=limits) as served:

        async def end(sequencer: Sequencer) -> None:
            ending.set()
            await end_sessions(sequencer)

        monkeypatch.setattr(app, "end_sessions", end)
        session = served.orders.TradingSession()
        opening = TradingSessionOpen(client_id="A", cancel_on_disconnect=True)
        await session.write(TradingSessionRequest(open=opening))
        await session.read()
        with HeldJournal(served) as held:
            placing = [asyncio.ensure_future(served.place("B", BUY, 1))]
            await until(held.entered.is_set)
            placing.append(asyncio.ensure_future(served.place("B", BUY, 2)))
            await until(lambda: served.exchange.sequencer.waiting == 2)
            stopping = asyncio.ensure_future(served.stop())
            await ending.wait()
        await stopping
        await asyncio.gather(*placing, return_exceptions=True)
        assert served.engine.open_sessions() == []
        assert served.exchange.sequencer.durable_sequence == served.engine.sequence


async def test_a_session_that_ends_after_the_sequencer_is_left_to_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path / "data") as served:
        session = served.orders.TradingSession()
        opening = TradingSessionOpen(cancel_on_disconnect=True)
        await session.write(TradingSessionRequest(open=opening))
        await session.read()
        opened = served.engine.open_sessions()
        monkeypatch.setattr(app, "end_sessions", AsyncMock())
        await served.exchange.sequencer.stop()
        await session.done_writing()
        assert await session.code() == StatusCode.OK
        assert served.engine.open_sessions() == opened != []
    assert "call failed" not in caplog.messages


async def _until_refused(served: Served) -> Failure:
    while True:
        try:
            await served.place("A", BUY, 100)
        except Failure as failure:
            return failure
