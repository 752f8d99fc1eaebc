"""Trading sessions: order of outcomes, bounds, and cancel on disconnect."""

import asyncio
import errno
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from exchange.v1 import types_pb2 as words
from exchange.v1.order_service_pb2 import (
    CancelOrderRequest,
    CancelOrdersRequest,
    PlaceOrderRequest,
    ReplaceOrderRequest,
    SessionCommand,
    TradingSessionOpen,
    TradingSessionRequest,
    TradingSessionResponse,
)
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
from server import app
from server.core.commands import OpenSession
from server.rpc import parse
from server.rpc.registration import UNFORESEEN
from server.sequencer.sequencer import Sequencer
from server.settings import SequencerLimits
from tests.clients.cut_line import cut_line
from tests.rpc.served import (
    BUY,
    SELL,
    HeldJournal,
    Served,
    failure_of,
    info_of,
    order,
    serving,
    until,
)

pytestmark = pytest.mark.asyncio

ON_DISCONNECT = TradingSessionOpen(cancel_on_disconnect=True)


def places(*requests: PlaceOrderRequest) -> TradingSessionRequest:
    """A message of orders, numbered from 1."""
    commands = [SessionCommand(request_id=n, place=each) for n, each in enumerate(requests, 1)]
    return TradingSessionRequest(commands=commands)


async def answer(call: Any) -> TradingSessionResponse:
    """The next message."""
    message = await call.read()
    assert isinstance(message, TradingSessionResponse)
    return message


async def replies(call: Any, count: int) -> list[TradingSessionResponse]:
    """The next messages."""
    return [await answer(call) for _ in range(count)]


async def test_outcomes_come_in_the_order_of_the_commands(served: Served) -> None:
    call = served.orders.TradingSession()
    await call.write(
        TradingSessionRequest(
            open=TradingSessionOpen(client_id="A"),
            commands=[
                SessionCommand(request_id=11, place=order("", BUY, 100, order_id="a1")),
                SessionCommand(request_id=12, place=order("B", SELL, 100, quantity_e8=4)),
                SessionCommand(request_id=12, place=order("", BUY, 0)),
                SessionCommand(request_id=13),
                SessionCommand(
                    request_id=14, replace=ReplaceOrderRequest(order_id="a1", price_e8=90)
                ),
                SessionCommand(request_id=15, cancel=CancelOrderRequest(order_id="a1")),
                SessionCommand(request_id=16, cancel_all=CancelOrdersRequest()),
            ],
        )
    )
    reply = await answer(call)
    assert reply.opened.session_id == 0
    assert [each.request_id for each in reply.outcomes] == [11, 12, 12, 13, 14, 15, 16]
    kinds = [each.WhichOneof("outcome") for each in reply.outcomes]
    assert kinds == [
        "placed", "placed", "refused", "refused", "replaced", "cancelled", "cancelled_all",
    ]  # fmt: skip
    first, second, no_price, nothing, replaced, cancelled, _ = reply.outcomes
    assert first.placed.order.client_id == "A"
    assert second.placed.trade_count == 1
    assert no_price.refused.reason == words.REJECT_REASON_PRICE_REQUIRED
    assert nothing.refused.reason == words.REJECT_REASON_FIELD_REQUIRED
    assert nothing.refused.field == "command"
    assert replaced.replaced.order.price_e8 == 90
    assert cancelled.cancelled.order.cancelled_quantity_e8 == 6
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() == StatusCode.OK


async def test_an_answer_lists_at_most_a_thousand_altogether(served: Served) -> None:
    call = served.orders.TradingSession()
    rests = places(*[order("A", SELL, 100, quantity_e8=1)] * 1_000)
    sweep = order("B", BUY, 100, quantity_e8=600, idempotency_key="k")
    message = places(sweep, order("B", BUY, 100, quantity_e8=300), sweep)
    message.commands.add(cancel_all=CancelOrdersRequest(client_id="A"))
    message.commands.add(cancel_all=CancelOrdersRequest(client_id="C"))
    resting = places(*[order("C", SELL, 200)] * 10)
    for each in (rests, resting, message, places(sweep, sweep)):
        await call.write(each)
    *_, reply, again = await replies(call, 4)
    first, second, repeat, ended, others = reply.outcomes
    assert [len(each.placed.trades) for each in (first, second, repeat)] == [600, 300, 0]
    assert (repeat.placed.trade_count, repeat.placed.repeated) == (600, True)
    assert len(ended.cancelled_all.orders) == ended.cancelled_all.cancelled_count == 100
    others_told = others.cancelled_all
    assert (len(others_told.orders), others_told.cancelled_count) == (0, 10)
    assert [len(each.placed.trades) for each in again.outcomes] == [600, 400]
    call.cancel()


