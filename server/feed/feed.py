"""The feed: whoever subscribed is told what happened, once it is durable.

What only the engine can tell at the end of a record (changed levels, best levels) is noted as it
closes. Once it is durable it is published: book changes, trades, order events, in the order of the
records and each in one go, so that every reader sees records whole. What streams promise and what
they cost is said where they are made: `depth.py`, `event_streams.py`, `fan_out.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from server.core.engine import Engine
from server.feed.activity import Activity
from server.feed.depth import BookReader, Depth, Top, top_of
from server.feed.event_streams import EventReader, EventStreams, Format
from server.feed.fan_out import Readers
from server.feed.resume import Journal
from server.feed.ticker import Rendered, TickerReader
from server.journal.log import NotKept
from server.sequencer.sequencer import Sequencer
from server.sequencer.ticket import ClosedRecord
from server.settings import FeedLimits


class Formats(NamedTuple):
    """How events are encoded."""

    trades: Format
    orders: Format
    json_trades: Format
    """Trades as the JSON door shows them."""


class SequenceAhead(ValueError):
    """Asked to resume after a sequence that doesn't exist yet."""

    def __init__(self, after_sequence: int, sequence: int) -> None:
        super().__init__(f"resume after {after_sequence}, but the last sequence is {sequence}")
        self.after_sequence = after_sequence
        self.sequence = sequence


class Feed:
    """All streams of market data and order events; told of each record by the sequencer."""

    def __init__(
        self, sequencer: Sequencer, log: Journal, formats: Formats, limits: FeedLimits
    ) -> None:
        """Begin where the sequencer stands, which has nothing in flight yet; and listen."""
        engine = sequencer.engine
        assert engine.sequence == sequencer.durable_sequence
        engine.take_touched()
        self.readers = Readers(limits, engine.sequence, engine.time_ns)
        self._log = log
        self._sequencer = sequencer
        self._limits = limits
        self._start = engine.sequence
        self._depths = {
            name: self._depth_from(top_of(engine.book(name))) for name in engine.instruments
        }
        # One thread, so that those who resume cannot crowd out the loop between them.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self.trades = EventStreams("trades", self.readers, log, self._pool, formats.trades)
        self.orders = EventStreams("order_events", self.readers, log, self._pool, formats.orders)
        self.json_trades = EventStreams(
            "json_trades", self.readers, log, self._pool, formats.json_trades
        )
        self.activity = Activity()
        self._changed: list[tuple[str, list[tuple[int, int, int]], Top]] = []
        """Of each book that the record on its way out changed: those levels, and the best ones."""
        sequencer.on_closing.append(self._note)
        sequencer.on_durable.append(self._publish)

    def _note(self, engine: Engine) -> None:
        self._changed = [
            (name, levels, top_of(engine.book(name)))
            for name, levels in engine.take_touched().items()
        ]

    def _publish(self, record: ClosedRecord) -> None:
        readers = self.readers
        self.activity.count(record)
        if readers.stopping:
            # Streams end where they are, however much goes on: what comes now is resumed later.
            return
        sequence, time_ns = record.last_sequence, record.time_ns
        assert record.first_sequence == readers.sequence + 1
        readers.sequence, readers.time_ns = sequence, time_ns
        for name, levels, top in self._changed:
            self._depth(name).change(sequence, time_ns, levels, top)
        self.trades.publish(record)
        self.orders.publish(record)
        self.json_trades.publish(record)

    def is_listed(self, instrument: str) -> bool:
        """Whether there is such an instrument to subscribe to."""
        return instrument in self._sequencer.engine.markets

    def read_book(
        self, peer: str, instrument: str, after_sequence: int | None = None
    ) -> BookReader:
        """A stream of a listed instrument's book. Like the others it is made by the task that
        sends it, for the connection `peer`, and may raise `SequenceAhead`, `TooManyReaders` or
        `ServerStopping`."""
        self._check(after_sequence)
        depth = self._depth(instrument)
        return BookReader(self.readers, peer, self._sequencer, instrument, depth, after_sequence)

    def read_trades(
        self, peer: str, instrument: str = "", after_sequence: int | None = None
    ) -> EventReader:
        """A stream of trades, of one instrument or of all; may also raise `NotKept`."""
        self._check_kept(after_sequence)
        return self.trades.open(peer, "", instrument, after_sequence)

    def read_json_trades(
        self, peer: str, instrument: str = "", after_sequence: int | None = None
    ) -> EventReader:
        """Read trades as the JSON door needs them."""
        self._check_kept(after_sequence)
        return self.json_trades.open(peer, "", instrument, after_sequence)

    def read_ticker(
        self, peer: str, instrument: str, render: Callable[[Engine], Rendered]
    ) -> TickerReader:
        """A stream of what `render` makes of a listed instrument whenever it changed."""
        return TickerReader(self.readers, peer, self._sequencer, self._depth(instrument), render)

    def read_orders(
        self,
        peer: str,
        client_id: str = "",
        instrument: str = "",
        after_sequence: int | None = None,
    ) -> EventReader:
        """A stream of order events, of one client and/or instrument or of all; may also raise
        `NotKept`."""
        self._check_kept(after_sequence)
        return self.orders.open(peer, client_id, instrument, after_sequence)

    def stop(self) -> None:
        """End every stream once what waits for it is sent, and open no other."""
        self.readers.stop()
        self._pool.shutdown(wait=False)

    def _check(self, after_sequence: int | None) -> None:
        if after_sequence is not None and after_sequence > self.readers.sequence:
            raise SequenceAhead(after_sequence, self.readers.sequence)

    def _check_kept(self, after_sequence: int | None) -> None:
        """Further back than streams resume at all, they start afresh and say so."""
        self._check(after_sequence)
        if after_sequence is None:
            return
        first, behind = self._log.first_sequence, self.readers.sequence - after_sequence
        if after_sequence + 1 < first and behind <= self._limits.resume_sequences_max:
            raise NotKept(after_sequence + 1, first)

    def _depth(self, name: str) -> Depth:
        depth = self._depths.get(name)
        if depth is None:
            # Listed since the start: its first order has yet to come, or is in this record.
            depth = self._depths[name] = self._depth_from(Top([], []))
        return depth

    def _depth_from(self, top: Top) -> Depth:
        start = self._start
        return Depth(start, self.readers.time_ns, top, self._limits.book_changes_max)
