"""Fault 9: the disk of the journal is full, on a real small disk where this user may mount one."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import pytest

from exchange.v1.admin_service_pb2 import CreateSnapshotRequest, GetStatusRequest
from exchange.v1.admin_service_pb2_grpc import AdminServiceStub
from exchange.v1.order_service_pb2 import (
    CancelOrderRequest,
    GetOrderRequest,
    PlaceOrdersRequest,
)
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
from server.journal.recovery import recover
from tests.processes.load import bid
from tests.processes.small_disk import BALLAST_NAME, fill
from tests.running import Running, Starter, free_port, until

MODULE = "tests.processes.small_disk"
SEGMENT_BYTES = 64 * 1024
DISK_BYTES = 2 << 20

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 and not os.environ.get("CI"), reason="only root can mount a small disk"
)


def configured(tmp_path: Path) -> str:
    config = tmp_path / "exchange.toml"
    config.write_text(f"[journal]\nsegment_bytes = {SEGMENT_BYTES}\n")
    return str(config)


def disk_of(running: Running, directory: Path) -> Path:
    return Path(f"/proc/{running.pid}/root{directory}")


def assert_health(http: str, status: int, journal: str) -> None:
    def told() -> bool:
        try:
            found = httpx.get(f"{http}/healthz", timeout=5)
        except httpx.TransportError:
            return False  # The gateway is starting.
        assert "x-exchange-http-status" not in found.headers, "it is between server and gateway"
        checks = found.json().get("checks", {})
        return (found.status_code, checks.get("journal")) == (status, journal)

    until(told, 20, f"journal {journal} with {status}")


def assert_refused_over_http(http: str, resting: str) -> None:
    """What the gateway makes of it: the order is refused, cancel and reads go on."""
    placed = {"client_id": "bob", "side": "buy", "type": "limit", "quantity": 1, "price": 2}
    with httpx.Client(base_url=http, timeout=5) as client:

        def answers() -> bool:
            try:
                return client.get("/instruments").status_code == 200
            except httpx.TransportError:
                return False

        until(answers, 20, "the gateway")
        refused = client.post("/orders", json=placed)
        assert (refused.status_code, refused.json()["code"]) == (429, 8), refused.text
        assert "journal disk full" in refused.json()["error"]
        assert refused.json()["details"][0]["reason"] == "JOURNAL_FULL"
        assert int(refused.headers["retry-after"]) > 0
        results = client.post("/orders/batch", json={"orders": [placed]})
        assert results.status_code == 429, results.text
        assert client.get(f"/orders/{resting}").json()["order"]["status"] == "open"
        cancelled = client.delete(f"/orders/{resting}")
        assert cancelled.json()["order"]["status"] == "cancelled", cancelled.text
        assert client.get("/market/orderbook").json()["bids"]


@needs_root
def test_a_full_disk_stops_orders_and_nothing_else(
    starter: Starter, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    """[I1 I2 I8 I11] Orders are refused with the reason, reads and cancels go on; once there is
    room they are taken again, in the same process."""
    data = starter.data_dir
    config = configured(tmp_path)
    environment = {"SMALL_DISK": str(data), "SMALL_DISK_BYTES": str(DISK_BYTES)}
    server, address = starter.server(None, "--config", config, module=MODULE, **environment)
    disk = disk_of(server, data)
    port = str(free_port())
    http = f"http://127.0.0.1:{port}"
    starter.run("gateway", "--http-port", port, "--server", address)
    with grpc.insecure_channel(address) as channel:
        orders, admin = OrderServiceStub(channel), AdminServiceStub(channel)
        taken = [orders.PlaceOrder(bid(number)).order.order_id for number in range(5)]
        fill(disk)
        refused: grpc.RpcError | None = None
        began = time.monotonic()
        number = 1_000
        while refused is None:
            assert time.monotonic() - began < 20, "a full disk stops nothing"
            batch = PlaceOrdersRequest(orders=[bid(number + each) for each in range(50)])
            try:
                reply = orders.PlaceOrders(batch, timeout=5)
            except grpc.RpcError as error:
                refused = error
            else:
                taken += [f"o-{number + each}" for each in range(len(reply.outcomes))]
            number += 50
        assert refused.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "journal disk full" in str(refused.details())
        for name in taken[:200]:
            cancelled = orders.CancelOrder(CancelOrderRequest(order_id=name), timeout=5)
            assert cancelled.order.order_id == name
        assert orders.GetOrder(GetOrderRequest(order_id=taken[-1])).order.order_id == taken[-1]
        assert_refused_over_http(http, taken[200])
        told = admin.GetStatus(GetStatusRequest()).degraded
        assert any("journal disk full" in sentence for sentence in told), told
        assert_health(http, 503, "down")
        (disk / BALLAST_NAME).unlink()
        freed = time.monotonic()

        def taken_again() -> bool:
            nonlocal number
            number += 1
            try:
                orders.PlaceOrder(bid(number), timeout=5)
            except grpc.RpcError:
                return False
            taken.append(f"o-{number}")
            return True

        until(taken_again, 10, "an order that is taken")
        back_s = time.monotonic() - freed
        until(lambda: not admin.GetStatus(GetStatusRequest()).degraded[1:], 10, "health")
        assert_health(http, 200, "healthy")
        copy = tmp_path / "copy"
        shutil.copytree(disk, copy)
    recovered = recover(copy)
    for name in taken:
        found = recovered.engine.order(name)
        assert found is not None, f"I1: {name} was acknowledged and is gone"
    segments = len(recovered.log.segments.all)
    recovered.log.close()
    assert server.terminate() == 0
    figures(
        f"fault 9: {len(taken)} orders acknowledged, 0 lost; refused on a full disk, 200 cancels"
        f" taken meanwhile, orders again {back_s:.1f} s after room was freed; {segments} segments"
    )


@needs_root
def test_a_snapshot_that_finds_no_room_harms_nothing(starter: Starter, tmp_path: Path) -> None:
    """[I1 I8] Orders are taken meanwhile, and found again; the stop is a clean one."""
    data = starter.data_dir
    everything = starter.up(
        *("--config", configured(tmp_path)),
        module=MODULE,
        SMALL_DISK=str(data),
        SMALL_DISK_BYTES=str(DISK_BYTES),
    )
    running = everything.running
    disk = disk_of(running, data)
    with grpc.insecure_channel(everything.grpc) as channel:
        orders, admin = OrderServiceStub(channel), AdminServiceStub(channel)
        for number in range(5):
            orders.PlaceOrder(bid(number))
        fill(disk)
        with pytest.raises(grpc.RpcError) as failed:
            admin.CreateSnapshot(CreateSnapshotRequest(), timeout=30)
        assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "No space left on device" in str(failed.value.details())
        running.wait_line("follower | no snapshot at sequence")
        for number in range(5, 10):
            orders.PlaceOrder(bid(number))
        orders.CancelOrder(CancelOrderRequest(order_id="o-1"))
    assert not list((disk / "snapshots").iterdir()), "what was begun was left behind"
    copy = tmp_path / "copy"
    shutil.copytree(disk, copy)
    recovered = recover(copy)
    assert all(recovered.engine.order(f"o-{number}") for number in range(10))
    recovered.log.close()
    assert running.terminate() == 0


@needs_root
@pytest.mark.parametrize(
    ("left_bytes", "attempts_least"),
    [(0, 6), (SEGMENT_BYTES // 2, 1)],
    ids=["full", "nearly full"],
)
def test_a_start_on_a_full_disk_is_tried_until_there_is_room(
    starter: Starter, tmp_path: Path, left_bytes: int, attempts_least: int
) -> None:
    """More often than a part that ends for another reason is started again. Nearly full: there is
    room for a journal, but none for the configuration in it."""
    data, config = starter.data_dir, configured(tmp_path)
    running = starter.run(
        *("up", "--data-dir", str(data), "--config", config),
        *("--http-port", str(free_port()), "--grpc-port", str(free_port())),
        module=MODULE,
        SMALL_DISK=str(data),
        SMALL_DISK_BYTES=str(DISK_BYTES),
        BALLAST=str(DISK_BYTES - left_bytes if left_bytes else DISK_BYTES * 2),
        DELAY_FIRST_S="0.02",
    )

    def attempts() -> int:
        return sum("started again: journal disk full" in line for line in running.lines)

    until(lambda: attempts() >= attempts_least, 60, "enough attempts")
    assert not any("Traceback" in line for line in running.lines)
    (disk_of(running, data) / BALLAST_NAME).unlink()
    running.wait_line("ready", 40)
    assert running.terminate() == 0


@needs_root
def test_a_start_without_room_for_cancels_is_tried_until_there_is(
    starter: Starter, tmp_path: Path
) -> None:
    """A clean stop gave back what was reserved, and something else took it."""
    config, data, stopped = configured(tmp_path), starter.data_dir, tmp_path / "stopped"
    server, address = starter.server(None, "--config", config)
    with grpc.insecure_channel(address) as channel:
        for number in range(20):
            OrderServiceStub(channel).PlaceOrder(bid(number))
    assert server.terminate() == 0
    data.rename(stopped)
    grpc_port = free_port()
    running = starter.run(
        *("up", "--data-dir", str(data), "--config", config),
        *("--http-port", str(free_port()), "--grpc-port", str(grpc_port)),
        module=MODULE,
        SMALL_DISK=str(data),
        SMALL_DISK_OF=str(stopped),
        SMALL_DISK_BYTES=str(DISK_BYTES),
        BALLAST=str(DISK_BYTES * 2),
        DELAY_FIRST_S="0.02",
    )
    running.wait_line("degraded: server is being started again: journal disk full", 40)
    (disk_of(running, data) / BALLAST_NAME).unlink()
    running.wait_line("ready", 40)
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        for number in range(20):
            OrderServiceStub(channel).CancelOrder(CancelOrderRequest(order_id=f"o-{number}"))
    assert running.terminate() == 0
