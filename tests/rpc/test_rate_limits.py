"""Rate limits: budgets of clients and addresses, what replies say, and what is never limited."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from exchange.http.v1 import market_service_pb2, order_service_pb2
from exchange.http.v1.market_service_pb2_grpc import MarketServiceStub
from exchange.v1.admin_service_pb2 import GetStatusRequest, StreamJournalRequest
from exchange.v1.order_service_pb2 import (
    CancelOrdersRequest,
    GetOrderRequest,
    PlaceOrdersRequest,
    SessionCommand,
    TradingSessionRequest,
)
from server.limits.limiter import BURST_NS, KEYS_MAX, QUERIES, Limiter
from server.limits.shared import shared_limits
from server.rpc.rate_limits import address_of, client, judge_of
from server.settings import RateLimits
from tests.rpc.served import BUY, E8, Served, order, refused, serving, value

ELSEWHERE = (("x-forwarded-for", "9.9.9.9"),)
SLOW = RateLimits(orders_per_s=3, cancels_per_s=3, queries_per_s=3)


class Clock:
    now_ns = 10**15

    def __call__(self) -> int:
        return self.now_ns


def test_a_budget_passes_a_burst_then_its_rate_and_never_more() -> None:
    clock = Clock()
    limiter = Limiter("orders", 10, clock)
    verdicts = [limiter.take({"client a": 1}) for _ in range(20)]
    assert [it.retry_after_ns == 0 for it in verdicts] == [True] * 10 + [False] * 10
    assert [it.remaining for it in verdicts] == [*reversed(range(10)), *[0] * 10]
    assert {(it.limit, it.holder) for it in verdicts} == {(10, "client a")}
    verdict = verdicts[-1]
    clock.now_ns += verdict.retry_after_ns - 1
    assert limiter.take({"client a": 1}).retry_after_ns == 1
    clock.now_ns += 1
    assert not limiter.take({"client a": 1}).retry_after_ns
    assert limiter.take({"client a": 1}).retry_after_ns
    clock.now_ns += 100 * BURST_NS
    assert sum(limiter.take({"client a": 1}).retry_after_ns == 0 for _ in range(50)) == 10


def test_a_refusal_takes_from_nobody_and_names_whose_budget_it_is() -> None:
    limiter = Limiter("orders", 5, Clock())
    assert limiter.take({"address x": 3, "client a": 3}).remaining == 2
    refused = limiter.take({"client b": 3, "address x": 3})
    assert refused.retry_after_ns
    assert refused.holder == "address x"
    assert limiter.take({"client b": 5}).remaining == 0


def test_more_than_a_burst_passes_when_nothing_is_owed_and_is_paid_off() -> None:
    clock = Clock()
    limiter = Limiter("orders", 10, clock)
    assert not limiter.take({"client a": 30}).retry_after_ns
    wait_ns = limiter.take({"client a": 1}).retry_after_ns
    assert wait_ns == 2_100_000_000
    clock.now_ns += wait_ns
    assert not limiter.take({"client a": 1}).retry_after_ns
    assert limiter.take({"client a": 30}).retry_after_ns == BURST_NS, "all that is owed"
    clock.now_ns += BURST_NS
    passed = limiter.take({"client a": 30})
    assert (passed.retry_after_ns, passed.holder, passed.remaining) == (0, "client a", 0)


@pytest.mark.parametrize("first", ["address x", "client a"])
def test_the_tightest_budget_is_told_and_of_those_that_refuse_the_one_that_takes_longest(
    first: str,
) -> None:
    """In whatever order they are looked at."""
    limiter = Limiter("orders", 10, Clock())
    both = {first: 1} | {"address x": 1, "client a": 1}
    limiter.take({"address x": 5})
    verdict = limiter.take(both)
    assert (verdict.holder, verdict.remaining) == ("address x", 4)
    limiter = Limiter("orders", 10, Clock())
    limiter.take({"address x": 20})
    limiter.take({"client a": 15})
    refused = limiter.take(both)
    assert (refused.holder, refused.retry_after_ns) == ("address x", 11 * BURST_NS // 10)


@pytest.mark.parametrize("name", ["client_id", "user_id"])
def test_a_client_has_one_budget_by_both_of_its_names(name: str) -> None:
    service = order_service_pb2.DESCRIPTOR.services_by_name["OrderService"]
    judge = judge_of(service.methods_by_name["ListOrders"], {QUERIES: Limiter(QUERIES, 1, Clock())})
    assert judge is not None
    request = order_service_pb2.ListOrdersRequest(**{name: "a"})
    assert not judge(request, "address x").retry_after_ns
    assert judge(request, "address y").holder == "client a"
    assert not judge(order_service_pb2.ListOrdersRequest(), "address z").retry_after_ns


def test_who_waits_as_long_as_he_is_told_is_not_refused_again() -> None:
    """Also where the other budget takes longer than the one that is looked at first."""
    clock = Clock()
    limiter = Limiter("orders", 1, clock)
    assert not limiter.take({"address x": 10, "client a": 10}).retry_after_ns
    assert not limiter.take({"address y": 1, "client b": 1}).retry_after_ns
    refused = limiter.take({"address y": 1, "client a": 1})
    assert (refused.holder, refused.retry_after_ns) == ("client a", 10 * BURST_NS)
    assert limiter.refused_count == 1
    clock.now_ns += refused.retry_after_ns
    assert not limiter.take({"address y": 1, "client a": 1}).retry_after_ns


def test_budgets_that_are_remembered_are_bounded() -> None:
    limiter = Limiter("orders", 1, Clock())
    for number in range(KEYS_MAX + 10):
        limiter.take({f"client {number}": 1})
    assert len(limiter._paid_off_ns) == KEYS_MAX
    assert limiter.take({f"client {KEYS_MAX + 9}": 1}).retry_after_ns


def test_off_means_that_there_is_none() -> None:
    assert shared_limits(None, "redis://127.0.0.1:1", print) == ({}, None)


@asynccontextmanager
async def standing_still(tmp_path: Path) -> AsyncIterator[Served]:
    """A server with small budgets, of which none comes back while the test runs."""
    async with serving(tmp_path / "data", rates=SLOW) as served:
        for limiter in served.exchange.rates.values():
            limiter._clock = Clock()
        yield served


async def outcome(call: Any) -> tuple[str, dict[str, str]]:
    code = (await call.code()).name
    return code, {key: str(value) for key, value in await call.trailing_metadata()}


@pytest.mark.asyncio
async def test_orders_cancels_and_queries_have_budgets_of_their_own(tmp_path: Path) -> None:
    async with standing_still(tmp_path) as served:
        place = served.orders.PlaceOrder
        said = [await outcome(place(order("c-1", BUY, E8))) for _ in range(4)]
        assert [code for code, _ in said] == ["OK"] * 3 + ["RESOURCE_EXHAUSTED"]
        assert [each["x-ratelimit-remaining"] for _, each in said] == ["2", "1", "0", "0"]
        assert {each["x-ratelimit-limit"] for _, each in said} == {"3"}
        assert [each.get("retry-after") for _, each in said] == [None, None, None, "1"]
        cancel = served.orders.CancelOrders(CancelOrdersRequest(client_id="c-1"))
        assert (await outcome(cancel))[0] == "OK"
        query = GetOrderRequest(order_id="none")
        assert (await outcome(served.orders.GetOrder(query)))[0] == "NOT_FOUND"


@pytest.mark.asyncio
async def test_a_refusal_says_itself_when_to_come_back(tmp_path: Path) -> None:
    """In whole seconds, as its metadata does, which a session's message has none of."""
    async with standing_still(tmp_path) as served:
        # Four seconds' worth, of which one is a burst: the next order passes after three and a bit.
        batch = PlaceOrdersRequest(orders=[order("c-1", BUY, E8)] * 12)
        await served.orders.PlaceOrders(batch)
        failure, info = await refused(served.orders.PlaceOrder(order("c-1", BUY, E8)))
        said = dict(failure.trailing_metadata())
        assert info.metadata["retry_after_s"] == said["retry-after"] == "4"
        assert str(failure.details()).endswith(": try again in 4 s, or send fewer")

        session: Any = served.orders.TradingSession()
        await session.write(TradingSessionRequest())
        await session.read()
        place = SessionCommand(place=order("c-1", BUY, E8))
        await session.write(TradingSessionRequest(commands=[place]))
        among = (await session.read()).outcomes[0].refused
        assert (among.retry_after_s, among.message) == (4, failure.details())
        session.cancel()


