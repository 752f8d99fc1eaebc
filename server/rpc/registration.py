"""Adding services to the gRPC server, other than the generated code does it.

- Generated code registers each method with the core besides. Then grpc.aio waits for the next call
  of every method by itself, and looks at all those waits again for each call that comes: at forty
  methods that is a tenth of what a call costs.
- Some methods give bytes: what is encoded already, for one or for many, has no serializer.
- Bytes that are no message are refused like anything else. Left to grpc.aio they are a failure of
  the server's, status UNKNOWN, with a stack trace in its log for each.
"""

from collections.abc import Callable, Coroutine, Set
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from grpc.aio import ServicerContext

from server.rpc.errors import EdgeReason, EdgeReject, refuse

Handler = Callable[[Any, ServicerContext[Any, Any]], Coroutine[Any, Any, Any]]

_HANDLERS: Final[dict[tuple[bool, bool], Callable[..., Any]]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
"""By whether requests and replies are streams."""


def register(
    server: grpc.aio.Server,
    service: ServiceDescriptor,
    servicer: object,
    encoded: Set[str] = frozenset(),
) -> None:
    """Add a service whose methods are coroutines; those in `encoded` give bytes."""
    handlers = {}
    for method in service.methods:
        serve = getattr(servicer, method.name)
        reply = GetMessageClass(method.output_type).SerializeToString
        handlers[method.name] = _HANDLERS[method.client_streaming, method.server_streaming](
            serve if method.client_streaming else _judged(serve),
            request_deserializer=_decoder(method),
            response_serializer=None if method.name in encoded else reply,
        )
    generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
    server.add_generic_rpc_handlers((generic,))


def _decoder(method: MethodDescriptor) -> Callable[[bytes], Any]:
    """Gives the request, or what it is to be refused with. Streams get that from their iterator."""
    decode = GetMessageClass(method.input_type).FromString
    name = method.input_type.full_name

    def request_or_refusal(data: bytes) -> Any:
        try:
            return decode(data)
        except DecodeError:
            return EdgeReject(EdgeReason.MESSAGE_INVALID, "request", f"{len(data)} bytes", name)

    return request_or_refusal


def _judged(serve: Handler) -> Handler:
    async def serve_or_refuse(request: Any, context: ServicerContext[Any, Any]) -> Any:
        if type(request) is EdgeReject:
            await refuse(context, request)
        return await serve(request, context)

    return serve_or_refuse
