"""For how long the server's loop is held while a snapshot is made beside it.

One call after another asks for the server's health, which needs the loop and nothing else: neither
engine nor disk. What the longest of them takes is at least what anything held the loop for; where
the cores are busy it also holds what the kernel let all of them wait.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from bench.comparison import judged
from bench.processes import HOST, free_port, listens, running
from bench.workloads import EXCHANGE
from exchange.v1.admin_service_pb2 import CreateSnapshotRequest, GetStatusRequest
from exchange.v1.admin_service_pb2_grpc import AdminServiceStub

GOAL_S: Final = 0.020
BEFORE_S: Final = 2.0
"""For the figure without a snapshot."""
SNAPSHOT_S: Final = 30.0
"""The longest that a call may take."""


def measure(directory: Path, count: int) -> str:
    """One line, of a data directory that holds so many open orders."""
    port = free_port()
    place = ("--data-dir", str(directory))
    server = (*EXCHANGE, "server", *place, "--grpc-port", str(port))
    follower = (*EXCHANGE, "follower", *place, "--server", f"{HOST}:{port}")
    with (
        running(server, directory.parent) as serving,
        grpc.insecure_channel(f"{HOST}:{port}") as channel,
    ):
        serving.wait_until(lambda: listens(port))
        admin, health = AdminServiceStub(channel), HealthStub(channel)

        def is_level() -> bool:
            status = admin.GetStatus(GetStatusRequest())
            return any(each.sequence == status.durable_sequence for each in status.followers)

        with running(follower, directory.parent) as following:
            following.wait_until(is_level)
            until_s = time.monotonic() + BEFORE_S
            before = longest_s(health, lambda: time.monotonic() > until_s)
            began_s = time.monotonic()
            written = admin.CreateSnapshot.future(CreateSnapshotRequest(), timeout=SNAPSHOT_S)
            during = longest_s(health, written.done)
            assert written.result().sequence >= count
            seconds = time.monotonic() - began_s
    return (
        f"- **snapshot while running**: {count:,} open orders written in {seconds:.1f} s; meanwhile"
        f" the server's loop was held for {during * 1_000:.1f} ms at most"
        f" ({judged(during < GOAL_S, f'< {GOAL_S * 1_000:g} ms')}),"
        f" before it {before * 1_000:.1f} ms"
    )


def longest_s(health: HealthStub, is_over: Callable[[], bool]) -> float:
    """What the slowest of calls one after another takes."""
    longest = 0.0
    while not is_over():
        began_s = time.perf_counter()
        health.Check(HealthCheckRequest(), timeout=SNAPSHOT_S)  # type: ignore[attr-defined]
        longest = max(longest, time.perf_counter() - began_s)
    return longest
