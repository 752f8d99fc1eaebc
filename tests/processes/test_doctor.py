"""`exchange doctor`: what it finds, with and without a running exchange, and what it says to do."""

import json
import os
import shutil
import signal
import socket
import sys
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import pytest

from gateway import envoy
from server.settings import Settings
from server.supervisor import main as exchange
from server.supervisor.commands.doctor import directory, installation, serving
from server.supervisor.commands.doctor.finding import Finding, State
from server.supervisor.embedded import kafka, redis
from tests.processes.load import Load
from tests.running import CONFIGURING, LEFT_OUT, Starter, free_port

Examined = dict[str, dict[str, str]]


@pytest.fixture
def doctor(
    starter: Starter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, Examined]]:
    for name in [it for it in os.environ if it.startswith(CONFIGURING) or it in LEFT_OUT]:
        monkeypatch.delenv(name)
    # All of them take a second each time; they are loaded where `doctor` is a command of its own.
    monkeypatch.setattr(installation, "PARTS", "msgpack")

    def examined(
        *options: str, http_port: int | None = None, grpc_port: int | None = None
    ) -> tuple[int, Examined]:
        places = ["--data-dir", str(starter.data_dir)]
        places += ["--http-port", str(http_port or free_port())]
        places += ["--grpc-port", str(grpc_port or free_port())]
        code = exchange.main(["doctor", "--json", *places, *options])
        told = json.loads(capsys.readouterr().out)
        assert told["good"] is (code == 0)
        return code, {finding["name"]: finding for finding in told["findings"]}

    return examined


def bad(examined: Examined) -> list[str]:
    return [name for name, finding in examined.items() if finding["state"] == "bad"]


def test_before_the_first_start_nothing_is_bad_and_nothing_is_made(
    doctor: Any, starter: Starter
) -> None:
    code, examined = doctor()
    assert (code, bad(examined)) == (0, [])
    assert "is not there yet" in examined["data directory"]["said"]
    assert examined["server"]["remedy"] == "exchange up"
    assert examined["envoy"]["said"].startswith("1.")
    assert " ms for 4 KiB" in examined["fdatasync"]["said"]
    assert "of its own" in examined["postgres"]["said"]
    assert {examined[name]["said"][:13] for name in ("redis", "kafka")} == {"not asked for"}
    assert not starter.data_dir.exists()


