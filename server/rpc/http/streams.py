"""Streams over HTTP JSON: one message is one line.

The gateway prints the messages of a stream one a line, as they come. Trades are encoded once for
all readers, like those of gRPC; a book's messages are those of gRPC, shown in JSON's words. Readers
that keep up are sent the same bytes, so the newest few are shown once for all.
"""

from functools import lru_cache, partial
from typing import Final

from exchange.http.v1 import market_service_pb2 as messages
from exchange.v1 import market_data_pb2
from server.core.rejects import RejectReason
from server.feed.feed import Feed
from server.rpc.context import Context
from server.rpc.errors import EdgeReject
from server.rpc.event_formats import TradeFormat
from server.rpc.http import parse, present
from server.rpc.http.calls import HttpCalls
from server.rpc.http.doubles import double_of
from server.rpc.streams import send
from server.times import time_text

SHOWN_MAX: Final = 32
"""Messages shown once for all: those of a record for as many instruments, a few MB at the most."""

JSON_PIECE_BYTES: Final = 16 * 1024
"""JSON takes up to three and a half times as many, and readers of lines take 64 KiB by default."""
JSON_TRADES: Final = TradeFormat(
    messages.StreamTradesResponse, present.trade, piece_bytes=JSON_PIECE_BYTES
)


class HttpStreams:
    """The streams of `exchange.http.v1.MarketService`."""

    def __init__(self, calls: HttpCalls, feed: Feed) -> None:
        self._calls = calls
        self._feed = feed

    async def trades(self, request: messages.StreamTradesRequest, context: Context) -> None:
        """Serve one caller of trades."""
        name = await self._listed(request.instrument, context)
        newest = self._feed.readers.sequence
        after = parse.from_sequence(request.from_sequence, newest)
        if isinstance(after, EdgeReject):
            await self._calls.refuse(context, after)
        await send(
            context,
            lambda peer: self._feed.read_json_trades(peer, name, after),
            refuse=self._calls.refuse,
        )

    async def book(self, request: messages.StreamOrderBookRequest, context: Context) -> None:
        """Serve one caller of a book."""
        name = await self._listed(request.instrument, context)
        await send(
            context,
            lambda peer: self._feed.read_book(peer, name),
            partial(book_line, name),
            self._calls.refuse,
        )

    async def _listed(self, name: str, context: Context) -> str:
        instrument = name or parse.INSTRUMENT_DEFAULT
        if not self._feed.is_listed(instrument):
            refused = EdgeReject(RejectReason.INSTRUMENT_UNKNOWN, "instrument", instrument)
            await self._calls.refuse(context, refused)
        return instrument


@lru_cache(maxsize=SHOWN_MAX)
def book_line(instrument: str, data: bytes) -> bytes:
    """Write a message of the book stream in JSON's words."""
    message = market_data_pb2.StreamOrderBookResponse.FromString(data)
    line = messages.StreamOrderBookResponse(
        instrument=instrument,
        type=_kind(message),
        sequence=message.sequence,
        previous_sequence=message.previous_sequence,
        timestamp=time_text(message.time_ns),
        checksum=message.checksum,
        partial=message.partial,
    )
    for add, levels in ((line.bids.add, message.bids), (line.asks.add, message.asks)):
        for level in levels:
            add(price=double_of(level.price_e8), quantity=double_of(level.quantity_e8))
    return line.SerializeToString()


def _kind(message: market_data_pb2.StreamOrderBookResponse) -> str:
    if message.snapshot:
        return "snapshot"
    return "delta" if message.bids or message.asks else "heartbeat"
