"""A failed call becomes the error that says what may be done next."""

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from clients.errors import (
    ExchangeError,
    OutcomeUnknownError,
    RefusedError,
    UnavailableError,
    error_of,
)
from clients.order_wire import refused_of
from clients.requests import PlaceOrder
from exchange.v1 import types_pb2
from tests.clients.faults import refusal_details

ORDER = PlaceOrder("alice", "BTC-USD", "buy", "1", price="2", idempotency_key="k-1")
Code = grpc.StatusCode


def failed(
    code: Code,
    details: str = "said",
    reason: str = "",
    domain: str = "exchange",
    retry_after_s: int = 0,
) -> AioRpcError:
    trailing = refusal_details(code, details, reason, True, domain, retry_after_s) if reason else ()
    return AioRpcError(code, Metadata(), Metadata(*trailing), details=details)


@pytest.mark.parametrize(
    ("error", "of_command", "of_read"),
    [
        (failed(Code.INVALID_ARGUMENT, reason="PRICE_OFF_TICK"), RefusedError, RefusedError),
        (failed(Code.RESOURCE_EXHAUSTED, reason="OVERLOADED"), RefusedError, RefusedError),
        (failed(Code.UNAVAILABLE, reason="NOT_SERVING"), UnavailableError, UnavailableError),
        (failed(Code.DEADLINE_EXCEEDED, reason="DEADLINE_PASSED"), RefusedError, RefusedError),
        (
            failed(Code.DEADLINE_EXCEEDED, reason="OUTCOME_UNKNOWN"),
            OutcomeUnknownError,
            UnavailableError,
        ),
        # Details of somebody else prove nothing.
        (
            failed(Code.UNAVAILABLE, reason="NOT_SERVING", domain="proxy"),
            OutcomeUnknownError,
            UnavailableError,
        ),
        (failed(Code.INVALID_ARGUMENT), RefusedError, RefusedError),
        (failed(Code.UNIMPLEMENTED), RefusedError, RefusedError),
        (
            failed(Code.UNAVAILABLE, "failed to connect to all addresses; last error: …"),
            UnavailableError,
            UnavailableError,
        ),
        (failed(Code.UNAVAILABLE, "Socket closed"), OutcomeUnknownError, UnavailableError),
        (failed(Code.DEADLINE_EXCEEDED), OutcomeUnknownError, UnavailableError),
        # gRPC's own, of what reaches a server that is just stopping.
        (failed(Code.CANCELLED, "CANCELLED"), OutcomeUnknownError, UnavailableError),
        (failed(Code.RESOURCE_EXHAUSTED), OutcomeUnknownError, ExchangeError),
        (failed(Code.INTERNAL), OutcomeUnknownError, ExchangeError),
        # A message of a session that finds its line gone.
        (
            failed(Code.INTERNAL, "Internal error from Core"),
            OutcomeUnknownError,
            UnavailableError,
        ),
        (failed(Code.UNKNOWN), OutcomeUnknownError, ExchangeError),
    ],
)
def test_kind(
    error: AioRpcError, of_command: type[ExchangeError], of_read: type[ExchangeError]
) -> None:
    assert type(error_of(error, "host:1", ORDER)) is of_command
    assert type(error_of(error, "host:1", None)) is of_read


def test_details_are_kept() -> None:
    error = error_of(failed(Code.INVALID_ARGUMENT, "price is …", "PRICE_OFF_TICK"), "host:1", ORDER)
    assert (error.reason, error.field, error.limit, error.value, error.retry_safe) == (
        "PRICE_OFF_TICK", "price", "100", "150", True,
    )  # fmt: skip
    assert error.retry_after_s == 0
    assert str(error) == error.message == "price is …"
    assert error.code is Code.INVALID_ARGUMENT


def test_it_is_told_when_the_same_would_pass() -> None:
    limited = failed(Code.RESOURCE_EXHAUSTED, reason="RATE_LIMITED", retry_after_s=3)
    assert error_of(limited, "host:1", ORDER).retry_after_s == 3
    among = types_pb2.Refusal(reason=types_pb2.REJECT_REASON_RATE_LIMITED, retry_after_s=3)
    assert refused_of(among).retry_after_s == 3


def test_unknown_outcome_says_how_to_resolve_it() -> None:
    error = error_of(failed(Code.UNAVAILABLE, "Socket closed"), "host:1", ORDER)
    assert error.request is ORDER
    assert "no answer from host:1 (UNAVAILABLE: Socket closed)" in str(error)
    assert "same idempotency key" in str(error)


def test_details_that_cannot_be_read_are_none() -> None:
    error = AioRpcError(
        Code.INVALID_ARGUMENT, Metadata(), Metadata(("grpc-status-details-bin", b"\xff\xff"))
    )
    assert error_of(error, "host:1", ORDER).reason == ""
