"""What this exchange is and how it is: the status of `GetStatus`, the health of `GET /healthz`.

What is not as it should be is told in one sentence each, asked for at this moment wherever it is
known: what the start found, the journal, the processes of the other parts, the outside parts, the
rate limits, the snapshot follower.
"""

import time
from collections.abc import Callable
from importlib import metadata
from typing import Final, NamedTuple

from exchange.v1.admin_service_pb2 import GetStatusResponse
from server import logs
from server.core.engine import RULES_VERSION, Engine
from server.core.rejects import Reject
from server.journal.file_log import FileLog
from server.journal.recovery import Report
from server.maintenance.followers import SNAPSHOTS, FollowerRegistry
from server.maintenance.health_state import HealthState
from server.maintenance.journal import JournalMaintenance
from server.maintenance.outside import OutsideParts, PartHealth
from server.metrics.processes import Processes
from server.rpc import errors
from server.sequencer.sequencer import Sequencer

VERSION: Final = metadata.version("exchange-backend")
REAPPLIES: Final = "a start re-applies ever more"
"""The words for what it means that no snapshot is written."""


class ExchangeHealth(NamedTuple):
    """Says how everything is at one moment."""

    state: HealthState
    """The state of the whole exchange: down while no orders are taken."""
    journal: HealthState
    snapshots: HealthState
    parts: dict[str, PartHealth]
    degraded: list[str]


class ExchangeStatus:
    """Asks all those who know; waits for nobody, the journal included."""

    def __init__(
        self,
        sequencer: Sequencer,
        log: FileLog,
        recovery: Report,
        followers: FollowerRegistry,
        journal: JournalMaintenance,
        processes: Processes,
        parts: OutsideParts,
        limits: Callable[[], str],
    ) -> None:
        """`limits` tells why rate limits are not shared, or nothing."""
        self._sequencer = sequencer
        self._log = log
        self._recovery = recovery.sentence()
        self._followers = followers
        self._journal = journal
        self._processes = processes
        self._parts = parts
        self._limits = limits
        self._began_ns = time.monotonic_ns()
        # It stays until the next start.
        self._found_at_start = [
            f"snapshot {path} was passed over: {reason}" for path, reason in recovery.passed_over
        ]

    def not_configured(self, name: str, refused: Reject) -> None:
        """Note that what the configuration says of this name is refused, and so not applied."""
        sentence = f"the configuration of {name} is not applied: {errors.sentence(refused)}"
        self._found_at_start.append(sentence)
        logs.warning(sentence)

    def _snapshots(self) -> tuple[HealthState, str]:
        """Tell how the snapshot follower is, and the sentence about it, empty where all is well."""
        if not self._followers.connected[SNAPSHOTS]:
            why = "the snapshot follower is not connected"
            return HealthState.DOWN, f"{why}: {REAPPLIES}"
        problem = self._followers.snapshot_problem
        if problem:
            return HealthState.DEGRADED, f"no snapshot is written ({problem}): {REAPPLIES}"
        return HealthState.HEALTHY, ""

    def degraded(self) -> list[str]:
        """List what is not as it should be, at this moment."""
        found = [
            *self._found_at_start,
            *self._journal.sentences,
            *self._processes.sentences(),
            *self._parts.sentences(),
        ]
        _, snapshots = self._snapshots()
        return [*found, *filter(None, (self._limits(), snapshots))]

    def health(self) -> ExchangeHealth:
        """Tell how the whole and each part is; their states and sentences agree."""
        journal, parts, degraded = self._journal.health(), self._parts.health(), self.degraded()
        state = HealthState.DEGRADED if degraded else HealthState.HEALTHY
        if journal == HealthState.DOWN:
            state = HealthState.DOWN
        snapshots, _ = self._snapshots()
        return ExchangeHealth(state, journal, snapshots, parts, degraded)

    def reply(self, engine: Engine) -> GetStatusResponse:
        """Report the whole exchange to an operator."""
        counts, followers = engine.counts(), self._followers
        reply = GetStatusResponse(
            version=VERSION,
            rules_version=RULES_VERSION,
            durable_sequence=self._sequencer.durable_sequence,
            applied_sequence=engine.sequence,
            epoch=self._log.fence.epoch,
            uptime_ns=time.monotonic_ns() - self._began_ns,
            open_orders=counts.orders_open,
            keys=counts.keys,
            keys_guaranteed=engine.limits.keys_max,
            keys_after_sequence=engine.keys_after_sequence,
            window_ns=engine.limits.window_ns,
            closed_orders=counts.orders_closed,
            open_sessions=counts.sessions,
            recovery=self._recovery,
            degraded=self.degraded(),
            snapshot_sequence=followers.snapshot_sequence,
            journal_first_sequence=self._log.first_sequence,
        )
        for name, kept_after in sorted(followers.positions.items()):
            report = followers.reports.get(name)
            reply.followers.add(
                name=name,
                sequence=report.sequence if report else kept_after,
                reported_time_ns=report.time_ns if report else 0,
                connected=followers.connected[name] > 0,
            )
        return reply
