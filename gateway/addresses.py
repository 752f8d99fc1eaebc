"""Where the gateway listens, and where it finds the server and the WebSocket bridge."""

import socket
from ipaddress import IPv6Address, ip_address
from typing import Any, Final, Protocol

LOOPBACK: Final = "127.0.0.1"
IPV6_LOOPBACK: Final = "::1"
"""The address that some clients look `localhost` up as, and then try nothing else."""


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
    """Give a socket's address as Envoy writes it."""
    return {"socket_address": {"address": host, "port_value": port}}


def beside(addresses: Addresses) -> list[dict[str, Any]]:
    """List what else is listened on, so that `localhost` is found; nothing where it can't be, or
    is for another part of the exchange."""
    port = addresses.http_port
    others = {addresses.server_address, addresses.websocket_address}
    is_wanted = others & {f"[{host}]:{port}" for host in (IPV6_LOOPBACK, "::")}
    if addresses.host != LOOPBACK or is_wanted or not can_be_listened_on(IPV6_LOOPBACK, port):
        return []
    return [{"address": socket_address(IPV6_LOOPBACK, port)}]


def stands_for_ipv4(host: str) -> bool:
    """Tell whether what is written as an IPv6 address is (also) one of IPv4: all addresses of the
    machine, as they are for the server's own port, or one such as `::ffff:127.0.0.1`."""
    address = ip_address(host)
    if not isinstance(address, IPv6Address):
        return False
    return address.is_unspecified or address.ipv4_mapped is not None


def can_be_listened_on(ipv6_host: str, port: int) -> bool:
    """Tell whether this machine has the address, and nobody the port, at this moment."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((ipv6_host, port))
            probe.listen()
    except OSError:
        return False
    return True


def split(address: str) -> tuple[str, int]:
    """Split `HOST:PORT` in two, an IPv6 address without its brackets; as `server/settings.py` has
    it, which the gateway does without."""
    host, _, port = address.rpartition(":")
    return "127.0.0.1" if host == "localhost" else host.strip("[]"), int(port)


def is_ip(host: str) -> bool:
    """Tell whether the text is an IP address, so that nothing has to be looked up."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