async def test_the_first_message_need_not_say_anything(served: Served) -> None:
    call = served.orders.TradingSession()
    await call.write(TradingSessionRequest())
    reply = await answer(call)
    assert reply.HasField("opened")
    assert reply.opened.sequence == served.engine.sequence
    assert not reply.outcomes
    await call.write(places(order("A", BUY, 100)))
    assert len((await answer(call)).outcomes) == 1
    call.cancel()


async def test_answers_come_once_durable_while_more_is_taken(served: Served) -> None:
    call = served.orders.TradingSession()
    with HeldJournal(served):
        for number in range(5):
            await call.write(places(order("A", BUY, 100, order_id=f"a{number}")))
        await until(lambda: served.engine.order("a4") is not None)
        reading = asyncio.ensure_future(answer(call))
        # Enough for an answer to come that were on its way.
        assert not (await asyncio.wait({reading}, timeout=0.05))[0]
    first = await reading
    rest = await replies(call, 4)
    placed = [each.outcomes[0].placed.order.order_id for each in (first, *rest)]
    assert placed == [f"a{number}" for number in range(5)]
    call.cancel()


async def test_a_repeat_gives_the_first_answer(served: Served) -> None:
    call = served.orders.TradingSession()
    await served.place("B", SELL, 100, quantity_e8=4)
    keyed = order("A", BUY, 100, idempotency_key="k")
    await call.write(places(keyed, keyed))
    await call.write(places(keyed))
    (first, second), (third,) = (each.outcomes for each in await replies(call, 2))
    assert not first.placed.repeated
    for again in (second, third):
        assert again.placed.repeated
        again.placed.repeated = False
        assert again.placed == first.placed
    call.cancel()


async def test_a_first_answer_that_can_not_be_read_back_ends_the_session_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """[I11] Though answers wait behind it for which there is no more room."""
    let_go = threading.Event()

    def read(sequence: int) -> None:
        let_go.wait()
        raise OSError(errno.EMFILE, "Too many open files")

    keyed = order("A", BUY, 100, idempotency_key="k")
    async with serving(tmp_path / "data", grpc={"session_messages_max": 1}) as served:
        await served.orders.PlaceOrder(keyed)
        monkeypatch.setattr(served.exchange._log, "read", read)
        call = served.orders.TradingSession()
        await call.write(places(keyed))
        for name in ("a1", "a2"):
            await call.write(places(order("A", BUY, 100, order_id=name)))
        await until(lambda: served.engine.order("a2") is not None)
        let_go.set()
        failure = await failure_of(call)
        assert (failure.code(), failure.details()) == (StatusCode.UNKNOWN, UNFORESEEN)
        assert "call failed" in caplog.messages
        await until(lambda: not served.exchange._sessions._open)


@pytest.mark.parametrize("how", ["closed", "cancelled", "lost"])
async def test_cancel_on_disconnect(
    served: Served, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "exchange")
    channel = served.connect()
    call = OrderServiceStub(channel).TradingSession()
    opening = places(order("A", BUY, 100, order_id="a1"), order("B", BUY, 99, order_id="b1"))
    opening.open.CopyFrom(ON_DISCONNECT)
    await call.write(opening)
    session_id = (await answer(call)).opened.session_id
    assert served.engine.open_sessions() == [session_id]
    await served.place("A", BUY, 98, order_id="a2")

    if how == "closed":
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() == StatusCode.OK
        # The end of the stream says that the cancels are durable.
        assert served.exchange.sequencer.durable_sequence == served.engine.sequence
    elif how == "cancelled":
        call.cancel()
    else:
        await channel.close()
    await until(lambda: not served.engine.open_sessions())
    for name in ("a1", "b1"):
        ended = served.engine.order(name)
        assert ended is not None
        assert ended.status == words.ORDER_STATUS_CANCELLED
        assert ended.reason == words.END_REASON_SESSION_ENDED
    other = served.engine.order("a2")
    assert other is not None
    assert other.remaining_e8 == 10, "an order of the same client that is not of the session"
    told = "session with cancel on disconnect ended"
    await until(lambda: told in caplog.messages)
    await channel.close()


