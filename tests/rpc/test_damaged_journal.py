"""What is answered where a frame is damaged that no start re-applies: orders go on, and only what
needs that frame is refused, with its place."""

from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from exchange.http.v1 import order_service_pb2 as http_messages
from exchange.http.v1.order_service_pb2_grpc import OrderServiceStub as HttpOrderServiceStub
from exchange.v1.admin_service_pb2 import StreamJournalRequest
from exchange.v1.market_data_pb2 import StreamTradesRequest
from exchange.v1.order_service_pb2 import (
    GetOrderRequest,
    PlaceOrderRequest,
    PlaceOrdersRequest,
    SessionCommand,
    TradingSessionOpen,
    TradingSessionRequest,
)
from exchange.v1.types_pb2 import ORDER_STATUS_OPEN, REJECT_REASON_RECORD_DAMAGED, Refusal
from server.journal.record import decode_frame
from server.journal.refusals import RecordDamaged
from server.maintenance.outside import PROBLEM_CHARS_MAX
from server.rpc.errors import journal_damaged, sentence
from tests.rpc.served import BUY, SELL, Failure, Served, info_of, order, refused, until, value

pytestmark = pytest.mark.asyncio

KEYED = order("alice", BUY, 100, order_id="first", idempotency_key="k")


async def damaged(served: Served) -> tuple[str, int]:
    """The journal with a frame, the keyed order's, that was damaged since, between others with a
    trade each; how its place is told, and the sequence."""
    for sequence in range(3):
        await served.place("alice", BUY, 90)
        await served.place("bob", SELL, 90)
        if sequence == 1:
            first = await served.orders.PlaceOrder(KEYED)
    log = served.exchange._log
    record = log.read(first.sequence)
    log.recent.clear()  # As after a start: else there is no need to read it.
    path, offset = log.segments.place(record.position)
    data = bytearray(path.read_bytes())
    data[offset + record.end - record.position - 1] ^= 1
    path.write_bytes(data)
    return f"{path.name} is corrupt at offset {offset}", first.sequence


def assert_told(refusal: Refusal, place: str, sequence: int) -> None:
    assert (refusal.reason, refusal.retry_safe) == (REJECT_REASON_RECORD_DAMAGED, False)
    assert refusal.code == StatusCode.DATA_LOSS.value[0]
    assert refusal.message.startswith(
        f"outcome of sequence {sequence} can't be reported: {place}: the checksum"
    )
    assert "read the order by its id" in refusal.message


def new(name: str) -> PlaceOrderRequest:
    return order("carol", BUY, 80, order_id=name)


async def test_a_repeat_whose_first_outcome_is_damaged_is_refused(served: Served) -> None:
    place, sequence = await damaged(served)
    failure, info = await refused(served.orders.PlaceOrder(KEYED))
    assert failure.code() == StatusCode.DATA_LOSS
    assert (info.reason, info.metadata["retry_safe"]) == ("RECORD_DAMAGED", "false")
    assert place in str(failure.details())
    assert str(sequence) in str(failure.details())
    assert await value(served, "orders_rejected_total", reason="record_damaged") == 0


async def test_every_other_order_of_a_batch_has_its_own_outcome(served: Served) -> None:
    place, sequence = await damaged(served)
    request = PlaceOrdersRequest(orders=[new("n1"), KEYED, new("n2"), KEYED])
    outcomes = (await served.orders.PlaceOrders(request)).outcomes
    assert [it.placed.order.order_id for it in outcomes] == ["n1", "", "n2", ""]
    for each in (outcomes[1], outcomes[3]):
        assert_told(each.refused, place, sequence)


async def test_over_http_too(served: Served) -> None:
    place, sequence = await damaged(served)
    http: Any = HttpOrderServiceStub(served.channel)
    keyed = http_messages.PlaceOrderRequest(
        client_id="alice",
        side="buy",
        type="limit",
        price=100 / 10**8,
        quantity=10 / 10**8,
        order_id="first",
        idempotency_key="k",
    )
    other = http_messages.PlaceOrderRequest()
    other.CopyFrom(keyed)
    other.order_id, other.idempotency_key = "n1", "k1"
    reply = await http.PlaceOrders(http_messages.PlaceOrdersRequest(orders=[other, keyed]))
    placed, lost = reply.results
    assert (placed.order.order_id, placed.code) == ("n1", 0)
    assert (lost.code, lost.order.order_id) == (StatusCode.DATA_LOSS.value[0], "")
    assert place in lost.message
    assert str(sequence) in lost.message


