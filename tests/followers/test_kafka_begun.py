"""Topics that began with a snapshot, opened again before there was a checkpoint of their own."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clients.examples.kafka_book import KafkaBook
from server.core.commands import PlaceOrder, SetInstrument
from server.core.instruments import Instrument
from server.core.types import BUY, E8, LIMIT, SELL
from server.followers import kafka, kafka_checkpoint
from server.followers.journal_reader import Reached
from server.followers.kafka import KafkaFollower
from server.followers.kafka_checkpoint import Checkpoint
from server.followers.levels import LevelFold
from server.followers.messages import BOOK_UPDATES, ORDER_EVENTS
from server.journal.record import BATCH, Record, decode_frame
from server.settings import KafkaSettings
from server.supervisor.embedded.kafka import SCRATCH_NAME
from tests.followers.kafka_site import Broker, Writer, row_of, rows_of
from tests.followers.test_kafka_publisher import empty_topics
from tests.journal.site import INSTRUMENT, Site, every_command, trade

OTHER = "ETH-USD"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path / "kafka")
    broker.start()
    yield broker
    broker.kill()


def bid(instrument: str, price: int) -> PlaceOrder:
    return PlaceOrder("client-1", instrument, BUY, LIMIT, E8, price * E8)


def records_of(site: Site) -> list[Record]:
    return [it for it in map(decode_frame, site.log.follow(0)) if it.kind == BATCH]


def test_they_go_on_from_that_snapshot(broker: Broker, tmp_path: Path) -> None:
    """[I2] Not from a newer one: what lies between is missing still. The book of an instrument for
    which nothing came since goes on from it too."""
    site = Site(tmp_path / "data")
    every_command(site)
    site.commit(SetInstrument(Instrument(OTHER)))
    site.commit(bid(OTHER, 100))
    trade(site, 20)
    site.snapshot()
    begun = site.engine.sequence
    trade(site, 10, seed=2)
    writer = Writer(broker, site.directory, fill_from="snapshot", checkpoint_s=10)
    assert writer.write(records_of(site), whole=False)[0] == begun
    trade(site, 10, seed=3)
    site.snapshot()
    trade(site, 5, seed=4)
    site.commit(bid(OTHER, 101))
    site.close()
    records = records_of(site)
    assert writer.write(records)[0] == begun
    wanted = {it[:3] for it in rows_of(records)[ORDER_EVENTS] if it[0] > begun}
    assert {row_of(it)[:3] for it in broker.messages(ORDER_EVENTS)} == wanted
    for instrument in (INSTRUMENT, OTHER):
        book = KafkaBook(instrument)
        for message in broker.messages(BOOK_UPDATES):
            book.take(message)
        assert book.bids == dict(site.engine.book(instrument).depth(BUY, 1_000))
        assert book.asks == dict(site.engine.book(instrument).depth(SELL, 1_000))


def test_the_loop_is_free_while_books_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a million orders take a second, and other followers share the loop."""
    makers: list[threading.Thread] = []

    class Books(LevelFold):
        @classmethod
        def of(cls, *kept: Any) -> LevelFold:
            makers.append(threading.current_thread())
            return super().of(*kept)

        def snapshots(self, *at: int) -> Any:
            makers.append(threading.current_thread())
            return super().snapshots(*at)

    orders = [(1, INSTRUMENT, BUY, E8, E8)]
    kafka_checkpoint.write(tmp_path, Checkpoint("j", "k", 5, 1, {}, orders, {}))
    monkeypatch.setattr(kafka, "look", lambda _: empty_topics())
    monkeypatch.setattr(kafka, "LevelFold", Books)
    nobody = KafkaFollower("127.0.0.1:1", tmp_path, limits=KafkaSettings(fill_from="snapshot"))

    async def run() -> None:
        assert await nobody.open() == Reached(5, 1)
        await nobody.close()

    asyncio.run(run())
    assert len(makers) == 2
    assert threading.current_thread() not in makers


def test_what_a_killed_broker_leaves_is_gone_with_its_next_start(tmp_path: Path) -> None:
    directory = tmp_path / "kafka"
    Broker(directory)
    left = directory / SCRATCH_NAME / "liblz4-java-1.so"
    left.touch()
    Broker(directory)
    assert not left.exists()
