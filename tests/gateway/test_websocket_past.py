"""The past of a channel: sent before its subscriber joins, with nothing missing between the two."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from clients.errors import RefusedError
from clients.types import OrderEventsMessage, TradesMessage
from gateway.websocket import event_channels
from gateway.websocket.event_channels import (
    PUBLISHED_AT_ONCE,
    EventChannel,
    OrdersChannel,
    TradesChannel,
)
from gateway.websocket.frames import Frame, update
from gateway.websocket.open_channels import Channels
from gateway.websocket.outgoing import PAST_BYTES_MAX, WAITING_BYTES_MAX, Outgoing, Writer
from gateway.websocket.session import OrderConnection, Session
from tests.gateway.test_websocket_channels import (
    INSTRUMENT,
    SECONDS,
    Exchange,
    Wire,
    begun,
    order,
    run,
    told,
    trade,
    trades,
    wired,
)
from tests.on_loop import until


def test_a_long_past_is_sent_no_faster_than_it_is_read() -> None:
    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, trades(5_001, 5_000))
        exchange.told(0, trades(1, 5_000))
        channel = TradesChannel(cast("Any", exchange), INSTRUMENT)
        task = await begun(channel)
        async with wired() as (wire, outgoing):
            wire.paused = True
            past = asyncio.create_task(channel.catch_up(outgoing, 0))
            await until(lambda: outgoing.waiting_bytes > PAST_BYTES_MAX)
            await asyncio.sleep(0.01)
            assert not past.done()
            assert PAST_BYTES_MAX < outgoing.waiting_bytes < WAITING_BYTES_MAX
            wire.paused = False
            wire.on_room()
            await wire.until("resumed")
            assert len(wire.frames()) == 5_001
        task.cancel()

    run(test)


def test_who_is_sent_nothing_of_his_past_yet_resumes_with_all_of_it() -> None:
    async def test() -> None:
        channel = TradesChannel(cast("Any", Exchange()), INSTRUMENT)
        async with wired() as (_, outgoing):
            past = asyncio.create_task(channel.catch_up(outgoing, 4))
            await asyncio.sleep(0.01)
            assert outgoing.pasts == {channel.name: 5}
            past.cancel()

    run(test)


@asynccontextmanager
async def asking(exchange: Exchange) -> AsyncIterator[tuple[Wire, Session]]:
    """A session of a client."""
    link = cast("Any", SimpleNamespace(address="", channel=grpc.aio.insecure_channel("x")))
    async with wired() as (wire, outgoing):
        all_channels = Channels(cast("Any", exchange))
        session = Session(outgoing, all_channels, OrderConnection(link), "")
        yield wire, session
        session.close()
        await all_channels.close()
    await link.channel.close()


async def subscribe(session: Session, from_sequence: int | None, *kinds: str) -> None:
    wish = {"type": "subscribe", "channels": kinds or ["trades"], "from_sequence": from_sequence}
    await session.take(json.dumps(wish))


def test_a_past_ends_with_the_connection_that_it_is_for() -> None:
    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, trades(11, 10))
        async with asking(exchange) as (_, session):
            await subscribe(session, 5)
            (past,) = session._catching_up.values()
            session.close()
            await asyncio.wait([past], timeout=SECONDS)
            assert past.cancelled()

    run(test)


@pytest.mark.parametrize("before", [3, None], ids=["in the past", "in the present"])
def test_who_asks_for_another_past_is_sent_that_alone(before: int | None) -> None:
    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, trades(11, 10))
        async with asking(exchange) as (wire, session):
            await subscribe(session, before)
            await subscribe(session, 5)
            await asyncio.sleep(0.01)
            assert len(session._catching_up) == 1
            exchange.told(2, trades(3, 11))
            exchange.told(None, trades(11, 11))
            await asyncio.sleep(0.01)
            exchange.told(4, trades(5, 11))
            await wire.until("resumed")
            exchange.told(None, trades(12, 12))
            sent = await wire.until("trades", 8)
            assert [int(frame["sequence"]) for frame in sent] == list(range(5, 13))

    run(test)


def test_who_leaves_within_a_past_is_sent_no_more_of_it() -> None:
    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, trades(11, 10))
        async with asking(exchange) as (wire, session):
            await subscribe(session, 5)
            (past,) = session._catching_up.values()
            await session.take('{"type":"unsubscribe","channels":["trades"]}')
            await wire.until("unsubscribed")
            await asyncio.wait([past], timeout=SECONDS)
            assert past.cancelled()

    run(test)


def test_a_past_that_is_refused_ends_the_subscription() -> None:
    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, trades(11, 10))
        exchange.told(4, RefusedError("it is gone", code=grpc.StatusCode.OUT_OF_RANGE))
        async with asking(exchange) as (wire, session):
            await subscribe(session, 5)
            (error,) = await wire.until("error")
            assert (error["error"], error["channel"]) == ("it is gone", "trades:BTC-USD")
            assert not session.subscribed

    run(test)


def test_as_many_channels_as_a_connection_may_have_are_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.websocket.session.SUBSCRIPTIONS_MAX", 1)

    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, trades(11, 10))
        async with asking(exchange) as (wire, session):
            await subscribe(session, None, "trades")
            await wire.until("subscribed")
            await subscribe(session, None, "trades", "orders")
            (error,) = await wire.until("error")
            assert error["error"].startswith("channels would be 2 on this connection, at most 1")

    run(test)


def test_one_command_of_very_many_trades_makes_nobody_slow_who_reads() -> None:
    class Reading(Wire):
        """Whose room is full after each write, until the client has read it."""

        def write(self, data: bytes) -> None:
            super().write(data)
            self.paused = True
            asyncio.get_running_loop().call_soon(self._read)

        def _read(self) -> None:
            self.paused = False
            self.on_room()

    async def test() -> None:
        exchange, wire = Exchange(), Reading()
        channel = TradesChannel(cast("Any", exchange), INSTRUMENT)
        exchange.told(None, trades(1, 0))
        task = await begun(channel)
        outgoing = Outgoing(cast("Any", wire), Writer())
        channel.subscribers.add(outgoing)
        exchange.told(None, trades(1, 5_000))
        await wire.until("trades", 5_000)
        assert len(wire.written) > 4 * WAITING_BYTES_MAX
        task.cancel()

    run(test)


@pytest.mark.parametrize("kind", [TradesChannel, OrdersChannel])
def test_others_have_their_turn_while_very_many_events_are_shown(
    kind: type[EventChannel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of one message, of now and of the past."""
    count = 10 * PUBLISHED_AT_ONCE
    shown = [0]
    """In each turn of the loop."""

    def noted(*it: Any) -> Frame:
        shown[-1] += 1
        return update(*it)

    async def turns() -> None:
        while True:
            shown.append(0)
            await asyncio.sleep(0)

    def message(last: int) -> Any:
        if kind is TradesChannel:
            return trades(1, last)
        events = (told(each, order(each)).events[0] for each in range(1, last + 1))
        return OrderEventsMessage(last, 0, tuple(events), restarted=False)

    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, message(0), message(count))
        exchange.told(0, message(count))
        channel = kind(cast("Any", exchange), INSTRUMENT)
        turning = asyncio.create_task(turns())
        task = await begun(channel)
        async with wired() as (wire, outgoing):
            await channel.catch_up(outgoing, 0)
            await wire.until(channel.kind, count)
        await until(lambda: channel.sequence == count)
        assert sum(shown) == 2 * count
        assert max(shown) <= 2 * PUBLISHED_AT_ONCE, "each of the two is at it in a turn"
        task.cancel()
        turning.cancel()

    monkeypatch.setattr(event_channels, "update", noted)
    run(test)


