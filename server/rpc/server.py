"""The gRPC server: which services it has, its limits, its port."""

from collections.abc import Sequence
from typing import Any, Final

import grpc

from exchange.v1 import (
    account_service_pb2,
    admin_service_pb2,
    market_data_pb2,
    order_service_pb2,
    part_service_pb2,
)
from server.settings import GrpcLimits

SERVICES: Final = (
    order_service_pb2.DESCRIPTOR.services_by_name["OrderService"].full_name,
    market_data_pb2.DESCRIPTOR.services_by_name["MarketData"].full_name,
    account_service_pb2.DESCRIPTOR.services_by_name["AccountService"].full_name,
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name,
    part_service_pb2.DESCRIPTOR.services_by_name["PartService"].full_name,
)

TAKEN_MIN: Final = 20_000
"""The calls that gRPC takes up at least, however few are let in: what twenty connections bring at
once by default, and ten gateways never do. Each costs some 13 KB until it has been refused."""
PING_INTERVAL_MIN_MS: Final = 10_000
"""Clients may ping an idle connection every ten seconds; more often is cut as abuse."""


class PortTaken(Exception):
    """Somebody else listens at the address."""

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
        # gRPC cancels calls, without a word, once 1,000 wait to be taken up; the bound on calls has
        # a sentence of its own, for which they have to be taken up.
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
    """Make a server without services yet, and not listening."""
    return grpc.aio.server(options=options(limits), maximum_concurrent_rpcs=_taken_max(limits))


def _taken_max(limits: GrpcLimits) -> int:
    """Count the calls that gRPC takes up, with those that `Intake` then refuses."""
    return max(2 * limits.calls_max, TAKEN_MIN)


def bind(server: grpc.aio.Server, address: str) -> int:
    """Take the address: the port; raises `PortTaken`."""
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise PortTaken(address) from error
