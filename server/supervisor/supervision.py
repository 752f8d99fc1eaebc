"""Keeps the parts of one exchange running, and stops them in order.

A part that ends is started again after 0.1 s, 0.2 s, 0.4 s and so on, twice as long each time, also
where that itself fails; having been started again five times within a minute, its next end is the
end of all, unless the disk is full: then it is tried until somebody has made room; so is a server
that finds its journal with somebody who began to read it meanwhile. A part whose exit code says
that starting again changes nothing (`server/exits.py`) is not started again: the exchange ends with
it if it can't do without it, and is degraded otherwise.
A part beside the exchange (the embedded PostgreSQL) is not waited for at a start, never ends it,
is tried without an end, at last every 25 s, and may be ended the hard way without a complaint.

Order of a stop: first the follower, who only reads, and with it the server, which answers what is
in flight; then the WebSocket bridge, which says goodbye to its callers behind the gateway; then the
gateway, so that all of that still reaches them and new requests get a clear refusal, and with it
what stands beside the exchange. Each has its time, then it is ended the hard way, which loses
nothing that was acknowledged.
"""

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from server.exits import FINAL, Exit
from server.supervisor.child_process import ChildProcess
from server.supervisor.parent import NOT_RUNNING, processes_line

DEGRADED: Final = "degraded: "
"""The start of what is said while the exchange goes on without a part."""
RESTARTS_MAX: Final = 5
RESTARTS_S: Final = 60.0
DOUBLINGS_BESIDE_MAX: Final = 8
"""The doublings of the delay of a part that is tried without an end: 0.1 s becomes 25 s."""
RESTARTS_BESIDE_S: Final = 600.0
"""The time that restarts are counted for: with less than eight of 25 s, delays would begin anew."""
DELAY_FIRST_S: Final = 0.1

GOODBYE_S: Final = 1.5
"""The time for the WebSocket bridge's goodbyes; it bounds itself to less."""
SETTLE_S: Final = 10.0
"""The time for the others, once the server serves, before it is said that they don't."""


class GaveUp(Exception):
    """The exchange can't start or go on; the message is the sentence, `code` the exit code."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Supervised:
    """Runs one part, started again as often as is sensible."""

    def __init__(
        self,
        child: ChildProcess,
        log: Callable[[str], None],
        on_change: Callable[[], None],
        *,
        essential: bool = False,
        beside: bool = False,
    ) -> None:
        self.child = child
        self._on_change = on_change
        self._essential = essential
        self._beside = beside
        self.missing = ""
        """The reason why the exchange goes on without the part; empty while it is (to be) there."""
        self.settled = asyncio.Event()
        """Set once the part has served, or is missing for good."""
        self.task: asyncio.Task[None] | None = None
        self._log = log
        self._stopping = False
        self._clean = True
        """Whether the part's last end was clean."""
        self._restarts: deque[float] = deque()

    def begin(self) -> None:
        """Start the part, and go on from there."""
        self.task = asyncio.create_task(self._run())

    async def stop(self) -> bool:
        """Stop the part; tell whether it ended by itself, in time and without a complaint."""
        if self.task is None:
            return True
        self._stopping = True
        in_time = await self.child.stop()
        if not self.child.running:
            self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        return (in_time and self._clean) or self._beside

    async def _run(self) -> None:
        """Run the part until it is stopped or missing for good; raises GaveUp to end all."""
        while True:
            serving = asyncio.create_task(self._note_serving())
            try:
                code = await self.child.run(self._on_change)
            except OSError as failure:
                if not self.settled.is_set() and not self._beside:
                    raise
                # For want of descriptors, memory or processes at this moment: the others go on.
                code = Exit.FAILED
                self.child.sentence = f"the {self.child.name} can't be started: {failure}"
            finally:
                serving.cancel()
            # Before it ever served it has nothing to lose, and may not be listening yet.
            has_served = self.settled.is_set()
            self._clean = code == Exit.CLEAN or not self._essential or not has_served
            if self._stopping:
                return
            why = self._reason(code)
            # It had the directory: whoever has it now, has it for as long as he reads.
            waits = code == Exit.DISK_FULL or (code == Exit.LOCKED and has_served)
            if code in FINAL and not waits:
                self._missing_for_good(code, why)
                return
            await self._pause(why, for_good=not waits and not self._beside)

    async def _note_serving(self) -> None:
        await self.child.serving.wait()
        if self.missing:
            self._log(f"{self.child.name} is back")
        self.missing = ""
        self.settled.set()

    def _reason(self, code: int) -> str:
        ended = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return self.child.sentence or f"the {self.child.name} {ended}"

    def _missing_for_good(self, code: int, why: str) -> None:
        if self._essential:
            raise GaveUp(code, why)
        self.missing = f"{self.child.name} is not running: {why}"
        self._log(f"{DEGRADED}{self.missing}")
        self.settled.set()

    async def _pause(self, why: str, *, for_good: bool) -> None:
        """Wait a little longer each time; `for_good`: not too often."""
        now = time.monotonic()
        counted_s = RESTARTS_BESIDE_S if self._beside else RESTARTS_S
        while self._restarts and now - self._restarts[0] > counted_s:
            self._restarts.popleft()
        if len(self._restarts) >= RESTARTS_MAX and for_good:
            raise GaveUp(
                Exit.FAILED,
                f"the {self.child.name} was started again {RESTARTS_MAX} times within "
                f"{RESTARTS_S:.0f} s and ended again: {why}",
            )
        doublings_max = DOUBLINGS_BESIDE_MAX if self._beside else RESTARTS_MAX
        delay_s = DELAY_FIRST_S * 2 ** min(len(self._restarts), doublings_max)
        self._restarts.append(now)
        self.missing = f"{self.child.name} is being started again: {why}"
        self._log(f"{DEGRADED}{self.missing} (in {delay_s:.1f} s)")
        await asyncio.sleep(delay_s)


