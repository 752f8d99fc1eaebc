"""Clients that are closed, cancelled or forked while something goes on: it ends, and says so."""

import asyncio
import gc
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack, aclosing, suppress
from importlib import resources
from types import SimpleNamespace
from typing import Any, Literal, cast

import grpc
import psutil
import pytest

from clients import sync
from clients.client import ExchangeClient
from clients.errors import ExchangeError, OutcomeUnknownError, UnavailableError
from clients.requests import PlaceOrder
from clients.retries import Retries
from clients.session import TradingSession
from clients.sync import SyncExchangeClient
from exchange.v1 import order_service_pb2 as orders_pb2
from tests.clients.fake_exchange import FakeExchange
from tests.clients.faults import hang
from tests.clients.test_session import answer_none
from tests.running import free_port, until

BUY = PlaceOrder("alice", "BTC-USD", "buy", 1, price=2)
CLOSED = "this client has been closed"


@pytest.mark.asyncio
async def test_what_goes_on_ends_with_an_error_and_not_as_if_cancelled(
    fake: FakeExchange, address: str
) -> None:
    """A group of tasks would take a cancelled one for what was meant, and go on without it."""
    told = asyncio.Event()
    fake.orders.losses = [hang]

    async def read(exchange: ExchangeClient) -> None:
        async with aclosing(exchange.follow_trades()) as messages:
            async for _ in messages:
                told.set()

    async with asyncio.timeout(10):
        async with ExchangeClient(address) as exchange, ExchangeClient(fake.address) as hanging:
            reading = asyncio.create_task(read(exchange))
            placing = asyncio.create_task(hanging.place(BUY))
            await told.wait()
            while not fake.orders.requests:  # noqa: ASYNC110 - what another task brings about
                await asyncio.sleep(0.005)
        with pytest.raises(RuntimeError, match=CLOSED):
            await reading
        with pytest.raises(OutcomeUnknownError, match="closed before the answer came") as caught:
            await placing
    assert isinstance(caught.value.request, PlaceOrder)
    assert caught.value.request.idempotency_key
    with pytest.raises(RuntimeError, match="is not open: use it within `async with`"):
        await exchange.status()


@pytest.mark.asyncio
async def test_memory_of_a_stream_is_free_when_it_is_left(address: str) -> None:
    """The collector counts objects, of which there are few; what was sent and not read is more."""
    async with asyncio.timeout(10), ExchangeClient(address) as exchange:
        gc.collect()
        gc.disable()
        try:
            async with aclosing(exchange.follow_trades()) as messages:
                async for _ in messages:
                    break
            left = [it for it in gc.get_objects() if type(it).__name__ == "UnaryStreamCall"]
        finally:
            gc.enable()
        assert not left


async def _connecting(exchange: ExchangeClient, _: TradingSession) -> None:
    await exchange.connect()


async def _sending(_: ExchangeClient, session: TradingSession) -> None:
    await session.send([BUY])


async def _sending_messages(_: ExchangeClient, session: TradingSession) -> None:
    message = orders_pb2.TradingSessionRequest()
    message.commands.add(request_id=1)
    await anext(session.exchange([message]))


async def _leaving(_: ExchangeClient, session: TradingSession) -> None:
    await session.__aexit__(None, None, None)


async def _leaving_after_use(exchange: ExchangeClient, session: TradingSession) -> None:
    with suppress(OutcomeUnknownError):
        await session.send([BUY])
    await _leaving(exchange, session)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "work", [_connecting, _sending, _sending_messages, _leaving, _leaving_after_use]
)
async def test_sessions_and_connecting_end_with_an_error_too(
    work: Callable[[ExchangeClient, TradingSession], Coroutine[Any, Any, None]],
    fake: FakeExchange,
) -> None:
    fake.orders.session = answer_none
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nobody = f"127.0.0.1:{silent.getsockname()[1]}"
        for turns in (1, 2, 3, 5, 8, 13, 21):  # of the loop: each is closed a little further on
            async with asyncio.timeout(10), AsyncExitStack() as clients:
                connecting = await clients.enter_async_context(ExchangeClient(nobody))
                exchange = await clients.enter_async_context(ExchangeClient(fake.address))
                session = await exchange.trading_session().__aenter__()
                working = asyncio.create_task(work(connecting, session))
                for _ in range(turns):
                    await asyncio.sleep(0)
            (outcome,) = await asyncio.gather(working, return_exceptions=True)
            assert outcome is None or isinstance(outcome, ExchangeError | RuntimeError)


