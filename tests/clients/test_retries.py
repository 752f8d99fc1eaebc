"""What is repeated, what never is, and for how long."""

import asyncio

import grpc
import pytest

from clients.errors import ExchangeError, OutcomeUnknownError, RefusedError, UnavailableError
from clients.retries import Delays, Retries, repeated

QUICK = Retries(attempt_s=1.0, overall_s=2.0, delay_first_s=0.001, delay_max_s=0.004)
UNAVAILABLE = UnavailableError("gone", code=grpc.StatusCode.UNAVAILABLE)
UNKNOWN = OutcomeUnknownError("silence", code=grpc.StatusCode.UNAVAILABLE)
REFUSED = RefusedError("no", code=grpc.StatusCode.INVALID_ARGUMENT)
BUSY = RefusedError("busy", code=grpc.StatusCode.RESOURCE_EXHAUSTED, retry_safe=True)
LIMITED = RefusedError(
    "too many", code=grpc.StatusCode.RESOURCE_EXHAUSTED, retry_safe=True, retry_after_s=3
)
STRANGE = ExchangeError("what", code=grpc.StatusCode.INTERNAL)


async def run(
    failures: list[ExchangeError], *, repeatable: bool, retries: Retries = QUICK
) -> list[float]:
    """The timeouts of the attempts, the last of which succeeds."""
    timeouts: list[float] = []

    async def attempt(timeout_s: float) -> list[float]:
        timeouts.append(timeout_s)
        if len(timeouts) <= len(failures):
            raise failures[len(timeouts) - 1]
        return timeouts

    return await repeated(attempt, retries, repeatable=repeatable)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("failures", "repeatable"),
    [
        ([], False),
        ([UNAVAILABLE, BUSY, UNAVAILABLE], False),
        ([UNKNOWN, UNAVAILABLE, UNKNOWN, BUSY], True),
    ],
)
async def test_repeated_until_it_works(failures: list[ExchangeError], repeatable: bool) -> None:
    assert len(await run(failures, repeatable=repeatable)) == len(failures) + 1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("failures", "repeatable"),
    [
        ([UNKNOWN], False),
        ([REFUSED], True),
        ([STRANGE], True),
        ([UNAVAILABLE, UNKNOWN], False),
        ([UNKNOWN, REFUSED], True),
    ],
)
async def test_not_repeated(failures: list[ExchangeError], repeatable: bool) -> None:
    with pytest.raises(ExchangeError) as caught:
        await run([*failures, STRANGE], repeatable=repeatable)
    assert caught.value is failures[-1]


@pytest.mark.asyncio
async def test_deadline_ends_it() -> None:
    retries = Retries(attempt_s=1.0, overall_s=0.05, delay_first_s=0.001, delay_max_s=0.004)
    clock = asyncio.get_running_loop().time
    start = clock()
    with pytest.raises(UnavailableError):
        await run([UNAVAILABLE] * 10_000, repeatable=True, retries=retries)
    assert clock() - start < 1.0


@pytest.mark.asyncio
async def test_over_a_rate_limit_it_waits_as_long_as_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long its own delays have become by then."""
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", wait)
    retries = Retries(attempt_s=1.0, overall_s=5.0, delay_first_s=0.001, delay_max_s=0.004)
    assert len(await run([LIMITED, BUSY, LIMITED], repeatable=False, retries=retries)) == 4
    assert (waited[0], waited[2]) == (3, 3)
    assert waited[1] <= 0.004


@pytest.mark.asyncio
async def test_a_rate_limit_past_the_deadline_is_not_waited_for() -> None:
    clock = asyncio.get_running_loop().time
    start = clock()
    with pytest.raises(RefusedError) as caught:
        await run([LIMITED], repeatable=True)
    assert caught.value is LIMITED
    assert clock() - start < QUICK.overall_s


@pytest.mark.asyncio
async def test_no_attempt_is_made_without_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait may end late where the machine is busy."""
    sleep = asyncio.sleep

    async def sleep_longer(seconds: float) -> None:
        await sleep(seconds + 0.05)

    monkeypatch.setattr(asyncio, "sleep", sleep_longer)
    with pytest.raises(UnavailableError):
        await run([UNAVAILABLE], repeatable=True, retries=Retries(1.0, 0.05, 0.001, 0.004))


@pytest.mark.asyncio
async def test_what_was_unknown_once_stays_unknown() -> None:
    retries = Retries(attempt_s=1.0, overall_s=0.05, delay_first_s=0.001, delay_max_s=0.004)
    with pytest.raises(OutcomeUnknownError) as caught:
        await run([UNKNOWN] + [UNAVAILABLE] * 10_000, repeatable=True, retries=retries)
    assert caught.value is UNKNOWN


@pytest.mark.asyncio
async def test_attempts_fit_into_the_deadline() -> None:
    timeouts = await run([UNAVAILABLE], repeatable=True, retries=Retries(5.0, 0.5, 0.001, 0.002))
    assert all(timeout_s <= 0.5 for timeout_s in timeouts)
    assert timeouts[1] < timeouts[0]


def test_times_are_positive() -> None:
    with pytest.raises(ValueError, match="overall_s must be above 0 seconds; got 0"):
        Retries(overall_s=0)


def test_delays_grow_to_the_longest_and_nobody_comes_back_in_step() -> None:
    delays = Delays(Retries(delay_first_s=1.0, delay_max_s=5.0))
    drawn = []
    for _ in range(100):
        drawn.append([delays.next_s() for _ in range(5)])
        delays.reset()
    for column, longest in zip(zip(*drawn, strict=True), (1, 2, 4, 5, 5), strict=True):
        assert longest / 2 <= min(column) < 0.6 * longest
        assert 0.9 * longest < max(column) <= longest
