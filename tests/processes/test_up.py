"""`exchange up` with all its parts: ready, degraded, stopped, killed, refused."""

import json
import re
import resource
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from exchange.v1.order_service_pb2 import GetOrderRequest, PlaceOrderRequest
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
from server.exits import Exit
from tests.running import BUSY_S, START_S, Everything, Starter, free_port, is_there, until

GONE_S = 1.0
E8 = 100_000_000


def place(exchange: Everything, order_id: str) -> None:
    """One order that rests."""
    with grpc.insecure_channel(exchange.grpc) as channel:
        OrderServiceStub(channel).PlaceOrder(
            PlaceOrderRequest(
                client_id="alice",
                instrument="BTC-USD",
                side=1,  # type: ignore[arg-type]
                type=1,  # type: ignore[arg-type]
                price_e8=E8,
                quantity_e8=E8,
                order_id=order_id,
            ),
            timeout=10,
            wait_for_ready=True,
        )


def is_kept(exchange: Everything, order_id: str) -> bool:
    with grpc.insecure_channel(exchange.grpc) as channel:
        request = GetOrderRequest(order_id=order_id)
        try:
            OrderServiceStub(channel).GetOrder(request, timeout=10, wait_for_ready=True)
        except grpc.RpcError as error:
            if "NOT_FOUND" not in str(error):
                raise
            return False
    return True


def get(exchange: Everything, path: str) -> Any:
    with urllib.request.urlopen(f"{exchange.http}{path}", timeout=10) as reply:
        return json.load(reply)


def part(exchange: Everything, name: str) -> psutil.Process:
    """The process of one part, or Envoy, which the gateway becomes."""
    for process_id, line in exchange.running.command_lines().items():
        if name in line or Path(line[0]).name == name:
            return psutil.Process(process_id)
    raise AssertionError(f"no {name}")


@pytest.fixture
def cores_wanted() -> Iterator[None]:
    """Whatever is started may leave a core file, as far as this machine allows it."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


@pytest.fixture
def few_files() -> Iterator[None]:
    """Whatever is started begins with few open files, and may take more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("cores_wanted", "few_files")
def test_ready_names_the_addresses_and_all_ends_cleanly(starter: Starter) -> None:
    exchange = starter.up()
    ready = exchange.running.wait_line("ready")
    assert exchange.http in ready
    assert exchange.grpc in ready
    assert str(starter.data_dir) in ready
    assert exchange.running.line("degraded") is None
    exchange.running.wait_line("server   | recovered")
    assert get(exchange, "/healthz")
    place(exchange, "kept")
    parts = exchange.running.children()
    assert len(parts) == 4
    assert {psutil.Process(each).rlimit(resource.RLIMIT_CORE)[0] for each in parts} == {0}
    for each in parts:
        soft, hard = psutil.Process(each).rlimit(resource.RLIMIT_NOFILE)
        assert soft == hard > 512, "it took no more files than it began with"
    assert exchange.running.terminate() == Exit.CLEAN
    assert not any(map(is_there, parts))
    again = starter.up()
    assert "replayed 0" in again.running.wait_line("server   | recovered")
    assert is_kept(again, "kept")
    assert again.running.terminate() == Exit.CLEAN


def test_killed_up_takes_every_part_with_it(starter: Starter) -> None:
    exchange = starter.up()
    place(exchange, "kept")
    parts = exchange.running.children()
    exchange.running.kill()
    until(lambda: not any(map(is_there, parts)), GONE_S + BUSY_S, "the end of every part")
    again = starter.up()
    assert is_kept(again, "kept")


def test_parts_that_die_come_back(starter: Starter) -> None:
    exchange = starter.up()
    place(exchange, "kept")
    for name, program in (("server", "server"), ("gateway", "envoy"), ("follower", "follower")):
        back = exchange.running.lines.count(f"{name} is back")
        part(exchange, program).kill()
        exchange.running.wait_line(f"degraded: {name} is being started again")
        until(lambda: exchange.running.lines.count(f"{name} is back") > back, START_S)  # noqa: B023
    assert is_kept(exchange, "kept")
    assert get(exchange, "/healthz")
    assert exchange.running.terminate() == Exit.CLEAN


