"""Lines for operators, on standard output: sentences for people, JSON objects for programs.

How a part starts, stops or goes on without another is said in sentences; what it decides while it
serves is told in JSON. Where the format `json` is asked for, everything is, the sentences too, but
for the one line `ready` that a script may wait for.

A JSON line has `time`, `level`, `part` and `message`; what belongs to a call has the caller's
`request_id`, if he gave one. At `info` there is a line for each decision that an operator would
want, none for each order; `debug` has one for each call. Lines of libraries look the same; what
callers make them say (`OF_CALLERS`), who may send secrets, is not written.

Nobody waits for a line, nor for a paused terminal: they are queued, and a thread writes them, past
the interpreter's own buffer, whose lock would hold up the end of the process. When `LINES_MAX`
wait, because whoever reads them doesn't, further ones are dropped and counted, and the count is
told afterwards. A line that a full disk doesn't take is lost, and nothing else: everything goes on,
and lines come again once there is room.
"""

import atexit
import json
import logging
import os
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from logging.handlers import QueueHandler
from queue import Full, Queue
from typing import Final, Protocol

from server.settings import LOG_LEVELS

LINES_MAX: Final = 10_000
"""Lines that wait to be written: a few MB, and more than a second of calls at `debug`."""
FLUSH_S: Final = 1.0
"""At the end of the process, for what still waits."""

ERROR_PREFIX: Final = "exchange: "
"""A part that can't go on says why in one line, which begins with this or is at level `LAST`."""
LAST: Final = "critical"

OF_CALLERS: Final = {
    # A reply that could not be sent: its caller has gone. Metadata that is no text.
    "grpc._cython.cygrpc": ("ExecuteBatchError raised in core by ", "Invalid encoding on "),
}
"""How such lines begin, by logger."""

_LOG: Final = logging.getLogger("exchange")


class _Way:
    """How this process tells; one for a process, as for `logging`."""

    part = "exchange"
    only_json = False
    lines: "Lines | None" = None
    """Until there are, what is said is written at once."""


def begin(part: str, *, only_json: bool) -> None:
    """Set which part this is, and whether even its sentences are for programs."""
    _Way.part, _Way.only_json = part, only_json
    atexit.register(_let_go)


def set_up(level: str) -> None:
    """Take lines from now on; to be called once, after `begin`."""
    lines = _Way.lines = Lines(_Way.part, Standard())
    root = logging.getLogger()
    root.addHandler(lines)
    root.setLevel(logging.INFO)
    set_level(level)
    atexit.register(lines.flush)


def set_level(level: str) -> None:
    """Set which of our own lines are written; libraries stay at `info`."""
    assert level in LOG_LEVELS, level
    _LOG.setLevel(level.upper())


def level_now() -> str:
    """Give the level, one of `LOG_LEVELS`."""
    return logging.getLevelName(_LOG.getEffectiveLevel()).lower()


def debugging() -> bool:
    """Whether each call is to be told."""
    return _LOG.isEnabledFor(logging.DEBUG)


def say(sentence: str) -> None:
    """Something about a start or a stop, for whoever watches."""
    if _Way.only_json:
        _LOG.log(logging.INFO, sentence)
    else:
        show(sentence)


def complain(sentence: str) -> None:
    """Tell of something that is not as it should be, for whoever watches."""
    if _Way.only_json:
        _LOG.log(logging.WARNING, sentence)
    else:
        show(sentence)


def pass_on(part: str, line: str) -> None:
    """What another part wrote: a line of its own, or something that it did not mean to say."""
    if line.startswith("{"):
        show(line)
    elif _Way.only_json:
        _LOG.log(logging.WARNING, line, extra={"fields": {"part": part}})
    else:
        show(f"{part:<8} | {line}")


def show(line: str) -> None:
    """One line as it is; once nobody reads any more, for nobody."""
    if _Way.lines is not None:
        _Way.lines.enqueue(line)
        return
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _write_to_nobody()
    except OSError:
        # The disk below it is full, or fails: what the line tells of happens all the same.
        pass


def _write_to_nobody() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _let_go() -> None:
    """What could not be written is not tried again by the interpreter, whose exit code it would
    change."""
    try:
        sys.stdout.flush()
    except OSError:
        _write_to_nobody()


