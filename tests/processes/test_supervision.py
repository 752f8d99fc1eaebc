"""Starting, watching and stopping parts, with small programs in their place."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import pytest_asyncio

from server.exits import Exit
from server.supervisor import child_process, supervision
from server.supervisor.child_process import ChildProcess
from server.supervisor.supervision import RESTARTS_MAX, GaveUp, Supervised, Supervisor
from tests.on_loop import until

SERVES = """
import signal, sys
from server.supervisor.parent import Parent
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
Parent.follow().serving()
signal.pause()
"""
DEAF = """
import signal
from server.supervisor.parent import Parent
signal.signal(signal.SIGTERM, signal.SIG_IGN)
Parent.follow().serving()
while True: signal.pause()
"""
STARTS_ANOTHER = """
import subprocess
another = subprocess.Popen(["sleep", "30"], start_new_session=True)
print("another process:", another.pid, flush=True)
"""
ENDS = "import sys; print('exchange: no good'); sys.exit({code})"


class Exchange:
    """A supervisor of four such programs, and what it said."""

    def __init__(
        self, server: str, gateway: str = SERVES, follower: str = SERVES, server_s: float = 1.0
    ) -> None:
        self.said: list[str] = []
        self.parts: dict[str, ChildProcess] = {
            name: ChildProcess(name, [sys.executable, "-c", source], self.pass_on, stop_s)
            for name, source, stop_s in (
                ("server", server, server_s),
                ("gateway", gateway, 1.0),
                ("follower", follower, 1.0),
                ("websocket", SERVES, 1.0),
            )
        }
        server_part, gateway_part, follower_part, websocket_part = self.parts.values()
        self.supervisor = Supervisor(
            server_part, gateway_part, follower_part, websocket_part, self.said.append
        )

    def pass_on(self, name: str, line: str) -> None:
        self.said.append(f"{name:<8} | {line}")

    def process_id(self, name: str) -> int:
        process = self.parts[name]._process
        assert process is not None
        return process.pid


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Callable[..., Exchange]]:
    started: list[Exchange] = []

    def start(
        server: str = SERVES, gateway: str = SERVES, follower: str = SERVES, server_s: float = 1.0
    ) -> Exchange:
        started.append(Exchange(server, gateway, follower, server_s))
        return started[-1]

    yield start
    for exchange in started:
        await exchange.supervisor.stop()


def others(exchange: Exchange) -> list[int]:
    """The processes that programs have started which are `STARTS_ANOTHER`, too."""
    return [int(line.split()[-1]) for line in exchange.said if "another process:" in line]


def is_there(process_id: int) -> bool:
    """An orphan that nobody has buried yet is not there any more."""
    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.asyncio
async def test_all_serve_and_stop(start: Callable[..., Exchange]) -> None:
    exchange = start()
    assert await exchange.supervisor.start() == []
    assert await exchange.supervisor.stop() == []
    assert not any(part.running for part in exchange.parts.values())
    assert exchange.said == []


@pytest.mark.asyncio
async def test_one_that_serves_late_is_told_of_twice(
    start: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervision, "SETTLE_S", 0.1)
    waits = f"import os, time\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.01)"
    exchange = start(follower=waits + SERVES)
    assert "follower does not serve yet" in await exchange.supervisor.start()
    (tmp_path / "go").touch()
    await until(lambda: "follower is back" in exchange.said)


@pytest.mark.asyncio
async def test_a_part_that_dies_is_started_again(start: Callable[..., Exchange]) -> None:
    exchange = start()
    await exchange.supervisor.start()
    for name in exchange.parts:
        exchange.parts[name].kill()
        await until(lambda: f"{name} is back" in exchange.said)  # noqa: B023
    assert "degraded: server is being started again: the server was ended by signal 9" in " ".join(
        exchange.said
    )


@pytest.mark.asyncio
async def test_the_end_of_a_part_is_seen_while_what_it_started_goes_on(
    start: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of PostgreSQL that hangs, say: it has the same output."""
    monkeypatch.setattr(child_process, "OUTPUT_S", 0.05)
    exchange = start(follower=STARTS_ANOTHER + SERVES)
    await exchange.supervisor.start()
    await until(lambda: len(others(exchange)) == 1)
    os.kill(exchange.process_id("follower"), signal.SIGKILL)
    await until(lambda: "follower is back" in exchange.said and len(others(exchange)) == 2)
    for process_id in others(exchange):
        assert is_there(process_id)
        os.kill(process_id, signal.SIGKILL)


@pytest.mark.asyncio
async def test_one_that_always_dies_is_given_up_and_named(
    start: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "DELAY_FIRST_S", 0.001)
    exchange = start(server=ENDS.format(code=1))
    with pytest.raises(GaveUp) as gave_up:
        await exchange.supervisor.start()
    assert gave_up.value.code == Exit.FAILED
    assert "the server was started again 5 times within 60 s and ended again: no good" in str(
        gave_up.value
    )
    delays = [line.split(" (in ")[1] for line in exchange.said]
    assert len(delays) == 5


