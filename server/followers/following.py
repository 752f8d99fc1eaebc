"""What keeps an outside part in step with the journal: the shape that all such followers share.

A follower is anything with a `name`, a time `gather_s`, what a person can do when it can't go on,
what it `held` when it was opened, and

    open()  -> Reached   connect, and say from where on that part needs the journal;
    begin(durable_sequence)
                         told what was durable when the journal was served from there;
    take(records, progress)
                         bring these in, in order; when it returns, they are safe there, and the
                         position with them, or it gives an earlier one to keep the journal after;
                         where it takes them in parts, it tells `progress` of each that is safe;
    check()              raise if what was taken is there no more; asked while nothing happens;
    close()              let go of everything; may be called at any time, also twice.

`Following(follower, address).run()` does the rest, one for each follower, as tasks of one process:

- Each has its own stream of the journal and its own position, so none waits for another. Between
  stream and part there are at most `WAITING_BYTES_MAX` of records, all that memory ever holds; a
  part that is slow holds back its stream, and with that nothing but itself.
- What waits is taken together: the further behind, the larger the batch, up to that bound. After a
  batch of less than `GATHERED_BYTES` the part has its `gather_s`, since small ones cost the most.
- Only records that hold commands are handed on, each once for each `open`, and none up to the
  position that `open` gave. A part that keeps its position with its rows takes each exactly once.
- Any exception but `FollowerStopped` closes the part and opens it again after a delay that
  grows to `retry_max_s`: what keeps failing is left alone for that long each time. A line is said
  when it fails, when it fails for another reason, and when it is back; never for each attempt.
- `FollowerStopped` (the database is of another journal, say, or an emptied one asks for what the
  journal holds no more) is for a person to decide on: it is said, and tried again after the longest
  delay.
- So is damage in the journal, which the part gets up to there.
- A part that was never there has `STARTING_S` before a line is said.
- A stream that is refused after it was served, as when the server was put back from a copy, closes
  the part and opens it again too: only where the part is then tells whether it can go on.
- Where the part is counts, and is reported, once the server has taken it for a position of its
  journal, and the last that it holds for another; else the part has nothing of that journal.
- `problem` is why it does not go on: the part's own, or that there is no journal. How far
  behind it is, the server knows.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final, Protocol

from server.delays import Delays
from server.followers.journal_reader import (
    JournalDamaged,
    JournalDiffers,
    JournalEndsBefore,
    JournalNotKept,
    JournalOther,
    JournalReader,
    Progress,
    Reached,
    records,
)
from server.journal.record import BATCH, HEADER_BYTES, Record
from server.outage_lines import reason

WAITING_BYTES_MAX: Final = 4 << 20
"""Records that wait for one part: four messages, some 15,000 orders."""
GATHERED_BYTES: Final = 512 << 10
"""Some 1,800 orders: what is gained by more is little."""
RETRY_MAX_S: Final = 5.0
QUIET_S: Final = 1.0
"""Without anything to take, after which the part is checked: what is taken would show by itself
that it was wiped."""
OWN: Final = "give this exchange one of its own"
REPORT_S: Final = 0.2
"""Between two reports: a call costs the server as much as an order, and batches may be small."""
STARTING_S: Final = 3.0
"""What a part that was never there may take before a line is said of it: embedded ones start
beside this, and are there a little later."""


class FollowerStopped(Exception):
    """Trying again changes nothing until a person has done something; the message says what."""


class Follower(Protocol):
    """An outside part, as `Following` sees it."""

    name: str
    gather_s: float
    """From the beginning of a small batch to the next, in which more can come together."""
    remedy_not_kept: str
    """What a person can do where the journal that it asks for is no longer kept, besides putting
    archived files back; empty where there is nothing else."""
    remedy_differs: str
    """The same where it holds what the journal doesn't."""

    @property
    def held(self) -> Reached | None:
        """The last of the journal that it held when it was opened, which may be later than where
        it needs the journal from; None where it is the same."""

    async def open(self) -> Reached:
        """Connect, and say after where it needs the journal."""

    def begin(self, durable_sequence: int) -> None:
        """The journal is served from where the part was opened, and is durable up to here."""

    async def take(self, records: list[Record], progress: Progress, /) -> int | None:
        """Bring these in; they have commands and follow what was taken before. Gives the sequence
        after which the journal is needed if it has to be opened again; None: that of the last."""

    async def check(self) -> None:
        """Raise if what was taken is there no more."""

    async def close(self) -> None:
        """Let go of everything."""


