"""Section `[[instruments]]` of a configuration file, in the core's units."""

import re
from typing import Any

from server.core.checks import INSTRUMENT_PATTERN
from server.core.instruments import Instrument
from server.core.types import INT64_MAX
from server.decimals import decimal_text
from server.supervisor.setting_values import (
    Given,
    decimal_of,
    matching,
    mode_of,
    table_of,
    wrong,
)


def instruments_of(given: Given) -> tuple[Instrument, ...]:
    """Read the instruments to list, each name once."""
    if not isinstance(given.value, list) or not given.value:
        raise wrong("instruments", given, "tables, each begun with [[instruments]]")
    instruments = tuple(_instrument(Given(row, given.source)) for row in given.value)
    names = [instrument.name for instrument in instruments]
    for name in names:
        if names.count(name) > 1:
            raise wrong("instruments.name", Given(name, given.source), "each name once")
    return instruments


def _instrument(given: Given) -> Instrument:
    """Read an instrument, whose numbers are decimal strings, in the units of the core."""
    price = {"tick": "tick_e8", "price_min": "price_min_e8", "price_max": "price_max_e8"}
    quantity = {
        "lot": "lot_e8",
        "quantity_min": "quantity_min_e8",
        "quantity_max": "quantity_max_e8",
    }
    fees = {"maker_fee": "maker_fee_e6", "taker_fee": "taker_fee_e6"}
    known = {"name": "", "self_trade_prevention": "", **price, **quantity, **fees}
    values: dict[str, Any] = {}
    for key, it in table_of("instruments", given, known).items():
        setting = f"instruments.{key}"
        if key == "name":
            values["name"] = matching(setting, it, re.compile(INSTRUMENT_PATTERN))
        elif key == "self_trade_prevention":
            values[key] = mode_of(setting, it)
        elif key in fees:
            values[fees[key]] = decimal_of(setting, it, 6, -1_000_000, 1_000_000)
        else:
            values[known[key]] = decimal_of(setting, it, 8, 1, INT64_MAX)
    if "name" not in values:
        raise wrong("instruments.name", Given("", given.source), "a name such as BTC-USD")
    instrument = Instrument(**values)
    for low, high in (("price_min", "price_max"), ("quantity_min", "quantity_max")):
        if getattr(instrument, f"{low}_e8") > getattr(instrument, f"{high}_e8"):
            least, most = getattr(instrument, f"{low}_e8"), getattr(instrument, f"{high}_e8")
            raise wrong(
                f"instruments.{low}",
                Given(decimal_text(least, 8), given.source),
                f"at most {high} of {instrument.name}, which is {decimal_text(most, 8)}",
            )
    return instrument