def flush() -> None:
    """Wait until what was said is written, though not for ever."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def last_word(sentence: str) -> None:
    """Why this process can't go on, before it ends; waits for nothing that may not come."""
    if _Way.only_json:
        record = logging.LogRecord(_LOG.name, logging.CRITICAL, "", 0, sentence, (), None)
        line = json_line(_Way.part, record)
    else:
        line = f"{ERROR_PREFIX}{sentence}\n"
    with suppress(OSError):
        os.write(2, line.encode(errors="backslashreplace"))


def error(sentence: str) -> None:
    """The last word of a command that can't go on, after what it said before."""
    flush()
    last_word(sentence)


def last_word_in(line: str) -> str:
    """The sentence, if the line is a part's last word."""
    if line.startswith(ERROR_PREFIX):
        return line.removeprefix(ERROR_PREFIX)
    if line.startswith("{") and f'"level": "{LAST}"' in line:
        return str(json.loads(line)["message"])
    return ""


def debug(message: str, **fields: object) -> None:
    """Write a line about one call."""
    _LOG.debug(message, extra={"fields": fields})


def info(message: str, **fields: object) -> None:
    """Write a line about a decision, and what it was about."""
    _LOG.info(message, extra={"fields": fields})


def warning(message: str, **fields: object) -> None:
    """Something that is not as it should be, though everything goes on."""
    _LOG.warning(message, extra={"fields": fields})


def failure(message: str, **fields: object) -> None:
    """A mistake of our own, with the exception that is being handled."""
    _LOG.exception(message, extra={"fields": fields})


class Output(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> object:
        """Write all of it, however long that takes."""


class Standard:
    """Standard output."""

    def __init__(self) -> None:
        self._descriptor = sys.stdout.fileno()
        self._encoding = sys.stdout.encoding
        is_strict = sys.stdout.errors == "strict"
        self._errors = "backslashreplace" if is_strict else str(sys.stdout.errors)

    def write(self, text: str, /) -> None:
        """Write all of it, however long that takes."""
        left = text.encode(self._encoding, self._errors)
        while left:
            left = left[os.write(self._descriptor, left) :]


class Lines(QueueHandler):
    """Queues lines and writes them."""

    queue: "Queue[logging.LogRecord | str]"

    def __init__(self, part: str, out: Output) -> None:
        super().__init__(Queue(LINES_MAX))
        self.dropped_count = 0
        """Lines that were dropped since the last line that told so."""
        self._part = part
        self._out = out
        threading.Thread(target=self._write_all, name="logs", daemon=True).start()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is to be written."""
        return not str(record.msg).startswith(OF_CALLERS.get(record.name, ()))

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """A line needs no copy: nothing changes it."""
        return record

    def enqueue(self, record: logging.LogRecord | str) -> None:
        """Queue it, or a line as it is, or count it."""
        try:
            self.queue.put_nowait(record)
        except Full:
            self.dropped_count += 1

    def flush(self) -> None:
        """Wait until everything is written, though not for ever."""
        # `Queue.join` takes no bound, and at the interpreter's end no thread can be started for it.
        with self.queue.all_tasks_done:
            self.queue.all_tasks_done.wait_for(lambda: not self.queue.unfinished_tasks, FLUSH_S)

    def _write_all(self) -> None:
        while True:
            record = self.queue.get()
            try:
                self._out.write(self._text(record))
            except (OSError, ValueError):
                # Nobody is there to read it, and nobody to tell so.
                pass
            finally:
                self.queue.task_done()

    def _text(self, record: logging.LogRecord | str) -> str:
        dropped_count, self.dropped_count = self.dropped_count, 0
        if isinstance(record, logging.LogRecord):
            return json_line(self._part, record, dropped_count)
        if not dropped_count:
            return f"{record}\n"
        gap = logging.LogRecord(_LOG.name, logging.WARNING, "", 0, "lines dropped", (), None)
        return f"{json_line(self._part, gap, dropped_count)}{record}\n"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # whatever a library's values make of its text
        return f"{record.msg} {record.args}"


def json_line(part: str, record: logging.LogRecord, dropped_count: int = 0) -> str:
    """One line, with the count of those that are missing before it."""
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
    content: dict[str, object] = {
        "time": moment.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "part": part,
        "message": _message(record),
    }
    if record.name != _LOG.name:
        content["logger"] = record.name
    if record.exc_info:
        content["error"] = logging.Formatter().formatException(record.exc_info)
    content |= {key: value for key, value in getattr(record, "fields", {}).items() if value != ""}
    if dropped_count:
        content["lines_dropped"] = dropped_count
    return json.dumps(content, default=str) + "\n"