class Following:
    """One follower, kept going."""

    def __init__(
        self,
        follower: Follower,
        address: str,
        say: Callable[[str], None],
        retry_max_s: float = RETRY_MAX_S,
    ) -> None:
        self.name = follower.name
        self.reached = Reached(0)
        self._accepted = asyncio.Event()
        """Where the part was when it was opened is a position of this journal."""
        self._keep_after: int | None = None
        self._durable_sequence = 0
        self.problem = self._told = "not connected yet"
        """Why it does not go on, empty when it does; and what was last said of it."""
        self._absence = ""
        """What was last said of a journal that is not there."""
        self._opens = False
        """The last attempt to open the part succeeded."""
        self._read_to = Reached(0)
        """What was read of the journal, taken or not."""
        self._began_s = time.monotonic()
        self._was_there = False
        self._delays = Delays(retry_max_s)
        self._follower = follower
        self._address = address
        self._say = say
        self._waiting: list[Record] = []
        self._waiting_bytes = 0
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Follow until it is cancelled."""
        while True:
            try:
                await self._follow()
            except Exception as error:  # whatever an outside part answers with
                self._note(error)
            finally:
                with contextlib.suppress(Exception):
                    await self._follower.close()
            await asyncio.sleep(self._delays.next_s())

    async def _follow(self) -> None:
        opened = await self._open()
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # A driver that was just there took it for the end of a time limit of its own.
            raise asyncio.CancelledError
        self._was_there = True
        self._accepted.clear()
        self._keep_after = None
        self._waiting.clear()
        self._waiting_bytes = 0
        reader = JournalReader(self._address, self.name)
        reading = asyncio.create_task(self._read(reader, opened))
        taking = asyncio.create_task(self._take())
        reporting = asyncio.create_task(self._report(reader))
        tasks = (reading, taking, reporting)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await reader.close()
            # The error that one ended with holds this frame, and what was being taken.
            del task, tasks, reading, taking, reporting

    async def _open(self) -> Reached:
        try:
            opened = await self._follower.open()
        except Exception:
            self._opens = False
            raise
        if not self._opens:
            self._opens = True
            self._no_journal(f"no journal from {self._address} yet")
        return opened

    def _no_journal(self, absence: str) -> None:
        self.problem = self._absence = absence

    async def _read(self, reader: JournalReader, opened: Reached) -> None:
        held = self._follower.held
        at = opened if held is None else held
        try:
            if at.sequence and at != opened:
                await self._compare(at)
            at = opened
            await self._read_on(reader, opened)
        except JournalDamaged as damage:
            if not self._accepted.is_set():
                self.reached = opened
            async with self._changed:
                await self._changed.wait_for(self._has_taken_all)
            raise FollowerStopped(str(damage)) from damage
        except (JournalNotKept, JournalOther, JournalEndsBefore, JournalDiffers) as refusal:
            if self._accepted.is_set():
                return  # It was asked for what follows all that was read; the part may have less.
            raise self._stopped(refusal, at) from refusal

    async def _compare(self, held: Reached) -> None:
        """Raises what the reader does where this is not of the journal, as far as that is kept."""
        reader = JournalReader(self._address)
        stream = reader.messages(lambda: held, must_be_kept=True, on_absence=self._no_journal)
        try:
            with contextlib.suppress(JournalNotKept, JournalDamaged):
                async with contextlib.aclosing(stream) as messages:
                    await anext(messages)
        finally:
            await reader.close()

    def _stopped(self, refusal: Exception, at: Reached) -> FollowerStopped:
        remedy = self._follower.remedy_differs
        if isinstance(refusal, JournalNotKept):
            self.reached = at
            # Without what a client would do now: of what is wrong with a part a line is kept.
            why, _, _ = str(refusal).partition(":")
            remedies = ["put archived files back", self._follower.remedy_not_kept]
            return FollowerStopped(f"{why}; {', or '.join(filter(None, remedies))}")
        self.reached = Reached(0)
        if isinstance(refusal, JournalOther):
            return FollowerStopped(
                f"it is that of another exchange, whose journal is {at.journal}: {OWN}, or empty it"
            )
        copied = f"{remedy} if the journal was put back from a copy, else " if remedy else ""
        if isinstance(refusal, JournalEndsBefore):
            return FollowerStopped(
                f"it is at sequence {at.sequence}, which this exchange has not reached:"
                f" {copied}{OWN}"
            )
        return FollowerStopped(
            f"at sequence {at.sequence} it holds something else than this exchange's journal:"
            f" {copied}{OWN}"
        )

    async def _read_on(self, reader: JournalReader, opened: Reached) -> None:
        self._read_to = opened
        stream = reader.messages(
            lambda: self._read_to, must_be_kept=True, on_absence=self._no_journal
        )
        async with contextlib.aclosing(stream) as messages:
            async for message in messages:
                if self.problem == self._absence:
                    self.problem = ""
                if not self._accepted.is_set():
                    self.reached = opened
                    self._follower.begin(message.durable_sequence)
                    self._accepted.set()
                async with self._changed:
                    await self._changed.wait_for(lambda: self._waiting_bytes < WAITING_BYTES_MAX)
                    self._durable_sequence = message.durable_sequence
                    for record in records(message):
                        if record.kind == BATCH and record.last_sequence > self._read_to.sequence:
                            self._waiting.append(record)
                            self._waiting_bytes += HEADER_BYTES + len(record.payload)
                            self._read_to = Reached(record.last_sequence, record.time_ns)
                    if self.reached.sequence >= self._durable_sequence:
                        self._went_well()
                    self._changed.notify_all()

    async def _take(self) -> None:
        while True:
            async with self._changed:
                await self._until_quiet_or_waiting()
                taken, self._waiting = self._waiting, []
                is_small = self._waiting_bytes < GATHERED_BYTES
                self._waiting_bytes = 0
                self._changed.notify_all()
            if not taken:
                await self._follower.check()
                continue
            began_s = time.monotonic()
            if self._keep_after is None:
                self._keep_after = self.reached.sequence  # until all of these are safe
            self._keep_after = await self._follower.take(taken, self._came_to)
            async with self._changed:
                self._came_to(Reached(taken[-1].last_sequence, taken[-1].time_ns))
                self._changed.notify_all()
            if is_small:
                await asyncio.sleep(began_s + self._follower.gather_s - time.monotonic())

    async def _report(self, reader: JournalReader) -> None:
        """At first too: where nothing happens, the server may know less than is so."""
        told: tuple[int, int | None] = (-1, None)
        await self._accepted.wait()
        while True:
            now = (self.reached.sequence, self._keep_after)
            if now != told and await reader.report(now[0], keep_after=now[1]):
                told = now
            await asyncio.sleep(REPORT_S)

    async def _until_quiet_or_waiting(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET_S):
                await self._changed.wait_for(lambda: self._waiting)

    def _has_taken_all(self) -> bool:
        return self.reached.sequence >= self._read_to.sequence

    def _came_to(self, reached: Reached) -> None:
        self.reached = reached
        self._went_well()

    def _went_well(self) -> None:
        if self._told:
            self._say(f"{self.name} follows from sequence {self.reached.sequence}")
        self.problem = self._told = ""
        self._delays.reset()

    def _note(self, error: Exception) -> None:
        self.problem = reason(error)
        is_starting = not self._was_there and time.monotonic() - self._began_s < STARTING_S
        if isinstance(error, FollowerStopped):
            self._delays.lengthen()
            is_starting = False
        if self.problem != self._told and not is_starting:
            self._say(f"{self.name} is down ({self.problem}); trying until it is back")
            self._told = self.problem