class Supervisor:
    """Runs the server, and what stands around it."""

    def __init__(
        self,
        server: ChildProcess,
        gateway: ChildProcess,
        follower: ChildProcess,
        websocket: ChildProcess,
        log: Callable[[str], None],
        beside: Sequence[ChildProcess] = (),
    ) -> None:
        changed = self._send_processes
        self._server = Supervised(server, log, changed, essential=True)
        self._gateway = Supervised(gateway, log, changed)
        self._follower = Supervised(follower, log, changed)
        self._websocket = Supervised(websocket, log, changed)
        self._beside = [Supervised(part, log, changed, beside=True) for part in beside]
        """Parts not waited for at a start; stopped with the gateway, after the follower."""
        self._all = (
            self._follower,
            self._server,
            self._gateway,
            self._websocket,
            *self._beside,
        )

    async def start(self) -> list[str]:
        """Return once everything serves that will: one sentence for each part that does not."""
        self._server.begin()
        await self._until(self._server.settled.wait())
        others = (self._gateway, self._follower, self._websocket)
        for each in (*others, *self._beside):
            each.begin()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                for other in others:
                    await self._until(other.settled.wait())
        for other in others:
            if not other.settled.is_set() and not other.missing:
                other.missing = f"{other.child.name} does not serve yet"
        return [other.missing for other in others if other.missing]

    async def failure(self) -> None:
        """Wait until the exchange can't go on: raises GaveUp."""
        await self._until(asyncio.Event().wait())

    async def stop(self) -> list[str]:
        """Stop all in order: the names of those that had to be made to, or complained. Who comes
        after the server has his time within the server's, so that all are gone when that is over,
        but for a time of more than half of that.
        """
        others = (self._gateway, *self._beside)
        first = asyncio.gather(self._follower.stop(), self._server.stop())
        server_s = self._server.child.stop_s
        later_s = max(each.child.stop_s for each in (self._websocket, *others))
        await asyncio.wait([first], timeout=max(server_s / 2, server_s - GOODBYE_S - later_s))
        # Before the gateway, through which it says goodbye.
        goodbye = asyncio.create_task(self._websocket.stop())
        await asyncio.wait([goodbye], timeout=GOODBYE_S)
        stopped = await asyncio.gather(goodbye, *(each.stop() for each in others))
        clean = (*await first, *stopped)
        in_order = (self._follower, self._server, self._websocket, *others)
        return [it.child.name for it, ended in zip(in_order, clean, strict=True) if not ended]

    @property
    def has_gateway(self) -> bool:
        """Tell whether HTTP is served."""
        return self._gateway.settled.is_set() and not self._gateway.missing

    def kill(self) -> None:
        """End what is left, at once."""
        for each in self._all:
            each.child.kill()

    def _send_processes(self) -> None:
        """Let the server show what each part uses, and which of those around it is not there."""
        process_ids = {
            each.child.name: each.child.process_id or NOT_RUNNING
            for each in self._all
            if each.child.running or each not in self._beside
        }
        line = processes_line({"supervisor": os.getpid(), **process_ids})
        self._server.child.send(line)

    async def _until(self, awaited: Coroutine[Any, Any, object]) -> None:
        """Wait for an event, or raise what ended one of the parts."""
        wanted = asyncio.create_task(awaited)
        try:
            while not wanted.done():
                tasks = [each.task for each in self._all if each.task is not None]
                for task in tasks:
                    if task.done():
                        task.result()
                running = [task for task in tasks if not task.done()]
                await asyncio.wait([wanted, *running], return_when=asyncio.FIRST_COMPLETED)
        finally:
            wanted.cancel()
