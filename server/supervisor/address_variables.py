"""The addresses that `POSTGRES_HOST`, `REDIS_HOST` and the variables beside them make."""

import re
from collections.abc import Mapping
from urllib.parse import quote

from server.settings import address
from server.supervisor.setting_values import Given, wrong


def postgres_url_of(environment: Mapping[str, str]) -> str:
    """Make the address of a PostgreSQL from the single variables."""
    place = _place(environment, "POSTGRES_HOST", "POSTGRES_PORT", "5432")
    user = quote(environment.get("POSTGRES_USER") or "exchange", safe="")
    password = quote(environment.get("POSTGRES_PASSWORD") or "", safe="")
    name = environment.get("POSTGRES_DATABASE") or environment.get("POSTGRES_DB")
    database = quote(name or "exchange", safe="")
    who = f"{user}:{password}" if password else user
    return f"postgresql://{who}@{place}/{database}"


def redis_url_of(environment: Mapping[str, str]) -> str:
    """Make the address of a Redis from the single variables."""
    place = _place(environment, "REDIS_HOST", "REDIS_PORT", "6379")
    password = quote(environment.get("REDIS_PASSWORD") or "", safe="")
    database = environment.get("REDIS_DB") or "0"
    if not re.fullmatch("[0-9]{1,5}", database, re.ASCII):
        given = Given(database, "variable REDIS_DB")
        raise wrong("redis_db", given, "the number of a database, 0 for the first")
    return f"redis://{f':{password}@' if password else ''}{place}/{database}"


def _place(environment: Mapping[str, str], host: str, port: str, port_default: str) -> str:
    """Make HOST:PORT from the two variables of these names."""
    number = environment.get(port) or port_default
    if not re.fullmatch("[0-9]{1,5}", number, re.ASCII) or not 1 <= int(number) <= 65_535:
        raise wrong(port.lower(), Given(number, f"variable {port}"), "a port from 1 to 65535")
    if not re.fullmatch("[A-Za-z0-9._:-]+", environment[host], re.ASCII):
        given = Given(environment[host], f"variable {host}")
        raise wrong(host.lower(), given, "the name or the IP address of a machine")
    return address(environment[host], int(number))
