"""What is installed on first use: whole or not at all, by one process at a time."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from unittest.mock import Mock

import pytest

from server.supervisor.embedded import kafka, package_cache, redis
from server.supervisor.embedded.program_missing import ProgramMissing
from tests.running import BUSY_S, free_port, is_there, until

GONE_S = 1.0


def test_what_failed_to_install_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise package_cache.ToolFailed("no")

    place = package_cache.place("thing", b"1")
    with pytest.raises(package_cache.ToolFailed):
        package_cache.installed(place, fail, Path.exists, print)
    cache = tmp_path / "exchange-backend"
    assert [path.name for path in cache.iterdir()] == [package_cache.TURN]
    ended = cache / package_cache.UNFINISHED
    (ended / "much").mkdir(parents=True)
    said: list[str] = []

    def make(directory: Path) -> None:
        (directory / "whole").touch()

    package_cache.installed(place, make, Path.exists, said.append)
    assert [path.name for path in place.iterdir()] == ["whole"]
    assert said == ["thing is installed, in 0 s"]
    assert not ended.exists(), "left by a process that is gone"
    package_cache.installed(place, fail, Path.exists, said.append)


def test_what_is_damaged_is_installed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a machine that went down leaves it: without files, and with some that are cut."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[Path] = []

    def make(directory: Path) -> None:
        made.append(directory)
        (directory / "thing.dist-info").mkdir()
        rows = "thing.py,sha256=x,5\n../../bin/thing,sha256=x,7\nthing.pyc,,\n"
        itself = "thing.dist-info/RECORD"
        (directory / itself).write_text(f"{rows}{itself},,\n", "utf-8")
        (directory / "thing.py").write_text("whole", "utf-8")

    said: list[str] = []
    place = package_cache.place("thing", b"1")
    record = place / "thing.dist-info" / "RECORD"
    damages: list[Callable[[], object]] = [
        lambda: (place / "thing.py").write_text("who", "utf-8"),
        lambda: (place / "thing.py").unlink(),
        lambda: shutil.rmtree(place / "thing.dist-info"),
        lambda: os.truncate(record, 0),
        lambda: os.truncate(record, 25),
        lambda: record.write_bytes(bytes(80)),
        lambda: record.write_bytes(b"\xc3"),
    ]
    package_cache.installed(place, make, package_cache.are_whole, said.append)
    for number, damage in enumerate(damages, 1):
        damage()
        for _ in range(2):
            package_cache.installed(place, make, package_cache.are_whole, said.append)
        assert package_cache.are_whole(place)
        assert len(made) == number + 1
    assert said.count(f"thing is damaged in {place}: it is installed again") == len(damages)


@pytest.mark.parametrize("module", [kafka, redis])
def test_why_a_cache_can_not_be_used_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    """As far as trying again does not help."""
    told = "choose a directory with XDG_CACHE_HOME; name a server"
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    with pytest.raises(ProgramMissing, match=rf"can't be used \(Not a directory\): {told}"):
        module.install(print)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(package_cache, "_install", Mock(side_effect=full))
    with pytest.raises(OSError, match="No space"):
        module.install(print)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", Mock(side_effect=RuntimeError))
    with pytest.raises(ProgramMissing, match=f"this user has no home: {told}"):
        module.install(print)


def test_java_is_not_installed_where_it_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/nowhere/a:b")
    with pytest.raises(ProgramMissing, match=r"Java can't be in /nowhere/a:b/.*, for the colon"):
        kafka.install(print)


def test_jars_are_fetched_anew_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an interrupted fetch left in a folder of the user's is not taken for whole."""
    for name, value in {"XDG_CACHE_HOME": "cache", "HOME": "home", "M2_REPO": "m2"}.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    jgo = """
import os
from pathlib import Path
class Environment:
    all_jars = [Path(os.environ["M2_REPO"], "a.jar"), Path.home() / "b.jar"]
def build(coordinates):
    for jar in Environment.all_jars:
        jar.parent.mkdir(parents=True, exist_ok=True)
        with jar.open("x") as file:
            file.write("whole")
    return Environment
"""

    def install_packages(_: Path, target: Path) -> None:
        (target / "jgo.dist-info").mkdir(parents=True)
        (target / "jgo.dist-info" / "RECORD").write_text(
            "jgo.py,,\njgo.dist-info/RECORD,,\n", "utf-8"
        )
        (target / "jgo.py").write_text(jgo, "utf-8")

    listed = tmp_path / "listed"
    digest = hashlib.sha256(b"whole").hexdigest()
    listed.write_text(f"{digest}  a.jar\n{digest}  b.jar\n", "utf-8")
    monkeypatch.setattr(kafka, "JARS", listed)
    monkeypatch.setattr(kafka, "install_packages", install_packages)
    for name in ("home/b.jar", "m2/a.jar"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("who", "utf-8")
    kafka.install(print)
    assert sorted(path.name for path in kafka.place().iterdir()) == ["jars", "python"]
    (kafka.place() / "jars" / "a.jar").write_text("whale", "utf-8")
    assert not kafka.is_whole(kafka.place())
    kafka.install(print)
    assert kafka.is_whole(kafka.place())


def test_one_installs_while_the_others_wait_and_find_it_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []
    made: list[Path] = []

    def make(directory: Path) -> None:
        until(lambda: sum("waiting" in line for line in said) == 2, 10)
        made.append(directory)

    place = package_cache.place("thing", b"1")
    with ThreadPoolExecutor() as pool:
        asked = [
            pool.submit(package_cache.installed, place, make, Path.exists, said.append)
            for _ in range(3)
        ]
        for each in asked:
            each.result(20)
    assert place.exists()
    assert len(made) == 1


def test_an_index_that_can_not_be_reached_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not that a package were missing there."""
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{free_port()}/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(package_cache.ToolFailed) as failed:
        package_cache.install_packages(package_cache.LOCK, tmp_path)
    told = str(failed.value)
    assert "the package index can't be reached" in told
    assert told.endswith("[Errno 111] Connection refused')")
    assert " at 0x" not in told


def test_an_installation_does_not_go_on_without_who_wanted_it(tmp_path: Path) -> None:
    child = f"import os, time; open({str(tmp_path / 'it')!r}, 'w').write(str(os.getpid()))"
    program = (
        "import sys; from server.supervisor.embedded.package_cache import run;"
        f"run([sys.executable, '-c', {child + '; time.sleep(100)'!r}], 'no')"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as wanted:
        until(lambda: (tmp_path / "it").exists() and bool((tmp_path / "it").read_text()), 10)
        wanted.kill()
    process_id = int((tmp_path / "it").read_text())
    until(lambda: not is_there(process_id), GONE_S + BUSY_S, "the end of the installation")
