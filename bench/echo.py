"""What the exchange is measured against: the same messages, the same loop, nothing in between.

A gRPC server that parses each request as the generated servicers do and answers with what the
exchange itself answered to a request of this kind: one reply for a call (of the median size, since
sizes vary with the trades), those of as many messages for a stream, in turn. The reply to a
`PlaceOrder` is a ready message, serialised for each call as in any servicer; those of a session and
of the HTTP service are bytes. Loop, channel options and garbage collection are the server's.
"""

import argparse
from collections.abc import AsyncIterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health_pb2

from bench.figures import read_messages
from exchange.http.v1 import order_service_pb2 as http_pb2
from exchange.v1 import order_service_pb2
from server import collector
from server.rpc.server import bind, make_server
from server.settings import GrpcLimits

Context = grpc.aio.ServicerContext[Any, Any]


def median(replies: Sequence[bytes]) -> bytes:
    """The reply of the median size."""
    return sorted(replies, key=len)[len(replies) // 2]


class Echo:
    """Ready answers, made of what the exchange answered."""

    def __init__(self, replies: Sequence[bytes]) -> None:
        self._bytes = median(replies)
        self._cycle = cycle(replies)
        self._message = order_service_pb2.PlaceOrderResponse()

    async def place(
        self, _request: order_service_pb2.PlaceOrderRequest, _context: Context
    ) -> order_service_pb2.PlaceOrderResponse:
        """A message that is ready."""
        return self._message

    async def place_http(self, _request: http_pb2.PlaceOrderRequest, _context: Context) -> bytes:
        """Bytes that are ready."""
        return self._bytes

    async def session(self, _requests: AsyncIterator[Any], context: Context) -> None:
        """Bytes for each message, the opening one included."""
        while await context.read() is not grpc.aio.EOF:
            await context.write(next(self._cycle))

    async def health(
        self, _request: health_pb2.HealthCheckRequest, _context: Context
    ) -> health_pb2.HealthCheckResponse:
        """The gateway asks."""
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    def handlers(self, way: str) -> tuple[grpc.GenericRpcHandler, ...]:
        """The services, in the shape of generated registration code."""
        if way == "unary":
            self._message = order_service_pb2.PlaceOrderResponse.FromString(self._bytes)
        return (
            grpc.method_handlers_generic_handler(
                "exchange.v1.OrderService",
                {
                    "PlaceOrder": grpc.unary_unary_rpc_method_handler(
                        self.place,
                        order_service_pb2.PlaceOrderRequest.FromString,
                        order_service_pb2.PlaceOrderResponse.SerializeToString,
                    ),
                    "TradingSession": grpc.stream_stream_rpc_method_handler(
                        self.session, order_service_pb2.TradingSessionRequest.FromString
                    ),
                },
            ),
            grpc.method_handlers_generic_handler(
                "exchange.http.v1.OrderService",
                {
                    "PlaceOrder": grpc.unary_unary_rpc_method_handler(
                        self.place_http, http_pb2.PlaceOrderRequest.FromString
                    ),
                },
            ),
            grpc.method_handlers_generic_handler(
                "grpc.health.v1.Health",
                {
                    "Check": grpc.unary_unary_rpc_method_handler(
                        self.health,
                        health_pb2.HealthCheckRequest.FromString,
                        health_pb2.HealthCheckResponse.SerializeToString,
                    ),
                },
            ),
        )


def arguments() -> argparse.Namespace:
    """What to answer, and where."""
    parser = argparse.ArgumentParser(prog="python -m bench.echo", description=__doc__)
    parser.add_argument("way", choices=["session", "unary", "http"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--replies", type=Path, required=True, help="file of the replies to give")
    return parser.parse_args()


async def serve(options: argparse.Namespace) -> None:
    """Answer until the process is ended."""
    server = make_server(GrpcLimits())
    server.add_generic_rpc_handlers(Echo(read_messages(options.replies)).handlers(options.way))
    bind(server, f"127.0.0.1:{options.port}")
    await server.start()
    collector.settle()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(arguments()))
