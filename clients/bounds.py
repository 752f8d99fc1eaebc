"""Numbers of a command line, within stated bounds."""

import argparse
from collections.abc import Callable

DIGITS_MAX = 12  # characters of any number that an option takes


def whole(low: int, high: int) -> Callable[[str], int]:
    """An option's type: a whole number from `low` to `high`."""

    def parse(text: str) -> int:
        is_whole = text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
        if not (is_whole and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {low:,} to {high:,}; got {text!r}"
            )
        return int(text)

    return parse