@pytest.mark.asyncio
async def test_restarts_of_long_ago_are_forgotten(
    start: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "DELAY_FIRST_S", 0.001)
    monkeypatch.setattr(supervision, "RESTARTS_S", 0.0)
    exchange = start(follower=ENDS.format(code=1))
    starting = asyncio.create_task(exchange.supervisor.start())
    await until(lambda: sum("(in 0.0 s)" in line for line in exchange.said) > 6)
    starting.cancel()


@pytest.mark.asyncio
async def test_a_part_beside_is_tried_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, delays = 0.0, list[float]()

    async def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds
        delays.append(seconds)

    monkeypatch.setattr(supervision, "time", SimpleNamespace(monotonic=lambda: now_s))
    monkeypatch.setattr(asyncio, "sleep", sleep)
    part = ChildProcess("postgres", [], lambda *_: None, 1.0)
    supervised = Supervised(part, lambda _: None, lambda: None, beside=True)
    for _ in range(100):
        await supervised._pause("no good", for_good=False)
    assert delays == [0.1 * 2 ** min(number, 8) for number in range(100)]
    now_s += 3_600
    await supervised._pause("no good", for_good=False)
    assert delays[-1] == 0.1


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [Exit.LOCKED, Exit.JOURNAL_CORRUPT, Exit.PORT_TAKEN])
async def test_a_server_that_cannot_start_is_believed(
    start: Callable[..., Exchange], code: Exit
) -> None:
    exchange = start(server=ENDS.format(code=int(code)))
    with pytest.raises(GaveUp) as gave_up:
        await exchange.supervisor.start()
    assert (gave_up.value.code, str(gave_up.value)) == (code, "no good")
    assert exchange.said == []


@pytest.mark.asyncio
async def test_a_server_waits_for_who_reads_its_journal_meanwhile(
    start: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Between its end and its next start the directory is anybody's who verifies or exports it."""
    monkeypatch.setattr(supervision, "DELAY_FIRST_S", 0.001)
    taken = tmp_path / "taken"
    locked = f"import os\nif os.path.exists({str(taken)!r}): " + ENDS.format(code=int(Exit.LOCKED))
    exchange = start(server=locked + SERVES)
    await exchange.supervisor.start()
    taken.touch()
    exchange.parts["server"].kill()
    await until(lambda: sum("no good" in line for line in exchange.said) > 2 * RESTARTS_MAX)
    taken.unlink()
    await until(lambda: "server is back" in exchange.said)


@pytest.mark.asyncio
async def test_a_part_beside_that_can_not_even_be_begun_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervision, "DELAY_FIRST_S", 0.001)
    said: list[str] = []
    part = ChildProcess("postgres", [sys.executable, "-c", SERVES], lambda *_: None, 1.0)
    begin = part.run

    async def run(on_change: Callable[[], None]) -> int:
        if len(said) < 3:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return await begin(on_change)

    monkeypatch.setattr(part, "run", run)
    supervised = Supervised(part, said.append, lambda: None, beside=True)
    supervised.begin()
    await until(lambda: "postgres is back" in said)
    await supervised.stop()


@pytest.mark.asyncio
async def test_without_gateway_and_follower_it_is_degraded(start: Callable[..., Exchange]) -> None:
    exchange = start(
        gateway=ENDS.format(code=int(Exit.PART_MISSING)),
        follower=ENDS.format(code=int(Exit.DIVERGED)),
    )
    assert await exchange.supervisor.start() == [
        "gateway is not running: no good",
        "follower is not running: no good",
    ]
    assert exchange.parts["server"].running


@pytest.mark.asyncio
async def test_one_that_does_not_stop_is_made_to(start: Callable[..., Exchange]) -> None:
    exchange = start(server=DEAF)
    await exchange.supervisor.start()
    process_id = exchange.process_id("server")
    assert await exchange.supervisor.stop() == ["server"]
    assert not is_there(process_id)


@pytest.mark.asyncio
async def test_what_a_part_started_is_made_to_stop_with_it(start: Callable[..., Exchange]) -> None:
    exchange = start(follower=STARTS_ANOTHER + DEAF)
    await exchange.supervisor.start()
    await until(lambda: len(others(exchange)) == 1)
    async with asyncio.timeout(10):
        await exchange.supervisor.stop()
    await until(lambda: not is_there(*others(exchange)))


