"""Whether calls are taken: not too many at once, and none at a stop.

Those over `calls_max` are refused in words, for which gRPC takes many more; its own bound says
neither what it is nor that nothing happened, and would refuse health and figures too.

While gRPC's core shuts down, it ends each call that still comes with a bare CANCELLED, which tells
its caller neither why nor whether anything happened. So calls are refused in words first
(NOT_SERVING, nothing happened), until callers have taken that in: for `IDLE_S`, and where a call
comes until none has come for `QUIET_S`, at most for `REFUSING_S_MAX`. The gateway notices within a
second and sends no more.
"""

import asyncio
import time
from typing import Final

from server.rpc.errors import STOPPING, EdgeReason, EdgeReject

IDLE_S: Final = 0.03
"""The time for calls that are on their way; short, since all wait for it whom nobody calls."""
QUIET_S: Final = 0.25
"""The quiet to wait for: what a busy machine takes to get to a call, or a caller to repeat one."""
REFUSING_S_MAX: Final = 1.5
"""The time for refusing: longer than the second between two looks of the gateway."""
HEALTH: Final = "grpc.health.v1.Health"
"""The service that answers at a stop too, that nothing is served."""
UNCOUNTED: Final = frozenset({"exchange.http.v1.SystemService", HEALTH})
"""Services whose calls, though not their streams, are taken also while there are too many."""


class Intake:
    """Takes calls until the server is stopped."""

    def __init__(self, calls_max: int) -> None:
        self.closed = False
        self.calls = 0
        """Calls in flight, streams included."""
        self.calls_max = calls_max
        self._last = -QUIET_S

    def refusal(self) -> EdgeReject:
        """Refuse a call that is one too many, or comes after it closed."""
        if not self.closed:
            return EdgeReject(EdgeReason.OVERLOADED, "calls in flight", self.calls, self.calls_max)
        self._last = time.monotonic()
        return STOPPING

    async def close(self) -> None:
        """Refuse calls from now on; returns when hardly anybody calls any more."""
        self.closed = True
        now = began = time.monotonic()
        while now < (until := self._until(began)):
            await asyncio.sleep(until - now)
            now = time.monotonic()

    def _until(self, began: float) -> float:
        return min(max(began + IDLE_S, self._last + QUIET_S), began + REFUSING_S_MAX)