CLIENT = """
import sys, time, grpc
from exchange.v1.order_service_pb2 import *
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
opening = TradingSessionRequest.FromString(bytes.fromhex(sys.argv[2]))
def messages():
    yield opening
    time.sleep(60)
for reply in OrderServiceStub(grpc.insecure_channel(sys.argv[1])).TradingSession(messages()):
    print("open", flush=True)
"""


async def test_cancel_on_disconnect_of_a_client_that_is_killed(served: Served) -> None:
    opening = places(order("A", BUY, 100, order_id="a1"))
    opening.open.CopyFrom(ON_DISCONNECT)
    arguments = [sys.executable, "-c", CLIENT, served.address, opening.SerializeToString().hex()]
    client = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
    assert client.stdout is not None
    assert (await client.stdout.readline()).strip() == b"open"
    assert len(served.engine.open_sessions()) == 1
    client.kill()
    await client.wait()
    await until(lambda: not served.engine.open_sessions())
    ended = served.engine.order("a1")
    assert ended is not None
    assert ended.reason == words.END_REASON_SESSION_ENDED


async def test_cancel_on_disconnect_of_a_client_that_falls_silent(tmp_path: Path) -> None:
    keepalive = {"keepalive_s": 1, "keepalive_timeout_s": 1}
    async with (
        serving(tmp_path / "data", grpc=keepalive) as served,
        cut_line(served.address) as line,
        grpc.aio.insecure_channel(line.address) as channel,
    ):
        call = OrderServiceStub(channel).TradingSession()
        opening = places(order("A", BUY, 100, order_id="a1"))
        opening.open.CopyFrom(ON_DISCONNECT)
        await call.write(opening)
        await answer(call)
        line.carries.clear()
        async with asyncio.timeout(20):
            await until(lambda: not served.engine.open_sessions())
        call.cancel()


async def test_a_session_that_the_server_lost_is_ended_by_its_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path / "data") as served:
        sequencer = served.exchange.sequencer
        opened = sequencer.submit([OpenSession("A")])
        await opened.released()
        session_id = opened.outcomes[0].sequence  # type: ignore[union-attr]
        placed = order("A", BUY, 100, order_id="a1")
        await sequencer.submit([parse.place(placed, session_id)]).released()
        # As after kill -9: nobody ends it.
        monkeypatch.setattr(app, "end_sessions", _nothing)
    monkeypatch.undo()
    async with serving(tmp_path / "data") as served:
        assert not served.engine.open_sessions()
        ended = served.engine.order("a1")
        assert ended is not None
        assert ended.reason == words.END_REASON_SESSION_ENDED


async def _nothing(_sequencer: Sequencer) -> None:
    pass


