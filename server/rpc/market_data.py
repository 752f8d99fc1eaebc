"""Market data: every handler parses, reads or subscribes, and presents."""

import asyncio
from typing import Final, NoReturn

from exchange.v1 import market_data_pb2 as messages
from server import event_messages
from server.core.engine import Engine
from server.core.rejects import RejectReason
from server.feed.feed import Feed
from server.feed.ticker import Rendered
from server.history.reader import History
from server.rpc import market_view as view
from server.rpc.calls import Calls
from server.rpc.context import Context
from server.rpc.errors import EdgeReason, EdgeReject, refuse
from server.rpc.parse import TradesQuery, analytics_query, trades_before
from server.rpc.past import Past
from server.rpc.streams import send

ENCODED: Final = frozenset(
    {
        "GetOrderBook",
        "GetOrderBooks",
        "GetTicker",
        "StreamOrderBook",
        "StreamTrades",
        "StreamTicker",
    }
)
"""Methods that give bytes."""

LEVELS_MAX: Final = 1_000
"""Levels a side: about 30 kB a book, and a millisecond of the loop."""
BOOKS_MAX: Final = 100
BOOKS_LEVELS_MAX: Final = 10_000
"""Levels a side of all books of one call: they are taken at one sequence, which holds the loop for
some 10 ms, and are about 400 kB, also where one book is asked for again and again."""


class MarketData:
    """`exchange.v1.MarketData`."""

    def __init__(self, calls: Calls, history: History, feed: Feed) -> None:
        self._calls = calls
        self._past = Past(calls, history)
        self._feed = feed
        self._books = view.Books()
        self._tickers = view.Tickers()

    async def ListInstruments(
        self, request: messages.ListInstrumentsRequest, context: Context
    ) -> messages.ListInstrumentsResponse:
        return await self._calls.read(view.instruments, context)

    async def GetOrderBook(self, request: messages.GetOrderBookRequest, context: Context) -> bytes:
        query = _book_query(request)
        if isinstance(query, EdgeReject):
            await refuse(context, query)
        reply = await self._calls.read(lambda engine: self._books.reply(engine, query), context)
        if reply is None:
            await _refuse_unknown(context, query.instrument)
        return reply

    async def GetOrderBooks(
        self, request: messages.GetOrderBooksRequest, context: Context
    ) -> bytes:
        queries = _book_queries(request)
        if isinstance(queries, EdgeReject):
            await refuse(context, queries)

        def read(engine: Engine) -> list[bytes | None]:
            return [self._books.reply(engine, query) for query in queries]

        replies = await self._calls.read(read, context)
        found = [reply for reply in replies if reply is not None]
        if len(found) < len(replies):
            at = replies.index(None)
            await _refuse_unknown(context, queries[at].instrument, f"requests[{at}].")
        return b"".join(found)

    async def ListTrades(
        self, request: messages.ListTradesRequest, context: Context
    ) -> messages.ListTradesResponse:
        query = _trades_query(request)
        if isinstance(query, EdgeReject):
            await refuse(context, query)
        page = await self._past.trades(query, context)
        if page is None:
            await _refuse_unknown(context, query.instrument)
        reply = messages.ListTradesResponse(
            sequence=page.sequence, next_page_token=page.next_page_token
        )
        for trade in page.trades:
            event_messages.trade(reply.trades.add(), *trade)
        return reply

    async def GetTicker(self, request: messages.GetTickerRequest, context: Context) -> bytes:
        name = request.instrument
        reply = await self._calls.read(lambda engine: self._tickers.reply(engine, name), context)
        if reply is None:
            await _refuse_unknown(context, name)
        return reply

    async def GetAnalytics(
        self, request: messages.GetAnalyticsRequest, context: Context
    ) -> messages.GetAnalyticsResponse:
        query = analytics_query(request)
        if isinstance(query, EdgeReject):
            await refuse(context, query)
        found = await self._past.analytics(query, context)
        if found is None:
            await _refuse_unknown(context, request.instrument)
        if isinstance(found, EdgeReject):
            await refuse(context, found)
        # Beside the loop: a week of minutes takes 70 ms.
        return await asyncio.to_thread(view.analytics, found)

    async def GetStatistics(
        self, request: messages.GetStatisticsRequest, context: Context
    ) -> messages.GetStatisticsResponse:
        name, activity = request.instrument, self._feed.activity
        reply = await self._calls.read(
            lambda engine: view.statistics(engine, activity, name), context
        )
        if reply is None:
            await _refuse_unknown(context, name)
        return reply

    async def StreamOrderBook(
        self, request: messages.StreamOrderBookRequest, context: Context
    ) -> None:
        name = request.instrument
        if not self._feed.is_listed(name):
            await _refuse_unknown(context, name)
        after = request.after_sequence if request.HasField("after_sequence") else None
        await send(context, lambda peer: self._feed.read_book(peer, name, after))

    async def StreamTrades(self, request: messages.StreamTradesRequest, context: Context) -> None:
        name = request.instrument
        if name and not self._feed.is_listed(name):
            await _refuse_unknown(context, name)
        after = request.after_sequence if request.HasField("after_sequence") else None
        await send(context, lambda peer: self._feed.read_trades(peer, name, after))

    async def StreamTicker(self, request: messages.StreamTickerRequest, context: Context) -> None:
        name = request.instrument
        if not self._feed.is_listed(name):
            await _refuse_unknown(context, name)

        def render(engine: Engine) -> Rendered:
            message = self._tickers.reply(engine, name)
            assert message is not None, "what is listed stays listed"
            return engine.sequence, message

        await send(context, lambda peer: self._feed.read_ticker(peer, name, render))


