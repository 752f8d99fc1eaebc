"""A data directory that is written to like the server does, and what must hold of it afterwards."""

import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from server.core.commands import (
    CancelOrder,
    CancelOrders,
    Command,
    EndSession,
    OpenSession,
    PlaceOrder,
    ReplaceOrder,
    SetInstrument,
    SetLimits,
)
from server.core.dump import state_hash
from server.core.engine import Engine
from server.core.events import Event
from server.core.instruments import Instrument, Limits
from server.core.types import E8, Stamp
from server.journal.file_log import SEGMENT_BYTES, FileLog
from server.journal.log import Position
from server.journal.payload import encode_batch
from server.journal.record import BATCH, IDLE, Record, decode_frame
from server.journal.recovery import Recovered, recover
from server.journal.snapshots import write_snapshot

START_NS = 1_700_000_000_000_000_000
INSTRUMENT = "BTC-USD"


def applied(
    engine: Engine, commands: Sequence[Command], time_ns: int
) -> tuple[list[list[Event]], bytes]:
    """The events of commands, all of which must be accepted, and both as a record has them."""
    events = []
    for sequence, command in enumerate(commands, engine.sequence + 1):
        outcome = engine.apply(command, Stamp(sequence, time_ns))
        assert isinstance(outcome, list), outcome
        events.append(outcome)
    return events, encode_batch(commands, events)