@pytest.mark.asyncio
async def test_a_client_that_is_closed_while_a_session_says_its_last(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC's threads rarely leave time between the two, so its failure is raised here."""
    async with asyncio.timeout(10), AsyncExitStack() as clients:
        exchange = await clients.enter_async_context(ExchangeClient(address))
        session = await exchange.trading_session().__aenter__()

        async def done_writing() -> None:
            await clients.aclose()
            raise grpc.aio.InternalError('Failed "execute_batch"')

        monkeypatch.setattr(session._call, "done_writing", done_writing)
        with pytest.raises(UnavailableError, match="has been closed"):
            await session.__aexit__(None, None, None)


@pytest.mark.asyncio
async def test_a_send_that_is_cancelled_harms_no_other(address: str) -> None:
    """gRPC would end the whole session with a task that is cancelled while it writes."""
    async with (
        ExchangeClient(address) as exchange,
        exchange.trading_session(client_id="alice", cancel_on_disconnect=True) as session,
    ):
        for turns in range(1, 20):  # of the loop: each is cancelled a little further on
            sending = asyncio.create_task(session.send([BUY]))
            for _ in range(turns):
                await asyncio.sleep(0)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            assert len(await session.send([BUY, BUY])) == 2


@pytest.mark.asyncio
async def test_each_client_has_a_connection_of_its_own_and_straight_to_the_exchange(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own flow control, and whatever proxy there is for web pages."""
    for name in ("no_grpc_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("grpc_proxy", f"http://127.0.0.1:{free_port()}")
    port = int(address.rpartition(":")[2])

    def connections() -> set[int]:
        every = psutil.Process().net_connections("tcp")
        return {each.laddr.port for each in every if each.raddr and each.raddr.port == port}

    before = connections()  # of a test before, perhaps, and about to go
    async with ExchangeClient(address) as one, ExchangeClient(address) as other:
        await asyncio.gather(one.status(), other.status())
        assert len(connections() - before) == 2


@pytest.mark.asyncio
async def test_sessions_are_opened_once_and_before_they_are_used(fake: FakeExchange) -> None:
    async with ExchangeClient(fake.address) as exchange:
        session = exchange.trading_session()
        with pytest.raises(RuntimeError, match="is not open: use it within `async with`"):
            await session.send([BUY])
        async with session:
            pass
        with pytest.raises(RuntimeError, match="opened once; ask the client for another one"):
            await session.__aenter__()


@pytest.mark.asyncio
async def test_a_client_that_is_open_is_not_opened_again(fake: FakeExchange) -> None:
    """Who has it open would lose his connection to who opens it then."""
    async with ExchangeClient(fake.address) as exchange:
        with pytest.raises(RuntimeError, match="is open already; open another one"):
            await exchange.__aenter__()
        assert (await exchange.place(BUY)).order.order_id


def test_a_client_for_threads_that_is_open_is_not_opened_again(address: str) -> None:
    exchange = SyncExchangeClient(address)
    for _ in range(2):  # one that was closed is opened anew
        with exchange:
            before = threading.active_count()
            with pytest.raises(RuntimeError, match="is open already; open another one"):
                exchange.__enter__()
            assert exchange.status().epoch
            assert threading.active_count() == before


@pytest.mark.asyncio
async def test_a_task_that_is_cancelled_stays_cancelled(fake: FakeExchange) -> None:
    fake.orders.losses = [hang]
    async with ExchangeClient(fake.address) as exchange:
        placing = asyncio.create_task(exchange.place(BUY))
        await asyncio.sleep(0.01)
        placing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await placing


@pytest.mark.asyncio
async def test_a_session_cancelled_while_it_opens_leaves_nothing(address: str) -> None:
    async with ExchangeClient(address) as exchange, ExchangeClient(address) as other:
        await exchange.connect()
        before = asyncio.all_tasks()

        async def trade() -> None:
            async with exchange.trading_session(client_id="alice", cancel_on_disconnect=True):
                await asyncio.Event().wait()

        for turns in range(40):
            opening = asyncio.create_task(trade())
            for _ in range(turns):  # of the loop: each ends it a little further on
                await asyncio.sleep(0)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
        async with asyncio.timeout(10):
            while asyncio.all_tasks() - before:  # noqa: ASYNC110 - gRPC's own, as they end
                await asyncio.sleep(0.005)
            while (await other.status()).open_sessions:  # noqa: ASYNC110 - the server's
                await asyncio.sleep(0.005)


@pytest.mark.parametrize("is_there", [True, False])
def test_threads_that_read_or_wait_for_another_attempt_are_told(
    is_there: bool, address: str
) -> None:
    ends: list[str] = []
    begun = threading.Semaphore(0)
    waiting = Retries(delay_first_s=60, delay_max_s=60, overall_s=600)
    place = address if is_there else f"127.0.0.1:{free_port()}"

    def read(exchange: SyncExchangeClient) -> None:
        try:
            for _ in exchange.follow_trades(on_interruption=lambda _: begun.release()):
                begun.release()
        except RuntimeError as error:
            ends.append(str(error))

    with SyncExchangeClient(place, retries=waiting) as exchange:
        threads = [threading.Thread(target=read, args=(exchange,), daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert begun.acquire(timeout=10)
    until(lambda: len(ends) == len(threads), 10)
    assert all(end.startswith(CLOSED) for end in ends)


def test_ctrl_c_ends_what_a_generator_waits_for_before_the_generator() -> None:
    main = cast("int", threading.main_thread().ident)

    async def ending_slowly(_: ExchangeClient) -> AsyncGenerator[int, None]:
        waiting = threading.Condition.wait.__code__
        while sys._current_frames()[main].f_code is not waiting:  # noqa: ASYNC110 - a thread's
            await asyncio.sleep(0)
        signal.pthread_kill(main, signal.SIGINT)
        try:
            await asyncio.Event().wait()
            yield 1
        finally:
            for _turn in range(10):  # of the loop, such as the end of a call takes
                await asyncio.sleep(0)

    with SyncExchangeClient(f"127.0.0.1:{free_port()}") as exchange:
        values = sync._generating(ending_slowly)(exchange)
        with pytest.raises(KeyboardInterrupt):
            next(values)


def test_tasks_of_grpc_that_wait_for_the_end_of_a_call_see_it() -> None:
    """What came later another client's loop would hand to the closed one, and print a failure."""
    tasks: list[asyncio.Task[Literal[True]]] = []

    async def called(_: ExchangeClient) -> AsyncGenerator[int, None]:
        ended = asyncio.Event()
        tasks.append(asyncio.create_task(ended.wait()))
        try:
            yield 1
        finally:
            ended.set()

    with SyncExchangeClient(f"127.0.0.1:{free_port()}") as exchange:
        values = sync._generating(called)(exchange)
        next(values)
    (task,) = tasks
    assert not task.cancelled()
    assert task.result()


FORKING = """
import os, sys
from clients.sync import SyncExchangeClient

def anew():
    with SyncExchangeClient(sys.argv[1]) as own:
        own.status()

with SyncExchangeClient(sys.argv[1]) as exchange:
    exchange.status()
    for use in (exchange.status, anew):
        child = os.fork()
        if not child:
            try:
                use()
            except RuntimeError as error:
                print(error, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    print(exchange.status().version)
"""


def test_a_forked_process_is_told_instead_of_waiting_for_ever(address: str) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, address],
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=True,
    )
    inherited, opened, version = run.stdout.splitlines()
    for said in (inherited, opened):
        assert said.startswith("this process was forked while a client was open")
        assert "spawn" in said
    assert version


