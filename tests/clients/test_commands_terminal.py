"""Tables and colours: when they are shown, and that nothing is lost with them."""

import io

import pytest

from clients.terminal import Span, Style, clipped, colours_on, line, table, text_of, width_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({"TERM": "xterm"}, True),
        ({}, True),
        ({"NO_COLOR": ""}, True),  # empty is as if it were not there, says no-color.org
        ({"NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(environment: dict[str, str], shown: bool) -> None:
    assert colours_on(Terminal(), environment) is shown
    assert colours_on(io.StringIO(), environment) is False


def test_table_is_aligned_with_and_without_colours() -> None:
    rows = [("a", Span("buy", Style.GOOD), "1.25"), ("long", Span("sell", Style.BAD), "10")]
    lines = table(("order", "side", "price"), rows, right={"price"})
    assert [text_of(each, coloured=False) for each in lines] == [
        "order  side  price",
        "a      buy    1.25",
        "long   sell     10",
    ]
    coloured = text_of(lines[1], coloured=True)
    assert coloured == "a      \x1b[32mbuy\x1b[0m    1.25"
    assert table(("order",), []) == []


def test_line_ends_without_blanks() -> None:
    lines = table(("order", "status"), [("a", "open"), ("b", "cancelled")])
    assert text_of(lines[1], coloured=True) == "a      open"


def test_clipped_counts_characters_and_keeps_styles() -> None:
    whole = line("ab", Span("cdef", Style.BAD), "g")
    assert clipped(whole, 4) == (Span("ab"), Span("cd", Style.BAD))
    assert clipped(whole, 100) == whole
    assert clipped(whole, 0) == ()
    assert width_of(whole) == 7
