"""The closed loop of every driver: a request is sent for each one answered, until time is up.

A rate that falls thus shows as fewer requests, not as a queue without end. The clock runs from the
first request to the last reply, so what was in flight at the end is counted in full.
"""

import asyncio
import time
from array import array
from collections.abc import Sequence

from bench.figures import Turn, percentiles


class ClosedLoop:
    """Hands out prepared requests in their order and notes how long each took."""

    def __init__(self, requests: Sequence[bytes], *, first: int, count: int, seconds: float):
        """Send at most `count`, beginning at `first` and from the beginning again at the end."""
        self._requests = requests
        self._first = first
        self._next = first
        self._end = first + count
        self._length_ns = int(seconds * 1e9)
        self._start_ns = self._last_ns = 0
        self._stop_ns = 0
        self._orders = 0
        self._in_flight = 0
        self._latencies_ns = array("q")
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def next_request(self) -> tuple[bytes, int] | None:
        """A request and the time at which it is sent, or nothing: time or requests are over."""
        now_ns = time.perf_counter_ns()
        if self._start_ns == 0:
            self._start_ns = now_ns
            self._stop_ns = now_ns + self._length_ns
        if self._next >= self._end:
            self._stop_ns = now_ns
        if now_ns >= self._stop_ns:
            # Time ran out between the last reply and this question.
            if self._in_flight == 0:
                self.finish()
            return None
        request = self._requests[self._next % len(self._requests)]
        self._next += 1
        self._in_flight += 1
        return request, now_ns

    def answered(self, sent_ns: int, orders: int = 1) -> None:
        """The reply to the request sent then is here."""
        self._last_ns = time.perf_counter_ns()
        self._latencies_ns.append(self._last_ns - sent_ns)
        self._orders += orders
        self._in_flight -= 1
        if self._in_flight == 0 and self._last_ns >= self._stop_ns:
            self.finish()

    def finish(self) -> None:
        """Nothing more will be answered."""
        if not self._finished.done():
            self._finished.set_result(None)

    def fail(self, reason: str) -> None:
        """The server did what no reply may look like: the turn has no figure."""
        if not self._finished.done():
            self._finished.set_exception(RuntimeError(reason))

    async def turn(self, patience_s: float = 30) -> Turn:
        """The figures, once everything sent is answered."""
        await asyncio.wait_for(self._finished, self._length_ns / 1e9 + patience_s)
        return Turn(
            orders=self._orders,
            seconds=(self._last_ns - self._start_ns) / 1e9,
            latencies_ms=percentiles([latency / 1e6 for latency in self._latencies_ns]),
            requests=self._next - self._first,
        )
