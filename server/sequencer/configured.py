"""What the configuration says differently from the last time, as commands.

The engine keeps what the configuration last said beside what holds now, so that a start can tell
the two apart: a field that the configuration changed is applied to what holds, and a field that an
admin changed stays as long as the configuration says about it what it said before. What the
configuration no longer mentions stays as it is.
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from server.core.commands import SetInstrument, SetLimits
from server.core.engine import Engine
from server.core.instruments import Instrument, Limits

Definition = TypeVar("Definition", Instrument, Limits)


def differences(
    engine: Engine, limits: Limits, instruments: Sequence[Instrument]
) -> Iterator[SetLimits | SetInstrument]:
    """Give the commands that take the engine from the last configuration to this one."""
    if limits != engine.configured_limits:
        yield SetLimits(_changed(engine.limits, engine.configured_limits, limits), limits)
    listed = engine.instruments
    for said in instruments:
        last = engine.configured_instruments.get(said.name)
        if said != last:
            yield SetInstrument(_changed(listed.get(said.name), last, said), said)


def _changed(now: Definition | None, last: Definition | None, said: Definition) -> Definition:
    """Give `now` with the fields that `said` has otherwise than `last`; all of `said` where the
    configuration says something for the first time."""
    if now is None or last is None:
        return said
    fields = zip(said._fields, said, last, strict=True)
    changed: dict[str, Any] = {name: new for name, new, old in fields if new != old}
    return now._replace(**changed)
