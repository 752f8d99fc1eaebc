"""Where a server of one's own is found: a free port, a password that is drawn once, and the address
with both, in the data directory, for nobody but its owner."""

import os
import secrets
import socket
from pathlib import Path


def free_port() -> int:
    """One that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def password_in(file: Path) -> str:
    """The password, drawn where there is none."""
    if not file.exists():
        write_privately(file, secrets.token_urlsafe(24))
    return file.read_text("ascii")


def write_privately(file: Path, text: str) -> None:
    """A new file, in place of an older one, that nobody else can read."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
