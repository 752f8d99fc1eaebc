"""The sequencer with the real engine and a journal that syncs only when the test says so."""

import asyncio
import threading
from typing import Any

from server.core.commands import Command, PlaceOrder, SetInstrument
from server.core.engine import Engine
from server.core.instruments import Instrument
from server.core.types import Stamp
from server.journal.log import Lost, Position, Unknown
from server.journal.payload import decode_commands
from server.journal.record import BATCH, Record
from server.sequencer.sequencer import GATHER_TURNS, Sequencer


class HeldJournal:
    """Keeps records in memory; an append returns when the test lets it."""

    def __init__(self) -> None:
        self.records: list[tuple[int, int, int, bytes]] = []
        self.entered = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)
        self.held = False
        self.answer: Position | Lost | Unknown = Position(1)

    def append(
        self, kind: int, first_sequence: int, count: int, time_ns: int, payload: bytes
    ) -> Position | Lost | Unknown:
        self.records.append((kind, first_sequence, count, payload))
        self.entered.release()
        if self.held:
            self.let_go.acquire()
        return self.answer

    def read(self, sequence: int) -> Record:
        for kind, first, count, payload in self.records:
            if kind == BATCH and first <= sequence < first + count:
                return Record(
                    BATCH, 0, 0, bytes(16), 0, 1, 1, bytes(16), first, count, 7, b"", payload
                )
        raise KeyError(sequence)

    @property
    def batches(self) -> list[list[Command]]:
        return [decode_commands(payload) for kind, _, _, payload in self.records if kind == BATCH]


class Desk:
    """A sequencer on a held journal, with one instrument."""

    def __init__(self, **options: Any) -> None:
        self.journal = HeldJournal()
        self.failures: list[str] = []
        self.time_ns = 1_000
        engine = Engine()
        assert isinstance(engine.apply(SetInstrument(Instrument("BTC-USD")), Stamp(1, 500)), list)
        self.sequencer = Sequencer(
            engine,
            self.journal,
            on_failure=self.failures.append,
            clock=lambda: self.time_ns,
            **options,
        )
        self.sequencer.start()

    async def appending(self) -> None:
        """Wait until the journal's thread is inside an append."""
        await asyncio.get_running_loop().run_in_executor(None, self.journal.entered.acquire)

    async def close(self) -> None:
        self.journal.held = False
        self.journal.let_go.release(1_000)
        await self.sequencer.stop()


def place(client: str = "A", price: int = 100, **fields: Any) -> PlaceOrder:
    return PlaceOrder(client, "BTC-USD", 1, 1, 10, price, **fields)


async def gathered() -> None:
    """Let the loop turn until what was submitted is gathered."""
    for _ in range(GATHER_TURNS + 2):
        await asyncio.sleep(0)


async def still_waiting(*tasks: asyncio.Task[Any]) -> bool:
    """Whether none of them comes to an end."""
    done, _ = await asyncio.wait(tasks, timeout=0.05)
    return not done
