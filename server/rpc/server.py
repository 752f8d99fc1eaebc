"""The gRPC server: its limits, standard health and reflection."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection

from exchange.v1 import (
    account_service_pb2,
    admin_service_pb2,
    market_data_pb2,
    order_service_pb2,
    part_service_pb2,
)
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
    return (
        # A second server on the same port would get half of the calls, without an error.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", limits.message_bytes_max),
        ("grpc.max_metadata_size", limits.metadata_bytes_max),
        ("grpc.max_concurrent_streams", limits.calls_per_connection_max),
        # gRPC cancels calls, without a word, once 1,000 wait to be taken up: a burst of that many
        # is within the bound on calls, which has a sentence of its own.
        ("grpc.server.max_pending_requests", limits.calls_max),
        ("grpc.server.max_pending_requests_hard_limit", limits.calls_max),
        # Without probing, window and write buffer are all that a reader who doesn't read can hold.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", limits.window_bytes),
        ("grpc.http2.write_buffer_size", limits.window_bytes),
        ("grpc.keepalive_time_ms", 1_000 * limits.keepalive_s),
        ("grpc.keepalive_timeout_ms", 1_000 * limits.keepalive_timeout_s),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", PING_INTERVAL_MIN_MS),
    )


def make_server(limits: GrpcLimits) -> grpc.aio.Server:
    """Without services yet, and not listening."""
    return grpc.aio.server(options=options(limits), maximum_concurrent_rpcs=limits.calls_max)


def bind(server: grpc.aio.Server, address: str) -> int:
    """Take the address: the port; raises `PortTaken`."""
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise PortTaken(address) from error


def add_reflection(server: grpc.aio.Server, names: Iterable[str]) -> None:
    """Let clients ask which services there are."""
    reflection.enable_server_reflection(
        (*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server
    )


class Health:
    """`grpc.health.v1.Health`: all services serve, or none does."""

    def __init__(self, server: grpc.aio.Server, names: Iterable[str]) -> None:
        self._servicer = health.aio.HealthServicer()
        self._names = ("", *names)
        register(server, HEALTH, self._servicer)

    async def serving(self, yes: bool) -> None:
        """Tell, also those who watch."""
        reply = health_pb2.HealthCheckResponse
        for name in self._names:
            await self._servicer.set(name, reply.SERVING if yes else reply.NOT_SERVING)

    async def part_serving(self, name: str, yes: bool) -> None:
        """Tell of an outside part, under its own name; orders are taken without it."""
        reply = health_pb2.HealthCheckResponse
        await self._servicer.set(name, reply.SERVING if yes else reply.NOT_SERVING)
