"""One front end's part of shared budgets, told by hand what Redis would answer."""

import pytest

from server.limits import leases
from server.limits.leases import ON_ITS_WAY_NS, LeasedLimiter, Wish
from server.limits.shared import shared_limits
from server.settings import RateLimits

LIMIT = 100
BLOCK = 10
ALONE_NS = 10**9
UNIT_US = 10**6 // LIMIT
"""To pay off one unit."""


class Clock:
    now_ns = 10**15

    def __call__(self) -> int:
        return self.now_ns


class Site:
    """A limiter that is not alone, and how often it has called for attention."""

    def __init__(self, *, alone: bool = False) -> None:
        self.clock = Clock()
        self.limiter = LeasedLimiter("orders", LIMIT, self.clock)
        self.limiter.join(self.clock.now_ns + ALONE_NS if alone else 0)
        self.woken = 0
        self.limiter.wake = self.wake

    def wake(self) -> None:
        self.woken += 1

    def passes(self, units: int = 1, holder: str = "client a") -> bool:
        return not self.limiter.take({holder: units}).retry_after_ns

    def count(self, tries: int) -> int:
        return sum(self.passes() for _ in range(tries))


def test_until_redis_is_heard_of_the_limiter_in_process_judges_alone() -> None:
    limiter = LeasedLimiter("orders", LIMIT, Clock())
    passes = [not limiter.take({"client a": 1}).retry_after_ns for _ in range(2 * LIMIT)]
    assert (sum(passes), limiter.held) == (LIMIT, 0)


def test_a_block_passes_on_credit_and_no_more_until_redis_has_answered() -> None:
    site = Site()
    assert site.count(50) == BLOCK
    assert site.woken >= 1
    verdict = site.limiter.take({"client a": 1})
    assert (verdict.holder, verdict.retry_after_ns) == ("client a", ON_ITS_WAY_NS)
    assert site.limiter.wishes(10) == [Wish("client a", 0, BLOCK, BLOCK)]
    site.limiter.granted(Wish("client a", 0, BLOCK, BLOCK), BLOCK, 2 * BLOCK * UNIT_US)
    assert site.count(50) == 2 * BLOCK, "the block that was leased, and credit for another"


def test_what_redis_has_left_bounds_the_credit_and_comes_back_with_time() -> None:
    site = Site()
    assert site.count(BLOCK) == BLOCK
    (wish,) = site.limiter.wishes(10)
    site.limiter.granted(wish, 0, LIMIT * UNIT_US)
    assert not site.passes()
    assert site.limiter.take({"client a": 1}).retry_after_ns == 10**9 // LIMIT
    site.clock.now_ns += 3 * 10**9 // LIMIT
    assert site.count(10) == 3
    (wish,) = site.limiter.wishes(10)
    site.limiter.granted(wish, 0, (LIMIT + 200) * UNIT_US)
    site.clock.now_ns += 10**9
    assert not site.passes(), "what is owed beyond a burst has to be paid off first"


def test_alone_it_is_the_limiter_in_process() -> None:
    site = Site(alone=True)
    assert site.count(2 * LIMIT) == LIMIT
    assert site.limiter.wishes(10) == [Wish("client a", 0, LIMIT, 0)], "nothing is leased ahead"


def test_it_is_the_only_one_for_a_while_and_not_for_longer() -> None:
    """Whoever joined in the meantime may give out what is left."""
    site = Site(alone=True)
    site.clock.now_ns += ALONE_NS
    assert site.count(2 * LIMIT) == BLOCK
    assert site.limiter.wishes(10) == [Wish("client a", 0, BLOCK, BLOCK)]


def test_one_that_joins_has_a_block_and_asks_for_nothing() -> None:
    site = Site()
    site.limiter.join(0, joining=True)
    assert site.count(2 * LIMIT) == BLOCK
    assert (site.woken, site.limiter.wishes(10)) == (0, [])
    site.limiter.join(0)
    assert site.woken == 1
    assert site.limiter.wishes(10) == [Wish("client a", 0, BLOCK, BLOCK)]


def test_redis_being_there_is_nothing_to_attend_to() -> None:
    """Each answer says so: that would ask for the next at once, for ever."""
    site = Site()
    site.limiter.join(0)
    assert site.woken == 0


