"""The words for how something is: the exchange, its journal, an outside part."""

from enum import StrEnum


class HealthState(StrEnum):
    """As it is sent and shown; the worst one comes first."""

    DOWN = "down"
    DEGRADED = "degraded"
    HEALTHY = "healthy"
    DISABLED = "disabled"
    """There is to be none."""
