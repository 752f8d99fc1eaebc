"""What a client's frames do: parse, ask the exchange or a channel, answer.

Orders, replaces and cancels are the messages of the HTTP JSON interface, sent to its own adapter in
the server over gRPC, so that numbers, words and refusals are the same at both doors. Frames of one
connection are taken one after the other, so their answers have their order.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from clients.connection import Connection
from clients.errors import ExchangeError, RefusedError, error_of
from clients.requests import CancelOrders
from exchange.http.v1 import order_service_pb2 as messages
from exchange.http.v1.order_service_pb2_grpc import OrderServiceStub
from gateway.websocket.channels import Channel
from gateway.websocket.errors import details_of, ended, error
from gateway.websocket.event_channels import EventChannel
from gateway.websocket.frames import Frame, now_text, with_whole_numbers
from gateway.websocket.open_channels import Channels
from gateway.websocket.outgoing import Outgoing
from gateway.websocket.requests import (
    BAD_REQUEST,
    EXHAUSTED,
    SHOWN_MAX,
    BadFrame,
    caller_at,
    channels_of,
    check_numbers,
    instruments_of,
    message_of,
    name_in,
    parsed,
    sequence_of,
    shown,
)
from gateway.websocket.state_channels import StateChannel

CALL_S: Final = 5.0
"""The time for one command: the exchange's own default."""
BEGIN_S: Final = 5.0
"""The time for the stream of a channel to begin: as long as a call."""
SUBSCRIPTIONS_MAX: Final = 200
"""Channels of one connection: all of forty instruments."""
UNAVAILABLE: Final = 14


