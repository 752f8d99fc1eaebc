"""Book streams, each opened, read up to its snapshot and left, some at a time."""

import asyncio

import grpc.aio

from bench.drivers.loop import ClosedLoop
from bench.figures import Turn

PATH = "/exchange.v1.MarketData/StreamOrderBook"


async def drive(host: str, port: int, loop: ClosedLoop, in_flight: int) -> Turn:
    """Open streams until time is up."""
    async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
        opened: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(PATH)

        async def open_streams() -> None:
            while request := loop.next_request():
                message, sent_ns = request
                call: grpc.aio.UnaryStreamCall[bytes, bytes] = opened(message)
                if await call.read() is grpc.aio.EOF:
                    loop.fail(f"a book stream ended: {await call.details()}")
                call.cancel()
                loop.answered(sent_ns)

        await asyncio.gather(*(open_streams() for _ in range(in_flight)))
        loop.finish()
        return await loop.turn()
