"""Adding services to the gRPC server, other than the generated code does it.

- Generated code registers each method with the core besides. Then grpc.aio waits for the next call
  of every method by itself, and looks at all those waits again for each call that comes: at forty
  methods that is a tenth of what a call costs.
- Some methods give bytes: what is encoded already, for one or for many, has no serializer.
- Each call is named, so that its reply and the lines about it can be found together.
- Calls that end with an error are counted, by method and status; those for health are not, nor who
  ends his own call, nor is there a stack trace for what could no longer be sent to him.
- What meets damage in the journal is refused with its place; who looks after it tells the log.
- What nobody foresaw is told to the log, with its stack, and to the caller in words of ours.
- Calls over their rate limit, those that are one too many and those that come at a stop are refused
  before anything looks at them.
- A call that is over leaves no cycle of references: the collector hardly looks at what is old.
- Bytes that are no message are refused like anything else. Left to grpc.aio they are a failure of
  the server's, status UNKNOWN, with a stack trace in its log for each.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Set
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # no public name for its error

from server import logs
from server.journal.refusals import JournalCorrupt
from server.limits.limiter import Limiter
from server.metrics.load import CallErrors
from server.rpc.context import Context
from server.rpc.errors import EdgeReason, EdgeReject, journal_damaged, refuse
from server.rpc.intake import HEALTH, UNCOUNTED, Intake
from server.rpc.rate_limits import Judge, address_of, judge_of, metadata_of, refused_of
from server.rpc.request_ids import REQUEST_ID, name_of, request_id

Handler = Callable[[Any, Context], Coroutine[Any, Any, Any]]

UNFORESEEN: Final = (
    "an internal error, which the server's log has under this request's id; whether the request was"
    " carried out is unknown: repeat it with the same idempotency key, or read the order by its id"
)

_HANDLERS: Final[dict[tuple[bool, bool], Callable[..., Any]]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
"""The handlers, by whether requests and replies are streams."""


class Services:
    """Adds services to a server."""

    def __init__(
        self,
        server: grpc.aio.Server,
        errors: CallErrors,
        limiters: Mapping[str, Limiter],
        intake: Intake,
    ) -> None:
        self._server = server
        self._errors = errors
        self._limiters = limiters
        self._intake = intake

    def add(
        self, service: ServiceDescriptor, servicer: object, encoded: Set[str] = frozenset()
    ) -> None:
        """Serve this one, whose methods are coroutines; those in `encoded` give bytes."""
        # Who looks after the exchange asks for health whether there is such a part or not.
        errors = CallErrors() if service.full_name == HEALTH else self._errors
        handlers = {}
        for method in service.methods:
            serve: Handler = getattr(servicer, method.name)
            judge = judge_of(method, self._limiters)
            reply = GetMessageClass(method.output_type).SerializeToString
            handlers[method.name] = _HANDLERS[method.client_streaming, method.server_streaming](
                _guarded(serve, method, judge, errors, self._intake),
                request_deserializer=_decoder(method),
                response_serializer=None if method.name in encoded else reply,
            )
        generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
        self._server.add_generic_rpc_handlers((generic,))


def _decoder(method: MethodDescriptor) -> Callable[[bytes], Any]:
    """Make what decodes a request, or gives its refusal. Streams get that from their iterator."""
    decode = GetMessageClass(method.input_type).FromString
    name = method.input_type.full_name

    def request_or_refusal(data: bytes) -> Any:
        try:
            return decode(data)
        except DecodeError:
            return EdgeReject(EdgeReason.MESSAGE_INVALID, "request", f"{len(data)} bytes", name)

    return request_or_refusal


def _guarded(
    serve: Handler,
    method: MethodDescriptor,
    judge: Judge | None,
    errors: CallErrors,
    intake: Intake,
) -> Handler:
    service = method.containing_service.full_name
    endpoint = f"{service}/{method.name}"
    counted = service not in UNCOUNTED or method.server_streaming
    refused_at_stop = service != HEALTH

    async def serve_or_refuse(request: Any, context: Context) -> Any:
        began_ns = time.monotonic_ns() if logs.debugging() else 0
        # Each look at metadata is a copy of all of it, and so is each change: one of each.
        metadata = context.invocation_metadata() or ()
        told = ((REQUEST_ID, name_of(metadata)),)
        intake.calls += counted
        try:
            too_many = counted and intake.calls > intake.calls_max
            if too_many or (refused_at_stop and intake.closed):
                request = intake.refusal()
            if type(request) is EdgeReject:
                context.set_trailing_metadata(told)
                await refuse(context, request)
            elif judge is None:
                context.set_trailing_metadata(told)
            else:
                verdict = judge(request, address_of(context.peer(), metadata))
                context.set_trailing_metadata(told + metadata_of(verdict))
                if verdict.retry_after_ns:
                    await refuse(context, refused_of(verdict))
            try:
                return await serve(request, context)
            except JournalCorrupt as damage:
                refused = journal_damaged(damage)
            await refuse(context, refused)
        except grpc.aio.AbortError as ending:
            errors[endpoint, context.code().name] += 1
            # gRPC keeps it with the call, which the frames and errors before it hold.
            ending.__context__ = ending.__traceback__ = None
            raise
        except cygrpc.ExecuteBatchError:
            # A message could not be sent: the caller has gone.
            raise asyncio.CancelledError from None
        except Exception as error:
            if context.cancelled():
                raise
            # What nobody foresaw. Left to the core the caller would be shown the exception itself.
            errors[endpoint, grpc.StatusCode.UNKNOWN.name] += 1
            logs.failure("call failed", endpoint=endpoint, request_id=request_id(context))
            error.__traceback__ = None
            await context.abort(grpc.StatusCode.UNKNOWN, UNFORESEEN)
        finally:
            intake.calls -= counted
            if began_ns:
                _tell(endpoint, context, began_ns)
            # An error holds this frame; with the call, which keeps the error, it would be a cycle.
            del request, context

    return serve_or_refuse


def _tell(endpoint: str, context: Context, began_ns: int) -> None:
    logs.debug(
        "call",
        endpoint=endpoint,
        code=context.code().name if context.code() else "OK",
        details=context.details(),
        taken_us=(time.monotonic_ns() - began_ns) // 1_000,
        peer=context.peer(),
        request_id=request_id(context),
    )
