"""The mirror is the book, or says that it is not."""

import random
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact, localcontext
from typing import Any

import pytest
from google_crc32c import value

import clients.mirror
from clients.mirror import SORTED_COUNT, BookMirror, OutOfStepError
from clients.types import Level
from exchange.v1.market_data_pb2 import StreamOrderBookResponse
from tests.clients.book_messages import E8, BookServer

BTC = "BTC-USD"


def level(price: str, quantity: str) -> Level:
    return Level(Decimal(price), Decimal(quantity))


def test_snapshot_and_delta() -> None:
    server, mirror = BookServer(), BookMirror(BTC)
    assert (mirror.begun, mirror.sequence, mirror.book().sequence) == (False, 0, 0)
    assert (mirror.best_bid, mirror.mid, mirror.restarted) == (None, None, "")
    server.change(7, bids={100 * E8: 2 * E8, 99 * E8: E8}, asks={101 * E8: 3 * E8})
    mirror.take(server.snapshot())
    assert (mirror.begun, mirror.sequence + 1) == (True, 8)
    assert (mirror.best_bid, mirror.best_ask) == (level("100", "2"), level("101", "3"))
    assert mirror.mid == Decimal("100.5")
    mirror.take(server.change(8, bids={100 * E8: 0}, asks={100 * E8 + 1: 1}))
    book = mirror.book()
    assert book.bids == (level("99", "1"),)
    assert book.asks == (level("100.00000001", "0.00000001"), level("101", "3"))
    assert (book.instrument, book.sequence) == (BTC, 8)
    assert book.time == mirror.time == datetime(1970, 1, 1, 0, 0, 8, tzinfo=UTC)
    assert (mirror.restarted, mirror.restart_count) == ("", 0)


def test_mid_is_exact_whatever_the_caller_computes_with() -> None:
    server, mirror = BookServer(), BookMirror(BTC)
    largest = 2**63 - 1
    server.change(1, bids={largest - 1: 1}, asks={largest: 1})
    mirror.take(server.snapshot())
    with localcontext(Context(prec=5, traps=[Inexact])):
        assert str(mirror.mid) == "92233720368.547758065"


def test_a_book_with_one_side_has_no_mid() -> None:
    for bids, asks in (({5: 1}, None), (None, {5: 1})):
        server, mirror = BookServer(), BookMirror(BTC)
        server.change(1, bids, asks)
        mirror.take(server.snapshot())
        assert mirror.mid is None


def test_levels_are_best_first_and_counted() -> None:
    server, mirror = BookServer(), BookMirror(BTC)
    server.change(1, bids={price * E8: E8 for price in range(1, 31)})
    mirror.take(server.snapshot())
    assert mirror.depth("buy") == len(mirror.levels("buy")) == 30
    assert [each.price for each in mirror.levels("buy", 2)] == [30, 29]
    assert mirror.levels("buy", 0) == ()
    assert len(mirror.book().bids) == 20
    assert len(mirror.book(None).bids) == 30
    with pytest.raises(ValueError, match="middle"):
        mirror.levels("middle")


def test_checksum_is_the_contract_s() -> None:
    """Computed here by hand from the contract's words, not by the code under test."""
    mirror = BookMirror(BTC)
    message = StreamOrderBookResponse(snapshot=True, sequence=3, previous_sequence=3)
    for price in range(1, 13):
        message.bids.add(price_e8=price, quantity_e8=5)
    message.asks.add(price_e8=20, quantity_e8=6)
    bids = ",".join(f"{price}:5" for price in range(12, 2, -1))
    message.checksum = value(f"{bids}|20:6".encode())
    mirror.take(message)
    assert mirror.depth("buy") == 12


@pytest.mark.parametrize("seed", range(5))
def test_any_changes_give_the_book(seed: int) -> None:
    draw = random.Random(seed)
    server, mirror = BookServer(), BookMirror(BTC)
    mirror.take(server.snapshot())
    for sequence in range(1, 300):
        bids = {draw.randint(1, 40): draw.choice((0, 1, 2)) for _ in range(draw.randint(0, 3))}
        asks = {draw.randint(41, 80): draw.choice((0, 1, 2)) for _ in range(draw.randint(0, 3))}
        mirror.take(server.change(sequence, bids, asks))
        if draw.random() < 0.02:
            mirror.take(server.snapshot())
    assert server.book() == (mirror.levels("buy"), mirror.levels("sell"))