class Site:
    """The writer's side: applies, appends, and remembers what was acknowledged."""

    def __init__(self, directory: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.directory = directory
        self.segment_bytes = segment_bytes
        self.acknowledged: dict[int, Command] = {}
        self.hashes: dict[int, bytes] = {}
        """State hash after each record, by its last sequence."""
        self.ends: list[tuple[int, int]] = []
        """Each record's end and the last sequence up to there."""
        directory.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        recovered = recover(self.directory, segment_bytes=self.segment_bytes)
        self.engine: Engine = recovered.engine
        self.log: FileLog = recovered.log
        assert isinstance(self.log.claim(os.urandom(16)), int)
        self._note()

    def commit(self, *commands: Command, time_ns: int = 0) -> list[list[Event]]:
        """Apply the commands and append them as one record; all must be accepted."""
        first = self.engine.sequence + 1
        time_ns = time_ns or START_NS + first * 1_000
        events, payload = applied(self.engine, commands, time_ns)
        position = self.log.append(BATCH, first, len(commands), time_ns, payload)
        assert isinstance(position, Position), position
        self.acknowledged.update(enumerate(commands, first))
        self._note()
        return events

    def idle(self) -> None:
        """What the sequencer appends after a quiet moment."""
        last = self.engine.sequence
        position = self.log.append(IDLE, last + 1, 0, self.engine.time_ns, b"")
        assert isinstance(position, Position), position
        self._note()

    def snapshot(self) -> Path:
        return write_snapshot(self.directory, self.engine, self.log.mark)

    def close(self) -> None:
        self.log.close()

    def _note(self) -> None:
        self.hashes[self.engine.sequence] = state_hash(self.engine)
        self.ends.append((self.log.durable_position, self.engine.sequence))


def settings() -> list[Command]:
    """What makes an empty engine able to trade."""
    instrument = Instrument(INSTRUMENT, maker_fee_e6=-100, taker_fee_e6=250)
    return [SetInstrument(instrument, instrument), SetLimits(Limits(), None)]


def trade(site: Site, records: int, seed: int = 1, commands_max: int = 4) -> None:
    """Append so many batches of orders that rest, trade, change and end."""
    draw = random.Random(seed)
    for _ in range(records):
        commands: list[Command] = []
        open_ids = [order.order_id for order in site.engine.orders(status=1, limit=20)]
        for number in range(draw.randint(1, commands_max)):
            name = f"o-{site.engine.sequence + 1 + number}-{seed}"
            kind = draw.random()
            if open_ids and kind < 0.2:
                chosen = open_ids.pop(draw.randrange(len(open_ids)))
                commands.append(CancelOrder("", chosen))
                # What follows might fill or end the others, so their ids are not used any more.
                break
            if open_ids and kind < 0.3:
                commands.append(ReplaceOrder("", open_ids.pop(), quantity_e8=E8 * 50))
                break
            if kind < 0.35:
                commands.append(OpenSession(f"client-{draw.randint(1, 3)}"))
                continue
            commands.append(_order(draw, name))
            open_ids = []
        site.commit(*commands)


def _order(draw: random.Random, name: str) -> PlaceOrder:
    return PlaceOrder(
        f"client-{draw.randint(1, 3)}",
        INSTRUMENT,
        draw.randint(1, 2),
        1,
        draw.randint(1, 30) * E8 // 10,
        70_000 * E8 + draw.randint(-5, 5) * E8,
        order_id=name,
        idempotency_key=f"k-{name}" if draw.random() < 0.5 else "",
        client_reference="ref" if draw.random() < 0.3 else "",
    )


def every_command(site: Site) -> None:
    """One record for each kind of command, and a sweep whose money passes 64 bits."""
    site.commit(*settings())
    session = site.engine.sequence + 1
    site.commit(OpenSession("client-1"))
    price, quantity = 90_000_000 * E8, 50_000 * E8
    site.commit(PlaceOrder("client-1", INSTRUMENT, 1, 1, quantity, price, order_id="a"))
    site.commit(ReplaceOrder("client-1", "a", price_e8=price - 1, idempotency_key="r"))
    site.commit(PlaceOrder("client-2", INSTRUMENT, 2, 2, quantity // 2))
    site.commit(CancelOrder("client-1", "a"))
    site.commit(PlaceOrder("client-1", INSTRUMENT, 1, 1, E8, E8, session_id=session))
    site.commit(PlaceOrder("client-2", INSTRUMENT, 1, 1, E8, E8))
    site.commit(CancelOrders("client-2"), EndSession(session))


class Copy:
    """A copy of a closed site's directory that a test damages and recovers."""

    def __init__(self, site: Site, directory: Path) -> None:
        self.site = site
        self.directory = directory
        self.journal = directory / "journal"
        self._original = (site.directory / "journal").read_bytes()
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(site.directory, directory)

    @property
    def original(self) -> bytes:
        return self._original

    def put(self, data: bytes) -> None:
        """Make this the journal's content, and forget what earlier recoveries kept aside."""
        for path in self.directory.glob("journal.cut-*"):
            path.unlink()
        self.journal.write_bytes(data)

    def flip(self, bit: int) -> None:
        data = bytearray(self._original)
        data[bit // 8] ^= 1 << bit % 8
        self.put(bytes(data))


def records_of(directory: Path) -> list[Record]:
    """The whole frames of a recovered journal, read without the code under test's readers."""
    data = (directory / "journal").read_bytes()
    offset, found = 64, []
    while offset < len(data):
        found.append(decode_frame(data, offset))
        offset = found[-1].end
    return found


def assert_recovered(recovered: Recovered, site: Site, last_sequence: int) -> None:
    """I1, I2 and I8 after a recovery that must have come exactly as far as `last_sequence`."""
    found = [decode_frame(frame) for frame in recovered.log.follow(0)]
    commands: dict[int, Command] = {}
    for record in found:
        sequences = range(record.first_sequence, record.last_sequence + 1)
        for sequence, command in zip(sequences, record.commands(), strict=True):
            assert sequence not in commands, f"I1: sequence {sequence} is there twice"
            commands[sequence] = command
    expected = {s: c for s, c in site.acknowledged.items() if s <= last_sequence}
    assert commands == expected, "I1: acknowledged commands are missing or others are there"
    assert list(commands) == list(range(1, last_sequence + 1)), "I2: sequences have gaps"
    assert recovered.engine.sequence == last_sequence, "I1: the engine is elsewhere"
    assert state_hash(recovered.engine) == site.hashes[last_sequence], "I8: another state"
    assert recovered.report.state_hash == site.hashes[last_sequence], "I8: reported otherwise"
