"""`exchange doctor`: examine, print, exit code.

What one finding rests on comes before it: without its packages the exchange can't be asked, and
with settings that are wrong nobody knows which directory and ports are meant.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from clients.terminal import Line, Span, Style, colours_on, line, text_of
from server.exits import Exit
from server.settings import Settings
from server.supervisor.commands.doctor.finding import Finding, State, bad, good
from server.supervisor.options import add_settings, settings_of
from server.supervisor.parent import Parent
from server.supervisor.setting_values import ConfigurationWrong

DESCRIPTION: Final = """\
Looks at everything that the exchange needs on this machine, repairs nothing, and says what to do
about what is not right: Python and its packages, Envoy, open files, clock; the data directory, its
disk, its journal; the ports, the server and its snapshots; PostgreSQL, Redis and Kafka. Works with
a running exchange and without."""
EPILOG: Final = "Exit codes: 0 nothing is bad (read the notes), 1 something is, 2 wrong usage."

SEE_SETTINGS: Final = (
    "see exchange up --help or, for what stands in a file, server/settings.py; then ask again"
)
MARKS: Final = {
    State.GOOD: Span("good", Style.GOOD),
    State.NOTE: Span("note", Style.WARNING),
    State.BAD: Span("BAD ", Style.BAD),
}
NAME_WIDTH: Final = 14
"""The length of the longest name."""


def register(commands: Any) -> None:
    """Add `doctor`."""
    doctor = commands.add_parser(
        "doctor",
        help="examine the installation and say what to do",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_settings(doctor)
    doctor.add_argument("--json", action="store_true", help="print one JSON document")
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace, _: Parent) -> int:
    return _print_findings(_examine(options), as_json=options.json)


def _examine(options: argparse.Namespace) -> Iterator[Finding]:
    # Here, so that what is missing is a finding and not the end.
    from server.supervisor.commands.doctor import installation

    try:
        settings = settings_of(options)
    except ConfigurationWrong as wrong:
        yield from installation.examine(Settings())
        yield bad("settings", str(wrong), SEE_SETTINGS)
        return
    is_installed = True
    for finding in installation.examine(settings):
        is_installed &= (finding.name, finding.state) != ("packages", State.BAD)
        yield finding
    yield good("settings", options.config or os.environ.get("EXCHANGE_CONFIG") or "no file")
    if is_installed:
        from server.supervisor.commands.doctor import directory, outside, serving

        yield from directory.examine(settings.data_dir)
        try:
            owner = directory.owner_of(settings.data_dir)
        except OSError:
            owner = None  # what the directory's own finding says
        yield from serving.examine(settings, owner)
        yield from outside.examine(settings)


def _print_findings(findings: Iterator[Finding], *, as_json: bool) -> int:
    """Print each finding as it is found, for some take a while."""
    found = []
    coloured = colours_on(sys.stdout, os.environ)
    for finding in findings:
        found.append(finding)
        if not as_json:
            for each in _lines(finding):
                print(text_of(each, coloured=coloured), flush=True)
    bad_count = sum(finding.state is State.BAD for finding in found)
    if as_json:
        print(
            json.dumps({"good": not bad_count, "findings": [asdict(it) for it in found]}, indent=2)
        )
    elif bad_count:
        print(f"{bad_count} of {len(found)} bad: do what stands below each")
    return Exit.FAILED if bad_count else Exit.CLEAN


def _lines(finding: Finding) -> list[Line]:
    lines = [line(MARKS[finding.state], f"  {finding.name:<{NAME_WIDTH}}  {finding.said}")]
    if finding.remedy:
        lines.append(line(f"      {'':<{NAME_WIDTH}}  -> {finding.remedy}"))
    return lines
