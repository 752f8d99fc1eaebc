"""From a file, the environment and the options to `Settings`; the later of the three wins.

A value is checked where it is read, so that a refusal can name the setting, where the value came
from, the value and the limit. Nothing is corrected, guessed or passed over: a name that is not
known is refused too. What may hold a password is not repeated, by a refusal least of all.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, fields, is_dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from server.core.checks import INSTRUMENT_PATTERN
from server.core.instruments import Instrument, Limits
from server.core.types import INT64_MAX
from server.core.words import PREVENTIONS, numbers_of
from server.decimals import decimal_text
from server.settings import (
    KAFKA_FORMATS,
    LOG_FORMATS,
    LOG_LEVELS,
    Settings,
    address,
    is_loopback,
)

CONFIG_VARIABLE: Final = "EXCHANGE_CONFIG"


class ConfigurationWrong(ValueError):
    """A setting can't be used; the message is the sentence to show."""


class Given(NamedTuple):
    """A value and where it came from."""

    value: object
    source: str


class Named(NamedTuple):
    """A setting that has an option and a variable besides its place in the file."""

    name: str
    option: str
    variable: str
    placeholder: str
    meaning: str


NAMED: Final = (
    Named("data_dir", "--data-dir", "EXCHANGE_DATA_DIR", "DIR", "where journal and snapshots are"),
    Named("http_port", "--http-port", "PORT", "PORT", "of HTTP JSON and, passed through, gRPC"),
    Named("grpc_port", "--grpc-port", "GRPC_PORT", "PORT", "of gRPC straight to the server"),
    Named("host", "--host", "EXCHANGE_HOST", "IP", "address that both ports are bound to"),
    Named(
        "websocket",
        "--websocket",
        "EXCHANGE_WEBSOCKET",
        "HOST:PORT",
        "where the WebSocket bridge is",
    ),
    Named("server", "--server", "EXCHANGE_GRPC", "HOST:PORT", "where the server is"),
    Named(
        "insecure_public",
        "--insecure-public",
        "EXCHANGE_INSECURE_PUBLIC",
        "",
        "allow a host that other machines can reach, though there is no authentication",
    ),
    Named(
        "kafka_brokers",
        "--kafka-brokers",
        "KAFKA_BROKERS",
        "HOST:PORT,...",
        "Kafka to send every event to",
    ),
    Named(
        "kafka_format",
        "--kafka-format",
        "KAFKA_FORMAT",
        "FORMAT",
        f"format of the values in Kafka: {', '.join(KAFKA_FORMATS)}",
    ),
    Named(
        "postgres_url",
        "--postgres-url",
        "POSTGRES_URL",
        "URL",
        "PostgreSQL database to keep up to date",
    ),
    Named("redis_url", "--redis-url", "REDIS_URL", "URL", "Redis that front ends share"),
    Named(
        "rate_limits",
        "--rate-limits",
        "EXCHANGE_RATE_LIMITS",
        "CHOICE",
        "limit what each client may send: on, off",
    ),
    Named(
        "postgres",
        "--postgres",
        "EXCHANGE_POSTGRES",
        "CHOICE",
        "what `up` does where no PostgreSQL is named: embedded, off",
    ),
    Named(
        "full",
        "--full",
        "EXCHANGE_FULL",
        "",
        "start a Redis and a Kafka of its own too, where none is named",
    ),
    Named(
        "niceness",
        "--niceness",
        "EXCHANGE_NICENESS",
        "N",
        "of the follower and the embedded servers: from 0, as important as the rest, to 19",
    ),
    Named(
        "log_level",
        "--log-level",
        "LOG_LEVEL",
        "LEVEL",
        f"least level to log: {', '.join(LOG_LEVELS)}",
    ),
    Named(
        "log_format",
        "--log-format",
        "LOG_FORMAT",
        "FORMAT",
        f"format of the log: {', '.join(LOG_FORMATS)}",
    ),
)
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
NOT_SHOWN: Final = "(not shown)"
ENDPOINT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", re.ASCII)


