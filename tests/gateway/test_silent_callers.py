"""Who falls silent behind the gateway is found out, as the server itself finds it out."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from exchange.v1.order_service_pb2 import TradingSessionOpen, TradingSessionRequest
from exchange.v1.order_service_pb2_grpc import OrderServiceStub
from gateway import configuration, envoy
from tests.clients.cut_line import cut_line
from tests.rpc.served import BUY, Served, order, serving, until
from tests.running import free_port

pytestmark = pytest.mark.asyncio

OPENING = TradingSessionRequest(open=TradingSessionOpen(cancel_on_disconnect=True, client_id="A"))
OPENING.commands.add().place.CopyFrom(order("A", BUY, 100, order_id="a1"))


@asynccontextmanager
async def gateway(served: Served) -> AsyncIterator[str]:
    """An Envoy in front of a server: its address."""
    port = free_port()
    addresses = envoy.DefaultAddresses("127.0.0.1", port, served.address)
    with os.fdopen(envoy.written(addresses)) as file:
        process = await asyncio.create_subprocess_exec(
            *envoy.command(file.fileno()), pass_fds=(file.fileno(),)
        )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


async def opened(channel: grpc.aio.Channel) -> Any:
    """A session that is open; at first Envoy has yet to start, and to find the server healthy."""
    while True:
        call = OrderServiceStub(channel).TradingSession(wait_for_ready=True)
        try:
            await call.write(OPENING)
            if await call.read() is not grpc.aio.EOF:
                return call
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
        await asyncio.sleep(0.05)


async def test_cancel_on_disconnect_of_a_caller_that_falls_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "PING_S", 1)
    monkeypatch.setattr(configuration, "PING_TIMEOUT_S", 1)
    async with (
        serving(tmp_path / "data") as served,
        gateway(served) as address,
        cut_line(address) as line,
        grpc.aio.insecure_channel(address) as quiet,
        grpc.aio.insecure_channel(line.address) as silent,
    ):
        async with asyncio.timeout(30):
            staying, _ = await opened(quiet), await opened(silent)
            (stays, ends) = served.engine.open_sessions()
            line.carries.clear()
            await until(lambda: served.engine.open_sessions() == [stays])
        assert ends > stays
        assert not staying.done(), "who is quiet, and there, is left alone"
