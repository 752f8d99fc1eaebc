"""The words for how something is: the exchange, its journal, an outside part."""

from enum import StrEnum


class HealthState(StrEnum):
    """Says how a thing is, by the word that is sent and shown."""

    DOWN = "down"
    DEGRADED = "degraded"
    HEALTHY = "healthy"
    DISABLED = "disabled"
    """The state where there is to be no such part."""
