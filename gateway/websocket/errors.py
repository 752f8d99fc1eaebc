"""`error` frames, which say what errors say over HTTP."""

from typing import Any, Final

from clients.decimals import NumberInvalidError, text_of_e8
from clients.errors import ExchangeError
from gateway.websocket.requests import BAD_REQUEST, FROM_SEQUENCE, SHOWN_MAX

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
    field, limit, value = refused.field, refused.limit, refused.value
    if field.endswith("_e8"):
        # A replace is a call of gRPC, whose numbers are units of 10^-8.
        limit, value = (
            text_of_e8(int(text)) if text.lstrip("-").isdecimal() else text.replace("_e8", "")
            for text in (limit, value)
        )
    field = field.removesuffix("_e8")
    found = detail(refused.reason, field, limit, value, retry_safe=refused.retry_safe)
    if refused.retry_after_s:
        found["metadata"]["retry_after_s"] = str(refused.retry_after_s)
    return [found]


def unusable_number(frame: dict[str, Any], unusable: NumberInvalidError) -> dict[str, Any]:
    """Make an `error` frame: a replace's number is too large or too fine; an order has the same."""
    field, limit = unusable.field, unusable.limit
    value = str(frame[field])[:SHOWN_MAX]
    sentence = f"{field} {value} is not {limit}: send one that is"
    return error(sentence, BAD_REQUEST, [detail("NUMBER_INVALID", field, limit, value)])


def detail(
    reason: str, field: str, limit: str, value: str, *, retry_safe: bool = False
) -> dict[str, Any]:
    metadata = {"field": field, "limit": limit, "value": value}
    metadata["retry_safe"] = "true" if retry_safe else "false"
    return {"reason": reason, "domain": "exchange", "metadata": metadata}
