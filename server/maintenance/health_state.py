"""The words for how something is: the exchange, its journal, an outside part."""

from enum import StrEnum


class HealthState(StrEnum):
    """Each is sent and shown as the word that it is."""

    DOWN = "down"
    DEGRADED = "degraded"
    HEALTHY = "healthy"
    DISABLED = "disabled"
    """There is to be none."""
