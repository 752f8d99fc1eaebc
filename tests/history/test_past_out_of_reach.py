"""History that is away, silent, slow or asked too much: who asks is told so, in time."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from server.history import reader
from server.history.reader import History
from server.rpc.parse import OrdersQuery, TradesQuery
from server.settings import GrpcLimits
from tests.followers.conftest import PostgresServer
from tests.history.test_past import Refusal, past_of
from tests.history.written import NAME, Written
from tests.running import START_S


@contextlib.asynccontextmanager
async def orders_locked(database: str) -> AsyncIterator[asyncpg.Connection]:
    """Nobody reads orders meanwhile, but by this connection."""
    connection = await asyncpg.connect(database)
    async with connection.transaction():
        await connection.execute("LOCK TABLE orders")
        yield connection
    await connection.close()


async def waiting(connection: asyncpg.Connection, count: int) -> None:
    """Until so many wait for a lock."""
    async with asyncio.timeout(START_S):
        while await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < count:
            pass  # Each look is a moment for the questions.


def test_a_database_that_is_gone_is_left_alone_for_a_while(
    site: Written, unused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "PAUSE_S", 60.0)

    async def run() -> None:
        history = History(unused)
        past = past_of(site.engine, history)
        for _ in range(3):
            with pytest.raises(Refusal, match="can't be reached"):
                await past.order("s0", None)  # type: ignore[arg-type]
            # Whoever asks now is not to be asked.
            monkeypatch.setattr(history, "_opened", None)
        await history.close()

    asyncio.run(run())


@pytest.mark.parametrize("error", [asyncpg.InterfaceError, asyncpg.InternalClientError])
def test_a_database_that_ends_a_connection_in_use_is_gone(
    site: Written, database: str, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """What its client raises then depends on the moment."""

    async def ended(*_: object) -> None:
        raise error("cannot switch to state 12")

    async def run() -> None:
        await site.fill(database)
        history = History(database)
        monkeypatch.setattr(history, "_look", ended)
        with pytest.raises(Refusal, match="can't be reached"):
            await past_of(site.engine, history).order("s0", None)  # type: ignore[arg-type]
        await history.close()

    asyncio.run(run())


def test_why_a_database_refuses_is_said_once(
    site: Written, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And that it answers again; callers are only told that it can't be reached."""
    monkeypatch.setattr(reader, "PAUSE_S", 0.0)
    said: list[str] = []

    async def run() -> None:
        connection = await asyncpg.connect(filled)
        await connection.execute("DROP ROLE IF EXISTS crowded")
        limited = "LOGIN PASSWORD 'p' CONNECTION LIMIT 0 IN ROLE pg_read_all_data"
        await connection.execute(f"CREATE ROLE crowded {limited}")
        address = urlsplit(filled)
        place = f"crowded:p@{address.hostname}:{address.port}"
        history = History(address._replace(netloc=place).geturl(), say=said.append)
        past = past_of(site.engine, history)
        for _ in range(3):
            with pytest.raises(Refusal, match="can't be reached"):
                await past.order("s0", None)  # type: ignore[arg-type]
        await connection.execute("ALTER ROLE crowded CONNECTION LIMIT -1")
        assert await past.order("s0", None) is not None  # type: ignore[arg-type]
        await history.close()
        await connection.close()

    asyncio.run(run())
    refused, again = said
    why = 'TooManyConnectionsError: too many connections for role "crowded"'
    assert refused == f"history can't be read from postgres ({why}); asking again for each call"
    assert again == "history is read from postgres again"


def test_a_question_that_always_fails_is_not_told_as_answered(
    site: Written, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "PAUSE_S", 0.0)
    said: list[str] = []

    async def run() -> None:
        await site.fill(database)
        connection = await asyncpg.connect(database)
        await connection.execute("ALTER TABLE orders RENAME COLUMN side TO way")
        history = History(database, say=said.append)
        for _ in range(3):
            with pytest.raises(Refusal, match="can't be reached"):
                await past_of(site.engine, history).order("s0", None)  # type: ignore[arg-type]
        await history.close()
        await connection.close()

    asyncio.run(run())
    (refused,) = said
    assert "UndefinedColumnError" in refused


