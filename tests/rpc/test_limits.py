"""Deadlines, sizes, and numbers of calls and commands."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from exchange.http.v1.system_service_pb2 import GetHealthRequest, GetMetricsRequest
from exchange.http.v1.system_service_pb2_grpc import SystemServiceStub
from exchange.v1.order_service_pb2 import (
    GetOrderRequest,
    PlaceOrdersRequest,
)
from server.settings import SequencerLimits
from tests.rpc.served import (
    BUY,
    Failure,
    HeldJournal,
    Served,
    info_of,
    order,
    refused,
    serving,
    until,
    value,
)

pytestmark = pytest.mark.asyncio


async def test_a_deadline_that_has_passed_is_refused_before_it_is_sequenced(
    served: Served,
) -> None:
    # Some of these the client's own library ends, and some are done before its clock ticks.
    for number in range(500):
        request = order("A", BUY, 100, order_id=f"late-{number}")
        try:
            await served.orders.PlaceOrder(request, timeout=1e-9)
        except Failure as failure:
            code, info = failure.code(), info_of(failure)
            if info.reason:
                break
    assert (code, info.reason) == (StatusCode.DEADLINE_EXCEEDED, "DEADLINE_PASSED")
    _, unknown = await refused(served.orders.GetOrder(GetOrderRequest(order_id=request.order_id)))
    assert unknown.reason == "ORDER_UNKNOWN"


async def test_nothing_is_shown_before_it_is_durable(served: Served) -> None:
    with HeldJournal(served) as held:
        placing = asyncio.ensure_future(served.place("A", BUY, 100, order_id="a1"))
        await asyncio.to_thread(held.entered.wait)
        reading = asyncio.ensure_future(served.orders.GetOrder(GetOrderRequest(order_id="a1")))
        refusing = asyncio.ensure_future(refused(served.place("A", BUY, 100, order_id="a1")))
        # Enough for any answer to come that were on its way.
        _, waiting = await asyncio.wait({placing, reading, refusing}, timeout=0.1)
        assert waiting == {placing, reading, refusing}
        assert served.exchange.sequencer.durable_sequence < served.engine.sequence
    assert (await placing).order == (await reading).order
    assert (await refusing)[1].reason == "ORDER_ID_DUPLICATE"


@pytest.mark.parametrize("deadline_s", [None, 60.0], ids=["none", "beyond-the-cap"])
async def test_a_wait_that_takes_too_long_ends_and_the_commit_does_not(
    tmp_path: Path, deadline_s: float | None
) -> None:
    async with serving(tmp_path / "data", grpc={"deadline_s": 1, "deadline_max_s": 1}) as served:
        request = order("A", BUY, 100, order_id="a1", idempotency_key="k")
        with HeldJournal(served):
            failure, info = await refused(served.orders.PlaceOrder(request, timeout=deadline_s))
            assert failure.code() == StatusCode.DEADLINE_EXCEEDED
            assert info.reason == "OUTCOME_UNKNOWN"
            assert info.metadata["retry_safe"] == "false"
            assert "1 s" in (failure.details() or "")
            reading = served.orders.GetOrder(GetOrderRequest(order_id="a1"))
            assert (await refused(reading))[1].reason == "DEADLINE_PASSED"
        found = await served.orders.GetOrder(GetOrderRequest(order_id="a1"))
        assert found.order.remaining_quantity_e8 == 10
        again = await served.orders.PlaceOrder(request)
        assert again.repeated
        assert again.order == found.order


async def test_a_reply_that_is_lost_can_be_found_out(served: Served) -> None:
    request = order("A", BUY, 100, order_id="a1", idempotency_key="k")
    with HeldJournal(served) as held:
        while served.engine.order("a1") is None:  # On a busy machine it may come too late.
            failure, _ = await refused(served.orders.PlaceOrder(request, timeout=0.2))
            assert failure.code() == StatusCode.DEADLINE_EXCEEDED
        call = served.orders.PlaceOrder(order("A", BUY, 101, order_id="a2"))
        task = asyncio.ensure_future(_reply(call))
        await asyncio.to_thread(held.entered.wait)
        await until(lambda: served.engine.order("a2") is not None)
        task.cancel()
    for name in ("a1", "a2"):
        found = await served.orders.GetOrder(GetOrderRequest(order_id=name))
        assert found.order.remaining_quantity_e8 == 10
    assert (await served.orders.PlaceOrder(request)).repeated


async def test_more_than_may_wait_is_refused_and_safe_to_repeat(tmp_path: Path) -> None:
    limits = SequencerLimits(commands_waiting_max=10)
    async with serving(tmp_path / "data", sequencer=limits) as served:
        with HeldJournal(served) as held:
            first = asyncio.ensure_future(served.place("A", BUY, 100))
            await asyncio.to_thread(held.entered.wait)
            many = PlaceOrdersRequest(orders=[order("A", BUY, 100)] * 10)
            waiting = asyncio.ensure_future(_reply(served.orders.PlaceOrders(many)))
            sequence = served.engine.sequence
            await until(lambda: served.engine.sequence == sequence + 10)
            failure, info = await refused(served.place("A", BUY, 100))
            assert failure.code() == StatusCode.RESOURCE_EXHAUSTED
            assert (info.reason, info.metadata["limit"]) == ("OVERLOADED", "10")
            assert info.metadata["retry_safe"] == "true"
            rejected = "orders_rejected_total"
            assert await value(served, rejected, reason="overloaded") == 1
            assert await value(served, "orders_received_total", type="limit", side="buy") == 1
        await first
        assert len((await waiting).outcomes) == 10
        assert (await served.place("A", BUY, 100)).sequence == sequence + 11


async def test_an_oversize_message_is_refused(served: Served) -> None:
    before = served.engine.sequence
    request = order("A", BUY, 100, client_reference="r" * (1 << 20))
    failure, _ = await refused(served.orders.PlaceOrder(request))
    assert failure.code() == StatusCode.RESOURCE_EXHAUSTED
    assert "1048576" in (failure.details() or "")
    assert served.engine.sequence == before
    assert (await served.place("A", BUY, 100)).sequence == before + 1


async def test_a_message_that_unpacks_to_more_is_refused(served: Served) -> None:
    """A few kilobytes on the wire: what counts is what they would become."""
    before = served.engine.sequence
    request = order("A", BUY, 100, client_reference="r" * (4 << 20))
    call = served.orders.PlaceOrder(request, compression=grpc.Compression.Gzip)
    failure, _ = await refused(call)
    assert failure.code() == StatusCode.RESOURCE_EXHAUSTED
    assert served.engine.sequence == before
    small = order("A", BUY, 100)
    await served.orders.PlaceOrder(small, compression=grpc.Compression.Gzip)


async def test_oversize_metadata_is_refused(served: Served) -> None:
    before = served.engine.sequence
    metadata = (("note", "n" * (64 << 10)),)
    failure, _ = await refused(served.orders.PlaceOrder(order("A", BUY, 100), metadata=metadata))
    assert failure.code() == StatusCode.RESOURCE_EXHAUSTED
    assert served.engine.sequence == before
    await served.place("A", BUY, 100)


async def test_too_many_calls_at_once_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", grpc={"calls_max": 2}) as served:
        with HeldJournal(served) as held:
            waiting = [asyncio.ensure_future(served.place("A", BUY, 100)) for _ in range(2)]
            await asyncio.to_thread(held.entered.wait)
            await until(lambda: len(served.engine.orders()) == 2)
            failure, info = await refused(served.place("A", BUY, 100))
            assert failure.code() == StatusCode.RESOURCE_EXHAUSTED
            assert failure.details() == (
                "calls in flight 3 would exceed the limit of 2: try again in a moment"
            )
            assert (info.reason, info.metadata["retry_safe"]) == ("OVERLOADED", "true")
            # The gateway asks for health: it would take the server for gone.
            health: Any = HealthStub(served.channel)
            checked = await health.Check(HealthCheckRequest())
            assert checked.status == HealthCheckResponse.SERVING
            system = SystemServiceStub(served.channel)
            assert (await system.GetHealth(GetHealthRequest())).checks.journal == "healthy"
            assert (await system.GetMetrics(GetMetricsRequest())).data
        await asyncio.gather(*waiting)
        await served.place("A", BUY, 100)


async def test_a_burst_far_beyond_the_limit_is_refused_in_words(tmp_path: Path) -> None:
    """A bare status of gRPC's own would tell neither why, nor that nothing happened."""
    async with serving(tmp_path / "data", grpc={"calls_max": 2}) as served:
        reasons = Counter[str]()

        async def call() -> None:
            try:
                await served.orders.GetOrder(GetOrderRequest(order_id="none"))
            except Failure as failure:
                reasons[info_of(failure).reason] += 1

        await asyncio.gather(*(call() for _ in range(500)))
        assert reasons.total() == 500
        assert reasons.keys() <= {"OVERLOADED", "ORDER_UNKNOWN"}


