"""The journal's first segments are archived while the exchange runs, and it is killed meanwhile."""

import shutil
from itertools import count
from pathlib import Path

import grpc

from exchange.v1.admin_service_pb2 import GetStatusRequest
from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
from exchange.v1.order_service_pb2 import PlaceOrdersRequest
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
from server.exits import Exit
from server.journal.recovery import recover
from server.journal.segments import segment_paths
from tests.processes.load import bid
from tests.running import Starter, until

CONFIGURATION = """
[journal]
segment_bytes = 65536
retention = "archive"
archive_dir = "{archive}"
[snapshots]
interval_s = 1
"""


def test_what_is_archived_and_what_is_kept_are_the_whole_journal(
    starter: Starter, tmp_path: Path
) -> None:
    """[I1 I2 I8] Nothing acknowledged is lost between the two, killed in the middle of it."""
    archive, config = tmp_path / "archive", tmp_path / "exchange.toml"
    config.write_text(CONFIGURATION.format(archive=archive))
    server, address = starter.server(None, "--config", str(config))
    place = ("--data-dir", str(starter.data_dir), "--config", str(config))
    follower = starter.run("follower", *place, "--server", address)
    numbers = count()
    acknowledged: list[str] = []
    with grpc.insecure_channel(address) as channel:
        orders = OrderServiceStub(channel)

        def archived() -> bool:
            batch = [bid(next(numbers)) for _ in range(100)]
            reply = orders.PlaceOrders(PlaceOrdersRequest(orders=batch), timeout=10)
            acknowledged.extend(each.placed.order.order_id for each in reply.outcomes)
            return archive.exists() and len(segment_paths(archive)) >= 2

        until(archived, 30, "two archived segments")
    server.kill()
    assert follower.terminate() == Exit.CLEAN
    again, address = starter.server(None, "--config", str(config))
    with grpc.insecure_channel(address) as channel:
        status = AdminServiceStub(channel).GetStatus(GetStatusRequest(), timeout=10)
    assert status.journal_first_sequence > 1
    assert again.terminate() == Exit.CLEAN
    export = ("export", "orders", "--to", "2", "--data-dir", str(starter.data_dir))
    exported = starter.run(*export)
    assert exported.wait() == Exit.CLEAN, exported.lines
    assert exported.line("the journal begins at sequence "), exported.lines
    whole = tmp_path / "whole"
    shutil.copytree(starter.data_dir, whole, ignore=shutil.ignore_patterns("snapshots"))
    for path in segment_paths(archive):
        shutil.copy2(path, whole)
    recovered = recover(whole)
    assert recovered.log.first_sequence == 1
    assert recovered.engine.sequence >= status.durable_sequence
    missing = [name for name in acknowledged if recovered.engine.order(name) is None]
    assert not missing, f"I1: {missing[:5]} were acknowledged and are gone"
    recovered.log.close()
