"""What is installed on first use: whole or not at all, by one process at a time."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server.supervisor.embedded import package_cache
from tests.running import free_port, is_there, until

GONE_S = 1.0


def test_what_failed_to_install_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise package_cache.ToolFailed("no")

    with pytest.raises(package_cache.ToolFailed):
        package_cache.installed("thing", b"1", fail, print)
    cache = tmp_path / "exchange-backend"
    assert [path.name for path in cache.iterdir()] == [package_cache.TURN]
    ended = cache / package_cache.UNFINISHED
    (ended / "much").mkdir(parents=True)
    said: list[str] = []

    def make(directory: Path) -> None:
        (directory / "whole").touch()

    made = package_cache.installed("thing", b"1", make, said.append)
    assert [path.name for path in made.iterdir()] == ["whole"]
    assert said == ["thing is installed, in 0 s"]
    assert not ended.exists(), "left by a process that is gone"
    assert package_cache.installed("thing", b"1", fail, said.append) == made


def test_one_installs_while_the_others_wait_and_find_it_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []
    made: list[Path] = []

    def make(directory: Path) -> None:
        until(lambda: sum("waiting" in line for line in said) == 2, 10)
        made.append(directory)

    with ThreadPoolExecutor() as pool:
        asked = [
            pool.submit(package_cache.installed, "thing", b"1", make, said.append) for _ in range(3)
        ]
        places = {each.result(20) for each in asked}
    assert places == {package_cache.place("thing", b"1")}
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
    until(lambda: not is_there(process_id), GONE_S, "the end of the installation")
