"""Standard health: whether the exchange serves, and each outside part."""

import asyncio
from collections.abc import Sequence
from typing import Final, cast

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from server.rpc.context import Context
from server.rpc.server import SERVICES

HEALTH: Final = cast("ServiceDescriptor", health_pb2.DESCRIPTOR.services_by_name["Health"])


class Health:
    """`grpc.health.v1.Health`: all services serve, or none does; outside parts have names and
    statuses of their own.

    Who watches is told of the newest state as fast as he reads, and holds nobody up; at a stop he
    is told that too, and his call ends, so that the stop doesn't wait for him.
    """

    def __init__(self) -> None:
        self._statuses: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._stopped = False

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        status = self._statuses.get(request.service)
        if status is None:
            known = ", ".join(filter(None, self._statuses))
            why = f"there is no service {request.service!r:.64}; there are {known}"
            await context.abort(grpc.StatusCode.NOT_FOUND, why)
        return HealthCheckResponse(status=status)

    async def List(self, request: object, context: Context) -> object:
        told = {name: HealthCheckResponse(status=it) for name, it in self._statuses.items()}
        return GetMessageClass(HEALTH.methods_by_name["List"].output_type)(statuses=told)

    async def Watch(self, request: HealthCheckRequest, context: Context) -> None:
        told = None
        while True:
            changed, stopped = self._changed, self._stopped
            status = self._statuses.get(request.service, HealthCheckResponse.SERVICE_UNKNOWN)
            if status != told:
                await context.write(HealthCheckResponse(status=status))
                told = status
            elif stopped:
                return
            else:
                await changed.wait()

    def serving(self, yes: bool) -> None:
        """Tell whether the exchange serves, also those who watch."""
        self._set(("", *SERVICES), yes)

    def part_serving(self, name: str, yes: bool | None) -> None:
        """Tell of an outside part, under its own name; orders are taken without it. None: it is
        disabled, and unknown."""
        self._set((name,), yes)

    def stop(self) -> None:
        """Serve nothing any more; nobody can watch that change."""
        self._stopped = True
        self.serving(False)

    def _set(self, names: Sequence[str], yes: bool | None) -> None:
        for name in names:
            if yes is None:
                self._statuses.pop(name, None)
            else:
                serving, not_serving = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
                self._statuses[name] = serving if yes else not_serving
        self._changed.set()
        self._changed = asyncio.Event()
