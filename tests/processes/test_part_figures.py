"""CPU and memory of every part of a whole exchange, at the server's `/metrics`."""

import os
import time
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.metrics.processes import usage
from server.supervisor.parent import named_processes, processes_line
from tests.running import Everything, Starter, until

PARTS = {"server", "gateway", "follower", "websocket", "supervisor"}


def figures(exchange: Everything) -> dict[str, dict[str, float]]:
    """What each figure of the parts says, by part."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(httpx.get(f"{exchange.http}/metrics").text):
        for sample in family.samples:
            if "part" in sample.labels:
                found.setdefault(sample.name, {})[sample.labels["part"]] = sample.value
    return found


def test_each_part_has_its_own_and_a_restarted_one_begins_anew(starter: Starter) -> None:
    exchange = starter.up()
    first = figures(exchange)
    assert first.keys() == {
        "part_cpu_seconds_total", "part_resident_memory_bytes", "part_open_fds",
    }  # fmt: skip
    for values in first.values():
        assert values.keys() >= PARTS
        assert all(value > 0 for value in values.values()), first
    resident = first["part_resident_memory_bytes"]
    supervisor = psutil.Process(exchange.running.pid).memory_info().rss
    assert resident["supervisor"] == pytest.approx(supervisor, rel=0.2)
    gateway = next(
        each for each in psutil.Process(exchange.running.pid).children()
        if "--config-path" in each.cmdline()
    )  # fmt: skip
    assert resident["gateway"] == pytest.approx(gateway.memory_info().rss, rel=0.2)
    follower = next(
        each for each in psutil.Process(exchange.running.pid).children()
        if "follower" in each.cmdline()
    )  # fmt: skip
    before = first["part_cpu_seconds_total"]["follower"]
    follower.kill()
    exchange.running.wait_line("follower is back")
    again = psutil.Process(exchange.running.pid).children()
    assert follower.pid not in [each.pid for each in again]
    after = figures(exchange)["part_cpu_seconds_total"]
    assert 0 < after["follower"] < before + 5
    # A server that comes back is told of all of them again.
    server = next(each for each in again if "server" in each.cmdline())
    server.kill()
    exchange.running.wait_line("server is back")
    until(lambda: httpx.get(f"{exchange.http}/healthz").status_code == 200, 10)
    assert figures(exchange)["part_open_fds"].keys() >= PARTS


def test_usage_is_that_of_the_process() -> None:
    assert usage(2**22 + 1) is None
    own = usage(psutil.Process().pid)
    assert own is not None
    assert own.cpu_seconds == pytest.approx(time.process_time(), abs=0.5)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert own.resident_bytes == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE"), rel=0.2)
    assert own.descriptor_count == pytest.approx(len([*Path("/proc/self/fd").iterdir()]), abs=5)


def test_the_line_that_names_the_processes() -> None:
    process_ids = {"server": 1, "gateway": 4_194_304}
    assert named_processes(processes_line(process_ids).rstrip(b"\n")) == process_ids
    assert named_processes(b"") == {}
