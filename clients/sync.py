"""The exchange for programs without asyncio: the same methods, each waiting for its answer.

    with SyncExchangeClient("127.0.0.1:50051") as exchange:
        placed = exchange.place(PlaceOrder("alice", "BTC-USD", "buy", 1, price=100))
        for book in exchange.follow_book("BTC-USD"):
            print(book.best_bid, book.best_ask)

It is the asyncio client in an event loop of its own, in a thread of its own: what calls do, raise
and promise is said there. What is an async generator there is a generator here; leaving it early
closes the stream. Any number of threads may call at once, each generator belongs to one of them.
Callbacks (`on_interruption`) run in the loop's thread while the caller waits; what they ask of the
client themselves is refused with a `RuntimeError`. Whatever threads still wait for when it is
closed ends with a `RuntimeError` that says so.

Raw messages of a trading session (`TradingSession.exchange`) are for programs that count
microseconds and have no counterpart: a hop between threads costs about a hundred.
"""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from clients import ADDRESS
from clients.client import ExchangeClient
from clients.connection import FORKED
from clients.order_wire import Outcome
from clients.requests import Command
from clients.retries import Retries
from clients.session import SEND_S, TradingSession

P = ParamSpec("P")
T = TypeVar("T")


CALLED_BACK = (
    "this is the thread of the client's loop, which would wait for itself: let a callback hand "
    "what it wants of the client to another thread"
)


class _ClosedError(RuntimeError):
    def __init__(self) -> None:
        super().__init__("this client has been closed; open another one with `with`")


