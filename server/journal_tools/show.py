"""What `exchange journal show` does: prints commands with their events, for people or as JSON.

Exit codes: 0 all is well; 1 something is damaged.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from server.journal.lock import reading
from server.journal.payload import PayloadInvalid
from server.journal.record import KIND_NAMES, FrameBad, Record, decode_frame
from server.journal.refusals import JournalRefused
from server.journal.segments import FILE_NAME, segment_paths
from server.journal_tools.directory import Ending, directory_frames, kept_from
from server.journal_tools.export import fields
from server.times import exact_time_text


def show(
    directory: Path,
    out: TextIO,
    from_sequence: int = 1,
    to_sequence: int | None = None,
    *,
    as_json: bool = False,
) -> int:
    """Print what a directory's journal says; raises `DirectoryLocked` if a server has it."""
    aside = sys.stderr if as_json else out
    if not segment_paths(directory):
        print(f"{directory / FILE_NAME} doesn't exist; name a data directory", file=aside)
        return 1
    with reading(directory):
        ending = Ending()
        frames = directory_frames(directory, ending)
        code = show_frames(frames, out, from_sequence, to_sequence, as_json=as_json)
    if ending.cut is not None and (ending.is_damage or not as_json):
        print(f"tail {ending.cut.sentence()}", file=aside)
    return max(code, int(ending.is_damage))


def show_frames(
    frames: Iterable[bytes],
    out: TextIO,
    from_sequence: int = 1,
    to_sequence: int | None = None,
    *,
    as_json: bool = False,
) -> int:
    """Print the commands of these sequences with their events, and the records around them; for
    people also what of the range is not there. Beside JSON, damage is told on standard error."""
    last = sys.maxsize if to_sequence is None else to_sequence
    put = _json_lines if as_json else _text_lines
    newest = 0
    try:
        for frame in frames:
            record = decode_frame(frame)
            if not newest and record.first_sequence > from_sequence and not as_json:
                print(kept_from(record), file=out)
            newest = record.last_sequence
            if record.first_sequence > last:
                break
            if record.first_sequence + max(record.command_count - 1, 0) >= from_sequence:
                out.writelines(f"{line}\n" for line in put(record, from_sequence, last))
    except (JournalRefused, FrameBad, PayloadInvalid) as error:
        print(f"BAD  {error}", file=sys.stderr if as_json else out)
        return 1
    if newest < from_sequence and not as_json:
        print(f"note no sequence {from_sequence} yet", file=out)
    return 0


def _within(record: Record, first: int, last: int) -> Iterator[tuple[int, Any, list[Any]]]:
    pairs = zip(record.commands(), record.events(), strict=True)
    for sequence, (command, events) in enumerate(pairs, record.first_sequence):
        if first <= sequence <= last:
            yield sequence, command, events


def _text_lines(record: Record, first: int, last: int) -> Iterator[str]:
    yield (
        f"{KIND_NAMES[record.kind]} at offset {record.position}, epoch {record.epoch}, owner"
        f" {record.owner.hex()}, {exact_time_text(record.time_ns)}, {record.command_count} commands"
        f" from sequence {record.first_sequence}, durable before {record.durable_position}"
    )
    for sequence, command, events in _within(record, first, last):
        yield f"  {sequence} {command!r}"
        for index, event in enumerate(events):
            yield f"    {sequence}.{index} {event!r}"


def _json_lines(record: Record, first: int, last: int) -> Iterator[str]:
    for sequence, command, events in _within(record, first, last):
        line = {
            "sequence": sequence,
            "time_ns": record.time_ns,
            "epoch": record.epoch,
            "command": _named(command),
            "events": [_named(event) for event in events],
        }
        yield json.dumps(line, separators=(",", ":"))


def _named(item: Any) -> dict[str, Any]:
    """A command or event as an object: its class as `kind`, then its fields."""
    return {"kind": type(item).__name__, **fields(item)}