def test_a_database_that_is_silent_holds_nobody_up(
    site: Written, postgres: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paused, it is found out well within a call's time, then left alone; and asked again after."""

    async def run() -> None:
        await site.fill(database)
        history = History(database)
        past = past_of(site.engine, history)
        assert await past.order("s0", None) is not None  # type: ignore[arg-type]
        monkeypatch.setattr(reader, "CONNECT_S", 0.2)
        monkeypatch.setattr(reader, "PAUSE_S", 0.1)
        postgres.signal(signal.SIGSTOP)
        try:
            async with asyncio.timeout(5):
                for _ in range(3):
                    with pytest.raises(Refusal, match="can't be reached"):
                        await past.order("s0", None)  # type: ignore[arg-type]
        finally:
            monkeypatch.undo()
            postgres.signal(signal.SIGCONT)
        async with asyncio.timeout(START_S):
            found = None
            while found is None:
                with contextlib.suppress(Refusal):
                    found = await past.order("s0", None)  # type: ignore[arg-type]
                await asyncio.sleep(0.02)
        await history.close()

    asyncio.run(run())


def test_a_database_that_falls_silent_within_a_question_is_left_alone(
    site: Written, postgres: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of it comes up later."""
    monkeypatch.setattr(reader, "COMMAND_S", 1.0)
    monkeypatch.setattr(reader, "RELEASE_S", 0.1)
    monkeypatch.setattr(reader, "PAUSE_S", 60.0)
    unseen: list[object] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        await site.fill(database)
        history = History(database)
        past = past_of(site.engine, history)
        async with orders_locked(database) as connection:
            asking = asyncio.create_task(past.order("s0", None))  # type: ignore[arg-type]
            await waiting(connection, 1)
            postgres.signal(signal.SIGSTOP)
            try:
                with pytest.raises(Refusal, match="without an answer"):
                    await asking
                # Whoever asks now is not to be asked.
                monkeypatch.setattr(history, "_opened", None)
                with pytest.raises(Refusal, match="can't be reached"):
                    await past.order("s0", None)  # type: ignore[arg-type]
            finally:
                postgres.signal(signal.SIGCONT)
        await history.close()
        gc.collect()

    asyncio.run(run())
    assert unseen == []


def test_a_question_that_takes_too_long_is_refused_alone(
    site: Written, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:

    async def run() -> None:
        history = History(filled)
        past = past_of(site.engine, history)
        async with orders_locked(filled):
            with monkeypatch.context() as soon:
                soon.setattr(reader, "COMMAND_S", 0.3)
                with pytest.raises(Refusal, match="without an answer"):
                    await past.order("s0", None)  # type: ignore[arg-type]
            page = await past.trades(TradesQuery(NAME, 9, (300, 0)), None)  # type: ignore[arg-type]
            assert page is not None
            assert len(page.trades) == 9
        assert await past.order("s0", None) is not None  # type: ignore[arg-type]
        await history.close()

    asyncio.run(run())


@pytest.mark.parametrize("setting", ["statement_timeout", "lock_timeout"])
def test_a_question_that_the_database_gives_up_is_refused_alone(
    site: Written, filled: str, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setattr(reader, "PAUSE_S", 60.0)

    async def run() -> None:
        history = History(f"{filled}?{setting}=200")
        past = past_of(site.engine, history)
        async with orders_locked(filled):
            with pytest.raises(Refusal, match="without an answer"):
                await past.order("s0", None)  # type: ignore[arg-type]
            assert await past.trades(TradesQuery(NAME, 9, (300, 0)), None)  # type: ignore[arg-type]
        await history.close()

    asyncio.run(run())


def test_a_caller_is_told_of_a_slow_database_before_his_time_is_over(
    site: Written, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one for whom no turn came."""
    assert GrpcLimits().deadline_s - 1 >= reader.COMMAND_S
    monkeypatch.setattr(reader, "COMMAND_S", 0.3)

    async def run() -> None:
        history = History(filled)
        async with contextlib.AsyncExitStack() as turns, asyncio.timeout(START_S):
            for _ in range(reader.CONNECTIONS_MAX):
                await turns.enter_async_context(history._turns)
            with pytest.raises(Refusal, match=r"without an answer within 0\.3 s"):
                await past_of(site.engine, history).order("s0", None)  # type: ignore[arg-type]
        await history.close()

    asyncio.run(run())


def test_more_questions_than_connections_wait_for_their_turn(
    site: Written, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That many ask is no sign that the database is away."""

    async def run() -> None:
        history = History(filled)
        past = past_of(site.engine, history)

        def ask() -> asyncio.Task[object]:
            return asyncio.create_task(past.order("s0", None))  # type: ignore[arg-type]

        async with orders_locked(filled) as connection:
            asked = [ask() for _ in range(reader.CONNECTIONS_MAX)]
            await waiting(connection, reader.CONNECTIONS_MAX)
            with monkeypatch.context() as soon:
                soon.setattr(reader, "CONNECT_S", 0.2)
                asked.append(ask())
                assert await asyncio.wait(asked, timeout=0.5) == (set(), set(asked))
        assert None not in await asyncio.gather(*asked)
        await history.close()

    asyncio.run(run())


def test_a_name_that_nobody_can_have_is_no_failure(site: Written, database: str) -> None:
    """One that the database refuses would have history left alone, for every caller."""

    async def run() -> None:
        await site.fill(database)
        history = History(database)
        past = past_of(site.engine, history)
        for name in ("\0", "a\0b", "s0\n", "\u0660", "x" * 65):
            assert await past.order(name, None) is None  # type: ignore[arg-type]
            page = await past.orders(OrdersQuery(name, "", 0, 0, 0, 9), None)  # type: ignore[arg-type]
            assert page.orders == []
            with pytest.raises(Refusal, match="instrument"):
                await past.orders(OrdersQuery("", name, 0, 0, 0, 9), None)  # type: ignore[arg-type]
            assert await past.order("s0", None) is not None  # type: ignore[arg-type]
        await history.close()

    asyncio.run(run())


@pytest.fixture
def unused() -> str:
    """An address at which nothing listens."""
    return "postgresql://nobody@127.0.0.1:1/none"
