"""Rate limits: how many orders, cancels and queries a second a client and an address may send.

Theory of operation. A budget is one number, the moment at which all that was asked for is paid off
(GCRA): each unit moves it by 1/limit s, and it may run ahead of now by `BURST_NS`. So a look-up, a
comparison and a store judge a request, an idle second gives a whole burst, and nothing runs in the
background. What is larger than a burst passes when nothing is owed, and is paid off afterwards.

Each request is judged against the budget of its address, and against that of its client; a refused
one takes nothing from either. Orders, cancels and queries have budgets of their own: who sends too
many orders can still cancel.

Bounds. `KEYS_MAX` budgets of a kind are remembered; one more makes the oldest one forgotten, which
gives back at most one burst. Behind the gateway the address is the one that the gateway saw; only a
peer on this machine is believed about that.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeVar

from server.settings import RateLimits

BURST_NS: Final = 10**9
"""A second's worth at once: a client that reconnects or opens its book is not held up."""
KEYS_MAX: Final = 50_000
"""Some 20 MB for all three kinds, twice that with Redis; many times the clients of one machine."""

ORDERS: Final = "orders"
CANCELS: Final = "cancels"
QUERIES: Final = "queries"


class Verdict(NamedTuple):
    """What a request is told about its tightest budget."""

    kind: str
    holder: str
    """Whose budget: `client c-1` or `address 10.0.0.1`."""
    limit: int
    """Units a second; also the burst."""
    remaining: int
    """Units that pass at this moment after this request."""
    retry_after_ns: int
    """0: it passes; else how long to wait before the same request would."""


class Limiter:
    """All budgets of one kind."""

    def __init__(self, kind: str, limit: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.kind = kind
        self.limit = limit
        self._unit_ns = 10**9 // limit
        self._clock = clock
        self._paid_off_ns: OrderedDict[str, int] = OrderedDict()
        self.refused_count = 0
        """Units that were not given, since the start."""

    def take(self, wanted: Mapping[str, int]) -> Verdict:
        """Take units from the budget of each holder, or from none of them."""
        now_ns = self._clock()
        known, unit_ns = self._paid_off_ns, self._unit_ns
        latest_ns, tightest = -1, ""
        longest_ns, refused = 0, None
        paid_off_ns = {}
        for holder, units in wanted.items():
            owed_ns = known.get(holder, 0) - now_ns
            after_ns = (owed_ns if owed_ns > 0 else 0) + units * unit_ns
            paid_off_ns[holder] = now_ns + after_ns
            if after_ns > BURST_NS and owed_ns > 0:
                wait_ns = min(owed_ns, after_ns - BURST_NS)
                if wait_ns > longest_ns:
                    left = max(0, (BURST_NS - owed_ns) // unit_ns)
                    longest_ns = wait_ns
                    refused = Verdict(self.kind, holder, self.limit, left, wait_ns)
            elif after_ns > latest_ns:
                latest_ns, tightest = after_ns, holder
        if refused is not None:
            self.refused_count += max(wanted.values())
            return refused
        known.update(paid_off_ns)
        while len(known) > KEYS_MAX:
            known.popitem(last=False)
        remaining = (BURST_NS - latest_ns) // unit_ns if latest_ns < BURST_NS else 0
        return Verdict(self.kind, tightest, self.limit, remaining, 0)


AnyLimiter = TypeVar("AnyLimiter", bound=Limiter)


def refused_count(limiters: Mapping[str, Limiter]) -> int:
    """Orders and cancels that were over a limit."""
    return sum(each.refused_count for kind, each in limiters.items() if kind != QUERIES)


def limiters(limits: RateLimits, make: Callable[[str, int], AnyLimiter]) -> dict[str, AnyLimiter]:
    """Make a limiter for each kind, of its kind and limit."""
    by_kind = {
        ORDERS: limits.orders_per_s,
        CANCELS: limits.cancels_per_s,
        QUERIES: limits.queries_per_s,
    }
    return {kind: make(kind, limit) for kind, limit in by_kind.items()}