@pytest.mark.asyncio
async def test_a_batch_takes_as_many_as_it_holds_of_each_client(tmp_path: Path) -> None:
    async with standing_still(tmp_path) as served:
        batch = PlaceOrdersRequest(orders=[order(f"c-{n}", BUY, E8) for n in (1, 1, 2)])
        assert (await outcome(served.orders.PlaceOrders(batch)))[0] == "OK"
        failure, info = await refused(served.orders.PlaceOrder(order("c-3", BUY, E8)))
        assert info.reason == "RATE_LIMITED"
        assert info.metadata["value"] == "address 127.0.0.1"
        assert info.metadata["retry_safe"] == "true"
        assert "too little left of its 3" in (failure.details() or "")
        await only_one_is_left_to_c_1_elsewhere(served)


@pytest.mark.asyncio
async def test_orders_of_nobody_draw_on_their_address_alone(tmp_path: Path) -> None:
    """Otherwise whoever sends some would use up what others' mistakes draw on."""
    async with standing_still(tmp_path) as served:
        for address in ("1.1.1.1", "2.2.2.2"):
            batch = PlaceOrdersRequest(orders=[order("", BUY, E8)] * 3)
            elsewhere = (("x-forwarded-for", address),)
            call = served.orders.PlaceOrders(batch, metadata=elsewhere)
            assert (await outcome(call))[0] == "OK"
            call = served.orders.PlaceOrders(batch, metadata=elsewhere)
            assert (await outcome(call))[0] == "RESOURCE_EXHAUSTED"


