"""Figures: what they count, and that they keep to the rules of Prometheus."""

import asyncio
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc._cython import cygrpc  # type: ignore[attr-defined]
from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from exchange.v1.market_data_pb2 import StreamOrderBookRequest, StreamTradesRequest
from exchange.v1.order_service_pb2 import GetOrderRequest, PlaceOrdersRequest
from server.metrics import exposition
from server.rpc.registration import UNFORESEEN
from server.settings import FeedLimits
from tests.rpc.served import (
    BTC,
    BUY,
    SELL,
    HeldJournal,
    Served,
    order,
    refused,
    serving,
    until,
    value,
)

pytestmark = pytest.mark.asyncio

UNITS = {"seconds", "bytes", "sequences", "commands", "fds"}
LABELS = {
    "type",
    "side",
    "instrument",
    "reason",
    "le",
    "stream",
    "endpoint",
    "code",
    "port",
    "part",
}
"""Each has few values, none of which a client makes up."""


async def test_the_text_is_made_beside_the_loop(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And between two families others have their turn."""
    made: list[threading.Thread] = []
    turns = 0

    def make(families: Collector) -> bytes:
        made.append(threading.current_thread())
        return generate_latest(families)

    async def turn() -> None:
        nonlocal turns
        while not made:
            turns += 1
            await asyncio.sleep(0)

    def collected() -> Iterator[Metric]:
        begun = turns
        for number in range(10):
            assert turns - begun >= number
            yield Metric(f"some_{number}", "Some.", "gauge")

    monkeypatch.setattr(exposition, "generate_latest", make)
    registry = served.exchange._metrics._registry
    monkeypatch.setattr(registry, "collect", collected)
    turning = asyncio.create_task(turn())
    await served.exchange._metrics.text()
    await turning
    assert made
    assert made[0] is not threading.current_thread()


async def test_names_units_and_labels(served: Served) -> None:
    await served.place("A", BUY, 100, order_id="id-of-an-order", idempotency_key="key-of-one")
    await served.place("B", SELL, 100)
    await refused(served.place("A", BUY, -1))
    stream = served.market.StreamTrades(StreamTradesRequest())
    await stream.read()
    text = (await served.exchange._metrics.text()).decode()
    assert "id-of-an-order" not in text
    assert "key-of-one" not in text
    found = list(text_string_to_metric_families(text))
    assert len({family.name for family in found}) == len(found)
    for family in found:
        assert re.fullmatch("[a-z][a-z_]*[a-z]", family.name), family.name
        assert family.documentation.endswith((".", "seconds", "bytes", "descriptors"))
        assert not re.search("_(ms|ns|us|kb|mb|percent|e8)$", family.name), family.name
        if family.type == "histogram":
            assert family.name.split("_")[-1] in UNITS, family.name
        for sample in family.samples:
            assert sample.labels.keys() <= LABELS, sample
            assert "client" not in sample.labels
            if family.type == "counter":
                assert sample.name.endswith("_total"), sample
            if family.type == "gauge":
                assert not sample.name.endswith(("_total", "_count", "_sum")), sample


async def test_records_of_the_journal(served: Served) -> None:
    await served.orders.PlaceOrders(PlaceOrdersRequest(orders=[order("A", BUY, 9)] * 7))
    before = await value(served, "journal_sync_seconds_sum")
    records = await value(served, "journal_batch_commands_count")
    commands = await value(served, "journal_batch_commands_sum")
    within_5 = await value(served, "journal_batch_commands_bucket", le="5")
    await served.orders.PlaceOrders(PlaceOrdersRequest(orders=[order("A", BUY, 9)] * 7))
    assert await value(served, "journal_batch_commands_count") == records + 1
    assert await value(served, "journal_sync_seconds_count") == records + 1
    assert await value(served, "journal_batch_commands_sum") == commands + 7
    assert await value(served, "journal_batch_commands_bucket", le="5") == within_5
    assert 0 < await value(served, "journal_sync_seconds_sum") - before < 5


async def test_commands_that_wait_for_the_journal(served: Served) -> None:
    assert await value(served, "commands_waiting") == 0
    with HeldJournal(served) as held:
        calls = [asyncio.ensure_future(served.place("A", BUY, 9)) for _ in range(5)]
        await until(held.entered.is_set)
        await until(lambda: served.exchange.sequencer.waiting == 5)
        assert await value(served, "commands_waiting") == 5
    await asyncio.gather(*calls)
    assert await value(served, "commands_waiting") == 0


async def test_subscribers_and_what_they_lack(tmp_path: Path) -> None:
    # No heartbeat comes between: it would tell readers of sequences that are only made believe.
    async with serving(tmp_path / "data", feed=FeedLimits(heartbeat_ms=60_000)) as served:
        book = served.market.StreamOrderBook(StreamOrderBookRequest(instrument=BTC))
        trades = [served.market.StreamTrades(StreamTradesRequest()) for _ in range(2)]
        await asyncio.gather(book.read(), *(stream.read() for stream in trades))
        assert await value(served, "subscribers", stream="book") == 1
        assert await value(served, "subscribers", stream="trades") == 2
        readers = served.exchange.feed.readers
        one = next(each for each in readers.open if each.stream == "trades")
        readers.sequence += 3
        assert await value(served, "subscriber_lag_sequences", stream="trades") >= 3
        readers.sequence -= 3
        one.bytes_waiting += 40
        assert await value(served, "subscriber_waiting_bytes", stream="trades") == 40
        one.bytes_waiting -= 40
        assert await value(served, "subscribers_cut_total") == 0
        readers.cut_count = 2
        assert await value(served, "subscribers_cut_total") == 2
        book.cancel()
        for stream in trades:
            stream.cancel()
        await until(lambda: not readers.open)
        assert await value(served, "subscribers", stream="trades") == 0


async def test_errors_by_endpoint(served: Served) -> None:
    await refused(served.orders.GetOrder(GetOrderRequest(order_id="none")))
    await refused(served.place("A", BUY, -1))
    await refused(served.place("A", BUY, -2))
    place, get = (f"exchange.v1.OrderService/{name}" for name in ("PlaceOrder", "GetOrder"))
    errors = "call_errors_total"
    assert await value(served, errors, endpoint=get, code="NOT_FOUND") == 1
    assert await value(served, errors, endpoint=place, code="INVALID_ARGUMENT") == 2


async def test_an_error_of_our_own_is_counted_and_told_to_the_log_only(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    read = served.exchange.sequencer.read

    async def broken(_: object) -> None:
        raise ZeroDivisionError("/etc/secret")

    served.exchange.sequencer.read = broken  # type: ignore[assignment, method-assign]
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await served.orders.GetOrder(GetOrderRequest(order_id="any"))
    assert failed.value.code() is grpc.StatusCode.UNKNOWN
    assert failed.value.details() == UNFORESEEN
    assert "ZeroDivisionError: /etc/secret" in caplog.text
    served.exchange.sequencer.read = read  # type: ignore[method-assign]
    get = "exchange.v1.OrderService/GetOrder"
    assert await value(served, "call_errors_total", endpoint=get, code="UNKNOWN") == 1


async def test_a_caller_who_has_gone_is_no_error(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """A message for him may come before the word that he is gone: sending it fails then."""
    book = served.exchange.sequencer.read
    tries = 0

    async def gone(_: object) -> None:
        nonlocal tries
        tries += 1
        raise cygrpc.ExecuteBatchError("send failed")

    served.exchange.sequencer.read = gone  # type: ignore[assignment, method-assign]
    call = served.orders.GetOrder(GetOrderRequest(order_id="any"))
    await until(lambda: tries > 0)
    call.cancel()
    served.exchange.sequencer.read = book  # type: ignore[method-assign]
    get = "exchange.v1.OrderService/GetOrder"
    assert await value(served, "call_errors_total", endpoint=get, code="UNKNOWN") == 0
    assert "ExecuteBatchError" not in caplog.text


async def test_connections_cpu_and_memory(served: Served) -> None:
    await served.place("A", BUY, 9)
    assert await value(served, "connections", port="grpc") == 1
    other = served.connect()
    await other.channel_ready()
    assert await value(served, "connections", port="grpc") == 2
    await other.close()
    assert await value(served, "process_cpu_seconds_total") > 0
    assert await value(served, "process_resident_memory_bytes") > 10 * 1024 * 1024
