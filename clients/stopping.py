"""How a command that goes on for long is stopped."""

import asyncio
import signal
from contextlib import suppress


def stop_on_signals(*, on_hangup: bool = False) -> asyncio.Event:
    """Give what is set by Ctrl-C, or by a request to end, from now on; `on_hangup` also where the
    terminal goes, unless the command was started with nohup, and so goes on without one."""
    stop = asyncio.Event()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if on_hangup and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        # In a thread other than the main one there are no signals, and nobody to send them.
        with suppress(RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