async def only_one_is_left_to_c_1_elsewhere(served: Served) -> None:
    """Whose address has used nothing up."""
    for passes in (True, False):
        call = served.orders.PlaceOrder(order("c-1", BUY, E8), metadata=ELSEWHERE)
        if passes:
            await call
        else:
            _, info = await refused(call)
            assert info.metadata["value"] == "client c-1"


@pytest.mark.asyncio
async def test_a_session_draws_on_the_budgets_of_calls(tmp_path: Path) -> None:
    async with standing_still(tmp_path) as served:
        session: Any = served.orders.TradingSession()

        async def answers(*commands: SessionCommand) -> list[str]:
            await session.write(TradingSessionRequest(commands=commands))
            answer = await session.read()
            return [each.WhichOneof("outcome") for each in answer.outcomes]

        place = SessionCommand(place=order("c-1", BUY, E8))
        cancel_all = SessionCommand(cancel_all=CancelOrdersRequest(client_id="c-1"))
        await session.write(TradingSessionRequest())
        assert (await session.read()).HasField("opened")
        assert await answers(place, place, cancel_all) == ["placed", "placed", "cancelled_all"]
        # One is left of three: neither of two passes, and what cancels does.
        assert await answers(place, cancel_all, place) == ["refused", "cancelled_all", "refused"]
        assert await answers(place) == ["placed"]
        assert await answers(place) == ["refused"]
        call = served.orders.PlaceOrder(order("c-1", BUY, E8))
        assert (await outcome(call))[0] == "RESOURCE_EXHAUSTED"
        _, info = await refused(served.orders.PlaceOrder(order("c-1", BUY, E8), metadata=ELSEWHERE))
        assert info.metadata["value"] == "client c-1"
        assert await value(served, "orders_rejected_total", reason="rate_limited") == 2 + 1 + 2
        await session.done_writing()
        assert await session.read() is grpc.aio.EOF


