"""The numbers of the core as words: the same in JSON, tables, exports, figures and settings."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from server.core.types import (
    FOK,
    GTC,
    IOC,
    EndReason,
    OrderStatus,
    OrderType,
    SelfTradePrevention,
    Side,
)


def _named(members: type[IntEnum]) -> dict[int, str]:
    """Name them in lower case; 0 is a default, or nothing, and has no word."""
    return {int(member): member.name.lower() for member in members if member}


SIDES: Final = _named(Side)
TYPES: Final = _named(OrderType)
TIMES_IN_FORCE: Final = {GTC: "gtc", IOC: "ioc", FOK: "fok"}
PREVENTIONS: Final = _named(SelfTradePrevention)
STATUSES: Final = _named(OrderStatus)
END_REASONS: Final = _named(EndReason)


def numbers_of(words: Mapping[int, str]) -> dict[str, int]:
    """Turn the mapping round."""
    return {word: number for number, word in words.items()}
