"""`exchange up --full`: Redis and Kafka of its own beside PostgreSQL, and what becomes of them."""

import asyncio
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition
from redis import Redis

from server.settings import Settings
from server.supervisor.embedded import kafka as embedded_kafka
from server.supervisor.embedded import postgres as embedded_postgres
from server.supervisor.embedded import redis as embedded_redis
from server.supervisor.embedded.choose import OF_FULL, VARIABLES, choose
from tests.processes.test_up import place
from tests.processes.test_up_postgres import orders
from tests.running import BUSY_S, Everything, Starter, is_there, until

HEALTHY_S = 90.0
"""Java starts beside everything else that runs here."""
INSTALLED_S = 300.0
GONE_S = 1.0
SHOWN_S = 2.0
README = Path(__file__).resolve().parents[2] / "README.md"
FILES = {address.file_name for address in OF_FULL.values()}
_CLIENT = httpx.Client(timeout=10)
OWN = {"postgres": "postgres", "redis": "redis-server", "kafka": "java"}
"""The name of each part's process."""


@pytest.fixture(scope="module")
def full(module_starter: Starter) -> Iterator[Everything]:
    try:
        embedded_redis.install(print)
        embedded_kafka.install(print)
    except (embedded_redis.RedisMissing, embedded_kafka.KafkaMissing) as missing:
        pytest.skip(f"`up --full` is not tested: {missing}")
    exchange = module_starter.up("--full", EXCHANGE_POSTGRES="embedded")
    place(exchange, "before-anything-else")
    wait_healthy(exchange)
    yield exchange
    # At the end of all, they go with `up`, however it ends.
    children = exchange.running.children()
    assert len(children) >= len(OWN)
    exchange.running.kill()
    until(lambda: not any(map(is_there, children)), GONE_S + BUSY_S, "the end of all parts")


def health(exchange: Everything) -> dict[str, Any]:
    told: dict[str, Any] = _CLIENT.get(f"{exchange.http}/healthz").json()
    return told


def wait_healthy(exchange: Everything) -> None:
    told: list[dict[str, Any]] = []

    def is_healthy() -> bool:
        time.sleep(0.05)  # Asking without a pause would take the core that Java starts on.
        told.append(health(exchange))
        return told[-1].get("status") == "healthy"

    until(is_healthy, HEALTHY_S, f"health of all, after {exchange.running.lines}")


def embedded_processes(exchange: Everything) -> dict[str, psutil.Process]:
    children = psutil.Process(exchange.running.pid).children()
    return {name: it for name, program in OWN.items() for it in children if it.name() == program}


def placed_in_topic(data_dir: Path) -> int:
    """Messages in `exchange-orders`."""
    brokers = (data_dir / embedded_kafka.BROKERS_FILE_NAME).read_text("ascii").strip()
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "test", "log_level": 0})
    try:
        topic = consumer.list_topics("exchange-orders", timeout=10).topics["exchange-orders"]
        ends = [
            consumer.get_watermark_offsets(TopicPartition("exchange-orders", each), timeout=10)[1]
            for each in topic.partitions
        ]
        return sum(ends)
    finally:
        consumer.close()


def test_all_parts_are_healthy_and_have_what_happened(
    full: Everything, module_starter: Starter
) -> None:
    data_dir = module_starter.data_dir
    checks = health(full)["checks"]
    assert checks == dict.fromkeys(("journal", "snapshots", *OWN), "healthy")
    known = orders(data_dir)
    assert known >= 1
    place(full, "one")
    until(lambda: orders(data_dir) == known + 1, HEALTHY_S, "the order in the table")
    until(lambda: placed_in_topic(data_dir) == known + 1, HEALTHY_S, "the order in the topic")
    url = (data_dir / embedded_redis.URL_FILE_NAME).read_text("ascii").strip()
    with Redis.from_url(url) as client:
        assert client.ping()


