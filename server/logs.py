"""Lines for operators: one JSON object each, on standard output.

Each has `time`, `level`, `part` and `message`; what belongs to a call has the caller's
`request_id`, if he gave one. At `info` there is a line for each decision that an operator would
want, none for each order; `debug` has one for each call. Lines of libraries look the same.

Nobody waits for a line: they are queued, and a thread writes them. When `LINES_MAX` wait, because
whoever reads them doesn't, further ones are dropped and counted, and the count is told afterwards.
"""

import atexit
import json
import logging
import sys
import threading
from datetime import UTC, datetime
from logging.handlers import QueueHandler
from queue import Full, Queue
from typing import Final, TextIO

from server.settings import LOG_LEVELS

LINES_MAX: Final = 10_000
"""Lines that wait to be written: a few MB, and more than a second of calls at `debug`."""
FLUSH_SECONDS: Final = 1.0
"""At the end of the process, for what still waits."""

_LOG: Final = logging.getLogger("exchange")


def set_up(part: str, level: str, out: TextIO = sys.stdout) -> "Lines":
    """From now on, for this process."""
    lines = Lines(part, out)
    root = logging.getLogger()
    root.addHandler(lines)
    root.setLevel(logging.INFO)
    set_level(level)
    atexit.register(lines.flush)
    return lines


def set_level(level: str) -> None:
    """Which of our own lines are written; libraries stay at `info`."""
    assert level in LOG_LEVELS, level
    _LOG.setLevel(level.upper())


def level_now() -> str:
    """One of `LOG_LEVELS`."""
    return logging.getLevelName(_LOG.getEffectiveLevel()).lower()


def debugging() -> bool:
    """Whether each call is to be told."""
    return _LOG.isEnabledFor(logging.DEBUG)


def debug(message: str, **fields: object) -> None:
    """Of one call."""
    _LOG.debug(message, extra={"fields": fields})


def info(message: str, **fields: object) -> None:
    """A decision, and what it was about."""
    _LOG.info(message, extra={"fields": fields})


def warning(message: str, **fields: object) -> None:
    """Something that is not as it should be, though everything goes on."""
    _LOG.warning(message, extra={"fields": fields})


class Lines(QueueHandler):
    """Queues lines and writes them."""

    queue: "Queue[logging.LogRecord]"

    def __init__(self, part: str, out: TextIO) -> None:
        super().__init__(Queue(LINES_MAX))
        self.dropped_count = 0
        """Since the last line that told so."""
        self._part = part
        self._out = out
        threading.Thread(target=self._write_all, name="logs", daemon=True).start()

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """A line needs no copy: nothing changes it."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue it, or count it."""
        try:
            self.queue.put_nowait(record)
        except Full:
            self.dropped_count += 1

    def flush(self) -> None:
        """Wait until everything is written, though not for ever."""
        # `Queue.join` takes no bound, and at the interpreter's end no thread can be started for it.
        with self.queue.all_tasks_done:
            self.queue.all_tasks_done.wait_for(
                lambda: not self.queue.unfinished_tasks, FLUSH_SECONDS
            )

    def _write_all(self) -> None:
        while True:
            record = self.queue.get()
            try:
                self._out.write(self.text(record))
                if self.queue.empty():
                    self._out.flush()
            except (OSError, ValueError):
                # Nobody is there to read it, and nobody to tell so.
                pass
            finally:
                self.queue.task_done()

    def text(self, record: logging.LogRecord) -> str:
        """One line."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        content: dict[str, object] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "part": self._part,
            "message": record.getMessage(),
        }
        if record.name != _LOG.name:
            content["logger"] = record.name
        if record.exc_info:
            content["error"] = logging.Formatter().formatException(record.exc_info)
        content |= {
            key: value for key, value in getattr(record, "fields", {}).items() if value != ""
        }
        if self.dropped_count:
            content["lines_dropped"] = self.dropped_count
            self.dropped_count = 0
        return json.dumps(content, default=str) + "\n"
