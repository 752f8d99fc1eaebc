"""Where the gateway listens, and where it finds the server and the WebSocket bridge."""

from ipaddress import ip_address
from typing import Any, Protocol


class Addresses(Protocol):
    """What the gateway needs to know of the exchange's settings."""

    @property
    def host(self) -> str:
        """IP address to listen on."""

    @property
    def http_port(self) -> int:
        """Port to listen on."""

    @property
    def server_address(self) -> str:
        """HOST:PORT of the server's gRPC."""

    @property
    def websocket_address(self) -> str:
        """HOST:PORT of the WebSocket bridge, or `@` and the name of a socket of this machine."""


def socket_address(host: str, port: int) -> dict[str, Any]:
    """As Envoy writes it."""
    return {"socket_address": {"address": host, "port_value": port}}


def split(address: str) -> tuple[str, int]:
    """The two of `HOST:PORT`, an IPv6 address without its brackets; as `server/settings.py` has it,
    which the gateway does without."""
    host, _, port = address.rpartition(":")
    return "127.0.0.1" if host == "localhost" else host.strip("[]"), int(port)


def is_ip(host: str) -> bool:
    """Whether nothing has to be looked up."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