def test_what_redis_forgot_is_told_at_once_of_whom_is_still_held() -> None:
    site = Site()
    for holder in ("client a", "client b"):
        assert site.passes(1, holder)
    site.limiter.sweep()
    for wish in site.limiter.wishes(10):
        charged = LIMIT if wish.holder == "client b" else 0
        site.limiter.granted(wish, 0, charged * UNIT_US)
    woken = site.woken
    site.limiter.tell_all()
    assert site.woken == woken + 1
    site.limiter.sweep()
    assert [wish.holder for wish in site.limiter.wishes(10)] == ["client b"]


def test_what_redis_told_counts_from_when_it_was_asked() -> None:
    """A floor below what was charged would let others' units pass again."""
    site = Site()
    assert site.passes(BLOCK)
    site.clock.now_ns += 50_000_000
    (wish,) = site.limiter.wishes(10)
    site.limiter.granted(wish, 0, 50 * UNIT_US)
    assert site.passes()
    (wish,) = site.limiter.wishes(10)
    assert wish == Wish("client a", 50 * UNIT_US, 1, BLOCK)


def test_what_redis_told_is_told_again_less_what_came_back() -> None:
    site = Site()
    assert site.count(BLOCK) == BLOCK
    (wish,) = site.limiter.wishes(10)
    site.clock.now_ns += 5_000_000
    site.limiter.granted(wish, BLOCK, 90 * UNIT_US)
    assert site.passes(BLOCK)
    site.clock.now_ns += 5_000_000
    (wish,) = site.limiter.wishes(10)
    assert wish == Wish("client a", 89 * UNIT_US, 0, BLOCK), "10 ms since it was asked"
    site.limiter.granted(wish, 0, 89 * UNIT_US)
    site.limiter.sweep()
    assert site.limiter.held == 1, "while something is not paid off"
    site.clock.now_ns += 10**9
    site.limiter.sweep()
    assert site.limiter.held == 0


def test_what_is_left_of_a_block_is_not_leased_again() -> None:
    site = Site()
    assert site.count(BLOCK) == BLOCK
    (wish,) = site.limiter.wishes(10)
    site.limiter.granted(wish, BLOCK, 0)
    assert site.count(6) == 6
    (wish,) = site.limiter.wishes(10)
    assert wish == Wish("client a", 0, 0, BLOCK - 4)
    # Of the only one there is nothing to be leased, whatever is left from before.
    site.limiter.join(site.clock.now_ns + ALONE_NS)
    assert site.passes()
    site.limiter.sweep()
    assert site.limiter.wishes(10) == [Wish("client a", 0, 0, 0)]


def test_who_passes_is_told_what_is_left_here_and_in_redis() -> None:
    site = Site()
    assert site.limiter.take({"client a": BLOCK}).remaining == LIMIT - BLOCK
    (wish,) = site.limiter.wishes(10)
    site.limiter.granted(wish, 0, (LIMIT - 5) * UNIT_US)
    assert site.limiter.take({"client a": 1}).remaining == 4
    (wish,) = site.limiter.wishes(10)
    site.limiter.granted(wish, 0, 0)
    site.clock.now_ns += 10**9
    assert site.limiter.take({"client a": 3 * LIMIT}).remaining == 0


def test_who_is_refused_is_told_what_passes_at_this_moment() -> None:
    """However much of the budget Redis still has: none of that was leased yet."""
    site = Site()
    assert site.passes(BLOCK)
    refused = site.limiter.take({"client a": 1})
    assert (refused.retry_after_ns > 0, refused.remaining) == (True, 0)
    (wish,) = site.limiter.wishes(10)
    site.limiter.granted(wish, BLOCK, (LIMIT - 5) * UNIT_US)
    refused = site.limiter.take({"client a": LIMIT})
    assert (refused.retry_after_ns > 0, refused.remaining) == (True, BLOCK + 5)
    assert site.passes(refused.remaining)
    assert not site.passes()


