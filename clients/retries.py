"""When a call is made again, and when that would be wrong.

A call is repeated, with a growing delay, inside one overall deadline:

- always when nothing happened: the exchange could not be reached, or refused with `retry_safe`;
- when the outcome is unknown, only if a repeat is harmless: a read, or a command that carries an
  idempotency key (the exchange then answers with the first outcome). Without a key, never.

Delays double from `delay_first_s` to `delay_max_s`, each drawn from its upper half, so that clients
which lost the same server don't come back in step. Once one attempt's outcome is unknown the call's
is, until an answer comes: giving up later for another reason still raises OutcomeUnknownError.
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

    def __post_init__(self) -> None:
        for name in ("attempt_s", "overall_s", "delay_first_s", "delay_max_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0 seconds; got {getattr(self, name)!r}")


async def repeated(
    attempt: Callable[[float], Awaitable[T]], retries: Retries, *, repeatable: bool
) -> T:
    """`attempt(timeout_s)`, again while that is safe and the overall deadline has not come."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + retries.overall_s
    delay_s = retries.delay_first_s
    unknown: OutcomeUnknownError | None = None
    while True:
        try:
            return await attempt(min(retries.attempt_s, deadline - clock()))
        except ExchangeError as error:
            if isinstance(error, OutcomeUnknownError):
                unknown = error
            wait_s = random.uniform(delay_s / 2, delay_s)
            if not _may_repeat(error, repeatable):
                raise
            if clock() + wait_s >= deadline:
                raise unknown or error from None
        await asyncio.sleep(wait_s)
        delay_s = min(delay_s * 2, retries.delay_max_s)


def _may_repeat(error: ExchangeError, repeatable: bool) -> bool:
    if isinstance(error, OutcomeUnknownError):
        return repeatable
    return isinstance(error, UnavailableError) or (
        isinstance(error, RefusedError) and error.retry_safe
    )
