"""The single writer: stamps commands, applies them, journals them, and lets replies go.

Theory of operation. There is no queue of commands. `submit` stamps and applies at once, on the
event loop, and the commands and events join the *open record*. While the journal's thread is busy
the record goes on growing; once the thread is idle it is gathered for as long as commands keep
coming: until `GATHER_TURNS` turns of the loop brought none, or it holds `GATHERED_COMMANDS`, or
`GATHER_S` have passed. A loop without anything else to do turns in microseconds, so a command that
is alone waits for nothing; where many callers wait for the loop they share a record, and what a
record costs. So the size of a record follows the load by itself, always with one `fdatasync`, and
the next record is being applied while that runs.

    submit ─▶ apply ─▶ open record ─▶ close: on_closing, views, encode
                                          └─▶ thread: append, fdatasync ─▶ release,
                                                                           on_durable

Invariants
- Sequences are given here and nowhere else, without gaps; a refusal or a repeat uses none.
- All commands of a record have one time: the clock when it was opened, never before the last one.
- At most one record is being appended, at most one is open; `on_durable` is told in order,
  and of each record before the next one closes.
- Nothing is shown before it is durable. A ticket or a read is held until the newest record that had
  been applied when it was judged is durable, refusals and repeats included.
- A failed or uncertain append is final, and so is an error of our own between apply and append:
  `on_failure` is called, which ends the process, and nothing is released any more. What was not
  journaled is gone with the process; start-up recovers what was.

Limits: the open record holds `commands_waiting_max` commands; past that `submit` refuses. While
the journal's disk is full, it refuses whatever holds more than cancels.
"""

import asyncio
import queue
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final, NamedTuple, Protocol, TypeVar

from server.core.commands import CancelOrder, CancelOrders, Command, EndSession, PlaceOrder
from server.core.engine import Engine
from server.core.rejects import Reject
from server.core.types import BUY, LIMIT, MARKET, SELL, Repeat
from server.journal.log import Lost, Position, Unknown
from server.journal.payload import encode_batch
from server.journal.record import BATCH, IDLE, Record
from server.journal.refusals import JournalCorrupt
from server.sequencer.errors import JournalFull, NotServing, NotTaken, Overloaded
from server.sequencer.stand_in import StandIn
from server.sequencer.ticket import (
    Applied,
    ClosedRecord,
    OpenRecord,
    Outcome,
    Ticket,
)
from server.settings import SequencerLimits

T = TypeVar("T")

GATHER_TURNS: Final = 40
"""Some 50 µs of a loop that has nothing else to do: less than one of its syncs varies by."""
GATHER_S: Final = 0.005
"""The time that a caller can lose by those who come after him, who never pause."""
GATHERED_COMMANDS: Final = 100
"""Commands enough for a record's cost to hardly count for each any more."""

_DEFAULTS: Final = SequencerLimits()
_new: Final = tuple.__new__
_ALWAYS_TAKEN: Final = frozenset({CancelOrder, CancelOrders, EndSession})
"""Commands for which room is reserved, though the disk is full."""


class _Append(NamedTuple):
    """Says what the journal's thread is asked to append."""

    kind: int
    first_sequence: int
    command_count: int
    time_ns: int
    payload: bytes


class Journal(Protocol):
    """The part of the journal's `Log` that the sequencer uses."""

    def append(
        self, kind: int, first_sequence: int, count: int, time_ns: int, payload: bytes
    ) -> Position | Lost | Unknown:
        """Write one record and make it durable; never raises. Called from one thread only."""

    def read(self, sequence: int) -> Record:
        """Read the durable record that holds this sequence; raises `JournalCorrupt` where it is
        damaged. Called from any thread."""


