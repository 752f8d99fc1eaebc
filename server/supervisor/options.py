"""Settings as options of commands."""

import argparse
import os
from collections.abc import Mapping
from typing import Any, Final

from server.settings import Settings
from server.supervisor.configuration import NAMED, load

SETTINGS: Final = tuple(named.name for named in NAMED)
WITHOUT: Final = {"server": "on this machine", "websocket": "a socket without a port"}
"""The words for what holds where a setting of a part is empty, other than that there is none."""
OF_UP: Final = ("full",)
"""Settings of `up` that are not handed on."""


def add_settings(
    parser: argparse.ArgumentParser, *names: str, without: Mapping[str, str] = WITHOUT
) -> None:
    """Add options for these settings, all of them where none is named; `without`: the words for
    what holds where a setting is empty, other than that there is none."""
    defaults = Settings()
    parser.add_argument(
        "--config", metavar="FILE", help="configuration file (EXCHANGE_CONFIG; none)"
    )
    for named in NAMED:
        if named.name not in (names or SETTINGS):
            continue
        default: Any = getattr(defaults, named.name)
        meaning = f"{named.meaning} ({named.variable}"
        if default is False:
            parser.add_argument(
                named.option, action="store_true", default=None, help=f"{meaning}=true; off)"
            )
        else:
            shown = default or without.get(named.name, "none")
            option = parser.add_argument(
                named.option, metavar=named.placeholder, help=f"{meaning}; {shown})"
            )
            # For completion: as `choices` they would be refused before a file or variable is read.
            words = Settings.__dataclass_fields__[named.name].metadata.get("words", ())
            vars(option)["words"] = words


def settings_of(options: argparse.Namespace) -> Settings:
    """Find the settings that the options, environment and file give; raises
    `ConfigurationWrong`."""
    return load(vars(options), os.environ)


def handed_on(options: argparse.Namespace) -> list[str]:
    """Give the options of `up` again, for the parts."""
    from server.supervisor.embedded.choose import VARIABLES

    again = ["--config", options.config] if options.config else []
    for named in NAMED:
        value = getattr(options, named.name, None)
        if named.name in (*VARIABLES, *OF_UP):
            continue  # Addresses may hold a password, and go by the environment.
        if value is True:
            again.append(named.option)
        elif value is not None:
            again += [named.option, value]
    return again