def test_who_is_cut_within_a_past_is_told_to_resume_there() -> None:
    """What fills the queue meanwhile is newer than what is still to come of the past."""

    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, TradesMessage(1_000, 1_000, (), restarted=False))
        exchange.told(0, trades(1, 50))
        channel = TradesChannel(cast("Any", exchange), INSTRUMENT)
        task = await begun(channel)
        async with wired() as (wire, outgoing):
            past = asyncio.create_task(channel.catch_up(outgoing, 0))
            await wire.until("trades", 50)
            wire.paused = True
            sequence = 1_000
            while not outgoing.cut:
                sequence += 1
                outgoing.send(Frame({"type": "orders", "text": "x" * 1_000}, sequence))
            wire.paused = False
            wire.on_room()
            assert wire.reason.endswith("subscribe with from_sequence 51")
            past.cancel()
            await asyncio.wait([past])
            assert not outgoing.pasts
        task.cancel()

    run(test)


def test_who_is_cut_within_a_command_is_told_to_resume_with_all_of_it() -> None:
    """One that fills very many orders comes in several messages."""

    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, TradesMessage(1_000, 1_000, (), restarted=False))
        exchange.told(0, TradesMessage(50, 0, (*trades(1, 51).trades, trade(51)), restarted=False))
        channel = TradesChannel(cast("Any", exchange), INSTRUMENT)
        task = await begun(channel)
        async with wired() as (wire, outgoing):
            past = asyncio.create_task(channel.catch_up(outgoing, 0))
            await wire.until("trades", 52)
            assert outgoing.pasts == {channel.name: 51}
            exchange.told(0, TradesMessage(51, 50, (trade(51),), restarted=False))
            await wire.until("trades", 53)
            assert outgoing.pasts == {channel.name: 52}
            past.cancel()
        task.cancel()

    run(test)