@pytest.mark.asyncio
async def test_the_server_goes_first_and_the_gateway_after_who_has_callers_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever times they have: all the same here."""
    names = ("server", "gateway", "follower", "websocket")
    command = [sys.executable, "-c", SERVES]
    parts = {name: ChildProcess(name, command, lambda *_: None, 20.0) for name in names}
    running: dict[str, set[str]] = {}
    stop = ChildProcess.stop

    async def noted(part: ChildProcess) -> bool:
        running[part.name] = {name for name in names if parts[name].running}
        return await stop(part)

    monkeypatch.setattr(ChildProcess, "stop", noted)
    server, gateway, follower, websocket = (parts[name] for name in names)
    supervisor = Supervisor(server, gateway, follower, websocket, print)
    await supervisor.start()
    assert await supervisor.stop() == []
    assert "server" not in running["websocket"]
    assert running["gateway"] == {"gateway"}


@pytest.mark.asyncio
async def test_all_have_their_time_within_that_of_the_server(
    start: Callable[..., Exchange],
) -> None:
    exchange = start(server=DEAF, server_s=3.0)
    await exchange.supervisor.start()
    stopping = asyncio.create_task(exchange.supervisor.stop())
    await until(lambda: not exchange.parts["gateway"].running)
    assert exchange.parts["server"].running
    assert await stopping == ["server"]


@pytest.mark.asyncio
async def test_stopped_before_it_serves(start: Callable[..., Exchange]) -> None:
    exchange = start(server="import signal; signal.pause()")
    starting = asyncio.create_task(exchange.supervisor.start())
    await until(lambda: exchange.parts["server"].running)
    assert await exchange.supervisor.stop() == []
    assert not exchange.parts["server"].running
    starting.cancel()


@pytest.mark.asyncio
@pytest.mark.parametrize("serves", [True, False])
async def test_a_signal_of_its_own_is_for_a_part_that_serves(*, serves: bool) -> None:
    """Before that it may be a program of Python's still, which would tell of an interrupt."""
    program = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)\n" if serves else ""
    program += SERVES if serves else "import signal; signal.pause()"
    command = [sys.executable, "-c", program]
    part = ChildProcess("postgres", command, print, 1.0, stop_signal=signal.SIGINT)
    running = asyncio.create_task(part.run(lambda: None))
    await until(lambda: part.serving.is_set() if serves else part.running)
    assert await part.stop()
    assert await running == -(signal.SIGINT if serves else signal.SIGTERM)


@pytest.mark.asyncio
async def test_stopped_while_one_waits_to_be_started_again(start: Callable[..., Exchange]) -> None:
    exchange = start(follower=ENDS.format(code=1))
    starting = asyncio.create_task(exchange.supervisor.start())
    await until(lambda: bool(exchange.said) and "(in 0.8 s)" in exchange.said[-1])
    assert await exchange.supervisor.stop() == []
    starting.cancel()
    assert not any(part.running for part in exchange.parts.values())


@pytest.mark.asyncio
@pytest.mark.parametrize("is_back", [False, True], ids=["waits", "recovers"])
async def test_a_stop_after_the_server_was_killed_is_not_clean(
    start: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_back: bool
) -> None:
    """Its next process, which has yet to recover, changes nothing."""
    monkeypatch.setattr(supervision, "DELAY_FIRST_S", 0.001 if is_back else 60.0)
    killed = tmp_path / "killed"
    recovers = f"import os, signal\nif os.path.exists({str(killed)!r}): signal.pause()\n"
    exchange = start(server=recovers + SERVES)
    await exchange.supervisor.start()
    killed.touch()
    before = exchange.process_id("server")
    exchange.parts["server"].kill()
    await until(lambda: any("server is being started again" in line for line in exchange.said))
    if is_back:
        await until(lambda: exchange.parts["server"].process_id not in (None, before))
    assert await exchange.supervisor.stop() == ["server"]


@pytest.mark.asyncio
async def test_lines_are_prefixed_and_long_ones_cut(start: Callable[..., Exchange]) -> None:
    exchange = start(server="print('recovered'); print('x' * 200_000)" + SERVES)
    await exchange.supervisor.start()
    await until(lambda: sum(map(len, exchange.said)) > 200_000)
    assert exchange.said[0] == "server   | recovered"
    assert max(map(len, exchange.said)) < 140_000


@pytest.mark.asyncio
@pytest.mark.parametrize("tie", ["kernel", "socket"])
async def test_a_part_goes_with_its_parent(tmp_path: Path, tie: str) -> None:
    """Either tie alone is enough: the other one is cut first."""
    cut = {
        "socket": "parent._PR_SET_PDEATHSIG = 0",
        "kernel": "parent._end_with = lambda link: None",
    }[tie]
    child = tmp_path / "child.py"
    child.write_text(
        f"from server.supervisor import parent\n{cut}\n"
        "import os, signal\n"
        "parent.Parent.follow().serving()\n"
        "signal.pause()\n"
    )
    watcher = tmp_path / "watcher.py"
    watcher.write_text(
        "import asyncio, sys\n"
        "from server.supervisor.child_process import ChildProcess\n"
        "async def main():\n"
        f"    part = ChildProcess('child', [sys.executable, {str(child)!r}], print, 1)\n"
        "    task = asyncio.create_task(part.run(lambda: None))\n"
        "    await part.serving.wait()\n"
        "    print(part._process.pid, flush=True)\n"
        "    await task\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(watcher), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    child_id = int(await process.stdout.readline())
    process.kill()
    await process.wait()
    await until(lambda: not is_there(child_id), seconds=1)