async def _refuse_unknown(context: Context, name: str, of: str = "") -> NoReturn:
    """Refuse an instrument; `of` is the element of the request that names it."""
    reason = RejectReason.INSTRUMENT_UNKNOWN if name else RejectReason.FIELD_REQUIRED
    await refuse(context, EdgeReject(reason, f"{of}instrument", name))


def _book_query(request: messages.GetOrderBookRequest, of: str = "") -> view.BookQuery | EdgeReject:
    """Read which book; `of` as in `_refuse_unknown`."""
    if request.levels > LEVELS_MAX:
        return EdgeReject(EdgeReason.TOO_MANY, f"{of}levels", request.levels, LEVELS_MAX)
    return view.BookQuery(request.instrument, request.levels or view.LEVELS_DEFAULT)


def _book_queries(request: messages.GetOrderBooksRequest) -> list[view.BookQuery] | EdgeReject:
    if not request.requests:
        return EdgeReject(RejectReason.FIELD_REQUIRED, "requests", "")
    if len(request.requests) > BOOKS_MAX:
        return EdgeReject(EdgeReason.TOO_MANY, "requests", len(request.requests), BOOKS_MAX)
    queries = []
    for at, each in enumerate(request.requests):
        query = _book_query(each, f"requests[{at}].")
        if isinstance(query, EdgeReject):
            return query
        queries.append(query)
    levels = sum(query.levels for query in queries)
    if levels > BOOKS_LEVELS_MAX:
        field = "levels of all requests together"
        return EdgeReject(EdgeReason.TOO_MANY, field, levels, BOOKS_LEVELS_MAX)
    return queries


def _trades_query(request: messages.ListTradesRequest) -> TradesQuery | EdgeReject:
    if request.page_size > view.TRADES_MAX:
        return EdgeReject(EdgeReason.TOO_MANY, "page_size", request.page_size, view.TRADES_MAX)
    before = trades_before(request.page_token)
    if isinstance(before, EdgeReject):
        return before
    limit = request.page_size or view.TRADES_DEFAULT
    return TradesQuery(request.instrument, limit, before, request.client_id)
