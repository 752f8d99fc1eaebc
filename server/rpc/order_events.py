"""The stream of order events."""

from typing import Any, Final

from grpc.aio import ServicerContext

from exchange.v1.order_service_pb2 import StreamOrderEventsRequest
from server.core.checks import ID_PATTERN, is_id
from server.core.rejects import RejectReason
from server.feed.feed import Feed
from server.rpc.errors import EdgeReject, refuse
from server.rpc.streams import send

ENCODED: Final = frozenset({"StreamOrderEvents"})
"""The method of `OrderService` that gives bytes."""


class OrderEvents:
    """Serves `StreamOrderEvents`."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def serve(
        self, request: StreamOrderEventsRequest, context: ServicerContext[Any, Any]
    ) -> None:
        """One call. An unknown client has no orders yet; an unknown instrument is refused."""
        client_id, instrument = request.client_id, request.instrument
        if client_id and not is_id(client_id):
            reject = EdgeReject(RejectReason.ID_INVALID, "client_id", client_id, ID_PATTERN)
            await refuse(context, reject)
        if instrument and not self._feed.is_listed(instrument):
            unknown = EdgeReject(RejectReason.INSTRUMENT_UNKNOWN, "instrument", instrument)
            await refuse(context, unknown)
        after = request.after_sequence if request.HasField("after_sequence") else None
        await send(context, lambda peer: self._feed.read_orders(peer, client_id, instrument, after))
