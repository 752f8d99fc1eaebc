"""The gRPC server: its limits, and standard health."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from exchange.v1 import (
    account_service_pb2,
    admin_service_pb2,
    market_data_pb2,
    order_service_pb2,
    part_service_pb2,
)
from server.rpc.context import Context
from server.rpc.intake import Intake
from server.rpc.registration import register
from server.settings import GrpcLimits

SERVICES: Final = (
    order_service_pb2.DESCRIPTOR.services_by_name["OrderService"].full_name,
    market_data_pb2.DESCRIPTOR.services_by_name["MarketData"].full_name,
    account_service_pb2.DESCRIPTOR.services_by_name["AccountService"].full_name,
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name,
    part_service_pb2.DESCRIPTOR.services_by_name["PartService"].full_name,
)

HEALTH: Final = cast("ServiceDescriptor", health_pb2.DESCRIPTOR.services_by_name["Health"])

PING_INTERVAL_MIN_MS: Final = 10_000
"""Clients may ping an idle connection every ten seconds; more often is cut as abuse."""


class PortTaken(Exception):
    """Somebody else listens there."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"gRPC port {address} is taken: stop what listens there, or choose another with"
            " --grpc-port"
        )


def options(limits: GrpcLimits) -> Sequence[tuple[str, Any]]:
    """Channel options; the reasons are with the limits."""
    pending_max = _taken_max(limits)
    return (
        # A second server on the same port would get half of the calls, without an error.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", limits.message_bytes_max),
        ("grpc.max_metadata_size", limits.metadata_bytes_max),
        ("grpc.max_concurrent_streams", limits.calls_per_connection_max),
        # It counts calls that have just ended, and would refuse a client who keeps the bound.
        ("grpc.http.overload_protection", 0),
        # gRPC cancels calls, without a word, once 1,000 wait to be taken up: a burst of that many
        # is within the bound on calls, which has a sentence of its own.
        ("grpc.server.max_pending_requests", pending_max),
        ("grpc.server.max_pending_requests_hard_limit", pending_max),
        # Without probing, window and write buffer are all that a reader who doesn't read can hold.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", limits.window_bytes),
        ("grpc.http2.write_buffer_size", limits.window_bytes),
        ("grpc.keepalive_time_ms", 1_000 * limits.keepalive_s),
        ("grpc.keepalive_timeout_ms", 1_000 * limits.keepalive_timeout_s),
        # A bound of its own on every ping, by default a minute, within which keepalive doesn't act.
        ("grpc.http2.ping_timeout_ms", 1_000 * limits.keepalive_timeout_s),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", PING_INTERVAL_MIN_MS),
    )


def make_server(limits: GrpcLimits) -> grpc.aio.Server:
    """Without services yet, and not listening."""
    return grpc.aio.server(options=options(limits), maximum_concurrent_rpcs=_taken_max(limits))


def _taken_max(limits: GrpcLimits) -> int:
    """Calls that gRPC takes up, those included that `Intake` then refuses."""
    return 2 * limits.calls_max


def bind(server: grpc.aio.Server, address: str) -> int:
    """Take the address: the port; raises `PortTaken`."""
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise PortTaken(address) from error


class Health:
    """`grpc.health.v1.Health`: all services serve, or none does; outside parts have names and
    statuses of their own.

    Who watches is told of the newest state as fast as he reads, and holds nobody up; at a stop he
    is told that too, and his call ends, so that the stop doesn't wait for him.
    """

    def __init__(self, server: grpc.aio.Server, intake: Intake) -> None:
        self._statuses: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._stopped = False
        register(server, HEALTH, self, intake=intake)

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        status = self._statuses.get(request.service)
        if status is None:
            known = ", ".join(filter(None, self._statuses))
            why = f"there is no service {request.service!r:.64}; there are {known}"
            await context.abort(grpc.StatusCode.NOT_FOUND, why)
        return HealthCheckResponse(status=status)

    async def List(self, request: object, context: Context) -> object:
        told = {name: HealthCheckResponse(status=it) for name, it in self._statuses.items()}
        return GetMessageClass(HEALTH.methods_by_name["List"].output_type)(statuses=told)

    async def Watch(self, request: HealthCheckRequest, context: Context) -> None:
        told = None
        while True:
            changed, stopped = self._changed, self._stopped
            status = self._statuses.get(request.service, HealthCheckResponse.SERVICE_UNKNOWN)
            if status != told:
                await context.write(HealthCheckResponse(status=status))
                told = status
            elif stopped:
                return
            else:
                await changed.wait()

    def serving(self, yes: bool) -> None:
        """Tell, also those who watch."""
        status = HealthCheckResponse.SERVING if yes else HealthCheckResponse.NOT_SERVING
        self._set(dict.fromkeys(("", *SERVICES), status))

    def part_serving(self, name: str, yes: bool | None) -> None:
        """Tell of an outside part, under its own name; orders are taken without it. None: it is
        disabled, and unknown."""
        if yes is None:
            self._statuses.pop(name, None)
            self._set({})
            return
        status = HealthCheckResponse.SERVING if yes else HealthCheckResponse.NOT_SERVING
        self._set({name: status})

    def stop(self) -> None:
        """Nothing serves any more, and nobody can watch that change."""
        self._stopped = True
        self.serving(False)

    def _set(self, statuses: Mapping[str, int]) -> None:
        self._statuses.update(statuses)
        self._changed.set()
        self._changed = asyncio.Event()
