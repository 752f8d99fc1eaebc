"""When a call is made again, and when that would be wrong.

A call is repeated, with a growing delay, inside one overall deadline:

- always when nothing happened: the exchange could not be reached, or refused with `retry_safe`;
- when the outcome is unknown, only if a repeat is harmless: a read, or a command that carries an
  idempotency key (the exchange then answers with the first outcome). Without a key, never.

Over a rate limit the exchange says after how many seconds the request would pass (`retry_after_s`):
the repeat waits that long, and where that is past the overall deadline the refusal is raised at
once. Other delays double from `delay_first_s` to `delay_max_s`, each drawn from its upper half, so
that clients which lost the same server don't come back in step (`Delays`; streams that are gone on
with use it too, without an end). Once one attempt's outcome is unknown the call's is, until an
answer comes: giving up later for another reason still raises OutcomeUnknownError.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from clients.errors import ExchangeError, OutcomeUnknownError, RefusedError, UnavailableError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retries:
    """Seconds, each with its reason."""

    attempt_s: float = 5.0
    """Of one attempt: the exchange's own default; it takes at most 30."""
    overall_s: float = 15.0
    """Of all attempts together: outlasts a restart of the server."""
    delay_first_s: float = 0.05
    """Before the second attempt: about what a shed queue needs to drain."""
    delay_max_s: float = 1.0
    """Longest delay: a server that is back is found within it."""
    silence_s: float = 10.0
    """Of a stream: ten of the exchange's heartbeats, or two where it was told to send as few as it
    can be (its `heartbeat_ms`); a stream that says less is taken for lost."""

    def __post_init__(self) -> None:
        for name in ("attempt_s", "overall_s", "delay_first_s", "delay_max_s", "silence_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0 seconds; got {getattr(self, name)!r}")


class Delays:
    """The next delay, twice the one before up to the longest; each drawn from its upper half."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self.reset()

    def reset(self) -> None:
        """Things went well: begin with the shortest again."""
        self._delay_s = self._retries.delay_first_s

    def next_s(self, error: Exception | None = None) -> float:
        """Seconds to wait now; after a refusal over a rate limit at least as long as it says."""
        drawn_s = random.uniform(self._delay_s / 2, self._delay_s)
        self._delay_s = min(self._delay_s * 2, self._retries.delay_max_s)
        return max(drawn_s, error.retry_after_s) if isinstance(error, ExchangeError) else drawn_s


async def repeated(
    attempt: Callable[[float], Awaitable[T]], retries: Retries, *, repeatable: bool
) -> T:
    """`attempt(timeout_s)`, again while that is safe and the overall deadline has not come."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + retries.overall_s
    delays = Delays(retries)
    unknown: OutcomeUnknownError | None = None
    while True:
        try:
            return await attempt(min(retries.attempt_s, deadline - clock()))
        except ExchangeError as error:
            if isinstance(error, OutcomeUnknownError):
                unknown = error
            wait_s = delays.next_s(error)
            if not _may_repeat(error, repeatable):
                raise
            if clock() + wait_s < deadline:
                await asyncio.sleep(wait_s)
                # An attempt without any time would make unknown what is known not to have happened.
                if clock() < deadline:
                    continue
            raise unknown or error from None


def _may_repeat(error: ExchangeError, repeatable: bool) -> bool:
    if isinstance(error, OutcomeUnknownError):
        return repeatable
    return isinstance(error, UnavailableError) or (
        isinstance(error, RefusedError) and error.retry_safe
    )
