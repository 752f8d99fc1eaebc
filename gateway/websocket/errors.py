"""`error` frames, which say what errors say over HTTP."""

from typing import Any, Final

from clients.errors import ExchangeError
from gateway.websocket.requests import FROM_SEQUENCE

INTERNAL: Final = 13


def error(sentence: str, code: int, details: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Make an `error` frame without its time."""
    return {"type": "error", "error": sentence, "code": code, "details": details or []}


def ended(name: str, failure: BaseException) -> dict[str, Any]:
    """Make an `error` frame for a channel that sends nothing any more."""
    if isinstance(failure, ExchangeError):
        message, details = failure.message, details_of(failure)
        if failure.field == "after_sequence" and failure.value.isdecimal():
            # Frames name the first sequence that is wanted, calls of gRPC the one before it.
            first = str(int(failure.value) + 1)
            message = message.replace(failure.field, FROM_SEQUENCE, 1)
            message = message.replace(failure.value, first, 1)
            details[0]["metadata"] |= {"field": FROM_SEQUENCE, "value": first}
        answer = error(message, failure.code.value[0], details)
    else:
        answer = error(f"the updates of {name} ended by a fault: subscribe again", INTERNAL)
    return answer | {"channel": name}


def details_of(refused: ExchangeError) -> list[dict[str, Any]]:
    """Give what programs go by, as over HTTP."""
    if not refused.reason:
        return []
    metadata = {"field": refused.field, "limit": refused.limit, "value": refused.value}
    metadata["retry_safe"] = "true" if refused.retry_safe else "false"
    if refused.retry_after_s:
        metadata["retry_after_s"] = str(refused.retry_after_s)
    return [{"reason": refused.reason, "domain": "exchange", "metadata": metadata}]
