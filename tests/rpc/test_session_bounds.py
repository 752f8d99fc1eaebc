"""What waits of a trading session is bounded: past that its client is not read from."""

import asyncio
from pathlib import Path

import pytest

from server.rpc.trading_session import REPEAT_BYTES
from tests.rpc.served import BUY, HeldJournal, Served, order, serving, until
from tests.rpc.test_trading_session import answer, places, replies

pytestmark = pytest.mark.asyncio


async def test_no_more_is_read_while_many_answers_wait(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", grpc={"session_messages_max": 2}) as served:
        call = served.orders.TradingSession()
        with HeldJournal(served):

            async def send() -> None:
                for number in range(8):
                    await call.write(places(order("A", BUY, 100, order_id=f"a{number}")))

            sending = asyncio.ensure_future(send())
            await until(lambda: served.engine.order("a3") is not None)
            # One in the writer's hands, two that wait, one that finds no room; enough for a fifth
            # to come if it were taken.
            await asyncio.wait({sending}, timeout=0.1)
            assert served.engine.order("a4") is None
        assert len(await replies(call, 8)) == 8
        await sending
        call.cancel()


async def test_no_more_is_read_while_large_answers_wait(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[I13] Bytes are counted; what was taken is answered, and then what was held back."""
    monkeypatch.setattr("server.rpc.trading_session.ANSWER_BYTES_MAX", 5_000)
    monkeypatch.setattr("server.rpc.trading_session.REPEAT_BYTES", 100)
    call = served.orders.TradingSession()
    keyed = order("A", BUY, 100, idempotency_key="k", client_reference="r" * 64)
    await call.write(places(keyed))
    await answer(call)
    (session,) = served.exchange._sessions._open
    with HeldJournal(served):

        async def send() -> None:
            for number in range(8):
                each = order("A", BUY, 100, client_reference=str(number))
                await call.write(places(keyed, *[each] * 20))

        sending = asyncio.ensure_future(send())
        await until(lambda: session._bytes_waiting > 5_000)
        taken, waiting = len(served.engine.orders()), session._bytes_waiting
        # Enough for another one to come if it were taken.
        await asyncio.wait({sending}, timeout=0.1)
        assert (len(served.engine.orders()), session._bytes_waiting) == (taken, waiting)
        assert waiting < 5_000 + 4_000
    for number, each in enumerate(await replies(call, 8)):
        repeat, *placed = each.outcomes
        assert repeat.placed.repeated
        assert {it.placed.order.client_reference for it in placed} == {str(number)}
    await sending
    await until(lambda: session._bytes_waiting == 0)
    call.cancel()


async def test_who_reads_no_answers_is_not_read_from(served: Served) -> None:
    """Nothing of the server grows with what such a client sends."""
    call = served.orders.TradingSession()
    big = places(*[order("A", BUY, 100) for _ in range(1_000)])

    async def send() -> None:
        while True:
            await call.write(big)

    sending = asyncio.ensure_future(send())
    sequence, quiet = -1, 0
    while quiet < 5:
        await asyncio.sleep(0.05)
        quiet = quiet + 1 if served.engine.sequence == sequence else 0
        sequence = served.engine.sequence
    taken = sequence // 1_000
    settings = served.exchange._settings.grpc
    # What waits in the session, in the window and the write buffers of both sides.
    assert taken < settings.session_messages_max + 60
    await served.place("B", BUY, 100)
    sending.cancel()
    call.cancel()


async def test_what_is_to_be_read_back_counts_too(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[I13] A repeat waits as what has to be looked up, which takes more than its few bytes."""
    monkeypatch.setattr("server.rpc.trading_session.ANSWER_BYTES_MAX", 3 * REPEAT_BYTES)
    call = served.orders.TradingSession()
    keyed = order("A", BUY, 100, idempotency_key="k")
    await call.write(places(keyed))
    await answer(call)
    (session,) = served.exchange._sessions._open
    with HeldJournal(served):

        async def send() -> None:
            await call.write(places(order("A", BUY, 100)))
            for _ in range(8):
                await call.write(places(keyed))

        sending = asyncio.ensure_future(send())
        await until(lambda: session._bytes_waiting > 3 * REPEAT_BYTES)
        waiting = session._bytes_waiting
        await asyncio.wait({sending}, timeout=0.1)
        assert session._bytes_waiting == waiting
    for each in (await replies(call, 9))[1:]:
        assert each.outcomes[0].placed.repeated
    await sending
    call.cancel()