def test_outside_parts_are_told_apart(doctor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        at = f"127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("XDG_CACHE_HOME", "/nowhere")
        code, examined = doctor(
            *("--full", "--kafka-brokers", at),
            *("--postgres-url", f"postgresql://u:hid,den@127.0.0.1:{free_port()},b:5433/d"),
        )
    assert code == 0, "orders are taken without them"
    assert examined["kafka"] == {**examined["kafka"], "state": "good", "said": f"{at} answers"}
    assert examined["redis"] == {
        **examined["redis"], "state": "note", "said": "not installed yet",
    }  # fmt: skip
    assert "does not answer" in examined["postgres"]["said"]
    assert "den" not in examined["postgres"]["said"]
    code, examined = doctor("--redis-url", "redis://a..b:6379", "--postgres", "off")
    assert code == 0
    assert "a..b:6379 does not answer" in examined["redis"]["said"]


def test_servers_that_another_up_started_are_examined(doctor: Any, starter: Starter) -> None:
    """Whoever asks may not know its options, but the directory has their addresses."""
    starter.data_dir.mkdir()
    at = f"127.0.0.1:{free_port()}"
    (starter.data_dir / "redis.url").write_text(f"redis://:hidden@{at}/0\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        broker = f"127.0.0.1:{listener.getsockname()[1]}"
        (starter.data_dir / "kafka.brokers").write_text(f"{broker}\n")
        code, examined = doctor()
    assert code == 0
    assert (examined["kafka"]["state"], examined["kafka"]["said"]) == ("good", f"{broker} answers")
    assert examined["redis"]["state"] == "note"
    assert examined["redis"]["said"].startswith(f"{at} does not answer")
    assert "exchange up --full" in examined["redis"]["remedy"]


def test_what_is_damaged_is_told(
    doctor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for module in (kafka, redis):
        module.place().mkdir(parents=True)
    code, examined = doctor("--full")
    assert code == 0
    for module in (kafka, redis):
        finding = examined[module.NAME]
        assert (finding["state"], finding["said"]) == ("note", f"damaged in {module.place()}")
        assert "installs it again" in finding["remedy"]


@pytest.mark.parametrize("url", ["postgresql://u@/d?host={}&port=77", "postgresql://u@{}:77/d"])
def test_a_database_may_be_a_socket_in_a_directory(doctor: Any, url: str) -> None:
    # The path of a socket may have 107 characters.
    with TemporaryDirectory(dir="/tmp") as directory, socket.socket(socket.AF_UNIX) as listener:
        given = url.format(quote(directory, safe=""))
        _, examined = doctor("--postgres-url", given)
        place = f"{directory}/.s.PGSQL.77"
        assert f"{place} does not answer" in examined["postgres"]["said"]
        listener.bind(place)
        listener.listen()
        _, examined = doctor("--postgres-url", given)
    assert examined["postgres"]["said"] == f"{place} answers"


def test_running_and_stopped(doctor: Any, starter: Starter) -> None:
    websocket = ("--websocket", f"127.0.0.1:{free_port()}")
    everything = starter.up(*websocket)
    ports = {"http_port": everything.http_port, "grpc_port": everything.grpc_port}
    with Load(everything.grpc, "d") as load:
        load.wait(2)
    code, examined = doctor(*websocket, **ports)
    assert (code, bad(examined)) == (0, [])
    assert " has it" in examined["data directory"]["said"]
    assert "open in the server" in examined["journal"]["said"]
    for port in ("HTTP port", "gRPC port", "WebSocket port"):
        assert "served by this exchange" in examined[port]["said"]
    assert "answers in" in examined["server"]["said"]
    everything.running.signal(signal.SIGTERM)
    assert everything.running.wait() == 0
    code, examined = doctor(*websocket, **ports)
    assert (code, bad(examined)) == (0, [])
    assert examined["WebSocket port"]["said"] == f"{websocket[1]} is free"
    assert "nobody has it" in examined["data directory"]["said"]
    assert "last sequence" in examined["journal"]["said"]
    assert examined["snapshot"]["said"].endswith(" s old")


def test_other_ports_than_those_of_the_running_server_are_not_judged(
    doctor: Any, starter: Starter
) -> None:
    _, address = starter.server()
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, examined = doctor(http_port=other.getsockname()[1])
    assert (code, bad(examined)) == (0, [])
    assert examined["ports"]["said"].startswith(f"the server is at {address}: ")


def test_another_program_at_a_port_is_no_part_of_the_exchange(
    doctor: Any, starter: Starter
) -> None:
    _, address = starter.server()
    grpc_port = int(address.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with answering(other, b"SSH-2.0-OpenSSH_9.6\r\n"):
            code, examined = doctor(http_port=port, grpc_port=grpc_port)
        assert (code, bad(examined)) == (1, ["HTTP port"])
        websocket = ("--websocket", f"127.0.0.1:{port}")
        with answering(other, b"HTTP/1.1 200 OK\r\n\r\nother_figure 1\n"):
            code, examined = doctor(*websocket, grpc_port=grpc_port)
    assert (code, bad(examined)) == (1, ["WebSocket port"])


@pytest.mark.parametrize(
    ("said", "is_exchange"),
    [
        (b"200 OK\r\nContent-Length: 9\r\n\r\n{}", False),
        (b"200 OK\r\n\r\n[]", False),
        (b"200 OK\r\n\r\n{}", False),
        (b"200 OK\r\n\r\n<html>", False),
        (b'503 Service Unavailable\r\n\r\n{"error":"no"}', True),
        (b'200 OK\r\n\r\n{"status":"ok"}', True),
    ],
)
def test_a_gateway_is_known_by_its_answer(said: bytes, is_exchange: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        at = f"127.0.0.1:{other.getsockname()[1]}"
        with answering(other, b"HTTP/1.1 " + said):
            assert serving._is_exchange(at) is is_exchange


@contextmanager
def answering(listener: socket.socket, said: bytes) -> Iterator[None]:
    """Whoever comes first."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(said)

    listener.settimeout(10)
    thread = threading.Thread(target=answer)
    thread.start()
    yield
    thread.join()


def test_server_that_hangs_is_bad(doctor: Any, starter: Starter) -> None:
    server, address = starter.server()
    server.signal(signal.SIGSTOP)
    try:
        code, examined = doctor(grpc_port=int(address.rpartition(":")[2]))
    finally:
        server.signal(signal.SIGCONT)
    assert (code, bad(examined)) == (1, ["server"])


def test_taken_ports_are_bad_with_what_to_do(doctor: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, examined = doctor(http_port=port)
        assert (code, bad(examined)) == (1, ["HTTP port"])
        assert examined["HTTP port"]["said"].endswith("is taken by another process")
        assert "--http-port (PORT)" in examined["HTTP port"]["remedy"]
        code, examined = doctor(grpc_port=port)
        assert (code, bad(examined)) == (1, ["gRPC port"])
        code, examined = doctor("--websocket", f"localhost:{port}")
        assert (code, bad(examined)) == (1, ["WebSocket port"])
        assert "--websocket (EXCHANGE_WEBSOCKET)" in examined["WebSocket port"]["remedy"]


def test_damaged_journal_is_bad(doctor: Any, starter: Starter) -> None:
    server, address = starter.server()
    with Load(address, "d") as load:
        load.wait(5)
    server.kill()
    (path,) = starter.data_dir.glob("journal")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    code, examined = doctor()
    assert (code, bad(examined)) == (1, ["journal"])
    assert str(path) in examined["journal"]["said"]
    assert "keep a copy" in examined["journal"]["remedy"]


def test_damaged_positions_of_followers_are_bad(doctor: Any, starter: Starter) -> None:
    """No server starts on them."""
    starter.data_dir.mkdir()
    positions = starter.data_dir / "followers"
    positions.write_bytes(b"[1]")
    code, examined = doctor()
    assert (code, bad(examined)) == (1, ["journal"])
    assert examined["journal"]["said"].startswith(f"{positions}, which says for which followers")
    assert "remove it" in examined["journal"]["remedy"]


def test_nothing_is_left_in_a_directory_that_no_exchange_had(doctor: Any, starter: Starter) -> None:
    """A lock made by root would keep the exchange's own user out."""
    starter.data_dir.mkdir()
    code, examined = doctor()
    assert (code, bad(examined)) == (0, [])
    assert "nobody has it" in examined["data directory"]["said"]
    assert list(starter.data_dir.iterdir()) == []


def test_mounts_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_bytes(
        b"a / ext4 rw 0 0\nb /media/caf\xe9\x85 vfat rw 0 0\nc /b\\040c tmpfs rw 0 0\n"
    )
    monkeypatch.setattr(directory, "MOUNTS", mounts)
    assert directory._filesystem_type(Path("/b c/data")) == "tmpfs"
    assert directory._filesystem_type(Path("/bc")) == "ext4"


def test_directory_that_is_none_is_bad(doctor: Any, starter: Starter) -> None:
    starter.data_dir.write_text("a file")
    code, examined = doctor()
    assert (code, bad(examined)) == (1, ["data directory"])
    assert "--data-dir" in examined["data directory"]["remedy"]


def test_directory_of_another_user_is_bad_and_not_the_end(
    doctor: Any, starter: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is for one who is not root; beside it a server of another directory is asked."""
    _, address = starter.server()
    starter.data_dir = starter.data_dir.with_name("another")
    starter.data_dir.mkdir()
    monkeypatch.setenv("EXCHANGE_GRPC", address)
    _, examined = doctor()
    assert examined["snapshot"]["said"] == "there is none yet"

    def hidden(_: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(serving, "snapshot_paths", hidden)
    code, examined = doctor()
    assert (code, bad(examined)) == (1, ["snapshot"])
    assert examined["snapshot"]["said"] == "it can't be read: Permission denied"


def test_wrong_settings_are_a_finding(doctor: Any, tmp_path: Path) -> None:
    code, examined = doctor("--host", "nowhere")
    assert (code, bad(examined)) == (1, ["settings"])
    assert "'nowhere' (option --host)" in examined["settings"]["said"]
    assert "exchange up --help" in examined["settings"]["remedy"]
    (tmp_path / "wrong.toml").write_text("[engine]\nkeys_max = 0\n")
    code, examined = doctor("--config", str(tmp_path / "wrong.toml"))
    assert (code, bad(examined)) == (1, ["settings"])
    assert "server/settings.py" in examined["settings"]["remedy"]


def test_people_read_marks_and_remedies(
    starter: Starter, capsys: pytest.CaptureFixture[str]
) -> None:
    starter.data_dir.write_text("a file")
    assert exchange.main(["doctor", "--data-dir", str(starter.data_dir)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("good  python          3.")
    (at,) = [n for n, each in enumerate(lines) if each.startswith("BAD   data directory")]
    assert lines[at + 1].strip().startswith("-> choose another with --data-dir")
    assert lines[-1].endswith("bad: do what stands below each")


def found(name: str, findings: Any) -> Finding:
    (finding,) = [finding for finding in findings if finding.name == name]
    assert isinstance(finding, Finding)
    return finding


def test_missing_and_old_packages_are_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ["no-such-thing>=1", "grpcio>=999", 'not-needed>=1; extra == "more"']
    monkeypatch.setattr(metadata, "requires", lambda _: rows)
    packages = found("packages", installation.examine(Settings()))
    assert packages.state is State.BAD
    assert "no-such-thing is missing; grpcio is 1." in packages.said
    assert "not-needed" not in packages.said
    assert "requirements.lock" in packages.remedy


def test_damaged_packages_are_bad_and_not_the_end(
    doctor: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Installed as far as anybody wrote down; but files are gone, or made for another machine."""
    broken = tmp_path / "msgpack.py"
    broken.write_text("raise ImportError('wrong ELF class')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code, examined = doctor()
    assert (code, bad(examined)) == (1, ["packages"])
    assert examined["packages"]["said"].endswith("ImportError: wrong ELF class")
    monkeypatch.setattr(metadata, "version", lambda _: None)
    assert "msgpack is damaged" in found("packages", installation.examine(Settings())).said

    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    monkeypatch.setitem(sys.modules, "gateway.envoy", None)
    monkeypatch.delattr("gateway.envoy")
    findings = list(installation.examine(Settings()))
    assert found("packages", findings).said == "exchange-backend itself is not installed"
    assert "can't be looked for" in found("envoy", findings).said


def test_envoy_that_is_missing_or_does_not_run_is_bad(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(installation, "PARTS", "msgpack")
    broken = tmp_path / "envoy"
    broken.write_text("#!/bin/sh\necho no such instruction >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(envoy, "program", lambda: broken)
    finding = found("envoy", installation.examine(Settings()))
    assert (finding.state, finding.said) == (
        State.BAD,
        "it does not run: no such instruction",
    )

    def missing() -> Path:
        raise envoy.EnvoyMissing("there is no Envoy")

    monkeypatch.setattr(envoy, "program", missing)
    assert found("envoy", installation.examine(Settings())).state is State.BAD


def test_full_disk_and_one_that_does_not_sync_are_bad(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, 10**6))
    monkeypatch.setattr(os, "fdatasync", fails)
    findings = list(directory.examine(tmp_path))
    assert found("disk space", findings).state is State.BAD
    assert found("disk space", findings).said == "0 MiB free"
    assert found("fdatasync", findings).state is State.BAD
    assert "Input/output error" in found("fdatasync", findings).said