class _Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._process_id = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="exchange", daemon=True)
        self._thread.start()
        # The collector may close a generator, which has its turn, in the middle of another one.
        self._turn = threading.RLock()
        self._is_closed = False
        self._works: set[asyncio.Task[Any]] = set()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        ended = threading.Event()
        telling = self._telling(work, ended)
        try:
            if self.is_here:
                raise RuntimeError(CALLED_BACK)
            with self._turn:
                future = self._begun(telling)
        except RuntimeError:
            telling.close()
            work.close()
            raise
        try:
            return future.result()
        except BaseException as error:  # of the work, or Ctrl-C in the thread that waits for it
            future.cancel()
            # A generator can't be closed, or a client, while the work is still at it.
            ended.wait()
            if isinstance(error, CancelledError):
                # Who closes has the turn until that is known.
                with self._turn:
                    if self._is_closed:
                        raise _ClosedError from None
            raise

    @property
    def is_here(self) -> bool:
        """Whether this is the loop's thread, which can't wait for itself."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """Nothing is left waiting for it."""
        with self._turn:
            ended = self._begun(_end_all(self._works))
            self._is_closed = True
        ended.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _begun(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self._is_closed:
            raise _ClosedError
        # Not whether its thread is alive: Ctrl-C within that question has Python take it for dead.
        if self._process_id != os.getpid():
            raise RuntimeError(FORKED)
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _telling(self, work: Coroutine[Any, Any, T], ended: threading.Event) -> T:
        task = cast("asyncio.Task[T]", asyncio.current_task())
        self._works.add(task)
        try:
            return await work
        finally:
            self._works.discard(task)
            ended.set()


async def _end_all(works: set[asyncio.Task[Any]]) -> None:
    for task in works:
        task.cancel()
    await asyncio.gather(*works, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
    # gRPC's own wait for the ends of calls, which it would tell a loop that is closed.
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


def _waiting(
    method: Callable[Concatenate[ExchangeClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["SyncExchangeClient", P], T]:
    """The method, for a caller who waits."""

    @wraps(method)
    def call(self: "SyncExchangeClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._loop.run(method(self._client, *args, **kwargs))

    return call


def _generating(
    method: Callable[Concatenate[ExchangeClient, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate["SyncExchangeClient", P], Generator[T, None, None]]:
    """The async generator, for a caller who waits for each value."""

    @wraps(method)
    def call(
        self: "SyncExchangeClient", /, *args: P.args, **kwargs: P.kwargs
    ) -> Generator[T, None, None]:
        loop = self._loop
        values = method(self._client, *args, **kwargs)
        try:
            while True:
                try:
                    value = loop.run(_anext(values))
                except StopAsyncIteration:
                    return
                yield value
        finally:
            # Where the collector of garbage ends it in the loop's thread, asyncio closes it.
            if not loop.is_here:
                with suppress(_ClosedError):
                    loop.run(values.aclose())

    return call


async def _anext(values: AsyncGenerator[T, None]) -> T:
    return await anext(values)


class SyncExchangeClient:
    """One connection to the exchange; use with `with`."""

    def __init__(self, address: str = ADDRESS, *, retries: Retries | None = None) -> None:
        self._client = ExchangeClient(address, retries=retries)
        self._running: _Loop | None = None

    def __enter__(self) -> Self:
        loop = _Loop()
        try:
            loop.run(self._client.__aenter__())
        except BaseException:
            loop.close()
            raise
        self._running = loop
        return self

    @property
    def _loop(self) -> _Loop:
        if self._running is None:
            raise RuntimeError("this client is not open: use it within `with`")
        return self._running

    def __exit__(self, *_: object) -> None:
        try:
            self._loop.run(self._client.__aexit__())
        finally:
            self._loop.close()

    def trading_session(
        self, *, client_id: str = "", cancel_on_disconnect: bool = False
    ) -> "SyncTradingSession":
        """A two-way stream of commands and outcomes: `with` opens it."""
        loop = self._loop
        session = self._client.trading_session(
            client_id=client_id, cancel_on_disconnect=cancel_on_disconnect
        )
        return SyncTradingSession(loop, session)

    connect = _waiting(ExchangeClient.connect)
    place = _waiting(ExchangeClient.place)
    place_many = _waiting(ExchangeClient.place_many)
    replace = _waiting(ExchangeClient.replace)
    cancel = _waiting(ExchangeClient.cancel)
    cancel_all = _waiting(ExchangeClient.cancel_all)
    order = _waiting(ExchangeClient.order)
    orders = _generating(ExchangeClient.orders)
    instruments = _waiting(ExchangeClient.instruments)
    book = _waiting(ExchangeClient.book)
    books = _waiting(ExchangeClient.books)
    trades = _generating(ExchangeClient.trades)
    ticker = _waiting(ExchangeClient.ticker)
    statistics = _waiting(ExchangeClient.statistics)
    analytics = _waiting(ExchangeClient.analytics)
    positions = _waiting(ExchangeClient.positions)
    fee_accounts = _waiting(ExchangeClient.fee_accounts)
    parts = _waiting(ExchangeClient.parts)
    status = _waiting(ExchangeClient.status)
    set_instrument = _waiting(ExchangeClient.set_instrument)
    set_fees = _waiting(ExchangeClient.set_fees)
    set_log_level = _waiting(ExchangeClient.set_log_level)
    remove_follower = _waiting(ExchangeClient.remove_follower)
    create_snapshot = _waiting(ExchangeClient.create_snapshot)
    settle = _waiting(ExchangeClient.settle)
    stream_book = _generating(ExchangeClient.stream_book)
    stream_ticker = _generating(ExchangeClient.stream_ticker)
    stream_trades = _generating(ExchangeClient.stream_trades)
    stream_order_events = _generating(ExchangeClient.stream_order_events)
    follow_book = _generating(ExchangeClient.follow_book)
    follow_book_messages = _generating(ExchangeClient.follow_book_messages)
    follow_ticker = _generating(ExchangeClient.follow_ticker)
    follow_trades = _generating(ExchangeClient.follow_trades)
    follow_order_events = _generating(ExchangeClient.follow_order_events)


class SyncTradingSession:
    """Open within `with`; from `SyncExchangeClient.trading_session`."""

    def __init__(self, loop: _Loop, session: TradingSession) -> None:
        self._loop = loop
        self._session = session

    def __enter__(self) -> Self:
        self._loop.run(self._session.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.run(self._session.__aexit__(kind, error, traceback))

    @property
    def session_id(self) -> int:
        """The exchange's number for it; 0 without cancel on disconnect."""
        return self._session.session_id

    @property
    def opened_sequence(self) -> int:
        """The sequence at which it was opened."""
        return self._session.opened_sequence

    def send(self, commands: Sequence[Command], timeout_s: float = SEND_S) -> list[Outcome]:
        """The commands' outcomes, in their order; any number of threads may send at once."""
        return self._loop.run(self._session.send(commands, timeout_s))
