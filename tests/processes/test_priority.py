"""Who gives way: less of a core, and that in long turns, which Linux ends for who wakes."""

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from server.supervisor.priority import SLICE_NS

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275} if sys.platform == "linux" else {}
FIRST_RELEASE = (6, 12)
"""Of Linux, that knows slices."""


def slice_ns(process_id: int) -> int:
    """How long a process may have a core; 0 where Linux doesn't say."""
    given = ctypes.create_string_buffer(48)
    number = SCHED_GETATTR[platform.machine()]
    assert not ctypes.CDLL(None).syscall(number, process_id, given, len(given), 0)
    return int.from_bytes(given.raw[24:32], sys.byteorder)


@pytest.mark.skipif(platform.machine() not in SCHED_GETATTR, reason="no number of the system call")
@pytest.mark.parametrize("niceness", [0, 3])
def test_a_program_and_what_it_starts_take_long_turns(niceness: int) -> None:
    child = "import sys; print(flush=True); sys.stdin.read()"
    program = (
        "import subprocess, sys; from server.supervisor.priority import give_way;"
        f"give_way({niceness});"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE);"
        "child.stdout.readline(); print(child.pid, flush=True); child.wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        both = (running.pid, int(running.stdout.readline()))
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        assert {os.getpriority(os.PRIO_PROCESS, each) for each in both} == {
            min(ours + niceness, 19)
        }
        release = tuple(int(part) for part in platform.release().split(".")[:2])
        if release >= FIRST_RELEASE:
            wanted = SLICE_NS if niceness else slice_ns(os.getpid())
            assert {slice_ns(each) for each in both} == {wanted}