def test_more_than_a_block_passes_once_nothing_is_owed() -> None:
    site = Site()
    assert site.passes(5 * BLOCK)
    assert not site.passes(1)
    (wish,) = site.limiter.wishes(10)
    assert wish.owed == 5 * BLOCK
    site.limiter.granted(wish, BLOCK, 6 * BLOCK * UNIT_US)
    assert site.passes(4 * BLOCK)
    assert not site.passes(4 * BLOCK)


def test_more_than_a_burst_waits_for_what_is_owed_and_no_longer() -> None:
    site = Site(alone=True)
    assert site.passes(1)
    refused = site.limiter.take({"client b": 3 * LIMIT, "client a": 3 * LIMIT})
    assert (refused.holder, refused.retry_after_ns) == ("client a", ON_ITS_WAY_NS)


def test_what_is_owed_is_told_once_it_is_in_the_way() -> None:
    """Little is not told before the next sweep, and by then time may have paid it off."""
    site = Site(alone=True)
    assert site.count(4) == 4
    site.clock.now_ns += 10**9
    site.limiter.join(site.clock.now_ns + ALONE_NS)
    assert site.limiter.wishes(10) == []
    assert site.limiter.take({"client a": LIMIT}).retry_after_ns == 4 * 1_000 * UNIT_US
    assert site.limiter.wishes(10) == [Wish("client a", 0, 4, 0)]
    assert not site.passes(LIMIT)
    assert site.woken == 1, "it is asked already"
    site.limiter.granted(Wish("client a", 0, 4, 0), 0, 0)
    assert site.passes(LIMIT)


def test_the_budget_that_takes_longest_is_told() -> None:
    site = Site()
    for holder, charged in (("client a", LIMIT), ("client b", 3 * LIMIT)):
        assert site.passes(BLOCK, holder)
        (wish,) = site.limiter.wishes(10)
        site.limiter.granted(wish, 0, charged * UNIT_US)
    for wanted in ({"client a": 1, "client b": 1}, {"client b": 1, "client a": 1}):
        refused = site.limiter.take(wanted)
        assert refused.holder == "client b"
        assert refused.retry_after_ns == (2 * LIMIT + 1) * 1_000 * UNIT_US
    assert site.limiter.refused_count == 2


def test_a_refusal_takes_from_nobody() -> None:
    site = Site()
    assert site.count(BLOCK) == BLOCK
    assert site.limiter.take({"address x": 1, "client a": 1}).holder == "client a"
    (wish,) = site.limiter.wishes(10)
    assert wish.holder == "client a"


def test_without_redis_the_limiter_in_process_goes_on_with_what_was_used() -> None:
    site = Site(alone=True)
    assert site.count(LIMIT // 2) == LIMIT // 2
    site.limiter.leave()
    assert site.count(LIMIT) == LIMIT // 2, "no second burst"
    assert site.limiter.wishes(10) == []
    site.limiter.granted(Wish("client a", 0, LIMIT // 2, 0), 0, 0)
    assert site.limiter.held == 0, "a late answer makes nothing"
    site.limiter.join(site.clock.now_ns + ALONE_NS)
    assert not site.passes(), "also when it is back"
    assert site.limiter.held == 0, "a refusal takes from nobody"


def test_what_is_held_is_told_within_a_sweep_and_forgotten_after_the_next() -> None:
    site = Site(alone=True)
    assert site.passes()
    assert site.limiter.wishes(10) == [], "one unit is not worth a call"
    site.limiter.sweep()
    (wish,) = site.limiter.wishes(10)
    site.limiter.sweep()
    assert site.limiter.held == 1, "its charge is under way"
    site.limiter.granted(wish, 0, 0)
    site.limiter.sweep()
    assert site.limiter.held == 0


def test_holders_and_calls_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "KEYS_MAX", 20)
    site = Site()
    for number in range(30):
        site.passes(1, f"client {number}")
    assert site.limiter.held == 20
    assert [wish.holder for wish in site.limiter.wishes(7)] == [
        f"client {n}" for n in range(10, 17)
    ]
    assert len(site.limiter.wishes(100)) == 13


def test_without_redis_nothing_is_kept_in_step() -> None:
    limiters, renewing = shared_limits(RateLimits(), "", print)
    assert renewing is None
    assert limiters.keys() == {"orders", "cancels", "queries"}
