"""A trading session with a bounded number of messages in flight, over the ordinary gRPC client.

Outcomes, not replies, are counted: the server may put those of several messages into one. At a
fixed rate a message counts as sent when it is due, so that a wait for room is part of its time.
"""

import asyncio
import time
from collections import deque

import grpc.aio

from bench.drivers.loop import ClosedLoop
from bench.figures import Turn
from exchange.v1 import order_service_pb2

PATH = "/exchange.v1.OrderService/TradingSession"
_OPEN = order_service_pb2.TradingSessionRequest(
    open=order_service_pb2.TradingSessionOpen()
).SerializeToString()


class Refused(Exception):
    """The server refused a command of the stream, of which every engine takes every one."""


async def drive(
    host: str,
    port: int,
    loop: ClosedLoop,
    size: int,
    in_flight: int,
    replies: list[bytes],
    rate: float = 0.0,
) -> Turn:
    """Send messages of `size` commands each, so many a second; 0: as fast as they are answered."""
    async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(PATH)()
        await call.write(_OPEN)
        await call.read()
        free = asyncio.Semaphore(in_flight)
        sent: deque[int] = deque()
        receiver = asyncio.create_task(_receive(call, loop, size, free, sent, replies))
        began_ns, number = time.perf_counter_ns(), 0
        while True:
            due_ns = began_ns + int(number * 1e9 / rate) if rate else 0
            number += 1
            await asyncio.sleep(max(due_ns - time.perf_counter_ns(), 0) / 1e9)
            await free.acquire()
            request = loop.next_request()
            if request is None:
                break
            sent.append(due_ns or request[1])
            await call.write(request[0])
        await call.done_writing()
        await receiver
        loop.finish()
        turn = await loop.turn()
    _check(replies)
    return turn


async def _receive(
    call: "grpc.aio.StreamStreamCall[bytes, bytes]",
    loop: ClosedLoop,
    size: int,
    free: asyncio.Semaphore,
    sent: deque[int],
    replies: list[bytes],
) -> None:
    parse = order_service_pb2.TradingSessionResponse.FromString
    outcomes = 0
    while (reply := await call.read()) is not grpc.aio.EOF:
        assert isinstance(reply, bytes)
        replies.append(reply)
        outcomes += len(parse(reply).outcomes)
        while outcomes >= size:
            outcomes -= size
            loop.answered(sent.popleft(), size)
            free.release()


def _check(replies: list[bytes]) -> None:
    for reply in replies:
        for outcome in order_service_pb2.TradingSessionResponse.FromString(reply).outcomes:
            if outcome.WhichOneof("outcome") == "refused":
                raise Refused(outcome.refused.message)
