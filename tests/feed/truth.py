"""What the journal says happened, and what a reader of its streams got."""

from collections.abc import Iterator
from typing import Any

from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from server.core.events import Event, OrderEvent, Traded
from server.journal.record import decode_frame
from tests.feed.market import Failure, Market, seconds

Name = tuple[int, int, str]
"""(sequence, index, order or trade id)."""


def journaled(market: Market) -> Iterator[tuple[int, int, Event]]:
    """Everything that happened, as the journal has it."""
    for frame in market.log.follow(0):
        record = decode_frame(frame)
        for sequence, events in enumerate(record.events(), record.first_sequence):
            for index, event in enumerate(events):
                yield sequence, index, event


def trades_of(market: Market, instrument: str = "", after: int = 0) -> list[Name]:
    return [
        (sequence, index, f"T{sequence}-{index}")
        for sequence, index, event in journaled(market)
        if isinstance(event, Traded) and sequence > after and instrument in ("", event.instrument)
    ]


def order_events_of(
    market: Market, client_id: str = "", instrument: str = "", after: int = 0
) -> list[Name]:
    found = []
    for sequence, index, event in journaled(market):
        if isinstance(event, Traded):
            orders = [
                (event.maker_client_id, event.maker_order_id),
                (event.taker_client_id, event.taker_order_id),
            ]
        elif isinstance(event, OrderEvent):
            orders = [(event.client_id, event.order_id)]
        else:
            continue
        if sequence > after and instrument in ("", event.instrument):
            found += [(sequence, index, own) for who, own in orders if client_id in ("", who)]
    return found


class Collector:
    """What a reader got, over any number of streams; the chain is checked on arrival."""

    def __init__(self) -> None:
        self.sequence = -1
        self.names: list[Name] = []
        self.messages: list[Any] = []
        self.restarted = False

    def take(self, message: Any, first: bool) -> None:
        if message.restarted:
            assert first
            self.restarted = True
        if self.sequence < 0 or message.restarted:
            self.sequence = message.previous_sequence
        assert message.previous_sequence == self.sequence
        assert message.sequence >= message.previous_sequence
        if hasattr(message, "trades"):
            names = [(each.sequence, each.index, each.trade_id) for each in message.trades]
        else:
            names = [(each.sequence, each.index, each.order.order_id) for each in message.events]
        self.names += names
        self.sequence = message.sequence
        self.messages.append(message)

    async def read(self, stream: Any, until: int) -> None:
        """Read from the beginning of a stream until everything up to a sequence is there."""
        first = True
        while first or self.sequence < until:
            self.take(await seconds(stream.read()), first)
            first = False

    async def go_on(self, stream: Any, until: int) -> None:
        """Read on until everything up to a sequence is there."""
        while self.sequence < until:
            self.take(await seconds(stream.read()), first=False)

    async def to_the_end(self, stream: Any) -> Failure:
        """Read on until the stream fails, and how."""
        try:
            while True:
                self.take(await seconds(stream.read()), first=False)
        except Failure as failure:
            return failure


def info_of(failure: Failure) -> ErrorInfo:
    """The machine-readable part of a failure."""
    details = dict(failure.trailing_metadata())["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    info = ErrorInfo()
    assert Status.FromString(details).details[0].Unpack(info)
    return info
