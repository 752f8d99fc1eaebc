"""Where the orders of `flow` and `load` may go: this machine, unless another was meant."""

from ipaddress import ip_address


class NotLoopbackError(ValueError):
    """The address is another machine's; the message is the sentence to show."""


def require_loopback(host: str) -> None:
    """Raises unless only this machine answers there; `host` without its port."""
    name = host.strip("[]")
    try:
        loopback = name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise NotLoopbackError(
            f"{name!r} is not a loopback address: orders of this command go to this machine only, "
            "since on a real exchange they would trade; say --allow-remote if that is what you want"
        )
