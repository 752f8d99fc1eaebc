"""A copy of one order book that repairs itself, made from the messages of its stream.

    async with aclosing(exchange.follow_book("BTC-USD")) as books:
        async for book in books:
            print(book.sequence, book.best_bid, book.best_ask, book.restarted)

The first message is the whole book, later ones hold the levels that changed. The copy is right
because each message is checked before it counts:

- its `previous_sequence` is the sequence of the message before, so nothing is missing between;
- the checksum over the ten best levels a side is the one that the exchange made, so what is there
  is right. A level further out is checked by nothing but the first rule until it gets there.

What fails a check raises `OutOfStepError`, and the copy has to start afresh from a snapshot; what
was only interrupted is gone on with after `sequence`, if the exchange still has the changes since.
Either way `restarted` says why a snapshot replaced the copy, so that a reader who compares books or
counts changes knows that some came unseen.

The snapshot of a deep book is its best levels; the levels further out come with the deltas that
follow. Until then the copy is `partial`: good at the top, short at the bottom. Interrupted there,
it can only start afresh, since no delta tells a level that did not change.

Prices and quantities are kept as the wire's integers and made decimals when looked at. Costs: a
changed level about 1 µs, a new price a bisection and a move of pointers, many new prices one sort,
the checksum 10 µs.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from datetime import datetime
from decimal import Context, Decimal

from google_crc32c import value as crc32c

from clients.decimals import decimal_of_e8
from clients.order_wire import time_of
from clients.types import Book, Level, Side
from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from exchange.v1.types_pb2 import Level as WireLevel

CHECKSUM_LEVELS = 10  # a side: the protocol's
EXACT = Context(prec=24)  # digits: of half the sum of two prices, whatever the caller's context has
SORTED_COUNT = 100  # prices that come or go: from so many on all are sorted, not moved for each
SORTED_PART = 50  # and where they are at least one in so many


class OutOfStepError(Exception):
    """A message does not follow on what came before; the message says how."""


class _Levels:
    """One side: quantities by price, and the prices sorted with the best one last."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._keys: list[int] = []
        self._quantities: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def clear(self) -> None:
        self._keys.clear()
        self._quantities.clear()

    def take(self, levels: Iterable[WireLevel]) -> None:
        """Take changed levels in."""
        keys, quantities = self._keys, self._quantities
        new: list[int] = []
        gone: list[int] = []
        for level in levels:
            key, quantity_e8 = self._sign * level.price_e8, level.quantity_e8
            if quantity_e8:
                if key not in quantities:
                    new.append(key)
                quantities[key] = quantity_e8
            elif quantities.pop(key, 0):
                gone.append(key)
        # To place one key moves all behind it; to sort looks up all of them.
        if len(new) + len(gone) >= max(SORTED_COUNT, len(keys) // SORTED_PART):
            keys[:] = sorted(quantities)
            return
        for key in new:
            insort(keys, key)
        for key in gone:
            del keys[bisect_left(keys, key)]

    def best(self, count: int | None, beyond_e8: int | None = None) -> list[tuple[int, int]]:
        """(price, quantity), best first; all of them for None. Only those worse than a price, if
        one is given."""
        keys = self._keys
        end = len(keys) if beyond_e8 is None else bisect_left(keys, self._sign * beyond_e8)
        keys = keys[0 if count is None else max(0, end - count) : end]
        return [(self._sign * key, self._quantities[key]) for key in reversed(keys)]


class BookMirror:
    """The book of an instrument as of `sequence`; empty before the first message, and then at 0."""

    def __init__(self, instrument: str) -> None:
        self.instrument = instrument
        self.begun = False
        """There has been a message: so it is with every copy that a client hands out."""
        self.sequence = 0
        """The copy is the exchange's book at this sequence."""
        self.partial = False
        """Levels further out are still to come."""
        self.restarted = ""
        """Why the last message replaced the copy; empty for the first one, and for a delta."""
        self.restart_count = 0
        """How often that has been so."""
        self._time_ns = 0
        self._sides = {Side.BUY: _Levels(1), Side.SELL: _Levels(-1)}

    @property
    def time(self) -> datetime:
        """Gives the time of the sequence."""
        return time_of(self._time_ns)

    @property
    def best_bid(self) -> Level | None:
        """The highest price that somebody buys at."""
        return next(iter(self.levels(Side.BUY, 1)), None)

    @property
    def best_ask(self) -> Level | None:
        """The lowest price that somebody sells at."""
        return next(iter(self.levels(Side.SELL, 1)), None)

    @property
    def mid(self) -> Decimal | None:
        """Half-way between the best prices; None unless there are both."""
        bid, ask = self.best_bid, self.best_ask
        return EXACT.divide(EXACT.add(bid.price, ask.price), 2) if bid and ask else None

    def depth(self, side: Side | str) -> int:
        """How many levels a side has."""
        return len(self._sides[Side(side)])

    def levels(self, side: Side | str, count: int | None = None) -> tuple[Level, ...]:
        """The best levels of a side, best first; None for all."""
        return tuple(
            Level(decimal_of_e8(price_e8), decimal_of_e8(quantity_e8))
            for price_e8, quantity_e8 in self.levels_e8(side, count)
        )

    def levels_e8(
        self, side: Side | str, count: int | None = None, beyond_e8: int | None = None
    ) -> list[tuple[int, int]]:
        """The same as prices and quantities in the wire's integers, for who reads very many; only
        those further out than a price, if one is given."""
        return self._sides[Side(side)].best(count, beyond_e8)

    def book(self, levels: int | None = 20) -> Book:
        """A copy that stays as it is, in the form that `ExchangeClient.book` gives."""
        return Book(
            instrument=self.instrument,
            bids=self.levels(Side.BUY, levels),
            asks=self.levels(Side.SELL, levels),
            sequence=self.sequence,
            time=self.time,
        )

    def take(self, message: StreamOrderBookResponse, why: str = "") -> None:
        """Take the next message in; `why` says what led to a snapshot, where the reader knows.

        Raises `OutOfStepError`; the copy is then good for nothing but starting afresh.
        """
        if message.snapshot:
            self._start(why)
        elif not self.begun:
            raise OutOfStepError(
                f"the book of {self.instrument} begins with what changed after sequence "
                f"{message.previous_sequence}: the snapshot before it is missing"
            )
        elif message.previous_sequence != self.sequence:
            raise OutOfStepError(
                f"the book of {self.instrument} stands at sequence {self.sequence}, and the next "
                f"message follows on {message.previous_sequence}: something between is missing"
            )
        else:
            self.restarted = ""
        for side, levels in ((Side.BUY, message.bids), (Side.SELL, message.asks)):
            self._sides[side].take(levels)
        checksum = self._checksum()
        if checksum != message.checksum:
            raise OutOfStepError(
                f"the book of {self.instrument} at sequence {message.sequence} has checksum "
                f"{checksum}, and the exchange's has {message.checksum}"
            )
        self.begun = True
        self.sequence = message.sequence
        self.partial = message.partial
        self._time_ns = message.time_ns

    def _start(self, why: str) -> None:
        if not self.begun:
            self.restarted = ""
        else:
            self.restart_count += 1
            self.restarted = why or (
                f"the exchange no longer has the changes after sequence {self.sequence}"
            )
        for side in self._sides.values():
            side.clear()

    def _checksum(self) -> int:
        text = "|".join(
            ",".join(
                f"{price_e8}:{quantity_e8}" for price_e8, quantity_e8 in side.best(CHECKSUM_LEVELS)
            )
            for side in self._sides.values()
        )
        checksum: int = crc32c(text.encode())
        return checksum
