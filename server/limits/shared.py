"""The limiters of a server: its own, or in step with those of other front ends."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from server.limits.leases import LeasedLimiter
from server.limits.limiter import Limiter, limiters
from server.settings import RateLimits

if TYPE_CHECKING:
    from server.limits.redis_leases import RedisLeases


def shared_limits(
    limits: RateLimits | None, url: str, say: Callable[[str], None]
) -> "tuple[Mapping[str, Limiter], RedisLeases | None]":
    """Make the limiters by kind, none where nobody is limited; and what keeps them in step with
    Redis, where one is named."""
    if limits is None:
        return {}, None
    if not url:
        return limiters(limits, Limiter), None
    # Here, since it loads Redis' client.
    from server.limits.redis_leases import RedisLeases

    leased = limiters(limits, LeasedLimiter)
    return leased, RedisLeases(url, leased, say)
