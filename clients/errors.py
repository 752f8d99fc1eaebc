"""What can go wrong with a call, told apart by what a caller may do next.

- `RefusedError`: the exchange said no, and nothing happened. `reason`, `field`, `limit` and `value`
  say what to change; `retry_safe` that the same request may succeed later as it is, over a rate
  limit after `retry_after_s`.
- `UnavailableError`: the exchange could not be asked, and nothing happened. Ask again later.
- `OutcomeUnknownError`: the request was sent and no answer came: it may have been applied. Its
  `request` holds the idempotency key: send that again, or read the order by its id.
- `ExchangeError` itself: the connection carried something that is none of these.

Only the exchange's own details (`google.rpc.ErrorInfo`) or a status that is given before a request
is handed on prove that nothing happened; any other failure of a command counts as unknown.
"""

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from clients.decimals import text_of_e8
from clients.requests import Request

DOMAIN = "exchange"
_DETAILS_KEY = "grpc-status-details-bin"
_UNIT = "_e8"
_NUMBER = re.compile(r"-?\b[0-9]+\b", re.ASCII)

# gRPC's own words for a call that no connection could be found for: nothing was sent.
_NEVER_SENT = "failed to connect to all addresses"

# gRPC's own words for a message that it could not send, until it knows how the stream ended.
_NOT_SENT = "Internal error from Core"

# Given by gRPC or the exchange before a request is applied, whoever gives them.
_NOTHING_HAPPENED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
}

# gRPC itself cancels what reaches a server that is just stopping. A call that is cancelled on this
# side ends with asyncio's CancelledError instead.
_NOT_ANSWERED = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
}


class ExchangeError(Exception):
    """A call failed; the message is a whole sentence."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode,
        reason: str = "",
        field: str = "",
        limit: str = "",
        value: str = "",
        retry_safe: bool = False,
        retry_after_s: int = 0,
        request: Request | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.field = field
        self.limit = limit
        self.value = value
        self.retry_safe = retry_safe
        self.retry_after_s = retry_after_s
        """Whole seconds; 0: the exchange did not say."""
        self.request = request

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception's own would make the copy of the message alone.
        return partial(type(self), code=self.code), self.args, self.__dict__


class RefusedError(ExchangeError):
    """The exchange said no, and nothing happened. In batches and sessions a value, not raised."""


class UnavailableError(ExchangeError):
    """The exchange could not be asked, and nothing happened."""


class OutcomeUnknownError(ExchangeError):
    """No answer came to a request that may have been applied."""


@dataclass(frozen=True, slots=True)
class _Details:
    reason: str = ""
    field: str = ""
    limit: str = ""
    value: str = ""
    retry_safe: bool = False
    retry_after_s: int = 0


def error_of(error: grpc.aio.AioRpcError, address: str, request: Request | None) -> ExchangeError:
    """The failure of a call: with a `request` of a command, without one of a read or a stream."""
    code, said = error.code(), error.details() or "no details"
    details = _details(error)
    kind: type[ExchangeError]
    if details.reason and (code not in _NOT_ANSWERED or _before_sequencing(code, details.reason)):
        kind = UnavailableError if code is grpc.StatusCode.UNAVAILABLE else RefusedError
        message = said
    elif code in _NOTHING_HAPPENED:
        kind, message = RefusedError, said
    elif code is grpc.StatusCode.UNAVAILABLE and said.startswith(_NEVER_SENT):
        kind = UnavailableError
        message = f"the exchange at {address} is not reachable, nothing was sent: {said}"
    elif request is not None:
        kind = OutcomeUnknownError
        message = said if details.reason else _unresolved(address, code, said)
    else:
        is_lost = code in _NOT_ANSWERED or (code, said) == (grpc.StatusCode.INTERNAL, _NOT_SENT)
        kind = UnavailableError if is_lost else ExchangeError
        message = f"no answer from {address} ({code.name}: {said})"
    return kind(
        message,
        code=code,
        reason=details.reason,
        field=details.field,
        limit=details.limit,
        value=details.value,
        retry_safe=details.retry_safe,
        retry_after_s=details.retry_after_s,
        request=request,
    )


def in_decimals(field: str, limit: str, value: str) -> tuple[str, str, str]:
    """Name a field without its unit on the wire, its limit and value as the decimals given here."""
    if not field.endswith(_UNIT):
        return field, limit, value
    decimals = (_NUMBER.sub(lambda it: text_of_e8(int(it[0])), text) for text in (limit, value))
    limit, value = (text.replace(_UNIT, "") for text in decimals)
    return field.removesuffix(_UNIT), limit, value


def _unresolved(address: str, code: grpc.StatusCode, said: str) -> str:
    return (
        f"no answer from {address} ({code.name}: {said}): it may have been applied; repeat it with "
        "the same idempotency key, or read the order by its id"
    )


def _before_sequencing(code: grpc.StatusCode, reason: str) -> bool:
    # A deadline that ends the wait for an answer leaves the commit running.
    return code is grpc.StatusCode.UNAVAILABLE or reason == "DEADLINE_PASSED"


def _details(error: grpc.aio.AioRpcError) -> _Details:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            return _details_of(value)
    return _Details()


def _details_of(raw: bytes) -> _Details:
    info = error_details_pb2.ErrorInfo()
    try:
        for detail in status_pb2.Status.FromString(raw).details:
            if detail.Unpack(info) and info.domain == DOMAIN:
                field, limit, value = in_decimals(
                    *(info.metadata.get(name, "") for name in ("field", "limit", "value"))
                )
                return _Details(
                    reason=info.reason,
                    field=field,
                    limit=limit,
                    value=value,
                    retry_safe=info.metadata.get("retry_safe", "") == "true",
                    retry_after_s=int(info.metadata.get("retry_after_s", "0")),
                )
    except (DecodeError, ValueError):
        pass  # details that can't be read prove nothing, and the status code stands without them
    return _Details()
