"""What the server tells of the parts outside of it, over its own calls."""

from typing import Any

import pytest

from exchange.http.v1.system_service_pb2 import GetHealthRequest
from exchange.http.v1.system_service_pb2_grpc import SystemServiceStub
from exchange.v1.part_service_pb2 import PartReport, ReportPartsRequest
from exchange.v1.part_service_pb2_grpc import PartServiceStub
from tests.rpc.served import Served

pytestmark = pytest.mark.asyncio


async def test_checks_and_sentences_agree_at_any_moment(served: Served) -> None:
    parts: Any = PartServiceStub(served.channel)
    system: Any = SystemServiceStub(served.channel)
    for problem in ("gone", "", "gone again", ""):
        report = PartReport(name="kafka", problem=problem, sequence=served.engine.sequence)
        await parts.ReportParts(ReportPartsRequest(parts=[report]))
        health = await system.GetHealth(GetHealthRequest())
        told = [each for each in health.degraded if "kafka" in each]
        assert health.checks.kafka == ("down" if problem else "healthy")
        assert told == ([f"kafka is down ({problem})"] if problem else [])
