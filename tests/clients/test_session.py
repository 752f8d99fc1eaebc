"""Trading sessions: every command gets its own outcome, and a lost one is never taken for none."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest

from clients import connection
from clients.client import ExchangeClient
from clients.decimals import NumberInvalidError
from clients.errors import ExchangeError, OutcomeUnknownError, RefusedError, UnavailableError
from clients.fields import FieldInvalidError
from clients.requests import CancelOrder, CancelOrders, Command, PlaceOrder, ReplaceOrder
from clients.types import Cancelled, CancelledAll, Placed, Replaced
from exchange.v1 import order_service_pb2 as orders_pb2
from tests.clients.cut_line import cut_line
from tests.clients.fake_exchange import FakeExchange, FakeOrders, messages, opened, outcome_of
from tests.clients.faults import Context, hang, refuse
from tests.on_loop import until

pytestmark = pytest.mark.asyncio


def buy(order_id: str, instrument: str = "BTC-USD") -> PlaceOrder:
    return PlaceOrder("alice", instrument, "buy", 1, price=2, order_id=order_id)


async def answer_backwards(fake: FakeOrders, context: Context) -> None:
    """Two messages are answered together, the last command first."""
    await opened(context)
    held: list[orders_pb2.SessionOutcome] = []
    async for message in messages(context):
        held += [outcome_of(fake, command) for command in message.commands]
        if len(held) >= 4:
            await context.write(orders_pb2.TradingSessionResponse(outcomes=reversed(held)))
            held = []


async def answer_one_then_fail(fake: FakeOrders, context: Context) -> None:
    """Applies everything, answers the first command, and is gone."""
    await opened(context)
    async for message in messages(context):
        outcomes = [outcome_of(fake, command) for command in message.commands]
        await context.write(orders_pb2.TradingSessionResponse(outcomes=outcomes[:1]))
        await refuse(grpc.StatusCode.UNAVAILABLE, message="the server is gone")(context)


async def answer_one_then_stop(fake: FakeOrders, context: Context) -> None:
    """The same, as a server that is stopped says it."""
    await opened(context)
    async for message in messages(context):
        outcomes = [outcome_of(fake, command) for command in message.commands]
        await context.write(orders_pb2.TradingSessionResponse(outcomes=outcomes[:1]))
        said = "try again in a moment, nothing happened"
        await refuse(grpc.StatusCode.UNAVAILABLE, "NOT_SERVING", said)(context)


async def answer_all_but_a(fake: FakeOrders, context: Context) -> None:
    await opened(context)
    async for message in messages(context):
        if message.commands[0].place.order_id != "a":
            outcomes = [outcome_of(fake, command) for command in message.commands]
            await context.write(orders_pb2.TradingSessionResponse(outcomes=outcomes))


async def answer_none(fake: FakeOrders, context: Context) -> None:
    await opened(context)
    async for message in messages(context):
        fake.requests += message.commands


async def answer_with_strange_ids(fake: FakeOrders, context: Context) -> None:
    await opened(context)
    async for _ in messages(context):
        answer = orders_pb2.TradingSessionResponse()
        answer.outcomes.add(request_id=999)
        await context.write(answer)


async def never_open(fake: FakeOrders, context: Context) -> None:
    await context.write(orders_pb2.TradingSessionResponse())


async def answer_and_never_end(fake: FakeOrders, context: Context) -> None:
    await opened(context)
    async for message in messages(context):
        outcomes = [outcome_of(fake, command) for command in message.commands]
        await context.write(orders_pb2.TradingSessionResponse(outcomes=outcomes))
    await hang(context)


async def refuse_to_open(fake: FakeOrders, context: Context) -> None:
    await refuse(grpc.StatusCode.INVALID_ARGUMENT, "ID_INVALID", "client_id is bad")(context)


async def end_badly(fake: FakeOrders, context: Context) -> None:
    await opened(context)
    async for _ in messages(context):
        pass
    await refuse(grpc.StatusCode.UNAVAILABLE, "NOT_SERVING", "stopping")(context)


async def test_open_tells_both_sides(fake: FakeExchange, exchange: ExchangeClient) -> None:
    async with exchange.trading_session(client_id="alice", cancel_on_disconnect=True) as session:
        assert (session.session_id, session.opened_sequence) == (7, 41)
    (wish,) = fake.orders.sessions
    assert (wish.client_id, wish.cancel_on_disconnect) == ("alice", True)
    assert fake.orders.sessions_ended == 1


async def test_each_kind_of_command_and_outcome(exchange: ExchangeClient) -> None:
    async with exchange.trading_session() as session:
        outcomes = await session.send(
            [
                buy("a"),
                buy("b", "NO-SUCH"),
                ReplaceOrder("a", quantity=2),
                CancelOrder("a"),
                CancelOrders("alice", side="sell"),
            ]
        )
    assert [type(outcome) for outcome in outcomes] == [
        Placed, RefusedError, Replaced, Cancelled, CancelledAll,
    ]  # fmt: skip
    assert isinstance(outcomes[1], RefusedError)
    assert outcomes[1].reason == "INSTRUMENT_UNKNOWN"


async def test_outcomes_are_matched_by_request(
    fake: FakeExchange, exchange: ExchangeClient
) -> None:
    fake.orders.session = answer_backwards
    async with exchange.trading_session() as session:
        first, second = await asyncio.gather(
            session.send([buy("a"), buy("b"), buy("c")]), session.send([buy("d")])
        )
    ids = [outcome.order.order_id for outcome in first + second if isinstance(outcome, Placed)]
    assert ids == ["a", "b", "c", "d"]


async def test_many_commands_travel_in_several_messages(
    fake: FakeExchange, exchange: ExchangeClient
) -> None:
    commands = [buy(f"o-{number}") for number in range(2_001)]
    async with exchange.trading_session() as session:
        outcomes = await session.send(commands)
    ids = [outcome.order.order_id for outcome in outcomes if isinstance(outcome, Placed)]
    assert ids == [command.order_id for command in commands]
    assert [len(message.commands) for message in fake.orders.requests] == [1_000, 1_000, 1]


async def test_more_senders_than_may_be_under_way(exchange: ExchangeClient) -> None:
    async with exchange.trading_session() as session:
        answers = await asyncio.gather(*(session.send([buy(f"o-{i}")]) for i in range(200)))
    assert all(isinstance(outcome, Placed) for (outcome,) in answers)


async def test_bad_number_sends_nothing(fake: FakeExchange, exchange: ExchangeClient) -> None:
    bad = PlaceOrder("alice", "BTC-USD", "buy", "NaN", price=1)
    async with exchange.trading_session() as session:
        many = [buy(f"o-{i}") for i in range(1_000)]
        with pytest.raises(NumberInvalidError, match=r"^commands\[1000\]\.quantity must be"):
            await session.send([*many, bad])
        untyped = replace(buy("a"), client_id=5)  # type: ignore[arg-type]
        with pytest.raises(FieldInvalidError, match=r"^commands\[1\]\.client_id must be .*got 5"):
            await session.send([buy("b"), untyped])
        assert fake.orders.requests == []
        assert isinstance((await session.send([buy("a")]))[0], Placed)


async def test_lost_session_names_what_is_unknown(
    fake: FakeExchange, exchange: ExchangeClient
) -> None:
    fake.orders.session = answer_one_then_fail
    commands: list[Command] = [buy("a"), buy("b"), buy("c")]
    async with exchange.trading_session() as session:
        with pytest.raises(OutcomeUnknownError, match="the server is gone") as caught:
            await session.send(commands)
        assert caught.value.request == commands[1:]
        with pytest.raises(UnavailableError, match="nothing was sent; open a new one"):
            await session.send([buy("d")])
    assert {order.order_id for order in fake.orders.orders} == {"a", "b", "c"}


async def test_what_is_unknown_is_not_called_certain(
    fake: FakeExchange, exchange: ExchangeClient
) -> None:
    fake.orders.session = answer_one_then_stop
    said = r"gave no outcome \(UNAVAILABLE, NOT_SERVING: price 150, limit 100\): the commands may"
    async with exchange.trading_session() as session:
        with pytest.raises(OutcomeUnknownError, match=said):
            await session.send([buy("a"), buy("b")])
    async with exchange.trading_session() as session:
        with pytest.raises(OutcomeUnknownError, match=said):
            assert [answer async for answer in session.exchange([raw(0, 3)])]


@pytest.mark.parametrize("is_told_twice", [False, True])
async def test_a_lost_session_does_not_end_as_if_its_orders_were_cancelled(
    is_told_twice: bool, fake: FakeExchange, exchange: ExchangeClient
) -> None:
    """Also where a `send` has told of the loss, and whoever sent has gone on."""
    fake.orders.session = answer_one_then_fail
    opening = exchange.trading_session(client_id="alice", cancel_on_disconnect=True)
    session = await opening.__aenter__()
    with pytest.raises(OutcomeUnknownError, match="the server is gone"):
        await session.send([buy("a"), buy("b")])
    if is_told_twice:
        with pytest.raises(UnavailableError, match="nothing was sent"):
            await session.send([buy("c")])
    said = r"was lost \(UNAVAILABLE: the server is gone\): its open orders are cancelled when"
    for _ in range(2):
        with pytest.raises(OutcomeUnknownError, match=said):
            await session.__aexit__(None, None, None)


async def test_a_lost_session_lets_the_error_inside_pass(
    fake: FakeExchange, exchange: ExchangeClient
) -> None:
    fake.orders.session = answer_one_then_fail

    async def send_and_fail() -> None:
        async with exchange.trading_session(cancel_on_disconnect=True) as session:
            with pytest.raises(OutcomeUnknownError):
                await session.send([buy("a"), buy("b")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await send_and_fail()


async def test_lost_between_two_messages_of_one_send(
    fake: FakeExchange, exchange: ExchangeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Part of it was sent, so it is not the failure that says that nothing was."""
    monkeypatch.setattr("clients.session.MESSAGES_MAX", 1)
    fake.orders.session = answer_one_then_fail
    commands: list[Command] = [buy(f"o-{number}") for number in range(1_001)]
    async with exchange.trading_session() as session:
        with pytest.raises(OutcomeUnknownError, match="the server is gone") as caught:
            await session.send(commands)
    assert caught.value.request == commands[1:]