FORKING_LATER = """
import asyncio, os, sys
from clients.client import ExchangeClient
from clients.sync import SyncExchangeClient

async def asked():
    async with ExchangeClient(sys.argv[1]) as exchange, exchange.trading_session() as session:
        await exchange.status()
    return exchange, session

with SyncExchangeClient(sys.argv[1]) as exchange:
    exchange.status()
    trades = exchange.follow_trades()
    next(trades)
other, session = asyncio.run(asked())
for _ in range(2):
    child = os.fork()
    if not child:
        try:
            with SyncExchangeClient(sys.argv[1]) as own:
                print(own.status().version, flush=True)
        except RuntimeError as error:
            print(error, flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    session = None
"""


def test_a_process_forked_after_its_clients_were_closed_opens_its_own(address: str) -> None:
    """What keeps a part of gRPC alive is told of: it would end the process at its first call."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING_LATER, address],
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=True,
    )
    kept, version = run.stdout.splitlines()
    assert "a session or stream of one was kept" in kept
    assert version


@pytest.mark.parametrize("package", ["clients", "exchange"])
def test_type_checkers_of_other_programs_read_the_types(package: str) -> None:
    assert (resources.files(package) / "py.typed").is_file()


def test_a_thread_that_ends_before_the_one_that_closes_goes_on_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends: list[str] = []
    begun = threading.Event()
    waiting = Retries(delay_first_s=60, delay_max_s=60, overall_s=600)

    def read(exchange: SyncExchangeClient) -> None:
        try:
            for _ in exchange.follow_trades(on_interruption=lambda _: begun.set()):
                pass
        except BaseException as error:
            ends.append(str(error))

    def schedule(work: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Future[Any]:
        future = asyncio.run_coroutine_threadsafe(work, loop)
        if getattr(work, "__name__", "") == "_end_all":
            future.result()
            # Long enough for one who does not wait for his turn.
            thread.join(0.05)
        return future

    with SyncExchangeClient(f"127.0.0.1:{free_port()}", retries=waiting) as exchange:
        thread = threading.Thread(target=read, args=(exchange,), daemon=True)
        thread.start()
        assert begun.wait(10)
        there = SimpleNamespace(**{**vars(asyncio), "run_coroutine_threadsafe": schedule})
        monkeypatch.setattr(sync, "asyncio", there)
    thread.join(10)
    (end,) = ends
    assert end.startswith(CLOSED)
