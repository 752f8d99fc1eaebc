"""Budgets that several front ends share: each gives out what it has leased, and never waits.

Theory of operation. The shared budgets are buckets in Redis (`redis_leases.py`); here is one front
end's part of one kind of them. Of each holder it keeps a *balance*: units leased, which are charged
already, less those given out. `take` answers from that alone; in the background `owed` (what was
given out beyond it) is charged, and a new block is leased, of at most 100 ms' worth.

- A balance may go below zero by `credit`: one block, so that the first order of a holder passes
  before Redis has heard of him. That is all by which a front end can overshoot a budget that others
  draw on too. Where it is the only one, there is nobody to overshoot: its credit is a whole burst
  and it leases nothing ahead, which makes it exactly the limiter in process.
- It is the only one for a stated time after each answer that says so, and one that joins leases
  nothing until that time is over for everybody: its credit has to do. So two never hold a burst.
- Credit is never more than what Redis had left when it last told, and what came back since then.
- What Redis last told is a floor under what it tells next, and goes with each wish: a budget can't
  have been used less than that. So one that Redis forgot goes on where a front end saw it last; and
  while not all have told theirs, holders that this one knows nothing of have credit only.
- What asks for more than a block passes when nothing is owed, and is paid off afterwards, as
  what is larger than a burst does in process.
- The limiter in process judges every request too. So while Redis is away or slow (`shared` is
  False) its verdict stands alone, and nobody gets a second burst because of that.

Bounds. A holder that asked for nothing for a second is forgotten, with what was leased for it; at
most `KEYS_MAX` are remembered.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final, NamedTuple

from server.limits.limiter import KEYS_MAX, Limiter, Verdict

BLOCKS_PER_S: Final = 10
"""A block is 100 ms' worth, one unit where that is less."""
ON_ITS_WAY_NS: Final = 10_000_000
"""When to ask again where Redis has units and the front end has none yet: some round trips."""


class Lease:
    """What a front end holds of one budget."""

    __slots__ = ("asked_ns", "balance", "paid_off_ns", "told", "used")

    def __init__(self, now_ns: int) -> None:
        self.balance = 0
        """Units leased less units given out."""
        self.paid_off_ns = now_ns
        """When all that Redis had charged is paid off. It may have charged more since then."""
        self.asked_ns = now_ns
        self.told = False
        """Whether Redis has told anything of it."""
        self.used = False
        """Whether it was drawn on since Redis was last asked for it."""


class Wish(NamedTuple):
    """What Redis is asked for one holder."""

    holder: str
    known_us: int
    """Time to pay off what Redis is known to have charged."""
    owed: int
    """Units given out already; charged whether or not there is room."""
    wanted: int
    """Units to be leased, as far as there is room."""