class OrderConnection:
    """Sends the commands of all clients to the exchange: stubs are some hundred objects."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.stub = OrderServiceStub(connection.channel)


class Session:
    """Serves one client. Nothing refers to the session itself, so it is gone with its client."""

    def __init__(
        self, outgoing: Outgoing, channels: Channels, orders: OrderConnection, address: str
    ) -> None:
        """`address` is the client's, as the gateway saw it; "" where it said none."""
        self._outgoing = outgoing
        self._channels = channels
        self._orders = orders
        self._caller = caller_at(address)
        self._joined: dict[str, Channel] = {}
        self._catching_up: dict[str, asyncio.Task[None]] = {}

    @property
    def subscribed(self) -> bool:
        """Tells whether it is subscribed to anything."""
        return any(channel.failure is None for channel in self._joined.values())

    async def take(self, text: str) -> None:
        """Take one frame, and answer it."""
        answer: dict[str, Any]
        frame: dict[str, Any] = {}
        try:
            frame = parsed(text)
            answer = await handler_of(frame)(self, frame)
        except BadFrame as bad:
            answer = error(str(bad), bad.code)
        except RecursionError:
            sentence = "the frame is nested too deeply: send one flat JSON object"
            answer = error(sentence, BAD_REQUEST)
        except ExchangeError as refused:
            code = refused.code.value[0]
            answer = error(refused.message, code, details_of(refused))
        if answer:
            self._outgoing.send(answering(frame, answer))

    def close(self) -> None:
        """Leave every channel."""
        for task in self._catching_up.values():
            task.cancel()
        for channel in self._joined.values():
            self._channels.leave(channel, self._outgoing)

    async def subscribe(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Join channels; updates follow the answer."""
        kinds, instruments = channels_of(frame), instruments_of(frame)
        after_sequence = sequence_of(frame)
        for instrument in instruments:
            await self._channels.check(instrument)
        self._joined = {name: it for name, it in self._joined.items() if it.failure is None}
        wanted = {f"{kind}:{each}": (kind, each) for each in instruments for kind in kinds}
        if len(self._joined.keys() | wanted.keys()) > SUBSCRIPTIONS_MAX:
            raise BadFrame(
                f"channels would be {len(self._joined.keys() | wanted.keys())} on this connection, "
                f"at most {SUBSCRIPTIONS_MAX}: unsubscribe first, or open another",
                EXHAUSTED,
            )
        running = self._joined.keys() & wanted.keys()
        opened = {name: self._channels.get(*it) for name, it in wanted.items()}
        for name, channel in opened.items():
            channel.interested.add(self._outgoing)
            self._joined[name] = channel
        try:
            async with asyncio.timeout(BEGIN_S):
                for channel in opened.values():
                    await channel.begun.wait()
        except TimeoutError:
            for name in opened.keys() - running:
                self._leave(name)
            for name, channel in opened.items():
                if not channel.begun.is_set() and isinstance(channel.interruption, RefusedError):
                    return ended(name, channel.interruption)
            raise BadFrame(
                "the exchange can't be reached at this moment: subscribe again in a second",
                UNAVAILABLE,
            ) from None
        for name, channel in opened.items():
            if channel.failure is not None:
                for each in opened.keys() - running | {name}:
                    self._leave(each)
                return ended(name, channel.failure)
        self._outgoing.send(answering(frame, listed("subscribed", kinds, instruments)))
        for name, channel in opened.items():
            self._join(name, channel, after_sequence, frame)
        return {}

    def _join(
        self, name: str, channel: Channel, after_sequence: int | None, frame: dict[str, Any]
    ) -> None:
        """Join a channel from now on, or from a sequence on. Who is there already starts again
        where he asks for the past, and is sent a book anew."""
        running = self._catching_up.pop(name, None)
        if running is not None:
            running.cancel()
        if isinstance(channel, EventChannel) and after_sequence is not None:
            channel.subscribers.discard(self._outgoing)
            past = channel.catch_up(self._outgoing, after_sequence)
            self._catching_up[name] = task = asyncio.create_task(past)
            task.add_done_callback(partial(self._told, name, frame))
            return
        first = channel.first(self._outgoing)
        if first is not None and isinstance(channel, StateChannel):
            self._outgoing.state(channel, first)
        elif first is not None:
            self._outgoing.forget(channel)
            self._outgoing.delta(channel, first)
        channel.subscribers.add(self._outgoing)

    def _told(self, name: str, frame: dict[str, Any], task: asyncio.Task[None]) -> None:
        """Note that the past was sent, or end the subscription where there is none to be had."""
        if self._catching_up.get(name) is task:
            del self._catching_up[name]
        if task.cancelled() or task.exception() is None:
            return
        self._leave(name)
        failure = task.exception()
        if failure is not None:
            self._outgoing.send(answering(frame, ended(name, failure)))

    async def unsubscribe(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Leave channels."""
        kinds, instruments = channels_of(frame), instruments_of(frame)
        for instrument in instruments:
            for kind in kinds:
                self._leave(f"{kind}:{instrument}")
        return listed("unsubscribed", kinds, instruments)

    def _leave(self, name: str) -> None:
        channel = self._joined.pop(name, None)
        if (task := self._catching_up.pop(name, None)) is not None:
            task.cancel()
        if channel is not None:
            self._channels.leave(channel, self._outgoing)

    async def place(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Place an order."""
        check_numbers(frame)
        fields = {**frame, "type": frame.get("order_type", "")}
        request = message_of(fields, messages.PlaceOrderRequest())
        call = self._orders.stub.PlaceOrder
        return await self._answered("order_accepted", call, request, frame)

    async def cancel(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Cancel an order."""
        request = message_of(frame, messages.CancelOrderRequest())
        call = self._orders.stub.CancelOrder
        return await self._answered("order_cancelled", call, request, frame)

    async def cancel_all(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Cancel all orders of a client."""
        request = message_of(frame, messages.CancelOrdersRequest())
        call = self._orders.stub.CancelOrders
        return await self._answered("orders_cancelled", call, request, frame)

    async def replace(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Change an order."""
        check_numbers(frame)
        request = message_of(frame, messages.ReplaceOrderRequest())
        call = self._orders.stub.ReplaceOrder
        return await self._answered("order_replaced", call, request, frame)

    async def pong(self, _: dict[str, Any]) -> dict[str, Any]:
        """Answer a ping."""
        return {"type": "pong"}

    async def _answered(
        self, kind: str, call: Any, request: Message, frame: dict[str, Any]
    ) -> dict[str, Any]:
        """Call, and give the reply as HTTP does, with the type of a frame."""
        reply = await self._call(call, request, frame)
        content = MessageToDict(
            reply, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        return {"type": kind, **with_whole_numbers(content)}

    async def _call(self, call: Any, request: Message, frame: dict[str, Any]) -> Any:
        """Call once: a client knows best whether to ask again, and others of his frames wait."""
        try:
            metadata = (*self._caller, *name_in(frame))
            return await call(request, timeout=CALL_S, metadata=metadata)
        except grpc.aio.AioRpcError as failure:
            # Any command will do: it says that the call may have been carried out.
            raise error_of(failure, self._orders.connection.address, CancelOrders("")) from None


Handler = Callable[[Session, dict[str, Any]], Awaitable[dict[str, Any]]]
HANDLERS: Final[dict[str, Handler]] = {
    "subscribe": Session.subscribe,
    "unsubscribe": Session.unsubscribe,
    "order": Session.place,
    "cancel": Session.cancel,
    "cancel_all": Session.cancel_all,
    "replace": Session.replace,
    "ping": Session.pong,
}


def handler_of(frame: dict[str, Any]) -> Handler:
    """Find what answers a frame of this type."""
    kind = frame.get("type")
    handler = HANDLERS.get(kind) if isinstance(kind, str) else None
    if handler is None:
        known = ", ".join(HANDLERS)
        raise BadFrame(f"type {shown(kind)} is none of {known}: send one of them")
    return handler


def answering(frame: dict[str, Any], content: dict[str, Any]) -> Frame:
    """Answer a frame, with the client's name for it."""
    request_id = frame.get("request_id")
    if isinstance(request_id, str):
        content = content | {"request_id": request_id[:SHOWN_MAX]}
    return Frame(content | {"timestamp": now_text()})


def listed(kind: str, kinds: list[str], instruments: list[str]) -> dict[str, Any]:
    """Make a `subscribed` or `unsubscribed` without its time."""
    content = {"type": kind, "channels": kinds, "instrument": instruments[0]}
    if len(instruments) > 1:
        content["instruments"] = instruments
    return content
