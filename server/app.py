"""The server: the picture of the parts, in its order.

    recover ─▶ sequencer ─▶ feed ─▶ gRPC services

Start. The data directory is locked, the journal recovered and claimed. Before anybody is served,
sessions that were still open are ended, and what the configuration says differently from the last
time becomes commands; both are journaled like anything else.

Stop (SIGTERM, SIGINT). Health says so and nothing new is taken; streams and sessions are told to
end and calls in flight are finished; then the sessions left are ended, the journal is flushed, and
a snapshot is written, so that the next start has nothing to re-apply.

A journal that fails ends the process at once: no reply may go any more, and the next start finds
out what is true.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvloop

from exchange.http.v1 import market_service_pb2, system_service_pb2
from exchange.http.v1 import order_service_pb2 as http_order_service_pb2
from exchange.v1 import (
    account_service_pb2,
    admin_service_pb2,
    market_data_pb2,
    order_service_pb2,
    part_service_pb2,
)
from server import collector, logs
from server.core.commands import EndSession
from server.core.rejects import Reject
from server.exits import Exit
from server.feed.feed import Feed, Formats
from server.history.reader import History
from server.history.settlement import Settlements
from server.journal.file_log import FileLog
from server.journal.lock import DirectoryLock, DirectoryLocked
from server.journal.log import Lost, Unknown
from server.journal.positions import read_positions
from server.journal.recovery import Progress, Recovered, recover
from server.journal.refusals import JournalRefused
from server.journal.snapshots import SnapshotBad, write_snapshot
from server.journal.storage import DISK_FULL
from server.limits.limiter import refused_count
from server.limits.shared import shared_limits
from server.maintenance.followers import FollowerRegistry
from server.maintenance.journal import JournalMaintenance
from server.maintenance.outside import OutsideParts
from server.metrics.exposition import Metrics
from server.metrics.followers import FollowerLags
from server.metrics.load import CallErrors
from server.metrics.outside import OutsidePartFigures
from server.metrics.processes import Processes, ProcessIds
from server.metrics.redis import KeyOutcomes, Leases
from server.rpc import market_data, order_service
from server.rpc.account_service import AccountService
from server.rpc.admin_service import AdminService
from server.rpc.calls import Calls
from server.rpc.deadlines import Deadlines
from server.rpc.errors import sentence
from server.rpc.event_formats import TRADES, OrderEventFormat
from server.rpc.health import HEALTH, Health
from server.rpc.http import market, orders
from server.rpc.http.calls import HttpCalls
from server.rpc.http.streams import JSON_TRADES
from server.rpc.http.system import HttpSystem
from server.rpc.intake import Intake
from server.rpc.journal_stream import JournalStreams
from server.rpc.part_service import PartService
from server.rpc.recent_outcomes import RecentOutcomes
from server.rpc.reflection import REFLECTION, Reflection
from server.rpc.registration import Services
from server.rpc.server import PortTaken, bind, make_server
from server.rpc.settlement import SettlementCalls
from server.rpc.status import ExchangeStatus
from server.rpc.trading_session import TradingSessions
from server.sequencer.configured import differences
from server.sequencer.errors import JournalFull
from server.sequencer.sequencer import Sequencer
from server.settings import Settings, address, reachable

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
        """Claim the journal and take the gRPC port; raises `JournalRefused` or `PortTaken`."""
        engine, log, report = recovered
        limits = settings.grpc
        self._settings = settings
        self._log = log
        _claim(log)

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
        self.sequencer.listeners.append(self._journal_streams)

        rates = settings.rates if settings.rate_limits == "on" else None
        self.rates, self._leases = shared_limits(rates, settings.redis_url, logs.complain)
        errors = CallErrors()
        processes = Processes(process_ids)
        self._metrics = Metrics(
            self.sequencer,
            self.feed.readers,
            errors,
            limited_count=lambda: refused_count(self.rates),
            ports={"grpc": self.port, "http": settings.http_port},
            processes=processes,
        )

        deadlines = Deadlines(limits.deadline_s, limits.deadline_max_s)
        self._recent = self._recent_outcomes()
        calls = Calls(self.sequencer, deadlines, self._recent)
        self._history = History(settings.postgres_url, log.mark.journal.hex())
        self._intake = Intake(limits.calls_max)
        self._health = Health()
        self._journal = JournalMaintenance(
            log,
            self.sequencer,
            self.followers,
            settings.journal,
            _filled(settings),
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
        )
        self._sessions = TradingSessions(self.sequencer, limits.session_messages_max, self.rates)
        self._reflection = Reflection()
        self._show_figures()
        self._add_services(calls, deadlines, errors)

    def _show_figures(self) -> None:
        show, log = self._metrics.show, self._log
        show(OutsidePartFigures(self._parts.health))
        show(FollowerLags(self.followers.sequences, lambda: log.durable_sequence))
        if self._leases is not None:
            show(Leases(self._leases))
        if self._recent is not None:
            show(KeyOutcomes(self._recent))

    def _add_services(self, calls: Calls, deadlines: Deadlines, errors: CallErrors) -> None:
        history, followers, status = self._history, self.followers, self._status
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
        if self._settings.grpc.reflection:
            services.add(REFLECTION, self._reflection)

    async def start(self) -> None:
        """Bring the state up to date, then serve."""
        self.sequencer.start()
        self._health.serving(True)
        await self._journal.start()
        await self._end_sessions()
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
        await self._end_sessions()
        await self.sequencer.stop()
        try:
            write_snapshot(self._settings.data_dir, self.sequencer.engine, self._log.mark)
        except (OSError, SnapshotBad) as error:
            # Nothing is lost without it: the next start re-applies more.
            logs.complain(f"no snapshot at the end: {error}")
        self._log.close()
        logs.info("stopped", sequence=self.sequencer.durable_sequence)

    def _recent_outcomes(self) -> RecentOutcomes | None:
        engine, url = self.sequencer.engine, self._settings.redis_url
        if not url:
            return None

        def window() -> range:
            first = engine.counts().keys_after_sequence + 1
            return range(first, self.sequencer.durable_sequence + 1)

        def time_of(sequence: int) -> int:
            try:
                return self._log.read(sequence).time_ns
            except (KeyError, OSError, JournalRefused):
                return 0

        return RecentOutcomes(url, self._log.mark.journal, window, time_of)

    async def _end_sessions(self) -> None:
        # Where nothing waits for the journal, any number of them is taken.
        while self.sequencer.waiting:
            await self.sequencer.read(lambda _: None)
        commands = [EndSession(each) for each in self.sequencer.engine.open_sessions()]
        await self.sequencer.submit(commands).released()

    async def _configure(self) -> None:
        settings, engine = self._settings, self.sequencer.engine
        for command in differences(engine, settings.engine, settings.instruments):
            ticket = self.sequencer.submit((command,))
            await ticket.released()
            outcome = ticket.outcomes[0]
            name = getattr(command[0], "name", "engine")
            if isinstance(outcome, Reject):
                not_applied = f"the configuration of {name} is not applied: {sentence(outcome)}"
                self._status.found_at_start.append(not_applied)
                logs.warning(not_applied)
            else:
                logs.info("configuration applied", of=name, sequence=engine.sequence)


def main(settings: Settings, on_serving: Callable[[], None], process_ids: ProcessIds) -> int:
    """Serve until SIGTERM or SIGINT: the exit code."""
    os.umask(0o077)
    try:
        lock = DirectoryLock(settings.data_dir)
    except DirectoryLocked as locked:
        return _refused(Exit.LOCKED, str(locked))
    except OSError as error:
        return _unusable(settings.data_dir, error)
    with lock:
        try:
            positions = read_positions(settings.data_dir)
            segment_bytes = settings.journal.segment_bytes
            recovered = recover(settings.data_dir, _say_progress, segment_bytes=segment_bytes)
            logs.say(recovered.report.sentence())
            # For the cancels that are taken though the disk is full.
            recovered.log.segments.reserve(segment_bytes)
        except JournalRefused as refused:
            return _refused(Exit.JOURNAL_CORRUPT, str(refused))
        except OSError as error:
            return _unusable(settings.data_dir, error)

        def on_ready(port: int) -> None:
            lock.announce(address(reachable(settings.host), port))
            on_serving()

        try:
            uvloop.run(serve(settings, recovered, positions, on_ready, process_ids))
        except PortTaken as taken:
            return _refused(Exit.PORT_TAKEN, str(taken))
        except JournalRefused as refused:
            full = recovered.log.disk_full
            return _refused(Exit.DISK_FULL if full else Exit.APPEND_FAILED, str(refused))
        except JournalFull as refused:
            # The configuration differs from what is journaled, and can't be journaled.
            return _refused(Exit.DISK_FULL, _full(refused.why, settings.data_dir))
    return Exit.CLEAN


async def serve(
    settings: Settings,
    recovered: Recovered,
    positions: dict[str, int],
    on_ready: Callable[[int], None],
    process_ids: ProcessIds,
) -> None:
    """Serve until SIGTERM or SIGINT; `on_ready` is told the gRPC port."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    exchange = Exchange(settings, recovered, positions, process_ids, on_failure=end_at_once)
    await exchange.start()
    collector.settle()
    on_ready(exchange.port)
    await stop.wait()
    await exchange.stop()


def end_at_once(reason: str) -> None:
    """End without letting anything go; what is true is found out by the next start."""
    logs.last_word(f"{reason}; ending, the next start recovers")
    os._exit(Exit.APPEND_FAILED)


def _say_progress(progress: Progress) -> None:
    logs.say(progress.sentence())


def _claim(log: FileLog) -> None:
    epoch = log.claim(os.urandom(16))
    if isinstance(epoch, Lost | Unknown):
        raise JournalRefused(f"the journal can't be written: {epoch.reason}")


def _filled(settings: Settings) -> list[str]:
    """The outside parts that hold all that the journal tells; Redis holds nothing."""
    return [name for name in settings.outside_parts if name != "redis"]


def _unusable(directory: Path, error: OSError) -> int:
    if error.errno in DISK_FULL:
        return _refused(Exit.DISK_FULL, _full(str(error), directory))
    why = f"data directory {directory} can't be used: {error}; choose another with --data-dir"
    return _refused(Exit.CONFIGURATION, why)


def _full(why: str, directory: Path) -> str:
    return f"journal disk full: {why}; free room in {directory}"


def _refused(code: Exit, why: str) -> int:
    logs.error(why)
    return code