class LeasedLimiter(Limiter):
    """All budgets of one kind, in one of several front ends."""

    def __init__(self, kind: str, limit: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        super().__init__(kind, limit, clock)
        self.shared = False
        """Whether Redis is there."""
        self.wake: Callable[[], None] = lambda: None
        """Called when something is due."""
        self._block = max(1, limit // BLOCKS_PER_S)
        self._alone_until_ns = 0
        self._joining = False
        self._leases: OrderedDict[str, Lease] = OrderedDict()
        self._due: dict[str, None] = {}
        """Holders that can't wait for the next sweep."""

    @property
    def held(self) -> int:
        """Holders that something is kept of."""
        return len(self._leases)

    def take(self, wanted: Mapping[str, int]) -> Verdict:
        """Take units from the budget of each holder, or from none of them."""
        if not self.shared:
            return super().take(wanted)
        now_ns = self._clock()
        credit = self.limit if self.is_alone(now_ns) else self._block
        least = self.limit
        longest_ns, refused = 0, None
        for holder, units in wanted.items():
            lease = self._leases.get(holder)
            if lease is None:
                continue
            room = self._room(lease, now_ns)
            most = lease.balance + max(0, min(credit, room))
            if units > most and (lease.balance < 0 or room < min(units, self.limit)):
                missing = min(units, self.limit) - lease.balance - room
                wait_ns = max(ON_ITS_WAY_NS, missing * 10**9 // self.limit)
                if now_ns - lease.asked_ns > ON_ITS_WAY_NS:
                    self._tell_soon(holder)
                if wait_ns > longest_ns:
                    longest_ns = wait_ns
                    refused = Verdict(self.kind, holder, self.limit, max(0, most), wait_ns)
            least = min(least, lease.balance + room - units)
        if refused is not None:
            self.refused_count += max(wanted.values())
            return refused
        verdict = super().take(wanted)
        if not verdict.retry_after_ns:
            self._give_out(wanted, now_ns)
        return verdict._replace(remaining=max(0, min(verdict.remaining, least)))

    def is_alone(self, now_ns: int) -> bool:
        """Whether no other front end draws on the budgets at that time."""
        return now_ns < self._alone_until_ns

    def join(self, alone_until_ns: int, *, joining: bool = False) -> None:
        """Redis is there; until when no other front end draws on it, or whether others may still
        know more of budgets than it does, or take themselves for the only one."""
        self.shared = True
        self._alone_until_ns = alone_until_ns
        self._joining = joining
        if self._due and not joining:
            self.wake()

    def leave(self) -> None:
        """Redis is away: what was leased is void, and what is owed nobody will ask for."""
        self.shared = False
        self._leases.clear()
        self._due.clear()

    def sweep(self) -> None:
        """Have everything told that was used, and forget what was not; once a second."""
        now_ns = self._clock()
        for holder, lease in list(self._leases.items()):
            if lease.used:
                self._due[holder] = None
            elif lease.balance >= 0 and lease.paid_off_ns <= now_ns:
                del self._leases[holder]

    def tell_all(self) -> None:
        """Tell Redis of all budgets again: it has forgotten everything."""
        self._due.update(dict.fromkeys(self._leases))
        if self._due:
            self.wake()

    def wishes(self, most: int) -> list[Wish]:
        """What to ask for now; its answer is to come to `granted`, or to `leave`."""
        found: list[Wish] = []
        now_ns = self._clock()
        due = [it for it in self._due if not self._waits(it)] if self._joining else self._due
        for holder in list(islice(due, most)):
            del self._due[holder]
            lease = self._leases.get(holder)
            if lease is None:
                continue
            lease.used = False
            lease.asked_ns = now_ns
            known_us = max(0, lease.paid_off_ns - now_ns) // 1_000
            block = 0 if self.is_alone(now_ns) else self._block
            wanted = max(0, block - max(0, lease.balance))
            found.append(Wish(holder, known_us, max(0, -lease.balance), wanted))
        return found

    def granted(self, wish: Wish, units: int, charged_us: int) -> None:
        """What was owed is charged, so many units are leased, and all of it is paid off after so
        long."""
        lease = self._leases.get(wish.holder)
        if lease is not None:
            lease.told = True
            lease.balance += wish.owed + units
            # From when it was asked: later would be more than is charged, and that a floor.
            lease.paid_off_ns = lease.asked_ns + 1_000 * charged_us

    def _room(self, lease: Lease, now_ns: int) -> int:
        return self.limit + min(0, (now_ns - lease.paid_off_ns) * self.limit // 10**9)

    def _give_out(self, wanted: Mapping[str, int], now_ns: int) -> None:
        low = -(self._block // 2) if self.is_alone(now_ns) else self._block // 2
        for holder, units in wanted.items():
            lease = self._leases.get(holder)
            if lease is None:
                lease = self._leases[holder] = Lease(now_ns)
                if len(self._leases) > KEYS_MAX:
                    oldest, _ = self._leases.popitem(last=False)
                    self._due.pop(oldest, None)
            lease.balance -= units
            lease.used = True
            if lease.balance < low:
                self._tell_soon(holder)

    def _tell_soon(self, holder: str) -> None:
        self._due[holder] = None
        if not self._waits(holder):
            self.wake()

    def _waits(self, holder: str) -> bool:
        lease = self._leases.get(holder)
        return self._joining and lease is not None and not lease.told
