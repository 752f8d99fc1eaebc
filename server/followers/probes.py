"""Whether the outside parts answer, asked of each in turn, and told to the server.

A follower with nothing to write would not notice that its part died, so each part is asked a
small question every `INTERVAL_S`; no answer within `ANSWER_S` is a part that is down. With what
`Following` knows (how far it is, why it does not go on) that goes to the server every `INTERVAL_S`,
whatever the question takes: the server shows what it last heard, and takes a process that it does
not hear for dead. So a part that dies shows within about 1.5 s, and a slow one holds up nobody.

After `BREAKER_FAILURES` questions in a row without an answer the part is asked each `BREAKER_S`
only. A line is said when it stops answering and when it answers again, never for each question, and
of a part that comes and goes no more than `OutageLines` lets through.

All of this runs in a thread with a loop of its own: a snapshot that is written, or a large batch
of rows, holds the loop of the followers for longer than a part may be silent. What is read of them
from here are single attributes.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

import grpc

from exchange.v1.part_service_pb2 import PartReport, ReportPartsRequest
from exchange.v1.part_service_pb2_grpc import PartServiceStub
from server.followers.following import Following
from server.followers.journal_reader import CHANNEL_OPTIONS
from server.outage_lines import OutageLines, reason
from server.settings import Settings

INTERVAL_S: Final = 0.4
ANSWER_S: Final = 1.0
"""For the whole question, a new connection included."""
BREAKER_FAILURES: Final = 8
"""In a row, without an answer: some 3 s where it refuses, 11 s where it is silent."""
BREAKER_S: Final = 2.0
"""Between questions to a part that keeps failing: one that is back shows within that."""


class Probe(Protocol):
    """A question to one part."""

    async def ask(self) -> None:
        """Return once it has answered; raise if it can't."""

    async def close(self) -> None:
        """Let go of its connection; may be called at any time, also twice."""


class PostgresProbe:
    """A statement on a connection that is kept."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    async def ask(self) -> None:
        if self._connection is None:
            import asyncpg

            self._connection = await asyncpg.connect(
                self._url, server_settings={"application_name": "exchange health"}
            )
        await self._connection.execute("SELECT 1")

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


class KafkaProbe:
    """The list of its topics, asked of a broker."""

    def __init__(self, brokers: str) -> None:
        self._client: dict[str, str | int | float | bool] = {
            "bootstrap.servers": brokers,
            "client.id": "exchange-health",
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 500,
            "log_level": 0,
        }
        self._admin: Any = None

    async def ask(self) -> None:
        if self._admin is None:
            from confluent_kafka.admin import AdminClient

            self._admin = AdminClient(self._client)
        # In a thread until it gives up by itself, so that no two are on their way.
        await asyncio.to_thread(self._admin.list_topics, timeout=0.9 * ANSWER_S)

    async def close(self) -> None:
        """The client connects again by itself."""


class RedisProbe:
    """`PING` on a connection that is kept."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Any = None

    async def ask(self) -> None:
        if self._client is None:
            from server.redis_client import redis_client

            self._client = redis_client(self._url)
        await self._client.ping()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


class Probing:
    """One part: asked by `run`, told about by `report`."""

    def __init__(self, probe: Probe, following: Following, say: Callable[[str], None]) -> None:
        self.name = following.name
        self._probe = probe
        self._following = following
        self._say = say
        self._problem = "not asked yet"
        self._failures = 0
        self._said = False

    def report(self) -> PartReport:
        """What the server is told: everything up to its sequence is there."""
        return PartReport(
            name=self.name,
            sequence=self._following.reached.sequence,
            problem=self._problem or self._following.problem,
            takes_journal=True,
        )

    async def run(self) -> None:
        """Ask until it is cancelled."""
        try:
            while True:
                await self._ask()
                broken = self._failures >= BREAKER_FAILURES
                await asyncio.sleep(BREAKER_S if broken else INTERVAL_S)
        finally:
            await self._probe.close()

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._probe.ask()
        except TimeoutError:
            await self._failed(f"no answer within {ANSWER_S:.0f} s")
        except Exception as error:  # whatever an outside part answers with
            await self._failed(reason(error))
        else:
            if self._said:
                self._say(f"{self.name} answers again")
            self._problem, self._failures, self._said = "", 0, False

    async def _failed(self, problem: str) -> None:
        # Else its follower has said so already.
        if not self._failures and not self._following.problem:
            self._said = True
            self._say(f"{self.name} does not answer ({problem}); asking until it does")
        self._problem = problem
        self._failures += 1
        with contextlib.suppress(Exception):
            await self._probe.close()


def probings(
    settings: Settings, followings: list[Following], say: Callable[[str], None]
) -> list[Probing]:
    """The parts that are followed."""
    probes: dict[str, Probe] = {
        "postgres": PostgresProbe(settings.postgres_url),
        "kafka": KafkaProbe(settings.kafka_brokers),
        "redis": RedisProbe(settings.redis_url),
    }
    return [Probing(probes[each.name], each, OutageLines(say)) for each in followings]


def probe(parts: list[Probing], address: str) -> None:
    """Ask the parts, and tell the server, for as long as this process lives."""
    if parts:
        thread = threading.Thread(
            target=lambda: asyncio.run(_probe(parts, address)), name="health", daemon=True
        )
        thread.start()


async def _probe(parts: list[Probing], address: str) -> None:
    await asyncio.gather(_report(parts, address), *(part.run() for part in parts))


async def _report(parts: list[Probing], address: str) -> None:
    # Not the asynchronous client, which belongs to the other loop.
    with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        tell = PartServiceStub(channel).ReportParts
        while True:
            with contextlib.suppress(grpc.RpcError):
                # A server that is not there is said by who reads its journal.
                request = ReportPartsRequest(parts=[part.report() for part in parts])
                await asyncio.to_thread(tell, request, timeout=ANSWER_S)
            await asyncio.sleep(INTERVAL_S)
