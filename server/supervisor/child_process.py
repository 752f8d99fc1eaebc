"""A part as `exchange up` sees it: a child process, its lines, and whether it serves."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

import psutil

from server import logs
from server.supervisor.parent import SERVING, VARIABLE

LINE_BYTES_MAX: Final = 64 * 1024
"""A longer line of a child is shown in pieces, so that memory has a bound."""
OUTPUT_S: Final = 1.0
"""The time from the end of a process until its output is closed: what it had started may go on, and
has the same output."""


class ChildProcess:
    """Starts, watches and stops a process; how often is decided elsewhere.

    It says itself when it serves, or `probe` returns then, for a program that is not ours.
    `stop_signal` asks it to end once it serves, SIGTERM before.
    `while_running` is given the id of its process, and cancelled at the end of it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        pass_on: Callable[[str, str], None],
        stop_s: float,
        probe: Callable[[], Awaitable[None]] | None = None,
        stop_signal: int = signal.SIGTERM,
        while_running: Callable[[int], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self.name = name
        self._while_running = while_running
        self.stop_s = stop_s
        """The time from the signal until the process is ended the hard way."""
        self._probe = probe
        self._stop_signal = stop_signal
        self.serving = asyncio.Event()
        self.sentence = ""
        """The reason why the process ended, in its own words."""
        self._command = command
        self._pass_on = pass_on
        self._process: asyncio.subprocess.Process | None = None
        self._link: asyncio.StreamWriter | None = None

    @property
    def running(self) -> bool:
        """Tell whether there is a process."""
        return self._process is not None

    @property
    def process_id(self) -> int | None:
        """Give the id of the process, if there is one."""
        return None if self._process is None else self._process.pid

    def send(self, line: bytes) -> None:
        """Send a line to the process, if there is one; its `Parent` receives it."""
        if self._link is not None and not self._link.is_closing():
            self._link.write(line)

    async def run(self, on_change: Callable[[], None]) -> int:
        """Start the process and wait for its end: the exit code, negative for a signal. `on_change`
        is called when its process is there, and when it is gone."""
        here, there = socket.socketpair()
        # With a pipe of asyncio's, a process ends for it once nobody has the pipe any more.
        reading, writing = os.pipe()
        self.sentence = ""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(there.fileno(),),
                env={**os.environ, VARIABLE: f"{there.fileno()}:{os.getpid()}"},
                # Of its own, so that Ctrl-C reaches only the one who stops the parts in order.
                process_group=0,
            )
        except BaseException:
            here.close()
            os.close(reading)
            raise
        finally:
            there.close()
            os.close(writing)
        self._process = process
        reader, writer = await asyncio.open_connection(sock=here)
        output, pipe = await _connected(reading)
        self._link = writer
        on_change()
        beside = [
            asyncio.create_task(self._hear(reader)),
            asyncio.create_task(_close_after(process, pipe)),
        ]
        if self._while_running is not None:
            beside.append(asyncio.create_task(self._while_running(process.pid)))
        try:
            async for line in _lines(output):
                self._take(line)
            return await process.wait()
        finally:
            self.kill()
            await process.wait()
            for task in beside:
                task.cancel()
            writer.close()
            pipe.close()
            self.serving.clear()
            self._process = self._link = None
            on_change()

    async def stop(self) -> bool:
        """Ask the process to end, and after its time make it; tell whether it ended by itself."""
        process = self._process
        if process is None:
            return True
        # Until it serves it may still be the program that becomes it, to which SIGINT is Ctrl-C.
        number = self._stop_signal if self.serving.is_set() else signal.SIGTERM
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            await asyncio.wait_for(process.wait(), self.stop_s)
        except TimeoutError:
            self.kill()
            return False
        return True

    def kill(self) -> None:
        """End the process the hard way, with all that it has started."""
        if self._process is None or self._process.returncode is not None:
            return
        started: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            started = psutil.Process(self._process.pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        for each in started:
            with contextlib.suppress(psutil.Error):
                each.kill()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        if self._probe is not None:
            await self._probe()
            self.serving.set()
            return
        with contextlib.suppress(ConnectionError):
            if await reader.readline() == SERVING:
                self.serving.set()

    def _take(self, line: str) -> None:
        if last_word := logs.last_word_in(line):
            self.sentence = last_word
        else:
            self._pass_on(self.name, line)


async def _connected(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """Connect the end of a pipe that is read."""
    output = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(output), os.fdopen(descriptor, "rb", buffering=0)
    )
    return output, pipe


async def _close_after(process: asyncio.subprocess.Process, output: asyncio.ReadTransport) -> None:
    """Close the output of a process some time after its end."""
    await process.wait()
    await asyncio.sleep(OUTPUT_S)
    output.close()


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    waiting = b""
    while chunk := await reader.read(LINE_BYTES_MAX):
        *whole, waiting = (waiting + chunk).split(b"\n")
        if len(waiting) > LINE_BYTES_MAX:
            whole.append(waiting)
            waiting = b""
        for line in whole:
            yield line.decode(errors="replace")
    if waiting:
        yield waiting.decode(errors="replace")
