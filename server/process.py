"""The server process: locks and recovers the data directory, then serves until it is told to stop.

Whatever keeps it from serving has a sentence and an exit code. A journal that fails ends it at
once: no reply may go any more, and the next start finds out what is true.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import uvloop

from server import collector, logs
from server.app import Exchange
from server.exits import Exit
from server.journal.lock import DirectoryLock, DirectoryLocked
from server.journal.positions import read_positions
from server.journal.recovery import Progress, Recovered, recover
from server.journal.refusals import JournalRefused
from server.journal.storage import DISK_FULL
from server.metrics.processes import ProcessIds
from server.rpc.server import PortTaken
from server.sequencer.errors import JournalFull
from server.settings import Settings, address, reachable


def main(settings: Settings, on_serving: Callable[[], None], process_ids: ProcessIds) -> int:
    """Serve until SIGTERM or SIGINT: the exit code."""
    os.umask(0o077)
    try:
        lock = DirectoryLock(settings.data_dir)
    except DirectoryLocked as locked:
        return _refused(Exit.LOCKED, str(locked))
    except OSError as error:
        return _unusable(settings.data_dir, error)
    with lock:
        try:
            positions = read_positions(settings.data_dir)
            segment_bytes = settings.journal.segment_bytes
            recovered = recover(settings.data_dir, _say_progress, segment_bytes=segment_bytes)
            logs.say(recovered.report.sentence())
            # For the cancels that are taken though the disk is full.
            recovered.log.segments.reserve(segment_bytes)
        except JournalRefused as refused:
            return _refused(Exit.JOURNAL_CORRUPT, str(refused))
        except OSError as error:
            return _unusable(settings.data_dir, error)

        def on_ready(port: int) -> None:
            lock.announce(address(reachable(settings.host), port))
            on_serving()

        try:
            uvloop.run(_serve(settings, recovered, positions, on_ready, process_ids))
        except PortTaken as taken:
            return _refused(Exit.PORT_TAKEN, str(taken))
        except JournalRefused as refused:
            full = recovered.log.disk_full
            return _refused(Exit.DISK_FULL if full else Exit.APPEND_FAILED, str(refused))
        except JournalFull as refused:
            # The configuration differs from what is journaled, and can't be journaled.
            return _refused(Exit.DISK_FULL, _full(refused.why, settings.data_dir))
    return Exit.CLEAN


async def _serve(
    settings: Settings,
    recovered: Recovered,
    positions: dict[str, int],
    on_ready: Callable[[int], None],
    process_ids: ProcessIds,
) -> None:
    """Serve until a clean stop; `on_ready` is told the gRPC port."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    exchange = Exchange(settings, recovered, positions, process_ids, on_failure=_end_at_once)
    await exchange.start()
    collector.settle()
    on_ready(exchange.port)
    await stop.wait()
    await exchange.stop()


def _end_at_once(reason: str) -> None:
    """End without letting anything go; what is true is found out by the next start."""
    logs.last_word(f"{reason}; ending, the next start recovers")
    os._exit(Exit.APPEND_FAILED)


def _say_progress(progress: Progress) -> None:
    logs.say(progress.sentence())


def _unusable(directory: Path, error: OSError) -> int:
    if error.errno in DISK_FULL:
        return _refused(Exit.DISK_FULL, _full(str(error), directory))
    why = f"data directory {directory} can't be used: {error}; choose another with --data-dir"
    return _refused(Exit.CONFIGURATION, why)


def _full(why: str, directory: Path) -> str:
    return f"journal disk full: {why}; free room in {directory}"


def _refused(code: Exit, why: str) -> int:
    logs.error(why)
    return code