def queries_of_the_readme() -> list[str]:
    texts = re.findall(r"```sql\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return [it for text in texts for it in text.split(";") if it.strip()]


async def rows(data_dir: Path, *queries: str) -> list[list[Any]]:
    """What each of them finds in the tables."""
    url = (data_dir / embedded_postgres.URL_FILE_NAME).read_text("ascii")
    connection = await asyncpg.connect(url.strip())
    try:
        return [await connection.fetch(query) for query in queries]
    finally:
        await connection.close()


def test_the_queries_of_the_readme_find_something(
    full: Everything, module_starter: Starter
) -> None:
    side = {"client_id": "reader", "instrument": "BTC-USD", "type": "limit", "price": 10}
    for order_id, way in (("my-order-1", "sell"), ("other", "buy")):
        order = {**side, "side": way, "quantity": 2, "order_id": order_id}
        assert _CLIENT.post(f"{full.http}/orders", json=order).status_code == 201
    queries = queries_of_the_readme()
    assert len(queries) >= 5

    def all_find() -> bool:
        return all(asyncio.run(rows(module_starter.data_dir, *queries)))

    until(all_find, HEALTHY_S, "rows for each query")


def test_the_book_of_the_readme_has_both_sides(full: Everything, module_starter: Starter) -> None:
    """However deep one of them is."""
    prices = [*(("buy", price) for price in range(11, 41)), ("sell", 42), ("sell", 41)]
    for side, price in prices:
        order = {"client_id": "deep", "side": side, "type": "limit", "price": price, "quantity": 1}
        assert _CLIENT.post(f"{full.http}/orders", json=order).status_code == 201
    (query,) = (it for it in queries_of_the_readme() if "the open orders of a book" in it)
    found: list[tuple[str, int]] = []

    def has_both() -> bool:
        (book,) = asyncio.run(rows(module_starter.data_dir, query))
        found[:] = [(row["side"], int(row["price"])) for row in book]
        return ("sell", 41) in found

    until(has_both, HEALTHY_S, "the last order in the table")
    best_bids = [("buy", price) for price in range(40, 20, -1)]
    assert found == [*best_bids, ("sell", 41), ("sell", 42)]


def test_each_is_a_child_that_shows_no_password(full: Everything, module_starter: Starter) -> None:
    found = embedded_processes(full)
    assert set(found) == set(OWN)
    password = (module_starter.data_dir / embedded_redis.PASSWORD_FILE_NAME).read_text("ascii")
    for line in full.running.command_lines().values():
        assert password not in " ".join(line)
    for name, process in found.items():
        assert not set(VARIABLES.values()) & set(process.environ()), name
        assert (module_starter.data_dir / name).is_dir()


def test_those_that_end_are_started_again_and_orders_are_taken_meanwhile(
    full: Everything, module_starter: Starter
) -> None:
    before = embedded_processes(full)
    known = orders(module_starter.data_dir)
    for process in before.values():
        process.kill()
    until(
        lambda: health(full)["checks"]["kafka"] == "down", SHOWN_S + BUSY_S, "Kafka shown as down"
    )
    place(full, "without-them")
    wait_healthy(full)
    after = embedded_processes(full)
    assert {name: it.pid for name, it in after.items()}.keys() == before.keys()
    assert not {it.pid for it in after.values()} & {it.pid for it in before.values()}
    data_dir = module_starter.data_dir
    until(lambda: orders(data_dir) == known + 1, HEALTHY_S, "the order in the table")
    until(lambda: placed_in_topic(data_dir) == known + 1, HEALTHY_S, "the order in the topic")
    restarts = [line for line in full.running.lines if "is being started again" in line]
    assert {line.split()[1] for line in restarts} == set(OWN), restarts


@pytest.mark.slow
def test_the_first_use_installs_and_says_so(
    starter: Starter, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    """Orders are taken meanwhile."""
    exchange = starter.up("--full", XDG_CACHE_HOME=str(tmp_path / "cache"))
    place(exchange, "while-it-is-installed")
    assert health(exchange)["checks"]["kafka"] == "down"
    until(lambda: health(exchange)["checks"]["kafka"] == "healthy", INSTALLED_S, "Kafka")
    assert health(exchange)["checks"]["redis"] == "healthy"
    told = [line for line in exchange.running.lines if "install" in line]
    assert [line for line in told if line.startswith("kafka    | installing Kafka")]
    assert [line for line in told if line.startswith("redis    | redis is installed")]
    assert exchange.running.terminate() == 0
    figures(f"first use: {told}")


def test_what_is_named_is_not_started(tmp_path: Path) -> None:
    named = Settings(
        tmp_path, postgres_url="postgresql://a", redis_url="redis://b", kafka_brokers="c:1,d:2"
    )
    found = [it.ADDRESS.port(named) for it in (embedded_postgres, embedded_redis, embedded_kafka)]
    assert found == [5432, 6379, 2]
    assert choose(replace(named, full=True)) == (replace(named, full=True), [], "")
    chosen = choose(Settings(tmp_path, postgres="off"))
    assert (chosen.servers, chosen.settings.outside_parts) == ([], [])
    chosen = choose(replace(named, full=True, kafka_brokers=""))
    assert [server.name for server in chosen.servers] == ["kafka"]
    assert chosen.settings.kafka_brokers == f"127.0.0.1:{chosen.servers[0].port}"


def addresses(data_dir: Path) -> set[str]:
    """The files with those of Redis and Kafka that are there."""
    return {name for name in FILES if (data_dir / name).exists()}


def test_an_address_goes_with_its_server(starter: Starter) -> None:
    """Or, where `up` was killed, at the next start without it."""
    data_dir = starter.data_dir
    settings = Settings(data_dir, postgres="off")
    choose(replace(settings, full=True))
    assert addresses(data_dir) == FILES
    choose(replace(settings, redis_url="redis://b"))
    assert addresses(data_dir) == {embedded_redis.ADDRESS.file_name}, "it may be what was named"
    port = int((data_dir / embedded_redis.ADDRESS.file_name).read_text().rpartition(":")[2][:-3])
    with socket.create_server(("127.0.0.1", port)):
        choose(settings)
        assert addresses(data_dir) == {embedded_redis.ADDRESS.file_name}, "it runs alone"
    choose(settings)
    assert addresses(data_dir) == set()
    running = starter.up("--full", "--kafka-brokers", "127.0.0.1:1").running
    assert addresses(data_dir) == {embedded_redis.ADDRESS.file_name}
    assert running.terminate() == 0
    assert addresses(data_dir) == set()
