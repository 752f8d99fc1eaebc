"""What the exchange says about itself over HTTP: index, health, figures."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from google.api import annotations_pb2
from google.api.httpbody_pb2 import HttpBody
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from exchange.http.v1 import market_service_pb2, order_service_pb2
from exchange.http.v1 import system_service_pb2 as messages
from server.maintenance.health_state import HealthState
from server.maintenance.outside import PartHealth
from server.rpc.context import Context
from server.rpc.status import VERSION, ExchangeStatus
from server.times import time_text

NAME: Final = "exchange-backend"
HTTP_STATUS: Final = "x-exchange-http-status"
"""Header by which the gateway is told the status of a reply that is no error (`replies.lua`)."""
UINT32_MAX: Final = 2**32 - 1


class HttpSystem:
    """`exchange.http.v1.SystemService`."""

    def __init__(self, status: ExchangeStatus, metrics: Callable[[], Awaitable[bytes]]) -> None:
        self._status = status
        self._metrics = metrics

    async def GetIndex(
        self, _request: messages.GetIndexRequest, _context: Context
    ) -> messages.GetIndexResponse:
        return messages.GetIndexResponse(name=NAME, version=VERSION, endpoints=endpoints())

    async def GetHealth(
        self, _request: messages.GetHealthRequest, context: Context
    ) -> messages.GetHealthResponse:
        """Wait for nothing, the journal included. While the server doesn't serve at all, the
        gateway says 503 without asking."""
        health = self._status.health()
        if health.journal == HealthState.DOWN:
            # Only orders are refused, so the call itself succeeds; the gateway makes it a 503.
            await context.send_initial_metadata(((HTTP_STATUS, "503"),))
        return messages.GetHealthResponse(
            status=health.state,
            timestamp=time_text(time.time_ns()),
            checks=messages.HealthChecks(
                journal=health.journal,
                snapshots=health.snapshots,
                **{name: part.state for name, part in health.parts.items()},
            ),
            degraded=health.degraded,
            behind=messages.HealthBehind(
                **{name: _behind(part) for name, part in health.parts.items()}
            ),
        )

    async def GetMetrics(self, _request: messages.GetMetricsRequest, _context: Context) -> HttpBody:
        return HttpBody(content_type=CONTENT_TYPE_PLAIN_0_0_4, data=await self._metrics())


def _behind(health: PartHealth) -> messages.PartBehind | None:
    if health.state == HealthState.DISABLED:
        return None
    events = min(health.events_behind, UINT32_MAX)
    return messages.PartBehind(events=events, seconds=round(health.seconds_behind, 3))


def endpoints() -> list[str]:
    """List method and path of each route, from the contract."""
    found = []
    for module in (order_service_pb2, market_service_pb2, messages):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                rule = method.GetOptions().Extensions[annotations_pb2.http]
                for each in (rule, *rule.additional_bindings):
                    verb = each.WhichOneof("pattern")
                    found.append(f"{verb.upper()} {getattr(each, verb)}")
    return found
