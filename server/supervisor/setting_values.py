"""How the value of a setting is read: each from what a file, a variable or an option gives.

A refusal names the setting, where the value came from, the value and the limit. What may hold a
password is not repeated.
"""

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from server.core.words import PREVENTIONS, numbers_of
from server.decimals import decimal_text

TRUTHS: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
DECIMAL: Final = re.compile(r"(-?)([0-9]{1,19})(?:\.([0-9]{1,8}))?", re.ASCII)
_WHO: Final = r"(?:(?:(?![]/?#[])[!-~])*@)?"
_AT: Final = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._%-]*)(?::[0-9]{1,5})?"
POSTGRES_URL: Final = re.compile(
    rf"postgres(?:ql)?://{_WHO}(?P<places>{_AT}(?:,{_AT})*)(?:[/?][!-~]*)?", re.ASCII
)
REDIS_URL: Final = re.compile(
    rf"rediss?://{_WHO}(?P<places>{_AT})(?:/[0-9]{{0,5}})?(?:\?[!-~]*)?", re.ASCII
)
LIBPQ_ONLY: Final = frozenset(
    {
        "channel_binding",
        "connect_timeout",
        "fallback_application_name",
        "gssdelegation",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "max_protocol_version",
        "min_protocol_version",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    }
)
"""Parameters of an address for libpq alone, which PostgreSQL would take for settings of its own."""
LIBPQ_PROMISES: Final = frozenset(
    {"hostaddr", "require_auth", "requirepeer", "sslcertmode", "sslcrldir"}
)
"""Parameters by which libpq refuses a connection that nothing here would refuse."""
PARAMETER_WORDS: Final = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    # Nothing here encrypts by GSSAPI, so it can't be promised.
    "gssencmode": ("disable", "prefer"),
    "target_session_attrs": (
        "any",
        "primary",
        "standby",
        "prefer-standby",
        "read-write",
        "read-only",
    ),
}
NOT_SHOWN: Final = "(not shown)"
_TEXT: Final = ("text", ".+")
_TRUTH: Final = ("true or false", "(?i:true|false|yes|no|1|0)")
_SECONDS: Final = ("a number of seconds", r"[0-9]{1,6}(\.[0-9]{1,6})?")
REDIS_PARAMETERS: Final = {
    "client_name": ("text without blanks", "[!-~]+"),
    "db": ("the number of a database", "[0-9]{1,5}"),
    "encoding": ("utf-8", "(?i:utf-?8)"),
    "health_check_interval": ("a whole number of seconds", "[0-9]{1,6}"),
    "max_connections": ("a whole number of 10 or more", "[1-9][0-9]{1,5}"),
    "password": _TEXT,
    "protocol": ("2 or 3", "[23]"),
    "retry_on_timeout": _TRUTH,
    "socket_connect_timeout": _SECONDS,
    "socket_keepalive": _TRUTH,
    "socket_timeout": _SECONDS,
    "username": _TEXT,
}
"""What a parameter of Redis' address takes, in words and as a pattern."""
REDISS_PARAMETERS: Final = {
    "ssl_ca_certs": _TEXT,
    "ssl_ca_path": _TEXT,
    "ssl_cert_reqs": ("one of none, optional, required", "none|optional|required"),
    "ssl_certfile": _TEXT,
    "ssl_check_hostname": _TRUTH,
    "ssl_ciphers": _TEXT,
    "ssl_keyfile": _TEXT,
    "ssl_min_version": ("771, which is TLS 1.2, or 772, which is TLS 1.3", "77[12]"),
    "ssl_password": _TEXT,
}
"""The same of one that has TLS."""
ENDPOINT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", re.ASCII)


class ConfigurationWrong(ValueError):
    """A setting can't be used; the message is the sentence to show."""


class Given(NamedTuple):
    """A value and the place that it came from."""

    value: object
    source: str


def path_of(name: str, given: Given) -> Path:
    """Read a path, with `~` for somebody's home."""
    wanted = "the path of a file" if name == "config" else "the path of a directory"
    if not isinstance(given.value, str | Path) or not str(given.value) or "\0" in str(given.value):
        raise wrong(name, given, wanted)
    try:
        return Path(given.value).expanduser()
    except RuntimeError:
        raise wrong(name, given, f"{wanted}; nobody's home is known by what follows ~") from None


def host_of(name: str, given: Given) -> str:
    """Read an IP address to listen on."""
    if given.value == "localhost":
        # gRPC would take what there is of two addresses, and pass over one that is taken.
        return "127.0.0.1"
    try:
        ip_address(str(given.value))
    except ValueError:
        raise wrong(name, given, "an IP address such as 127.0.0.1, or localhost") from None
    return str(given.value)


def endpoint_of(name: str, given: Given) -> str:
    """Read one `HOST:PORT`."""
    if not _is_endpoint(str(given.value)):
        raise wrong(name, given, "HOST:PORT such as 127.0.0.1:50051")
    return str(given.value)


def endpoints_of(name: str, given: Given) -> str:
    """Read one or more `HOST:PORT`, separated by commas."""
    if not all(map(_is_endpoint, str(given.value).split(","))):
        wanted = "HOST:PORT such as 127.0.0.1:9092, or several separated by commas"
        raise wrong(name, given, wanted)
    return str(given.value)


def _is_endpoint(text: str) -> bool:
    found = ENDPOINT.fullmatch(text)
    return found is not None and 1 <= int(found[2]) <= 65_535


