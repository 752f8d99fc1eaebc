"""The reads of `MarketData` over gRPC."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from exchange.v1.market_data_pb2 import (
    GetAnalyticsRequest,
    GetOrderBookRequest,
    GetOrderBooksRequest,
    GetStatisticsRequest,
    GetTickerRequest,
    ListInstrumentsRequest,
    ListTradesRequest,
    StreamTickerRequest,
)
from server.core.commands import PlaceOrder
from server.core.types import BUY, E8, LIMIT, SELL
from server.rpc.market_data import BOOKS_LEVELS_MAX, BOOKS_MAX, LEVELS_MAX
from server.rpc.market_view import LEVELS_KEPT_MAX, TRADES_MAX
from tests.feed.market import BTC, ETH, Crowd, Failure, running, seconds

pytestmark = pytest.mark.asyncio


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(Failure) as failure:
        await seconds(call)
    return failure.value.code(), str(failure.value.details())


async def test_instruments_in_listing_order(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        reply = await market.data().ListInstruments(ListInstrumentsRequest())
        assert [each.name for each in reply.instruments] == [BTC, ETH]
        assert reply.instruments[0].price_max_e8 == 2**63 - 1
        assert reply.instruments[0].self_trade_prevention == 1
        assert reply.sequence == 2


async def test_book_has_the_levels_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        stub = market.data()
        await market.commit(*(PlaceOrder("a", BTC, BUY, LIMIT, 1, 1 + i) for i in range(30)))
        await market.commit(PlaceOrder("a", BTC, SELL, LIMIT, 2, 50))
        book = (await stub.GetOrderBook(GetOrderBookRequest(instrument=BTC))).book
        assert [level.price_e8 for level in book.bids] == list(range(30, 10, -1))
        assert [(level.price_e8, level.quantity_e8) for level in book.asks] == [(50, 2)]
        assert (book.sequence, book.time_ns) == (33, market.engine.time_ns)
        one = (await stub.GetOrderBook(GetOrderBookRequest(instrument=BTC, levels=1))).book
        assert len(one.bids) == 1
        most = GetOrderBookRequest(instrument=BTC, levels=LEVELS_MAX)
        assert len((await stub.GetOrderBook(most)).book.bids) == 30
        code, text = await refused(
            stub.GetOrderBook(GetOrderBookRequest(instrument=BTC, levels=LEVELS_MAX + 1))
        )
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "1001" in text
        assert "1000" in text


async def test_books_are_all_of_one_sequence(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        stub = market.data()
        await market.commit(PlaceOrder("a", BTC, BUY, LIMIT, 1, 7))
        await market.commit(PlaceOrder("a", ETH, SELL, LIMIT, 1, 9))
        asked = [
            GetOrderBookRequest(instrument=name, levels=levels)
            for name, levels in ((BTC, 1), (ETH, 5), (BTC, 1), (BTC, 2))
        ]
        reply = await stub.GetOrderBooks(GetOrderBooksRequest(requests=asked))
        assert [book.instrument for book in reply.books] == [BTC, ETH, BTC, BTC]
        assert {book.sequence for book in reply.books} == {4}
        assert reply.books[0] == reply.books[2]
        assert reply.books[1].asks[0].price_e8 == 9
        most = [GetOrderBookRequest(instrument=BTC)] * BOOKS_MAX
        reply = await stub.GetOrderBooks(GetOrderBooksRequest(requests=most))
        assert len(reply.books) == BOOKS_MAX


async def test_books_change_with_their_levels(tmp_path: Path) -> None:
    """Kept books are shown again only while they are true, at whatever sequence."""
    async with running(tmp_path) as market:
        stub, crowd = market.data(), Crowd(9)
        asked = [
            GetOrderBookRequest(instrument=name, levels=levels)
            for name in (BTC, ETH)
            for levels in (1, 5, LEVELS_KEPT_MAX, LEVELS_KEPT_MAX + 1)
        ]
        for _ in range(30):
            await market.commit(*crowd.commands(3))
            reply = await stub.GetOrderBooks(GetOrderBooksRequest(requests=asked))
            for request, book in zip(asked, reply.books, strict=True):
                assert (book.instrument, book.sequence) == (
                    request.instrument,
                    market.engine.sequence,
                )
                for side, shown in ((BUY, book.bids), (SELL, book.asks)):
                    expected = market.engine.book(request.instrument).depth(side, request.levels)
                    assert [(level.price_e8, level.quantity_e8) for level in shown] == expected


async def test_books_that_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        stub = market.data()

        async def books(*requests: GetOrderBookRequest) -> tuple[grpc.StatusCode, str]:
            return await refused(stub.GetOrderBooks(GetOrderBooksRequest(requests=requests)))

        book = GetOrderBookRequest(instrument=BTC)
        assert (await books())[0] is grpc.StatusCode.INVALID_ARGUMENT
        code, text = await books(*[book] * (BOOKS_MAX + 1))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "requests is 101, the limit is 100" in text
        code, text = await books(book, GetOrderBookRequest(instrument="X-Y"))
        assert code is grpc.StatusCode.NOT_FOUND
        assert 'requests[1].instrument "X-Y"' in text
        code, text = await books(book, GetOrderBookRequest())
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "requests[1].instrument is required" in text
        code, text = await books(book, book, GetOrderBookRequest(levels=LEVELS_MAX + 1))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert f"requests[2].levels is {LEVELS_MAX + 1}, the limit is {LEVELS_MAX}" in text
        each, count = LEVELS_MAX, BOOKS_LEVELS_MAX // LEVELS_MAX + 1
        # Of many books, and of one that is asked for again and again.
        for names in ([f"A{number}-USD" for number in range(count)], [BTC] * count):
            code, text = await books(
                *(GetOrderBookRequest(instrument=name, levels=each) for name in names)
            )
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert str(BOOKS_LEVELS_MAX) in text


async def test_pages_of_trades(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        stub = market.data()
        for quantity in range(1, 8):
            await market.trade(BTC, quantity)
        await market.trade(ETH)
        newest = await stub.ListTrades(ListTradesRequest(instrument=BTC))
        assert [trade.quantity_e8 for trade in newest.trades] == list(range(7, 0, -1))
        assert newest.next_page_token == ""
        found, token, pages = [], "", 0
        while pages == 0 or token:
            page = await stub.ListTrades(
                ListTradesRequest(instrument=BTC, page_size=3, page_token=token)
            )
            found += list(page.trades)
            token = page.next_page_token
            pages += 1
            # What is traded meanwhile does not shift the pages.
            await market.trade(BTC, 100)
        assert pages == 3
        assert found == list(newest.trades)
        for request in (
            ListTradesRequest(instrument=BTC, page_size=TRADES_MAX + 1),
            ListTradesRequest(instrument=BTC, page_token="7"),
            ListTradesRequest(instrument=BTC, page_token=f"{2**63}-0"),
        ):
            assert (await refused(stub.ListTrades(request)))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_trades_of_a_client(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        stub = market.data()
        for maker, taker in (("a", "b"), ("b", "c"), ("c", "a"), ("a", "a")):
            await market.commit(
                PlaceOrder(maker, BTC, SELL, LIMIT, E8, E8),
                PlaceOrder(taker, BTC, BUY, LIMIT, E8, E8),
            )
        everything = (await stub.ListTrades(ListTradesRequest(instrument=BTC))).trades
        own = ListTradesRequest(instrument=BTC, client_id="a")
        assert list((await stub.ListTrades(own)).trades) == [*everything[:2], everything[3]]
        own.page_size = 2
        own.page_token = (await stub.ListTrades(own)).next_page_token
        assert list((await stub.ListTrades(own)).trades) == [everything[3]]
        for instrument, client in ((ETH, "a"), (BTC, "nobody"), (BTC, "\0")):
            request = ListTradesRequest(instrument=instrument, client_id=client)
            assert not (await stub.ListTrades(request)).trades


async def test_ticker(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        stub = market.data()
        empty = (await stub.GetTicker(GetTickerRequest(instrument=BTC))).ticker
        assert (empty.last_price_e8, empty.volume, empty.notional) == (0, "0", "0")
        await market.commit(
            PlaceOrder("a", BTC, SELL, LIMIT, E8, 100 * E8),
            PlaceOrder("a", BTC, SELL, LIMIT, E8, 110 * E8),
            PlaceOrder("b", BTC, BUY, LIMIT, 3 * E8 // 2, 110 * E8),
            PlaceOrder("b", BTC, BUY, LIMIT, 2, 90 * E8),
        )
        ticker = (await stub.GetTicker(GetTickerRequest(instrument=BTC))).ticker
        assert (ticker.last_price_e8, ticker.open_price_e8) == (110 * E8, 100 * E8)
        assert (ticker.high_price_e8, ticker.low_price_e8) == (110 * E8, 100 * E8)
        assert (ticker.volume, ticker.notional, ticker.trade_count) == ("1.5", "155", 2)
        assert ticker.change_e8 == 10 * E8
        assert (ticker.bid.price_e8, ticker.bid.quantity_e8) == (90 * E8, 2)
        assert (ticker.ask.price_e8, ticker.ask.quantity_e8) == (110 * E8, E8 // 2)
        assert ticker.sequence == 6


async def test_unknown_instruments(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        stub = market.data()
        call: Any
        for name, expected in (
            ("X-Y", grpc.StatusCode.NOT_FOUND),
            ("", grpc.StatusCode.INVALID_ARGUMENT),
        ):
            for call in (
                stub.GetOrderBook(GetOrderBookRequest(instrument=name)),
                stub.ListTrades(ListTradesRequest(instrument=name)),
                stub.GetTicker(GetTickerRequest(instrument=name)),
                stub.GetAnalytics(GetAnalyticsRequest(instrument=name)),
                stub.GetStatistics(GetStatisticsRequest(instrument=name)),
                stub.StreamTicker(StreamTickerRequest(instrument=name)).read(),
            ):
                assert (await refused(call))[0] is expected


async def test_analytics(tmp_path: Path) -> None:
    async with running(tmp_path) as market:
        stub = market.data()
        empty = await stub.GetAnalytics(GetAnalyticsRequest(instrument=BTC))
        assert (list(empty.aggregates), empty.vwap_e8) == ([], 0)
        await market.commit(
            PlaceOrder("a", BTC, SELL, LIMIT, E8, 100 * E8),
            PlaceOrder("a", BTC, SELL, LIMIT, E8, 102 * E8),
            PlaceOrder("b", BTC, BUY, LIMIT, 3 * E8 // 2, 102 * E8),
        )
        day = GetAnalyticsRequest(instrument=BTC, interval_minutes=1_440)
        found = await stub.GetAnalytics(day)
        (one,) = found.aggregates
        assert one.start_time_ns % (86_400 * 10**9) == 0
        assert (one.quantity, one.notional, one.trade_count) == ("1.5", "151", 2)
        assert (one.open_price_e8, one.high_price_e8) == (100 * E8, 102 * E8)
        assert (one.low_price_e8, one.close_price_e8) == (100 * E8, 102 * E8)
        assert (one.average_price_e8, one.vwap_e8) == (101 * E8, 10_066_666_667)
        assert found.vwap_e8 == one.vwap_e8
        assert found.end_time_ns > market.engine.time_ns
        assert found.sequence == market.engine.sequence
        for bad in (
            GetAnalyticsRequest(instrument=BTC, interval_minutes=1_441),
            GetAnalyticsRequest(instrument=BTC, start_time_ns=-1),
            GetAnalyticsRequest(instrument=BTC, start_time_ns=5, end_time_ns=5),
        ):
            assert (await refused(stub.GetAnalytics(bad)))[0] is grpc.StatusCode.INVALID_ARGUMENT
