"""A file that a command writes: it gets its name when it is whole."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def file_to_write(text: str) -> Path:
    """An option's type: a file, there already or not, in a directory that is."""
    path = Path(text)
    if not path.name or path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file in a directory that exists; got {text!r}")
    return path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write, `.part` behind the name; what fails leaves the named file as it was.

    A pipe or a device is written to as it is: a new file of its name would take its place.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    unfinished = path.with_name(f"{path.name}.part")
    yield unfinished
    unfinished.replace(path)