async def test_silent_line_names_what_is_unknown(
    fake: FakeExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    sooner = [
        (name, value // 30 if "keepalive" in name or "ping" in name else value)
        for name, value in connection.OPTIONS
    ]
    monkeypatch.setattr(connection, "OPTIONS", sooner)
    async with (
        cut_line(fake.address) as line,
        ExchangeClient(line.address) as exchange,
        exchange.trading_session() as session,
    ):
        line.carries.clear()
        with pytest.raises(OutcomeUnknownError, match="UNAVAILABLE"):
            await session.send([buy("a")], timeout_s=20)


async def test_timeout_harms_no_other_send(fake: FakeExchange, exchange: ExchangeClient) -> None:
    fake.orders.session = answer_all_but_a
    async with exchange.trading_session() as session:
        with pytest.raises(OutcomeUnknownError, match="no answer within"):
            await session.send([buy("a")], timeout_s=0.1)
        assert isinstance((await session.send([buy("b")]))[0], Placed)


async def test_strange_answer_ends_it(fake: FakeExchange, exchange: ExchangeClient) -> None:
    fake.orders.session = answer_with_strange_ids
    async with exchange.trading_session() as session:
        with pytest.raises(OutcomeUnknownError, match="request 999"):
            await session.send([buy("a")])
        async with asyncio.timeout(5):
            await fake.orders.session_ended.wait()


async def test_refused_opening(fake: FakeExchange, exchange: ExchangeClient) -> None:
    fake.orders.session = refuse_to_open
    with pytest.raises(RefusedError, match="client_id is bad"):
        async with exchange.trading_session():
            pass
    fake.orders.session = never_open
    with pytest.raises(ExchangeError, match="must say that it is open"):
        async with exchange.trading_session():
            pass


async def test_nobody_there() -> None:
    async with ExchangeClient("127.0.0.1:1") as exchange:
        with pytest.raises(UnavailableError, match="not reachable"):
            async with exchange.trading_session():
                pass


async def test_end_that_fails_is_told_once(fake: FakeExchange, exchange: ExchangeClient) -> None:
    fake.orders.session = end_badly
    with pytest.raises(UnavailableError, match="stopping"):
        async with exchange.trading_session():
            pass


async def test_error_inside_cancels_the_stream(
    fake: FakeExchange, exchange: ExchangeClient
) -> None:
    async def break_off() -> None:
        async with exchange.trading_session() as session:
            await session.send([buy("a")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await break_off()
    async with asyncio.timeout(5):
        await fake.orders.session_ended.wait()


def raw(first: int, count: int) -> orders_pb2.TradingSessionRequest:
    message = orders_pb2.TradingSessionRequest()
    for number in range(first, first + count):
        command = message.commands.add(request_id=number)
        command.place.client_id = "alice"
        command.place.instrument = "BTC-USD"
        command.place.side = 1  # type: ignore[assignment]
        command.place.type = 1  # type: ignore[assignment]
    return message


async def as_they_come(count: int) -> AsyncIterator[orders_pb2.TradingSessionRequest]:
    for number in range(count):
        await asyncio.sleep(0)
        yield raw(number, 1)


async def test_raw_messages(fake: FakeExchange, exchange: ExchangeClient) -> None:
    async with exchange.trading_session() as session:
        ids = [
            outcome.request_id
            async for answer in session.exchange([raw(0, 3), raw(3, 2), raw(5, 5)])
            for outcome in answer.outcomes
        ]
        assert ids == list(range(10))
        ids = [
            outcome.request_id
            async for answer in session.exchange(as_they_come(50), unanswered_max=1)
            for outcome in answer.outcomes
        ]
        assert ids == list(range(50))
        assert [answer async for answer in session.exchange([])] == []
    assert fake.orders.sessions_ended == 1


async def test_a_session_is_for_commands_or_for_messages(exchange: ExchangeClient) -> None:
    async with exchange.trading_session() as session:
        await session.send([buy("a")])
        with pytest.raises(RuntimeError, match="sends typed commands: open another one"):
            await anext(session.exchange([raw(0, 1)]))
        assert isinstance((await session.send([buy("b")]))[0], Placed)
    async with exchange.trading_session() as session:
        assert [answer async for answer in session.exchange([raw(0, 1)])]
        with pytest.raises(RuntimeError, match="exchanges raw messages: open another one"):
            await session.send([buy("c")])
        assert [answer async for answer in session.exchange([raw(1, 1)])]


async def test_raw_messages_wait_for_room(fake: FakeExchange, exchange: ExchangeClient) -> None:
    arrived, gate = asyncio.Event(), asyncio.Event()

    async def answer_when_asked(fake: FakeOrders, context: Context) -> None:
        await opened(context)
        async for message in messages(context):
            arrived.set()
            await gate.wait()
            outcomes = [outcome_of(fake, command) for command in message.commands]
            await context.write(orders_pb2.TradingSessionResponse(outcomes=outcomes))

    taken = 0

    async def endless() -> AsyncIterator[orders_pb2.TradingSessionRequest]:
        nonlocal taken
        for number in range(0, 100, 10):
            taken += 1
            yield raw(number, 10)

    fake.orders.session = answer_when_asked
    async with exchange.trading_session() as session:
        answers = session.exchange(endless(), unanswered_max=20)
        first = asyncio.ensure_future(anext(answers))
        async with asyncio.timeout(5):
            await arrived.wait()
        await asyncio.sleep(0.05)
        # Two messages are out, and a third is taken to be sent as soon as there is room.
        assert taken == 3
        gate.set()
        assert len((await first).outcomes) == 10
        assert [len(answer.outcomes) async for answer in answers] == [10] * 9


async def test_raw_messages_that_are_left_are_taken_no_further(exchange: ExchangeClient) -> None:
    left = asyncio.Event()

    async def endless() -> AsyncIterator[orders_pb2.TradingSessionRequest]:
        try:
            while True:
                yield raw(0, 1)
        finally:
            left.set()

    async with exchange.trading_session() as session:
        answers = session.exchange(endless(), unanswered_max=1)
        await anext(answers)
        await answers.aclose()
        async with asyncio.timeout(5):
            await left.wait()


async def test_raw_session_that_is_lost(fake: FakeExchange, exchange: ExchangeClient) -> None:
    fake.orders.session = answer_one_then_fail
    async with exchange.trading_session() as session:
        answers = session.exchange([raw(0, 3), raw(3, 3)])
        assert [outcome.request_id for outcome in (await anext(answers)).outcomes] == [0]
        with pytest.raises(OutcomeUnknownError, match="the server is gone"):
            await anext(answers)


async def test_session_that_was_left_sends_nothing(
    fake: FakeExchange, exchange: ExchangeClient
) -> None:
    async with exchange.trading_session() as session:
        pass
    with pytest.raises(
        UnavailableError, match=r"it was closed\): nothing was sent; open a new one"
    ):
        await session.send([buy("a")])
    with pytest.raises(
        UnavailableError, match=r"it was closed\): nothing was sent; open a new one"
    ):
        await anext(session.exchange([raw(0, 1)]))
    assert fake.orders.requests == []


async def test_silent_exchange_at_the_end(
    fake: FakeExchange, exchange: ExchangeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clients.session.CLOSE_S", 0.1)
    fake.orders.session = answer_and_never_end
    with pytest.raises(UnavailableError, match="has not ended the session"):
        async with exchange.trading_session():
            pass


@pytest.mark.parametrize("commands", [[], [buy("a")]], ids=["unused", "used"])
async def test_silent_exchange_may_still_cancel_the_orders_of_a_session(
    commands: list[Command],
    fake: FakeExchange,
    exchange: ExchangeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("clients.session.CLOSE_S", 0.1)
    fake.orders.session = answer_and_never_end
    said = r"has not ended within 0\.1 s: its open orders are cancelled when"
    with pytest.raises(OutcomeUnknownError, match=said):
        async with exchange.trading_session(cancel_on_disconnect=True) as session:
            await session.send(commands)
    async with asyncio.timeout(5):
        await fake.orders.session_ended.wait()


async def test_messages_under_way_are_bounded(
    fake: FakeExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clients.session.COMMANDS_MAX", 1)
    monkeypatch.setattr("clients.session.MESSAGES_MAX", 3)
    fake.orders.session = answer_none
    async with ExchangeClient(fake.address) as exchange:
        session = exchange.trading_session()
        await session.__aenter__()
        sending = asyncio.create_task(session.send([buy(f"o-{n}") for n in range(10)]))
        await until(lambda: len(fake.orders.requests) >= 3)
        # Enough for a fourth to come if it were sent.
        await asyncio.wait({sending}, timeout=0.1)
        assert len(fake.orders.requests) == 3
        session._call.cancel()
        with pytest.raises(OutcomeUnknownError):
            await sending