def test_a_part_that_can_not_be_started_again_is_tried_again(starter: Starter) -> None:
    """For want of a descriptor, say: the others go on meanwhile."""
    exchange = starter.up()
    supervisor = psutil.Process(exchange.running.pid)
    before = supervisor.rlimit(resource.RLIMIT_NOFILE)
    supervisor.rlimit(resource.RLIMIT_NOFILE, (8, before[1]))
    part(exchange, "follower").kill()
    exchange.running.wait_line("degraded: follower is being started again: the follower can't be")
    place(exchange, "kept")
    supervisor.rlimit(resource.RLIMIT_NOFILE, before)
    exchange.running.wait_line("follower is back")
    assert exchange.running.terminate() == Exit.CLEAN


def test_two_exchanges_side_by_side(starter: Starter, tmp_path: Path) -> None:
    first, second = starter.up(), starter.up(data_dir=tmp_path / "other")
    place(first, "mine")
    place(second, "yours")
    assert is_kept(first, "mine")
    assert not is_kept(first, "yours")
    assert is_kept(second, "yours")
    assert not is_kept(second, "mine")
    assert first.running.terminate() == Exit.CLEAN
    assert get(second, "/healthz")
    assert second.running.terminate() == Exit.CLEAN


def test_second_up_on_the_same_directory_names_the_first(starter: Starter) -> None:
    first = starter.up()
    ports = ("--http-port", str(first.http_port), "--grpc-port", str(first.grpc_port))
    for options in (ports, ("--http-port", str(free_port()), "--grpc-port", str(free_port()))):
        second = starter.run("up", "--data-dir", str(starter.data_dir), *options)
        assert second.wait() == Exit.LOCKED
        assert f"locked by pid {part(first, 'server').pid}" in second.lines[-1]
        assert len(second.lines) == 1, second.lines


@pytest.mark.parametrize("taken", ["http", "grpc"])
def test_taken_port_is_refused(starter: Starter, taken: str) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        port = listener.getsockname()[1]
        ports = {"http": free_port(), "grpc": free_port()} | {taken: port}
        options = [it for name in ports for it in (f"--{name}-port", str(ports[name]))]
        refused = starter.run("up", "--data-dir", str(starter.data_dir), *options)
        assert refused.wait() == Exit.PORT_TAKEN
    assert len(refused.lines) == 1, refused.lines
    assert f"{taken}_port {port} on 127.0.0.1 is taken" in refused.lines[0]


def test_taken_address_of_websocket_is_refused(starter: Starter) -> None:
    """The gateway would send this exchange's callers to whoever has it."""
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        port = listener.getsockname()[1]
        refused = starter.run(
            *("up", "--data-dir", str(starter.data_dir)),
            *("--http-port", str(free_port()), "--grpc-port", str(free_port())),
            *("--websocket", f"localhost:{port}"),
        )
        assert refused.wait() == Exit.PORT_TAKEN
    assert len(refused.lines) == 1, refused.lines
    assert f"websocket {port} on 127.0.0.1 is taken" in refused.lines[0]


@pytest.mark.parametrize(("name", "host"), [("http_port", "localhost"), ("grpc_port", "0.0.0.0")])
def test_an_address_of_websocket_that_is_another_port_of_its_own_is_refused(
    starter: Starter, name: str, host: str
) -> None:
    """The gateway would send callers to itself, or to the server."""
    ports = {"http_port": free_port(), "grpc_port": free_port()}
    refused = starter.run(
        *("up", "--data-dir", str(starter.data_dir)),
        *("--http-port", str(ports["http_port"]), "--grpc-port", str(ports["grpc_port"])),
        *("--websocket", f"{host}:{ports[name]}"),
    )
    assert refused.wait() == Exit.CONFIGURATION
    assert f"it must be another address than {name}'s ({ports[name]})" in refused.lines[0]


def takes(taker: socket.socket, port: int) -> bool:
    """Whether a socket gets a port, which a process that is being ended may still have."""
    try:
        taker.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def test_health_tells_of_a_part_that_does_not_run(starter: Starter) -> None:
    port = free_port()
    exchange = starter.up("--websocket", f"127.0.0.1:{port}")
    health = get(exchange, "/healthz")
    assert (health["status"], health["degraded"]) == ("healthy", [])
    exchange.running.signal(signal.SIGSTOP)
    part(exchange, "websocket").kill()
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        until(lambda: takes(taker, port), 10, "the end of the bridge")
        taker.listen()
        exchange.running.signal(signal.SIGCONT)
        exchange.running.wait_line("degraded: websocket is not running")
        until(lambda: bool(get(exchange, "/healthz")["degraded"]), 10, "a sentence")
        health = get(exchange, "/healthz")
    assert health["status"] == "degraded"
    assert health["degraded"] == ["websocket is not running: exchange up said why"]