async def test_a_stopping_server_ends_its_sessions(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as served:
        call = served.orders.TradingSession()
        opening = places(order("A", BUY, 100, order_id="a1"))
        opening.open.CopyFrom(ON_DISCONNECT)
        await call.write(opening)
        await call.read()
        ending = asyncio.ensure_future(failure_of(call))
        await served.stop()
        failure = await ending
        assert failure.code() == StatusCode.UNAVAILABLE
        assert info_of(failure).reason == "NOT_SERVING"
        ended = served.engine.order("a1")
        assert ended is not None
        assert ended.reason == words.END_REASON_SESSION_ENDED


async def test_a_stop_answers_also_what_was_taken_while_no_answer_had_room(
    tmp_path: Path,
) -> None:
    """To what is refused then nothing has happened."""
    async with serving(tmp_path / "data", grpc={"session_messages_max": 2}) as served:
        call = served.orders.TradingSession()
        messages = [places(order("A", BUY, 100, order_id=f"a{number}")) for number in range(4)]
        with HeldJournal(served):
            for message in messages:
                await call.write(message)
            await until(lambda: served.engine.order("a3") is not None)
            stopping = asyncio.ensure_future(served.stop())
            await until(lambda: served.exchange._sessions._stopped)
        answers = await replies(call, 4)
        assert [each.outcomes[0].placed.order.order_id for each in answers] == [
            "a0", "a1", "a2", "a3",
        ]  # fmt: skip
        assert info_of(await failure_of(call)).reason == "NOT_SERVING"
        await stopping


BAD_BEGINNINGS: list[tuple[str, Sequence[TradingSessionRequest], str, str]] = [
    (
        "client",
        [
            TradingSessionRequest(
                open=TradingSessionOpen(cancel_on_disconnect=True, client_id="A b")
            )
        ],
        "ID_INVALID",
        "client_id",
    ),
    (
        "client-of-commands",
        [TradingSessionRequest(open=TradingSessionOpen(client_id="A b"))],
        "ID_INVALID",
        "client_id",
    ),
    (
        "too-many",
        [TradingSessionRequest(open=ON_DISCONNECT, commands=[SessionCommand()] * 1_001)],
        "TOO_MANY",
        "commands",
    ),
    (
        "too-many-later",
        [TradingSessionRequest(), TradingSessionRequest(commands=[SessionCommand()] * 1_001)],
        "TOO_MANY",
        "commands",
    ),
    (
        "twice",
        [TradingSessionRequest(open=ON_DISCONNECT), TradingSessionRequest(open=ON_DISCONNECT)],
        "TOO_MANY",
        "open",
    ),
]


@pytest.mark.parametrize(
    ("messages", "reason", "field"),
    [given[1:] for given in BAD_BEGINNINGS],
    ids=[given[0] for given in BAD_BEGINNINGS],
)
async def test_a_bad_beginning_ends_the_session(
    served: Served, messages: Sequence[TradingSessionRequest], reason: str, field: str
) -> None:
    before = served.engine.sequence
    call = served.orders.TradingSession(iter(messages))
    failure = await failure_of(call)
    info = info_of(failure)
    assert failure.code() == StatusCode.INVALID_ARGUMENT
    assert (info.reason, info.metadata["field"]) == (reason, field)
    assert not served.engine.open_sessions()
    assert served.engine.sequence == before or field == "open"
    assert not served.engine.orders()


async def test_a_full_sequencer_refuses_each_command_and_the_session_goes_on(
    tmp_path: Path,
) -> None:
    limits = SequencerLimits(commands_waiting_max=3)
    async with serving(tmp_path / "data", sequencer=limits) as served:
        call = served.orders.TradingSession()
        with HeldJournal(served) as held:
            await call.write(places(order("A", BUY, 100)))
            await asyncio.to_thread(held.entered.wait)
            await call.write(places(*[order("A", BUY, 100)] * 3))
            await call.write(places(order("A", BUY, 100)))
            (session,) = served.exchange._sessions._open
            # The first is in the writer's hands.
            await until(lambda: session._answers.qsize() == 2)
        answers = await replies(call, 3)
        assert [len(each.outcomes) for each in answers] == [1, 3, 1]
        assert answers[2].outcomes[0].request_id == 1
        refusal = answers[2].outcomes[0].refused
        assert refusal.reason == words.REJECT_REASON_OVERLOADED
        assert refusal.retry_safe
        await call.write(places(order("A", BUY, 100)))
        assert (await answer(call)).outcomes[0].HasField("placed")
        call.cancel()


@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_the_end_of_a_session_finds_room_in_a_full_sequencer(
    tmp_path: Path, how: str
) -> None:
    limits = SequencerLimits(commands_waiting_max=1)
    async with serving(tmp_path / "data", sequencer=limits) as served:
        call = served.orders.TradingSession()
        await call.write(TradingSessionRequest(open=ON_DISCONNECT))
        session_id = (await answer(call)).opened.session_id
        with HeldJournal(served) as held:
            placing = [asyncio.ensure_future(served.place("A", BUY, 100))]
            await asyncio.to_thread(held.entered.wait)
            placing.append(asyncio.ensure_future(served.place("A", BUY, 100)))
            await until(lambda: len(served.engine.orders()) == 2)
            if how == "closed":
                await call.done_writing()
            else:
                call.cancel()
            await until(lambda: bool(served.exchange._sessions._ending))
            assert served.engine.open_sessions() == [session_id]
        if how == "closed":
            assert await call.read() is grpc.aio.EOF
            assert not served.engine.open_sessions(), "the end of the stream says that it is over"
        await until(lambda: not served.engine.open_sessions())
        await asyncio.gather(*placing)