def load(options: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    """The settings that apply; `options` by setting name, without those that were not given."""
    content: dict[str, Any] = {}
    path = options.get("config") or environment.get(CONFIG_VARIABLE)
    if path:
        source = "option --config" if options.get("config") else f"variable {CONFIG_VARIABLE}"
        content = _file(_path("config", Given(path, source)))
    settings = _sections(Settings(), content, str(path))
    given = {
        named.name: Given(content[named.name], f"file {path}")
        for named in NAMED
        if named.name in content
    }
    if environment.get("POSTGRES_HOST"):
        given["postgres_url"] = Given(_postgres_parts(environment), "variable POSTGRES_HOST")
    if environment.get("REDIS_HOST"):
        given["redis_url"] = Given(_redis_parts(environment), "variable REDIS_HOST")
    for named in NAMED:
        if environment.get(named.variable):
            given[named.name] = Given(environment[named.variable], f"variable {named.variable}")
        if options.get(named.name) is not None:
            given[named.name] = Given(options[named.name], f"option {named.option}")
    numbers = {field.name: field for field in fields(Settings)}
    values: dict[str, Any] = {name: _named(name, it, numbers[name]) for name, it in given.items()}
    settings = replace(settings, **values)
    _whole(settings, given)
    return settings


def _file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise ConfigurationWrong(
            f"configuration file {path}: {error.strerror}; name another with --config"
            f" ({CONFIG_VARIABLE})"
        ) from error
    except (ValueError, RecursionError) as error:
        # Also a number with thousands of digits, and tables thousands deep.
        raise ConfigurationWrong(f"configuration file {path} is not TOML: {error}") from error
    return content


def _sections(settings: Settings, content: Mapping[str, Any], path: str) -> Settings:
    names = {field.name for field in fields(Settings)}
    for name, value in content.items():
        source = f"file {path}"
        if name not in names:
            raise _unknown(name, source, names)
        if name == "instruments":
            settings = replace(settings, instruments=_instruments(Given(value, source)))
        elif is_dataclass(section := getattr(settings, name)):
            settings = replace(settings, **{name: _section(name, section, Given(value, source))})
        elif name == "engine":
            settings = replace(settings, engine=_engine(Given(value, source)))
    return settings


def _section(name: str, section: Any, given: Given) -> Any:
    known = {field.name: field for field in fields(section)}
    values: dict[str, object] = {}
    for key, it in _table(name, given, known).items():
        setting = f"{name}.{key}"
        if "words" in known[key].metadata:
            values[key] = _word(setting, it, known[key].metadata["words"])
        elif "text" in known[key].metadata:
            values[key] = "" if it.value == "" else str(_path(setting, it))
        elif known[key].metadata:
            values[key] = _number(setting, it, **known[key].metadata)
        else:
            values[key] = _truth(setting, it)
    return replace(section, **values)


def _engine(given: Given) -> Limits:
    """The engine's bounds; the window in seconds, as people say it."""
    greatest = {
        "keys_max": 100_000_000,
        "closed_orders_max": 100_000_000,
        "window_s": 7 * 86_400,
        "instruments_max": 100_000,
    }
    values = {
        key: _number(f"engine.{key}", it, 1, greatest[key])
        for key, it in _table("engine", given, greatest).items()
    }
    if "window_s" in values:
        values["window_ns"] = values.pop("window_s") * 1_000_000_000
    return Limits(**values)


def _instruments(given: Given) -> tuple[Instrument, ...]:
    if not isinstance(given.value, list) or not given.value:
        raise _wrong("instruments", given, "tables, each begun with [[instruments]]")
    instruments = tuple(_instrument(Given(row, given.source)) for row in given.value)
    names = [instrument.name for instrument in instruments]
    for name in names:
        if names.count(name) > 1:
            raise _wrong("instruments.name", Given(name, given.source), "each name once")
    return instruments


def _instrument(given: Given) -> Instrument:
    """Numbers as decimal strings, the units of the core made of them."""
    price = {"tick": "tick_e8", "price_min": "price_min_e8", "price_max": "price_max_e8"}
    quantity = {
        "lot": "lot_e8",
        "quantity_min": "quantity_min_e8",
        "quantity_max": "quantity_max_e8",
    }
    fees = {"maker_fee": "maker_fee_e6", "taker_fee": "taker_fee_e6"}
    known = {"name": "", "self_trade_prevention": "", **price, **quantity, **fees}
    values: dict[str, Any] = {}
    for key, it in _table("instruments", given, known).items():
        setting = f"instruments.{key}"
        if key == "name":
            values["name"] = _matching(setting, it, re.compile(INSTRUMENT_PATTERN))
        elif key == "self_trade_prevention":
            values[key] = _mode(setting, it)
        elif key in fees:
            values[fees[key]] = _decimal(setting, it, 6, -1_000_000, 1_000_000)
        else:
            values[known[key]] = _decimal(setting, it, 8, 1, INT64_MAX)
    if "name" not in values:
        raise _wrong("instruments.name", Given("", given.source), "a name such as BTC-USD")
    instrument = Instrument(**values)
    for low, high in (("price_min", "price_max"), ("quantity_min", "quantity_max")):
        if getattr(instrument, f"{low}_e8") > getattr(instrument, f"{high}_e8"):
            least, most = getattr(instrument, f"{low}_e8"), getattr(instrument, f"{high}_e8")
            raise _wrong(
                f"instruments.{low}",
                Given(decimal_text(least, 8), given.source),
                f"at most {high} of {instrument.name}, which is {decimal_text(most, 8)}",
            )
    return instrument


def _table(name: str, given: Given, known: Mapping[str, object]) -> dict[str, Given]:
    if not isinstance(given.value, dict):
        raise _wrong(name, given, "a table")
    for key in given.value:
        if key not in known:
            raise _unknown(f"{name}.{key}", given.source, known)
    return {key: Given(value, given.source) for key, value in given.value.items()}


def _named(name: str, given: Given, field: "Field[Any]") -> object:
    readers: dict[str, Callable[[str, Given], object]] = {
        "data_dir": _path,
        "host": _host,
        "server": _endpoint,
        "websocket": _endpoint,
        "insecure_public": _truth,
        "full": _truth,
        "postgres_url": _postgres_url,
        "redis_url": _redis_url,
        "kafka_brokers": _endpoints,
    }
    if name in readers:
        return readers[name](name, given)
    if "words" in field.metadata:
        return _word(name, given, field.metadata["words"])
    return _number(name, given, **field.metadata)


def _path(name: str, given: Given) -> Path:
    wanted = "the path of a file" if name == "config" else "the path of a directory"
    if not isinstance(given.value, str | Path) or not str(given.value) or "\0" in str(given.value):
        raise _wrong(name, given, wanted)
    try:
        return Path(given.value).expanduser()
    except RuntimeError:
        raise _wrong(name, given, f"{wanted}; nobody's home is known by what follows ~") from None


def _host(name: str, given: Given) -> str:
    if given.value == "localhost":
        # gRPC would take what there is of two addresses, and pass over one that is taken.
        return "127.0.0.1"
    try:
        ip_address(str(given.value))
    except ValueError:
        raise _wrong(name, given, "an IP address such as 127.0.0.1, or localhost") from None
    return str(given.value)


def _endpoint(name: str, given: Given) -> str:
    found = ENDPOINT.fullmatch(str(given.value))
    if not found or not 1 <= int(found[2]) <= 65_535:
        raise _wrong(name, given, "HOST:PORT such as 127.0.0.1:50051")
    return str(given.value)


def _endpoints(name: str, given: Given) -> str:
    wanted = "HOST:PORT such as 127.0.0.1:9092, or several separated by commas"
    for each in str(given.value).split(","):
        found = ENDPOINT.fullmatch(each)
        if not found or not 1 <= int(found[2]) <= 65_535:
            raise _wrong(name, given, wanted)
    return str(given.value)


def _postgres_url(name: str, given: Given) -> str:
    wanted = "a URL such as postgresql://exchange@127.0.0.1:5432/exchange"
    return _url(name, given, POSTGRES_URL, wanted)


def _redis_url(name: str, given: Given) -> str:
    return _url(name, given, REDIS_URL, "a URL such as redis://127.0.0.1:6379/0")


def _url(name: str, given: Given, pattern: "re.Pattern[str]", wanted: str) -> str:
    found = pattern.fullmatch(str(given.value))
    ports = re.findall(r":([0-9]+)(?:,|$)", found["places"]) if found else []
    if not found or not all(1 <= int(port) <= 65_535 for port in ports):
        raise _wrong(name, given._replace(value=NOT_SHOWN), wanted)
    return str(given.value)


def _postgres_parts(environment: Mapping[str, str]) -> str:
    """The address that the single variables make."""
    place = _place(environment, "POSTGRES_HOST", "POSTGRES_PORT", "5432")
    user = quote(environment.get("POSTGRES_USER") or "exchange", safe="")
    password = quote(environment.get("POSTGRES_PASSWORD") or "", safe="")
    name = environment.get("POSTGRES_DATABASE") or environment.get("POSTGRES_DB")
    database = quote(name or "exchange", safe="")
    who = f"{user}:{password}" if password else user
    return f"postgresql://{who}@{place}/{database}"


def _redis_parts(environment: Mapping[str, str]) -> str:
    """The same for Redis."""
    place = _place(environment, "REDIS_HOST", "REDIS_PORT", "6379")
    password = quote(environment.get("REDIS_PASSWORD") or "", safe="")
    database = environment.get("REDIS_DB") or "0"
    if not re.fullmatch("[0-9]{1,5}", database, re.ASCII):
        given = Given(database, "variable REDIS_DB")
        raise _wrong("redis_db", given, "the number of a database, 0 for the first")
    return f"redis://{f':{password}@' if password else ''}{place}/{database}"


def _place(environment: Mapping[str, str], host: str, port: str, port_default: str) -> str:
    """HOST:PORT of the two variables of these names."""
    number = environment.get(port) or port_default
    if not re.fullmatch("[0-9]{1,5}", number, re.ASCII) or not 1 <= int(number) <= 65_535:
        raise _wrong(port.lower(), Given(number, f"variable {port}"), "a port from 1 to 65535")
    if not re.fullmatch("[A-Za-z0-9._:-]+", environment[host], re.ASCII):
        given = Given(environment[host], f"variable {host}")
        raise _wrong(host.lower(), given, "the name or the IP address of a machine")
    return address(environment[host], int(number))


def _truth(name: str, given: Given) -> bool:
    if isinstance(given.value, bool):
        return given.value
    if str(given.value).lower() not in TRUTHS:
        raise _wrong(name, given, "true or false")
    return TRUTHS[str(given.value).lower()]


def _number(name: str, given: Given, low: int, high: int) -> int:
    value = given.value
    if isinstance(value, str) and re.fullmatch("[0-9]{1,18}", value, re.ASCII):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _wrong(name, given, f"a whole number from {low} to {high}")
    return value


def _matching(name: str, given: Given, pattern: "re.Pattern[str]") -> str:
    if not isinstance(given.value, str) or not pattern.fullmatch(given.value):
        raise _wrong(name, given, f"text that matches {pattern.pattern}")
    return given.value


def _word(name: str, given: Given, words: tuple[str, ...]) -> str:
    if given.value not in words:
        raise _wrong(name, given, f"one of {', '.join(words)}")
    return str(given.value)


def _mode(name: str, given: Given) -> int:
    modes = numbers_of(PREVENTIONS)
    if str(given.value) not in modes:
        raise _wrong(name, given, f"one of {', '.join(modes)}")
    return modes[str(given.value)]


def _decimal(name: str, given: Given, decimals: int, low: int, high: int) -> int:
    """Strictly from text to units of 10^-decimals; a TOML number has been through a float."""
    wanted = (
        f'a decimal in quotes such as "0.01", from {decimal_text(low, decimals)} to '
        f"{decimal_text(high, decimals)}, with at most {decimals} decimals"
    )
    found = DECIMAL.fullmatch(given.value) if isinstance(given.value, str) else None
    if not found or len(found[3] or "") > decimals:
        raise _wrong(name, given, wanted)
    units = int(found[2] + (found[3] or "").ljust(decimals, "0"))
    units = -units if found[1] else units
    if not low <= units <= high:
        raise _wrong(name, given, wanted)
    return units


def _whole(settings: Settings, given: Mapping[str, Given]) -> None:
    """What only shows once everything is known."""
    if settings.http_port == settings.grpc_port:
        it = given.get("http_port") or given["grpc_port"]
        raise _wrong("http_port", it, f"another port than grpc_port ({settings.grpc_port})")
    if settings.grpc.deadline_s > settings.grpc.deadline_max_s:
        raise ConfigurationWrong(
            f"grpc.deadline_s is {settings.grpc.deadline_s}; it must be at most"
            f" grpc.deadline_max_s, which is {settings.grpc.deadline_max_s}: set both"
        )
    if settings.journal.retention == "archive" and not settings.journal.archive_dir:
        raise ConfigurationWrong(
            "journal.retention is 'archive' and journal.archive_dir is '': set it to a directory"
        )
    if not is_loopback(settings.host) and not settings.insecure_public:
        raise ConfigurationWrong(
            f"host is {settings.host} ({given['host'].source}), which other machines may reach, "
            "and there is no authentication: use 127.0.0.1, or add --insecure-public"
        )


def _wrong(name: str, given: Given, limit: str) -> ConfigurationWrong:
    # Before an @ there may be a password.
    shown = NOT_SHOWN if "@" in repr(given.value) else repr(given.value)
    return ConfigurationWrong(f"{name} is {shown} ({given.source}); it must be {limit}")


def _unknown(name: str, source: str, known: Iterable[str]) -> ConfigurationWrong:
    """Whose value nobody knows to be no password."""
    exist = ", ".join(sorted(known))
    return ConfigurationWrong(
        f"{name} is not a setting ({source}); it must be a setting that exists: {exist}"
    )
