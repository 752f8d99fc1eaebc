"""Faults in the system calls of a running process, made by strace."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REFUSED = "Operation not permitted"


@contextmanager
def attached(process_id: int, inject: str, trace: Path = Path(os.devnull)) -> Iterator[str]:
    """Inject faults and write down the calls; gives why it can't be done here, or nothing."""
    strace = shutil.which("strace")
    if strace is None:
        yield "strace is not installed"
        return
    tracer = subprocess.Popen(
        [strace, "-f", "-p", str(process_id), "-o", str(trace), "-e", f"inject={inject}"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stderr is not None
    try:
        said = ""
        for line in tracer.stderr:
            said += line
            if line.rstrip().endswith("attached") or " attached with " in line:
                yield ""
                return
        assert REFUSED in said, said
        yield "strace may not attach to a process"
    finally:
        tracer.kill()
        tracer.communicate()
