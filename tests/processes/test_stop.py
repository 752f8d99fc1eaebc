"""Faults 33 and 36: SIGTERM under load, and two servers on one data directory."""

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from server.exits import Exit
from tests.processes.invariants import assert_kept
from tests.processes.load import MixedLoad, repeat, sequence_of
from tests.running import Starter, free_port, until

STOP_S = 10.0


class Health:
    """What a server says of itself, from now to its end."""

    def __init__(self, address: str) -> None:
        self.said: list[int] = []
        self._address = address
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        with grpc.insecure_channel(self._address) as channel, suppress(grpc.RpcError):
            stub: Any = HealthStub(channel)
            for reply in stub.Watch(HealthCheckRequest()):
                self.said.append(reply.status)


def test_sigterm_under_load(starter: Starter, figures: Callable[[str], None]) -> None:
    """[I1-I8 I10] It says that it ends, does so with 0 in time, and the next start has nothing to
    re-apply."""
    server, address = starter.server()
    health = Health(address)
    with MixedLoad(address, "t") as load:
        load.wait(5)
        until(lambda: health.said == [HealthCheckResponse.SERVING], STOP_S, "health")
        began = time.monotonic()
        code = server.terminate(STOP_S)
        seconds = time.monotonic() - began
    assert code == Exit.CLEAN, server.lines
    health.thread.join(STOP_S)
    assert health.said == [HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING]
    again, address = starter.server()
    said = again.wait_line("recovered")
    assert re.search(r"replayed 0; last sequence \d+; dropped 0 tail bytes", said), said
    resolved = repeat(address, load.unanswered())
    acknowledged = load.acknowledged | {k: v for k, v in resolved.items() if sequence_of(v)}
    assert again.terminate(STOP_S) == Exit.CLEAN
    assert_kept(starter.data_dir, acknowledged)
    figures(
        f"fault 33: stopped in {seconds:.2f} s with {len(load.acknowledged)} acknowledged, 0 lost"
    )


def test_second_server_names_the_first(starter: Starter) -> None:
    """Fault 36: the second ends at once, and the journal is untouched."""
    first, _ = starter.server()
    journal = starter.data_dir / "journal"
    before = journal.read_bytes()
    second = starter.run(
        "server", "--data-dir", str(starter.data_dir), "--grpc-port", str(free_port())
    )
    assert second.wait() == Exit.LOCKED
    assert len(second.lines) == 1, second.lines
    assert f"locked by pid {first.pid}" in second.lines[0]
    assert journal.read_bytes()[: len(before)] == before
    assert first.terminate() == Exit.CLEAN