def test_server_alone_refuses_a_taken_port(starter: Starter) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        port = listener.getsockname()[1]
        options = ("--data-dir", str(starter.data_dir), "--grpc-port", str(port))
        refused = starter.run("server", *options)
        assert refused.wait() == Exit.PORT_TAKEN
    assert str(port) in refused.lines[-1]


@pytest.mark.parametrize(
    ("options", "environment", "says"),
    [
        (("--http-port", "many"), {}, "http_port is 'many' (option --http-port)"),
        (("--host", "0.0.0.0"), {}, "add --insecure-public"),
        ((), {"PORT": "0"}, "http_port is '0' (variable PORT)"),
        (("--config", "nowhere.toml"), {}, "configuration file nowhere.toml: No such file"),
        (("--config", "/dev/stdin"), {}, "configuration file /dev/stdin is not a regular file"),
    ],
)
def test_wrong_settings_are_refused(
    starter: Starter, options: tuple[str, ...], environment: dict[str, str], says: str
) -> None:
    for command in ("up", "server", "follower", "gateway"):
        refused = starter.run(command, *options, **environment)
        assert refused.wait() == Exit.CONFIGURATION
        assert len(refused.lines) == 1, refused.lines
        assert refused.lines[0].startswith("exchange: ")
        assert says in refused.lines[0]


@pytest.mark.parametrize("host", ["0.0.0.0", "exchange.example"])
def test_the_bridge_is_for_this_machine_unless_told_otherwise(starter: Starter, host: str) -> None:
    websocket = ("--websocket", f"{host}:{free_port()}")
    ports = ("--http-port", str(free_port()), "--grpc-port", str(free_port()))
    for command in ("up", "websocket"):
        refused = starter.run(command, "--data-dir", str(starter.data_dir), *ports, *websocket)
        assert refused.wait() == Exit.CONFIGURATION
        assert len(refused.lines) == 1, refused.lines
        assert f"websocket is {host}:" in refused.lines[0]
        assert "add --insecure-public" in refused.lines[0]


def test_unusable_data_directory_is_refused(starter: Starter, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    for command in ("up", "server"):
        refused = starter.run(command, "--data-dir", str(tmp_path / "file" / "data"))
        assert refused.wait() == Exit.CONFIGURATION
        assert len(refused.lines) == 1, refused.lines
        assert "can't be used" in refused.lines[0]


def test_corrupt_journal_is_refused_in_the_servers_words(starter: Starter) -> None:
    server, _ = starter.server()
    assert server.terminate() == Exit.CLEAN
    journal = starter.data_dir / "journal"
    content = bytearray(journal.read_bytes())
    content[20] ^= 1
    journal.write_bytes(content)
    ports = ("--http-port", str(free_port()), "--grpc-port", str(free_port()))
    refused = starter.run("up", "--data-dir", str(starter.data_dir), *ports)
    assert refused.wait() == Exit.JOURNAL_CORRUPT
    assert refused.lines[-1].startswith(f"exchange: {journal} is corrupt at offset 0")
    assert journal.read_bytes() == content


def test_goes_on_when_nobody_reads_what_it_says() -> None:
    source = "import sys\nfrom server.logs import say\nsys.stdin.read()\nsay('a')\nsay('b')\n"
    speaker = subprocess.Popen(
        [sys.executable, "-c", source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert speaker.stdout is not None
    speaker.stdout.close()
    _, errors = speaker.communicate(timeout=10)
    assert (speaker.returncode, errors) == (0, b"")


def test_nohup_holds_and_interrupt_stops_like_sigterm(starter: Starter) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        exchange = starter.up()
    finally:
        signal.signal(signal.SIGHUP, before)
    status = Path(f"/proc/{exchange.running.pid}/status").read_text(encoding="ascii")
    ignored = re.search(r"^SigIgn:\s*(\w+)$", status, re.MULTILINE)
    assert ignored
    assert int(ignored[1], 16) & 1 << signal.SIGHUP - 1
    exchange.running.signal(signal.SIGINT)
    assert exchange.running.wait(10) == Exit.CLEAN
    assert exchange.running.lines[-1] == "stopped"