@pytest.mark.parametrize("kind", ["health", "reflection"])
async def test_streams_of_the_standard_services_are_calls_in_flight_like_others(
    tmp_path: Path, kind: str
) -> None:
    """They last for as long as their callers like."""
    async with serving(tmp_path / "data", grpc={"calls_max": 2}) as served:
        health: Any = HealthStub(served.channel)
        make_stub: Any = ServerReflectionStub
        reflection = make_stub(served.channel)

        async def opened() -> Any:
            if kind == "health":
                return health.Watch(HealthCheckRequest())
            stream = reflection.ServerReflectionInfo()
            await stream.write(ServerReflectionRequest(list_services=""))
            return stream

        streams = [await opened() for _ in range(2)]
        for stream in streams:
            assert await stream.read()
        for call in ((await opened()).read(), served.place("A", BUY, 100)):
            failure, info = await refused(call)
            assert (failure.code(), info.reason) == (StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert (await health.Check(HealthCheckRequest())).status == HealthCheckResponse.SERVING
        for stream in streams:
            stream.cancel()
        await until(lambda: not served.exchange._intake.calls)
        await served.place("A", BUY, 100)


async def test_a_connection_that_is_full_makes_calls_wait_not_fail(tmp_path: Path) -> None:
    """A client's library sends no more than it was told to, so there is nothing to refuse."""
    async with serving(tmp_path / "data", grpc={"calls_per_connection_max": 4}) as served:
        placed = await asyncio.gather(*(served.place("A", BUY, 100) for _ in range(300)))
        assert len({it.order.order_id for it in placed}) == 300


async def _reply(call: Any) -> Any:
    return await call