@pytest.mark.parametrize("seed", range(5))
def test_any_number_of_changes_in_a_message_gives_the_book(seed: int) -> None:
    draw = random.Random(seed)
    server, mirror = BookServer(), BookMirror(BTC)
    mirror.take(server.snapshot())
    for sequence in range(1, 60):
        count = draw.choice((1, SORTED_COUNT - 1, SORTED_COUNT, 4 * SORTED_COUNT))
        most = draw.choice((0, 2))
        bids = {price: draw.randint(0, most) for price in draw.sample(range(1, 1_000), count)}
        mirror.take(server.change(sequence, bids, {1_000 + price: 1 for price in bids}))
        assert server.book() == (mirror.levels("buy"), mirror.levels("sell"))


def test_many_levels_of_a_message_are_not_moved_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    singly = 0

    def counted(find: Callable[[list[int], int], Any]) -> Callable[[list[int], int], Any]:
        def call(keys: list[int], key: int) -> Any:
            nonlocal singly
            singly += 1
            return find(keys, key)

        return call

    monkeypatch.setattr(clients.mirror, "bisect_left", counted(bisect_left))
    monkeypatch.setattr(clients.mirror, "insort", counted(insort))
    server, mirror = BookServer(), BookMirror(BTC)
    server.change(1, bids=dict.fromkeys(range(5_000, 0, -1), 1))
    mirror.take(server.snapshot())
    mirror.take(server.change(2, asks=dict.fromkeys(range(9_000, 6_000, -1), 1)))
    mirror.take(server.change(3, bids=dict.fromkeys(range(1, 3_000), 0)))
    assert singly == 0
    mirror.take(server.change(4, bids={5_000: 0, 5_001: 1}))
    assert singly == 2, "but few are, which is cheaper"
    assert server.book() == (mirror.levels("buy"), mirror.levels("sell"))


def test_missing_message_is_seen() -> None:
    server, mirror = BookServer(), BookMirror(BTC)
    mirror.take(server.snapshot())
    server.change(1, bids={5: 1})
    with pytest.raises(OutOfStepError, match=r"stands at sequence 0, .* follows on 1: something"):
        mirror.take(server.change(2, bids={6: 1}))


def test_delta_before_any_snapshot_is_seen() -> None:
    with pytest.raises(OutOfStepError, match="after sequence 0: the snapshot before it is"):
        BookMirror(BTC).take(BookServer().change(1, bids={5: 1}))


def test_wrong_level_is_seen() -> None:
    server, mirror = BookServer(), BookMirror(BTC)
    mirror.take(server.snapshot())
    message = server.change(1, bids={5: 1})
    message.bids[0].quantity_e8 = 2
    with pytest.raises(OutOfStepError, match=r"at sequence 1 has checksum \d+, and .* has \d+"):
        mirror.take(message)


def test_second_snapshot_says_why() -> None:
    server, mirror = BookServer(), BookMirror(BTC)
    server.change(4, bids={5: 1, 6: 1})
    mirror.take(server.snapshot())
    server.change(5, bids={6: 0})
    mirror.take(server.snapshot())
    assert mirror.restarted == "the exchange no longer has the changes after sequence 4"
    assert mirror.depth("buy") == 1
    mirror.take(server.change(6, bids={7: 1}))
    assert (mirror.restarted, mirror.restart_count) == ("", 1)
    mirror.take(server.snapshot(), why="the test said so")
    assert (mirror.restarted, mirror.restart_count) == ("the test said so", 2)


def test_deep_book_is_partial_until_its_last_page() -> None:
    server, mirror = BookServer(), BookMirror(BTC)
    server.change(1, bids=dict.fromkeys(range(1, 101), 1))
    first = server.snapshot(levels=60)
    assert first.partial
    mirror.take(first)
    assert (mirror.partial, mirror.depth("buy")) == (True, 60)
    mirror.take(server.change(2, bids={100: 0, 30: 2}, further=(30, 11)))
    assert mirror.partial
    mirror.take(server.change(3, further=(0, 30)))
    assert (mirror.partial, mirror.depth("buy")) == (False, 99)
    assert server.book() == (mirror.levels("buy"), mirror.levels("sell"))


def test_a_deep_book_is_not_sorted_anew_for_some_of_its_levels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sorts = 0

    def counted(keys: Iterable[int]) -> list[int]:
        nonlocal sorts
        sorts += 1
        return sorted(keys)

    server, mirror = BookServer(), BookMirror(BTC)
    mirror.take(server.snapshot())
    mirror.take(server.change(1, dict.fromkeys(range(1, 20_000, 2), 1), {}))
    monkeypatch.setattr(clients.mirror, "sorted", counted, raising=False)
    mirror.take(server.change(2, dict.fromkeys(range(2, 2 + 2 * SORTED_COUNT, 2), 1), {}))
    assert sorts == 0
    mirror.take(server.change(3, dict.fromkeys(range(1_000, 2_000, 2), 1), {}))
    assert sorts == 1
    assert server.book() == (mirror.levels("buy"), mirror.levels("sell"))
