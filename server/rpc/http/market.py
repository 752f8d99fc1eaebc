"""Market data, positions and snapshots over HTTP JSON: parse, read, present."""

import asyncio
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

from exchange.http.v1 import market_service_pb2 as messages
from server.core.engine import Engine
from server.core.rejects import RejectReason
from server.feed.feed import Feed
from server.history.reader import History
from server.maintenance.followers import FollowerRegistry
from server.rpc.context import Context
from server.rpc.errors import EdgeReject
from server.rpc.http import parse, present
from server.rpc.http.calls import HttpCalls
from server.rpc.http.streams import HttpStreams
from server.rpc.market_figures import now_ns, statistics_of
from server.rpc.market_view import LEVELS_DEFAULT
from server.rpc.past import Past
from server.rpc.snapshots import create_snapshot
from server.times import MS_NS, time_text

Reply = TypeVar("Reply")

ENCODED: Final = frozenset({"StreamTrades", "StreamOrderBook"})
"""Methods that give bytes."""


class HttpMarket:
    """`exchange.http.v1.MarketService`."""

    def __init__(
        self, calls: HttpCalls, history: History, followers: FollowerRegistry, feed: Feed
    ) -> None:
        self._calls = calls
        self._past = Past(calls, history)
        self._followers = followers
        self._activity = feed.activity
        streams = HttpStreams(calls, feed)
        self.StreamTrades = streams.trades
        self.StreamOrderBook = streams.book

    async def GetOrderBook(
        self, request: messages.GetOrderBookRequest, context: Context
    ) -> messages.GetOrderBookResponse:
        levels = parse.whole("levels", request.levels, LEVELS_DEFAULT, parse.LEVELS_MAX)
        if isinstance(levels, EdgeReject):
            await self._calls.refuse(context, levels)
        return await self._of_listed(
            request.instrument,
            messages.GetOrderBookResponse,
            lambda reply, engine, name: present.depth(reply, engine, name, levels),
            context,
        )

    async def ListTrades(
        self, request: messages.ListTradesRequest, context: Context
    ) -> messages.ListTradesResponse:
        query = parse.trades_query(request)
        if isinstance(query, EdgeReject):
            await self._calls.refuse(context, query)
        page = await self._past.trades(query, context)
        if page is None:
            await self._refuse_unknown(query.instrument, context)
        reply = messages.ListTradesResponse(
            instrument=query.instrument,
            count=len(page.trades),
            sequence=page.sequence,
            next_page_token=page.next_page_token,
        )
        for trade in page.trades:
            shown = reply.trades.add()
            present.trade(shown, *trade)
            if query.client_id:
                shown.role = present.role(query.client_id, trade[3])
        return reply

    async def GetBestQuotes(
        self, request: messages.GetBestQuotesRequest, context: Context
    ) -> messages.GetBestQuotesResponse:
        return await self._of_listed(
            request.instrument, messages.GetBestQuotesResponse, present.quotes, context
        )

    async def GetTicker(
        self, request: messages.GetTickerRequest, context: Context
    ) -> messages.GetTickerResponse:
        def fill(reply: messages.GetTickerResponse, engine: Engine, name: str) -> None:
            present.ticker(reply, engine, name, engine.ticker(name, now_ns(engine)))

        return await self._of_listed(request.instrument, messages.GetTickerResponse, fill, context)

    async def GetAnalytics(
        self, request: messages.GetAnalyticsRequest, context: Context
    ) -> messages.GetAnalyticsResponse:
        query = parse.analytics_query(request)
        if isinstance(query, EdgeReject):
            await self._calls.refuse(context, query)
        if query.end_ns is None:
            query = query._replace(end_ns=await self._end_of_ms())
        found = await self._past.analytics(query, context)
        if found is None:
            await self._refuse_unknown(query.instrument, context)
        if isinstance(found, EdgeReject):
            await self._calls.refuse(context, found)
        # Beside the loop: a week of minutes takes 0.15 s.
        return await asyncio.to_thread(
            present.analytics, query.instrument, query.interval_minutes, found
        )

    async def GetStatistics(
        self, request: messages.GetStatisticsRequest, context: Context
    ) -> messages.GetStatisticsResponse:
        def fill(reply: messages.GetStatisticsResponse, engine: Engine, name: str) -> None:
            found = statistics_of(engine, self._activity, name)
            present.statistics(reply, found, self._activity)

        return await self._of_listed(
            request.instrument, messages.GetStatisticsResponse, fill, context
        )

    async def ListPositions(
        self, request: messages.ListPositionsRequest, context: Context
    ) -> messages.ListPositionsResponse:
        def view(engine: Engine) -> messages.ListPositionsResponse:
            reply = messages.ListPositionsResponse(
                client_id=request.client_id, sequence=engine.sequence
            )
            for held in engine.positions(request.client_id):
                present.position(reply.positions.add(), held)
            return reply

        return await self._calls.read(view, context)

    async def CreateSnapshot(
        self, request: messages.CreateSnapshotRequest, context: Context
    ) -> messages.CreateSnapshotResponse:
        def fill(reply: messages.CreateSnapshotResponse, engine: Engine, name: str) -> None:
            reply.snapshot.SetInParent()
            present.depth(reply.snapshot, engine, name, LEVELS_DEFAULT)

        reply = await self._of_listed(
            request.instrument, messages.CreateSnapshotResponse, fill, context
        )
        written = await create_snapshot(self._calls, self._followers, context)
        reply.snapshot_sequence = written.sequence
        reply.file = written.file
        return reply

    async def ListInstruments(
        self, _request: messages.ListInstrumentsRequest, context: Context
    ) -> messages.ListInstrumentsResponse:
        def view(engine: Engine) -> messages.ListInstrumentsResponse:
            reply = messages.ListInstrumentsResponse(sequence=engine.sequence)
            for definition in engine.instruments.values():
                present.instrument(reply.instruments.add(), definition)
            return reply

        return await self._calls.read(view, context)

    async def _end_of_ms(self) -> int:
        """Give the end of this millisecond once it is over: what is read next begins with it."""
        end_ns = (now_ns(self._calls.sequencer.engine) // MS_NS + 1) * MS_NS
        await asyncio.sleep(MS_NS / 1e9)
        return end_ns

    async def _of_listed(
        self,
        name: str,
        make: Callable[..., Reply],
        fill: Callable[[Reply, Engine, str], None],
        context: Context,
    ) -> Reply:
        """Make a reply about a listed instrument, with what `fill` knows of it; refuses the call
        for one that is not."""
        instrument = name or parse.INSTRUMENT_DEFAULT

        def view(engine: Engine) -> Reply | None:
            if instrument not in engine.markets:
                return None
            time, sequence = time_text(engine.time_ns), engine.sequence
            reply = make(instrument=instrument, timestamp=time, sequence=sequence)
            fill(reply, engine, instrument)
            return reply

        reply = await self._calls.read(view, context)
        if reply is None:
            await self._refuse_unknown(instrument, context)
        return reply

    async def _refuse_unknown(self, instrument: str, context: Context) -> NoReturn:
        refused = EdgeReject(RejectReason.INSTRUMENT_UNKNOWN, "instrument", instrument)
        await self._calls.refuse(context, refused)
