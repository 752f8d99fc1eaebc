"""The messages of a book stream, made from a plain book."""

from google_crc32c import value

from clients.decimals import decimal_of_e8
from clients.types import Level
from exchange.v1.market_data_pb2 import StreamOrderBookResponse

E8 = 10**8
SECOND_NS = 10**9

Side = dict[int, int]


class BookServer:
    """A book that one reader follows."""

    def __init__(self) -> None:
        self.bids: Side = {}
        self.asks: Side = {}
        self.sequence = 0
        self.partial = False

    def change(
        self,
        sequence: int,
        bids: Side | None = None,
        asks: Side | None = None,
        *,
        further: tuple[int, int] | None = None,
    ) -> StreamOrderBookResponse:
        """Change levels, 0 takes one away: the delta. `further` adds the bids from a price up, so
        many, as a page; from 0 on it is the last."""
        message = StreamOrderBookResponse(previous_sequence=self.sequence)
        self.sequence = sequence
        if further is not None:
            first, count = further
            self.partial = first > 0
            for price in range(first, first + count):
                if price in self.bids:
                    message.bids.add(price_e8=price, quantity_e8=self.bids[price])
        for own, told, changed in (
            (self.bids, message.bids, bids or {}),
            (self.asks, message.asks, asks or {}),
        ):
            for price, quantity in changed.items():
                own[price] = quantity
                if not quantity:
                    del own[price]
                told.add(price_e8=price, quantity_e8=quantity)
        return self._finished(message)

    def snapshot(self, levels: int | None = None) -> StreamOrderBookResponse:
        """The whole book, or its best levels."""
        message = StreamOrderBookResponse(snapshot=True, previous_sequence=self.sequence)
        bids, asks = self._sorted()
        self.partial = levels is not None
        for price, quantity in bids[:levels]:
            message.bids.add(price_e8=price, quantity_e8=quantity)
        for price, quantity in asks[:levels]:
            message.asks.add(price_e8=price, quantity_e8=quantity)
        return self._finished(message)

    def book(self) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """As a client sees it."""
        bids, asks = (
            tuple(Level(decimal_of_e8(price), decimal_of_e8(size)) for price, size in side)
            for side in self._sorted()
        )
        return bids, asks

    def _sorted(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        return sorted(self.bids.items(), reverse=True), sorted(self.asks.items())

    def _finished(self, message: StreamOrderBookResponse) -> StreamOrderBookResponse:
        sides = [
            ",".join(f"{price}:{size}" for price, size in side[:10]) for side in self._sorted()
        ]
        message.sequence = self.sequence
        message.time_ns = self.sequence * SECOND_NS
        message.checksum = value("|".join(sides).encode())
        message.partial = self.partial
        return message
