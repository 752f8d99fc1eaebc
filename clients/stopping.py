"""How a command that goes on for long is stopped."""

import asyncio
import signal
from contextlib import suppress


def stop_on_signals() -> asyncio.Event:
    """Set by Ctrl-C, or by a request to end, from now on."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # In a thread other than the main one there are no signals, and nobody to send them.
        with suppress(RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