class Sequencer:
    """Turns commands into outcomes, one total order, nothing shown before it is durable."""

    def __init__(
        self,
        engine: Engine,
        log: Journal,
        *,
        on_failure: Callable[[str], None],
        clock: Callable[[], int] = time.time_ns,
        limits: SequencerLimits = _DEFAULTS,
    ) -> None:
        """Take over `engine`, which must stand at the end of `log`; then `start`."""
        self.engine = engine
        self.durable_sequence = engine.sequence
        """Everything up to here may be shown."""
        self.on_closing: list[Callable[[Engine], None]] = []
        """Told of each record as soon as it is complete: the engine stands right after it. Like the
        others they are called on the loop, and must be short."""
        self.on_durable: list[Callable[[ClosedRecord], None]] = []
        """Told of each record once it is durable, and so is everything before it."""
        self.refused: Counter[IntEnum] = Counter()
        """Refusals by reason, since the start."""
        self.turned_away: Counter[type[NotTaken]] = Counter()
        """Commands for which there was no room, by why, since the start."""
        self.orders_refused: Counter[tuple[int, int]] = Counter()
        """Refused orders by type and side, 0 for whatever is neither, since the start."""
        self.journal_full = ""
        """Why the journal has no room for new orders; empty while it has. Set from any thread."""
        self._log = log
        self._clock = clock
        self._on_failure = on_failure
        self._limits = limits
        self._open: OpenRecord | None = None
        self._writing: OpenRecord | None = None
        self._closed: ClosedRecord | None = None
        self._idle = True
        self._gathered = self._turns = 0
        self._gather_until_s = 0.0
        self._taking = False
        self._quiet: asyncio.TimerHandle | None = None
        self._work: queue.SimpleQueue[_Append | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._append_all, name="journal", daemon=True)

    # Verbs ------------------------------------------------------------------------------------

    def submit(self, commands: Sequence[Command]) -> Ticket:
        """Stamp and apply `commands` in their order; raises `NotTaken`."""
        if not self._taking:
            raise NotServing
        if self.journal_full and not _ALWAYS_TAKEN.issuperset(map(type, commands)):
            self._count_turned_away(JournalFull, commands)
            raise JournalFull(self.journal_full)
        record = self._open
        waiting = 0 if record is None else len(record.commands)
        if waiting and waiting + len(commands) > self._limits.commands_waiting_max:
            self._count_turned_away(Overloaded, commands)
            raise Overloaded(waiting, self._limits.commands_waiting_max)
        engine = self.engine
        apply = engine.apply
        sequence = sequence_before = engine.sequence
        time_ns = max(self._clock(), engine.time_ns) if record is None else record.time_ns
        outcomes: list[Outcome] = []
        for command in commands:
            try:
                result = apply(command, (sequence + 1, time_ns))
            except Exception as error:
                self._taking = False
                self._on_failure(f"the engine failed on {type(command).__name__}: {error!r}")
                raise
            if type(result) is list:
                if record is None:
                    record = self._begin(sequence + 1, time_ns)
                sequence += 1
                record.commands.append(command)
                record.events.append(result)
                outcomes.append(_new(Applied, (sequence, time_ns, result)))
            else:
                assert isinstance(result, Reject | Repeat)
                outcomes.append(result)
                if isinstance(result, Reject):
                    self._count_refusal(command, result)
        if record is not None and sequence > sequence_before:
            record.submitted_ns.append(time.monotonic_ns())
        return Ticket(outcomes, record or self._writing, self.engine)

    async def read(self, view: Callable[[Engine], T]) -> T:
        """Give what `view` makes of the state as it is now, once all of that is durable."""
        result = view(self.engine)
        record = self._open or self._writing
        if record is not None:
            await record.released()
        return result

    async def at_boundary(self, view: Callable[[Engine], T]) -> T:
        """Read between two records: no event of a later record is in it, none is missing."""
        record = self._open
        if record is None:
            return await self.read(view)
        key = object()
        record.renders[key] = view
        await record.released()
        result: T = record.views[key]
        return result

    async def first_outcomes(self, repeats: Sequence[Repeat]) -> list[Applied | JournalCorrupt]:
        """Read back from the journal what the first commands under repeated keys led to, or the
        damage that is there instead; each record is read once."""
        if not repeats:
            return []
        sequences = [repeat.sequence for repeat in repeats]
        while self.durable_sequence < max(sequences):
            record = self._open or self._writing
            assert record is not None
            await record.released()
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, self._read_back, sorted({*sequences}))
        return [found[sequence] for sequence in sequences]

    @property
    def waiting(self) -> int:
        """Count the commands that were applied and are not yet durable."""
        return self.engine.sequence - self.durable_sequence

    # Life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take commands; on the loop that everything else runs on."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        self._taking = True

    async def stop(self) -> None:
        """Take nothing more, wait until everything is durable and vouched for, end the thread."""
        self._taking = False
        while (record := self._open or self._writing) is not None:
            await record.released()
        self._cancel_quiet()
        if self._thread.is_alive():
            self._append_idle()
            self._work.put(None)
            await self._loop.run_in_executor(None, self._thread.join)

    # The open record --------------------------------------------------------------------------

    def _begin(self, first_sequence: int, time_ns: int) -> OpenRecord:
        record = self._open = OpenRecord(first_sequence, time_ns)
        # A timer that is already due would vouch for commands that are not appended yet.
        self._cancel_quiet()
        if self._idle:
            self._idle = False
            # From here on the thread belongs to this record: an empty one in between would state a
            # sequence that isn't journaled yet.
            self._gather()
        return record

    def _gather(self) -> None:
        """Close the open record as soon as nothing joins it any more."""
        self._gather_until_s = self._loop.time() + GATHER_S
        self._gathered = self._turns = 0
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        record = self._open
        assert record is not None
        count = len(record.commands)
        if count > self._gathered:
            self._gathered, self._turns = count, 0
        self._turns += 1
        if (
            self._turns > GATHER_TURNS
            or count >= GATHERED_COMMANDS
            or self._loop.time() >= self._gather_until_s
        ):
            self._close()
        else:
            self._loop.call_soon(self._turn)

    def _close(self) -> None:
        try:
            self._hand_over()
        except Exception as error:
            self._on_failure(f"closing a record failed: {error!r}")
            raise

    def _hand_over(self) -> None:
        """Close the open record for the journal's thread, which has nothing at this moment."""
        record = self._open
        assert record is not None
        record.closed = True
        self._open, self._writing = None, record
        self._closed = ClosedRecord(record)
        for tell in self.on_closing:
            tell(self.engine)
        for key, render in record.renders.items():
            record.views[key] = render(self.engine)
        payload = encode_batch(record.commands, record.events)
        self._work.put(
            _Append(BATCH, record.first_sequence, len(record.commands), record.time_ns, payload)
        )

    def _appended(self, taken_ns: int) -> None:
        """Go on with the next record once this one is durable, then let replies and feed go."""
        record, closed = self._writing, self._closed
        self._writing = self._closed = None
        if self._open is not None:
            self._gather()
        else:
            self._idle = True
            self._quiet = self._loop.call_later(self._limits.quiet_ms / 1000, self._append_idle)
        if record is not None and closed is not None:
            self.durable_sequence = closed.last_sequence
            closed.sync_ns = taken_ns
            record.release()
            for show in self.on_durable:
                show(closed)

    def _append_idle(self) -> None:
        """Vouch for the last record; it takes the thread like any other, though nobody waits."""
        self._quiet = None
        self._idle = False
        engine = self.engine
        self._work.put(_Append(IDLE, engine.sequence + 1, 0, engine.time_ns, b""))

    def _cancel_quiet(self) -> None:
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None

    def _count_refusal(self, command: Command, reject: Reject) -> None:
        value = reject.value
        self.refused[value.reason if isinstance(value, StandIn) else reject.reason] += 1
        self._count_order(command)

    def _count_turned_away(self, why: type[NotTaken], commands: Sequence[Command]) -> None:
        self.turned_away[why] += len(commands)
        for command in commands:
            self._count_order(command)

    def _count_order(self, command: Command) -> None:
        if isinstance(command, PlaceOrder):
            # A client makes numbers up: as they come they would be counted without an end.
            order_type = command.order_type if command.order_type in (LIMIT, MARKET) else 0
            side = command.side if command.side in (BUY, SELL) else 0
            self.orders_refused[order_type, side] += 1

    # The journal's thread ---------------------------------------------------------------------

    def _append_all(self) -> None:
        while (work := self._work.get()) is not None:
            began_ns = time.monotonic_ns()
            try:
                result = self._log.append(*work)
            except Exception as error:
                self._on_failure(f"appending to the journal failed: {error!r}")
                raise
            if not isinstance(result, Position):
                self._on_failure(f"appending to the journal failed: {result.reason}")
                return
            taken_ns = time.monotonic_ns() - began_ns
            self._loop.call_soon_threadsafe(self._done, work.kind, taken_ns)

    def _done(self, kind: int, taken_ns: int) -> None:
        if kind == BATCH:
            try:
                self._appended(taken_ns)
            except Exception as error:
                self._on_failure(f"showing a record failed: {error!r}")
                raise
        elif self._open is not None:
            self._gather()
        else:
            self._idle = True

    def _read_back(self, sequences: Sequence[int]) -> dict[int, Applied | JournalCorrupt]:
        """Read outcomes back in order. One alone is decoded alone, several with all of a record."""
        found: dict[int, Applied | JournalCorrupt] = {}
        while sequences:
            try:
                record = self._log.read(sequences[0])
            except JournalCorrupt as damage:
                # Its traceback would hold this frame, which holds it.
                found[sequences[0]] = damage.with_traceback(None)
                sequences = sequences[1:]
                continue
            count = bisect_right(sequences, record.last_sequence)
            if count == 1:
                _, events = record.outcome(sequences[0])
                found[sequences[0]] = Applied(sequences[0], record.time_ns, events)
            else:
                all_events = record.events()
                for sequence in sequences[:count]:
                    events = all_events[sequence - record.first_sequence]
                    found[sequence] = Applied(sequence, record.time_ns, events)
            sequences = sequences[count:]
        return found
