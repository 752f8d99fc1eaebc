"""The frames of a directory's journal whose lock one has, as the tools read them."""

import sys
from collections.abc import Iterator
from pathlib import Path

from server.journal.frames import FrameReader, Place, find
from server.journal.payload import PayloadInvalid
from server.journal.record import FrameBad, Record, Step
from server.journal.refusals import JournalCorrupt, RecordUnreadable
from server.journal.segments import Segments
from server.journal.snapshots import known_marks
from server.journal.tail import Cut, judge


class Ending:
    """Where `directory_frames` leaves what it found behind the last whole record."""

    cut: Cut | None = None

    @property
    def is_damage(self) -> bool:
        """Whether it may be more than what a crash left of a record that nobody was told of."""
        return self.cut is not None and self.cut.possibly_acknowledged


def directory_frames(directory: Path, ending: Ending, after_sequence: int = 0) -> Iterator[bytes]:
    """The frames of a directory that no owner may change meanwhile: all, or those that end after a
    sequence. A torn end ends them, corruption is raised."""
    segments = Segments.open(directory, writable=False)
    try:
        known = max([segments.all[-1].start, *(it.position for it in known_marks(directory))])
        journal = segments.journal
        start = _start(segments, after_sequence)
        sequence = max(segments.all[0].first_sequence, after_sequence + 1)
        reader = FrameReader(segments, journal, start, segments.size(), sequence)
        try:
            yield from reader.frames()
        except PayloadInvalid as error:
            place = segments.place(reader.offset)
            raise RecordUnreadable(*place, reader.sequence, str(error)) from error
        except FrameBad as bad:
            verdict = judge(segments, journal, reader.offset, bad, known)
            if not isinstance(verdict, Cut):
                place = segments.place(reader.offset)
                raise JournalCorrupt(*place, reader.sequence, verdict) from bad
            ending.cut = verdict
    finally:
        segments.close()


def _start(segments: Segments, after_sequence: int) -> int:
    """Where to begin to read, so that all frames that end after the sequence are met."""
    begun = segments.from_sequence(after_sequence + 1)
    if after_sequence <= 0:
        return begun.start

    def later(frame: Step) -> bool:
        return frame.first_sequence + frame.command_count > after_sequence + 1

    start, end = Place(begun.start, begun.first_sequence), Place(segments.size(), sys.maxsize)
    return find(segments, segments.journal, start, end, later)


def kept_from(first: Record) -> str:
    """Say with which sequence a journal begins whose first records are not kept."""
    return f"note the journal that is kept begins with sequence {first.first_sequence}"
