"""A failed call becomes the error that says what may be done next."""

import copy
import pickle
from collections.abc import Iterator
from importlib import import_module
from inspect import getmembers, isclass
from pkgutil import walk_packages

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

import clients
from clients.errors import (
    ExchangeError,
    OutcomeUnknownError,
    RefusedError,
    UnavailableError,
    error_of,
)
from clients.fields import FieldInvalidError
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


def public_errors() -> set[type[Exception]]:
    modules = [import_module(each.name) for each in walk_packages(clients.__path__, "clients.")]
    return {
        kind
        for module in modules
        for name, kind in getmembers(module, isclass)
        if issubclass(kind, Exception)
        and kind.__module__ == module.__name__
        and not name.startswith("_")
    }


def made(kind: type[Exception]) -> Exception:
    """One in which nothing is as it is by default."""
    error: Exception
    if issubclass(kind, ExchangeError):
        error = kind(
            "price is …",
            code=Code.INVALID_ARGUMENT,
            reason="PRICE_OFF_TICK",
            field="price",
            limit="100",
            value="150",
            retry_safe=True,
            retry_after_s=3,
            request=[ORDER],
        )
    elif issubclass(kind, FieldInvalidError):
        error = kind("quantity", "a decimal", 0.1)
    else:
        error = kind("said")
    error.add_note("noted")
    return error


def copies(error: Exception) -> Iterator[Exception]:
    """The first is what a worker of another process has raised."""
    yield pickle.loads(pickle.dumps(error))
    yield copy.copy(error)
    yield copy.deepcopy(error)


def test_errors_can_be_copied_and_sent_to_another_process() -> None:
    kinds = public_errors()
    assert kinds >= {RefusedError, UnavailableError, OutcomeUnknownError, FieldInvalidError}
    for error in map(made, kinds):
        for copied in copies(error):
            assert type(copied) is type(error)
            assert (str(copied), copied.args) == (str(error), error.args)
            assert vars(copied) == vars(error)
            assert copied.__notes__ == ["noted"]
