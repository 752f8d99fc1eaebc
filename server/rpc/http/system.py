"""What the exchange says about itself over HTTP: index, health, figures."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from google.api import annotations_pb2
from google.api.httpbody_pb2 import HttpBody
from grpc.aio import ServicerContext
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from exchange.http.v1 import market_service_pb2, order_service_pb2
from exchange.http.v1 import system_service_pb2 as messages
from exchange.v1 import admin_service_pb2
from server.rpc.admin_service import VERSION, AdminService
from server.rpc.followers import SNAPSHOTS
from server.rpc.http import present

Context = ServicerContext[Any, Any]

NAME: Final = "exchange-backend"
HEALTHY: Final = "healthy"
DISABLED: Final = "disabled"


class HttpSystem:
    """`exchange.http.v1.SystemService`."""

    def __init__(self, admin: AdminService, metrics: Callable[[], Awaitable[bytes]]) -> None:
        self._admin = admin
        self._metrics = metrics

    async def GetIndex(
        self, _request: messages.GetIndexRequest, _context: Context
    ) -> messages.GetIndexResponse:
        return messages.GetIndexResponse(name=NAME, version=VERSION, endpoints=endpoints())

    async def GetHealth(
        self, _request: messages.GetHealthRequest, context: Context
    ) -> messages.GetHealthResponse:
        """Answered only while orders are taken: before and after, the gateway says 503."""
        status = await self._admin.GetStatus(admin_service_pb2.GetStatusRequest(), context)
        snapshots = any(each.name == SNAPSHOTS and each.connected for each in status.followers)
        return messages.GetHealthResponse(
            status="degraded" if status.degraded or not snapshots else HEALTHY,
            timestamp=present.time_text(time.time_ns()),
            checks=messages.HealthChecks(
                journal=HEALTHY,
                snapshots=HEALTHY if snapshots else "unhealthy",
                postgres=DISABLED,
                redis=DISABLED,
                kafka=DISABLED,
            ),
            degraded=status.degraded,
        )

    async def GetMetrics(self, _request: messages.GetMetricsRequest, _context: Context) -> HttpBody:
        return HttpBody(content_type=CONTENT_TYPE_PLAIN_0_0_4, data=await self._metrics())


def endpoints() -> list[str]:
    """Method and path of each route, from the contract."""
    found = []
    for module in (order_service_pb2, market_service_pb2, messages):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                rule = method.GetOptions().Extensions[annotations_pb2.http]
                for each in (rule, *rule.additional_bindings):
                    verb = each.WhichOneof("pattern")
                    found.append(f"{verb.upper()} {getattr(each, verb)}")
    return found
