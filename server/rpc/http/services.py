"""Mounts the HTTP JSON door on the gRPC server that the gateway's transcoder calls."""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from exchange.http.v1 import market_service_pb2, order_service_pb2, system_service_pb2
from server.rpc.admin_service import AdminService
from server.rpc.deadlines import Deadlines
from server.rpc.http.calls import HttpCalls
from server.rpc.http.market import HttpMarket
from server.rpc.http.orders import HttpOrders
from server.rpc.http.system import HttpSystem
from server.sequencer.sequencer import Sequencer


def add_http_services(
    server: grpc.aio.Server,
    sequencer: Sequencer,
    deadlines: Deadlines,
    admin: AdminService,
    metrics: Callable[[], bytes],
) -> None:
    """Serve `exchange.http.v1`. `admin` gives status and snapshots, `metrics` the text of all
    figures (`server.metrics.Metrics.text`)."""
    calls = HttpCalls(sequencer, deadlines)
    for module, servicer in (
        (order_service_pb2, HttpOrders(calls)),
        (market_service_pb2, HttpMarket(calls, admin)),
        (system_service_pb2, HttpSystem(admin, metrics)),
    ):
        for service in module.DESCRIPTOR.services_by_name.values():
            server.add_generic_rpc_handlers((handlers(service, servicer),))


def handlers(service: ServiceDescriptor, servicer: object) -> grpc.GenericRpcHandler:
    """Each method by its name; replies that are bytes already go out as they are."""
    return grpc.method_handlers_generic_handler(
        service.full_name,
        {
            method.name: grpc.unary_unary_rpc_method_handler(
                getattr(servicer, method.name),
                request_deserializer=GetMessageClass(method.input_type).FromString,
                response_serializer=serialized,
            )
            for method in service.methods
        },
    )


def serialized(reply: Message | bytes) -> bytes:
    return reply if isinstance(reply, bytes) else reply.SerializeToString()


def service_names() -> list[str]:
    """Full names, for health and reflection."""
    modules: tuple[Any, ...] = (order_service_pb2, market_service_pb2, system_service_pb2)
    return [
        service.full_name
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
    ]
