"""How far a long run is, on terminals of any width and elsewhere."""

import fcntl
import os
import pty
import struct
import sys
import termios

import pytest

from clients.progress import Progress


@pytest.mark.parametrize(("width", "shown"), [(20, 19), (0, 79), (200, 100)])
def test_a_line_on_a_terminal_stays_in_its_row(
    width: int, shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each of them would leave its first rows behind."""
    reader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    with os.fdopen(terminal, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        progress = Progress()
        progress.show("x" * 100)
        progress.show("y")
        progress.end()
        written = b""
        while not written.endswith(b"\n"):
            written += os.read(reader, 1_000)
    os.close(reader)
    assert written == b"\r" + b"x" * shown + b"\x1b[K\ry\x1b[K\r\n"


def test_lines_elsewhere_are_whole_and_few(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.show("x" * 100)
    progress.show("y")
    progress.end()
    assert capsys.readouterr().err == "x" * 100 + "\n"
