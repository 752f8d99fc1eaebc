"""Moments as text, for replies and sentences."""

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=1_024)
def _time_text_of_ms(time_ms: int) -> str:
    """Cached since orders of one record, and an order's two times, mostly have the same."""
    seconds, ms = divmod(time_ms, 1_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"


def time_text(time_ns: int) -> str:
    """RFC 3339, UTC, with milliseconds."""
    return _time_text_of_ms(time_ns // 1_000_000)
