"""`grpc.reflection.v1alpha.ServerReflection`: which services there are, and their messages.

The answers are those of grpcio-reflection. Its streams are registered like all others, so that they
count as calls, and are told to end at a stop, which would otherwise wait for them.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final, cast

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection, reflection_pb2

from server.rpc.context import Context
from server.rpc.errors import STOPPING, EdgeReject, refuse
from server.rpc.server import SERVICES

REFLECTION: Final = cast(
    "ServiceDescriptor", reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
)


class Pool:
    """protobuf's pool, which doesn't find a method by itself."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file


class Reflection:
    """Lets clients ask."""

    def __init__(self) -> None:
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        self._library: Any = reflection.aio.ReflectionServicer(names, Pool())
        self._open: set[asyncio.Timeout] = set()

    async def ServerReflectionInfo(self, requests: AsyncIterator[Any], context: Context) -> None:
        try:
            async with asyncio.timeout(None) as until_stop:
                self._open.add(until_stop)
                try:
                    await self._answer(requests, context)
                finally:
                    self._open.discard(until_stop)
        except TimeoutError:
            await refuse(context, STOPPING)

    def stop(self) -> None:
        """End all streams."""
        for each in self._open:
            each.reschedule(0)

    async def _answer(self, requests: AsyncIterator[Any], context: Context) -> None:
        asked = _messages(requests, context)
        async for reply in self._library.ServerReflectionInfo(asked, context):
            await context.write(reply)


async def _messages(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
    async for request in requests:
        if isinstance(request, EdgeReject):
            await refuse(context, request)
        yield request
