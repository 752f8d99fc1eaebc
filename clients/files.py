"""A file that a command writes: it gets its name when it is whole."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

STANDARD_OUTPUT: Final = "-"


def file_to_write(text: str) -> Path:
    """An option's type: a file, there already or not, in a directory that is; - stands for none."""
    path = Path(text)
    if text == STANDARD_OUTPUT:
        return path
    try:
        if _is_special(path):
            is_possible = not path.is_dir()
        else:
            is_possible = bool(path.name) and path.parent.is_dir() and not _part(path).is_dir()
        is_allowed = _is_special(path) or os.access(path.parent, os.W_OK)
    except OSError as error:  # a name that is too long, say
        raise argparse.ArgumentTypeError(f"{error.strerror}; got {text!r}") from None
    if not is_possible:
        raise argparse.ArgumentTypeError(f"must be a file in a directory that exists; got {text!r}")
    if not is_allowed:
        raise argparse.ArgumentTypeError(f"its directory can't be written to; got {text!r}")
    return path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write, `.part` behind the name; what fails leaves the named file as it was.

    A pipe or a device is written to as it is: a new file of its name would take its place.
    """
    unfinished = unfinished_of(path)
    yield unfinished
    if unfinished != path:
        unfinished.replace(path)


def unfinished_of(path: Path) -> Path:
    """Where `whole_file` has it written, and leaves it when that fails."""
    return path if _is_special(path) else _part(path)


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
