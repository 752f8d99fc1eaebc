"""Lines for operators: what each holds, which there are, and that nobody waits for them."""

import fcntl
import io
import json
import logging
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import grpc
import httpx
import psutil
import pytest

from exchange.v1.admin_service_pb2 import (
    GetStatusRequest,
    SetInstrumentRequest,
    SetLogLevelRequest,
)
from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
from exchange.v1.market_data_pb2 import Instrument
from server import logs
from server.exits import Exit
from tests.gateway.test_websocket_faults import h2_frame
from tests.gateway.websocket_client import client_of
from tests.running import Everything, Running, Starter, free_port, is_there, until


def told(running: Running, message: str, **fields: object) -> dict[str, Any]:
    """The first line with this message and these fields, once it is there."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for line in list(running.lines):
            if line.startswith("{"):
                content: dict[str, Any] = json.loads(line)
                if content["message"] == message and fields.items() <= content.items():
                    return content
        time.sleep(0.01)
    raise AssertionError(f"no line {message!r} with {fields} in {running.lines}")


def contents(running: Running) -> list[dict[str, Any]]:
    """All JSON lines so far."""
    return [json.loads(line) for line in list(running.lines) if line.startswith("{")]


def is_well(exchange: Everything) -> bool:
    """Whether its server is there, and all of it."""
    with suppress(httpx.TransportError):
        return httpx.get(f"{exchange.http}/healthz", timeout=5).status_code == 200
    return False


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_full_disk_below_the_log_stops_nothing(starter: Starter, log_format: str) -> None:
    """[I11] Fault 9: not the start, nor what is told while it runs, nor the exit code."""
    http_port, grpc_port = free_port(), free_port()
    running = starter.run(
        *("up", "--data-dir", str(starter.data_dir), "--log-format", log_format),
        *("--http-port", str(http_port), "--grpc-port", str(grpc_port)),
        module="tests.processes.full_log",
    )
    everything = Everything(running, http_port, grpc_port)
    until(lambda: is_well(everything), 30, "a whole exchange")
    server = processes(everything)["server"]
    psutil.Process(server).kill()
    until(lambda: not is_there(server) and is_well(everything), 30, "a server that is back")
    assert running.terminate() == Exit.CLEAN
    assert not [line for line in running.lines if "Traceback" in line], running.lines


def said(running: Running, beginning: str) -> bool:
    """Whether there is a JSON line whose message begins so."""
    return any(each["message"].startswith(beginning) for each in contents(running))


def processes(exchange: Everything) -> dict[str, int]:
    """Process ids of its parts, by name."""
    found = {}
    for process_id, words in exchange.running.command_lines().items():
        if "--config-path" in words:
            found["gateway"] = process_id
        elif "-m" in words:
            found[words[words.index("-m") + 2]] = process_id
    return found


def body(order_id: str, **changes: object) -> dict[str, object]:
    given = {"client_id": "A", "side": "buy", "type": "limit", "price": 9, "quantity": 1}
    return given | {"order_id": order_id} | changes


def test_a_request_is_found_by_the_id_that_its_caller_gave(starter: Starter) -> None:
    exchange = starter.up("--log-level", "debug")
    place = "exchange.http.v1.OrderService/PlaceOrder"
    named = {"X-Request-Id": "from-elsewhere/1"}
    placed = httpx.post(f"{exchange.http}/orders", json=body("o1"), headers=named)
    assert placed.is_success
    assert placed.headers["x-request-id"] == "from-elsewhere/1"
    found = told(exchange.running, "call", request_id="from-elsewhere/1", endpoint=place)
    assert (found["level"], found["part"], found["code"]) == ("debug", "server", "OK")
    named["X-Request-Id"] = "x" * 128
    refused = httpx.post(f"{exchange.http}/orders", json=body("o2", price=-1), headers=named)
    assert refused.status_code == 400
    assert refused.headers["x-request-id"] == "x" * 128
    found = told(exchange.running, "call", request_id="x" * 128)
    assert found["code"] == "INVALID_ARGUMENT"
    assert "-1" in found["details"]
    unnamed = [httpx.get(f"{exchange.http}/orders/o1").headers["x-request-id"] for _ in range(2)]
    assert unnamed[0] != unnamed[1]
    for name in unnamed:
        told(exchange.running, "call", request_id=name)
    with client_of(exchange.http) as client:
        frames: list[dict[str, object]] = [
            body("o3", type="order", order_type="limit"),
            {"type": "replace", "order_id": "o3", "price": 8},
            {"type": "cancel", "order_id": "o3"},
            {"type": "cancel", "order_id": "none", "request_id": "not a name"},
        ]
        for number, frame in enumerate(frames):
            frame = {"request_id": f"frame-{number}"} | frame
            client.send(frame)
            assert client.next()["request_id"] == frame["request_id"]
        for number in range(3):
            assert told(exchange.running, "call", request_id=f"frame-{number}")["code"] == "OK"


def test_decisions_are_told_and_orders_are_not(starter: Starter) -> None:
    server, address = starter.server()
    told(server, "configuration applied", of="BTC-USD")
    told(server, "serving", level="info")
    with grpc.insecure_channel(address) as channel:
        request = SetInstrumentRequest(instrument=Instrument(name="BTC-USD", taker_fee_e6=7))
        AdminServiceStub(channel).SetInstrument(request, metadata=(("x-request-id", "change-7"),))
    found = told(server, "instrument set", request_id="change-7")
    assert (found["name"], found["taker_fee_e6"]) == ("BTC-USD", 7)
    server.terminate()
    told(server, "stopped")
    assert not [line for line in server.lines if '"call"' in line]


def test_the_level_changes_while_running(starter: Starter) -> None:
    server, address = starter.server()
    with grpc.insecure_channel(address) as channel:
        admin = AdminServiceStub(channel)
        assert admin.SetLogLevel(SetLogLevelRequest(level="debug")).previous_level == "info"
        told(server, "log level set", level="info", new_level="debug", previous_level="info")
        admin.GetStatus(GetStatusRequest())
        told(server, "call", endpoint="exchange.v1.AdminService/GetStatus")
        with pytest.raises(grpc.RpcError) as refused:
            admin.SetLogLevel(SetLogLevelRequest(level="loud"))
        details = refused.value.details() or ""
        assert "loud" in details
        assert "debug, info, warning, error" in details
        assert admin.SetLogLevel(SetLogLevelRequest(level="error")).previous_level == "debug"
        told(server, "log level set", level="info", new_level="error", previous_level="debug")
        assert admin.SetLogLevel(SetLogLevelRequest(level="warning")).previous_level == "error"
        told(server, "log level set", level="info", new_level="warning", previous_level="error")


def test_in_text_sentences_are_for_people(starter: Starter) -> None:
    exchange = starter.up()
    assert exchange.running.line("server   | recovered")
    exchange.running.terminate()
    assert exchange.running.line("stopped")


def test_in_json_every_line_of_every_part_is_but_the_one_that_scripts_wait_for(
    starter: Starter,
) -> None:
    port = free_port()
    options = ("--log-format", "json", "--websocket", f"127.0.0.1:{port}")
    began = datetime.now(UTC)
    exchange = starter.up(*options, TZ="UTC-9")
    running = exchange.running
    recovered = next(it for it in contents(running) if it["message"].startswith("recovered"))
    assert (recovered["part"], recovered["level"]) == ("server", "info")
    told(running, "serving", part="server")
    for name, process_id in processes(exchange).items():
        if name in ("follower", "gateway", "websocket"):
            psutil.Process(process_id).kill()
    until(lambda: said(running, "follower is back") and said(running, "gateway is back"), 30)
    degraded = [it for it in contents(running) if it["message"].startswith("degraded: ")]
    assert len(degraded) >= 2
    assert {(each["part"], each["level"]) for each in degraded} == {("up", "warning")}
    assert running.terminate() == 0
    assert said(running, "stopped")
    plain = [line for line in running.lines if not line.startswith("{")]
    assert plain == [running.line("ready: ")]
    assert all({"time", "level", "part", "message"} <= each.keys() for each in contents(running))
    assert "gateway" in {each["part"] for each in contents(running)}
    for each in contents(running):
        assert each["time"].endswith("Z"), each
        assert began <= datetime.fromisoformat(each["time"]) <= datetime.now(UTC), each


def test_a_part_that_is_away_is_told_also_where_only_what_is_not_right_is(starter: Starter) -> None:
    quiet = {"LOG_FORMAT": "json", "LOG_LEVEL": "warning", "REDIS_URL": "redis://127.0.0.1:1"}
    server, address = starter.server(None, **quiet)
    follower = starter.run(
        "follower", "--data-dir", str(starter.data_dir), "--server", address, **quiet
    )
    until(lambda: said(server, "rate limits are kept in process"), 20)
    until(lambda: said(follower, "redis "), 20)
    assert {each["level"] for each in contents(server) + contents(follower)} == {"warning"}


def test_in_json_the_last_word_too(starter: Starter) -> None:
    port = free_port()
    taken, _ = starter.server(port)
    refused = starter.run(
        "server", "--data-dir", str(starter.data_dir), "--grpc-port", str(port),
        "--log-format", "json",
    )  # fmt: skip
    assert refused.wait() == Exit.LOCKED
    (content,) = contents(refused)
    assert (content["level"], content["part"]) == ("critical", "server")
    assert str(taken.pid) in content["message"]
    wrong = starter.run("server", "--grpc-port", "none", LOG_FORMAT="json")
    assert wrong.wait() == Exit.CONFIGURATION
    (content,) = contents(wrong)
    assert "grpc_port is 'none'" in content["message"]


def test_in_json_a_part_that_can_not_start_is_named_by_its_own_last_word(
    starter: Starter,
) -> None:
    """Damage that the server refuses: its last word is that of the whole exchange."""
    starter.data_dir.mkdir(mode=0o700)
    (starter.data_dir / "snapshots").mkdir()
    server, _ = starter.server()
    server.terminate()
    journals = sorted(starter.data_dir.glob("journal*"))
    journal = journals[0] if journals[0].is_file() else sorted(journals[0].iterdir())[0]
    with journal.open("r+b") as file:
        file.write(b"damage")
    ports = ("--http-port", str(free_port()), "--grpc-port", str(free_port()))
    exchange = starter.run(
        "up", "--data-dir", str(starter.data_dir), *ports, "--log-format", "json"
    )
    assert exchange.wait() == Exit.JOURNAL_CORRUPT
    assert not [line for line in exchange.lines if not line.startswith("{")]
    last = contents(exchange)[-1]
    assert (last["level"], last["part"]) == ("critical", "up")
    assert str(starter.data_dir) in last["message"]


@pytest.mark.parametrize("only_json", [False, True])
def test_what_another_part_wrote(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, only_json: bool
) -> None:
    logs.begin("up", only_json=only_json)
    try:
        logs.pass_on("gateway", '{"message": "its own"}')
        logs.pass_on("gateway", "Traceback")
    finally:
        logs.begin("exchange", only_json=False)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == '{"message": "its own"}'
    if only_json:
        (record,) = caplog.records
        content = json.loads(logs.json_line("up", record))
        assert (content["part"], content["message"]) == ("gateway", "Traceback")
    else:
        assert shown[1:] == ["gateway  | Traceback"]


@pytest.fixture
def level() -> Iterator[None]:
    before = logs.level_now()
    yield
    logs.set_level(before)


@pytest.mark.usefixtures("level")
def test_level() -> None:
    for name in ("debug", "info", "warning", "error"):
        logs.set_level(name)
        assert logs.level_now() == name
        assert logs.debugging() == (name == "debug")


def test_a_failure_is_one_line() -> None:
    try:
        raise ZeroDivisionError("by\nzero")
    except ZeroDivisionError as error:
        kind = (ZeroDivisionError, error, error.__traceback__)
    record = logging.LogRecord("grpc", logging.ERROR, __file__, 1, "failed %s", ("so",), kind)
    text = logs.json_line("server", record)
    assert text.count("\n") == 1
    content = json.loads(text)
    assert (content["logger"], content["level"], content["message"]) == (
        "grpc",
        "error",
        "failed so",
    )
    assert "ZeroDivisionError" in content["error"]


def test_a_line_whose_values_do_not_fit_is_told_and_is_not_the_last() -> None:
    """Of a library, say: what writes the lines goes on."""
    out = io.StringIO()
    lines = logs.Lines("server", out)
    for values in (("many",), (7,)):
        record = logging.LogRecord("grpc", logging.INFO, __file__, 1, "%d calls", values, None)
        lines.emit(record)
    lines.flush()
    told = [json.loads(line)["message"] for line in out.getvalue().splitlines()]
    assert told == ["%d calls ('many',)", "7 calls"]


def test_what_callers_cause_in_a_library_is_not_written() -> None:
    out = io.StringIO()
    lines = logs.Lines("server", out)
    for text, values in (
        ("ExecuteBatchError raised in core by servicer method [/a/B]", ()),
        ("Invalid encoding on %s", (b"secret\xff",)),
        ("A mistake", ()),
    ):
        for name in ("grpc._cython.cygrpc", "another"):
            lines.handle(logging.LogRecord(name, logging.ERROR, "", 0, text, values, None))
    lines.flush()
    written = [json.loads(line) for line in out.getvalue().splitlines()]
    of_grpc = [each["message"] for each in written if each["logger"] == "grpc._cython.cygrpc"]
    assert of_grpc == ["A mistake"]
    assert len(written) == 4


def test_metadata_that_is_no_text_does_not_get_into_the_log(starter: Starter) -> None:
    server, address = starter.server(None, LOG_LEVEL="debug")
    method = b"/exchange.v1.AdminService/GetStatus"
    fields = {b":method": b"POST", b":scheme": b"http", b":path": method, b":authority": b"x"}
    fields |= {b"content-type": b"application/grpc", b"te": b"trailers", b"token": b"secret\xff"}
    headers = b"".join(
        bytes((0, len(name))) + name + bytes((len(value),)) + value
        for name, value in fields.items()
    )
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as link:
        link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(4, 0, 0, b""))
        link.sendall(h2_frame(1, 4, 1, headers) + h2_frame(0, 1, 1, bytes(5)))
        told(server, "call", endpoint=method.decode()[1:])
    assert server.terminate() == Exit.CLEAN
    assert not [line for line in server.lines if "secret" in line or "encoding" in line]


class HeldOutput(io.StringIO):
    """Takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def write(self, text: str) -> int:
        self.let_go.wait()
        return super().write(text)


