"""The ports that an exchange listens on, and whether they can be had."""

import errno
import socket
from contextlib import suppress
from typing import Final, NamedTuple

from server.settings import Settings, is_loopback, split

HTTP: Final = "HTTP port"
GRPC: Final = "gRPC port"
WEBSOCKET: Final = "WebSocket port"


class Port(NamedTuple):
    """A port that a part of the exchange listens on."""

    name: str
    setting: str
    """The setting's name in a configuration file."""
    host: str
    number: int
    part: str
    """The part that listens there."""
    options: str
    """The options that choose another port."""


class Unusable(NamedTuple):
    """Says why nobody can listen on a port, and what to do."""

    why: str
    remedy: str


def ports(settings: Settings) -> list[Port]:
    """List all ports that are listened on, in the order in which they are checked."""
    host = settings.host
    found = [
        Port(HTTP, "http_port", host, settings.http_port, "gateway", "--http-port (PORT)"),
        Port(GRPC, "grpc_port", host, settings.grpc_port, "server", "--grpc-port (GRPC_PORT)"),
    ]
    if settings.websocket:
        options = "--websocket (EXCHANGE_WEBSOCKET)"
        at = split(settings.websocket)
        found.append(Port(WEBSOCKET, "websocket", *at, "WebSocket bridge", options))
    return found


def exposed(settings: Settings) -> str:
    """Give the sentence that refuses the address at which the WebSocket bridge is to listen; empty
    where it may. What a name stands for is not looked up."""
    if not settings.websocket or settings.insecure_public:
        return ""
    with suppress(ValueError):
        if is_loopback(split(settings.websocket)[0]):
            return ""
    return (
        f"websocket is {settings.websocket}, which other machines may reach, and there is no"
        " authentication: use 127.0.0.1, or add --insecure-public"
    )


def unusable(port: Port) -> Unusable | None:
    """Tell why a port can't be listened on at this moment; None where it can."""
    family = socket.AF_INET6 if ":" in port.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.host, port.number))
            probe.listen()
        except OSError as failure:
            name = f"{port.setting} {port.number} on {port.host}"
            choose = f"choose another with {port.options}"
            if failure.errno == errno.EADDRINUSE:
                return Unusable(f"{name} is taken by another process", f"end it, or {choose}")
            return Unusable(f"{name} can't be listened on ({failure.strerror})", choose)
    return None
