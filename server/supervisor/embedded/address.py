"""Where an embedded server is found: a free port, a password that is drawn once, and the address
with both, in the data directory, for nobody but its owner."""

import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from server.settings import Settings


CONNECT_S: Final = 1.0
"""The longest that a server of this machine takes to accept a connection."""


class Address(NamedTuple):
    """Says how the address of an embedded server is made, and where it stands."""

    setting: str
    variable: str
    """The environment's variable that gives the setting to the other parts."""
    file_name: str
    """The name of the file in the data directory."""
    default_port: int
    text: Callable[[Path, int], str]
    """The function that makes the address for a data directory and a port."""

    def assign(self, data_dir: Path) -> str:
        """Take a free port and write the address down for whoever may read the directory."""
        assigned = self.text(data_dir, free_port())
        write_privately(data_dir / self.file_name, f"{assigned}\n")
        return assigned

    def is_left_behind(self, data_dir: Path) -> bool:
        """Tell whether nobody listens at the address that is written down."""
        try:
            port = _port_in((data_dir / self.file_name).read_text("ascii").strip())
            socket.create_connection(("127.0.0.1", port or self.default_port), CONNECT_S).close()
        except (OSError, ValueError):
            return True
        return False

    def port(self, settings: "Settings") -> int:
        """Tell where the server is to listen: what `up` chose, or what an `up` chose last."""
        given: str = getattr(settings, self.setting)
        file = settings.data_dir / self.file_name
        if not given:
            given = file.read_text("ascii") if file.exists() else self.assign(settings.data_dir)
        return _port_in(given.strip()) or self.default_port


def _port_in(address: str) -> int | None:
    """Find the port of a URL, or of the last of several HOST:PORT."""
    return urlsplit(address if "//" in address else f"//{address.rpartition(',')[2]}").port


def free_port() -> int:
    """Find a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def password_in(file: Path) -> str:
    """Read the password, or draw one where there is none."""
    if not file.exists():
        write_privately(file, secrets.token_urlsafe(24))
    return file.read_text("ascii")


def write_privately(file: Path, text: str) -> None:
    """Write a new file, in place of an older one, that nobody else can read."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
