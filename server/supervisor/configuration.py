"""From a file, the environment and the options to `Settings`; the later of the three wins.

A value is checked where it is read, so that a refusal can name the setting, where the value came
from, the value and the limit. Nothing is corrected, guessed or passed over: a name that is not
known is refused too. What may hold a password is not repeated, by a refusal least of all.
"""

import os
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from server.settings import (
    ARCHIVE,
    KAFKA_FORMATS,
    LOG_FORMATS,
    LOG_LEVELS,
    Settings,
    is_loopback,
)
from server.supervisor import address_variables
from server.supervisor.instrument_settings import instruments_of
from server.supervisor.setting_values import (
    ConfigurationWrong,
    Given,
    endpoint_of,
    endpoints_of,
    host_of,
    number_of,
    path_of,
    postgres_url_of,
    redis_url_of,
    table_of,
    truth_of,
    unknown,
    word_of,
    wrong,
)

CONFIG_VARIABLE: Final = "EXCHANGE_CONFIG"


class Named(NamedTuple):
    """A setting that has an option and a variable besides its place in the file."""

    name: str
    option: str
    variable: str
    placeholder: str
    meaning: str
    read: Callable[[str, Given], object] | None = None
    """What reads the value, where its field in `Settings` doesn't say how."""


NAMED: Final = (
    Named(
        "data_dir",
        "--data-dir",
        "EXCHANGE_DATA_DIR",
        "DIR",
        "where journal and snapshots are",
        path_of,
    ),
    Named("http_port", "--http-port", "PORT", "PORT", "of HTTP JSON and, passed through, gRPC"),
    Named("grpc_port", "--grpc-port", "GRPC_PORT", "PORT", "of gRPC straight to the server"),
    Named("host", "--host", "EXCHANGE_HOST", "IP", "address that both ports are bound to", host_of),
    Named(
        "websocket",
        "--websocket",
        "EXCHANGE_WEBSOCKET",
        "HOST:PORT",
        "where the WebSocket bridge is",
        endpoint_of,
    ),
    Named("server", "--server", "EXCHANGE_GRPC", "HOST:PORT", "where the server is", endpoint_of),
    Named(
        "insecure_public",
        "--insecure-public",
        "EXCHANGE_INSECURE_PUBLIC",
        "",
        "allow a host that other machines can reach, though there is no authentication",
        truth_of,
    ),
    Named(
        "kafka_brokers",
        "--kafka-brokers",
        "KAFKA_BROKERS",
        "HOST:PORT,...",
        "Kafka to send every event to",
        endpoints_of,
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
        postgres_url_of,
    ),
    Named(
        "redis_url", "--redis-url", "REDIS_URL", "URL", "Redis that front ends share", redis_url_of
    ),
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
        truth_of,
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


def load(options: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    """Load the settings that apply; `options` by setting name, without those not given."""
    content: dict[str, Any] = {}
    path = options.get("config") or environment.get(CONFIG_VARIABLE)
    if path:
        source = "option --config" if options.get("config") else f"variable {CONFIG_VARIABLE}"
        content = _file(path_of("config", Given(path, source)))
    settings = _sections(Settings(), content, str(path))
    given = {
        named.name: Given(content[named.name], f"file {path}")
        for named in NAMED
        if named.name in content
    }
    if environment.get("POSTGRES_HOST"):
        given["postgres_url"] = Given(
            address_variables.postgres_url_of(environment), "variable POSTGRES_HOST"
        )
    if environment.get("REDIS_HOST"):
        given["redis_url"] = Given(
            address_variables.redis_url_of(environment), "variable REDIS_HOST"
        )
    for named in NAMED:
        if environment.get(named.variable):
            given[named.name] = Given(environment[named.variable], f"variable {named.variable}")
        if options.get(named.name) is not None:
            given[named.name] = Given(options[named.name], f"option {named.option}")
    known = {field.name: field for field in fields(Settings)}
    values: dict[str, Any] = {
        named.name: _read(named, given[named.name], known[named.name])
        for named in NAMED
        if named.name in given
    }
    settings = replace(settings, **values)
    _whole(settings, given)
    return settings


def _file(path: Path) -> dict[str, Any]:
    """Read a file that the parts, each in its turn, will find as it is: no pipe and no terminal."""
    try:
        if not (stat.S_ISREG(path.stat().st_mode) or str(path) == os.devnull):
            raise ConfigurationWrong(
                f"configuration file {path} is not a regular file: name one with --config"
                f" ({CONFIG_VARIABLE})"
            )
        content = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
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
            raise unknown(name, source, names)
        if name == "instruments":
            settings = replace(settings, instruments=instruments_of(Given(value, source)))
        elif is_dataclass(section := getattr(settings, name)):
            settings = replace(settings, **{name: _section(name, section, Given(value, source))})
    return settings


def _section(name: str, section: Any, given: Given) -> Any:
    known = {field.name: field for field in fields(section)}
    values: dict[str, object] = {}
    for key, it in table_of(name, given, known).items():
        setting = f"{name}.{key}"
        if "words" in known[key].metadata:
            values[key] = word_of(setting, it, known[key].metadata["words"])
        elif "text" in known[key].metadata:
            values[key] = "" if it.value == "" else str(path_of(setting, it))
        elif known[key].metadata:
            values[key] = number_of(setting, it, **known[key].metadata)
        else:
            values[key] = truth_of(setting, it)
    return replace(section, **values)


def _read(named: Named, given: Given, field: "Field[Any]") -> object:
    if named.read is not None:
        return named.read(named.name, given)
    if "words" in field.metadata:
        return word_of(named.name, given, field.metadata["words"])
    return number_of(named.name, given, **field.metadata)


def _whole(settings: Settings, given: Mapping[str, Given]) -> None:
    """Check what only shows once everything is known."""
    if settings.http_port == settings.grpc_port:
        it = given.get("http_port") or given["grpc_port"]
        raise wrong("http_port", it, f"another port than grpc_port ({settings.grpc_port})")
    if settings.grpc.deadline_s > settings.grpc.deadline_max_s:
        raise ConfigurationWrong(
            f"grpc.deadline_s is {settings.grpc.deadline_s}; it must be at most"
            f" grpc.deadline_max_s, which is {settings.grpc.deadline_max_s}: set both"
        )
    if settings.journal.retention == ARCHIVE and not settings.journal.archive_dir:
        raise ConfigurationWrong(
            "journal.retention is 'archive' and journal.archive_dir is '': set it to a directory"
        )
    if not is_loopback(settings.host) and not settings.insecure_public:
        raise ConfigurationWrong(
            f"host is {settings.host} ({given['host'].source}), which other machines may reach, "
            "and there is no authentication: use 127.0.0.1, or add --insecure-public"
        )
