"""The context of a call, as all handlers take it."""

from typing import Any

from grpc.aio import ServicerContext

Context = ServicerContext[Any, Any]
