"""What holds for every test: where CI is set, a skip is a failure; processes end with their test.

A part that can be installed must be there in CI; its absence must not pass for success. What needs
a container engine, which can't be had everywhere, is marked `container_engine` and may be skipped.
"""

import os
import signal
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path

import hypothesis
import pytest

from tests.followers.redis_site import redis as redis
from tests.running import Starter

NEARBY = "127.0.0.1,localhost,::1"

# Whatever proxy there is for pages elsewhere, what tests start is asked straight.
for _name in ("no_proxy", "NO_PROXY"):
    os.environ[_name] = ",".join(filter(None, (os.environ.get(_name), NEARBY)))

# A shell starts what runs in its background with SIGINT ignored, and what tests start would be so.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("untimed", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Starter]:
    """Starts real processes of the exchange, on a data directory of the test's own."""
    with Starter(tmp_path / "data") as starter:
        yield starter


@pytest.fixture(scope="module")
def module_starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """The same, for all tests of a module."""
    with Starter(tmp_path_factory.mktemp("exchange") / "data") as starter:
        yield starter


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a line with what a test measured, shown at the end of the run."""
    return partial(record_property, "figure")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = [
        line
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, line in report.user_properties
        if name == "figure"
    ]
    if lines:
        terminalreporter.section("figures")
        terminalreporter.write("".join(f"{line}\n" for line in lines))


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if "container_engine" in getattr(report, "keywords", ()):
        return
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped where CI is set: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report)
    return report
