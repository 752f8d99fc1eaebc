"""What is remembered of past requests: idempotency keys, and how far back anything is remembered.

Keys and closed orders are forgotten by whole **generations**. Entries are counted into the current
generation; it is sealed when it holds a quarter of the capacity or spans a quarter of the window,
and then the oldest sealed ones are forgotten that are no longer needed: an entry is forgotten only
if it is older than the window, or if `capacity` newer ones are kept. At most about 5/4 of the
capacity is kept. Sealing happens only inside an accepted command and by its stamp, so that every
replay forgets at the same place: of orders while one ends; of keys, since the journal is kept for
them, inside any.

Forgetting is one number, `forgotten_sequence`: what was entered at that sequence or before no
longer exists for any lookup, count or dump. Its memory is given back later, two entries for each
one that is added, so that no command pays for a whole generation. A table can thus hold entries
that are already forgotten, which nobody can observe.

A **key** belongs to a client. The table holds, in one integer, the sequence of the command that
first used it (the outcome is read back from the journal) and 64 bits of a digest of what was asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from server.core.commands import CancelOrder, PlaceOrder, ReplaceOrder
from server.core.types import GTC, IOC, LIMIT

GENERATIONS: Final = 4
"""Parts of the capacity, and of the window, after which a generation is sealed."""

DIGEST_BITS: Final = 64
"""Compared only with what the same client sent under the same key, so chance is no concern."""
_DIGEST_MASK: Final = (1 << DIGEST_BITS) - 1


class Generations:
    """Counts entries by age and says which are forgotten."""

    __slots__ = (
        "capacity",
        "count",
        "forgotten_sequence",
        "last_sequence",
        "seal_count",
        "seal_ns",
        "sealed",
        "surplus",
        "window_ns",
    )

    def __init__(self, capacity: int, window_ns: int) -> None:
        self.sealed: deque[tuple[int, int, int]] = deque()
        """(last sequence, time of sealing, entries) of each sealed generation, oldest first."""
        self.count = 0
        """Entries of the current generation."""
        self.surplus = 0
        """Entries forgotten whose memory is yet to be given back. Not state."""
        self.last_sequence = 0
        self.forgotten_sequence = 0
        self.seal_ns = 0
        self.limit(capacity, window_ns)

    def limit(self, capacity: int, window_ns: int) -> None:
        """Change the bounds; what is now too much is forgotten at the next sealing."""
        self.capacity = capacity
        self.window_ns = window_ns
        self.seal_count = -(-capacity // GENERATIONS)

    def add(self, sequence: int, time_ns: int) -> None:
        """Count one entry of the command that is being applied."""
        if self.count >= self.seal_count or time_ns >= self.seal_ns:
            self.seal(sequence, time_ns)
        self.last_sequence = sequence
        self.count += 1

    def seal(self, sequence: int, time_ns: int) -> None:
        """Begin a new generation before this command's first entry, and forget what may go."""
        # All entries of a command are of one generation: they are forgotten by its sequence.
        if sequence == self.last_sequence:
            return
        if self.count:
            self.sealed.append((self.last_sequence, time_ns, self.count))
            self.count = 0
        self.seal_ns = time_ns + self.window_ns // GENERATIONS
        kept = self.kept
        while self.sealed:
            last_sequence, sealed_ns, entries = self.sealed[0]
            if kept - entries < self.capacity and sealed_ns > time_ns - self.window_ns:
                break
            self.forgotten_sequence = last_sequence
            self.surplus += entries
            kept -= entries
            self.sealed.popleft()

    @property
    def kept(self) -> int:
        """Number of entries not forgotten."""
        return self.count + sum(entries for _, _, entries in self.sealed)

    def dump(self) -> tuple[int, int, int, int, list[tuple[int, int, int]]]:
        """Give everything but the bounds, as plain data."""
        return (
            self.count,
            self.last_sequence,
            self.forgotten_sequence,
            self.seal_ns,
            list(self.sealed),
        )

    def load(self, row: Sequence[Any]) -> None:
        """Take over what `dump` gave."""
        self.count, self.last_sequence, self.forgotten_sequence, self.seal_ns, sealed = row
        self.sealed = deque((sequence, time_ns, count) for sequence, time_ns, count in sealed)


class FirstUse(NamedTuple):
    """The command that first used a key."""

    sequence: int
    digest: int


class Keys:
    """The idempotency keys of accepted commands. A refused command leaves none."""

    __slots__ = ("_arrivals", "_table", "generations")

    def __init__(self, capacity: int, window_ns: int) -> None:
        self.generations = Generations(capacity, window_ns)
        self._table: dict[str, int] = {}
        self._arrivals: deque[str] = deque()

    def find(self, client_id: str, key: str) -> FirstUse | None:
        """The command that first used the key, if it is remembered."""
        entry = self._table.get(f"{client_id} {key}")
        if entry is None:
            return None
        sequence = entry >> DIGEST_BITS
        if sequence <= self.generations.forgotten_sequence:
            return None
        return FirstUse(sequence, entry & _DIGEST_MASK)

    def add(self, client_id: str, key: str, digest: int, sequence: int, time_ns: int) -> None:
        """Remember the key of the command that is being applied."""
        self._enter(f"{client_id} {key}", sequence << DIGEST_BITS | digest)
        self.generations.add(sequence, time_ns)
        self._give_back()

    def _enter(self, name: str, entry: int) -> None:
        # A forgotten entry goes first: the table's own order is that of the sequences.
        self._table.pop(name, None)
        self._table[name] = entry
        self._arrivals.append(name)

    def _give_back(self) -> None:
        table, arrivals = self._table, self._arrivals
        last = (self.generations.forgotten_sequence + 1) << DIGEST_BITS
        for _ in range(min(2, self.generations.surplus)):
            self.generations.surplus -= 1
            name = arrivals.popleft()
            # It may have been entered again since then, or given back as an older arrival.
            if table.get(name, last) < last:
                del table[name]

    def rows(self) -> Iterator[tuple[str, int, int]]:
        """(client and key, sequence, digest) of each, by sequence."""
        first = (self.generations.forgotten_sequence + 1) << DIGEST_BITS
        for name, entry in self._table.items():
            if entry >= first:
                yield name, entry >> DIGEST_BITS, entry & _DIGEST_MASK

    def load(self, name: str, sequence: int, digest: int) -> None:
        """Take over one row."""
        self._enter(name, sequence << DIGEST_BITS | digest)


def digest_of(command: PlaceOrder | ReplaceOrder | CancelOrder) -> int:
    """Digest of what is asked: two commands have the same one if a retry may have made them so.

    Left out: the key itself and the session (a retry may come over another). Defaults that don't
    depend on state count as what they mean. The one text that was not yet checked, the
    instrument's name, stands last, so that it can't pose as another field.
    """
    match command:
        case PlaceOrder():
            time_in_force = command.time_in_force
            if not time_in_force:
                time_in_force = GTC if command.order_type == LIMIT else IOC
            text = (
                f"place {command.side:d} {command.order_type:d} {time_in_force:d}"
                f" {bool(command.post_only):d} {command.self_trade_prevention:d}"
                f" {command.price_e8:d} {command.quantity_e8:d} {command.order_id}"
                f" {command.client_reference} {command.instrument}"
            )
        case ReplaceOrder():
            text = f"replace {command.price_e8} {command.quantity_e8} {command.order_id}"
        case CancelOrder():
            text = f"cancel {command.order_id}"
    return int.from_bytes(
        blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BITS // 8).digest(), "big"
    )