def postgres_url_of(name: str, given: Given) -> str:
    """Read the URL of a PostgreSQL database, without `LIBPQ_ONLY`, none of which changes anything
    here: who connects has time limits of its own and notices a dead connection by them, takes
    several hosts in their order, names itself, tells the host's name in TLS, and never uses channel
    binding, TLS compression or GSSAPI encryption."""
    wanted = "a URL such as postgresql://exchange@127.0.0.1:5432/exchange"
    address, _, query = _url(name, given, POSTGRES_URL, wanted).partition("?")
    query, mark, fragment = query.partition("#")
    kept = []
    for parameter in query.split("&"):
        named = dict(parse_qsl(parameter))
        for key, value in named.items():
            words = PARAMETER_WORDS.get(key)
            limit = ""
            if words and value not in words:
                limit = f"a URL whose {key} is one of {', '.join(words)}"
            elif key in LIBPQ_PROMISES:
                limit = f"a URL without {key}, to which only libpq keeps"
            elif key in LIBPQ_ONLY and ";" in value:
                limit = "a URL whose parameters are separated by &"
            if limit:
                raise wrong(name, given._replace(value=NOT_SHOWN), limit)
        if not LIBPQ_ONLY & named.keys():
            kept.append(parameter)
    query = "&".join(kept)
    return f"{address}{'?' if query else ''}{query}{mark}{fragment}"


def redis_url_of(name: str, given: Given) -> str:
    """Read the URL of a Redis, unchanged, whose parameters Redis' client knows."""
    url = _url(name, given, REDIS_URL, "a URL such as redis://127.0.0.1:6379/0")
    known = REDIS_PARAMETERS | (REDISS_PARAMETERS if url.startswith("rediss:") else {})
    query = url.partition("?")[2].partition("#")[0]
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in known:
            words, pattern = known[key]
            if re.fullmatch(pattern, value, re.ASCII | re.DOTALL):
                continue
            limit = f"a URL whose {key} is {words}"
        elif key in REDISS_PARAMETERS:
            limit = f"a URL without {key}, or one that begins with rediss://"
        else:
            limit = f"a URL without {key}, whose parameters are of {', '.join(known)}"
        raise wrong(name, given._replace(value=NOT_SHOWN), limit)
    return url


def _url(name: str, given: Given, pattern: "re.Pattern[str]", wanted: str) -> str:
    found = pattern.fullmatch(str(given.value))
    ports = re.findall(r":([0-9]+)(?:,|$)", found["places"]) if found else []
    if not found or not all(1 <= int(port) <= 65_535 for port in ports):
        raise wrong(name, given._replace(value=NOT_SHOWN), wanted)
    return str(given.value)


def truth_of(name: str, given: Given) -> bool:
    """Read a yes or no in the words of TOML, a variable or an option."""
    if isinstance(given.value, bool):
        return given.value
    if str(given.value).lower() not in TRUTHS:
        raise wrong(name, given, "true or false")
    return TRUTHS[str(given.value).lower()]


def number_of(name: str, given: Given, low: int, high: int) -> int:
    """Read a whole number within its bounds."""
    value = given.value
    if isinstance(value, str) and re.fullmatch("[0-9]{1,18}", value, re.ASCII):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise wrong(name, given, f"a whole number from {low} to {high}")
    return value


def matching(name: str, given: Given, pattern: "re.Pattern[str]") -> str:
    """Read text that matches all of a pattern."""
    if not isinstance(given.value, str) or not pattern.fullmatch(given.value):
        raise wrong(name, given, f"text that matches {pattern.pattern}")
    return given.value


def word_of(name: str, given: Given, words: tuple[str, ...]) -> str:
    """Read one of a few words."""
    if given.value not in words:
        raise wrong(name, given, f"one of {', '.join(words)}")
    return str(given.value)


def mode_of(name: str, given: Given) -> int:
    """Read the number of a self-trade prevention mode."""
    modes = numbers_of(PREVENTIONS)
    if str(given.value) not in modes:
        raise wrong(name, given, f"one of {', '.join(modes)}")
    return modes[str(given.value)]


def decimal_of(name: str, given: Given, decimals: int, low: int, high: int) -> int:
    """Read units of 10^-decimals strictly from text; a TOML number has been through a float."""
    wanted = (
        f'a decimal in quotes such as "0.01", from {decimal_text(low, decimals)} to '
        f"{decimal_text(high, decimals)}, with at most {decimals} decimals"
    )
    found = DECIMAL.fullmatch(given.value) if isinstance(given.value, str) else None
    if not found or len(found[3] or "") > decimals:
        raise wrong(name, given, wanted)
    units = int(found[2] + (found[3] or "").ljust(decimals, "0"))
    units = -units if found[1] else units
    if not low <= units <= high:
        raise wrong(name, given, wanted)
    return units


def table_of(name: str, given: Given, known: Mapping[str, object]) -> dict[str, Given]:
    """Read the entries of a table, all of whose names are known."""
    if not isinstance(given.value, dict):
        raise wrong(name, given, "a table")
    for key in given.value:
        if key not in known:
            raise unknown(f"{name}.{key}", given.source, known)
    return {key: Given(value, given.source) for key, value in given.value.items()}


def wrong(name: str, given: Given, limit: str) -> ConfigurationWrong:
    """Refuse a value; before an @ there may be a password, so that is not shown."""
    shown = NOT_SHOWN if "@" in repr(given.value) else repr(given.value)
    return ConfigurationWrong(f"{name} is {shown} ({given.source}); it must be {limit}")


def unknown(name: str, source: str, known: Iterable[str]) -> ConfigurationWrong:
    """Refuse a name; its value is not shown, since it may be a password."""
    exist = ", ".join(sorted(known))
    return ConfigurationWrong(
        f"{name} is not a setting ({source}); it must be a setting that exists: {exist}"
    )
