"""How a call of the fake exchange fails."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from clients.decimals import E8

Context = grpc.aio.ServicerContext[Any, Any]
Fault = Callable[[Context], Awaitable[None]]


def refusal_details(
    code: grpc.StatusCode,
    message: str,
    reason: str,
    retry_safe: bool,
    domain: str = "exchange",
    retry_after_s: int = 0,
) -> tuple[tuple[str, bytes], ...]:
    """Trailing metadata as the exchange sends it with a refusal."""
    metadata = {"field": "price_e8", "limit": str(100 * E8), "value": str(150 * E8)}
    metadata["retry_safe"] = "true" if retry_safe else "false"
    if retry_after_s:
        metadata["retry_after_s"] = str(retry_after_s)
    packed = Packed()
    packed.Pack(ErrorInfo(reason=reason, domain=domain, metadata=metadata))
    status = Status(code=code.value[0], message=message, details=[packed])
    return (("grpc-status-details-bin", status.SerializeToString()),)


def refuse(
    code: grpc.StatusCode, reason: str = "", message: str = "no", *, retry_safe: bool = False
) -> Fault:
    """End the call before anything happened; without a reason as gRPC itself would."""

    async def fault(context: Context) -> None:
        details = refusal_details(code, message, reason, retry_safe) if reason else ()
        await context.abort(code, message, details)

    return fault


async def hang(context: Context) -> None:
    """Never answer."""
    await asyncio.Event().wait()
