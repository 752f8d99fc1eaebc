"""The server: the picture of the parts, in its order.

    recover ─▶ sequencer ─▶ feed ─▶ gRPC services

Start. The journal, which `process.py` has recovered, is claimed. Before anybody is served, sessions
that were still open are ended, and what the configuration says differently from the last time
becomes commands; both are journaled like anything else.

Stop. Health says so and nothing new is taken; streams and sessions are told to
end and calls in flight are finished; then the sessions left are ended, the journal is flushed, and
a snapshot is written, so that the next start has nothing to re-apply.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from exchange.http.v1 import market_service_pb2, system_service_pb2
from exchange.http.v1 import order_service_pb2 as http_order_service_pb2
from exchange.v1 import (
    account_service_pb2,
    admin_service_pb2,
    market_data_pb2,
    order_service_pb2,
    part_service_pb2,
)
from server import logs
from server.core.rejects import Reject
from server.feed.feed import Feed, Formats
from server.history.reader import History
from server.history.settlement import Settlements
from server.journal.recovery import Recovered
from server.journal.snapshots import SnapshotBad, write_snapshot
from server.limits.limiter import refused_count
from server.limits.shared import shared_limits
from server.maintenance.followers import FollowerRegistry
from server.maintenance.journal import JournalMaintenance
from server.maintenance.outside import OutsideParts
from server.metrics.exposition import Metrics
from server.metrics.followers import FollowerFigures
from server.metrics.load import CallErrors
from server.metrics.outside import OutsidePartFigures
from server.metrics.processes import Processes, ProcessIds
from server.metrics.redis import KeyOutcomes, Leases
from server.rpc import market_data, order_service
from server.rpc.account_service import AccountService
from server.rpc.admin_service import AdminService
from server.rpc.calls import Calls
from server.rpc.deadlines import Deadlines
from server.rpc.event_formats import TRADES, OrderEventFormat
from server.rpc.health import HEALTH, Health
from server.rpc.http import market, orders
from server.rpc.http.calls import HttpCalls
from server.rpc.http.streams import JSON_TRADES
from server.rpc.http.system import HttpSystem
from server.rpc.intake import Intake
from server.rpc.journal_stream import JournalStreams
from server.rpc.part_service import PartService
from server.rpc.recent_outcomes import recent_outcomes
from server.rpc.reflection import REFLECTION, Reflection
from server.rpc.registration import Services
from server.rpc.server import bind, make_server
from server.rpc.settlement import SettlementCalls
from server.rpc.status import ExchangeStatus
from server.rpc.trading_session import TradingSessions
from server.sequencer.sequencer import Sequencer
from server.sequencer.start_up import claim, configure, end_sessions
from server.settings import Settings

DRAIN_S: Final = 3.0
"""Seconds for calls in flight at a stop: theirs is the journal's work of milliseconds, and who
hasn't read his reply by then doesn't read."""


class Exchange:
    """All parts of one server, made in the order in which an order passes them."""

    def __init__(
        self,
        settings: Settings,
        recovered: Recovered,
        positions: dict[str, int],
        process_ids: ProcessIds,
        on_failure: Callable[[str], None],
    ) -> None:
        """Claim the journal and take the gRPC port; raises `JournalRefused` or `PortTaken`.
        `on_failure` is told why the journal can't go on, and ends the process."""
        engine, log, report = recovered
        limits = settings.grpc
        self._settings = settings
        self._log = log
        claim(log)

        self._server = make_server(limits)
        self.port = bind(self._server, settings.grpc_address)
        self.sequencer = Sequencer(engine, log, on_failure=on_failure, limits=settings.sequencer)
        formats = Formats(TRADES, OrderEventFormat(), JSON_TRADES)
        self.feed = Feed(self.sequencer, log, formats, settings.feed)
        self.followers = FollowerRegistry(
            report.snapshot_sequence or 0, settings.data_dir, positions
        )
        self._parts = OutsideParts(settings.outside_parts, lambda: log.durable_sequence)
        self._journal_streams = JournalStreams(log, self.followers)
        self.sequencer.on_durable.append(self._journal_streams.on_durable)

        rates = settings.rates if settings.rate_limits == "on" else None
        self.rates, self._leases = shared_limits(rates, settings.redis_url, logs.complain)
        errors = CallErrors()
        processes = Processes(process_ids)
        self._metrics = Metrics(
            self.sequencer,
            self.feed,
            errors,
            limited_count=lambda: refused_count(self.rates),
            ports={"grpc": self.port, "http": settings.http_port},
            processes=processes,
        )

        self._recent = recent_outcomes(settings.redis_url, self.sequencer, log)
        self._history = History(settings.postgres_url, log.mark.journal.hex(), logs.complain)
        self._intake = Intake(limits.calls_max)
        self._health = Health()
        self._journal = JournalMaintenance(
            log,
            self.sequencer,
            self.followers,
            settings.journal,
            # Redis holds nothing that would have to be filled in.
            filled=[name for name in settings.outside_parts if name != "redis"],
            on_slow=lambda slow: self._health.serving(not slow),
        )
        self._status = ExchangeStatus(
            self.sequencer,
            log,
            report,
            self.followers,
            self._journal,
            processes,
            self._parts,
            lambda: self._leases.problem if self._leases is not None else "",
        )
        self._sessions = TradingSessions(self.sequencer, limits.session_messages_max, self.rates)
        self._reflection = Reflection()
        self._show_figures()
        self._add_services(errors)

    def _show_figures(self) -> None:
        show, log = self._metrics.show, self._log
        show(OutsidePartFigures(self._parts.health))
        show(FollowerFigures(self.followers, lambda: log.durable_sequence))
        if self._leases is not None:
            show(Leases(self._leases))
        if self._recent is not None:
            show(KeyOutcomes(self._recent))

    def _add_services(self, errors: CallErrors) -> None:
        history, followers, status = self._history, self.followers, self._status
        limits = self._settings.grpc
        deadlines = Deadlines(limits.deadline_s, limits.deadline_max_s)
        calls = Calls(self.sequencer, deadlines, self._recent)
        services = Services(self._server, errors, self.rates, self._intake)
        services.add(HEALTH, self._health)
        services.add(
            order_service_pb2.DESCRIPTOR.services_by_name["OrderService"],
            order_service.OrderService(calls, history, self._sessions, self.feed),
            order_service.ENCODED,
        )
        services.add(
            market_data_pb2.DESCRIPTOR.services_by_name["MarketData"],
            market_data.MarketData(calls, history, self.feed),
            market_data.ENCODED,
        )
        services.add(
            account_service_pb2.DESCRIPTOR.services_by_name["AccountService"],
            AccountService(calls),
        )
        settlements = Settlements(self._settings.postgres_url, self._log.mark.journal.hex())
        settling = SettlementCalls(calls, settlements)
        services.add(
            admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
            AdminService(calls, followers, self._journal_streams, settling, status),
        )
        services.add(
            part_service_pb2.DESCRIPTOR.services_by_name["PartService"],
            PartService(self._parts),
        )
        http_calls = HttpCalls(self.sequencer, deadlines, self._recent)
        services.add(
            http_order_service_pb2.DESCRIPTOR.services_by_name["OrderService"],
            orders.HttpOrders(http_calls, history),
            orders.ENCODED,
        )
        services.add(
            market_service_pb2.DESCRIPTOR.services_by_name["MarketService"],
            market.HttpMarket(http_calls, history, followers, self.feed),
            market.ENCODED,
        )
        services.add(
            system_service_pb2.DESCRIPTOR.services_by_name["SystemService"],
            HttpSystem(status, self._metrics.text),
        )
        if limits.reflection:
            services.add(REFLECTION, self._reflection)

    async def start(self) -> None:
        """Bring the state up to date, then serve."""
        self.sequencer.start()
        self._health.serving(True)
        await self._journal.start()
        await end_sessions(self.sequencer)
        await self._configure()
        if self._leases is not None:
            self._leases.start()
        await self._server.start()
        self._watching = asyncio.create_task(self._parts.watch(self._health.part_serving))
        logs.info("serving", port=self.port, sequence=self.sequencer.durable_sequence)

    async def stop(self) -> None:
        """Finish what was begun, and leave a journal without a tail."""
        logs.info("stopping", sequence=self.sequencer.durable_sequence)
        self._watching.cancel()
        await self._journal.stop()
        self._health.stop()
        self._journal_streams.stop()
        self.feed.stop()
        self._sessions.stop()
        self._reflection.stop()
        await self._intake.close()
        await self._server.stop(DRAIN_S)
        if self._leases is not None:
            await self._leases.stop()
        if self._recent is not None:
            await self._recent.close()
        await self._history.close()
        await end_sessions(self.sequencer)
        await self.sequencer.stop()
        try:
            write_snapshot(self._settings.data_dir, self.sequencer.engine, self._log.mark)
        except (OSError, SnapshotBad) as error:
            # Nothing is lost without it: the next start re-applies more.
            logs.complain(f"no snapshot at the end: {error}")
        self._log.close()
        logs.info("stopped", sequence=self.sequencer.durable_sequence)

    async def _configure(self) -> None:
        settings = self._settings
        limits = settings.engine.limits
        async for name, outcome in configure(self.sequencer, limits, settings.instruments):
            if isinstance(outcome, Reject):
                self._status.not_configured(name, outcome)
            else:
                logs.info("configuration applied", of=name, sequence=outcome.sequence)