async def test_a_session_goes_on_and_keeps_its_orders(served: Served) -> None:
    place, sequence = await damaged(served)
    call: Any = served.orders.TradingSession()
    opening = TradingSessionOpen(cancel_on_disconnect=True)
    commands = [SessionCommand(place=it) for it in (new("s1"), KEYED, new("s2"))]
    await call.write(TradingSessionRequest(open=opening, commands=commands))
    first, lost, last = (await call.read()).outcomes
    assert (first.placed.order.order_id, last.placed.order.order_id) == ("s1", "s2")
    assert_told(lost.refused, place, sequence)
    await call.write(TradingSessionRequest(commands=[SessionCommand(place=new("s3"))]))
    (again,) = (await call.read()).outcomes
    assert again.placed.order.order_id == "s3"
    for name in ("s1", "s2", "s3"):
        found = await served.orders.GetOrder(GetOrderRequest(order_id=name))
        assert found.order.status == ORDER_STATUS_OPEN
    await call.done_writing()


async def ended(stream: Any) -> tuple[list[Any], Failure]:
    """All that a stream gives before it fails."""
    messages: list[Any] = []
    try:
        while True:
            messages.append(await stream.read())
    except Failure as failure:
        return messages, failure


async def test_the_journal_is_sent_up_to_the_damage_and_from_behind_it(served: Served) -> None:
    place, sequence = await damaged(served)
    stream = served.admin.StreamJournal(StreamJournalRequest(until_now=True))
    messages, failure = await ended(stream)
    (frames,) = (it.frames for it in messages if it.frames)
    offset, last = 0, 0
    while offset < len(frames):
        record = decode_frame(frames, offset)
        offset += record.end - record.position
        last = record.last_sequence
    assert last == sequence - 1
    assert failure.code() == StatusCode.DATA_LOSS
    assert place in str(failure.details())
    assert "write the bytes of a copy over its beginning (the checksum" in str(failure.details())
    assert info_of(failure).reason == "RECORD_DAMAGED"
    # Nobody can tell any more at which time the sequence was given.
    behind = StreamJournalRequest(after_sequence=sequence, after_time_ns=1, until_now=True)
    message: Any = await served.admin.StreamJournal(behind).read()
    assert decode_frame(message.frames).first_sequence == sequence + 1


async def test_trades_are_sent_up_to_the_damage(served: Served) -> None:
    place, sequence = await damaged(served)
    messages, failure = await ended(
        served.market.StreamTrades(StreamTradesRequest(after_sequence=0))
    )
    sequences = [trade.sequence for message in messages for trade in message.trades]
    assert len(sequences) == 2
    assert max(sequences) < sequence
    assert (failure.code(), info_of(failure).reason) == (StatusCode.DATA_LOSS, "RECORD_DAMAGED")
    assert place in str(failure.details())


async def test_damage_is_told_of_once_and_from_then_on(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "exchange")
    place, _ = await damaged(served)
    status = served.exchange._status
    assert not any("corrupt" in it for it in status.degraded())
    for _ in range(3):
        await refused(served.orders.PlaceOrder(KEYED))
        await ended(served.admin.StreamJournal(StreamJournalRequest()))
        await until(lambda: "journal damaged" in caplog.messages)
    (told,) = (it for it in status.degraded() if "corrupt" in it)
    assert told.startswith(place)
    assert "write the bytes of a copy over its beginning" in told
    assert "exchange journal verify" in told
    assert caplog.messages.count("journal damaged") == 1
    assert "call failed" not in caplog.messages


@pytest.mark.parametrize("is_sealed", [True, False])
async def test_what_to_do_is_seen_in_the_problem_of_a_part(is_sealed: bool) -> None:
    """Whatever is wrong with the record, and however large the numbers are."""
    file = Path("/a/long/way/to/the/data") / f"journal-{10**8 - 1}"
    damage = RecordDamaged(file, 10**8, 10**12, "x" * 500, is_sealed=is_sealed)
    told = sentence(journal_damaged(damage))[:PROBLEM_CHARS_MAX]
    assert f"{file.name} is corrupt at offset {10**8}: {damage.remedy} (x" in told
    assert ("only this file" in told) == is_sealed