@pytest.mark.asyncio
async def test_addresses_are_told_apart_as_the_gateway_saw_them(tmp_path: Path) -> None:
    async with standing_still(tmp_path) as served:
        codes = []
        for number, forwarded in enumerate(["9.9.9.9, 10.0.0.1"] * 4 + ["10.0.0.1, 10.0.0.2"]):
            call = served.orders.PlaceOrder(
                order(f"c-{number}", BUY, E8), metadata=(("x-forwarded-for", forwarded),)
            )
            codes.append((await outcome(call))[0])
        assert codes == ["OK"] * 3 + ["RESOURCE_EXHAUSTED", "OK"]


@pytest.mark.asyncio
async def test_health_admin_and_the_journal_are_never_limited(tmp_path: Path) -> None:
    async with standing_still(tmp_path) as served:
        health: Any = health_pb2_grpc.HealthStub(served.channel)
        for _ in range(10):
            await health.Check(health_pb2.HealthCheckRequest())
            call = served.admin.GetStatus(GetStatusRequest())
            code, said = await outcome(call)
            assert code == "OK"
            assert "x-ratelimit-limit" not in said
            stream = served.admin.StreamJournal(StreamJournalRequest())
            assert await stream.read() is not grpc.aio.EOF
            stream.cancel()


@pytest.mark.asyncio
async def test_a_snapshot_over_http_is_a_query(tmp_path: Path) -> None:
    async with standing_still(tmp_path) as served:
        create = cast("Any", MarketServiceStub(served.channel)).CreateSnapshot
        request = market_service_pb2.CreateSnapshotRequest()
        codes = [(await outcome(create(request)))[0] for _ in range(4)]
        assert codes[-1] == "RESOURCE_EXHAUSTED"
        assert "RESOURCE_EXHAUSTED" not in codes[:-1]


@pytest.mark.asyncio
async def test_off_limits_nobody_and_says_nothing(tmp_path: Path) -> None:
    rates = RateLimits(orders_per_s=1)
    async with serving(tmp_path / "data", rates=rates, rate_limits="off") as served:
        for _ in range(5):
            code, said = await outcome(served.orders.PlaceOrder(order("c-1", BUY, E8)))
            assert code == "OK"
            assert "x-ratelimit-limit" not in said


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("ipv4:127.0.0.1:40000", "", "127.0.0.1"),
        ("ipv4:127.0.0.1:40000", "9.9.9.9, 10.0.0.1", "10.0.0.1"),
        ("ipv6:%5B::1%5D:40000", "2001:db8::1", "2001:db8::1"),
        ("ipv4:10.0.0.9:40000", "10.0.0.1", "10.0.0.9"),
        ("ipv4:10.0.0.9:50000", "", "10.0.0.9"),
        ("ipv6:%5B2001:db8::9%5D:40000", "10.0.0.1", "%5B2001:db8::9%5D"),
    ],
)
def test_only_a_peer_of_this_machine_is_believed_about_addresses(
    peer: str, forwarded: str, address: str
) -> None:
    metadata = (("x-forwarded-for", forwarded),) if forwarded else ()
    assert address_of(peer, metadata) == f"address {address}"


def test_a_client_id_or_an_address_of_any_length_takes_little_memory() -> None:
    assert client("c" * 64) == f"client {'c' * 64}"
    assert len(client("c" * 1_000_000)) < 100
    assert len(address_of("ipv4:127.0.0.1:1", (("x-forwarded-for", "1" * 10_000),))) < 100