def links(frames: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    """Of each frame its type, the sequence it follows on, and its own."""
    return [(it["type"], int(it["previous_sequence"]), int(it["sequence"])) for it in frames]


def test_a_past_links_with_what_the_channel_sends_next() -> None:
    """Whoever is behind the channel, and however little there was to be sent."""

    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, TradesMessage(20, 20, (), restarted=False))
        exchange.told(10, TradesMessage(20, 10, (), restarted=False))
        exchange.told(15, trades(16, 21))
        channel = TradesChannel(cast("Any", exchange), INSTRUMENT)
        task = await begun(channel)
        async with wired() as (wire, quiet), wired() as (ahead_wire, ahead):
            await asyncio.wait_for(channel.catch_up(quiet, 10), SECONDS)
            await asyncio.wait_for(channel.catch_up(ahead, 15), SECONDS)
            exchange.told(None, trades(21, 22))
            await wire.until("trades", 2)
            await ahead_wire.until("trades", 7)
            assert links(wire.frames()) == [
                ("resumed", 10, 20),
                ("trades", 20, 21),
                ("trades", 21, 22),
            ]
            assert links(ahead_wire.frames())[6:] == [("resumed", 21, 21), ("trades", 21, 22)]
        task.cancel()

    run(test)


def test_a_restart_is_told_whoever_is_ahead_or_still_in_the_past() -> None:
    """The exchange came back with less: what is new has sequences that were seen before."""

    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, trades(11, 10))
        exchange.told(10, trades(11, 12))
        exchange.told(2, TradesMessage(7, 7, (), restarted=True), trades(8, 9))
        channel = TradesChannel(cast("Any", exchange), INSTRUMENT)
        task = await begun(channel)
        async with wired() as (wire, ahead), wired() as (behind_wire, behind):
            await asyncio.wait_for(channel.catch_up(ahead, 10), SECONDS)
            exchange.told(None, TradesMessage(7, 7, (), restarted=True), trades(8, 9))
            await wire.until("trades", 4)
            assert links(wire.frames())[3:] == [
                ("restarted", 10, 7),
                ("trades", 7, 8),
                ("trades", 8, 9),
            ]
            await asyncio.wait_for(channel.catch_up(behind, 2), SECONDS)
            await behind_wire.until("resumed")
            assert links(behind_wire.frames()) == [
                ("restarted", 2, 7),
                ("trades", 7, 8),
                ("trades", 8, 9),
                ("resumed", 9, 9),
            ]
        task.cancel()

    run(test)


def test_who_is_in_the_middle_of_a_command_joins_behind_it() -> None:
    """His stream has told one of its messages, the channel none: he would miss the other."""

    async def test() -> None:
        exchange = Exchange()
        exchange.told(None, trades(11, 10))
        first, second = (replace(trade(11), index=each, trade_id=f"11-{each}") for each in (0, 1))
        exchange.told(10, TradesMessage(10, 10, (first,), restarted=False))
        channel = TradesChannel(cast("Any", exchange), INSTRUMENT)
        task = await begun(channel)
        async with wired() as (wire, outgoing):
            past = asyncio.create_task(channel.catch_up(outgoing, 10))
            await wire.until("trades")
            assert not past.done()
            rest = TradesMessage(11, 10, (second,), restarted=False)
            exchange.told(10, rest)
            await asyncio.wait_for(past, SECONDS)
            exchange.told(None, TradesMessage(10, 10, (first,), restarted=False), rest)
            exchange.told(None, trades(12, 12))
            told = [frame["data"]["trade_id"] for frame in await wire.until("trades", 3)]
            assert told == ["11-0", "11-1", "trade-12"]
        task.cancel()

    run(test)


def test_a_past_whose_channel_has_failed_ends_with_that() -> None:
    async def test() -> None:
        exchange = Exchange()
        exchange.told(0, trades(1, 5))
        channel = TradesChannel(cast("Any", exchange), INSTRUMENT)
        channel.fail(ValueError("a fault"))
        async with wired() as (_, outgoing):
            with pytest.raises(ValueError, match="a fault"):
                await asyncio.wait_for(channel.catch_up(outgoing, 0), SECONDS)
        assert not channel.subscribers

    run(test)
