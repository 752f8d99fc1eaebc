"""Text with styles: what a terminal shows in colour, and everything else as plain text.

A line is made of spans. Whether their styles are shown is decided once, by `colours_on`: only on a
terminal, and not where NO_COLOR is set (https://no-color.org) or TERM is `dumb`. No meaning is in
the colour alone.
"""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, TextIO

RESET = "\x1b[0m"


class Style(StrEnum):
    """What a span means; the value is its colour, as the parameters of an SGR sequence."""

    PLAIN = ""
    HEADING = "1"
    QUIET = "2"
    GOOD = "32"
    BAD = "31"
    WARNING = "33"


class Span(NamedTuple):
    """A piece of a line."""

    text: str
    style: Style = Style.PLAIN


Line = tuple[Span, ...]
Cell = Span | str


def line(*pieces: Cell) -> Line:
    """A line of these pieces."""
    return tuple(Span(piece) if isinstance(piece, str) else piece for piece in pieces)


def colours_on(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether to show styles on this stream."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def end_output() -> None:
    """Whoever read the output has seen enough: what is still buffered goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def text_of(spans: Iterable[Span], *, coloured: bool) -> str:
    """What is written to the stream for a line."""
    if coloured:
        return "".join(_styled(span) for span in spans)
    return "".join(span.text for span in spans).rstrip()


def clipped(spans: Iterable[Span], width: int) -> Line:
    """Cut a line to its first `width` characters."""
    kept: list[Span] = []
    for span in spans:
        if width <= 0:
            break
        kept.append(Span(span.text[:width], span.style))
        width -= len(span.text)
    return tuple(kept)


def width_of(spans: Iterable[Span]) -> int:
    """Characters in a line."""
    return sum(len(span.text) for span in spans)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Cell]], right: Iterable[str] = ()
) -> list[Line]:
    """Aligned columns under their names, those in `right` to the right; nothing for no rows."""
    cells = [line(*row) for row in rows]
    if not cells:
        return []
    cells.insert(0, tuple(Span(name, Style.HEADING) for name in columns))
    widths = [max(len(row[i].text) for row in cells) for i in range(len(columns))]
    to_right = [column in set(right) for column in columns]
    return [_row(row, widths, to_right) for row in cells]


def _row(cells: Line, widths: Sequence[int], to_right: Sequence[bool]) -> Line:
    spans: list[Span] = []
    for cell, width, right in zip(cells, widths, to_right, strict=True):
        gap = Span("  " if spans else "")
        room = Span(" " * (width - len(cell.text)))
        spans += (gap, room, cell) if right else (gap, cell, room)
    while spans and not spans[-1].text.strip():
        del spans[-1]
    return tuple(span for span in spans if span.text)


def _styled(span: Span) -> str:
    return f"\x1b[{span.style}m{span.text}{RESET}" if span.style else span.text
