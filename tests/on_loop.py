"""Waiting for a condition while the test's loop goes on; where it may stand, `running.until`."""

import asyncio
from collections.abc import Callable

UNTIL_S = 60.0
"""On a machine that is busy with other things; well within the time of a test."""


async def until(condition: Callable[[], bool], seconds: float = UNTIL_S) -> None:
    """Let the loop turn until other tasks or threads have made a condition true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - it may be anything's: threads', processes'
            await asyncio.sleep(0.001)