class HeldLines(list[str]):
    """The same of what a test reads."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def append(self, line: str, /) -> None:
        self.let_go.wait()
        super().append(line)


def test_a_paused_terminal_stops_neither_the_watch_nor_the_end(starter: Starter) -> None:
    exchange = starter.up("--log-level", "debug")
    running, held = exchange.running, HeldLines()
    running.lines = held
    output = running._process.stdout
    assert output is not None
    fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, 4_096)
    with httpx.Client(base_url=exchange.http) as http:
        for _ in range(100):
            http.get("/orders/none")
    server = processes(exchange)["server"]
    psutil.Process(server).kill()
    until(lambda: not is_there(server) and is_well(exchange), 30, "a server that is back")
    running.signal(signal.SIGTERM)
    until(lambda: not is_there(running.pid), 20, "the end")
    held.let_go.set()
    assert running.wait() == Exit.CLEAN


def test_who_does_not_read_holds_nobody_up_and_is_told_what_was_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "LINES_MAX", 5)
    out = HeldOutput()
    lines = logs.Lines("server", out)
    record = logging.LogRecord("exchange", logging.INFO, __file__, 1, "m", (), None)
    for _ in range(20):
        lines.emit(record)
    assert lines.queue.qsize() == 5
    dropped_count = lines.dropped_count
    assert dropped_count in (14, 15)
    out.let_go.set()
    lines.flush()
    written = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(written) == 20 - dropped_count
    assert sum(each.get("lines_dropped", 0) for each in written) == dropped_count
    lines.dropped_count = 3
    lines.enqueue("a sentence")
    lines.flush()
    *_, gap, sentence = out.getvalue().splitlines()
    assert (json.loads(gap)["lines_dropped"], sentence) == (3, "a sentence")
