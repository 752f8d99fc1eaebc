"""Moments as text: RFC 3339, UTC."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

MS_NS: Final = 1_000_000
"""A millisecond."""


@lru_cache(maxsize=1_024)
def _time_text_of_ms(time_ms: int) -> str:
    """Cached since orders of one record, and an order's two times, mostly have the same."""
    seconds, ms = divmod(time_ms, 1_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"


def time_text(time_ns: int) -> str:
    """Write a time with milliseconds, as replies have them."""
    return _time_text_of_ms(time_ns // MS_NS)


def time_text_in_full(time_ns: int) -> str:
    """Write a time with milliseconds, or to the nanosecond where those don't tell it."""
    return exact_time_text(time_ns) if time_ns % MS_NS else time_text(time_ns)


def exact_time_text(time_ns: int) -> str:
    """Write a time to the nanosecond, where two of the same millisecond have to be told apart."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def second_text(time_ns: int) -> str:
    """Write a time to the second, for sentences."""
    return f"{datetime.fromtimestamp(time_ns // 1_000_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
