"""What the follower process says of the outside parts, and who asks how they are."""

from typing import Final

from exchange.v1 import part_service_pb2 as messages
from server.maintenance.outside import PROBLEM_CHARS_MAX, OutsideParts
from server.rpc.context import Context

REPORTS_MAX: Final = 16
"""The reports of one message that are looked at: several times the parts that there are."""


class PartService:
    """`exchange.v1.PartService`."""

    def __init__(self, parts: OutsideParts) -> None:
        self._parts = parts

    async def ListParts(
        self, _request: messages.ListPartsRequest, _context: Context
    ) -> messages.ListPartsResponse:
        return messages.ListPartsResponse(
            parts=[
                messages.PartStatus(
                    name=name,
                    state=health.state,
                    events_behind=health.events_behind,
                    behind_ns=round(health.seconds_behind * 1e9),
                    problem=health.problem,
                )
                for name, health in self._parts.health().items()
            ]
        )

    async def ReportParts(
        self, request: messages.ReportPartsRequest, _context: Context
    ) -> messages.ReportPartsResponse:
        for part in request.parts[:REPORTS_MAX]:
            problem = part.problem[:PROBLEM_CHARS_MAX]
            self._parts.hear(part.name, part.sequence, problem, takes_journal=part.takes_journal)
        return messages.ReportPartsResponse()
