"""Row 36: one process for each data directory."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.journal.lock import DirectoryLock, DirectoryLocked, reading
from tests.journal.test_retention_crashes import ordinary_user

HOLD = """
import sys
from pathlib import Path
from server.journal.lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
lock.announce("127.0.0.1:50051")
print("held", flush=True)
sys.stdin.read()
"""


def test_row_36_a_second_owner_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with DirectoryLock(directory) as lock:
        with pytest.raises(DirectoryLocked) as caught:
            DirectoryLock(directory)
        assert f"data directory {directory} is locked by pid {os.getpid()};" in str(caught.value)
        lock.announce("127.0.0.1:50051")
        with pytest.raises(DirectoryLocked) as caught:
            DirectoryLock(directory)
        assert f"pid {os.getpid()} (gRPC at 127.0.0.1:50051)" in str(caught.value)
        assert (caught.value.pid, caught.value.address) == (os.getpid(), "127.0.0.1:50051")
    with DirectoryLock(directory):
        assert json.loads((directory / "lock").read_text()) == {"pid": os.getpid()}
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "lock").stat().st_mode & 0o777 == 0o600


def test_an_owner_that_has_not_said_who_it_is_yet(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path):
        (tmp_path / "lock").write_text('{"pi')
        with pytest.raises(DirectoryLocked, match="is locked by another process; stop that one"):
            DirectoryLock(tmp_path)


def test_what_is_only_read_gets_no_lock_file_and_no_owner_meanwhile(tmp_path: Path) -> None:
    with reading(tmp_path):
        assert list(tmp_path.iterdir()) == []
    DirectoryLock(tmp_path).release()
    with reading(tmp_path), pytest.raises(DirectoryLocked):
        DirectoryLock(tmp_path)
    with DirectoryLock(tmp_path), pytest.raises(DirectoryLocked), reading(tmp_path):
        pass
    DirectoryLock(tmp_path).release()


def test_what_can_t_be_written_is_read_unless_somebody_has_it() -> None:
    with ordinary_user() as directory:
        lock = DirectoryLock(directory)
        (directory / "lock").chmod(0o400)
        with pytest.raises(DirectoryLocked, match=f"by pid {os.getpid()};"), reading(directory):
            pass
        lock.release()
        with reading(directory):
            (directory / "lock").chmod(0o600)
            with pytest.raises(DirectoryLocked):
                DirectoryLock(directory)
        directory.chmod(0o500)
        with reading(directory):
            pass
        (directory / "lock").chmod(0)
        with pytest.raises(PermissionError), reading(directory):
            pass
        directory.chmod(0o700)


def test_row_36_a_killed_owner_leaves_the_directory_free(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(DirectoryLocked) as caught:
            DirectoryLock(tmp_path)
        assert (caught.value.pid, caught.value.address) == (owner.pid, "127.0.0.1:50051")
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait(10)
        DirectoryLock(tmp_path).release()
